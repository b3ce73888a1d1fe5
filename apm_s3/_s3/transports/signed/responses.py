"""Converts S3's responses to values and errors, and streams the body of a GET."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from apm_s3._hints import Advice
from apm_s3._s3.transports.expectations import check_unchanged, corrupted
from apm_s3._s3.transports.signed.connection import ConnectionBroken, Response
from apm_s3._s3_responses import s3_error
from apm_s3._wire import checksums
from apm_s3._wire.http1 import http_time, retry_after, unix_time
from apm_s3._wire.xml import parse_error
from apm_s3.errors import (
    ApmS3Error,
    ConnectFailed,
    ConnectionLost,
    RequestTimedOut,
    S3Error,
    TransportError,
    UnsupportedByServer,
)
from apm_s3.models import FileInfo

if TYPE_CHECKING:
    from apm_s3._s3.transports.signed.connection import Stalls
    from apm_s3._s3.transports.signed.requests import Request


class ResponseHead(Protocol):
    """The head of a response of either path."""

    @property
    def status(self) -> int:
        """Return the status."""

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers, names in lower case."""


_META = "x-amz-meta-"
CHECKSUM = "x-amz-checksum-"
_CONTENT = frozenset({
    "cache-control", "content-disposition", "content-encoding", "content-language", "expires", "x-amz-tagging-count",
    "x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date", "x-amz-object-lock-legal-hold",
})  # fmt: skip
_MAX_SHAPES = 1000

T = TypeVar("T")
_NOTHING: dict[str, str] = {}


