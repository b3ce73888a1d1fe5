"""Migrations over servers that fail and lie, and sources that change meanwhile."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import logging
import random
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from time import time
from typing import Any

import pytest

from apm_s3.errors import MigrationRefused
from apm_s3.migration import MigrationProgress, migrate, plan_migration
from apm_s3.models import FileInfo
from tests.faults.faults import answer, corrupted, lost_response, reset_after_headers, reset_before_headers, truncated
from tests.faults.lies import told
from tests.faults.memory_s3 import Request, Response, StoredObject, _etag, error_response
from tests.faults.server import Exchange
from tests.migration.places import SOURCE, TARGET, Place, files, open_place, write
from tests.seams.migration import reported_digests
from tests.seams.transports import SignedTransport
from tests.seams.wire import SIGNED_CHUNKS_TRAILER


@pytest.fixture
async def one() -> AsyncIterator[Place]:
    """A server whose requests are not repeated by the manager."""
    async with open_place() as place:
        yield place


@pytest.fixture
async def other() -> AsyncIterator[Place]:
    """Another one."""
    async with open_place() as place:
        yield place


def fill(place: Place, count: int = 20) -> dict[str, bytes]:
    bodies = {f"{number % 3}/{number:03}": f"body {number}".encode() for number in range(count)}
    for key, body in bodies.items():
        place.put(f"team/{key}", body, x_amz_meta_of=key, x_amz_tagging="kind=test&of=us")
    return bodies


def failing(place: Place, share: float, seed: int) -> None:
    """Let a share of all requests fail, each kind of fault in turn."""
    chance = random.Random(seed)
    kinds = itertools.cycle([
        answer(503, "SlowDown"), answer(500, "InternalError"), answer(500, "InternalError", carried_out=True),
        lost_response, reset_before_headers, reset_after_headers, truncated,
    ])  # fmt: skip

    async def perhaps(exchange: Exchange) -> None:
        if chance.random() < share:
            await next(kinds)(exchange)
        else:
            exchange.send(exchange.carry_out())

    place.server.will(perhaps, times=None)


@pytest.mark.parametrize("streamed", [True, False])
async def test_with_faults_in_every_twentieth_request_all_arrive_verified(streamed: bool) -> None:
    async with open_place(attempts=4) as one, open_place(attempts=4) as other:
        bodies = fill(one, 150)
        target = other if streamed else one
        failing(one, 0.05, 1)
        failing(other, 0.05, 2)

        report = await migrate(SOURCE, TARGET, source_s3=one.s3, target_s3=target.s3)

        assert target.stored() == bodies
        assert (report.failed, report.verified) == (0, 150)


async def test_files_arrive_both_ways_with_faults_in_every_twentieth_request(tmp_path: Path) -> None:
    async with open_place(attempts=4) as one:
        bodies = {f"{number:03}": str(number).encode() for number in range(60)}
        source = write(tmp_path / "up", bodies)
        failing(one, 0.05, 3)

        up = await migrate(source, TARGET, target_s3=one.s3)
        down = await migrate(TARGET, tmp_path / "down", source_s3=one.s3, accept=("metadata", "tags"))

        assert one.stored() == bodies == files(tmp_path / "down")
        assert (up.failed, down.failed) == (0, 0)


LARGE = random.Random(4).randbytes(2 * 1024**2)


def kept_puts(place: Place) -> list[dict[str, str]]:
    """The headers of the PUTs that arrive from now on, without the probe's."""
    headers: list[dict[str, str]] = []

    async def keep(exchange: Exchange) -> None:
        if "-probe-" not in exchange.request.key:
            headers.append(dict(exchange.request.headers))
        exchange.send(exchange.carry_out())

    place.server.will(keep, "PutObject", times=None)
    return headers


