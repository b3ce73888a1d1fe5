"""Servers that differ from S3 as Ceph's gateway does: on one of the tests' own, and on a real one if there is one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from unicodedata import category

import pytest

from apm_s3 import PreconditionFailed, S3Manager, UploadOptions
from apm_s3.errors import (
    ConditionalWritesUnsupported,
    IntegrityError,
    ObjectChanged,
    RequestRejected,
    UnsupportedByServer,
)
from apm_s3.options import (
    BucketOptions,
    CopyOptions,
    DeleteOptions,
    OwnershipControls,
    PublicAccessBlock,
    Tags,
    Versioning,
)
from apm_s3.settings import RetrySettings, S3Settings
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


# --------------------------------------------------------------------------------------------------------------
# Tags, and uploads in parts

TAGS = {"team": "apm + co", "a b": "c d"}
ALLOWED = [chr(code) for code in range(0x10000) if category(chr(code))[0] in "LN" or chr(code) in " +-=._:/@"]
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html: what a tag may contain."""
LONGEST = 80
"""Its 256 characters are 256 bytes to Ceph's gateway."""


async def test_every_character_that_s3_allows_in_a_tag_is_read_back(s3: S3Manager, bucket_name: str) -> None:
    values = ["".join(ALLOWED[start : start + LONGEST]) for start in range(0, len(ALLOWED), LONGEST)]

    async def stored(number: int) -> dict[str, str]:
        tags = {f"{value[:1]}key {part}": value for part, value in enumerate(values[number : number + 10])}
        await s3.upload_file(bucket_name, f"{number}", b"", UploadOptions(tags=tags))
        assert await s3.get_file_tags(bucket_name, f"{number}") == tags
        return tags

    found = await asyncio.gather(*map(stored, range(0, len(values), 10)))
    assert "".join(value for tags in found for value in tags.values()) == "".join(ALLOWED)


async def test_tags_are_kept(s3: S3Manager, bucket_name: str) -> None:
    small = {"every": "".join(map(chr, [*range(0xC0, 0xD7)])) + " +-=._:/@ az AZ 09", "café": ""}
    await s3.upload_file(bucket_name, "small", b"x", UploadOptions(tags=small))
    await s3.upload_file(bucket_name, "parts", _pieces(), UploadOptions(tags=TAGS))
    await s3.copy_file(bucket_name, "small", bucket_name, "copy", CopyOptions(replace=UploadOptions(tags=TAGS)))
    await s3.copy_file(bucket_name, "small", bucket_name, "same")

    found = {key: await s3.get_file_tags(bucket_name, key) for key in ("small", "parts", "copy", "same")}
    assert found == {"small": small, "parts": TAGS, "copy": TAGS, "same": small}


async def test_an_object_without_tags_has_none(s3: S3Manager, bucket_name: str) -> None:
    await s3.upload_file(bucket_name, "parts", _pieces())

    assert await s3.get_file_tags(bucket_name, "parts") == {}


async def test_lost_tags_that_cannot_be_set_are_an_error(faulty: FaultyS3, bucket_name: str) -> None:
    async with make_manager(faulty) as s3:
        await s3.create_bucket(bucket_name)
        faulty.will(answer(501, "NotImplemented"), "PutObjectTagging", times=None)

        with pytest.raises(UnsupportedByServer, match="stored, but the server has lost its tags") as lost:
            await s3.upload_file(bucket_name, "key", _pieces(), UploadOptions(tags=TAGS))

        assert lost.value.may_have_happened
        assert await s3.file_exists(bucket_name, "key")


async def test_tags_are_not_set_on_an_object_that_another_client_has_stored(faulty: FaultyS3, bucket_name: str) -> None:
    async def replaced(exchange: Exchange) -> None:
        exchange.send(exchange.carry_out())
        headers = {"x-amz-tagging": "its=own"}
        faulty.s3.handle(Request("PUT", exchange.request.target.partition("?")[0], headers, b"another"))

    async with make_manager(faulty) as s3:
        await s3.create_bucket(bucket_name)
        faulty.will(replaced, "CompleteMultipartUpload")
        await s3.upload_file(bucket_name, "key", _pieces(), UploadOptions(tags=TAGS))

        assert await s3.get_file_tags(bucket_name, "key") == {"its": "own"}


