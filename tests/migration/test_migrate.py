"""Migrations between prefixes and directories: everything arrives unchanged, and nothing is lost."""

from __future__ import annotations

import asyncio
import re
import typing
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from apm_s3.errors import BatchError, BucketNotFound, InvalidOption, JournalRefused, MigrationRefused
from apm_s3.migration import MigrationOptions, MigrationProgress, migrate, plan_migration, verify_migration
from tests.faults.lies import told
from tests.faults.memory_s3 import Request, Response, error_response
from tests.faults.server import Exchange
from tests.migration.places import SOURCE, TARGET, Place, files, open_place, write
from tests.seams.migration import MigrationKeywords, fingerprint, list_the_target_late

BODIES = {"a": b"1", "b/c": b"22", "b/d": b"", "b.txt": b"4444", "é/x y": b"55555"}
LOSS = ("metadata", "tags")


@pytest.fixture
async def one() -> AsyncIterator[Place]:
    """One server."""
    async with open_place() as place:
        yield place


@pytest.fixture
async def other() -> AsyncIterator[Place]:
    """Another server."""
    async with open_place() as place:
        yield place


def fill(place: Place) -> None:
    for key, body in BODIES.items():
        place.put(f"team/{key}", body, x_amz_meta_of=key.encode().hex(), x_amz_tagging="kind=test")
    place.put("teammate", b"of others")


def put_copy(place: Place, key: str, body: bytes, **changed: str) -> None:
    """Store an object at the target as a migration of `fill` would, but for `changed`."""
    carried = {"x_amz_meta_of": key.encode().hex(), "x_amz_tagging": "kind=test", **changed}
    place.put(f"copy/{key}", body, bucket="target", **{name: value for name, value in carried.items() if value})


def kept(place: Place, bucket: str, prefix: str) -> dict[str, dict[str, str]]:
    objects = place.server.s3.buckets[bucket]
    return {key[len(prefix) :]: found.headers for key, found in objects.items() if key.startswith(prefix)}


async def test_within_one_account_s3_does_the_copying(one: Place) -> None:
    fill(one)

    report = await migrate(SOURCE, TARGET, source_s3=one.s3)

    assert one.stored() == BODIES
    assert kept(one, "target", "copy/") == kept(one, "source", "team/")
    assert (report.objects, report.moved, report.verified, report.failed, report.bytes) == (5, 5, 5, 0, 12)
    assert one.arrived("GetObject") == 0
    assert report.ok
    report.raise_for_failures()


async def test_the_report_names_what_is_not_carried_over(one: Place, tmp_path: Path) -> None:
    fill(one)

    between = await migrate(SOURCE, TARGET, source_s3=one.s3)
    down = await migrate(SOURCE, tmp_path / "down", source_s3=one.s3, accept=LOSS)

    assert (between.not_carried, down.not_carried) == (("acls",), ())


async def test_contents_are_streamed_between_two_servers(one: Place, other: Place) -> None:
    fill(one)

    report = await migrate(SOURCE, TARGET, source_s3=one.s3, target_s3=other.s3)

    assert other.stored() == BODIES
    assert kept(other, "target", "copy/") == kept(one, "source", "team/")
    assert (report.moved, report.verified) == (5, 5)


async def test_tags_are_kept_though_no_response_tells_that_there_are_some(one: Place, other: Place) -> None:
    fill(one)

    def uncounted(_request: Request, response: Response) -> None:
        response.headers.pop("x-amz-tagging-count", None)

    for operation in ("GetObject", "HeadObject"):
        one.server.will(told(uncounted), operation, times=None)

    await migrate(SOURCE, TARGET, source_s3=one.s3, target_s3=other.s3)

    assert kept(other, "target", "copy/") == kept(one, "source", "team/")


