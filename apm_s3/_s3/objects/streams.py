"""The body of an object as a stream: in bounded memory, resumed after failures, never a mix of two objects."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from apm_s3._s3.engine import Engine
from apm_s3._s3.pool import StreamSlot
from apm_s3._s3.runner import POOL_HINT, StreamReport
from apm_s3._s3.transports.base import Body
from apm_s3._s3.transports.expectations import corrupted, joined
from apm_s3._tasks import Watch, shielded
from apm_s3._wire import checksums
from apm_s3.errors import (
    DeadlineExceeded,
    NotFound,
    ObjectChanged,
    ObjectTooLarge,
    PreconditionFailed,
    TransportError,
    UsageError,
)
from apm_s3.events import Outcome
from apm_s3.models import FileInfo
from apm_s3.options import ReadOptions

_PROGRESS = 1024**2
"""Bytes after which `drain` moves its deadline."""


class Download:
    """The body of an object, read in pieces.

    It is opened by `async with`, or by awaiting it; then `info` describes the object. If the connection breaks, the
    rest is requested again (`Range`, `If-Match`); if the object was replaced meanwhile, ObjectChanged is raised.
    Leaving the `async with` early, or cancelling, closes the connection. While nobody reads, other calls may use its
    slot of the pool. If the whole object is read to the end and S3 has a checksum of it, the checksum is verified.

    Args:
        upto: stop after this many bytes.
        verify: whether to verify S3's checksum; False for a caller that compares the content in another way.
    """

    def __init__(
        self,
        engine: Engine,
        bucket: str,
        key: str,
        options: ReadOptions,
        operation: str = "download_file",
        *,
        upto: int | None = None,
        verify: bool = True,
    ) -> None:
        self._engine = engine
        self._bucket = bucket
        self._key = key
        self._options = options
        self._operation = operation
        self._upto = upto
        self._may_verify = verify
        self._slot = StreamSlot(engine.pool)
        self._ends_at: float | None = None
        self._waited = 0.0
        self._body: Body | None = None
        self._pieces: AsyncIterator[bytes] | None = None
        self._info: FileInfo | None = None
        self._length = 0
        self._got = 0
        self._held = b""
        self._cut_short = False
        self._known: tuple[str, str] | None = None
        self._checksum: checksums.Checksum | None = None
        self._report = StreamReport(engine.runner)

    @property
    def info(self) -> FileInfo:
        """Return the object's information; `size` is that of the whole object, even if only a range is read.

        Raises:
            UsageError: the download has not been opened.
        """
        if self._info is None:
            raise UsageError(
                "the download is not open", operation=self._operation, hint="use it with 'async with', or await it"
            )
        return self._info

    @property
    def length(self) -> int:
        """Return the total number of bytes of this download."""
        return self._length

    @property
    def remaining(self) -> int:
        """Return the number of bytes that have not been read yet."""
        return self._length - self._got + len(self._held)

    async def read(self, size: int = -1) -> bytes:
        """Return the next `size` bytes, fewer only at the end; everything that is left if `size` is negative."""
        if size < 0:
            return await joined([piece async for piece in self])
        pieces: list[bytes] = []
        got = 0
        while got < size:
            piece = await anext(self, None)
            if piece is None:
                break
            pieces.append(piece)
            got += len(piece)
        if got > size:
            self._held = pieces[-1][size - got :]
            pieces[-1] = pieces[-1][: size - got]
        return await joined(pieces)

    async def drain(self, take: Callable[[bytes | memoryview], object]) -> None:
        """Pass everything that is left to `take`, in pieces: the same as iteration, with less CPU.

        `take` must be quick, because the deadline includes it, and must not keep pieces: they are overwritten.
        """
        moved = self._got

        def keep(piece: memoryview) -> None:
            self._count(piece)
            taken(piece)

        def taken(piece: bytes | memoryview) -> None:
            nonlocal moved
            take(piece)
            if self._got - moved >= _PROGRESS:
                moved = self._got
                watch.when = self._latest(began)

        held, self._held = self._held, b""
        if held:
            take(held)
        async with self._waiting() as watch:
            began = time.monotonic()
            while True:
                if self._body is not None and not self._cut_short:
                    await self._body.write_to(keep)
                piece = await self._piece()
                if piece is None:
                    break
                taken(piece)
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection; harmless if called twice."""
        self._tell(Outcome.SUCCESS if self._got >= self._length else Outcome.CANCELLED)
        await self._give_up()

    async def _give_up(self) -> None:
        self._ends_at = None
        self._slot.release()
        await self._drop_body()

    def _tell(self, outcome: BaseException | Outcome) -> None:
        """Report an incomplete read to metrics and hooks as a failure."""
        self._report.end(outcome, self._got, None if self._info is None else self._info.storage_class, self._waited)

    def __await__(self) -> Generator[Any, None, Self]:
        return self._open().__await__()

    async def __aenter__(self) -> Self:
        return await self._open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._held:
            held, self._held = self._held, b""
            return held
        async with self._waiting():
            piece = await self._piece()
        self._slot.lend()
        if piece is None:
            await self.aclose()
            raise StopAsyncIteration
        return piece

    async def _open(self) -> Self:
        if self._info is not None:
            return self
        timeout = self._options.timeout
        if timeout is not None:
            self._ends_at = time.monotonic() + timeout

        async def attempt() -> Body:
            body = await self._engine.transport.open(self._bucket, self._key, self._options)
            limit = self._options.max_size
            if limit is not None and body.length > limit:
                await body.aclose()
                raise ObjectTooLarge(
                    size=body.length, limit=limit, operation=self._operation, bucket=self._bucket, key=self._key
                )
            return body

        body = await self._engine.runner.run(
            self._operation, self._bucket, self._key, attempt, timeout=timeout, report=self._report
        )
        self._body, self._pieces = body, aiter(body)
        self._info, self._length = body.info, self._wanted(body)
        self._cut_short = self._length < body.length
        if self._may_verify and self._options.range is None and not self._cut_short:
            self._known = checksums.verifiable(body.info.checksums)
            self._checksum = checksums.start(self._known[0]) if self._known else None
        return self

    def _wanted(self, body: Body) -> int:
        return body.length if self._upto is None else min(body.length, self._upto)

    @asynccontextmanager
    async def _waiting(self) -> AsyncIterator[Watch]:
        """Run the block with a slot and a deadline; any error closes the download."""
        began = time.monotonic()
        watch = None
        queued = False
        try:
            with self._engine.runner.watched(self._latest(began)) as watch:
                try:
                    if self._pieces is not None:
                        queued = True
                        await self._take_slot(began)
                        queued = False
                    yield watch
                except BaseException:
                    await shielded(self._give_up())
                    raise
        except BaseException as exc:
            self._waited += time.monotonic() - began
            if not isinstance(exc, TimeoutError) or watch is None or not watch.expired:
                self._tell(exc)
                raise
            error = self._overdue(queued)
            self._tell(error)
            raise error from exc
        self._waited += time.monotonic() - began

    async def _take_slot(self, began: float) -> None:
        trace = self._report.trace
        if trace is None:
            await self._slot.take()
        elif await self._slot.take():
            trace.waited(time.monotonic() - began)

    def _overdue(self, queued: bool) -> DeadlineExceeded:
        spent = self._options.timeout or self._waited
        waiting = " while waiting for a slot of the pool" if queued else ""
        return DeadlineExceeded(
            f"not read within {spent:.3g} seconds{waiting}: {self._got} of {self._length} bytes came",
            operation=self._operation,
            bucket=self._bucket,
            key=self._key,
            hint=POOL_HINT if queued else None,
        )

    def _latest(self, began: float) -> float:
        # Without a timeout of the call, only waiting counts: the reader may take any time.
        return self._ends_at or began + self._engine.settings.timeouts.for_bytes(self._got) - self._waited

    async def _piece(self) -> bytes | None:
        if self._pieces is None:
            if self._got < self._length or self._info is None:
                raise UsageError(
                    "the download is not open", operation=self._operation, hint="read it inside its 'async with'"
                )
            return None
        if self._cut_short and self._got == self._length:
            return None
        try:
            piece = await anext(self._pieces, None)
        except TransportError as error:
            piece = await self._resume(error)
        if piece is None:
            self._verify()
            return None
        if self._cut_short:
            piece = piece[: self._length - self._got]
        self._count(piece)
        return piece

    def _count(self, piece: bytes | memoryview) -> None:
        self._got += len(piece)
        if self._checksum is not None:
            self._checksum.update(piece)

    def _verify(self) -> None:
        if self._known is None or self._checksum is None:
            return
        algorithm, expected = self._known
        actual = checksums.encode(self._checksum.digest())
        if actual != expected:
            raise corrupted(self._operation, self._bucket, self._key, algorithm, actual, expected)

    async def _resume(self, error: TransportError) -> bytes | None:
        """Return the next piece, over a new connection."""
        if self._got >= self._length:
            return None
        await self._drop_body()
        if self.info.etag is None or not error.retryable:
            raise error
        # The new request needs its own slot; waiting for it while holding one could be a deadlock.
        self._slot.release()
        try:
            with self._report.traced():
                return await self._engine.runner.run("resume_download", self._bucket, self._key, self._reopen)
        except (PreconditionFailed, NotFound) as exc:
            raise object_changed(self._operation, self._bucket, self._key) from exc

    async def _reopen(self) -> bytes | None:
        # The first piece is part of the attempt, so that a server that always breaks after accepting does not loop
        # forever.
        start = self._options.range[0] if self._options.range else 0
        options = replace(
            self._options,
            range=(start + self._got, start + self._length),
            if_match=self.info.etag,
            if_none_match=None,
            if_modified_since=None,
            if_unmodified_since=None,
        )
        self._cut_short = False
        body = self._body = await self._engine.transport.open(self._bucket, self._key, options)
        pieces = self._pieces = aiter(body)
        try:
            self._check_rest(body)
            return await anext(pieces, None)
        except BaseException:
            await self._drop_body()
            raise

    def _check_rest(self, body: Body) -> None:
        # The body was checked against its own headers; now check those against the original ones of this download.
        known, explained = self.info, body.info
        if (explained.size, explained.etag) != (known.size, known.etag) or body.length != self._length - self._got:
            raise object_changed(self._operation, self._bucket, self._key)

    async def _drop_body(self) -> None:
        body, self._body = self._body, None
        pieces, self._pieces = self._pieces, None
        if body is not None:
            await body.aclose()
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


def object_changed(operation: str, bucket: str, key: str) -> ObjectChanged:
    """Return the error for an object that was replaced during the download."""
    return ObjectChanged(
        "the object was replaced or deleted while it was being read", operation=operation, bucket=bucket, key=key
    )
