"""Moves single objects: when the next one may start, how it is copied or streamed, and what verifies the copy.

`Schedule` is pure: it decides which row is next. The other classes wait.

A mover raises if anything goes wrong, and returns what verified the copy. A changed source is moved as it is now.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from apm_s3._backoff import AdaptiveLimit
from apm_s3._migration.journal import TRUSTED, Row
from apm_s3._migration.models import MigrationOptions, Sameness, compare, group_of, is_md5
from apm_s3._migration.sides import Side, differences, kept_options
from apm_s3._s3.objects.streams import Download
from apm_s3._s3.retry import RECOVERABLE
from apm_s3._tasks import run_all
from apm_s3._wire.content_types import content_type
from apm_s3._wire.parts import Part, plan_parts
from apm_s3.errors import (
    AccessDenied,
    DigestRejected,
    IntegrityError,
    ObjectChanged,
    PreconditionFailed,
    RequestRejected,
    UnsupportedByServer,
)
from apm_s3.models import FileInfo
from apm_s3.models._objects import PartInfo, Stream
from apm_s3.options import CopyOptions, ReadOptions, UploadOptions


@dataclass(slots=True)
class _Group:
    limit: AdaptiveLimit
    rows: deque[Row] = field(default_factory=deque)
    running: int = 0


class Schedule:
    """Takes rows from each group of keys in turn, within a limit for each group.

    A group is a first folder below the prefix, as S3 slows down prefixes, not buckets
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html).

    Args:
        most: rows of one group at once, until S3 slows it down.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._groups: dict[str, _Group] = {}
        self._turns: deque[str] = deque()
        self.waiting = 0

    def add(self, rows: Iterable[Row]) -> None:
        """Add rows to move."""
        for row in rows:
            name = group_of(row.target_key)
            group = self._groups.get(name)
            if group is None:
                group = self._groups[name] = _Group(AdaptiveLimit(self._most))
            if not group.rows:
                self._turns.append(name)
            group.rows.append(row)
            self.waiting += 1

    def take(self) -> Row | None:
        """Return the next row; None if there is none, or if all groups with rows are at their limits."""
        for _ in range(len(self._turns)):
            name = self._turns[0]
            group = self._groups[name]
            self._turns.rotate(-1)
            if group.running >= int(group.limit.value):
                continue
            row = group.rows.popleft()
            if not group.rows:
                self._turns.remove(name)
            group.running += 1
            self.waiting -= 1
            return row
        return None

    def done(self, row: Row) -> None:
        """Note that a row has ended, successfully or not."""
        name = group_of(row.target_key)
        group = self._groups[name]
        group.running -= 1
        if group.limit.value < self._most:
            group.limit.succeeded()
        elif not group.running and not group.rows:
            del self._groups[name]

    def slowed(self, key: str, sent_at: float) -> bool:
        """Cut the limit of a key's group after a 503 response to a request sent at `sent_at` (`time.monotonic`).

        Returns:
            Whether that is enough: False if nothing of the group is running, or only one row has been for a while.
        """
        group = self._groups.get(group_of(key))
        if group is None:
            return False
        # Begins at what is running, not at the limit: a group that never used its limit would have to be halved several
        # times before it sends less. At the lowest limit, the group cannot slow down further: then the pool must.
        lowest = group.limit.value <= 1
        return not (group.limit.slowed(sent_at, group.running or 1) and lowest)

    def limit(self, key: str) -> float:
        """Return how many rows of the key's group may move at once."""
        group = self._groups.get(group_of(key))
        return self._most if group is None else group.limit.value


class Bandwidth:
    """Limits bytes a second with a token bucket of one second. None means no limit."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._tokens = rate or 0.0
        self._at: float | None = None

    async def take(self, size: int) -> None:
        """Wait until `size` bytes may move. A large request goes into debt, which the next callers wait off."""
        if self._rate is None:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        passed = 0.0 if self._at is None else now - self._at
        self._at = now
        self._tokens = min(self._rate, self._tokens + passed * self._rate) - size
        if self._tokens < 0:
            await asyncio.sleep(-self._tokens / self._rate)


class Memory:
    """Limits the bytes of content in memory to `size` in all; they are granted in the order of the requests."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._free = size
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
        """Wait until `size` bytes are free, and keep them until the block ends. More than all of them count as all."""
        taken = min(size, self._size)
        await self._take(taken)
        try:
            yield
        finally:
            self._free += taken
            self._wake()

    async def _take(self, size: int) -> None:
        if not self._waiters and size <= self._free:
            self._free -= size
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append((size, waiter))
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled():
                # They were granted in the same moment.
                self._free += size
            self._wake()
            raise

    def _wake(self) -> None:
        """Grant the longest waiting requests that fit; cancelled ones are only dropped."""
        while self._waiters and (self._waiters[0][1].cancelled() or self._waiters[0][0] <= self._free):
            size, waiter = self._waiters.popleft()
            if not waiter.cancelled():
                self._free -= size
                waiter.set_result(None)