async def test_streamed_contents_are_signed_over_plain_http(one: Place, other: Place) -> None:
    one.put("team/large", LARGE)
    puts = kept_puts(other)

    report = await migrate(SOURCE, TARGET, source_s3=one.s3, target_s3=other.s3)

    assert (report.verified, report.trusted, other.stored()) == (1, 0, {"large": LARGE})
    assert [headers["x-amz-content-sha256"] for headers in puts] == [SIGNED_CHUNKS_TRAILER]


@pytest.mark.parametrize("answered", [True, False])
async def test_on_a_trusted_network_streamed_contents_go_with_the_digests_of_the_source(
    one: Place, other: Place, tmp_path: Path, answered: bool
) -> None:
    one.put("team/large", LARGE)
    one.put("team/small", b"body")
    puts: list[dict[str, str]] = []

    async def keep(exchange: Exchange) -> None:
        if exchange.request.key == "copy/large":
            puts.append(dict(exchange.request.headers))
        if exchange.request.key == "copy/large" and len(puts) == 1 and not answered:
            await lost_response(exchange)
        else:
            exchange.send(exchange.carry_out())

    other.server.will(keep, "PutObject", times=None)
    journal, sides = tmp_path / "journal", {"source_s3": one.s3, "target_s3": other.s3}

    report = await migrate(SOURCE, TARGET, **sides, journal=journal, trust_network=True, if_exists="fail")
    again = await migrate(SOURCE, TARGET, **sides, journal=journal, if_exists="fail")

    assert other.stored() == {"large": LARGE, "small": b"body"}
    assert (report.ok, report.verified, report.trusted) == (True, 1, 1)
    assert (again.verified, again.trusted) == (1, 1)
    assert "1 verified, 1 trusted, 0 failed" in str(report)
    assert {headers["x-amz-content-sha256"] for headers in puts} == {"UNSIGNED-PAYLOAD"}
    assert base64.b64decode(puts[0]["content-md5"]) == hashlib.md5(LARGE).digest()
    assert puts[0]["x-amz-checksum-crc32"] == one.server.s3.buckets["source"]["team/large"].crc32


def with_false_etag(place: Place, key: str, **headers: str) -> None:
    """Store an object whose ETag looks like an MD5, but is none."""
    place.put(key, LARGE, **headers)
    stored = place.server.s3.buckets["source"]
    stored[key] = replace(stored[key], etag=_etag(key.encode()))


def by_digests(puts: list[dict[str, str]]) -> list[bool]:
    return ["content-md5" in headers for headers in puts]


async def test_what_an_earlier_run_may_have_sent_unsigned_is_only_trusted(one: Place, other: Place) -> None:
    one.put("team/large", LARGE)
    one.put("team/small")
    sides = {"source_s3": one.s3, "target_s3": other.s3}
    await migrate(SOURCE, TARGET, **sides, trust_network=True)

    again = await migrate(SOURCE, TARGET, **sides, trust_network=True)

    assert (again.identical, again.verified, again.trusted) == (2, 1, 1)


async def test_etags_that_are_no_md5_are_found_out(one: Place, other: Place) -> None:
    for number in range(5):
        with_false_etag(one, f"team/{number}")
    puts = kept_puts(other)

    report = await migrate(SOURCE, TARGET, source_s3=one.s3, target_s3=other.s3, trust_network=True, concurrency=1)

    assert (report.ok, other.stored()) == (True, {str(number): LARGE for number in range(5)})
    assert by_digests(puts) == [True, False] * 3 + [False] * 2


async def test_a_liar_among_others_costs_only_its_own_second_request(one: Place, other: Place) -> None:
    for number in range(5):
        one.put(f"team/{number}", LARGE)
    with_false_etag(one, "team/1")
    puts = kept_puts(other)

    report = await migrate(SOURCE, TARGET, source_s3=one.s3, target_s3=other.s3, trust_network=True, concurrency=1)

    assert (report.ok, other.stored()) == (True, {str(number): LARGE for number in range(5)})
    assert by_digests(puts) == [True, True, False, True, True, True]


