"""Our own connections: poured bodies, and servers that send scripted responses."""

from __future__ import annotations

import asyncio
import base64
import ssl
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from random import Random
from types import ModuleType

import pytest
import trustme

from apm_s3 import S3Manager, S3Settings, TransferSettings
from apm_s3.errors import (
    AccessDenied,
    ConnectFailed,
    ConnectionLost,
    InvalidOption,
    InvalidRequest,
    RequestTimedOut,
    UnsupportedByServer,
    UsageError,
)
from apm_s3.options import ReadOptions, UploadOptions
from apm_s3.settings import Timeouts
from tests.faults import faults
from tests.faults.server import Exchange, FaultyS3
from tests.faults.virtual_time import VirtualTimeLoop, run_in_virtual_time
from tests.s3.transports.test_signed import KEYS, PLAIN, Signed
from tests.seams.transports import (
    KEEPALIVE,
    Connection,
    Connections,
    Lane,
    Origin,
    Request,
    SignedTransport,
    Stream,
    keep_idle_connections,
)
from tests.seams.wire import watch_the_loading_of_extras

READ, PLAIN_PUT = ReadOptions(), UploadOptions()
MIB = 1024**2
CONTENT = Random(1).randbytes(9 * MIB + 5)


@pytest.fixture
async def faulty() -> AsyncIterator[FaultyS3]:
    """A server with a large object."""
    async with FaultyS3() as server:
        server.s3.buckets["bucket"] = {}
        async with Signed(server.endpoint_url) as transport:
            await transport.put("bucket", "key", CONTENT, PLAIN_PUT)
        yield server


async def test_a_large_body_is_poured_completely(faulty: FaultyS3) -> None:
    pieces: list[bytes] = []
    async with Signed(faulty.endpoint_url) as transport:
        body = await transport.open("bucket", "key", READ)
        await body.write_to(lambda piece: pieces.append(bytes(piece)))
        assert [piece async for piece in body] == []
    assert b"".join(pieces) == CONTENT


async def test_bytes_received_before_are_not_poured_again(faulty: FaultyS3) -> None:
    pieces: list[bytes] = []
    async with Signed(faulty.endpoint_url) as transport:
        body = await transport.open("bucket", "key", READ)
        pieces.append(await anext(aiter(body)))
        await body.write_to(lambda piece: pieces.append(bytes(piece)))
        pieces += [piece async for piece in body]
    assert b"".join(pieces) == CONTENT


async def test_a_body_left_unread_for_a_while_is_complete(faulty: FaultyS3) -> None:
    pieces: list[bytes] = []
    async with Signed(faulty.endpoint_url) as transport:
        body = await transport.open("bucket", "key", READ)
        for _ in range(1000):
            await asyncio.sleep(0)
        await body.write_to(lambda piece: pieces.append(bytes(piece)))
        pieces += [piece async for piece in body]
    assert b"".join(pieces) == CONTENT


async def test_a_large_body_over_tls_is_poured() -> None:
    async def response(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(CONTENT) + CONTENT)
        await writer.drain()
        writer.close()

    pieces: list[bytes] = []
    async with await asyncio.start_server(response, "127.0.0.1", 0, ssl=server_context()) as server:
        port = server.sockets[0].getsockname()[1]
        async with Signed(f"https://127.0.0.1:{port}", replace(PLAIN, verify=False)) as transport:
            body = await transport.open("bucket", "key", READ)
            await body.write_to(lambda piece: pieces.append(bytes(piece)))
            assert [piece async for piece in body] == []
    assert b"".join(pieces) == CONTENT


@pytest.mark.parametrize("fault", [faults.truncated, faults.reset_in_body])
async def test_iteration_raises_when_the_connection_breaks(faulty: FaultyS3, fault: faults.Fault) -> None:
    pieces: list[bytes] = []
    faulty.will(fault, "GetObject")
    async with Signed(faulty.endpoint_url) as transport:
        body = await transport.open("bucket", "key", READ)
        await body.write_to(lambda piece: pieces.append(bytes(piece)))
        with pytest.raises(ConnectionLost):
            await anext(aiter(body))
    assert CONTENT.startswith(b"".join(pieces))
    assert len(b"".join(pieces)) < len(CONTENT)


