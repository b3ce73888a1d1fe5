"""Requests of aiobotocore are signed again, by S3's clock and with the hash of their body."""

from __future__ import annotations

from collections.abc import AsyncIterator
from hashlib import sha256

import pytest
from aiobotocore.credentials import AioCredentials
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest

from apm_s3.errors import ObjectNotFound
from apm_s3.options import CopyOptions, DeleteOptions, ListOptions, ReadOptions, UploadOptions
from tests.conftest import make_clients
from tests.faults.memory_s3 import Request
from tests.faults.server import Exchange, FaultyS3
from tests.seams.transports import BotoTransport, Clients, Clock, CredentialProvider, Resigner
from tests.servers import Server

KEY = "a folder/ü+&=~'()*.txt"


@pytest.fixture
async def corrected(seaweedfs: Server) -> AsyncIterator[Clients]:
    """Clients of a server that verifies signatures, and whose clock is taken to be a minute ahead."""
    made = make_clients(seaweedfs)
    made.clock.offset = 60.0
    yield made
    await made.aclose()


async def test_requests_of_every_form_have_the_signature_that_a_server_computes(
    corrected: Clients, bucket_name: str
) -> None:
    transport = BotoTransport(corrected)
    await corrected.call("create_bucket", Bucket=bucket_name)
    await corrected.call("put_bucket_versioning", Bucket=bucket_name, VersioningConfiguration={"Status": "Enabled"})
    options = UploadOptions(metadata={"spaced": "a  b "}, tags={"a b": "c&d"})
    await transport.put(bucket_name, KEY, b"body", options)
    await transport.copy(bucket_name, KEY, bucket_name, "copy", CopyOptions())
    upload = await transport.create_upload(bucket_name, "parts", UploadOptions())
    part = await transport.upload_part(bucket_name, "parts", upload, 1, b"part", UploadOptions())
    await transport.complete_upload(bucket_name, "parts", upload, [part], UploadOptions())
    assert (await transport.read(bucket_name, KEY, ReadOptions()))[1] == b"body"

    page = await transport.list_files(bucket_name, ListOptions(delimiter="/", max_keys=5))

    assert ([info.key for info in page.files], page.prefixes) == (["copy", "parts"], ("a folder/",))
    report = await transport.delete_many(bucket_name, [("copy", None), ("parts", None)], DeleteOptions())
    assert len(report.deleted) == 2
    with pytest.raises(ObjectNotFound):
        await transport.read(bucket_name, "copy", ReadOptions())


@pytest.mark.parametrize("size", [1, 1024**2], ids=["small", "large"])
async def test_plain_http_requests_sign_the_hash_of_the_body(size: int) -> None:
    seen: list[Request] = []

    async def observe(exchange: Exchange) -> None:
        seen.append(exchange.request)
        exchange.send(exchange.carry_out())

    async with FaultyS3() as server:
        server.s3.buckets["bucket-one"] = {}
        server.will(observe, times=None)
        clients = make_clients(Server("faulty", server.endpoint_url))
        await BotoTransport(clients).put("bucket-one", "key", bytes(size), UploadOptions())
        await clients.aclose()

    headers = seen[0].headers
    assert headers["x-amz-content-sha256"] == sha256(bytes(size)).hexdigest()
    assert "x-amz-content-sha256" in headers["authorization"]


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:80/bucket/key",
        "https://localhost:443/bucket/key",
        "http://[::1]:9000/bucket/a%20key?uploads",
        "https://bucket.s3.amazonaws.com/?list-type=2&prefix=a%2Fb&delimiter=%2F&list",
    ],
)
async def test_within_the_same_second_a_new_signature_equals_that_of_botocore(url: str) -> None:
    keys = AioCredentials("id", "secret", "token")

    async def load() -> AioCredentials:
        return keys

    clock = Clock()
    clock.offset = 1e-9
    resign = Resigner(clock, CredentialProvider(load))
    for _ in range(5):
        request = AWSRequest(method="GET", url=url, headers={"x-amz-meta-a": " b  c"})
        S3SigV4Auth(keys, "s3", "us-east-1").add_auth(request)
        prepared = request.prepare()
        before = {name: str(prepared.headers[name]) for name in ("X-Amz-Date", "Authorization")}
        await resign(prepared)
        after = {name: str(prepared.headers[name]) for name in before}
        if after["X-Amz-Date"] == before["X-Amz-Date"]:
            break
    assert after == before