@pytest.mark.parametrize(
    ("status", "code", "again"),
    [
        (403, "RequestTimeTooSkewed", [True, True, True]),
        (403, "AccessDenied", [True, False, False]),
        (501, "NotImplemented", [True, False, False]),
        (400, "InvalidRequest", [True, False, False]),
        (400, "BadDigest", [True, False, True]),
    ],
)
async def test_a_refusal_of_digests_is_told_from_other_refusals(
    one: Place, other: Place, status: int, code: str, again: list[bool]
) -> None:
    one.put("team/0", LARGE)
    one.put("team/1", LARGE)
    puts: list[dict[str, str]] = []
    skew = 3600 if code == "RequestTimeTooSkewed" else 0

    async def refuse(exchange: Exchange) -> None:
        if exchange.request.body == LARGE and not puts:
            puts.append(dict(exchange.request.headers))
            await answer(status, code, date=formatdate(time() + skew, usegmt=True))(exchange)
            return
        if exchange.request.key in {"copy/0", "copy/1"}:
            puts.append(dict(exchange.request.headers))
        exchange.send(exchange.carry_out())

    other.server.will(refuse, "PutObject", times=None)
    report = await migrate(SOURCE, TARGET, source_s3=one.s3, target_s3=other.s3, trust_network=True, concurrency=1)

    assert (report.ok, other.stored()) == (True, {"0": LARGE, "1": LARGE})
    assert by_digests(puts) == again


async def test_a_denial_for_another_reason_is_reported_and_changes_nothing(one: Place, other: Place) -> None:
    one.put("team/0", LARGE)
    one.put("team/1", LARGE)
    puts: list[dict[str, str]] = []

    async def deny(exchange: Exchange) -> None:
        denied = exchange.request.key == "copy/0"
        if not denied:
            puts.append(dict(exchange.request.headers))
        exchange.send(error_response(403, "AccessDenied") if denied else exchange.carry_out())

    other.server.will(deny, "PutObject", times=None)
    report = await migrate(SOURCE, TARGET, source_s3=one.s3, target_s3=other.s3, trust_network=True, concurrency=1)

    assert [(failure.key, "denies access" in failure.error) for failure in report.failures] == [("0", True)]
    assert by_digests(puts[-1:]) == [True]


async def test_an_error_of_the_source_is_no_refusal_by_the_target(other: Place) -> None:
    async with open_place(attempts=2) as one:
        one.put("team/0", LARGE)
        one.put("team/1", LARGE)
        one.server.will(truncated, "GetObject")
        one.server.will(answer(403, "AccessDenied"), "GetObject")
        puts = kept_puts(other)

        report = await migrate(SOURCE, TARGET, source_s3=one.s3, target_s3=other.s3, trust_network=True, concurrency=1)

    assert (report.ok, other.stored()) == (True, {"0": LARGE, "1": LARGE})
    assert by_digests(puts) == [True, True]


async def test_after_a_broken_connection_the_body_is_sent_from_its_start_with_the_same_digests(one: Place) -> None:
    one.put("team/large", LARGE)
    async with open_place(attempts=3) as other:
        puts: list[Request] = []
        read: list[dict[str, str]] = []

        async def watch(exchange: Exchange) -> None:
            read.append(dict(exchange.request.headers))
            exchange.send(exchange.carry_out())

        async def broken(exchange: Exchange) -> None:
            if exchange.request.key == "copy/large":
                puts.append(exchange.request)
            if 0 < len(puts) < 3:
                await reset_before_headers(exchange)
            else:
                exchange.send(exchange.carry_out())

        one.server.will(watch, "GetObject", times=None)
        other.server.will(broken, "PutObject", times=None)
        report = await migrate(SOURCE, TARGET, source_s3=one.s3, target_s3=other.s3, trust_network=True)

        assert (report.ok, other.stored()) == (True, {"large": LARGE})
        assert [put.body for put in puts] == [LARGE] * 3
        assert len({put.headers["content-md5"] for put in puts}) == 1
        assert [headers.get("if-match") for headers in read] == [_etag(LARGE)] * 3