def test_silence_within_a_body_is_a_timeout() -> None:
    async def half(exchange: Exchange) -> None:
        exchange.send(exchange.carry_out(), upto=5 * MIB)
        await exchange.hang()

    async def main(_loop: VirtualTimeLoop) -> None:
        settings = replace(PLAIN, timeouts=Timeouts(read=5))
        async with FaultyS3() as server, Signed(server.endpoint_url, settings) as transport:
            server.s3.buckets["bucket"] = {}
            await transport.put("bucket", "key", CONTENT, PLAIN_PUT)
            server.will(half, "GetObject")
            body = await transport.open("bucket", "key", READ)
            await body.write_to(lambda piece: None)
            with pytest.raises(RequestTimedOut):
                await anext(aiter(body))

    run_in_virtual_time(main)


async def test_an_exception_of_the_receiver_is_raised_and_closes_the_connection(faulty: FaultyS3) -> None:
    def full(piece: memoryview) -> None:
        raise OSError(28, "no space left")

    async with Signed(faulty.endpoint_url) as transport:
        body = await transport.open("bucket", "key", READ)
        with pytest.raises(OSError, match="no space left"):
            await body.write_to(full)
        await body.aclose()
        await asyncio.wait_for(faulty.until_disconnected(), 10)


async def test_a_cancelled_pour_closes_the_connection(faulty: FaultyS3) -> None:
    async def half(exchange: Exchange) -> None:
        exchange.send(exchange.carry_out(), upto=5 * MIB)
        await exchange.hang()

    faulty.will(half, "GetObject")
    begun = asyncio.Event()
    async with Signed(faulty.endpoint_url) as transport:
        body = await transport.open("bucket", "key", READ)
        pouring = asyncio.create_task(body.write_to(lambda piece: begun.set()))
        await begun.wait()
        pouring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pouring
        await asyncio.wait_for(faulty.until_disconnected(), 10)


