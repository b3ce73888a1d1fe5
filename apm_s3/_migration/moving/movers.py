"""Moves one object: copied by S3, or streamed between two servers.

A mover raises if anything goes wrong, and returns what verified the copy. A changed source is moved as it is now.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from apm_s3._migration.moving.content import PASSING, SourceContent, told_digests
from apm_s3._migration.moving.throttle import Bandwidth, Memory
from apm_s3._migration.moving.verifying import check_stored, check_tags, same_content, told_same
from apm_s3._migration.rules import MigrationRules, Sameness, compare, is_md5
from apm_s3._migration.sides import Side, kept_options
from apm_s3._migration.store import TRUSTED, Row
from apm_s3._s3.objects.copies import copy_in_parts
from apm_s3._s3.objects.multipart import open_upload
from apm_s3._s3.objects.sources import guarded
from apm_s3._s3.retry import RECOVERABLE
from apm_s3._tasks import run_all
from apm_s3._wire.content_types import content_type
from apm_s3._wire.parts import Part, plan_parts
from apm_s3.errors import (
    AccessDenied,
    DigestRejected,
    IntegrityError,
    NotFound,
    ObjectChanged,
    PreconditionFailed,
    RequestRejected,
    UnsupportedByServer,
)
from apm_s3.models import FileInfo, PartInfo
from apm_s3.options import CopyOptions, ReadOptions, UploadOptions

MIB = 1024**2
LARGEST_COPY = 5 * 1024 * MIB
"""https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html."""
_UNPARTED = 8 * MIB
"""Objects up to this many bytes go in one PUT even if their ETags cannot be compared."""
_ONE_PUT = 64 * MIB
"""Objects with a plain ETag up to this many bytes go in one PUT, so that their ETags can be compared."""
_REFUSALS = 3
_REFUSED = (DigestRejected, AccessDenied, RequestRejected, UnsupportedByServer)
"""What a target answers to false digests (an ETag that is no MD5), and to ways of authentication it does not allow or
know."""


class Moved(NamedTuple):
    """An object that is now at the target.

    Attributes:
        size, etag: of the source object that was moved.
        checksum: what verified the content.
        bytes: passed through this machine.
    """

    size: int
    etag: str | None
    target_etag: str | None
    checksum: str
    bytes: int = 0


class Mover(Protocol):
    """Moves the objects of one migration."""

    async def move(self, row: Row) -> Moved:
        """Move an object to the target and compare it with the source.

        Raises:
            ObjectChanged: the source object has changed since it was listed.
            ObjectNotFound: the source object was deleted.
            IntegrityError: the stored object differs from the source.
        """

    async def is_same(self, row: Row) -> bool:
        """Return whether the target already has an object, if the listings could not tell.

        Raises:
            NotFound, FileNotFoundError: the target has nothing of this name.
        """

    async def check(self, row: Row) -> str | None:
        """Read an object on both sides and return what is wrong at the target, or None."""

    async def gone(self, row: Row) -> bool:
        """Return whether the object is gone from the source."""

    async def delete(self, keys: list[str]) -> list[tuple[str, Exception]]:
        """Delete relative keys from the target and return the failures."""


@dataclass(slots=True)
class S3Mover(ABC):
    """What both movers between prefixes share."""

    source: Side
    target: Side
    rules: MigrationRules
    bandwidth: Bandwidth
    memory: Memory

    @abstractmethod
    async def move(self, row: Row) -> Moved: ...

    async def is_same(self, row: Row) -> bool:
        key, version = self.source.key(row.key), row.version
        theirs = await self.target.head(self.target.key(row.target_key))
        ours = await self.source.head(key, version)
        found = compare(ours.size, ours.etag, theirs.size, theirs.etag)
        if found is not Sameness.IDENTICAL and (ours.size != theirs.size or not told_same(ours, theirs)):
            return False
        return (self.rules.compare == "content" and not row.failed) or await self._carries(ours, version, theirs)

    async def carries(self, row: Row, their_version: str) -> bool:
        """Return whether a version of the target has what is carried over besides the content."""
        ours = await self.source.head(self.source.key(row.key), row.version)
        theirs = await self.target.head(self.target.key(row.target_key), their_version)
        return await self._carries(ours, row.version, theirs)

    async def _carries(self, ours: FileInfo, version: str, theirs: FileInfo) -> bool:
        try:
            await self._check_carried(ours, version, theirs)
        except IntegrityError:
            return False
        return True

    async def _check_carried(self, ours: FileInfo, version: str, theirs: FileInfo) -> None:
        """Compare what is carried over besides the content.

        Raises:
            IntegrityError: the target has something else.
        """
        check_stored(self.target, self.rules, ours, theirs)
        await check_tags(self.target, self.rules, await self._tags(ours, version), theirs, exactly=True)

    async def check(self, row: Row) -> str | None:
        key, to, version = self.source.key(row.key), self.target.key(row.target_key), row.version
        ours, theirs = await self.source.head(key, version), await self.target.head(to)
        try:
            await self._check_carried(ours, version, theirs)
            if not await same_content(self.source, key, version, self.target, to):
                return "the content differs"
        except IntegrityError as exc:
            return exc.problem
        return None

    async def delete(self, keys: list[str]) -> list[tuple[str, Exception]]:
        report = await self.target.s3.delete_files(self.target.place.bucket, [self.target.key(key) for key in keys])
        cut = len(self.target.place.prefix)
        return [
            (one.key[cut:], IntegrityError(f"it was not deleted: {one.s3_code} {one.message}")) for one in report.failed
        ]

    async def _tags(self, info: FileInfo, version: str) -> dict[str, str]:
        return {} if "tags" in self.rules.accept else dict(await self.source.tags(info, version))

    async def gone(self, row: Row) -> bool:
        try:
            await self.source.head(self.source.key(row.key), row.version)
        except NotFound:
            return True
        return False

    @property
    def _creates(self) -> bool:
        return self.rules.if_exists == "fail"

    async def _refused(self, row: Row, key: str, to: str, error: PreconditionFailed) -> Moved:
        """Handle a 412: the source has changed, or another writer, perhaps this migration, has created the target."""
        ours = await self.source.head(key, row.version)
        if ours.etag == row.etag and self._creates:
            theirs = await self.target.head(to)
            if compare(ours.size, ours.etag, theirs.size, theirs.etag) is not Sameness.IDENTICAL:
                raise error
            check_stored(self.target, self.rules, ours, theirs)
            await check_tags(self.target, self.rules, await self._tags(ours, row.version), theirs)
            return Moved(ours.size, ours.etag, theirs.etag, "etag")
        raise _changed(row) from error


class CopyMover(S3Mover):
    """Lets S3 copy, so that no content passes through this machine."""

    async def move(self, row: Row) -> Moved:
        source, target = self.source.place, self.target.place
        key, to = self.source.key(row.key), self.target.key(row.target_key)
        options = await self._options(row, key)
        try:
            if row.size > LARGEST_COPY:
                return await self._in_parts(row, key, to, options)
            copied = await self.source.s3.copy_file(source.bucket, key, target.bucket, to, options)
        except PreconditionFailed as exc:
            return await self._refused(row, key, to, exc)
        if copied.etag is not None and copied.etag == row.etag:
            return Moved(row.size, row.etag, copied.etag, "etag")
        return await self._verified(row, key, to, options)

    async def _options(self, row: Row, key: str) -> CopyOptions:
        storage_class = row.storage_class if row.storage_class not in {None, "STANDARD"} else None
        if "storage-class" in self.rules.accept:
            storage_class = None
        options = CopyOptions(
            source_version_id=row.version or None,
            source_if_match=row.etag,
            storage_class=storage_class,
            if_none_match="*" if self._creates else None,
        )
        if self.source.locks and self.target.locks and "object-lock" not in self.rules.accept:
            # CopyObject drops locks, and sets new ones only together with everything else.
            info = await self.source.head(key, row.version)
            kept = kept_options(info, await self._tags(info, row.version), storage_class=False, lock=True)
            options = replace(options, replace=UploadOptions(**kept))
        return options

    async def _verified(self, row: Row, key: str, to: str, options: CopyOptions) -> Moved:
        """Verify a copy whose ETag differs: by checksums, by copying the source's parts, or by reading both sides."""
        ours, theirs = await self._unchanged(row, key), await self.target.head(to)
        check_stored(self.target, self.rules, ours, theirs)
        if told_same(ours, theirs) is None and (parts := await self._parts(row, key, ours)):
            # It replaces our own copy, so that it must not insist on a new name.
            again = replace(options, if_none_match=None)
            theirs = await self._copied_in_parts(row, ours, to, again, parts)
        return await self._compared(row, key, to, ours, theirs)

    async def _in_parts(self, row: Row, key: str, to: str, options: CopyOptions) -> Moved:
        """Copy an object that is too large for one request: in the source's own parts, if they are known."""
        ours = await self._unchanged(row, key)
        theirs = await self._copied_in_parts(row, ours, to, options, await self._parts(row, key, ours))
        return await self._compared(row, key, to, ours, theirs)

    async def _copied_in_parts(
        self, row: Row, ours: FileInfo, to: str, options: CopyOptions, parts: Sequence[Part] | None
    ) -> FileInfo:
        """Copy, and check what S3 does not copy by itself then: metadata and tags."""
        target = self.target
        await copy_in_parts(target.engine, ours, target.place.bucket, to, options, parts)
        theirs = await target.head(to)
        check_stored(target, self.rules, ours, theirs)
        await check_tags(target, self.rules, await self._tags(ours, row.version), theirs)
        return theirs

    async def _compared(self, row: Row, key: str, to: str, ours: FileInfo, theirs: FileInfo) -> Moved:
        if theirs.etag is not None and theirs.etag == ours.etag:
            return Moved(ours.size, ours.etag, theirs.etag, "parts")
        told = told_same(ours, theirs)
        if told is False or (told is None and not await same_content(self.source, key, row.version, self.target, to)):
            raise _other_content(row)
        return Moved(ours.size, ours.etag, theirs.etag, "checksum" if told else "sha256", 0 if told else 2 * ours.size)

    async def _parts(self, row: Row, key: str, ours: FileInfo) -> Sequence[Part] | None:
        return None if is_md5(ours.etag) else await self.source.layout(key, ours, row.version)

    async def _unchanged(self, row: Row, key: str) -> FileInfo:
        ours = await self.source.head(key, row.version)
        if ours.etag != row.etag:
            raise _changed(row)
        return ours


