"""aiobotocore's clients: how many are made, and with which settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from aiobotocore.session import get_session

from apm_s3.errors import BucketNotFound, ConnectFailed, InvalidCredentials, InvalidOption
from apm_s3.models import Credentials
from apm_s3.settings import S3Settings, Timeouts
from tests.seams.s3 import VerifyingSettings
from tests.seams.transports import Clients, is_custom
from tests.servers import Server

KEYS = Credentials("test", "testsecret")
QUICK = S3Settings(timeouts=Timeouts(connect=2, read=5))


@asynccontextmanager
async def answering(body: bytes, *, tls: Path | None = None) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that responds to every request with `body`, and the request lines it received."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head)
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    import ssl

    context = None
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], seen
    finally:
        server.close()
        await server.wait_closed()


EMPTY_LIST = (
    b'<ListAllMyBucketsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Buckets/></ListAllMyBucketsResult>'
)


async def test_a_hundred_concurrent_first_calls_create_one_client_per_region(
    moto: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = get_session()
    made: list[str] = []
    create = session.create_client

    def counted(service: str, **arguments: object) -> object:
        made.append(str(arguments["region_name"]))
        return create(service, **arguments)

    monkeypatch.setattr(session, "create_client", counted)
    clients = Clients(
        session=session, region="us-east-1", endpoint_url=moto.endpoint_url, credentials=KEYS, settings=QUICK
    )
    await asyncio.gather(*(clients.get(region) for region in [None, "us-east-1", "eu-west-1"] * 34))
    await clients.aclose()

    assert sorted(made) == ["eu-west-1", "us-east-1"]


async def test_a_cancelled_first_caller_does_not_cancel_the_client_of_the_second(moto: Server) -> None:
    clients = Clients(region="us-east-1", endpoint_url=moto.endpoint_url, credentials=KEYS, settings=QUICK)
    first, second = asyncio.create_task(clients.get()), asyncio.create_task(clients.get())
    await asyncio.sleep(0)
    first.cancel()

    assert await second is await clients.get()
    await clients.aclose()


@pytest.mark.parametrize(
    ("endpoint_url", "settings", "expected"),
    [
        ("http://127.0.0.1:9", S3Settings(), "when_required"),
        ("https://s3.eu-west-1.amazonaws.com", S3Settings(), "when_supported"),
        ("http://127.0.0.1:9", VerifyingSettings(), "when_supported"),
    ],
)
async def test_the_checksum_settings_suit_the_endpoint(endpoint_url: str, settings: S3Settings, expected: str) -> None:
    clients = Clients(region="us-east-1", endpoint_url=endpoint_url, credentials=KEYS, settings=settings)
    config = (await clients.get()).meta.config
    await clients.aclose()
    assert config.request_checksum_calculation == expected


async def test_an_endpoint_from_the_environment_counts_as_custom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    clients = Clients(region="us-east-1", credentials=KEYS, settings=S3Settings())
    client = await clients.get()
    await clients.aclose()
    assert client.meta.endpoint_url == "http://127.0.0.1:9"
    assert client.meta.config.request_checksum_calculation == "when_required"


def test_aws_and_custom_endpoints_are_distinguished() -> None:
    assert not is_custom("https://s3.us-east-1.amazonaws.com")
    assert not is_custom("https://s3.cn-north-1.amazonaws.com.cn")
    assert is_custom("http://minio.internal:9000")
    assert is_custom("https://amazonaws.com.evil.example")


async def test_requests_go_through_the_proxy_of_the_settings() -> None:
    async with answering(EMPTY_LIST) as (port, seen):
        settings = S3Settings(proxies={"http": f"http://127.0.0.1:{port}"}, timeouts=QUICK.timeouts)
        clients = Clients(region="us-east-1", endpoint_url="http://s3.invalid", credentials=KEYS, settings=settings)
        response = await clients.call("list_buckets")
        await clients.aclose()
    assert response["Buckets"] == []
    assert seen[0].startswith(b"GET http://s3.invalid/")


async def test_a_ca_bundle_makes_a_private_certificate_trusted(tmp_path: Path) -> None:
    authority = trustme.CA()
    (tmp_path / "server.pem").write_bytes(
        b"".join(blob.bytes() for blob in [authority.issue_cert("localhost").private_key_and_cert_chain_pem])
    )
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with answering(EMPTY_LIST, tls=tmp_path / "server.pem") as (port, _):
        endpoint = f"https://localhost:{port}"
        trusting = Clients(
            region="us-east-1",
            endpoint_url=endpoint,
            credentials=KEYS,
            settings=S3Settings(verify=str(tmp_path / "ca.pem"), timeouts=QUICK.timeouts),
        )
        assert (await trusting.call("list_buckets"))["Buckets"] == []
        await trusting.aclose()
        strict = Clients(region="us-east-1", endpoint_url=endpoint, credentials=KEYS, settings=QUICK)
        with pytest.raises(ConnectFailed, match="certificate verify failed"):
            await strict.call("list_buckets")
        await strict.aclose()


async def test_missing_credentials_are_reported_before_anything_is_sent(
    moto: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    clients = Clients(region="us-east-1", endpoint_url=moto.endpoint_url, settings=QUICK)
    with pytest.raises(InvalidCredentials, match="no usable credentials"):
        await clients.call("list_buckets")
    await clients.aclose()


async def test_invalid_parameters_are_refused_before_anything_is_sent(moto: Server) -> None:
    clients = Clients(region="us-east-1", endpoint_url=moto.endpoint_url, credentials=KEYS, settings=QUICK)
    with pytest.raises(InvalidOption):
        await clients.call("put_bucket_policy", Bucket="apm-test", Policy=7)
    with pytest.raises(BucketNotFound):
        await clients.call("get_bucket_policy", Bucket="apm-test-no-such-bucket")
    await clients.aclose()
