"""What the signed path does beyond the verbs: clock, region, credentials, checksums, time, TLS and proxies."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ssl
import traceback
from collections.abc import AsyncIterator
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from time import time

import pytest
import trustme

from apm_s3.errors import (
    BucketNotFound,
    ClockSkewed,
    ConnectFailed,
    ConnectionLost,
    DigestRejected,
    IntegrityError,
    InvalidRequest,
    RequestTimedOut,
    WrongRegion,
)
from apm_s3.models import Credentials
from apm_s3.options import DeleteOptions, ListOptions, ReadOptions, UploadOptions
from apm_s3.settings import S3Settings, Timeouts
from tests.conftest import make_clients
from tests.faults import faults
from tests.faults.memory_s3 import Request
from tests.faults.server import Exchange, FaultyS3
from tests.faults.virtual_time import VirtualTimeLoop, run_in_virtual_time
from tests.seams.s3 import VerifyingSettings
from tests.seams.transports import (
    EVERYTHING,
    Clients,
    HashedUpload,
    Payload,
    SignedTransport,
    Stalls,
    Stream,
    payload_of_stream,
    watched_body,
)
from tests.seams.wire import UNSIGNED_CHUNKS_TRAILER, checksum
from tests.servers import Server

READ, PUT, DELETE = ReadOptions(), UploadOptions(), DeleteOptions()
MIB = 1024**2
KEYS = Credentials("test", "testsecret")
PLAIN = VerifyingSettings()
"""Without the probe, which the tests of it make."""


@pytest.fixture
async def faulty() -> AsyncIterator[FaultyS3]:
    async with FaultyS3() as server:
        server.s3.buckets["bucket"] = {}
        yield server


class Signed:
    """A transport on a server, with what it stands on."""

    def __init__(
        self,
        endpoint_url: str,
        settings: S3Settings = PLAIN,
        credentials: Credentials = KEYS,
    ) -> None:
        self.clients = Clients(
            region="us-east-1", endpoint_url=endpoint_url, credentials=credentials, settings=settings
        )
        self.transport = SignedTransport(self.clients)

    async def __aenter__(self) -> SignedTransport:
        return self.transport

    async def __aexit__(self, *_: object) -> None:
        await self.transport.aclose()
        await self.clients.aclose()


def kept(server: FaultyS3) -> list[Request]:
    """Record the requests that arrive from now on; they are carried out."""
    requests: list[Request] = []

    async def keep(exchange: Exchange) -> None:
        requests.append(exchange.request)
        exchange.send(exchange.carry_out())

    server.will(keep, times=None)
    return requests


# --------------------------------------------------------------------------------------------------------------
# Clock, region, credentials


async def test_a_skewed_clock_is_corrected_from_the_servers_clock(faulty: FaultyS3) -> None:
    async with Signed(faulty.endpoint_url) as transport:
        faulty.will(faults.skewed)
        with pytest.raises(ClockSkewed) as skewed:
            await transport.put("bucket", "key", b"", PUT)
        requests = kept(faulty)

        assert await transport.recover(skewed.value)

        await transport.put("bucket", "key", b"", PUT)
    an_hour_on = formatdate(time() + 3600, usegmt=True)
    assert requests[0].headers["x-amz-date"][9:11] == an_hour_on[17:19]


async def test_a_skewed_clock_is_also_noticed_after_a_head_request(faulty: FaultyS3) -> None:
    async with Signed(faulty.endpoint_url) as transport:
        faulty.will(faults.skewed)
        with pytest.raises(ClockSkewed):
            await transport.head("bucket", "key", READ)


async def test_a_redirect_to_another_region_is_learned(faulty: FaultyS3) -> None:
    async with Signed(faulty.endpoint_url) as transport:
        faulty.will(faults.elsewhere)
        with pytest.raises(WrongRegion) as elsewhere:
            await transport.put("bucket", "key", b"", PUT)
        requests = kept(faulty)

        assert await transport.recover(elsewhere.value)

        await transport.put("bucket", "key", b"", PUT)
    assert "/eu-west-1/s3/aws4_request" in requests[0].headers["authorization"]


async def test_a_session_token_is_sent_and_signed(faulty: FaultyS3) -> None:
    requests = kept(faulty)
    async with Signed(faulty.endpoint_url, credentials=Credentials("id", "secret", "token")) as transport:
        await transport.put("bucket", "key", b"", PUT)
    assert requests[0].headers["x-amz-security-token"] == "token"
    assert "x-amz-security-token" in requests[0].headers["authorization"]


async def test_every_header_that_s3_acts_on_is_signed(faulty: FaultyS3) -> None:
    requests = kept(faulty)
    options = UploadOptions(
        metadata={"Name": "two  words "}, tags={"a b": "c&d"}, if_none_match="*", content_type="a/b"
    )
    async with Signed(faulty.endpoint_url) as transport:
        await transport.put("bucket", "key", b"data", options)
    headers = requests[0].headers
    signed = headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    assert set(headers) - set(signed) == {"authorization", "accept", "accept-encoding", "user-agent", "content-length"}
    assert headers["x-amz-tagging"] == "a%20b=c%26d"


# --------------------------------------------------------------------------------------------------------------
# Checksums


async def test_the_checksums_of_a_server_are_probed_once_without_leaving_anything(
    server: Server, clients: Clients, bucket: str
) -> None:
    transport = SignedTransport(clients)
    route = await transport._sender.route(bucket)
    assert route is not None
    found = await asyncio.gather(*(transport._checksum_probe.verified(route, bucket) for _ in range(20)))

    await transport._checksum_probe.aclose()
    verifies = server.kind == "seaweedfs"
    assert set(found) == {(verifies, verifies)}
    assert await transport.list_uploads(bucket, ListOptions()) == ()
    assert (await transport.list_files(bucket, ListOptions())).files == ()
    await transport.aclose()


async def test_a_refused_probe_means_content_md5(faulty: FaultyS3) -> None:
    faulty.will(faults.answer(403, "AccessDenied"), "CreateMultipartUpload")
    requests = kept(faulty)
    async with Signed(faulty.endpoint_url, S3Settings()) as transport:
        for key in ("a", "b"):
            await transport.put("bucket", key, b"data", PUT)
    assert faulty.arrived == ["CreateMultipartUpload", "PutObject", "PutObject"]
    md5 = base64.b64encode(hashlib.md5(b"data").digest()).decode()
    assert [request.headers["content-md5"] for request in requests] == [md5, md5]


async def test_a_probe_without_a_response_is_repeated(faulty: FaultyS3) -> None:
    faulty.will(faults.reset_before_headers, "CreateMultipartUpload")
    async with Signed(faulty.endpoint_url, S3Settings()) as transport:
        for key in ("a", "b"):
            await transport.put("bucket", key, b"data", PUT)
    assert faulty.arrived.count("CreateMultipartUpload") == 2


async def test_a_missing_bucket_says_nothing_about_the_checksums_of_its_server(faulty: FaultyS3) -> None:
    async with Signed(faulty.endpoint_url, S3Settings()) as transport:
        with pytest.raises(BucketNotFound):
            await transport.put("missing", "a", b"data", PUT)
        await transport.put("bucket", "a", b"data", PUT)
    assert faulty.arrived.count("CreateMultipartUpload") == 2


async def test_an_upload_with_its_own_hash_does_not_wait_for_the_probe(faulty: FaultyS3) -> None:
    asked, answered = asyncio.Event(), asyncio.Event()

    async def late(exchange: Exchange) -> None:
        asked.set()
        await answered.wait()
        exchange.send(exchange.carry_out())

    faulty.will(late, "CreateMultipartUpload")
    options = HashedUpload()
    async with Signed(faulty.endpoint_url, S3Settings()) as transport:
        first = await transport.put("bucket", "a", b"data", options)
        await asked.wait()
        answered.set()
        waited = await transport.put("bucket", "b", b"data", PUT)
        last = await transport.put("bucket", "c", b"data", options)
    assert (first.checksums, list(last.checksums)) == ({}, list(waited.checksums))
    assert faulty.arrived.count("CreateMultipartUpload") == 1


async def test_closing_does_not_wait_for_the_answers_of_a_probe(faulty: FaultyS3) -> None:
    asked = asyncio.Event()

    async def hang(exchange: Exchange) -> None:
        asked.set()
        await exchange.hang()

    faulty.will(hang, "UploadPart", times=None)
    patient = S3Settings(timeouts=Timeouts(read=3600.0, deadline=3600.0))
    async with asyncio.timeout(120), Signed(faulty.endpoint_url, patient) as transport:
        route = await transport._sender.route("bucket")
        assert route is not None
        waiting = asyncio.create_task(transport._checksum_probe.verified(route, "bucket"))
        await asked.wait()
    assert (await waiting).headers is False
    assert faulty.s3.uploads == {}


async def test_the_hash_of_the_signature_also_serves_as_checksum(faulty: FaultyS3) -> None:
    requests = kept(faulty)
    async with Signed(faulty.endpoint_url) as transport:
        written = await transport.put("bucket", "key", b"data", PUT)
    digest = hashlib.sha256(b"data").digest()
    assert requests[0].headers["x-amz-content-sha256"] == digest.hex()
    assert requests[0].headers["x-amz-checksum-sha256"] == base64.b64encode(digest).decode()
    assert written.checksums == {"sha256": base64.b64encode(digest).decode()}


def known(data: bytes, *algorithms: str) -> dict[str, str]:
    """The digests of a body that are known beforehand."""
    return {name: checksum(name, data) for name in algorithms}


def stream_of(data: bytes, digests: dict[str, str]) -> Stream:
    async def pieces() -> AsyncIterator[bytes]:
        yield data

    return Stream(pieces, size=len(data), digests=digests)


async def test_a_known_sha256_signs_a_stream_and_is_its_checksum(faulty: FaultyS3) -> None:
    requests, data = kept(faulty), bytes(MIB)
    async with Signed(faulty.endpoint_url) as transport:
        written = await transport.put("bucket", "key", stream_of(data, known(data, "sha256", "md5")), PUT)
    headers = requests[0].headers
    assert headers["x-amz-content-sha256"] == hashlib.sha256(data).hexdigest()
    assert written.checksums == {"sha256": headers["x-amz-checksum-sha256"]} == known(data, "sha256")
    assert "content-md5" not in headers
    assert requests[0].body == data


async def test_a_stream_with_a_known_md5_goes_unsigned_over_plain_http(faulty: FaultyS3) -> None:
    data = bytes(MIB)
    async with Signed(faulty.endpoint_url, S3Settings()) as transport:
        await transport.put("bucket", "probed", b"", PUT)
        requests = kept(faulty)
        written = await transport.put("bucket", "key", stream_of(data, known(data, "md5", "crc32")), PUT)
    headers = requests[0].headers
    assert (headers["x-amz-content-sha256"], headers["content-md5"]) == ("UNSIGNED-PAYLOAD", checksum("md5", data))
    assert ";content-md5;" in headers["authorization"].replace("SignedHeaders=", ";")
    assert written.checksums == {"crc32": headers["x-amz-checksum-crc32"]} == known(data, "crc32")
    assert requests[0].body == data


async def test_a_known_md5_does_not_replace_the_trailer_over_tls() -> None:
    payload = await payload_of_stream(stream_of(b"data", known(b"data", "md5")), secure=True, verified=EVERYTHING)
    assert payload.hash == UNSIGNED_CHUNKS_TRAILER


@pytest.mark.parametrize("algorithms", [("sha256",), ("md5",), ("md5", "crc32")])
async def test_a_stream_that_is_not_what_its_digest_says_is_not_stored(
    seaweedfs: Server, bucket_name: str, algorithms: tuple[str, ...]
) -> None:
    clients = make_clients(seaweedfs, S3Settings())
    transport = SignedTransport(clients)
    await clients.call("create_bucket", Bucket=bucket_name)
    data, other = b"a" * MIB, b"b" * MIB

    await transport.put(bucket_name, "right", stream_of(data, known(data, *algorithms)), PUT)
    with pytest.raises(DigestRejected):
        await transport.put(bucket_name, "wrong", stream_of(other, known(data, *algorithms)), PUT)

    assert (await transport.read(bucket_name, "right", READ))[1] == data
    assert [info.key for info in (await transport.list_files(bucket_name, ListOptions())).files] == ["right"]
    await transport.aclose()
    await clients.aclose()


@pytest.mark.parametrize("settings", [VerifyingSettings(), S3Settings()], ids=["known", "probed"])
@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, 2 * MIB + 17])
async def test_streams_are_stored_unchanged_however_they_are_chunked(
    server: Server, bucket: str, size: int, settings: S3Settings
) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, size, 300_001):
            yield data[start : start + 300_001]

    clients = make_clients(server, settings)
    transport = SignedTransport(clients)
    await transport.put(bucket, "key", Stream(pieces, size=size), UploadOptions(content_encoding="x-mine"))
    info, stored = await transport.read(bucket, "key", READ)
    assert stored == data
    assert info.headers.get("content-encoding") == "x-mine"
    await transport.aclose()
    await clients.aclose()


@pytest.mark.parametrize("given", [99, 101])
async def test_a_stream_longer_or_shorter_than_announced_stores_nothing(faulty: FaultyS3, given: int) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield bytes(given)

    async with Signed(faulty.endpoint_url) as transport:
        with pytest.raises(InvalidRequest):
            await transport.put("bucket", "key", Stream(pieces, size=100), PUT)
    assert faulty.s3.buckets["bucket"] == {}


async def test_an_exception_of_a_stream_reaches_the_caller_unchanged(faulty: FaultyS3) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"abc"
        raise LookupError("mine")

    async with Signed(faulty.endpoint_url) as transport:
        with pytest.raises(LookupError, match="mine"):
            await transport.put("bucket", "key", Stream(pieces, size=100), PUT)
    assert faulty.s3.buckets["bucket"] == {}


async def test_a_stream_is_closed_when_its_connection_breaks(faulty: FaultyS3) -> None:
    closed = False

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal closed
        try:
            for _ in range(8):
                yield bytes(MIB)
        finally:
            closed = True

    async with Signed(faulty.endpoint_url) as transport:
        faulty.will(faults.reset_before_headers)
        with pytest.raises(ConnectionLost):
            await transport.put("bucket", "key", Stream(pieces, size=8 * MIB), PUT)
    assert closed


async def test_a_body_that_changed_in_transit_is_noticed(faulty: FaultyS3) -> None:
    async with Signed(faulty.endpoint_url) as transport:
        await transport.put("bucket", "key", bytes(MIB), PUT)
        faulty.will(faults.corrupted, "GetObject")
        with pytest.raises(IntegrityError):
            await transport.read("bucket", "key", READ)


async def test_a_body_of_many_small_pieces_does_not_block_the_event_loop() -> None:
    turns = 0

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(10_000):
            yield b"x"

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    payload = Payload("", {}, pieces=lambda _signer: pieces())
    async for _ in watched_body(payload, Stalls(60), counting):
        pass
    counting.cancel()

    assert turns > 100


# --------------------------------------------------------------------------------------------------------------
# Time

QUICK = replace(PLAIN, timeouts=Timeouts(read=0.2))


async def test_silence_times_out_the_attempt(faulty: FaultyS3) -> None:
    async with Signed(faulty.endpoint_url, QUICK) as transport:
        faulty.will(faults.silent)
        with pytest.raises(RequestTimedOut):
            await transport.read("bucket", "key", READ)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_body_that_stalls_is_a_timeout(faulty: FaultyS3) -> None:
    async def stops(exchange: Exchange) -> None:
        exchange.send(exchange.carry_out(), upto=10)
        await exchange.hang()

    async with Signed(faulty.endpoint_url) as patient:
        await patient.put("bucket", "key", bytes(100), PUT)
    async with Signed(faulty.endpoint_url, QUICK) as transport:
        faulty.will(stops, times=2)
        with pytest.raises(RequestTimedOut):
            await transport.read("bucket", "key", READ)
        with pytest.raises(RequestTimedOut):
            async for _ in await transport.open("bucket", "key", READ):
                pass


def test_a_slow_but_steady_body_is_never_a_timeout() -> None:
    async def slow(exchange: Exchange) -> None:
        response = exchange.carry_out()
        exchange.send(response, upto=0)
        for index in range(0, len(response.body), 10):
            await asyncio.sleep(3)
            exchange.transport.write(response.body[index : index + 10])

    async def main(_loop: VirtualTimeLoop) -> bytes:
        settings = replace(PLAIN, timeouts=Timeouts(read=5))
        async with FaultyS3() as faulty, Signed(faulty.endpoint_url, settings) as transport:
            faulty.s3.buckets["bucket"] = {}
            await transport.put("bucket", "key", bytes(100), PUT)
            faulty.will(slow)
            return (await transport.read("bucket", "key", READ))[1]

    assert run_in_virtual_time(main) == bytes(100)


async def test_a_cancellation_by_the_caller_is_not_turned_into_an_error(faulty: FaultyS3) -> None:
    async with Signed(faulty.endpoint_url) as transport:
        await transport.put("bucket", "key", b"", PUT)
        arrived = asyncio.Event()

        async def silent(exchange: Exchange) -> None:
            arrived.set()
            await exchange.hang()

        faulty.will(silent)
        task = asyncio.create_task(transport.read("bucket", "key", READ))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await faulty.until_disconnected()


# --------------------------------------------------------------------------------------------------------------
# TLS and proxies


async def _serve(context: ssl.SSLContext | None, seen: list[bytes]) -> asyncio.Server:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nETag: "e"\r\nConnection: close\r\n\r\nok')
        await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)


def _port(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])


async def test_server_and_client_certificates_are_used(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    bundle, mine = tmp_path / "ca.pem", tmp_path / "client.pem"
    authority.cert_pem.write_to_path(bundle)
    authority.issue_cert("client@example.org").private_key_and_cert_chain_pem.write_to_path(mine)
    settings = replace(PLAIN, verify=str(bundle), client_cert=str(mine))
    seen: list[bytes] = []
    server = await _serve(context, seen)
    async with server, Signed(f"https://127.0.0.1:{_port(server)}", settings) as transport:
        assert (await transport.read("bucket", "key", READ))[1] == b"ok"


async def test_an_untrusted_certificate_is_refused_before_anything_is_sent() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    seen: list[bytes] = []
    server = await _serve(context, seen)
    async with server:
        endpoint = f"https://127.0.0.1:{_port(server)}"
        async with Signed(endpoint) as transport:
            with pytest.raises(ConnectFailed):
                await transport.read("bucket", "key", READ)
        assert seen == []
        async with Signed(endpoint, replace(PLAIN, verify=False)) as transport:
            assert (await transport.read("bucket", "key", READ))[1] == b"ok"


async def test_requests_use_the_proxy_and_keep_its_password_secret() -> None:
    seen: list[bytes] = []
    server = await _serve(None, seen)
    async with server:
        proxies = {"http": f"http://user:hunter2@127.0.0.1:{_port(server)}"}
        async with Signed("http://s3.example", replace(PLAIN, proxies=proxies)) as transport:
            assert (await transport.read("bucket", "key", READ))[1] == b"ok"
    assert seen[0].startswith(b"GET http://s3.example/bucket/key HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"user:hunter2") in seen[0]
    async with Signed("http://s3.example", replace(PLAIN, proxies=proxies)) as transport:
        with pytest.raises(ConnectFailed) as failed:
            await transport.read("bucket", "key", READ)
    assert "hunter2" not in f"{failed.value} {failed.value!r} {failed.value.__dict__}"


async def test_the_error_for_a_refused_connection_names_the_address() -> None:
    async with Signed("http://127.0.0.1:9") as transport:
        with pytest.raises(ConnectFailed, match=r"127\.0\.0\.1:9"):
            await transport.read("bucket", "key", READ)


async def test_the_error_for_a_refused_tunnel_hides_the_proxys_password() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    seen: list[bytes] = []
    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        proxies = {"https": f"http://user:hunter2@127.0.0.1:{_port(server)}"}
        async with Signed("https://s3.example", replace(PLAIN, proxies=proxies)) as transport:
            with pytest.raises(ConnectFailed) as failed:
                await transport.read("bucket", "key", READ)
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"user:hunter2") in seen[0]
    assert "hunter2" not in "".join(traceback.format_exception(failed.value))