class _Shape:
    """The positions of relevant headers, in responses that have the same headers in the same order.

    A server sends few different orders, so names are compared once per order, not in every response. An index of -1
    means that the header is missing.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        at = {name: index for index, name in enumerate(names)}
        self.length = at.get("content-length", -1)
        self.range = at.get("content-range", -1)
        self.etag = at.get("etag", -1)
        self.version = at.get("x-amz-version-id", -1)
        self.modified = at.get("last-modified", -1)
        self.type = at.get("content-type", -1)
        self.storage = at.get("x-amz-storage-class", -1)
        self.date = at.get("date", -1)
        self.kind = at.pop("x-amz-checksum-type", -1)
        self.metadata = _stripped(at, _META)
        self.checksums = _stripped(at, CHECKSUM)
        self.content = {name: index for name, index in at.items() if name in _CONTENT}


def _stripped(at: dict[str, int], prefix: str) -> dict[str, int]:
    return {name[len(prefix) :]: index for name, index in at.items() if name.startswith(prefix)}


_shapes: dict[tuple[str, ...], _Shape] = {}


def file_info(bucket: str, key: str, headers: Mapping[str, str], length: int | None) -> FileInfo:
    """Return the object's information from the headers of a response to GET or HEAD.

    Args:
        length: of the body; it is the object's size if the headers do not have it.

    Raises:
        UnsupportedByServer: the size of the object is unknown.
    """
    names = tuple(headers)
    shape = _shapes.get(names)
    if shape is None:
        if len(_shapes) >= _MAX_SHAPES:
            _shapes.clear()
        shape = _shapes[names] = _Shape(names)
    values = [*headers.values(), ""]
    size = values[shape.range].rpartition("/")[2] if shape.range >= 0 else values[shape.length]
    if not size and length is None:
        raise UnsupportedByServer("the server does not send the size of the object", bucket=bucket, key=key)
    modified = values[shape.modified]
    date = values[shape.date]
    return FileInfo(
        bucket,
        key,
        int(size or length or 0),
        values[shape.etag] or None,
        values[shape.version] or None,
        http_time(modified) if modified else None,
        values[shape.type] or None,
        {name: values[index] for name, index in shape.metadata.items()} if shape.metadata else _NOTHING,
        values[shape.storage] or "STANDARD",
        {name: values[index] for name, index in shape.checksums.items()}
        if shape.checksums and values[shape.kind] != "COMPOSITE"
        else _NOTHING,
        unix_time(date),
        {name: values[index] for name, index in shape.content.items()} if shape.content else _NOTHING,
    )


def refusal(call: Request, status: int, headers: Mapping[str, str], body: bytes) -> S3Error:
    """Return the error for an error response.

    Raises:
        IntegrityError: it is a 304 that does not match `call`.
    """
    if status == 304:
        check_unchanged(call, headers.get("etag"))
    document = parse_error(body) if body else parse_error(b"<Error/>")
    return s3_error(
        operation=call.operation,
        status=status,
        s3_code=document.code,
        message=document.message,
        bucket=call.bucket,
        key=call.key,
        request_id=document.request_id or headers.get("x-amz-request-id"),
        retry_after=retry_after(headers.get("retry-after")),
        region=headers.get("x-amz-bucket-region") or document.region,
        server_time=unix_time(headers.get("date")),
    )


def verify(call: Request, data: bytes, info: FileInfo) -> None:
    """Verify the bytes of a whole object by the checksum in the response.

    Raises:
        IntegrityError: they differ.
    """
    known = checksums.verifiable(info.checksums)
    if known is None:
        return
    algorithm, expected = known
    actual = checksums.checksum(algorithm, data)
    if actual != expected:
        raise corrupted(call.operation, info.bucket, info.key, algorithm, actual, expected)


def stalled_error(call: Request, seconds: float, endpoint: str) -> RequestTimedOut:
    """Return the error for a stall."""
    return RequestTimedOut(
        f"there was no progress for {seconds:g} seconds",
        **call.where,
        endpoint=endpoint,
    )


def broken(call: Request, exc: Exception, endpoint: str) -> TransportError:
    """Return the error for a missing or incomplete response, to be raised `from` the exception."""
    kind, outcome = (
        (ConnectionLost, "the connection broke")
        if isinstance(exc, ConnectionBroken)
        else (ConnectFailed, "could not connect")
    )
    return kind(f"{outcome}: {exc}".rstrip(". "), endpoint=endpoint, **call.where)


class SignedBody:
    """The body of a GET over our own connections."""

    def __init__(self, call: Request, response: Response, stalls: Stalls, endpoint: str) -> None:
        if response.length is None:
            raise UnsupportedByServer(
                "the server does not send the size of the object",
                **call.where,
                hint=Advice.CHECK_PROXY(),
            )
        self.info = file_info(call.bucket, call.key or "", response.headers, response.length)
        self.length = response.length
        self._call = call
        self._response = response
        self._stalls = stalls
        self._endpoint = endpoint
        self._broken: ApmS3Error | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece: everything that has arrived."""
        if self._broken is not None:
            raise self._broken
        try:
            piece = await self._wait(self._response.readany())
        except BaseException:
            self._response.close()
            raise
        if piece:
            return piece
        raise StopAsyncIteration

    async def write_to(self, sink: Callable[[memoryview], object]) -> None:
        try:
            await self._wait(self._response.write_to(sink))
        except TransportError as error:
            self._broken = error
            self._response.close()
        except BaseException:
            self._response.close()
            raise

    async def aclose(self) -> None:
        if not self._response.ended:
            self._response.close()
            # The connection is closed in the loop's next iteration.
            await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _wait(self, work: Awaitable[T]) -> T:
        """Return the result of `work`, which waits for the connection; received bytes count as progress."""
        task = self._stalls.enter(time.monotonic())
        self._stalls.reading(task, self._response)
        try:
            result = await work
        except ConnectionBroken as exc:
            self._stalls.leave(task)
            raise broken(self._call, exc, self._endpoint) from exc
        except asyncio.CancelledError:
            if self._stalls.leave(task):
                raise stalled_error(self._call, self._stalls.timeout, self._endpoint) from None
            raise
        except BaseException:
            self._stalls.leave(task)
            raise
        self._stalls.leave(task)
        return result