async def test_a_completion_whose_response_was_lost_succeeds(
    faulty: FaultyS3, bucket_name: str, data_path: str
) -> None:
    async with make_manager(faulty, S3Settings(data_path=data_path)) as s3:  # type: ignore[arg-type]
        await s3.create_bucket(bucket_name)
        faulty.will(lost_response, "CompleteMultipartUpload")
        info = await s3.upload_file(bucket_name, "key", _pieces())

        assert info.size == PARTS
        assert info.etag == (await s3.head_file(bucket_name, "key")).etag


async def test_a_completion_without_etag_is_not_believed_if_there_is_another_object(
    faulty: FaultyS3, bucket_name: str, data_path: str
) -> None:
    async def replaced(exchange: Exchange) -> None:
        exchange.carry_out()
        target = exchange.request.target.partition("?")[0]
        faulty.s3.handle(Request("PUT", target, {}, b"x" * PARTS))
        exchange.close()

    async with make_manager(faulty, S3Settings(data_path=data_path)) as s3:  # type: ignore[arg-type]
        await s3.create_bucket(bucket_name)
        faulty.will(replaced, "CompleteMultipartUpload")
        with pytest.raises(IntegrityError, match="there is another object") as refused:
            await s3.upload_file(bucket_name, "key", _pieces())
        assert refused.value.may_have_happened


PARTS = 9 * 1024 * 1024


async def _pieces() -> AsyncIterator[bytes]:
    """A stream that is sent in parts."""
    for _ in range(9):
        yield b"p" * 1024 * 1024


# --------------------------------------------------------------------------------------------------------------
# Settings of buckets


async def test_a_setting_that_is_answered_with_a_list_of_objects_is_unknown(s3: S3Manager, bucket_name: str) -> None:
    await s3.upload_file(bucket_name, "key", b"x")

    with pytest.raises(UnsupportedByServer, match="OwnershipControls"):
        await s3.get_setting(bucket_name, OwnershipControls)
    plan = await s3.plan_bucket(bucket_name, BucketOptions(ownership=OwnershipControls()))
    assert (plan.changes, plan.unsupported) == ((), ("OwnershipControls",))


async def test_a_setting_that_the_server_takes_for_create_bucket_is_unknown(s3: S3Manager, bucket_name: str) -> None:
    with pytest.raises(UnsupportedByServer, match="no OwnershipControls"):
        await s3.set_setting(bucket_name, OwnershipControls())
    wanted = BucketOptions(ownership=OwnershipControls(), tags=Tags({"a": "b"}))
    plan = await s3.create_bucket(f"{bucket_name}-2", wanted, unsupported="warn")
    assert ([change.kind for change in plan.changes], plan.unsupported) == (["Tags"], ("OwnershipControls",))


async def test_a_setting_that_is_accepted_as_create_bucket_is_missed(faulty: FaultyS3, bucket_name: str) -> None:
    async def accepted(exchange: Exchange) -> None:
        exchange.send(Response(200))

    async with make_manager(faulty) as s3:
        faulty.will(accepted, "PutBucket:ownershipControls", times=None)
        with pytest.raises(UnsupportedByServer, match="no OwnershipControls"):
            await s3.create_bucket(bucket_name, BucketOptions(ownership=OwnershipControls()))

    assert bucket_name not in faulty.s3.buckets


async def test_a_refused_setting_that_the_server_knows_stays_refused(faulty: FaultyS3, bucket_name: str) -> None:
    async with make_manager(faulty) as s3:
        await s3.create_bucket(bucket_name)
        faulty.will(answer(400, "MalformedXML"), "PutBucket:tagging")

        with pytest.raises(RequestRejected, match="MalformedXML"):
            await s3.set_setting(bucket_name, Tags({"a": "b"}))