async def test_a_policy_that_insists_on_signed_payloads_is_obeyed(one: Place, other: Place) -> None:
    one.put("team/large", LARGE)

    async def deny(exchange: Exchange) -> None:
        unsigned = exchange.request.headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
        exchange.send(error_response(403, "AccessDenied") if unsigned else exchange.carry_out())

    other.server.will(deny, "PutObject", times=None)
    report = await migrate(SOURCE, TARGET, source_s3=one.s3, target_s3=other.s3, trust_network=True)

    assert (report.ok, other.stored()) == (True, {"large": LARGE})


async def test_content_damaged_on_its_way_from_the_source_is_never_stored(one: Place, other: Place) -> None:
    one.put("team/large", LARGE)
    one.server.will(corrupted, "GetObject")
    stored: list[bool] = []

    async def watch(exchange: Exchange) -> None:
        response = exchange.carry_out()
        if exchange.request.key == "copy/large":
            stored.append(response.status == 200)
        exchange.send(response)

    other.server.will(watch, "PutObject", times=None)
    report = await migrate(SOURCE, TARGET, source_s3=one.s3, target_s3=other.s3, trust_network=True)

    assert (report.ok, other.stored()) == (True, {"large": LARGE})
    assert stored == [False, True]


async def test_bodies_that_aiobotocore_holds_in_memory_count_as_such(
    one: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(16):
        one.put(f"team/{number}", LARGE * 2)
    held = most = 0
    put = SignedTransport.put

    async def counted(self: SignedTransport, bucket: str, key: str, body: Any, options: Any) -> Any:
        nonlocal held, most
        size = getattr(body, "size", 0)
        held += size
        most = max(most, held)
        try:
            return await put(self, bucket, key, body, options)
        finally:
            held -= size

    monkeypatch.setattr(SignedTransport, "put", counted)
    async with open_place(settings={"data_path": "boto"}) as other:
        report = await migrate(SOURCE, TARGET, source_s3=one.s3, target_s3=other.s3, concurrency=16)

    assert (report.ok, report.moved) == (True, 16)
    assert 0 < most <= 16 * 1024**2


async def test_a_source_that_changes_while_it_is_read_is_moved_as_it_is_now(one: Place, other: Place) -> None:
    one.put("team/large", LARGE)
    half, now = len(LARGE) // 2, LARGE[::-1]

    async def mixed(exchange: Exchange) -> None:
        response = exchange.carry_out()
        one.put("team/large", now)
        response.body = LARGE[:half] + now[half:]
        exchange.send(response)

    one.server.will(mixed, "GetObject")
    puts = kept_puts(other)
    report = await migrate(SOURCE, TARGET, source_s3=one.s3, target_s3=other.s3, trust_network=True)

    assert (report.ok, other.stored()) == (True, {"large": now})
    assert by_digests(puts) == [True, True]


async def test_a_migration_cancelled_in_its_second_request_stores_nothing_and_holds_no_slot(
    one: Place, other: Place
) -> None:
    with_false_etag(one, "team/large")
    keys: list[str] = []
    second = asyncio.Event()

    async def hold(exchange: Exchange) -> None:
        keys.append(exchange.request.key)
        if keys.count("copy/large") < 2:
            exchange.send(exchange.carry_out())
            return
        second.set()
        await exchange.hang()

    other.server.will(hold, "PutObject", times=None)
    running = asyncio.create_task(migrate(SOURCE, TARGET, source_s3=one.s3, target_s3=other.s3, trust_network=True))
    await second.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert other.stored() == {}
    assert [place.s3.pool.stats().in_use for place in (one, other)] == [0, 0]


WORD, HASH = base64.b64encode(bytes(4)).decode(), base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    ("checksums", "passed_on"),
    [
        ({"sha256": HASH, "crc32": WORD}, {"sha256", "crc32"}),
        ({"sha256": f"{HASH}-3"}, set()),
        ({"sha256": WORD, "crc32": HASH}, set()),
        ({"sha256": f"{HASH}\r\nx-amz-acl: public-read"}, set()),
        ({"sha256": "\N{LATIN SMALL LETTER E WITH ACUTE}", "crc32": "", "sha1": "===="}, set()),
        ({"crc64nvme": base64.b64encode(bytes(8)).decode()}, set()),
    ],
)
def test_only_checksums_of_the_whole_content_are_passed_on(checksums: dict[str, str], passed_on: set[str]) -> None:
    assert set(reported_digests(FileInfo("source", "key", 1, '"e-3"', checksums=checksums))) == passed_on