@pytest.mark.parametrize("range_size", [64 * MIB, 8 * MIB], ids=["one", "ranges"])
async def test_a_file_is_complete_even_if_connections_break(faulty: FaultyS3, tmp_path: Path, range_size: int) -> None:
    settings = S3Settings(transfer=TransferSettings(range_size=range_size, parallel_parts=2))
    faulty.will(faults.reset_in_body, "GetObject", times=2)
    async with S3Manager(
        region="us-east-1", endpoint_url=faulty.endpoint_url, credentials=KEYS, settings=settings
    ) as s3:
        await s3.download_to("bucket", "key", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


# --------------------------------------------------------------------------------------------------------------
# Servers with scripted responses

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def scripted(
    script: Script, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[Scripted]:
    """A server whose connections follow `script`, and end with it."""
    found = Scripted()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        found.connections += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await script(reader, writer)
        writer.close()
        found.ended += 1

    async with await asyncio.start_server(serve, host, 0, ssl=tls) as server:
        found.port = server.sockets[0].getsockname()[1]
        yield found
        for _ in range(500):
            if found.ended == found.connections:
                break
            await asyncio.sleep(0.01)


class Scripted:
    """What a scripted server received."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        self.ended = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def large_stream() -> Stream:
    """The source of an upload that no connection takes at once."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield bytes(MIB)

    return Stream(pieces, size=64 * MIB)


def saying(*responses: bytes) -> Script:
    """Read a request and send a response, for each of `responses`."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for response in responses:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(response)
            await writer.drain()

    return script


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def read(transport: SignedTransport) -> bytes:
    return (await transport.read("bucket", "key", READ))[1]


async def test_a_connection_serves_one_request_after_another() -> None:
    async with scripted(saying(OK, OK, OK)) as server, Signed(server.url) as transport:
        assert [await read(transport) for _ in range(3)] == [b"ok"] * 3
        assert server.connections == 1


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more than it says",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nmore",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ],
)
async def test_an_untrustworthy_connection_is_not_reused(response: bytes) -> None:
    async with scripted(saying(response, OK)) as server, Signed(server.url) as transport:
        assert [await read(transport), await read(transport)] == [b"ok", b"ok"]
        assert server.connections == 2


async def test_a_connection_that_receives_unrequested_data_is_not_reused() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await saying(OK)(reader, writer)
        await asyncio.sleep(0.05)
        writer.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await reader.read()

    async with scripted(script) as server, Signed(server.url) as transport:
        assert await read(transport) == b"ok"
        await asyncio.sleep(0.15)
        assert await read(transport) == b"ok"
        assert server.connections == 2


async def test_an_idle_connection_is_closed_eventually(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_idle_connections(monkeypatch, 0.1)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await saying(OK)(reader, writer)
        await reader.read()

    async with scripted(script) as server, Signed(server.url) as transport:
        await read(transport)
        for _ in range(100):
            if server.ended:
                break
            await asyncio.sleep(0.02)
        assert server.ended == 1


class _Idle:
    """A connection that nobody uses."""

    usable, aborted = True, False

    def __init__(self, since: float) -> None:
        self.idle_since = since

    def arrived(self) -> bool:
        return False

    def abort(self) -> None:
        self.aborted = True


async def test_a_connection_that_was_idle_for_too_long_is_not_used_again() -> None:
    """The sweep is late by up to half the time, and servers close idle connections when they want."""
    pool = Connections(S3Settings(), no_bundle)
    lane = Lane(Origin("127.0.0.1", 80, secure=False), None, "", {})
    recent, old = _Idle(100.0 - KEEPALIVE + 1), _Idle(100.0 - KEEPALIVE)
    lane.idle = [recent, old]  # type: ignore[list-item]

    assert pool.reuse(lane, 100.0) is recent
    assert (recent.aborted, old.aborted, lane.idle) == (False, True, [])


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;a=b\r\nk\r\n0\r\ntrailer: x\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK,
    ],
    ids=["chunks", "provisional responses"],
)
@pytest.mark.parametrize("step", [1, 7, 1000])
async def test_a_response_is_understood_however_its_bytes_arrive(response: bytes, step: int) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for start in range(0, len(response), step):
            writer.write(response[start : start + step])
            await asyncio.sleep(0.001)

    async with scripted(script) as server, Signed(server.url) as transport:
        assert await read(transport) == b"ok"


@pytest.mark.parametrize("rest", ["0\r\n\r\n", ""], ids=["whole", "cut short"])
async def test_a_stream_of_unknown_length_is_refused(rest: str) -> None:
    response = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n{rest}".encode()
    async with scripted(saying(response)) as server, Signed(server.url) as transport:
        with pytest.raises(UnsupportedByServer, match="does not send the size"):
            await transport.open("bucket", "key", READ)


async def test_the_end_of_the_connection_may_end_the_body_of_an_error_but_not_of_an_object() -> None:
    async with (
        scripted(saying(b"HTTP/1.0 403 Forbidden\r\n\r\n<Error><Code>Mine</Code></Error>")) as refusing,
        Signed(refusing.url) as transport,
    ):
        with pytest.raises(AccessDenied, match="Mine"):
            await read(transport)
    async with scripted(saying(b"HTTP/1.0 200 OK\r\n\r\nok")) as server, Signed(server.url) as transport:
        with pytest.raises(ConnectionLost):
            await read(transport)


@pytest.mark.parametrize(
    "response",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nmany\r\n",
        b"HTTP/1.1 200 OK\r\nName: " + b"x" * 70_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"",
    ],
)
async def test_an_incomplete_response_is_a_lost_connection(response: bytes) -> None:
    async with scripted(saying(response)) as server, Signed(server.url) as transport:
        with pytest.raises(ConnectionLost):
            await read(transport)


async def test_an_error_that_arrives_before_the_body_is_sent_is_accepted() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        # It stops reading, so the rest of the body cannot be sent.
        await asyncio.sleep(0.5)

    async with scripted(script) as server, Signed(server.url) as transport:
        with pytest.raises(AccessDenied):
            await transport.put("bucket", "key", large_stream(), PLAIN_PUT)
        with pytest.raises(AccessDenied):
            await transport.put("bucket", "key", large_stream(), PLAIN_PUT)
        assert server.connections == 2


@pytest.mark.parametrize("says", [b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", b""], ids=["answer", "end"])
async def test_an_early_response_is_read_while_the_source_is_silent(says: bytes) -> None:
    closed = False

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal closed
        try:
            yield bytes(MIB)
            await asyncio.Event().wait()
        finally:
            closed = True

    async with scripted(saying(says)) as server, Signed(server.url) as transport:
        with pytest.raises(AccessDenied if says else ConnectionLost):
            await transport.put("bucket", "key", Stream(pieces, size=64 * MIB), PLAIN_PUT)
    assert closed


async def test_a_success_before_the_body_is_sent_does_not_count() -> None:
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    async with scripted(saying(response)) as server, Signed(server.url) as transport:
        with pytest.raises(ConnectionLost):
            await transport.put("bucket", "key", large_stream(), PLAIN_PUT)


async def test_a_body_is_sent_completely_even_after_an_early_success() -> None:
    got = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal got
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n")
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            data = await reader.read(MIB)
            got += len(data)
        writer.write(b" ")

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(16):
            await asyncio.sleep(0.001)
            yield bytes(MIB)

    async with scripted(script) as server, Signed(server.url) as transport:
        await transport.put("bucket", "key", Stream(pieces, size=16 * MIB), PLAIN_PUT)
    assert got > 16 * MIB - 10_000


async def test_a_server_that_stops_receiving_is_a_timeout() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(2)

    settings = replace(PLAIN, timeouts=Timeouts(read=0.3))
    async with scripted(script) as server, Signed(server.url, settings) as transport:
        with pytest.raises(RequestTimedOut):
            await transport.put("bucket", "key", large_stream(), PLAIN_PUT)


async def test_an_unread_body_is_not_received_endlessly() -> None:
    sent = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (256 * MIB))
        for _ in range(256):
            writer.write(bytes(MIB))
            await writer.drain()
            sent += 1

    async with scripted(script) as server, Signed(server.url) as transport:
        body = await transport.open("bucket", "key", READ)
        await asyncio.sleep(0.3)
        assert sent < 64
        got = 0
        async for piece in body:
            got += len(piece)
        assert got == 256 * MIB


async def test_a_silent_tls_handshake_is_a_failure_to_connect() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    settings = replace(PLAIN, verify=False, timeouts=Timeouts(connect=0.2))
    async with scripted(silent) as server, Signed(f"https://127.0.0.1:{server.port}", settings) as transport:
        with pytest.raises(ConnectFailed, match=r"no connection within 0\.2 seconds"):
            await read(transport)


async def test_a_cancelled_connect_leaves_nothing() -> None:
    connected = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await reader.read()

    settings = replace(PLAIN, verify=False)
    async with scripted(silent) as server:
        async with Signed(f"https://127.0.0.1:{server.port}", settings) as transport:
            reading = asyncio.create_task(read(transport))
            await connected.wait()
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
        assert server.connections == 1


@pytest.mark.parametrize("proxy_tls", [False, True], ids=["plain", "tls"])
async def test_tls_is_tunnelled_through_the_proxy(*, proxy_tls: bool) -> None:
    context = server_context()
    asked: list[bytes] = []

    async with (
        scripted(saying(OK, OK), tls=context) as server,
        scripted(tunnel_to(server, asked), tls=context if proxy_tls else None) as proxy,
    ):
        address = f"http{'s' if proxy_tls else ''}://user:hunter2@127.0.0.1:{proxy.port}"
        settings = replace(PLAIN, verify=False, proxies={"https": address})
        async with Signed(f"https://127.0.0.1:{server.port}", settings) as transport:
            assert [await read(transport), await read(transport)] == [b"ok", b"ok"]
        assert len(asked) == 1
        assert asked[0].startswith(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n" % server.port)
        assert b"Proxy-Authorization: Basic " in asked[0]


def tunnel_to(server: Scripted, asked: list[bytes]) -> Script:
    """A proxy whose tunnels end at `server`; what it is asked for is kept."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        there, back = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))

    return script


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
    writer.close()


async def test_an_ipv6_address_can_be_reached() -> None:
    async with scripted(saying(OK), host="::1") as server, Signed(f"http://[::1]:{server.port}") as transport:
        assert await read(transport) == b"ok"


async def test_a_callers_header_value_cannot_inject_another_header(faulty: FaultyS3) -> None:
    async with Signed(faulty.endpoint_url) as transport:
        arrived = len(faulty.arrived)
        with pytest.raises(InvalidRequest, match="line break"):
            await transport.head("bucket", "key", ReadOptions(if_match='"e"\r\nx-amz-acl: public-read'))
        assert len(faulty.arrived) == arrived


async def test_a_repeated_equal_length_counts_once() -> None:
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"
    async with scripted(saying(response, response)) as server, Signed(server.url) as transport:
        assert await read(transport) == b"ok"
        body = await transport.open("bucket", "key", READ)
        assert (body.info.size, [piece async for piece in body]) == (2, [b"ok"])


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("poured", [False, True], ids=["read", "poured"])
@pytest.mark.parametrize("size", [60_000, 1_000_000, 9 * MIB])
async def test_nothing_is_lost_if_the_server_closes_right_after_its_response(
    size: int, *, poured: bool, tls: bool
) -> None:
    content = Random(1).randbytes(size)
    response = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size + content
    pieces: list[bytes] = []

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response)

    context = server_context() if tls else None
    async with scripted(once, tls=context) as server:
        url = f"http{'s' if tls else ''}://127.0.0.1:{server.port}"
        async with Signed(url, replace(PLAIN, verify=False)) as transport:
            for _ in range(20 if size <= MIB else 3):
                if not poured:
                    assert await read(transport) == content
                    continue
                body = await transport.open("bucket", "key", READ)
                pieces.clear()
                await body.write_to(lambda piece: pieces.append(bytes(piece)))
                assert [piece async for piece in body] == []
                assert b"".join(pieces) == content


async def no_bundle() -> None:
    """AWS's configuration names no certificates."""


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_no_request_is_sent_over_a_connection_that_has_ended(*, tls: bool) -> None:
    end = asyncio.Event()

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await saying(OK)(reader, writer)
        await end.wait()

    async with scripted(once, tls=server_context() if tls else None) as server:
        origin = Origin("127.0.0.1", server.port, tls)
        pool = Connections(S3Settings(verify=False, proxies={}), no_bundle)
        lane = pool.lane(origin)
        first = await pool.connect(lane)
        response = first.begin("GET", whole=True)
        first.write(b"GET / HTTP/1.1\r\n\r\n")
        assert (await response.wait(), await response.read()) == (None, b"ok")
        seen, see = asyncio.Event(), first.eof_received

        def eof_received() -> None:
            see()
            seen.set()

        first.eof_received = eof_received  # type: ignore[method-assign]
        end.set()
        await seen.wait()
        assert pool.reuse(lane, time.monotonic()) is None
        await pool.aclose()


async def test_a_server_that_closes_its_side_during_an_upload_is_noticed() -> None:
    over = asyncio.Event()
    taken = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(64):
            taken += 1
            yield bytes(MIB)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        # Only after the connection accepts nothing more.
        seen = -1
        while seen != taken:
            seen = taken
            for _ in range(100):
                await asyncio.sleep(0)
        writer.write_eof()
        await over.wait()

    async with scripted(script) as server, Signed(server.url) as transport:
        try:
            with pytest.raises(ConnectionLost):
                await transport.put("bucket", "key", Stream(pieces, size=64 * MIB), PLAIN_PUT)
        finally:
            over.set()


async def test_nothing_is_poured_after_a_cancellation() -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + bytes(200_000))
        await reader.read()

    poured = 0

    def take(piece: memoryview) -> None:
        nonlocal poured
        poured += len(piece)

    async with scripted(half) as server, Signed(server.url) as transport:
        body = await transport.open("bucket", "key", READ)
        pouring = asyncio.create_task(body.write_to(take))
        await asyncio.sleep(0.2)
        before = poured
        pouring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pouring
        await asyncio.sleep(0.1)
        assert poured == before


