"""The `read` timeout of attempts, with one timer for all requests, because a timer per request costs 7 µs.

Data is received into the connection's own buffer, as in asyncio's buffered protocols, and parsed in place. A general
HTTP client spends two thirds of the CPU of a small request on features that S3 does not need.
https://docs.python.org/3/library/asyncio-protocol.html#buffered-streaming-protocols
"""

from __future__ import annotations

import asyncio
import functools
import select
import ssl
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from apm_s3._s3.transports.expectations import MAX_DOCUMENT, MAX_ERROR, joined
from apm_s3._typing import override
from apm_s3._wire.http1 import MAX_HEAD, Chunks, Head, MalformedResponse, parse_head
from apm_s3.errors import UsageError


class Stalls:
    """Cancels tasks that wait for the server and have made no progress for `timeout` seconds.

    A stall is detected up to a quarter of the timeout later. A task waits for one thing at a time.

    A stall and a cancellation of the caller can meet in the same turn of the loop, and both are a `CancelledError`.
    `_sweep` notes how many cancellations were pending (`Task.cancelling`) before it adds its own. `leave` takes that
    one back, and calls the end of the wait a stall only if no other cancellation came meanwhile: the caller's wins, as
    in `asyncio.timeout`.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._seen: dict[asyncio.Task[Any], float] = {}
        self._reading: dict[asyncio.Task[Any], tuple[Response, int]] = {}
        self._cancelled: dict[asyncio.Task[Any], int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, now: float) -> asyncio.Task[Any]:
        """Watch the current task until `leave`; `now` is of `time.monotonic`."""
        task = asyncio.current_task(self._loop)
        if task is None:
            raise RuntimeError("a request needs a task to run in")
        self._seen[task] = now
        if self._timer is None:
            self._arm()
        return task

    def reading(self, task: asyncio.Task[Any], response: Response) -> None:
        """From now on, received bytes of `response` count as progress."""
        self._reading[task] = (response, -1)

    def moved(self, task: asyncio.Task[Any]) -> None:
        """Record progress."""
        if task in self._seen:
            self._seen[task] = time.monotonic()

    def leave(self, task: asyncio.Task[Any]) -> bool:
        """Stop watching, and return whether the wait ended only because of a stall."""
        if self._reading:
            self._reading.pop(task, None)
        if self._seen.pop(task, None) is not None:
            return False
        cancelling = self._cancelled.pop(task, None)
        return cancelling is not None and task.uncancel() <= cancelling

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._timer = self._loop.call_later(self.timeout / 4, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        now = time.monotonic()
        for task, (response, total) in self._reading.items():
            if response.total_bytes != total and task in self._seen:
                self._reading[task] = (response, response.total_bytes)
                self._seen[task] = now
        for task in [task for task, seen in self._seen.items() if now - seen >= self.timeout]:
            del self._seen[task]
            self._cancelled[task] = task.cancelling()
            task.cancel()
        if self._seen:
            self._arm()


_SMALL = MAX_HEAD
_LARGE = 256 * 1024
"""Buffer sizes: for most responses, and for large bodies."""

_JOINED = 4096
"""Size below which copying a piece costs less than sending it separately."""

_SINK_BYTES = 1024**2
"""Minimum bytes that a sink gets at a time, to reduce the number of its calls."""

_ROOM = 544 * 1024
"""Maximum bytes that asyncio's TLS buffers, before and after decryption; it may lose bytes that do not fit."""

_HELD = 512 * 1024
"""Unread bytes of a body at which receiving pauses."""

Sink = Callable[[memoryview], object]
Pieces = AsyncIterator[bytes | memoryview]


class ConnectionBroken(Exception):
    """The connection broke, or the response is not HTTP, after a request may have been sent.

    Internal: transports translate it.
    """


