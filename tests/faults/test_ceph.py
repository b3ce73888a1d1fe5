"""Servers that differ from S3 as Ceph's gateway does: on one of the tests' own, and on a real one if there is one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from apm_s3 import PreconditionFailed, S3Manager, UploadOptions
from apm_s3.errors import ConditionalWritesUnsupported
from apm_s3.options import Versioning
from apm_s3.settings import S3Settings
from tests.configs.samples import LOKI, OTHER_LOKI
from tests.faults.ceph_s3 import CephS3
from tests.faults.faults import answer, lost_response
from tests.faults.memory_s3 import Refused, Request, Response
from tests.faults.server import Exchange, Fault, FaultyS3
from tests.managers import make_manager
from tests.servers import Server, ceph_gateway

WRONG = '"00000000000000000000000000000000"'


@pytest.fixture
async def faulty() -> AsyncIterator[FaultyS3]:
    """The gateway of the tests' own."""
    async with FaultyS3() as server:
        server.s3 = CephS3()
        yield server


@pytest.fixture(params=["its double", "the real one"])
def ceph(request: pytest.FixtureRequest) -> Server | FaultyS3:
    if request.param == "the real one":
        return ceph_gateway()
    faulty: FaultyS3 = request.getfixturevalue("faulty")
    return faulty


@pytest.fixture
async def s3(ceph: Server | FaultyS3, data_path: str, bucket_name: str) -> AsyncIterator[S3Manager]:
    """A manager of the gateway on each data path, with a bucket."""
    async with make_manager(ceph, S3Settings(data_path=data_path)) as manager:  # type: ignore[arg-type]
        await manager.create_bucket(bucket_name)
        yield manager


# --------------------------------------------------------------------------------------------------------------
# The spelling of ETags


async def test_a_store_works(s3: S3Manager, bucket_name: str) -> None:
    store = s3.configs(bucket_name)
    await store.upload("loki", "staging", LOKI)
    second = await store.upload("loki", "staging", OTHER_LOKI)

    assert second.revision == 2
    assert (await store.download("loki", "staging")).text == OTHER_LOKI
    assert (await store.fsck("staging")).ok


async def test_an_upload_with_if_match_replaces_only_that_object(s3: S3Manager, bucket_name: str) -> None:
    made = await s3.upload_file(bucket_name, "key", b"first")

    second = await s3.upload_file(bucket_name, "key", b"second", UploadOptions(if_match=made.etag))
    with pytest.raises(PreconditionFailed):
        await s3.upload_file(bucket_name, "key", b"third", UploadOptions(if_match=made.etag))
    with pytest.raises(PreconditionFailed):
        await s3.upload_file(bucket_name, "key", b"third", UploadOptions(if_match=WRONG))
    await s3.upload_file(bucket_name, "key", b"fourth", UploadOptions(if_match=second.etag))

    assert await s3.read_file(bucket_name, "key") == b"fourth"


async def test_a_stale_etag_is_refused_before_any_was_accepted(s3: S3Manager, bucket_name: str) -> None:
    made = await s3.upload_file(bucket_name, "key", b"first")
    await s3.upload_file(bucket_name, "key", b"second")

    with pytest.raises(PreconditionFailed):
        await s3.upload_file(bucket_name, "key", b"third", UploadOptions(if_match=made.etag))
    assert await s3.read_file(bucket_name, "key") == b"second"


async def test_the_spelling_is_found_out_once(faulty: FaultyS3, bucket_name: str) -> None:
    async with make_manager(faulty) as s3:
        await s3.create_bucket(bucket_name)
        made = await s3.upload_file(bucket_name, "key", b"0")
        made = await s3.upload_file(bucket_name, "key", b"1", UploadOptions(if_match=made.etag))
        faulty.arrived.clear()
        for number in range(3):
            made = await s3.upload_file(bucket_name, "key", b"%d" % number, UploadOptions(if_match=made.etag))
        with pytest.raises(PreconditionFailed):
            await s3.upload_file(bucket_name, "key", b"9", UploadOptions(if_match=WRONG))

    assert faulty.arrived == ["PutObject"] * 4


async def test_an_endpoint_that_takes_no_spelling_is_named(s3: S3Manager, bucket_name: str) -> None:
    await s3.set_setting(bucket_name, Versioning())
    made = await s3.upload_file(bucket_name, "key", b"first")

    with pytest.raises(ConditionalWritesUnsupported, match="refuses PutObject with If-Match"):
        await s3.upload_file(bucket_name, "key", b"second", UploadOptions(if_match=made.etag))


async def test_a_store_in_a_versioned_bucket_says_what_it_needs(s3: S3Manager, bucket_name: str) -> None:
    await s3.set_setting(bucket_name, Versioning())

    with pytest.raises(ConditionalWritesUnsupported, match="Use a bucket without versioning"):
        await s3.configs(bucket_name).upload("loki", "staging", LOKI)


class Ignoring(CephS3):
    """It refuses each ETag in quotes, and does not read the others."""

    def _put_object(self, request: Request) -> Response:
        if request.headers.get("if-match", "").endswith('"'):
            raise Refused(412, "PreconditionFailed")
        headers = {name: value for name, value in request.headers.items() if name != "if-match"}
        return super()._put_object(Request(request.method, request.target, headers, request.body))


async def test_a_store_refuses_a_server_that_accepts_any_etag_without_quotes(
    faulty: FaultyS3, bucket_name: str
) -> None:
    faulty.s3 = Ignoring()
    async with make_manager(faulty) as s3:
        await s3.create_bucket(bucket_name)

        with pytest.raises(ConditionalWritesUnsupported, match="does not honour If-Match"):
            await s3.configs(bucket_name).upload("loki", "staging", LOKI)

    assert faulty.s3.buckets[bucket_name] == {}


# --------------------------------------------------------------------------------------------------------------
# Faults of the probe


@pytest.mark.parametrize("fault", [lost_response, answer(503, "ServiceUnavailable", carried_out=True)])
@pytest.mark.parametrize("nth", range(1, 5))
@pytest.mark.parametrize("make", [None, CephS3])
async def test_a_fault_of_the_probe_is_no_verdict(
    bucket_name: str, fault: Fault, nth: int, make: type[CephS3] | None
) -> None:
    async with FaultyS3() as server:
        if make is not None:
            server.s3 = make()
        count = 0

        async def sometimes(exchange: Exchange) -> None:
            nonlocal count
            count += "/probe-" in exchange.request.key
            if "/probe-" in exchange.request.key and count == nth:
                await fault(exchange)
            else:
                exchange.send(exchange.carry_out())

        async with make_manager(server) as s3:
            await s3.create_bucket(bucket_name)
            server.will(sometimes, "PutObject", times=None)
            assert (await s3.configs(bucket_name).upload("loki", "staging", LOKI)).revision == 1
        assert count > nth
