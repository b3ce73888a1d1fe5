"""Requests of aiobotocore that are signed anew by S3's clock."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from apm_s3.errors import ObjectNotFound
from apm_s3.options import CopyOptions, DeleteOptions, ListOptions, ReadOptions, UploadOptions
from apm_s3.transports.boto import BotoTransport
from apm_s3.transports.clients import Clients
from apm_s3.transports.clock import Clock
from tests.conftest import make_clients
from tests.servers import Server

KEY = "a folder/ü+&=~'()*.txt"


@pytest.fixture
async def corrected(seaweedfs: Server) -> AsyncIterator[Clients]:
    """Clients of a server that verifies signatures, and whose clock is taken to be a minute ahead."""
    made = make_clients(seaweedfs)
    made.clock.offset = 60.0
    yield made
    await made.aclose()


async def test_requests_of_every_form_are_signed_anew_as_the_server_computes_it(
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


def test_a_clock_is_off_when_s3_would_refuse_what_it_signs() -> None:
    clock = Clock()
    now = clock.now()
    assert not clock.is_off(None)
    assert not clock.is_off(now + 800)
    assert clock.is_off(now + 1000)
    clock.correct(now + 1000)
    assert not clock.is_off(now + 1000)
    assert clock.is_off(now)