def dropping(place: Place, key: str, header: str) -> None:
    """Store one object without what a header says of it."""

    async def fault(exchange: Exchange) -> None:
        if exchange.request.key == key:
            headers = {name: value for name, value in exchange.request.headers.items() if name != header}
            exchange.request = replace(exchange.request, headers=headers)
        exchange.send(exchange.carry_out())

    place.server.will(fault, "PutObject", times=None)


@pytest.mark.parametrize(
    ("header", "named"),
    [("x-amz-tagging", "the target has dropped the tags kind, of"), ("x-amz-meta-of", "metadata")],
)
async def test_one_dropped_tag_or_value_is_detected(one: Place, other: Place, header: str, named: str) -> None:
    fill(one)
    dropping(other, "copy/1/001", header)

    report = await migrate(SOURCE, TARGET, source_s3=one.s3, target_s3=other.s3)

    assert [failure.key for failure in report.failures] == ["1/001"]
    assert named in report.failures[0].error
    assert report.failures[0].attempts == 3
    assert not report.ok


async def test_what_failed_is_moved_by_the_next_run_with_the_journal(one: Place, tmp_path: Path) -> None:
    bodies = fill(one)

    async def refused(exchange: Exchange) -> None:
        exchange.send(
            error_response(403, "AccessDenied") if exchange.request.key == "copy/1/001" else exchange.carry_out()
        )

    one.server.will(refused, "CopyObject", times=None)
    told: list[MigrationProgress] = []
    failed = await migrate(SOURCE, TARGET, source_s3=one.s3, journal=tmp_path / "journal", on_progress=told.append)
    assert [(failure.key, failure.attempts) for failure in failed.failures] == [("1/001", 3)]
    # The end is announced once, after the last failure.
    assert [(progress.done, progress.failed) for progress in told if progress.phase == "done"] == [(19, 1)]
    one.server.rules.clear()

    report = await migrate(SOURCE, TARGET, source_s3=one.s3, journal=tmp_path / "journal")

    assert (report.failed, report.verified, one.stored()) == (0, 20, bodies)


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_target_that_keeps_no_tags_is_refused_before_anything_moves(
    one: Place, other: Place, streamed: bool
) -> None:
    fill(one)
    target = other if streamed else one

    def without(_request: Request, response: Response) -> None:
        response.body = b'<?xml version="1.0"?><Tagging><TagSet></TagSet></Tagging>'

    target.server.will(told(without), "GetObjectTagging", times=None)
    with pytest.raises(MigrationRefused, match="tags: found out with a probe object") as refused:
        await migrate(SOURCE, TARGET, source_s3=one.s3, target_s3=target.s3)
    assert refused.value.capabilities == ("tags",)
    assert not target.stored()

    accepted = await migrate(SOURCE, TARGET, source_s3=one.s3, target_s3=target.s3, accept=["tags"])
    assert (accepted.moved, accepted.failed) == (20, 0)


def storing_other_bytes(key: str, *, tells: bool = False) -> Callable[[Exchange], object]:
    async def fault(exchange: Exchange) -> None:
        response = exchange.carry_out()
        if exchange.request.key == key and response.status == 200:
            bucket = exchange.s3.buckets[exchange.request.bucket]
            other = bytes(len(bucket[key].body))
            bucket[key] = StoredObject(other, bucket[key].headers, _etag(other))
            if tells:
                response.headers["etag"] = _etag(other)
        exchange.send(response)

    return fault