async def test_a_bucket_for_configurations_is_made_without_what_a_store_cannot_live_with(
    s3: S3Manager, bucket_name: str
) -> None:
    name = f"{bucket_name}-c"
    with pytest.raises(UnsupportedByServer, match="conditional writes with Versioning"):
        await s3.create_apm_bucket(name, "staging", "all", "configs")
    assert not await s3.bucket_exists(name)

    plan = await s3.create_apm_bucket(name, "staging", "all", "configs", unsupported="warn")
    assert {change.kind for change in plan.changes}.isdisjoint(SPOILING)
    assert any("conditional writes with Versioning" in warning for warning in plan.warnings)
    release = await s3.configs(name).upload("loki", "staging", LOKI)
    assert release.revision == 1


async def test_a_store_in_use_is_not_broken_by_its_buckets_settings(s3: S3Manager, bucket_name: str) -> None:
    await s3.configs(bucket_name).upload("loki", "staging", LOKI)
    options = await s3.apm_options(bucket_name, "staging", "all", "configs")

    with pytest.raises(UnsupportedByServer, match="conditional writes with Versioning"):
        await s3.ensure_bucket(bucket_name, options)
    assert await s3.get_setting(bucket_name, Tags) is None
    await s3.ensure_bucket(bucket_name, options, unsupported="warn")
    again = await s3.ensure_bucket(bucket_name, options, unsupported="warn")

    assert again.empty
    assert (await s3.configs(bucket_name).upload("loki", "staging", OTHER_LOKI)).revision == 2
    assert not [each.name for each in await s3.list_buckets() if each.name.startswith("apm-s3-probe")]


async def test_bytes_past_a_complete_answer_do_not_make_a_lost_one_of_it(
    ceph: Server | FaultyS3, bucket_name: str
) -> None:
    once = S3Settings(retry=RetrySettings(attempts=1))
    async with make_manager(ceph, once) as s3:
        await s3.create_bucket(bucket_name)
        for _ in range(5):
            assert await s3.get_setting(bucket_name, PublicAccessBlock) is None
            assert await s3.get_setting(bucket_name, Tags) is None


async def test_a_connection_is_not_used_again_after_bytes_past_an_answer(faulty: FaultyS3, bucket_name: str) -> None:
    used: list[asyncio.Transport] = []

    async def note(exchange: Exchange) -> None:
        used.append(exchange.transport)
        exchange.send(exchange.carry_out())

    async with make_manager(faulty) as s3:
        await s3.create_bucket(bucket_name)
        faulty.will(note, None, times=None)
        for setting in (PublicAccessBlock, Tags, Tags):
            assert await s3.get_setting(bucket_name, setting) is None

    assert used[0] is not used[1]
    assert used[1] is used[2]


SPOILING = {"Versioning", "Encryption", "PublicAccessBlock", "OwnershipControls"}


# --------------------------------------------------------------------------------------------------------------
# Conditions of other requests than PutObject

CREATE = UploadOptions(if_none_match="*")


@pytest.mark.parametrize("verb", ["upload", "copy"])
@pytest.mark.parametrize("condition", [{"if_none_match": "*"}, {"if_match": WRONG}])
async def test_a_condition_that_the_server_ignores_is_refused_before_anything_is_stored(
    s3: S3Manager, bucket_name: str, verb: str, condition: dict[str, Any]
) -> None:
    for key in ("there", "other"):
        await s3.upload_file(bucket_name, key, key.encode())

    with pytest.raises(ConditionalWritesUnsupported, match="ignores If-"):
        if verb == "upload":
            await s3.upload_file(bucket_name, "there", _pieces(), UploadOptions(**condition))
        else:
            await s3.copy_file(bucket_name, "other", bucket_name, "there", CopyOptions(**condition))
    assert {info.key: info.size async for info in s3.iter_files(bucket_name)} == {"there": 5, "other": 5}
    assert not await s3.cleanup_uploads(bucket_name, timedelta(0))


async def test_a_conditional_deletion_that_the_server_ignores_is_refused(s3: S3Manager, bucket_name: str) -> None:
    made = await s3.upload_file(bucket_name, "folder/key", b"first")

    with pytest.raises(ConditionalWritesUnsupported, match="ignores If-Match on DeleteObject"):
        await s3.delete_file(bucket_name, "folder/key", DeleteOptions(if_match=made.etag))
    assert [info.key async for info in s3.iter_files(bucket_name)] == ["folder/key"]


