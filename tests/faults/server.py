"""An HTTP server in front of `MemoryS3` that misbehaves by rule, in the event loop of the test."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

from apm_s3 import Credentials
from tests.faults.memory_s3 import MemoryS3, Request, Response

Fault = Callable[["Exchange"], Awaitable[None]]


@dataclass
class Exchange:
    """One request that has arrived, and its connection."""

    request: Request
    s3: MemoryS3
    transport: asyncio.Transport
    lost: asyncio.Future[None]

    def carry_out(self) -> Response:
        """Carry the request out."""
        return self.s3.handle(self.request)

    def send(self, response: Response, *, upto: int | None = None) -> None:
        """Send `response`, or its first `upto` bytes of body only."""
        self.transport.write(head_of(response) + response.body[:upto])

    def close(self) -> None:
        """Close the connection (FIN) after everything is sent."""
        self.transport.close()

    async def reset(self) -> None:
        """Reset the connection (RST), after the client has had a chance to read what was sent."""
        await asyncio.sleep(0.01)
        sock: socket.socket = self.transport.get_extra_info("socket")
        if sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    async def hang(self) -> None:
        """Do nothing until the client has disconnected."""
        await self.lost


def head_of(response: Response) -> bytes:
    """The status line and the headers."""
    length = len(response.body) if response.length is None else response.length
    lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    if response.status not in {204, 304}:
        lines.append(f"content-length: {length}")
    return "\r\n".join([*lines, "", ""]).encode("utf-8")


@dataclass
class Rule:
    """`fault` happens to the requests for `operation` (all, where it is None), `times` times; None: for ever."""

    fault: Fault
    operation: str | None = None
    times: int | None = 1

    def applies(self, request: Request) -> bool:
        return self.times != 0 and self.operation in {None, request.operation}


class FaultyS3:
    """The server.

    Attributes:
        s3: the state behind it.
        arrived: the operations of all requests that arrived, in order.
        connections: those that are open now.
        early: gives the response to a request before its body arrives; None waits for the body.

    Args:
        tls: to speak TLS.
    """

    credentials = Credentials("k", "s")
    region = "us-east-1"

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.early: Callable[[Request], Response | None] = lambda _request: None
        self._tls = tls
        self.s3 = MemoryS3()
        self.arrived: list[str] = []
        self.rules: list[Rule] = []
        self.endpoint_url = ""
        self.connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> FaultyS3:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=1024, ssl=self._tls)
        host, port = self._server.sockets[0].getsockname()[:2]
        self.endpoint_url = f"{'https' if self._tls else 'http'}://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop_listening()
        for connection in list(self.connections):
            connection.transport.abort()
        await self.until_disconnected()

    def stop_listening(self) -> None:
        """From now on connections are refused."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def will(self, fault: Fault, operation: str | None = None, *, times: int | None = 1) -> None:
        """Let `fault` happen to the next `times` requests for `operation`."""
        self.rules.append(Rule(fault, operation, times))

    async def until_disconnected(self) -> None:
        """Wait until no connection is open and no response is being sent."""
        while self.connections:
            await asyncio.wait([connection.ended for connection in self.connections])

    async def until_idle(self) -> None:
        """Wait until no response is being sent."""
        while busy := [connection.answering for connection in self.connections if connection.answering is not None]:
            await asyncio.wait(busy)

    async def answer(self, exchange: Exchange) -> None:
        """Respond by the first rule that applies, or as S3 would."""
        self.arrived.append(exchange.request.operation)
        for rule in self.rules:
            if rule.applies(exchange.request):
                if rule.times is not None:
                    rule.times -= 1
                await rule.fault(exchange)
                return
        exchange.send(exchange.carry_out())


class _Connection(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, server: FaultyS3) -> None:
        self._server = server
        self._buffer = bytearray()
        self._unread = 0
        self.answering: asyncio.Task[None] | None = None
        loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none of that class
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(None)
        if self.answering is None:
            self._end()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._unread:
            read = min(self._unread, len(self._buffer))
            del self._buffer[:read]
            self._unread -= read
        self._proceed()

    def _answer_early(self) -> None:
        """Respond after the head of a request, and skip its body."""
        end = self._buffer.find(b"\r\n\r\n") + 4
        if self.answering is not None or end < 4:
            return
        whole = bytearray(self._buffer[:end].lower().replace(b"\r\ncontent-length:", b"\r\nx-length:"))
        # The 100 that this header asks for is sent once, by whoever waits for the body.
        whole = whole.replace(b"\r\nexpect:", b"\r\nx-expect:")
        request = _take_request(whole, self.transport)
        length = int(request.headers.get("x-length", 0)) if request else 0
        if request is None or len(self._buffer) >= end + length:
            return
        response = self._server.early(request)
        if response is not None:
            self._unread = end + length - len(self._buffer)
            self._buffer.clear()
            self.transport.write(head_of(response) + response.body)

    def _proceed(self) -> None:
        self._answer_early()
        if self.answering is None and (request := _take_request(self._buffer, self.transport)) is not None:
            exchange = Exchange(request, self._server.s3, self.transport, self.lost)
            self.answering = asyncio.create_task(self._server.answer(exchange), name="faulty s3")
            self.answering.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self.answering = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self.transport.abort()
            asyncio.get_running_loop().call_exception_handler(
                {"message": "the faulty server failed", "exception": error}
            )
        if self.lost.done():
            self._end()
        else:
            self._proceed()

    def _end(self) -> None:
        self._server.connections.discard(self)
        if not self.ended.done():
            self.ended.set_result(None)


def _take_request(buffer: bytearray, transport: asyncio.Transport) -> Request | None:
    """Remove the first complete request from `buffer` and return it."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    first, *lines = buffer[:end].decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    start = end + 4
    if headers.get("expect", "").lower() == "100-continue" and len(buffer) == start:
        transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if headers.get("transfer-encoding", "").lower() == "chunked":
        taken = _take_chunks(buffer, start)
        if taken is None:
            return None
        body, stop = taken
    else:
        stop = start + int(headers.get("content-length", 0))
        if len(buffer) < stop:
            return None
        body = bytes(buffer[start:stop])
    del buffer[:stop]
    return Request(method, target, headers, body)


def _take_chunks(buffer: bytearray, start: int) -> tuple[bytes, int] | None:
    body = b""
    while True:
        line = buffer.find(b"\r\n", start)
        if line < 0:
            return None
        size = int(bytes(buffer[start:line]).partition(b";")[0], 16)
        start = line + 2
        if len(buffer) < start + size + 2:
            return None
        if size == 0:
            end = buffer.find(b"\r\n", start)
            return (body, end + 2) if end >= 0 else None
        body += buffer[start : start + size]
        start += size + 2
