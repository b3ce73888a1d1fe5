"""An object with all that belongs to it: metadata, content and tags."""

from __future__ import annotations

from dataclasses import replace

from apm_s3._s3.engine import READ_DEFAULTS, Engine, Operations, check_target, within
from apm_s3._s3.objects.memory import received
from apm_s3.errors import NotConfigured, ObjectChanged, ObjectNotFound
from apm_s3.models import FileContent
from apm_s3.options import ReadOptions


class TagOperations(Operations):
    """What the manager does to read objects with their tags."""

    async def get_file_tags(self, bucket: str, key: str, options: ReadOptions | None = None) -> dict[str, str]:
        """The tags of an object, or of one version of it.

        Args:
            options: `version_id`, `requester_pays`, `expected_bucket_owner` and `timeout` count.

        Raises:
            BucketNotFound, ObjectNotFound: there is no such bucket, or no such key in it.
            AccessDenied: the credentials may not read tags (s3:GetObjectTagging).
        """
        engine = self._engine
        check_target(bucket, key)
        return await read_tags(engine, bucket, key, options or READ_DEFAULTS)

    async def get_file(
        self, bucket: str, key: str, options: ReadOptions | None = None, *, tags: bool = False
    ) -> FileContent:
        """An object as a whole: its content, verified as by `read_file`, its metadata, and its tags if asked for.

        In a bucket with versions, content and tags are those of one version. Without versions, tags can be changed
        between the two requests, as S3 lets them be changed by themselves.

        Args:
            tags: read the tags, too: one request more.

        Raises:
            BucketNotFound, ObjectNotFound: there is no such bucket, or no such key in it.
            ObjectChanged: the object was deleted before its tags were read.
            IntegrityError: what came is not what is stored.
        """
        engine = self._engine
        check_target(bucket, key)
        options = options or READ_DEFAULTS
        async with within(options.timeout, "get_file", bucket, key):
            info, data = await engine.runner.run(
                "get_file",
                bucket,
                key,
                lambda: engine.transport.read(bucket, key, options),
                timeout=options.timeout,
                measure=received,
            )
            if not tags:
                return FileContent(info, data)
            pinned = replace(options, version_id=info.version_id or options.version_id)
            return FileContent(info, data, await _tags_of_it(engine, bucket, key, pinned))


async def read_tags(engine: Engine, bucket: str, key: str, options: ReadOptions) -> dict[str, str]:
    """The tags of an object; none where the server says that none were set."""
    try:
        return await engine.runner.run(
            "get_file_tags",
            bucket,
            key,
            lambda: engine.transport.tags(bucket, key, options),
            timeout=options.timeout,
        )
    except NotConfigured:
        return {}


async def _tags_of_it(engine: Engine, bucket: str, key: str, options: ReadOptions) -> dict[str, str]:
    try:
        return await read_tags(engine, bucket, key, options)
    except ObjectNotFound as exc:
        raise ObjectChanged(
            "the object was deleted before its tags were read", operation="get_file", bucket=bucket, key=key
        ) from exc
