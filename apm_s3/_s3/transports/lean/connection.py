"""One connection to a server: a request goes out, its answer comes in, and then the next.

Received into a buffer of the connection's own, as asyncio's buffered protocols do, and parsed where it lies. A general
HTTP client spends two thirds of the CPU of a small request on what S3 has no use for.
https://docs.python.org/3/library/asyncio-protocol.html#buffered-streaming-protocols
"""

from __future__ import annotations

import asyncio
import functools
import select
import ssl
from collections.abc import AsyncIterator, Callable

from apm_s3._s3.transports.bodies import MAX_DOCUMENT, MAX_ERROR, joined
from apm_s3._typing import override
from apm_s3._wire.http1 import MAX_HEAD, Chunks, Head, MalformedAnswer, parse_head
from apm_s3.errors import UsageError

_SMALL = MAX_HEAD
_LARGE = 256 * 1024
"""Bytes received at once: of most answers, and of large bodies."""

_JOINED = 4096
"""Bytes of a piece below which copying it costs less than sending it by itself."""

_POURED = 1024**2
"""Bytes from which they are handed to a taker: fewer calls of it."""

_ROOM = 544 * 1024
"""Bytes that asyncio's TLS can hold at most, before and after decryption; what does not fit at once, it may lose."""

_HELD = 512 * 1024
"""Bytes of a body that nobody reads from which no more is received."""

Take = Callable[[memoryview], object]
Pieces = AsyncIterator[bytes | memoryview]


class ConnectionBroken(Exception):
    """The connection broke, or what came over it is not HTTP, after a request may have been sent.

    Internal: transports translate it.
    """