async def test_one_body_is_read_by_one_task() -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        await reader.read()

    async with scripted(half) as server, Signed(server.url) as transport:
        body = await transport.open("bucket", "key", READ)
        reading = asyncio.create_task(anext(aiter(body)))  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        with pytest.raises(UsageError):
            await anext(aiter(body))
        with pytest.raises(ConnectionLost):
            await reading


@pytest.mark.parametrize("proxy_tls", [False, True], ids=["plain", "tls"])
async def test_an_untrusted_certificate_is_also_refused_behind_a_proxy(tmp_path: Path, *, proxy_tls: bool) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")

    async with (
        scripted(saying(OK), tls=server_context()) as server,
        scripted(tunnel_to(server, []), tls=server_context(authority) if proxy_tls else None) as proxy,
    ):
        address = f"http{'s' if proxy_tls else ''}://127.0.0.1:{proxy.port}"
        settings = replace(PLAIN, verify=str(tmp_path / "ca.pem"), proxies={"https": address})
        async with Signed(f"https://127.0.0.1:{server.port}", settings) as transport:
            with pytest.raises(ConnectFailed):
                await read(transport)


async def test_a_proxy_that_closes_its_tunnel_immediately_is_an_immediate_error() -> None:
    async with scripted(saying(b"HTTP/1.1 200 OK\r\n\r\n")) as proxy:
        settings = replace(PLAIN, proxies={"https": f"http://127.0.0.1:{proxy.port}"})
        async with Signed("https://s3.example", settings) as transport:
            with pytest.raises(ConnectFailed):
                await read(transport)


