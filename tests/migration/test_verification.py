"""Contents are compared even where a server's ETag tells nothing of them."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from apm_s3.migration import migrate, verify_migration
from tests.faults.memory_s3 import StoredObject
from tests.faults.server import Exchange
from tests.migration.places import SOURCE, TARGET, Place, files, open_place, write

LOSS = ("metadata", "tags")
MIB = 1024**2
LARGE = bytes(range(256)) * (MIB // 256) + b"end"


@pytest.fixture
async def one() -> AsyncIterator[Place]:
    async with open_place() as place:
        yield place


def put_opaque(place: Place, key: str, body: bytes) -> None:
    """Store an object whose ETag is no MD5 sum, as encryption leaves it."""
    place.server.s3.buckets["source"][key] = StoredObject(body, {"content-type": "text/plain"}, '"opaque"')


async def telling_nothing(exchange: Exchange) -> None:
    """Send an object without its checksum."""
    response = exchange.carry_out()
    response.headers.pop("x-amz-checksum-crc32", None)
    exchange.send(response)


async def storing_opaquely(exchange: Exchange) -> None:
    """Store an object, and give it an ETag that is no MD5 sum."""
    response = exchange.carry_out()
    bucket, key = exchange.s3.buckets[exchange.request.bucket], exchange.request.key
    bucket[key] = StoredObject(bucket[key].body, bucket[key].headers, '"opaque"')
    response.headers["etag"] = '"opaque"'
    exchange.send(response)


@pytest.mark.parametrize("body", [b"small", LARGE], ids=["small", "large"])
async def test_a_download_without_a_telling_etag_is_read_again(one: Place, tmp_path: Path, body: bytes) -> None:
    put_opaque(one, "team/a", body)
    one.server.will(telling_nothing, "GetObject", times=None)

    report = await migrate(SOURCE, tmp_path / "down", source_s3=one.s3, accept=LOSS)

    assert (report.verified, report.failures) == (1, ())
    assert files(tmp_path / "down") == {"a": body}
    assert one.arrived("GetObject") >= 2


@pytest.mark.parametrize("body", [b"small", LARGE], ids=["small", "large"])
async def test_a_download_of_other_bytes_is_found_out(one: Place, tmp_path: Path, body: bytes) -> None:
    put_opaque(one, "team/a", body)
    # Each attempt downloads the object, and then reads it again.
    wrong = itertools.cycle([True, False])

    async def fault(exchange: Exchange) -> None:
        response = exchange.carry_out()
        response.headers.pop("x-amz-checksum-crc32", None)
        if next(wrong):
            response.body = bytes(len(response.body))
        exchange.send(response)

    one.server.will(fault, "GetObject", times=None)
    report = await migrate(SOURCE, tmp_path / "down", source_s3=one.s3, accept=LOSS)

    assert report.verified == 0
    assert [failure.key for failure in report.failures] == ["a"]
    assert "differs from the object" in report.failures[0].error


async def test_an_object_that_is_replaced_after_it_was_listed_is_not_downloaded(one: Place, tmp_path: Path) -> None:
    one.put("team/a", b"old")
    new = itertools.count()

    async def fault(exchange: Exchange) -> None:
        one.put("team/a", b"new %d" % next(new))
        exchange.send(exchange.carry_out())

    one.server.will(fault, "GetObject", times=None)
    report = await migrate(SOURCE, tmp_path / "down", source_s3=one.s3, accept=LOSS)

    assert "replaced after it was listed" in report.failures[0].error
    assert files(tmp_path / "down") == {}


@pytest.mark.parametrize("body", [b"small", LARGE], ids=["small", "large"])
async def test_an_upload_without_a_telling_etag_is_read_back(one: Place, tmp_path: Path, body: bytes) -> None:
    write(tmp_path, {"a": body})
    one.server.will(storing_opaquely, "PutObject", times=None)

    report = await migrate(tmp_path, TARGET, target_s3=one.s3, accept=LOSS)

    assert (report.verified, report.failures) == (1, ())
    assert one.stored() == {"a": body}
    assert one.arrived("GetObject") == 1


@pytest.mark.parametrize("there", [b"same", b"else"])
async def test_an_object_that_another_writer_created_meanwhile_counts_only_if_it_is_the_same(
    one: Place, tmp_path: Path, there: bytes
) -> None:
    write(tmp_path, {"a": b"same"})

    async def fault(exchange: Exchange) -> None:
        one.put("copy/a", there, bucket="target")
        exchange.send(exchange.carry_out())

    one.server.will(fault, "PutObject", times=1)
    report = await migrate(tmp_path, TARGET, target_s3=one.s3, accept=LOSS, if_exists="fail")

    assert one.stored() == {"a": there}
    assert [failure.key for failure in report.failures] == ([] if there == b"same" else ["a"])


async def test_a_verification_finds_files_that_changed_or_went(one: Place, tmp_path: Path) -> None:
    for name in "abc":
        one.put(f"team/{name}", name.encode())
    down, journal = tmp_path / "down", tmp_path / "journal"
    await migrate(SOURCE, down, source_s3=one.s3, accept=LOSS, journal=journal)
    good = await verify_migration(SOURCE, down, source_s3=one.s3, journal=journal)
    told = (down / "a").stat()
    (down / "a").write_bytes(b"A")
    os.utime(down / "a", ns=(told.st_atime_ns, told.st_mtime_ns))
    (down / "b").unlink()

    bad = await verify_migration(SOURCE, down, source_s3=one.s3, journal=journal, verify="read")

    assert (good.verified, good.failures) == (3, ())
    assert bad.verified == 1
    errors = {failure.key: failure.error for failure in bad.failures}
    assert sorted(errors) == ["a", "b"]
    assert errors["a"] == "the content differs"


async def test_a_verification_finds_objects_that_no_longer_have_the_content_of_their_files(
    one: Place, tmp_path: Path
) -> None:
    up, journal = write(tmp_path / "up", {name: name.encode() for name in "abc"}), tmp_path / "journal"
    await migrate(up, TARGET, target_s3=one.s3, accept=LOSS, journal=journal)
    stored = one.server.s3.buckets["target"]["copy/a"]
    one.server.s3.buckets["target"]["copy/a"] = StoredObject(b"A", stored.headers, stored.etag)
    del one.server.s3.buckets["target"]["copy/b"]

    bad = await verify_migration(up, TARGET, target_s3=one.s3, journal=journal, verify="read")

    assert bad.verified == 1
    errors = {failure.key: failure.error for failure in bad.failures}
    assert sorted(errors) == ["a", "b"]
    assert errors["a"] == "the content differs"