PASSING = 2 * 1024**2
"""Bytes of memory that content takes on its way from one connection to another: received, being signed, being sent."""


_SIZES = {"sha256": 32, "sha1": 20, "crc32c": 4, "crc32": 4}
"""Bytes of the checksums that are passed on."""


def reported_digests(info: FileInfo) -> dict[str, str]:
    """Return what the source says about the content of an object, as `Stream.digests`. Pure."""
    told = {name: info.checksums[name] for name in _SIZES if _is_digest(info.checksums.get(name), _SIZES[name])}
    if info.etag is not None and is_md5(info.etag):
        told["md5"] = b64encode(bytes.fromhex(info.etag.strip('"'))).decode()
    return told


def _is_digest(value: str | None, size: int) -> bool:
    try:
        return value is not None and len(b64decode(value, validate=True)) == size
    except ValueError:
        return False


class SourceContent:
    """A `RandomSource` that reads from S3.

    Checksums of the source are not verified here: the movers compare what the target has stored with the source.

    Args:
        options: version and condition of the object.
    """

    def __init__(self, side: Side, key: str, options: ReadOptions) -> None:
        self.failure: Exception | None = None
        self.size = -1
        self._side = side
        self._key = key
        self._options = options
        self._unused: Download | None = None

    async def open(self) -> Download:
        """Begin to read the whole object. The first body goes on from there; the caller closes it."""
        self._unused = await self._download(self._options)
        self.size = self._unused.length
        return self._unused

    def body(self, start: int, stop: int, digests: Mapping[str, str] | None = None) -> Stream:
        return Stream(lambda: self._pieces(start, stop), size=stop - start, digests=digests or {})

    async def _pieces(self, start: int, stop: int) -> AsyncIterator[bytes]:
        self.failure = None
        try:
            async with await self._opened(start, stop) as download:
                if download.length != stop - start:
                    raise ObjectChanged(  # noqa: TRY301 - is kept below
                        "the source was replaced after it was listed", operation="migrate", key=self._key
                    )
                async for piece in download:
                    yield piece
        except Exception as exc:
            self.failure = exc
            raise

    async def _opened(self, start: int, stop: int) -> Download:
        unused, self._unused = self._unused, None
        if unused is not None:
            return unused
        whole = (start, stop) == (0, self.size)
        return await self._download(self._options if whole else replace(self._options, range=(start, stop)))

    async def _download(self, options: ReadOptions) -> Download:
        return await self._side.endpoint.download(self._side.place.bucket, self._key, options)


def check_stored(target: Side, rules: MigrationOptions, ours: FileInfo, theirs: FileInfo) -> None:
    """Compare the HEAD responses of both sides.

    Raises:
        IntegrityError: the target has dropped or changed something that `accept` does not name.
    """
    wrong = differences(ours, theirs, lock=target.locks and "object-lock" not in rules.accept)
    if "metadata" in rules.accept:
        wrong = {name: words for name, words in wrong.items() if name == "size"}
    if "storage-class" not in rules.accept and ours.storage_class != theirs.storage_class:
        wrong["storage class"] = f"storage class ({theirs.storage_class} instead of {ours.storage_class})"
    if wrong:
        raise IntegrityError(
            f"the target has other {', '.join(wrong.values())}",
            operation="migrate",
            bucket=theirs.bucket,
            key=theirs.key,
        )


async def check_tags(
    target: Side, rules: MigrationOptions, tags: Mapping[str, str], theirs: FileInfo, *, exactly: bool = False
) -> None:
    """Compare the target's tags with the source's, reading them only if there should be some.

    Args:
        exactly: also read them if there may be some: this migration has not written the object.

    Raises:
        IntegrityError: the tags differ.
    """
    if "tags" in rules.accept or not (tags or exactly):
        return
    stored = await (target.tags(theirs) if exactly else target.s3.get_file_tags(theirs.bucket, theirs.key))
    if dict(stored) != dict(tags):
        lost = sorted(set(tags) - set(stored))
        what = f"dropped the tags {', '.join(lost)}" if lost else "other tags"
        raise IntegrityError(f"the target has {what}", operation="migrate", bucket=theirs.bucket, key=theirs.key)


def same_checksums(ours: FileInfo, theirs: FileInfo) -> bool | None:
    """Compare the whole-object checksums that both servers keep; None if they share no kind of checksum."""
    common = set(ours.checksums) & set(theirs.checksums)
    return None if not common else all(ours.checksums[name] == theirs.checksums[name] for name in common)


async def same_content(source: Side, key: str, version: str, target: Side, to: str) -> bool:
    """Read both sides and return whether their content is the same."""
    ours, theirs = await asyncio.gather(source.digest(key, version), target.digest(to))
    return ours == theirs


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

    async def delete(self, keys: list[str]) -> int:
        """Delete relative keys from the target and return how many failed."""