@pytest.mark.parametrize("way", ["copied", "streamed", "from files", "from files, and told"])
async def test_different_bytes_are_detected_whatever_the_response_said(
    one: Place, other: Place, tmp_path: Path, way: str
) -> None:
    bodies = fill(one)
    operation = "CopyObject" if way == "copied" else "PutObject"
    target = one if way == "copied" else other
    lying = storing_other_bytes("copy/1/001", tells="told" in way)
    target.server.will(lying, operation, times=None)  # type: ignore[arg-type]
    source = write(tmp_path, bodies) if "files" in way else SOURCE

    report = await migrate(source, TARGET, source_s3=one.s3, target_s3=target.s3)

    assert [failure.key for failure in report.failures] == ["1/001"]
    assert (report.verified, report.failed) == (19, 1)


async def test_a_copy_of_other_bytes_is_found_out_though_the_server_is_sure_of_it(one: Place) -> None:
    fill(one)

    async def fault(exchange: Exchange) -> None:
        response = exchange.carry_out()
        if exchange.request.key == "copy/1/001":
            made = exchange.s3.buckets["target"]["copy/1/001"]
            other = bytes(len(made.body))
            response.body = response.body.replace(made.etag.encode(), _etag(other).encode())
            exchange.s3.buckets["target"]["copy/1/001"] = StoredObject(other, made.headers, _etag(other))
        exchange.send(response)

    one.server.will(fault, "CopyObject", times=None)

    report = await migrate(SOURCE, TARGET, source_s3=one.s3)

    assert [failure.key for failure in report.failures] == ["1/001"]
    assert "different content" in report.failures[0].error


@pytest.mark.parametrize("way", ["copied", "streamed", "from files"])
async def test_an_object_that_appears_meanwhile_is_not_replaced_if_that_is_forbidden(
    one: Place, other: Place, tmp_path: Path, way: str
) -> None:
    bodies = fill(one)
    target = one if way == "copied" else other
    appeared = iter([True])

    async def fault(exchange: Exchange) -> None:
        if exchange.request.key == "copy/1/001" and next(appeared, False):
            target.put("copy/1/001", b"of somebody else", bucket="target")
        exchange.send(exchange.carry_out())

    target.server.will(fault, "CopyObject" if way == "copied" else "PutObject", times=None)
    source = write(tmp_path, bodies) if way == "from files" else SOURCE

    report = await migrate(source, TARGET, source_s3=one.s3, target_s3=target.s3, if_exists="fail")

    assert [failure.key for failure in report.failures] == ["1/001"]
    assert target.stored()["1/001"] == b"of somebody else"


async def test_an_error_in_a_200_to_a_copy_is_not_a_success(one: Place) -> None:
    fill(one)

    def refused(request: Request, response: Response) -> None:
        if request.key == "copy/1/001":
            response.body = error_response(200, "InternalError").body

    async def fault(exchange: Exchange) -> None:
        if exchange.request.key == "copy/1/001":
            exchange.send(error_response(200, "InternalError"))
        else:
            exchange.send(exchange.carry_out())

    one.server.will(fault, "CopyObject", times=None)

    report = await migrate(SOURCE, TARGET, source_s3=one.s3)

    assert [failure.key for failure in report.failures] == ["1/001"]
    assert "InternalError" in report.failures[0].error