class Response:
    """The response to one request.

    Attributes:
        status, headers, length: see `Head`; only valid after `wait` has returned.
        ended: whether the body is complete.
        total_bytes: bytes received for it. See `Stalls.reading`.
        cut: whether it was too long and was aborted, so that `read` returns only its beginning.
    """

    __slots__ = (
        "_broken", "_connection", "_held", "_limit", "_pieces", "_sink", "_sink_failure", "_waiter", "_whole", "cut",
        "ended", "headers", "length", "method", "status", "total_bytes",
    )  # fmt: skip

    def __init__(self, connection: Connection, method: str, *, whole: bool, limit: int | None) -> None:
        self.method = method
        self.status = 0
        self.headers: dict[str, str] = {}
        self.length: int | None = None
        self.ended = False
        self.total_bytes = 0
        self.cut = False
        self._limit = limit
        self._connection = connection
        self._whole = whole
        self._pieces: list[bytes] = []
        self._held = 0
        self._broken = ""
        self._sink: Sink | None = None
        self._sink_failure: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        """Wait for the head.

        Raises:
            ConnectionBroken: the connection broke before.
        """
        while not self.status:
            await self._arrival()

    async def wait_while(self, sending: asyncio.Task[None]) -> None:
        """Wait until `sending`, which sends the request, has finished, or it is refused, or the response is complete.

        Raises:
            ConnectionBroken: the connection broke before.
        """
        sending.add_done_callback(lambda _sending: self.wake())
        while not (self.status >= 300 or self.ended or sending.done()):
            await self._arrival()

    async def read(self) -> bytes:
        """Return the rest of the body.

        Raises:
            ConnectionBroken: it ended early.
        """
        if self.status or not self._whole:
            self._whole = True
            self._connection.resume(self)
        while not self.ended:
            await self._arrival()
        pieces, self._pieces = self._pieces, []
        if not pieces:
            return b""
        return pieces[0] if len(pieces) == 1 else await joined(pieces)

    async def opened(self) -> bytes:
        """Return the body of an error; for a success, return nothing as soon as the head has arrived.

        Raises:
            ConnectionBroken: the connection broke, or the body of an error ended early.
        """
        await self.wait()
        return await self.read() if self.status >= 300 else b""

    async def readany(self) -> bytes:
        """Return the received bytes of the body, waiting for the first ones; nothing after its end.

        Raises:
            ConnectionBroken: it ended early.
        """
        while not self._pieces and not self.ended:
            await self._arrival()
        return self._taken()

    async def write_to(self, sink: Sink) -> None:
        """Pass the rest of a body of known length to `sink`, which must not keep its argument: it is overwritten.

        An exception of `sink` is raised, and nothing more is received.

        Raises:
            ConnectionBroken: it ended early.
        """
        if self._pieces:
            sink(memoryview(self._taken()))
        self._sink = sink
        try:
            self._connection.resume(self)
            while not self.ended and self._sink_failure is None:
                await self._arrival()
        finally:
            self._sink = None
        if self._sink_failure is not None:
            raise self._sink_failure

    def close(self) -> None:
        """Abort the response, and close the connection."""
        if not self.ended:
            self._connection.abort()

    # Called by the connection.

    def received(self, piece: memoryview | bytes) -> bool:
        """Add received bytes of the body, and return whether to pause receiving."""
        if self._sink is not None:
            try:
                self._sink(memoryview(piece))
            except Exception as exc:  # noqa: BLE001 - `write_to` raises it
                self._sink_failure = exc
                self.wake()
                return True
            return False
        self._pieces.append(bytes(piece))
        if self._whole:
            if self._limit is not None and self.total_bytes > self._limit:
                self._cut()
            return False
        self._held += len(piece)
        self.wake()
        return self._held >= _HELD

    def wake(self) -> None:
        """Wake the waiting task so that it checks the state again."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def begin(self, head: Head) -> None:
        """Set the head."""
        self.status, self.headers, self.length = head.status, head.headers, head.length
        if head.status >= 300:
            self._limit = MAX_ERROR
        elif head.length is None and self._limit is None:
            # No S3 sends an object without its size: without a limit, this one would never have to end.
            self._limit = MAX_DOCUMENT
        self.wake()

    def end(self) -> None:
        """Mark the response as complete."""
        self.ended = True
        self.wake()

    def fail(self, problem: str) -> None:
        """Mark the response as failed."""
        if not self.ended:
            self._broken = self._broken or problem
            self.wake()

    @property
    def has_sink(self) -> bool:
        """Return whether the body is passed to a sink."""
        return self._sink is not None

    def _cut(self) -> None:
        self.cut = True
        self._connection.abort()
        self.end()

    def _taken(self) -> bytes:
        pieces, self._pieces, self._held = self._pieces, [], 0
        self._connection.resume(self)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _arrival(self) -> asyncio.Future[None]:
        """Return a future for the next event. Not a coroutine, whose frame every request would pay for."""
        if self._broken:
            raise ConnectionBroken(self._broken)
        if self._waiter is not None and not self._waiter.done():
            raise UsageError("two tasks read the same body", hint="read in one task, and pass the data to the other")
        waiter = self._waiter = self._connection.loop.create_future()
        return waiter


# Why a response is never taken for another one
#
# A connection serves one request after the other, so whatever arrives after a response could be read as the next one.
# Four rules prevent that; each of them only ever closes a connection that could have been used:
#
# 1. `_response` is set by `begin` and cleared by `_end`. Bytes that arrive while it is None belong to nothing: abort.
# 2. A response that does not say where it ends, or whose end is followed by bytes in the same buffer, clears `_keep`.
# 3. Bytes after the end may also be in the kernel, unseen by the event loop, at the moment of reuse, so
#    `Connections.reuse` asks the socket itself. Bytes that come even later are the head of the next response as far as
#    anybody can tell. If they are not HTTP, that request fails as broken, and the retry gets another connection.
# 4. A request that was not sent completely (`_sent` is False) never releases its connection, because the server would
#    read the start of the next request as the rest of this body. See `write_body`.
#
# A caller who stops reading (cancellation, an error, an abandoned stream) cannot know how much is still on its way. So
# `Response.close` aborts the connection instead of draining it; only `_end`, at the last byte, releases it.


class Connection(asyncio.BufferedProtocol):
    """One connection, as an asyncio protocol.

    Attributes:
        arrived: returns whether data has arrived that the event loop may not have seen yet.
        idle_since: since when it has been idle, of `time.monotonic`.
        loop: the event loop of the connection.
        usable: whether it can be used for the next request.
        released: called at the end of a response, with whether the connection can be reused.

    Args:
        lost: called when the connection is closed.
    """

    _transport: asyncio.Transport

    def __init__(self, lost: Callable[[Connection], object]) -> None:
        self.arrived: Callable[[], object] = _nothing_arrives
        self.idle_since = 0.0
        self.loop = asyncio.get_running_loop()
        self.usable = True
        self.released: Callable[[Connection, bool], object] = _nothing
        self._lost = lost
        self._response: Response | None = None
        self._view = memoryview(bytearray(_SMALL))
        self._filled = 0
        self._left: int | None = 0
        self._chunks: Chunks | None = None
        self._keep = False
        self._eof = False
        self._gone = False
        self._receiving = False
        self._sent = True
        self._held_back = False
        self._writable: asyncio.Event | None = None

    # Requests.

    def begin(self, method: str, *, whole: bool, limit: int | None = None) -> Response:
        """Return the response to the request that is written next.

        Args:
            limit: maximum bytes of a whole response; errors have their own limit.
        """
        response = self._response = Response(self, method, whole=whole, limit=limit)
        self._sent = True
        return response

    def write(self, data: bytes) -> None:
        """Send a whole request."""
        self._transport.write(data)

    async def write_body(self, head: bytes, pieces: Pieces) -> bool:
        """Send a request as fast as the connection allows; return whether all of it was sent.

        It stops at an error and at a success that ends before the last bytes are written. A success may end while they
        leave: then, the connection is released when this returns True. After False, the caller aborts it.
        """
        response = self._response
        self._sent = False
        small = head
        async for piece in pieces:
            if response is None or response.ended or response.status >= 300 or not self.usable:
                return False
            if len(piece) < _JOINED and len(small) < _SMALL:
                # Send it with the next one, because each write is a system call and a packet.
                small += piece
                continue
            if small:
                self._transport.write(small)
                small = b""
            self._transport.write(piece)
            if self._writable is not None:
                await self._writable.wait()
        if response is None or not self.usable or (small and response.ended):
            return False
        self._transport.write(small)
        self._sent = True
        if response.ended:
            self.released(self, self._keep and self._writable is None)
        return True

    async def start_tls(self, context: ssl.SSLContext, server_hostname: str) -> None:
        """Switch to TLS."""
        if not self.usable:
            raise ConnectionAbortedError("the server closed it")
        try:
            transport = await self.loop.start_tls(self._transport, self, context, server_hostname=server_hostname)
        except TypeError as exc:
            # CPython before 3.13 raises this for a failed handshake inside TLS (of a proxy).
            raise ConnectionAbortedError(str(exc.__context__ or exc)) from exc
        if transport is None:
            raise ConnectionAbortedError("it was closed while TLS was being set up")
        self._transport = transport

    def resume(self, response: Response) -> None:
        """Resume receiving `response`."""
        if response is not self._response:
            return
        left = self._left or 0
        if response.status and not self._filled and left > len(self._view):
            size = min(_SINK_BYTES + _ROOM if response.has_sink else _LARGE, left)
            if size > len(self._view):
                self._view = memoryview(bytearray(size))
        if self._held_back:
            self._held_back = False
            self._transport.resume_reading()

    def abort(self) -> None:
        """Close the connection immediately."""
        self.usable = False
        if self._gone:
            return
        if self._receiving:
            # asyncio's TLS is in the middle of a step that it could not finish.
            self.loop.call_soon(self.abort)
            return
        self._transport.abort()

    # asyncio's protocol.

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        sock = transport.get_extra_info("socket")
        if sock is not None:
            self.arrived = _arrivals(sock.fileno())

    @override
    def pause_writing(self) -> None:
        self._writable = asyncio.Event()

    @override
    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None:
            writable.set()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return a buffer for asyncio.

        TLS passes the number of bytes it has. It keeps bytes that do not fit for the loop's next iteration, but loses
        them if the server has closed the connection.
        """
        filled = self._filled
        if len(self._view) - filled <= sizehint:
            grown = memoryview(bytearray(filled + sizehint + _LARGE))
            grown[:filled] = self._view[:filled]
            self._view = grown
        return self._view[filled:] if filled else self._view

    @override
    def buffer_updated(self, nbytes: int) -> None:
        response = self._response
        if response is None or not self.usable:
            # There is no request, or its response is not wanted any more.
            self.abort()
            return
        response.total_bytes += nbytes
        filled, self._filled = self._filled + nbytes, 0
        self._receiving = True
        try:
            if not response.status:
                self._head(response, filled)
            elif self._left is None:
                self._unmeasured(response, self._view[:filled])
            else:
                self._measured(response, self._left, 0, filled, nbytes)
        except MalformedResponse as exc:
            response.fail(str(exc))
            self.abort()
        finally:
            self._receiving = False

    def eof_received(self) -> None:
        """Handle the end of the stream: no further requests are possible, and the server no longer reads."""
        self._eof = True
        self.usable = False
        self.resume_writing()
        self.loop.call_soon(self.abort)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._gone = True
        self.usable = False
        self.resume_writing()
        response = self._response
        if response is not None:
            if self._eof and response.status >= 300 and self._left is None and self._chunks is None:
                # A body of unknown length may be incomplete, which is only acceptable for an error.
                self._end(response)
            else:
                if self._filled and response.has_sink:
                    filled, self._filled = self._filled, 0
                    response.received(self._view[:filled])
                response.fail(str(exc) if exc is not None else "the server closed it")
        self._lost(self)

    def _head(self, response: Response, filled: int) -> None:
        data = bytes(self._view[:filled])
        start = 0
        while True:
            end = data.find(b"\r\n\r\n", start)
            if end < 0:
                self._filled = filled - start
                if self._filled >= MAX_HEAD:
                    raise MalformedResponse("the head of the response is too long")
                self._view[: self._filled] = data[start:]
                return
            head = parse_head(data[start:end], response.method)
            start = end + 4
            if head.status >= 200:
                break
            # A provisional response: the final one follows.
            if response.total_bytes > MAX_HEAD:
                raise MalformedResponse("there are too many provisional responses")
        self._left = head.length
        self._chunks = Chunks() if head.chunked else None
        self._keep = head.keep
        response.begin(head)
        if self._writable is not None and head.status >= 300:
            # The server will not read the rest of the request.
            self._writable.set()
        if head.length is None:
            self._unmeasured(response, self._view[start:filled])
        else:
            self._measured(response, head.length, start, filled, filled - start)

    def _measured(self, response: Response, left: int, start: int, stop: int, fresh: int) -> None:
        """Pass on the buffered bytes of a body of which `left` bytes were missing before the `fresh` ones."""
        left -= fresh
        if left < 0:
            # It is longer than its stated length.
            self._keep = False
            stop, left = stop + left, 0
        self._left = left
        if left and response.has_sink and stop < _SINK_BYTES:
            self._filled = stop
            return
        hold = response.received(self._view[start:stop]) if stop > start else False
        if not left:
            self._end(response)
        elif hold:
            self._hold_back()

    def _unmeasured(self, response: Response, view: memoryview) -> None:
        """Pass on the next bytes of a body that ends with its last chunk, or with the connection."""
        chunks = self._chunks
        hold = False
        for piece in [view] if chunks is None else chunks.feed(bytes(view)):
            if piece:
                hold = response.received(piece)
        if chunks is not None and chunks.ended:
            self._keep = self._keep and not chunks.rest
            self._end(response)
        elif hold:
            self._hold_back()

    def _hold_back(self) -> None:
        self._held_back = True
        self._transport.pause_reading()

    def _end(self, response: Response) -> None:
        self._response = None
        self._chunks = None
        if len(self._view) > _SMALL:
            self._view = memoryview(bytearray(_SMALL))
        response.end()
        if self._sent:
            self.released(self, self._keep and self.usable and self._writable is None)
        elif response.status >= 300:
            self.abort()


def _arrivals(file: int) -> Callable[[], object]:
    """Checks whether a socket has data to read, in less than a microsecond."""
    if not hasattr(select, "poll"):  # Windows
        return lambda: select.select([file], [], [], 0)[0]
    poller = select.poll()
    poller.register(file, select.POLLIN)
    return functools.partial(poller.poll, 0)


def _nothing_arrives() -> bool:
    return False


def _nothing(_connection: Connection, _usable: bool) -> None:
    """A placeholder until the connection belongs to a pool."""