@dataclass(slots=True)
class S3Mover(ABC):
    """What both movers between prefixes share."""

    source: Side
    target: Side
    rules: MigrationOptions
    bandwidth: Bandwidth
    memory: Memory

    @abstractmethod
    async def move(self, row: Row) -> Moved: ...

    async def is_same(self, row: Row) -> bool:
        key, version = self.source.key(row.key), row.version
        theirs = await self.target.head(self.target.key(row.target_key))
        ours = await self.source.head(key, version)
        found = compare(ours.size, ours.etag, theirs.size, theirs.etag)
        if found is not Sameness.IDENTICAL and (ours.size != theirs.size or not same_checksums(ours, theirs)):
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

    async def delete(self, keys: list[str]) -> int:
        return await self.target.delete(keys)

    async def _tags(self, info: FileInfo, version: str) -> dict[str, str]:
        return {} if "tags" in self.rules.accept else dict(await self.source.tags(info, version))

    async def gone(self, row: Row) -> bool:
        return await self.source.lacks(self.source.key(row.key), row.version)

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
        if same_checksums(ours, theirs) is None and (parts := await self._parts(row, key, ours)):
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
        await target.endpoint.copy_in_parts(ours, target.place.bucket, to, options, parts)
        theirs = await target.head(to)
        check_stored(target, self.rules, ours, theirs)
        await check_tags(target, self.rules, await self._tags(ours, row.version), theirs)
        return theirs

    async def _compared(self, row: Row, key: str, to: str, ours: FileInfo, theirs: FileInfo) -> Moved:
        if theirs.etag is not None and theirs.etag == ours.etag:
            return Moved(ours.size, ours.etag, theirs.etag, "parts")
        told = same_checksums(ours, theirs)
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
        endpoint, bucket = self.target.endpoint, self.target.place.bucket
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
            digests = reported_digests(download.info) if passed_on and self.refusals < _REFUSALS else {}

            async def put() -> FileInfo:
                if data is not None:
                    return await endpoint.put_once(bucket, to, data, options)
                if not digests or self.refusals >= _REFUSALS:
                    return await endpoint.put_once(bucket, to, content.body(0, row.size), options)
                if self.trusting:
                    self.unsigned.add(row.id)
                try:
                    return await endpoint.put_once(bucket, to, content.body(0, row.size, digests), options)
                except _REFUSED as error:
                    if content.failure is not None or isinstance(error, RECOVERABLE):
                        raise
                    self.refusals += 1
                    stored = await endpoint.put_once(bucket, to, content.body(0, row.size), options)
                    if not isinstance(error, DigestRejected):
                        # It is not about this content: the server, or a policy, refuses how it was authenticated.
                        self.refusals = _REFUSALS
                    return stored

            # Content whose digests are refused is sent twice.
            longest = 2 * row.size if digests else row.size
            storage_class = options.storage_class
            await endpoint.put(bucket, to, content, put, size=row.size, longest=longest, storage_class=storage_class)
        return download.info, options

    async def _in_parts(self, row: Row, key: str, to: str, reading: ReadOptions) -> tuple[FileInfo, UploadOptions]:
        """Stream in the source's own parts, if they are known."""
        info = await self.source.head(key, row.version)
        if info.etag != row.etag:
            raise _changed(row)
        endpoint = self.target.endpoint
        parts = await self.source.layout(key, info, row.version) if not is_md5(row.etag) else None
        if parts is None:
            if row.size <= _UNPARTED:
                return await self._in_one_put(row, key, to, reading)
            parts = plan_parts(info.size, endpoint.part_size)
        options = await self._upload_options(row, info)
        content = SourceContent(self.source, key, reading)
        left, sent = iter(parts), list[PartInfo]()
        async with endpoint.open_upload(self.target.place.bucket, to, options) as upload:

            async def work() -> None:
                for part in left:
                    async with self.memory.hold(await self._passing(part.size)):
                        sent.append(await upload.send(part, content))

            await run_all(work() for _ in range(min(endpoint.parallel_parts, len(parts))))
            await upload.complete(sent)
        return info, options

    async def _passing(self, size: int) -> int:
        """Return the bytes of memory that `size` bytes of content take on their way."""
        # aiobotocore receives a whole body in pieces, then joins them.
        streams = await self.target.endpoint.streams(self.target.place.bucket)
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
        told = same_checksums(ours, theirs)
        if told is False or (told is None and not await same_content(self.source, key, row.version, self.target, to)):
            raise _other_content(row)
        return Moved(ours.size, ours.etag, theirs.etag, "checksum" if told else "sha256", ours.size)


def _changed(row: Row) -> ObjectChanged:
    return ObjectChanged("the source was replaced after it was listed", operation="migrate", key=row.key)


def _other_content(row: Row) -> IntegrityError:
    return IntegrityError("the target has stored different content", operation="migrate", key=row.target_key)