async def test_a_copy_with_changed_metadata_is_detected_by_reading(one: Place) -> None:
    fill(one)

    async def fault(exchange: Exchange) -> None:
        response = exchange.carry_out()
        if exchange.request.key == "copy/1/001":
            made = exchange.s3.buckets["target"]["copy/1/001"]
            made.headers = made.headers | {"x-amz-meta-of": "others"}
        exchange.send(response)

    one.server.will(fault, "CopyObject", times=None)

    report = await migrate(SOURCE, TARGET, source_s3=one.s3, verify="read")

    assert [(failure.key, "metadata" in failure.error) for failure in report.failures] == [("1/001", True)]


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_source_that_changes_is_moved_in_its_new_state(one: Place, other: Place, streamed: bool) -> None:
    bodies = fill(one)
    target = other if streamed else one
    changed = iter([True])

    async def fault(exchange: Exchange) -> None:
        # The last part of both names: that of a probe is another one.
        if exchange.request.key.endswith("0/000") and next(changed, False):
            one.put("team/1/001", b"as it is now, and longer", x_amz_tagging="new=1")
            one.server.s3.buckets["source"].pop("team/2/002")
        exchange.send(exchange.carry_out())

    one.server.will(fault, "GetObject" if streamed else "CopyObject", times=None)

    report = await migrate(SOURCE, TARGET, source_s3=one.s3, target_s3=target.s3, concurrency=1, accept=["tags"])

    expected = bodies | {"1/001": b"as it is now, and longer"}
    del expected["2/002"]
    assert target.stored() == expected
    assert (report.vanished, report.failed, report.moved) == (1, 0, 19)


@pytest.mark.parametrize("way", ["copied", "streamed", "to files"])
async def test_every_read_and_copy_asks_for_the_state_that_was_listed(
    one: Place, other: Place, tmp_path: Path, way: str
) -> None:
    fill(one, 3)
    name = "x-amz-copy-source-if-match" if way == "copied" else "if-match"
    asked: list[str | None] = []

    async def noted(exchange: Exchange) -> None:
        if "probe" not in exchange.request.key:
            asked.append(exchange.request.headers.get(name))
        exchange.send(exchange.carry_out())

    one.server.will(noted, "CopyObject" if way == "copied" else "GetObject", times=None)
    target: str | Path = tmp_path if way == "to files" else TARGET
    await migrate(
        SOURCE, target, source_s3=one.s3, target_s3=(one if way == "copied" else other).s3, accept=["metadata", "tags"]
    )

    assert sorted(map(str, asked)) == sorted(found.etag for found in one.server.s3.buckets["source"].values())


async def test_a_download_that_nothing_proves_is_read_twice(one: Place, tmp_path: Path) -> None:
    one.put("team/a", b"right")
    one.server.s3.buckets["source"]["team/a"].etag = '"of-parts-2"'
    bodies = iter([b"wrong"])

    def unproven(_request: Request, response: Response) -> None:
        response.body = next(bodies, response.body)
        response.headers.pop("x-amz-checksum-crc32", None)

    one.server.will(told(unproven), "GetObject", times=None)

    report = await migrate(SOURCE, tmp_path, source_s3=one.s3, accept=["metadata", "tags"])

    assert files(tmp_path) == {"a": b"right"}
    assert (report.failed, report.verified, one.arrived("GetObject")) == (0, 1, 4)


async def test_a_file_that_changes_is_moved_in_its_new_state_and_a_deleted_one_vanishes(
    one: Place, tmp_path: Path
) -> None:
    source = write(tmp_path, {"a": b"1", "b": b"2", "c": b"3"})
    changed = iter([True])

    async def fault(exchange: Exchange) -> None:
        if exchange.request.key.startswith("copy/a") and next(changed, False):
            (source / "b").write_bytes(b"longer")
            (source / "c").unlink()
        exchange.send(exchange.carry_out())

    one.server.will(fault, "PutObject", times=None)

    report = await migrate(source, TARGET, target_s3=one.s3, concurrency=1)

    assert one.stored() == {"a": b"1", "b": b"longer"}
    assert (report.vanished, report.moved, report.failed) == (1, 2, 0)