class Answer:
    """What the server says to one request.

    Attributes:
        status, headers, length: see `Head`; nothing before `wait` has returned.
        ended: whether all of the body has come.
        total_bytes: bytes that came for it. See `Stalls.reading`.
        cut: whether it was given up since it was too long, so that `read` gives its beginning.
    """

    __slots__ = (
        "_broken", "_connection", "_held", "_limit", "_pieces", "_taker", "_taker_failure", "_waiter", "_whole", "cut",
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
        self._taker: Take | None = None
        self._taker_failure: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        """Until its head has come.

        Raises:
            ConnectionBroken: it does not come.
        """
        while not self.status:
            await self._arrival()

    async def wait_while(self, sending: asyncio.Task[bool]) -> None:
        """Until `sending`, which sends the request, has ended, or it is refused, or its answer has ended.

        Raises:
            ConnectionBroken: the connection did not last as long.
        """
        sending.add_done_callback(lambda _sending: self.wake())
        while not (self.status >= 300 or self.ended or sending.done()):
            await self._arrival()

    async def read(self) -> bytes:
        """All of the body that nobody has taken yet.

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
        """All of the body of an error; of a success nothing, as soon as its head has come.

        Raises:
            ConnectionBroken: it does not come, or an error ended early.
        """
        await self.wait()
        return await self.read() if self.status >= 300 else b""

    async def readany(self) -> bytes:
        """What has come of the body, as soon as something has; nothing after its end.

        Raises:
            ConnectionBroken: it ended early.
        """
        while not self._pieces and not self.ended:
            await self._arrival()
        return self._taken()

    async def pour(self, take: Take) -> None:
        """Hand the rest of a body of known length to `take`, which keeps nothing: its argument is overwritten.

        What `take` raises is raised, and nothing is received any more.

        Raises:
            ConnectionBroken: it ended early.
        """
        if self._pieces:
            take(memoryview(self._taken()))
        self._taker = take
        try:
            self._connection.resume(self)
            while not self.ended and self._taker_failure is None:
                await self._arrival()
        finally:
            self._taker = None
        if self._taker_failure is not None:
            raise self._taker_failure

    def close(self) -> None:
        """Give up what has not come; the connection goes with it."""
        if not self.ended:
            self._connection.abort()

    # What the connection calls.

    def came(self, piece: memoryview | bytes) -> bool:
        """So much more of the body; whether to hold back."""
        if self._taker is not None:
            try:
                self._taker(memoryview(piece))
            except Exception as exc:  # noqa: BLE001 - for whoever pours to raise
                self._taker_failure = exc
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
        """Let whoever waits look again."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def begin(self, head: Head) -> None:
        """Take in the head."""
        self.status, self.headers, self.length = head.status, head.headers, head.length
        if head.status >= 300:
            self._limit = MAX_ERROR
        elif head.length is None and self._limit is None:
            # No S3 sends an object without its size: without a limit, this one would never have to end.
            self._limit = MAX_DOCUMENT
        self.wake()

    def end(self) -> None:
        """All has come."""
        self.ended = True
        self.wake()

    def fail(self, problem: str) -> None:
        """Nothing more will come."""
        if not self.ended:
            self._broken = self._broken or problem
            self.wake()

    @property
    def poured(self) -> bool:
        """Whether it goes to a taker."""
        return self._taker is not None

    def _cut(self) -> None:
        self.cut = True
        self._connection.abort()
        self.end()

    def _taken(self) -> bytes:
        pieces, self._pieces, self._held = self._pieces, [], 0
        self._connection.resume(self)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _arrival(self) -> asyncio.Future[None]:
        """Done when something has happened. No coroutine: every request would pay for its frame."""
        if self._broken:
            raise ConnectionBroken(self._broken)
        if self._waiter is not None and not self._waiter.done():
            raise UsageError("two tasks read the same body", hint="let one of them read, and hand on what it gets")
        waiter = self._waiter = self._connection.loop.create_future()
        return waiter


class Connection(asyncio.BufferedProtocol):
    """See the module.

    Attributes:
        arrived: whether something has come that the event loop may not have seen yet.
        idle_since: of `time.monotonic`, while it waits for the next request.
        loop: that of the connection.
        usable: whether the next request can go over it.
        released: called when an answer has ended, with whether the connection can be used again.

    Args:
        lost: told when the connection is gone.
    """

    _transport: asyncio.Transport

    def __init__(self, lost: Callable[[Connection], object]) -> None:
        self.arrived: Callable[[], object] = _nothing_arrives
        self.idle_since = 0.0
        self.loop = asyncio.get_running_loop()
        self.usable = True
        self.released: Callable[[Connection, bool], object] = _nothing
        self._lost = lost
        self._answer: Answer | None = None
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

    def begin(self, method: str, *, whole: bool, limit: int | None = None) -> Answer:
        """The answer to the request that is written next.

        Args:
            limit: bytes after which a whole answer is given up; errors have their own limit.
        """
        answer = self._answer = Answer(self, method, whole=whole, limit=limit)
        self._sent = True
        return answer

    def write(self, data: bytes) -> None:
        """Send a request, all of it."""
        self._transport.write(data)

    async def write_body(self, head: bytes, pieces: Pieces) -> bool:
        """Send a request, as fast as the connection takes it: whether all was sent before it was refused."""
        answer = self._answer
        self._sent = False
        small = head
        async for piece in pieces:
            if answer is None or answer.status >= 300 or not self.usable:
                return False
            if len(piece) < _JOINED and len(small) < _SMALL:
                # With the next one: each write is a call of the system, and a packet.
                small += piece
                continue
            if small:
                self._transport.write(small)
                small = b""
            self._transport.write(piece)
            if self._writable is not None:
                await self._writable.wait()
        if self.usable:
            self._transport.write(small)
            self._sent = True
        return self._sent

    async def start_tls(self, context: ssl.SSLContext, server_hostname: str) -> None:
        """Go on encrypted."""
        if not self.usable:
            raise ConnectionAbortedError("the server closed it")
        try:
            transport = await self.loop.start_tls(self._transport, self, context, server_hostname=server_hostname)
        except TypeError as exc:
            # What CPython before 3.13 makes of a failed handshake inside TLS (that of a proxy).
            raise ConnectionAbortedError(str(exc.__context__ or exc)) from exc
        if transport is None:
            raise ConnectionAbortedError("it was closed while TLS was being set up")
        self._transport = transport

    def resume(self, answer: Answer) -> None:
        """Receive more of `answer`."""
        if answer is not self._answer:
            return
        left = self._left or 0
        if answer.status and not self._filled and left > len(self._view):
            size = min(_POURED + _ROOM if answer.poured else _LARGE, left)
            if size > len(self._view):
                self._view = memoryview(bytearray(size))
        if self._held_back:
            self._held_back = False
            self._transport.resume_reading()

    def abort(self) -> None:
        """Close it at once."""
        self.usable = False
        if self._gone:
            return
        if self._receiving:
            # asyncio's TLS is in the middle of a step that it could not end.
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
        """See `asyncio.BufferedProtocol`.

        TLS says how much it has. What does not fit, it keeps for the loop's next turn, and loses where the server
        has closed the connection behind it.
        """
        filled = self._filled
        if len(self._view) - filled <= sizehint:
            grown = memoryview(bytearray(filled + sizehint + _LARGE))
            grown[:filled] = self._view[:filled]
            self._view = grown
        return self._view[filled:] if filled else self._view

    @override
    def buffer_updated(self, nbytes: int) -> None:
        answer = self._answer
        if answer is None or not self.usable:
            # Nothing was asked for, or nothing is wanted any more.
            self.abort()
            return
        answer.total_bytes += nbytes
        filled, self._filled = self._filled + nbytes, 0
        self._receiving = True
        try:
            if not answer.status:
                self._head(answer, filled)
            elif self._left is None:
                self._unmeasured(answer, self._view[:filled])
            else:
                self._measured(answer, self._left, 0, filled, nbytes)
        except MalformedAnswer as exc:
            answer.fail(str(exc))
            self.abort()
        finally:
            self._receiving = False

    def eof_received(self) -> None:
        """See `asyncio.BufferedProtocol`. Nothing more can be asked for; what is being sent, nobody reads."""
        self._eof = True
        self.usable = False
        self.resume_writing()
        self.loop.call_soon(self.abort)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._gone = True
        self.usable = False
        self.resume_writing()
        answer = self._answer
        if answer is not None:
            if self._eof and answer.status >= 300 and self._left is None and self._chunks is None:
                # Of a body of no known length, nobody can tell whether it is whole: good enough for an error only.
                self._end(answer)
            else:
                if self._filled and answer.poured:
                    filled, self._filled = self._filled, 0
                    answer.came(self._view[:filled])
                answer.fail(str(exc) if exc is not None else "the server closed it")
        self._lost(self)

    def _head(self, answer: Answer, filled: int) -> None:
        data = bytes(self._view[:filled])
        start = 0
        while True:
            end = data.find(b"\r\n\r\n", start)
            if end < 0:
                self._filled = filled - start
                if self._filled >= MAX_HEAD:
                    raise MalformedAnswer("the head of the answer is too long")
                self._view[: self._filled] = data[start:]
                return
            head = parse_head(data[start:end], answer.method)
            start = end + 4
            if head.status >= 200:
                break
            # Provisional: the answer itself is still to come.
            if answer.total_bytes > MAX_HEAD:
                raise MalformedAnswer("there is no end of provisional answers")
        self._left = head.length
        self._chunks = Chunks() if head.chunked else None
        self._keep = head.keep
        answer.begin(head)
        if self._writable is not None and head.status >= 300:
            # Whatever is left of the request, nobody will read it.
            self._writable.set()
        if head.length is None:
            self._unmeasured(answer, self._view[start:filled])
        else:
            self._measured(answer, head.length, start, filled, filled - start)

    def _measured(self, answer: Answer, left: int, start: int, stop: int, fresh: int) -> None:
        """Hand over what stands in the buffer, of a body of which `left` bytes had not come before `fresh` of them."""
        left -= fresh
        if left < 0:
            # Longer than it says.
            self._keep = False
            stop, left = stop + left, 0
        self._left = left
        if left and answer.poured and stop < _POURED:
            self._filled = stop
            return
        hold = answer.came(self._view[start:stop]) if stop > start else False
        if not left:
            self._end(answer)
        elif hold:
            self._hold_back()

    def _unmeasured(self, answer: Answer, view: memoryview) -> None:
        """Hand over the next of a body that ends with its last chunk, or with the connection."""
        chunks = self._chunks
        hold = False
        for piece in [view] if chunks is None else chunks.feed(bytes(view)):
            if piece:
                hold = answer.came(piece)
        if chunks is not None and chunks.ended:
            self._keep = self._keep and not chunks.rest
            self._end(answer)
        elif hold:
            self._hold_back()

    def _hold_back(self) -> None:
        self._held_back = True
        self._transport.pause_reading()

    def _end(self, answer: Answer) -> None:
        self._answer = None
        self._chunks = None
        if len(self._view) > _SMALL:
            self._view = memoryview(bytearray(_SMALL))
        answer.end()
        self.released(self, self._keep and self._sent and self.usable and self._writable is None)


def _arrivals(file: int) -> Callable[[], object]:
    """Tells whether a socket has something to read, for less than a microsecond."""
    if not hasattr(select, "poll"):  # Windows
        return lambda: select.select([file], [], [], 0)[0]
    poller = select.poll()
    poller.register(file, select.POLLIN)
    return functools.partial(poller.poll, 0)


def _nothing_arrives() -> bool:
    return False


def _nothing(_connection: Connection, _usable: bool) -> None:
    """Until there is a pool to go back to."""