async def test_unreadable_certificates_are_reported_as_a_setting(tmp_path: Path) -> None:
    async with Signed("https://127.0.0.1:9", replace(PLAIN, verify=str(tmp_path / "missing.pem"))) as transport:
        with pytest.raises(InvalidOption, match="certificates"):
            await read(transport)


def server_context(authority: trustme.CA | None = None) -> ssl.SSLContext:
    """TLS of a server on 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (authority or trustme.CA()).issue_cert("127.0.0.1").configure_cert(context)
    return context


def test_the_repr_of_a_call_shows_no_header() -> None:
    assert repr(Request("read_file", "GET", "bucket", "key", "", {"x-amz-security-token": "hunter2"})) == (
        "Request(read_file: GET bucket/key)"
    )


async def test_the_buffer_has_room_for_all_data_that_tls_holds() -> None:
    connection = Connection(lambda _connection: None)
    connection.get_buffer(-1)[:3] = b"HTT"
    connection.begin("GET", whole=True)
    connection.buffer_updated(3)

    # Strictly more: a buffer that is just filled makes asyncio keep the rest for later.
    assert len(connection.get_buffer(600_000)) > 600_000
    assert bytes(connection._view[:3]) == b"HTT"


@pytest.mark.parametrize("verb", ["read", "open"])
async def test_the_extra_that_a_checksum_needs_is_loaded_in_a_thread(
    verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded_in: list[int] = []

    def noted(name: str) -> ModuleType:
        loaded_in.append(threading.get_ident())
        return import_module(name)

    watch_the_loading_of_extras(monkeypatch, noted)
    # https://reveng.sourceforge.io/crc-catalogue/all.htm
    value = base64.b64encode(0xAE8B14860A799888.to_bytes(8, "big"))
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nx-amz-checksum-crc64nvme: " + value + b"\r\n\r\n123456789"
    async with scripted(saying(response, response)) as server, Signed(server.url) as transport:
        for _ in range(2):
            if verb == "read":
                assert (await transport.read("bucket", "key", ReadOptions()))[1] == b"123456789"
            else:
                body = await transport.open("bucket", "key", ReadOptions())
                assert b"".join([piece async for piece in body]) == b"123456789"

    assert len(loaded_in) == 1
    assert loaded_in[0] != threading.get_ident()