async def test_a_source_that_cannot_be_listed_deletes_and_moves_nothing(one: Place) -> None:
    one.put("copy/extra", b"", bucket="target")
    fill(one)

    async def fault(exchange: Exchange) -> None:
        if exchange.request.bucket == "source":
            exchange.send(error_response(403, "AccessDenied"))
        else:
            exchange.send(exchange.carry_out())

    one.server.will(fault, "ListObjectsV2", times=None)
    for work in (migrate, plan_migration):
        with pytest.raises(Exception, match="AccessDenied"):
            await work(SOURCE, TARGET, source_s3=one.s3, delete_extra=True)
    assert one.stored() == {"extra": b""}


LARGE = bytes(range(256)) * 4097
"""Larger than what is held in memory as a whole."""


def once(fault: Callable[[Exchange], Awaitable[None]]) -> Callable[[Exchange], Awaitable[None]]:
    """Let `fault` happen to the first request for the large object, and to none for a probe."""
    left = iter([fault])

    async def perhaps(exchange: Exchange) -> None:
        chosen = next(left, None) if exchange.request.key == "copy/large" else None
        if chosen is not None:
            await chosen(exchange)
        else:
            exchange.send(exchange.carry_out())

    return perhaps


async def test_a_large_object_is_read_again_if_its_upload_is_repeated(tmp_path: Path) -> None:
    async with open_place(attempts=3) as one, open_place(attempts=3) as other:
        one.put("team/large", LARGE)
        other.server.will(once(reset_before_headers), "PutObject", times=None)

        report = await migrate(SOURCE, TARGET, source_s3=one.s3, target_s3=other.s3, journal=tmp_path / "journal")

        assert other.stored() == {"large": LARGE}
        assert (report.failed, report.verified, one.arrived("GetObject")) == (0, 1, 2)
        with closing(sqlite3.connect(tmp_path / "journal")) as db:
            assert db.execute("SELECT attempts FROM objects").fetchall() == [(1,)]


async def test_a_large_object_that_changes_before_it_is_read_again_is_moved_as_it_is_then() -> None:
    async with open_place(attempts=3) as one, open_place(attempts=3) as other:
        one.put("team/large", LARGE)

        async def fault(exchange: Exchange) -> None:
            one.put("team/large", LARGE[::-1])
            await answer(503, "SlowDown")(exchange)

        other.server.will(once(fault), "PutObject", times=None)

        report = await migrate(SOURCE, TARGET, source_s3=one.s3, target_s3=other.s3)

        assert other.stored() == {"large": LARGE[::-1]}
        assert (report.failed, report.verified) == (0, 1)


async def test_a_large_object_that_breaks_off_is_read_on_while_it_is_sent(one: Place, other: Place) -> None:
    one.put("team/large", LARGE)
    one.server.will(truncated, "GetObject")

    report = await migrate(SOURCE, TARGET, source_s3=one.s3, target_s3=other.s3)

    assert other.stored() == {"large": LARGE}
    assert (report.failed, report.failures, other.arrived("PutObject")) == (0, (), 2)  # one is the probe


@pytest.mark.parametrize("size", [10, len(LARGE)])
async def test_an_object_longer_than_listed_is_not_read(one: Place, other: Place, size: int) -> None:
    one.put("team/large", LARGE[:size])

    def longer(_request: Request, response: Response) -> None:
        response.body += b"more"

    one.server.will(told(longer), "GetObject", times=None)

    report = await migrate(SOURCE, TARGET, source_s3=one.s3, target_s3=other.s3)

    assert other.stored() == {}
    assert "was replaced after it was listed" in report.failures[0].error


async def test_a_migration_names_each_request_in_the_log(one: Place, caplog: pytest.LogCaptureFixture) -> None:
    one.put("team/a", b"1")
    caplog.set_level(logging.DEBUG, "apm_s3.requests")
    async with open_place() as other:
        report = await migrate(SOURCE, TARGET, source_s3=one.s3, target_s3=other.s3)

    assert (report.ok, report.moved) == (True, 1)
    assert "head_bucket" in caplog.text