@dataclass(slots=True)
class StreamMover(S3Mover):
    """Streams content from one server to another in bounded memory.

    Attributes:
        refusals: how many contents the target refused with the source's digests. From `_REFUSALS` on, contents are sent
            without them: one false digest or damaged transfer changes nothing, and many do not send everything twice.
        unsigned: rows whose content is on its way, or was once, without a signature that this machine computed.
    """

    refusals: int = 0
    unsigned: set[int] = field(default_factory=set)

    @property
    def trusting(self) -> bool:
        """Whether contents above 1 MiB may go unsigned over plain HTTP."""
        return self.rules.trust_network and not self.target.secure

    async def move(self, row: Row) -> Moved:
        key, to = self.source.key(row.key), self.target.key(row.target_key)
        reading = ReadOptions(version_id=row.version or None, if_match=row.etag)
        await self.bandwidth.take(row.size)
        try:
            moved = await self._moved(row, key, to, reading)
            return moved._replace(checksum=TRUSTED) if row.id in self.unsigned else moved
        finally:
            self.unsigned.discard(row.id)

    async def _moved(self, row: Row, key: str, to: str, reading: ReadOptions) -> Moved:
        try:
            if row.size <= (_ONE_PUT if is_md5(row.etag) else MIB):
                sent = await self._in_one_put(row, key, to, reading)
            else:
                sent = await self._in_parts(row, key, to, reading)
        except PreconditionFailed as exc:
            return await self._refused(row, key, to, exc)
        return await self._verified(row, key, to, *sent)

    async def _in_one_put(self, row: Row, key: str, to: str, reading: ReadOptions) -> tuple[FileInfo, UploadOptions]:
        engine, bucket = self.target.engine, self.target.place.bucket
        content = SourceContent(self.source, key, reading)
        whole = row.size <= MIB
        # Whole content is received in pieces, then joined: for a moment it is in memory twice.
        held = 2 * row.size if whole else await self._passing(row.size)
        async with self.memory.hold(held), await content.open() as download:
            if download.length != row.size:
                raise _changed(row)
            data = await download.read() if whole else None
            options = await self._upload_options(row, download.info)
            # No response over plain HTTP is signed, neither the source's nor one that tells what the target verifies.
            passed_on = data is None and (self.target.secure or self.trusting)
            digests = told_digests(download.info) if passed_on and self.refusals < _REFUSALS else {}

            async def put() -> FileInfo:
                if data is not None:
                    return await engine.transport.put(bucket, to, data, options)
                if not digests or self.refusals >= _REFUSALS:
                    return await engine.transport.put(bucket, to, content.body(0, row.size), options)
                if self.trusting:
                    self.unsigned.add(row.id)
                try:
                    return await engine.transport.put(bucket, to, content.body(0, row.size, digests), options)
                except _REFUSED as error:
                    if content.failure is not None or isinstance(error, RECOVERABLE):
                        raise
                    self.refusals += 1
                    stored = await engine.transport.put(bucket, to, content.body(0, row.size), options)
                    if not isinstance(error, DigestRejected):
                        # It is not about this content: the server, or a policy, refuses how it was authenticated.
                        self.refusals = _REFUSALS
                    return stored

            await engine.runner.run(
                "upload_file",
                bucket,
                to,
                guarded(content, put),
                # Content whose digests are refused is sent twice.
                timeout=engine.settings.timeouts.for_bytes(2 * row.size if digests else row.size),
                bytes_sent=row.size,
                storage_class=options.storage_class,
            )
        return download.info, options

    async def _in_parts(self, row: Row, key: str, to: str, reading: ReadOptions) -> tuple[FileInfo, UploadOptions]:
        """Stream in the source's own parts, if they are known."""
        info = await self.source.head(key, row.version)
        if info.etag != row.etag:
            raise _changed(row)
        engine = self.target.engine
        parts = await self.source.layout(key, info, row.version) if not is_md5(row.etag) else None
        if parts is None:
            if row.size <= _UNPARTED:
                return await self._in_one_put(row, key, to, reading)
            parts = plan_parts(info.size, engine.settings.transfer.part_size)
        options = await self._upload_options(row, info)
        content = SourceContent(self.source, key, reading)
        left, sent = iter(parts), list[PartInfo]()
        async with open_upload(engine, self.target.place.bucket, to, options) as upload:

            async def work() -> None:
                for part in left:
                    async with self.memory.hold(await self._passing(part.size)):
                        sent.append(await upload.send(part, content))

            await run_all(work() for _ in range(min(engine.settings.transfer.parallel_parts, len(parts))))
            await upload.complete(sent)
        return info, options

    async def _passing(self, size: int) -> int:
        """Return the bytes of memory that `size` bytes of content take on their way."""
        # aiobotocore receives a whole body in pieces, then joins them.
        streams = await self.target.engine.transport.streams(self.target.place.bucket)
        return PASSING if streams else 2 * size

    async def _upload_options(self, row: Row, info: FileInfo) -> UploadOptions:
        lock = self.source.locks and self.target.locks and "object-lock" not in self.rules.accept
        storage = "storage-class" not in self.rules.accept
        kept = kept_options(info, await self._tags(info, row.version), storage_class=storage, lock=lock)
        kept.setdefault("content_type", content_type(row.target_key))
        return UploadOptions(if_none_match="*" if self._creates else None, **kept)

    async def _verified(self, row: Row, key: str, to: str, ours: FileInfo, options: UploadOptions) -> Moved:
        """Verify content by ETag, checksum or reading back, and metadata and tags by the target's HEAD."""
        theirs = await self.target.head(to)
        check_stored(self.target, self.rules, ours, theirs)
        await check_tags(self.target, self.rules, options.tags, theirs)
        if ours.etag is not None and theirs.etag == ours.etag:
            return Moved(ours.size, ours.etag, theirs.etag, "etag" if is_md5(ours.etag) else "parts", ours.size)
        told = told_same(ours, theirs)
        if told is False or (told is None and not await same_content(self.source, key, row.version, self.target, to)):
            raise _other_content(row)
        return Moved(ours.size, ours.etag, theirs.etag, "checksum" if told else "sha256", ours.size)


def _changed(row: Row) -> ObjectChanged:
    return ObjectChanged("the source was replaced after it was listed", operation="migrate", key=row.key)


def _other_content(row: Row) -> IntegrityError:
    return IntegrityError("the target has stored different content", operation="migrate", key=row.target_key)
