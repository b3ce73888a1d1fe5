"""The manager's methods for single objects: their documentation, and argument checks.

The first lines of `upload_file`, `read_file`, `head_file` and `delete_file` are the library's hottest path, so they
call the runner directly. The other methods import what they need when they are called: most programs call few of them.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import TYPE_CHECKING

from apm_s3._s3.engine import READ_DEFAULTS, Verbs, check_target, composed, within
from apm_s3._s3.objects.cached import cached_body, cached_info, policies_for, received
from apm_s3._s3.objects.reading import exists, explained_head, read_tags, tags_read_with
from apm_s3._wire.sigv4 import MAX_PRESIGN_SECONDS
from apm_s3.errors import InvalidOption
from apm_s3.models import FileContent

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable

    from apm_s3._s3.objects.streams import Download
    from apm_s3.models import DeleteOutcome, FileInfo, Source
    from apm_s3.options import CopyOptions, DeleteOptions, ReadOptions, UploadOptions


# Not imported in each call: that would take a hundredth of its time.
@cache
def _store() -> Callable[..., Awaitable[FileInfo]]:
    from apm_s3._s3.objects.uploads import store

    return store


@cache
def _delete_defaults() -> DeleteOptions:
    from apm_s3.options._writes import DELETE_DEFAULTS

    return DELETE_DEFAULTS


class Objects(Verbs):
    """The manager's methods for single objects."""

    async def upload_file(
        self,
        bucket: str,
        key: str,
        source: Source,
        options: UploadOptions | None = None,
        *,
        resume: bool = False,
        size: int | None = None,
    ) -> FileInfo:
        """Store an object completely, or not at all.

        From `settings.transfer.multipart_threshold` bytes, it is sent in parallel parts; so is a source of unknown size
        that is longer than one part. A stream of known size (`size`, a `Download`, an open file) below that threshold
        is read into memory and sent in one PUT. Without a content type in `options`, one is guessed from the key.

        If the call is cancelled, an upload in parts is aborted, unless its last request was already in progress.

        Args:
            source: bytes, a `pathlib.Path`, a file opened in binary mode (read from its current position), an async
                iterable of bytes, or a `Download` of any manager, to copy between servers: the rest of it is stored and
                it is closed; its content type, metadata and headers, but not its tags, are kept unless `options` set
                them. A `str` is refused: it could be a path or the content.
            resume: for a path that is sent in parts: continue an interrupted upload, after checking its parts against
                the file, and keep the parts if this call fails as well. Pass the same options again; those of the first
                call apply. `cleanup_uploads` removes uploads that are never resumed.
            size: the number of bytes that a file or an async iterable will return.

        Raises:
            InvalidRequest: the bucket, the key, the source or an option is not valid; nothing was sent.
            PreconditionFailed: `if_match` or `if_none_match` did not hold.
            ConditionalWritesUnsupported: the server refuses every `if_match`, or ignores the conditions of an upload in
                parts; nothing was stored.
            ObjectChanged: the file changed while it was being read, or the source did not have `size` bytes; nothing
                was stored.
            OSError: the file cannot be read; nothing was stored.
        """
        return await _store()(self._engine(), bucket, key, source, options, resume=resume, size=size)

    async def read_file(
        self, bucket: str, key: str, options: ReadOptions | None = None, *, refresh: bool = False
    ) -> bytes:
        """Return the content of an object, after verifying its length and, if S3 has one of all of it, its checksum.

        Args:
            refresh: bypass the cache (see `CacheSettings.objects`).

        Raises:
            BucketNotFound, ObjectNotFound: the bucket or the key does not exist.
            ObjectArchived: it must be restored from its archive class first.
            IntegrityError: the content does not match the checksum or the length.
            ObjectTooLarge: it is longer than `options.max_size`.
        """
        engine = self._engine()
        check_target(bucket, key)
        options = options or READ_DEFAULTS
        if options.max_size is not None:
            from apm_s3._s3.objects.streams import Download

            async with Download(engine, bucket, key, options, "read_file") as download:
                return await download.read()
        if engine.object_policies is not None:
            policies = policies_for(engine, options)
            if policies is not None:
                return await cached_body(engine, policies, bucket, key, options, refresh=refresh)
        transport = engine.transport
        _, data = await engine.runner.run(
            "read_file",
            bucket,
            key,
            lambda: transport.read(bucket, key, options),
            timeout=options.timeout,
            measure=received,
        )
        return data

    async def get_file(
        self, bucket: str, key: str, options: ReadOptions | None = None, *, tags: bool = False
    ) -> FileContent:
        """Return a whole object: its content, verified as in `read_file`, its metadata and, if requested, its tags.

        In a versioned bucket, content and tags belong to the same version. In other buckets, tags may change between
        the two requests.

        Args:
            tags: also read the tags, with one more request.

        Raises:
            BucketNotFound, ObjectNotFound: the bucket or the key does not exist.
            ObjectChanged: the object was deleted before its tags were read.
            IntegrityError: the content does not match the checksum or the length.
        """
        engine = self._engine()
        check_target(bucket, key)
        options = options or READ_DEFAULTS
        async with within(options.timeout, "get_file", bucket, key):
            if options.max_size is not None:
                from apm_s3._s3.objects.streams import Download

                async with Download(engine, bucket, key, options, "get_file") as download:
                    info, data = download.info, await download.read()
            else:
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
            pinned = dataclasses.replace(options, version_id=info.version_id or options.version_id)
            return FileContent(info, data, await tags_read_with(engine, bucket, key, pinned))

    def download_file(self, bucket: str, key: str, options: ReadOptions | None = None) -> Download:
        """Stream an object: `async with s3.download_file(...) as download: async for piece in download: ...`.

        `options.timeout` covers everything, including the reader's own work. Without it, the manager's deadline applies
        to the first response, and to the time spent waiting for the body, plus one second per 64 KiB received.

        Raises (when it is opened):
            BucketNotFound, ObjectNotFound: the bucket or the key does not exist.
            ObjectArchived: it must be restored from its archive class first.
        """
        from apm_s3._s3.objects.streams import Download

        engine = self._engine()
        check_target(bucket, key)
        return Download(engine, bucket, key, options or READ_DEFAULTS)

    @composed
    async def download_to(
        self, bucket: str, key: str, path: str | os.PathLike[str], options: ReadOptions | None = None
    ) -> FileInfo:
        """Download an object to a file; large ones in parallel ranges.

        The file is created or replaced atomically, when it is complete and on disk; a failure or a cancellation leaves
        the old file and nothing else. If S3 has a checksum of the whole object, it is verified first: a CRC while the
        ranges arrive, a SHA of several ranges by reading the file again.

        Raises:
            BucketNotFound, ObjectNotFound: the bucket or the key does not exist.
            ObjectChanged: the object was replaced while it was being read.
            IntegrityError: the content does not match S3's checksum of the whole object.
            InvalidOption: `path` is a device, a pipe or a socket, or in /dev; nothing was sent.
            OSError: the file cannot be written; if its folder is missing, nothing was sent.
        """
        from pathlib import Path

        from apm_s3._beneath import Below
        from apm_s3._s3.objects.downloads import download_to

        engine = self._engine()
        check_target(bucket, key)
        to = path if isinstance(path, Below) else Path(path)
        return await download_to(engine, bucket, key, to, options or READ_DEFAULTS)

    async def head_file(
        self, bucket: str, key: str, options: ReadOptions | None = None, *, refresh: bool = False
    ) -> FileInfo:
        """Return information about an object, without its content.

        Args:
            refresh: bypass the cache (see `CacheSettings.objects`).

        Raises:
            BucketNotFound, ObjectNotFound: the bucket or the key does not exist.
        """
        engine = self._engine()
        check_target(bucket, key)
        options = options or READ_DEFAULTS
        policies = policies_for(engine, options)
        if policies is None:
            return await explained_head(engine, bucket, key, options)
        return await cached_info(
            engine,
            policies,
            bucket,
            key,
            options,
            refresh=refresh,
            read=lambda: explained_head(engine, bucket, key, READ_DEFAULTS),
        )

    async def file_exists(self, bucket: str, key: str, options: ReadOptions | None = None) -> bool:
        """Return whether the object exists. It does not if the bucket is missing; a 403 is an error, never False."""
        engine = self._engine()
        check_target(bucket, key)
        return await exists(engine, bucket, key, options or READ_DEFAULTS)

    async def get_file_tags(self, bucket: str, key: str, options: ReadOptions | None = None) -> dict[str, str]:
        """Return the tags of an object, or of one of its versions.

        Args:
            options: only `version_id`, `requester_pays`, `expected_bucket_owner` and `timeout` are used.

        Raises:
            BucketNotFound, ObjectNotFound: the bucket or the key does not exist.
            AccessDenied: the credentials may not read tags (s3:GetObjectTagging).
        """
        engine = self._engine()
        check_target(bucket, key)
        return await read_tags(engine, bucket, key, options or READ_DEFAULTS)

    async def delete_file(self, bucket: str, key: str, options: DeleteOptions | None = None) -> DeleteOutcome:
        """Delete an object, or one of its versions. It is not an error if the object does not exist.

        Raises:
            BucketNotFound: the bucket does not exist.
            AccessDenied: the credentials do not allow it, or the version is locked.
            PreconditionFailed: `if_match` did not hold.
            ConditionalWritesUnsupported: the server ignores `if_match` of deletions; nothing was deleted.
        """
        engine = self._engine()
        check_target(bucket, key)
        if options is None:
            options = _delete_defaults()
        elif options.if_match is not None:
            from apm_s3._s3.objects.deletions import delete_matching

            return await delete_matching(engine, bucket, key, options)
        transport = engine.transport
        return await engine.runner.run(
            "delete_file", bucket, key, lambda: transport.delete(bucket, key, options), timeout=options.timeout
        )

    async def copy_file(
        self,
        source_bucket: str,
        source_key: str,
        bucket: str,
        key: str,
        options: CopyOptions | None = None,
    ) -> FileInfo:
        """Copy an object within S3: its content, content type, headers, metadata and tags.

        Objects that S3 cannot copy in one request (more than 5 GiB) are copied in parallel parts.

        Returns:
            What S3 returns about the copy: its ETag and version; `size` is -1 if S3 does not return it.

        Raises:
            BucketNotFound, ObjectNotFound: the source, or the destination's bucket, does not exist.
            PreconditionFailed: a condition on the source or the destination did not hold.
            ConditionalWritesUnsupported: the server ignores conditions on the destination; nothing was copied.
            ObjectChanged: the source was replaced while it was copied in parts; nothing was stored.
        """
        from apm_s3._s3.objects.copies import copy
        from apm_s3.options._writes import COPY_DEFAULTS

        engine = self._engine()
        check_target(source_bucket, source_key)
        check_target(bucket, key)
        return await copy(engine, (source_bucket, source_key), (bucket, key), options or COPY_DEFAULTS)

    @composed
    async def move_file(
        self,
        source_bucket: str,
        source_key: str,
        bucket: str,
        key: str,
        options: CopyOptions | None = None,
        *,
        mfa: str | None = None,
        bypass_governance: bool = False,
    ) -> FileInfo:
        """Copy an object within S3, verify the copy, then delete the source.

        The source is deleted only if it has not changed since (`If-Match`), so a version written meanwhile is kept. On
        a server that ignores this, the source is looked at just before, and a warning is logged.
        In a versioned bucket it gets a delete marker; with `source_version_id`, that version is deleted permanently.
        If the call is cancelled, there may be both the source and the copy, but never neither.

        Args:
            mfa: "serial code" of the MFA device, to delete a version if the bucket has MFA delete.
            bypass_governance: delete a version despite a GOVERNANCE lock (requires the permission).

        Returns:
            The moved object.

        Raises:
            InvalidOption: source and destination are the same.
            BucketNotFound, ObjectNotFound: the source, or the destination's bucket, does not exist.
            ObjectChanged: the source or the copy was replaced meanwhile; the source still exists.
            IntegrityError: the copy differs from the source; the source still exists.
        """
        from apm_s3._s3.objects.copies import move
        from apm_s3.options._writes import COPY_DEFAULTS

        engine = self._engine()
        check_target(source_bucket, source_key)
        check_target(bucket, key)
        source, target = (source_bucket, source_key), (bucket, key)
        return await move(
            engine, source, target, options or COPY_DEFAULTS, mfa=mfa, bypass_governance=bypass_governance
        )

    async def presign_download(
        self, bucket: str, key: str, expires_in: int = 3600, options: ReadOptions | None = None
    ) -> str:
        """Return a URL from which anybody can GET the object for `expires_in` seconds (at most 7 days).

        It expires no later than the credentials that sign it.
        """
        engine = self._engine()
        check_target(bucket, key)
        _check_expiry(expires_in)
        return await engine.transport.presign("GET", bucket, key, expires_in, options or READ_DEFAULTS)

    async def presign_upload(
        self, bucket: str, key: str, expires_in: int = 3600, options: UploadOptions | None = None
    ) -> str:
        """Return a URL to which anybody can PUT the object for `expires_in` seconds (at most 7 days).

        The upload must send the headers for `options`, because they are signed.
        """
        from apm_s3.options._writes import UPLOAD_DEFAULTS

        engine = self._engine()
        check_target(bucket, key)
        _check_expiry(expires_in)
        return await engine.transport.presign("PUT", bucket, key, expires_in, options or UPLOAD_DEFAULTS)


def _check_expiry(seconds: int) -> None:
    if not 1 <= seconds <= MAX_PRESIGN_SECONDS:
        raise InvalidOption(
            f"expires_in of {seconds} seconds is not between 1 and {MAX_PRESIGN_SECONDS} (7 days)",
            hint="S3 allows 7 days",
        )