@pytest.mark.parametrize("size", [1024**2 + 1, 8 * 1024**2, 9 * 1024**2])
async def test_large_objects_are_streamed_with_one_put(one: Place, other: Place, size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    one.put("team/large", body, x_amz_meta_of="large")

    report = await migrate(SOURCE, TARGET, source_s3=one.s3, target_s3=other.s3)

    assert report.failures == ()
    assert other.stored() == {"large": body}
    assert other.arrived("CreateMultipartUpload") == 1  # of the probe that finds out which checksums are verified


async def test_a_directory_round_trips(one: Place, tmp_path: Path) -> None:
    source, down = write(tmp_path / "up", BODIES), tmp_path / "down"

    up = await migrate(source, TARGET, target_s3=one.s3)
    back = await migrate(TARGET, down, source_s3=one.s3, accept=LOSS)

    assert one.stored() == BODIES == files(down)
    assert (up.moved, back.moved, up.verified, back.verified) == (5, 5, 5, 5)
    again = await migrate(TARGET, down, source_s3=one.s3, accept=LOSS)
    assert (again.identical, again.moved) == (5, 0)


async def test_only_differences_are_moved(one: Place, other: Place) -> None:
    fill(one)
    await migrate(SOURCE, TARGET, source_s3=one.s3, target_s3=other.s3)
    one.put("team/a", b"changed")
    one.put("team/new", b"new")
    before = other.arrived("PutObject")

    report = await migrate(SOURCE, TARGET, source_s3=one.s3, target_s3=other.s3)

    assert (report.moved, report.identical) == (2, 4)
    assert other.stored()["a"] == b"changed"
    # And the probe for the capabilities of the target.
    assert other.arrived("PutObject") - before == 3


CARRIED = [
    {"content_type": "text/html"}, {"cache_control": "max-age=1"}, {"x_amz_meta_of": "other"}, {"x_amz_meta_more": "1"},
    {"x_amz_tagging": "kind=other"}, {"x_amz_tagging": ""}, {"x_amz_storage_class": "STANDARD_IA"},
]  # fmt: skip


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("changed", CARRIED, ids=str)
async def test_what_is_carried_over_is_compared(
    one: Place, other: Place, streamed: bool, changed: dict[str, str]
) -> None:
    fill(one)
    target = other if streamed else one
    for key, body in BODIES.items():
        put_copy(target, key, body, **(changed if key == "b/c" else {}))
    sides = {"source_s3": one.s3, "target_s3": target.s3}
    planned = await plan_migration(SOURCE, TARGET, **sides)

    content = await migrate(SOURCE, TARGET, **sides, compare="content")

    assert (content.identical, content.moved, planned.changed) == (5, 0, 1)
    assert "5 identical in content, " in str(content)
    report = await migrate(SOURCE, TARGET, **sides)
    assert (report.identical, report.moved, report.failed) == (4, 1, 0)
    assert kept(target, "target", "copy/") == kept(one, "source", "team/")
    again = await migrate(SOURCE, TARGET, **sides)
    assert (again.identical, again.moved) == (5, 0)


async def test_a_tag_that_only_the_target_has_is_found(one: Place) -> None:
    one.put("team/a")
    one.put("copy/a", bucket="target", x_amz_tagging="kind=test")

    report = await migrate(SOURCE, TARGET, source_s3=one.s3)

    assert (report.moved, kept(one, "target", "copy/")) == (1, kept(one, "source", "team/"))


async def test_to_compare_what_is_carried_over_takes_two_requests_an_object(one: Place, other: Place) -> None:
    for number in range(20):
        one.put(f"team/{number}")
        other.put(f"copy/{number}", bucket="target")
    sides = {"source_s3": one.s3, "target_s3": other.s3}

    def heads() -> int:
        return one.arrived("HeadObject") + other.arrived("HeadObject")

    await migrate(SOURCE, TARGET, **sides, compare="content")
    without = heads()
    await migrate(SOURCE, TARGET, **sides)

    assert heads() - without == without + 2 * 20


@pytest.mark.parametrize("compare", ["all", "content"])
async def test_what_failed_for_its_tags_is_not_identical_for_the_next_run(
    one: Place, other: Place, tmp_path: Path, compare: Any
) -> None:
    one.put("team/a", x_amz_tagging="kind=test")

    async def dropping(exchange: Exchange) -> None:
        if exchange.request.key == "copy/a":
            exchange.request.headers.pop("x-amz-tagging", None)
        exchange.send(exchange.carry_out())

    other.server.will(dropping, "PutObject", times=None)
    call: dict[str, Any] = {"source_s3": one.s3, "target_s3": other.s3, "journal": tmp_path / "journal"}
    for _ in range(2):
        report = await migrate(SOURCE, TARGET, **call, compare=compare)
        assert [failure.error for failure in report.failures if "dropped the tags kind" in failure.error]
    other.server.rules.clear()

    report = await migrate(SOURCE, TARGET, **call, compare=compare)

    assert (report.failed, report.moved) == (0, 1)
    assert kept(other, "target", "copy/") == kept(one, "source", "team/")


async def test_existing_objects_can_be_overwritten_or_count_as_failures(one: Place) -> None:
    fill(one)
    one.put("copy/a", b"other", bucket="target")
    put_copy(one, "b/d", b"")

    failed = await migrate(SOURCE, TARGET, source_s3=one.s3, if_exists="fail")

    assert (failed.failed, failed.identical, failed.moved) == (1, 1, 3)
    assert "a different object with this name" in failed.failures[0].error
    assert one.stored()["a"] == b"other"
    with pytest.raises(BatchError, match="1 of 5 objects failed"):
        failed.raise_for_failures()
    over = await migrate(SOURCE, TARGET, source_s3=one.s3, if_exists="overwrite")
    assert over.moved == 5
    assert one.stored() == BODIES


async def test_names_can_be_selected_and_transformed(one: Place) -> None:
    fill(one)

    await migrate(SOURCE, TARGET, source_s3=one.s3, include="b*", exclude="*.txt", transform_key=str.upper)

    assert sorted(one.stored()) == ["B/C", "B/D"]


async def test_two_objects_never_get_the_same_name(one: Place) -> None:
    fill(one)
    with pytest.raises(InvalidOption, match="the same name, 'x'"):
        await migrate(SOURCE, TARGET, source_s3=one.s3, transform_key=lambda key: "x")


async def test_extra_entries_are_deleted_last_and_only_on_request(one: Place) -> None:
    fill(one)
    one.put("copy/extra", b"", bucket="target")
    one.put("copy/kept.log", b"", bucket="target")
    kept_extra = await migrate(SOURCE, TARGET, source_s3=one.s3, exclude="*.log")
    assert (kept_extra.deleted, "extra" in one.stored()) == (0, True)

    gone = await migrate(SOURCE, TARGET, source_s3=one.s3, delete_extra=True, exclude="*.log")

    assert gone.deleted == 1
    assert one.stored() == BODIES | {"kept.log": b""}


@pytest.mark.parametrize("way", ["copied", "from files"])
async def test_what_both_sides_got_meanwhile_is_not_deleted(one: Place, tmp_path: Path, way: str) -> None:
    fill(one)
    one.put("copy/EXTRA", b"", bucket="target")
    source: Any = write(tmp_path / "up", BODIES) if way == "from files" else SOURCE

    def written_to_both(name: str) -> None:
        one.put(f"copy/{name.upper()}", b"new", bucket="target")
        if way == "from files":
            write(source, {name: b"new"})
        else:
            one.put(f"team/{name}", b"new")

    async def fault(exchange: Exchange) -> None:
        if exchange.request.key == "copy/A":
            written_to_both("new")
        exchange.send(exchange.carry_out())

    one.server.will(fault, "CopyObject" if way == "copied" else "PutObject", times=None)
    options: dict[str, Any] = {"source_s3": one.s3, "delete_extra": True, "transform_key": str.upper}
    options["journal"] = tmp_path / "journal"
    report = await migrate(source, TARGET, **options)
    assert (report.deleted, sorted(one.stored())) == (1, sorted([*map(str.upper, BODIES), "NEW"]))

    # A finished journal does not know what came later.
    written_to_both("later")
    again = await migrate(source, TARGET, **options)
    assert (again.deleted, "LATER" in one.stored()) == (0, True)


async def test_a_source_that_was_emptied_meanwhile_deletes_nothing(one: Place) -> None:
    fill(one)
    one.put("copy/extra", b"", bucket="target")

    async def fault(exchange: Exchange) -> None:
        if one.arrived("CopyObject") > len(BODIES):  # the probe was copied, too
            one.server.s3.buckets["source"].clear()
        exchange.send(exchange.carry_out())

    one.server.will(fault, "ListObjectsV2", times=None)
    with pytest.raises(MigrationRefused, match="has become empty, what was moved stays") as caught:
        await migrate(SOURCE, TARGET, source_s3=one.s3, delete_extra=True)
    assert caught.value.may_have_happened
    assert one.stored() == BODIES | {"extra": b""}


async def test_an_empty_source_deletes_nothing(one: Place) -> None:
    one.put("copy/extra", b"", bucket="target")
    with pytest.raises(MigrationRefused, match="is empty"):
        await migrate(SOURCE, TARGET, source_s3=one.s3, delete_extra=True)
    assert one.stored() == {"extra": b""}


async def test_nothing_is_deleted_after_a_failure(one: Place) -> None:
    fill(one)
    one.put("copy/a", b"other", bucket="target")
    one.put("copy/extra", b"", bucket="target")

    report = await migrate(SOURCE, TARGET, source_s3=one.s3, delete_extra=True, if_exists="fail")

    assert (report.failed, report.deleted, report.kept, report.ok) == (1, 0, 1, False)
    assert "extra" in one.stored()


async def test_a_directory_target_must_be_confirmed_because_it_keeps_no_metadata(one: Place, tmp_path: Path) -> None:
    fill(one)
    with pytest.raises(MigrationRefused, match="files have none") as refused:
        await migrate(SOURCE, tmp_path / "down", source_s3=one.s3)
    assert refused.value.capabilities == LOSS
    assert not (tmp_path / "down").exists()


async def test_names_that_escape_a_directory_are_skipped(one: Place, tmp_path: Path) -> None:
    for key in ("team/../up", "team/a//b", "team/ok"):
        one.put(key)
    one.put("team/folder/", b"")

    report = await migrate(SOURCE, tmp_path / "down", source_s3=one.s3, accept=LOSS)

    assert files(tmp_path) == {"down/ok": b"body"}
    assert set(report.skipped) == {"../up", "a//b"}


async def test_a_plan_shows_what_would_be_done_and_writes_nothing(one: Place, other: Place) -> None:
    fill(one)
    put_copy(other, "a", b"1")
    other.put("copy/b/c", b"xx", bucket="target")
    other.put("copy/extra", b"", bucket="target")

    plan = await plan_migration(SOURCE, TARGET, source_s3=one.s3, target_s3=other.s3)

    assert (plan.objects, plan.bytes) == (5, 12)
    assert (plan.new, plan.changed, plan.identical, plan.extra) == (3, 1, 1, 1)
    assert plan.bytes_to_move == 11
    assert plan.estimate.requests == {"PUT, COPY, POST, LIST": 7, "GET, HEAD": 10}
    assert str(plan.estimate) == "about 7 of PUT, COPY, POST, LIST, 10 of GET, HEAD"
    assert not {operation for operation in one.server.arrived + other.server.arrived if "Put" in operation}
    assert "3 new, 1 changed, 1 identical, 1 extra (left alone)" in str(plan)
    # The source has none either.
    assert "object-lock: not needed (the target's bucket has no object lock)" in str(plan)


@pytest.mark.parametrize(("source", "target"), [("s3://missing", TARGET), (SOURCE, "s3://missing")])
async def test_a_missing_bucket_is_reported(one: Place, source: str, target: str) -> None:
    with pytest.raises(BucketNotFound, match="'missing'"):
        await migrate(source, target, source_s3=one.s3)


async def test_a_plan_reports_if_locks_could_not_be_checked(one: Place) -> None:
    fill(one)

    async def denied(exchange: Exchange) -> None:
        exchange.send(error_response(403, "AccessDenied"))

    one.server.will(denied, "GetBucket:object-lock", times=None)

    plan = await plan_migration(SOURCE, TARGET, source_s3=one.s3)

    found = next(one for one in plan.capabilities if one.name == "object-lock")
    assert (found.kept, "could not be read" in found.detail) == (None, True)
    assert "object-lock: unknown" in str(plan)


async def test_overlapping_or_invalid_places_are_refused(one: Place, tmp_path: Path) -> None:
    for source, target in (("s3://source/a", "s3://source/a/b"), (tmp_path, tmp_path), ("s3://source", "s3://source")):
        with pytest.raises(InvalidOption):
            await migrate(source, target, source_s3=one.s3)
    with pytest.raises(InvalidOption, match="no manager"):
        await migrate(SOURCE, TARGET)


async def test_progress_is_reported(one: Place) -> None:
    fill(one)
    told: list[MigrationProgress] = []

    await migrate(SOURCE, TARGET, source_s3=one.s3, on_progress=told.append)

    last = told[-1]
    assert (last.phase, last.done, last.failed, last.listed, last.listing_complete) == ("done", 5, 0, 5, True)
    assert (last.bytes, last.listed_bytes, last.seconds_left) == (12, 12, 0)


async def test_a_finished_migration_can_be_verified_again(one: Place, tmp_path: Path) -> None:
    fill(one)
    journal = tmp_path / "journal"
    await migrate(SOURCE, TARGET, source_s3=one.s3, journal=journal)
    good = await verify_migration(SOURCE, TARGET, source_s3=one.s3, journal=journal)
    assert (good.verified, good.failed, good.resumed) == (5, 0, True)
    one.put("copy/a", b"2", bucket="target")
    del one.server.s3.buckets["target"]["copy/b/c"]

    told: list[MigrationProgress] = []
    bad = await verify_migration(SOURCE, TARGET, source_s3=one.s3, journal=journal, on_progress=told.append)

    assert (told[-1].phase, told[-1].done, told[-1].failed) == ("done", 3, 2)
    assert sorted(failure.key for failure in bad.failures) == ["a", "b/c"]
    mended = await migrate(SOURCE, TARGET, source_s3=one.s3, journal=journal)
    assert (mended.failed, mended.verified) == (0, 5)
    assert one.stored() == BODIES


async def test_an_object_of_another_size_is_found_out_though_its_etag_is_the_same(one: Place, tmp_path: Path) -> None:
    fill(one)
    await migrate(SOURCE, TARGET, source_s3=one.s3, journal=tmp_path / "journal")
    stored = one.server.s3.buckets["target"]
    stored["copy/a"] = replace(stored["copy/a"], body=b"longer than before")

    checked = await verify_migration(SOURCE, TARGET, source_s3=one.s3, journal=tmp_path / "journal")

    assert [failure.key for failure in checked.failures] == ["a"]


@pytest.mark.parametrize(("body", "verify"), [(b"longer", "checksum"), (b"2", "read")])
async def test_what_was_identical_is_verified_too(one: Place, tmp_path: Path, body: bytes, verify: Any) -> None:
    fill(one)
    for key, content in BODIES.items():
        put_copy(one, key, content)
    call: dict[str, Any] = {"source_s3": one.s3, "journal": tmp_path / "journal", "verify": verify}
    report = await migrate(SOURCE, TARGET, **call)
    stored = one.server.s3.buckets["target"]
    stored["copy/a"] = replace(stored["copy/a"], body=body)

    checked = await verify_migration(SOURCE, TARGET, **call)

    assert (report.identical, [failure.key for failure in checked.failures]) == (5, ["a"])


async def test_an_object_that_somebody_overwrites_after_each_move_fails_in_the_end(one: Place) -> None:
    one.put("team/a")

    async def overwritten(exchange: Exchange) -> None:
        if "copy/a" in (stored := exchange.s3.buckets["target"]):
            stored["copy/a"] = replace(stored["copy/a"], etag='"of somebody else"')
        exchange.send(exchange.carry_out())

    one.server.will(overwritten, "ListObjectsV2", times=None)
    report = await migrate(SOURCE, TARGET, source_s3=one.s3)

    assert (report.failed, report.verified) == (1, 0)
    assert "the target has a different object, or none" in report.failures[0].error
    # Three times, and the probe.
    assert one.arrived("CopyObject") == 3 + 1


async def test_what_vanished_from_the_source_is_extra_at_the_target(one: Place) -> None:
    fill(one)
    put_copy(one, "a", b"old")

    async def vanished(exchange: Exchange) -> None:
        if exchange.request.key == "copy/a":
            exchange.s3.buckets["source"].pop("team/a", None)
        exchange.send(exchange.carry_out())

    one.server.will(vanished, "CopyObject", times=None)
    report = await migrate(SOURCE, TARGET, source_s3=one.s3, delete_extra=True)

    assert (report.vanished, report.deleted, report.failed) == (1, 1, 0)
    assert "a" not in one.stored()


async def test_a_refused_page_is_not_in_the_journal(one: Place, tmp_path: Path) -> None:
    fill(one)
    for _ in range(2):
        with pytest.raises(InvalidOption, match="the same name"):
            await migrate(SOURCE, TARGET, source_s3=one.s3, transform_key=same_name, journal=tmp_path / "journal")
    assert one.stored() == {}


def same_name(key: str) -> str:
    return "one"


async def test_a_journal_of_another_migration_is_refused(one: Place, tmp_path: Path) -> None:
    fill(one)
    journal = tmp_path / "journal"
    await migrate(SOURCE, TARGET, source_s3=one.s3, journal=journal)
    changes: dict[str, dict[str, Any]] = {
        "its source is": {"source": "s3://source/other"},
        "its target is": {"target": "s3://target"},
        "other include$": {"include": "a*"},
        "other delete_extra, if_exists$": {"if_exists": "overwrite", "delete_extra": True},
    }
    for named, change in changes.items():
        arguments = {"source": SOURCE, "target": TARGET, **change}
        with pytest.raises(JournalRefused) as refused:
            await migrate(**arguments, source_s3=one.s3, journal=journal)
        assert re.search(f"another migration: .*{named}", refused.value.problem)
    (tmp_path / "text").write_text("no journal at all, but a file that somebody needs " * 100)
    with pytest.raises(JournalRefused):
        await migrate(SOURCE, TARGET, source_s3=one.s3, journal=tmp_path / "text")


def test_a_rule_set_is_all_that_determines_what_the_target_will_hold() -> None:
    changes: tuple[dict[str, Any], ...] = (
        {}, {"if_exists": "fail"}, {"include": "a"}, {"exclude": "a"}, {"transform_key": str.upper},
        {"transform_key": str.lower}, {"delete_extra": True}, {"versions": True},
    )  # fmt: skip
    assert len({fingerprint(MigrationOptions(**change)) for change in changes}) == len(changes)
    # What may change from one run to the next one.
    assert fingerprint(MigrationOptions(verify="read", accept=("tags",))) == fingerprint(MigrationOptions())


@pytest.mark.parametrize("if_exists", ["skip-identical", "fail"])
@pytest.mark.parametrize("way", ["copied", "streamed", "from files", "to files"])
async def test_objects_are_checked_one_by_one_while_the_target_is_being_listed(
    one: Place, other: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, if_exists: Any
) -> None:
    fill(one)
    source: Any = write(tmp_path / "up", BODIES) if way == "from files" else SOURCE
    target: Any = tmp_path / "down" if way == "to files" else TARGET
    s3 = one if way == "copied" else other
    await migrate(source, target, source_s3=one.s3, target_s3=s3.s3, include="b*", accept=LOSS)
    held = asyncio.Event()

    list_the_target_late(monkeypatch, held.wait)

    def told(progress: MigrationProgress) -> None:
        if progress.done + progress.failed == len(BODIES):
            held.set()

    report = await migrate(
        source, target, source_s3=one.s3, target_s3=s3.s3, accept=LOSS, if_exists=if_exists, on_progress=told
    )

    assert (report.identical, report.moved, report.failures) == (3, 2, ())


async def test_few_large_files_are_in_memory_at_once(one: Place, tmp_path: Path) -> None:
    for number in range(9):
        (tmp_path / f"file-{number}").write_bytes(bytes(1024**2 + 1))
    stored, at_once = 0, []

    async def fault(exchange: Exchange) -> None:
        nonlocal stored
        stored += 1
        at_once.append(stored)
        await asyncio.sleep(0.02)
        stored -= 1
        exchange.send(exchange.carry_out())

    one.server.will(fault, "PutObject", times=None)
    report = await migrate(tmp_path, TARGET, target_s3=one.s3, accept=("metadata", "tags"))
    assert report.moved == 9
    assert max(at_once) <= 3


def test_the_options_and_the_keywords_of_a_migration_are_the_same() -> None:
    assert typing.get_type_hints(MigrationKeywords) == typing.get_type_hints(MigrationOptions)


async def test_options_are_given_as_one_object_of_which_keywords_replace_fields() -> None:
    options = MigrationOptions(include=["a*", "b*"], exclude="b*")
    async with open_place() as one:
        for key in ("a1", "b1", "c1"):
            one.put(f"team/{key}")

        planned = await plan_migration(SOURCE, TARGET, options, source_s3=one.s3)
        wider = await plan_migration(SOURCE, TARGET, options, source_s3=one.s3, exclude=None)
        report = await migrate(SOURCE, TARGET, options, source_s3=one.s3)

        assert (planned.objects, wider.objects, report.moved) == (1, 2, 1)
        assert list(one.stored()) == ["a1"]


def test_options_do_not_change_with_the_list_that_they_were_made_of() -> None:
    patterns = ["a*"]
    options = MigrationOptions(include=patterns)
    patterns.append("b*")

    assert options == MigrationOptions(include=("a*",))
    assert hash(options) == hash(MigrationOptions(include=("a*",)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"if_exists": "no"},
        {"verify": "no"},
        {"compare": "no"},
        {"accept": ["no"]},
        {"bandwidth": 0},
        {"concurrency": 0},
    ],
)
def test_invalid_options_are_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption, match=next(iter(wrong))):
        MigrationOptions(**wrong)


async def test_an_unknown_option_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="if_exist"):
        await migrate(SOURCE, TARGET, if_exist="fail")  # type: ignore[call-arg]
