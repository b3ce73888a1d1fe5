"""The manager's methods about single objects: their documentation, and the checks of their arguments.

The first lines of `upload_file`, `read_file`, `head_file` and `delete_file` are the library's hottest path: they
call the runner themselves.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from apm_s3._s3.engine import READ_DEFAULTS, Verbs, check_target, within
from apm_s3._s3.objects.copies import copy, move
from apm_s3._s3.objects.downloads import download_to
from apm_s3._s3.objects.memory import policies_for, received, remembered_body, remembered_info
from apm_s3._s3.objects.reading import exists, head_told_apart, read_tags, tags_read_with
from apm_s3._s3.objects.sources import MemorySource
from apm_s3._s3.objects.streams import Download
from apm_s3._s3.objects.uploads import put, typed, upload, upload_download
from apm_s3._wire.content_types import content_type
from apm_s3._wire.sigv4 import MAX_PRESIGN_SECONDS
from apm_s3.errors import InvalidOption
from apm_s3.models import DeleteOutcome, FileContent, FileInfo, Source
from apm_s3.options import CopyOptions, DeleteOptions, ReadOptions, UploadOptions

_COPY_DEFAULTS = CopyOptions()
_DELETE_DEFAULTS = DeleteOptions()
_UPLOAD_DEFAULTS = UploadOptions()


class Objects(Verbs):
    """What the manager does with single objects."""

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
        """Store an object: whole, or not at all.

        From `settings.transfer.multipart_threshold` bytes on, it goes in parallel parts; so does a source of unknown
        size that is longer than one part. A stream whose size is known (`size`, a `Download`, an open file) is held in
        memory below that threshold, and stored by one PUT. Without a content type in `options`, one is guessed from
        the key.

        Args:
            source: bytes, a `pathlib.Path`, a file opened in binary mode (read from where it stands), an async
                iterable of bytes, or a `Download`, of this manager or another one: the way to copy between servers.
                What is left of it is stored, with its content type, metadata and headers where `options` give none
                (but without its tags), and it is closed. A `str` is refused: it could mean a path or a text.
            resume: for a path that is sent in parts: go on with what an interrupted call has left at S3, after
                checking it against the file, and leave what was sent for the next call if this one fails, too. Give
                the same options again: those of the call that began the upload hold. `cleanup_uploads` removes what
                nobody resumes.
            size: the bytes that a file or an async iterable will give.

        Raises:
            InvalidRequest: the bucket's name, the key, the source or an option cannot be used; nothing was sent.
            PreconditionFailed: `if_match` or `if_none_match` did not hold.
            ObjectChanged: the file changed while it was being read, or a source gave another number of bytes than
                `size`; nothing is stored.
            OSError: the file cannot be read; nothing is stored.
        """
        engine = self._engine()
        check_target(bucket, key)
        if isinstance(source, Download):
            return await upload_download(engine, bucket, key, source, options or _UPLOAD_DEFAULTS)
        if options is None:
            options = typed(content_type(key))
        elif options.content_type is None:
            options = dataclasses.replace(options, content_type=content_type(key))
        threshold = engine.settings.transfer.multipart_threshold
        if type(source) is bytes and len(source) < threshold and not resume and size is None:
            if options.if_match is None and options.if_none_match is None:
                transport = engine.transport
                return await engine.runner.run(
                    "upload_file",
                    bucket,
                    key,
                    lambda: transport.put(bucket, key, source, options),
                    timeout=options.timeout,
                    bytes_sent=len(source),
                    storage_class=options.storage_class,
                )
            return await put(engine, bucket, key, MemorySource(source), options)
        return await upload(engine, bucket, key, source, options, resume=resume, size=size)

    async def read_file(
        self, bucket: str, key: str, options: ReadOptions | None = None, *, refresh: bool = False
    ) -> bytes:
        """The content of an object, its length and (where S3 has one of the whole object) its checksum verified.

        Args:
            refresh: past what is remembered (see `CacheSettings.objects`).

        Raises:
            BucketNotFound, ObjectNotFound: there is no such bucket, or no such key in it.
            ObjectArchived: it has to be restored from its archive class first.
            IntegrityError: what came is not what is stored.
        """
        engine = self._engine()
        check_target(bucket, key)
        options = options or READ_DEFAULTS
        if engine.object_policies is not None:
            policies = policies_for(engine, options)
            if policies is not None:
                return await remembered_body(engine, policies, bucket, key, options, refresh=refresh)
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
        engine = self._engine()
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
            pinned = dataclasses.replace(options, version_id=info.version_id or options.version_id)
            return FileContent(info, data, await tags_read_with(engine, bucket, key, pinned))

    def download_file(self, bucket: str, key: str, options: ReadOptions | None = None) -> Download:
        """An object as a stream: `async with s3.download_file(...) as download: async for piece in download: ...`.

        `options.timeout` covers all of it, the reader's own work too. Without one, the first answer has the manager's
        deadline, and so has the waiting for the body, which gets a second more for each 64 KiB that came.

        Raises (when it is opened):
            BucketNotFound, ObjectNotFound: there is no such bucket, or no such key in it.
            ObjectArchived: it has to be restored from its archive class first.
        """
        engine = self._engine()
        check_target(bucket, key)
        return Download(engine, bucket, key, options or READ_DEFAULTS)

    async def download_to(
        self, bucket: str, key: str, path: str | os.PathLike[str], options: ReadOptions | None = None
    ) -> FileInfo:
        """Read an object into a file, large ones in parallel ranges.

        The file appears, or is replaced, in one step once it is whole and on disk; a failure or a cancellation leaves
        what was there, and nothing else. Where S3 has a checksum of the whole object, it is verified first: a CRC
        while the ranges come, a SHA of an object of several ranges by reading the file once more.

        Raises:
            BucketNotFound, ObjectNotFound: there is no such bucket, or no such key in it.
            ObjectChanged: the object was replaced while it was being read.
            IntegrityError: what came is not what S3's checksum of the whole object says.
            OSError: the file cannot be written; where its folder is missing, nothing is sent.
        """
        engine = self._engine()
        check_target(bucket, key)
        return await download_to(engine, bucket, key, Path(path), options or READ_DEFAULTS)

    async def head_file(
        self, bucket: str, key: str, options: ReadOptions | None = None, *, refresh: bool = False
    ) -> FileInfo:
        """What S3 says of an object, without its content.

        Args:
            refresh: past what is remembered (see `CacheSettings.objects`).

        Raises:
            BucketNotFound, ObjectNotFound: there is no such bucket, or no such key in it.
        """
        engine = self._engine()
        check_target(bucket, key)
        options = options or READ_DEFAULTS
        policies = policies_for(engine, options)
        if policies is None:
            return await head_told_apart(engine, bucket, key, options)
        return await remembered_info(
            engine,
            policies,
            bucket,
            key,
            options,
            refresh=refresh,
            read=lambda: head_told_apart(engine, bucket, key, READ_DEFAULTS),
        )

    async def file_exists(self, bucket: str, key: str, options: ReadOptions | None = None) -> bool:
        """Whether there is such an object. A missing bucket has none; a 403 is an error, never False."""
        engine = self._engine()
        check_target(bucket, key)
        return await exists(engine, bucket, key, options or READ_DEFAULTS)

    async def get_file_tags(self, bucket: str, key: str, options: ReadOptions | None = None) -> dict[str, str]:
        """The tags of an object, or of one version of it.

        Args:
            options: `version_id`, `requester_pays`, `expected_bucket_owner` and `timeout` count.

        Raises:
            BucketNotFound, ObjectNotFound: there is no such bucket, or no such key in it.
            AccessDenied: the credentials may not read tags (s3:GetObjectTagging).
        """
        engine = self._engine()
        check_target(bucket, key)
        return await read_tags(engine, bucket, key, options or READ_DEFAULTS)

    async def delete_file(self, bucket: str, key: str, options: DeleteOptions | None = None) -> DeleteOutcome:
        """Delete an object, or one version of it. S3 does not mind if there is none.

        Raises:
            BucketNotFound: there is no such bucket.
            AccessDenied: the credentials may not, or the version is locked.
        """
        engine = self._engine()
        check_target(bucket, key)
        options = options or _DELETE_DEFAULTS
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
        """Copy an object inside S3: its content, content type, headers, metadata and tags.

        What S3 does not copy in one request (more than 5 GiB) is copied in parallel parts.

        Returns:
            The copy, as far as S3 describes it: its ETag and version; `size` is -1 where S3 does not say.

        Raises:
            BucketNotFound, ObjectNotFound: the source, or the destination's bucket, does not exist.
            PreconditionFailed: a condition on the source or the destination did not hold.
            ObjectChanged: a source that is copied in parts was replaced meanwhile; nothing is stored.
        """
        engine = self._engine()
        check_target(source_bucket, source_key)
        check_target(bucket, key)
        return await copy(engine, (source_bucket, source_key), (bucket, key), options or _COPY_DEFAULTS)

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
        """Copy an object inside S3, look whether the copy is there, then delete the source.

        The source is deleted only while it is what was copied (`If-Match`), so that a version written meanwhile stays.
        In a versioned bucket it gets a delete marker; with `source_version_id`, that version is removed for good.

        Args:
            mfa: "serial code" of the MFA device, to remove a version where the bucket has MFA delete.
            bypass_governance: remove a version in spite of a GOVERNANCE lock (needs the permission).

        Returns:
            The object at its new place.

        Raises:
            InvalidOption: both places are the same.
            BucketNotFound, ObjectNotFound: the source, or the destination's bucket, does not exist.
            ObjectChanged: source or copy was replaced meanwhile; the source is still there.
            IntegrityError: the copy is not what the source was; the source is still there.
        """
        engine = self._engine()
        check_target(source_bucket, source_key)
        check_target(bucket, key)
        source, target = (source_bucket, source_key), (bucket, key)
        return await move(
            engine, source, target, options or _COPY_DEFAULTS, mfa=mfa, bypass_governance=bypass_governance
        )

    async def presign_download(
        self, bucket: str, key: str, expires_in: int = 3600, options: ReadOptions | None = None
    ) -> str:
        """A URL from which anybody can GET the object for `expires_in` seconds (at most 7 days).

        It holds no longer than the credentials that sign it.
        """
        engine = self._engine()
        check_target(bucket, key)
        _check_expiry(expires_in)
        return await engine.transport.presign("GET", bucket, key, expires_in, options or READ_DEFAULTS)

    async def presign_upload(
        self, bucket: str, key: str, expires_in: int = 3600, options: UploadOptions | None = None
    ) -> str:
        """A URL to which anybody can PUT the object for `expires_in` seconds (at most 7 days).

        Whoever uploads has to send the headers that `options` stand for, since they are signed.
        """
        engine = self._engine()
        check_target(bucket, key)
        _check_expiry(expires_in)
        return await engine.transport.presign("PUT", bucket, key, expires_in, options or _UPLOAD_DEFAULTS)


def _check_expiry(seconds: int) -> None:
    if not 1 <= seconds <= MAX_PRESIGN_SECONDS:
        raise InvalidOption(
            f"expires_in of {seconds} seconds is not between 1 and {MAX_PRESIGN_SECONDS} (7 days)",
            hint="S3 allows 7 days",
        )