async def test_a_move_keeps_a_newer_version_of_its_source(faulty: FaultyS3, bucket_name: str) -> None:
    async def replaced(exchange: Exchange) -> None:
        exchange.send(exchange.carry_out())
        faulty.s3.handle(Request("PUT", f"/{bucket_name}/source", {}, b"newer"))

    async with make_manager(faulty) as s3:
        await s3.create_bucket(bucket_name)
        await s3.upload_file(bucket_name, "source", b"first")
        faulty.will(replaced, "CopyObject")

        with pytest.raises(ObjectChanged, match="both the copy and the new source exist"):
            await s3.move_file(bucket_name, "source", bucket_name, "target")
        assert await s3.read_file(bucket_name, "source") == b"newer"


async def test_a_move_without_races_moves(s3: S3Manager, bucket_name: str, caplog: pytest.LogCaptureFixture) -> None:
    await s3.upload_file(bucket_name, "source", b"first")
    await s3.move_file(bucket_name, "source", bucket_name, "target")

    assert [info.key async for info in s3.iter_files(bucket_name)] == ["target"]
    assert "ignores If-Match on DeleteObject" in caplog.text


@pytest.mark.parametrize("condition", ["if_match", "if_none_match"])
async def test_a_server_that_honours_conditions_is_asked_once(bucket_name: str, condition: str) -> None:
    async with FaultyS3() as server, make_manager(server) as s3:
        await s3.create_bucket(bucket_name)
        made = await s3.upload_file(bucket_name, "there", b"first")
        holds: dict[str, Any] = {"if_match": made.etag} if condition == "if_match" else {"if_none_match": "*"}
        key = "there" if condition == "if_match" else "new"
        replaced = UploadOptions(metadata={"a": "b"})
        await s3.copy_file(bucket_name, "there", bucket_name, key, CopyOptions(replace=replaced, **holds))
        server.arrived.clear()
        fails: dict[str, Any] = {"if_match": WRONG} if condition == "if_match" else {"if_none_match": "*"}
        with pytest.raises(PreconditionFailed):
            await s3.copy_file(bucket_name, "there", bucket_name, "there", CopyOptions(replace=replaced, **fails))

        assert [name for name in server.arrived if name != "HeadObject"] == ["CopyObject"]
        assert set(server.s3.buckets[bucket_name]) == {"there", key}
        await s3.upload_file(bucket_name, "large", _pieces(), CREATE)
        assert set(server.s3.buckets[bucket_name]) == {"there", key, "large"}
        assert not server.s3.uploads


async def test_concurrent_calls_ask_once(bucket_name: str) -> None:
    async with FaultyS3() as server, make_manager(server) as s3:
        await s3.create_bucket(bucket_name)
        made = [await s3.upload_file(bucket_name, f"{number}", b"x") for number in range(5)]
        await asyncio.gather(*(s3.delete_file(bucket_name, one.key, DeleteOptions(if_match=one.etag)) for one in made))

    assert (server.arrived.count("DeleteObject"), server.s3.buckets[bucket_name]) == (7, {})


async def test_a_probe_that_is_not_allowed_is_a_warning(bucket_name: str, caplog: pytest.LogCaptureFixture) -> None:
    async with FaultyS3() as server, make_manager(server) as s3:
        await s3.create_bucket(bucket_name)
        made = await s3.upload_file(bucket_name, "key", b"x")
        server.will(answer(403, "AccessDenied"), "PutObject", times=None)
        await s3.delete_file(bucket_name, "key", DeleteOptions(if_match=made.etag))

    assert server.s3.buckets[bucket_name] == {}
    assert "it is not known whether this server honours If-Match on DeleteObject" in caplog.text


async def test_a_stale_etag_is_sent_in_one_spelling(faulty: FaultyS3, bucket_name: str) -> None:
    async with make_manager(faulty) as s3:
        await s3.create_bucket(bucket_name)
        await s3.upload_file(bucket_name, "a", b"old")
        faulty.arrived.clear()

        with pytest.raises(PreconditionFailed):
            await s3.upload_file(bucket_name, "a", b"new", UploadOptions(if_match=WRONG))

    assert list(faulty.arrived) == ["PutObject", "HeadObject"]
