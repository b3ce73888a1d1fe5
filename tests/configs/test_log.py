"""The log of an environment: who changed what, complete, in order, and tamper-evident."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from apm_s3.configs import ConfigStore, LogEntry
from apm_s3.errors import InvalidOption, StoreDamaged
from apm_s3.testing import MemoryObjects
from apm_s3.validators import MAIN_FILES
from tests.configs.samples import LOKI, OTHER_LOKI, PROMETHEUS
from tests.seams.store import (
    MAX_ENTRIES,
    MAX_SEQUENCE,
    MAY_STORE,
    MUST_STORE,
    Counting,
    LogRef,
    ObjectStore,
    bucket_of,
    chain_breaks,
    decode_part,
    encode_part,
    entry_hash,
    log_part,
)

CURRENT = "configs/production/current.json"
START = 1_767_225_600.0


@pytest.fixture
def memory() -> Counting:
    return Counting(now=START)


@pytest.fixture
def on_memory(memory: Counting) -> ConfigStore:
    return ConfigStore(memory, require_conditional_writes=False)


def document(memory: MemoryObjects) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(memory.objects[CURRENT][1])
    return found


async def forge(memory: MemoryObjects, change: Any) -> None:
    forged = document(memory)
    change(forged)
    await memory.put(CURRENT, json.dumps(forged).encode())


async def bump(store: ConfigStore, count: int) -> None:
    """Commits that store nothing but the reference document."""
    for number in range(count):
        await store.mark_good("loki", "production", message=f"mark {number}")


async def test_every_kind_of_commit_is_logged_with_its_author_and_message(
    store: ConfigStore, bucket_objects: ObjectStore
) -> None:
    notes: dict[str, Any] = {"author": "Ada", "message": "because"}
    await store.upload("loki", "staging", LOKI)
    await store.deploy(await store.plan_deploy("staging", "production", create=True), **notes)
    await store.upload("loki", "production", OTHER_LOKI, **notes)
    await store.mark_good("loki", "production", **notes)
    backup = await store.backup("loki", "production")
    await store.rollback("loki", "production", to_revision=1, **notes)
    await store.remove("loki", "production", **notes)
    await store.restore(backup.key, **notes)
    await store.freeze("production", "because", author="Ada")
    await store.thaw("production", **notes)
    await store.collect_garbage("production", keep_revisions=1, **notes)

    entries = await store.log("production")

    assert [entry.action for entry in reversed(entries)] == [
        "create", "deploy", "upload", "mark_good", "rollback", "remove", "restore", "freeze", "thaw", "collect",
    ]  # fmt: skip
    assert {(entry.author, entry.message) for entry in entries[:-1]} == {("Ada", "because")}
    assert [entry.sequence for entry in entries] == list(range(9, -1, -1))
    by_action = {entry.action: entry for entry in entries}
    assert by_action["deploy"].source_environment == "staging"
    assert by_action["deploy"].sources == {"loki": 1}
    assert by_action["upload"].tools == {"loki": (1, 2)}
    assert by_action["mark_good"].good == {"loki": (0, 2)}
    assert by_action["rollback"].sources == {"loki": 1}
    assert by_action["restore"].backup == backup.key
    assert all(entry.at.tzinfo is UTC for entry in entries)


async def test_a_forced_write_is_logged_with_its_reason(on_memory: ConfigStore) -> None:
    await on_memory.upload("prometheus", "production", "globl: {}\n", force="an incident")

    assert (await on_memory.log("production", limit=1))[0].forced == "an incident"


async def test_repairs_and_writes_that_were_ruled_out_are_logged(on_memory: ConfigStore, memory: Counting) -> None:
    await on_memory.upload("loki", "production", LOKI)
    lost = "production." + "0" * 20
    (release,) = [key for key in memory.objects if "/releases/" in key]
    body = memory.objects[release][1].replace(b'"revision":1', b'"revision":2')
    await memory.put(release.replace("00000001-", "00000002-").replace(release[-25:-5], "0" * 20), body)
    memory.now = START + 3600

    assert await on_memory.outcome(lost) == "lost"
    assert (await on_memory.log("production", limit=1))[0].action == "rule_out"

    await memory.put(CURRENT, b"torn")
    await on_memory.repair("production", author="Ada", message="disk was full")
    newest = (await on_memory.log("production", limit=1))[0]
    assert (newest.action, newest.author, newest.message) == ("repair", "Ada", "disk was full")


async def test_the_log_keeps_the_first_line_of_the_message_of_a_release(on_memory: ConfigStore) -> None:
    await on_memory.upload("loki", "production", LOKI, message="fix the ring\n\nIt was flapping.")
    await on_memory.upload("loki", "production", OTHER_LOKI, message="x" * 300)

    newest, older, _ = await on_memory.log("production")

    assert older.message == "fix the ring"
    assert len(newest.message) == 120
    assert newest.message.endswith("…")


async def test_an_overlong_message_that_only_the_log_would_keep_is_refused(on_memory: ConfigStore) -> None:
    await on_memory.upload("loki", "production", LOKI)

    with pytest.raises(InvalidOption, match="500"):
        await on_memory.freeze("production", "x" * 501)


async def test_the_log_can_be_filtered_by_tool_and_sequence(on_memory: ConfigStore, memory: Counting) -> None:
    await on_memory.upload("loki", "production", LOKI)
    memory.now = START + 60
    await on_memory.upload("prometheus", "production", PROMETHEUS)
    await on_memory.mark_good("loki", "production")

    def actions(entries: list[LogEntry]) -> list[str]:
        return [entry.action for entry in entries]

    assert actions(await on_memory.log("production", tool="loki")) == ["mark_good", "upload"]
    assert actions(await on_memory.log("production", since=1)) == ["mark_good", "upload"]
    assert actions(await on_memory.log("production", since=3)) == []
    later = datetime.fromtimestamp(START + 30, UTC)
    assert actions(await on_memory.log("production", since=later)) == ["mark_good", "upload"]
    assert actions(await on_memory.log("production", limit=1)) == ["mark_good"]


async def test_older_entries_are_stored_with_the_blobs_and_read_again(on_memory: ConfigStore, memory: Counting) -> None:
    for number in range(100):
        await on_memory.upload("loki", "production", LOKI.replace("3100", str(3100 + number)))

    entries = await on_memory.log("production")

    assert [entry.sequence for entry in entries] == list(range(100, -1, -1))
    assert len(document(memory)["log"]["entries"]) == 64
    assert all(older.hash == newer.previous for newer, older in pairwise(entries))
    assert (await on_memory.fsck("production")).entries == 101


async def test_changes_without_a_release_store_the_log_only_occasionally(
    on_memory: ConfigStore, memory: Counting
) -> None:
    await on_memory.upload("loki", "production", LOKI)
    memory.requests.clear()
    await bump(on_memory, 500)

    parts = sum("/log/" in key for key in memory.objects)

    assert memory.count("put") == 500 + parts
    assert parts <= 500 / (MUST_STORE - 1) + 1
    assert len(document(memory)["log"]["entries"]) <= MUST_STORE
    assert len(await on_memory.log("production")) == 502
    assert (await on_memory.fsck("production")).ok


async def test_the_hash_of_an_entry_is_that_of_its_canonical_json(on_memory: ConfigStore, memory: Counting) -> None:
    await on_memory.upload("loki", "production", LOKI, author="Zoë", message='"quoted" / größer')
    await on_memory.freeze("production", "later")

    *_, second, third = document(memory)["log"]["entries"]
    text = json.dumps(second, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    assert third["prev"] == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("place", ["entries", "part"])
async def test_a_changed_entry_is_detected(on_memory: ConfigStore, memory: Counting, place: str) -> None:
    await on_memory.upload("loki", "production", LOKI)
    await bump(on_memory, 200)
    if place == "entries":
        await forge(memory, lambda forged: forged["log"]["entries"][-5].update(author="Eve"))
    else:
        key = document(memory)["log"]["stored"]["key"]
        await memory.put(key, memory.objects[key][1].replace(b"mark 9", b"mark 8"))

    report = await on_memory.fsck("production")

    assert [finding.severity for finding in report.findings] == ["record"]
    with pytest.raises(StoreDamaged):
        await on_memory.log("production")
    if place == "entries":  # what is in the reference document would be committed again
        with pytest.raises(StoreDamaged, match="does not have the hash"):
            await on_memory.upload("loki", "production", OTHER_LOKI)
        assert (await on_memory.repair("production")).after.ok
    assert (await on_memory.upload("loki", "production", OTHER_LOKI)).revision == 2


async def test_a_removed_entry_is_detected(on_memory: ConfigStore, memory: Counting) -> None:
    await on_memory.upload("loki", "production", LOKI)
    await bump(on_memory, 5)
    await forge(memory, lambda forged: forged["log"]["entries"].pop(3))

    assert "does not have the hash" in str(await on_memory.fsck("production"))


async def test_a_release_without_an_entry_is_detected(on_memory: ConfigStore, memory: Counting) -> None:
    await on_memory.upload("loki", "production", LOKI)
    before = document(memory)["tools"]
    await on_memory.upload("loki", "production", OTHER_LOKI)
    await forge(memory, lambda forged: forged.update(tools=before))

    assert "the log says that revision 2 of loki is current" in str(await on_memory.fsck("production"))


async def test_a_lost_part_of_the_log_is_restored_if_the_bucket_keeps_versions(
    on_memory: ConfigStore, memory: Counting
) -> None:
    await on_memory.upload("loki", "production", LOKI)
    await bump(on_memory, 300)
    before = await on_memory.log("production")
    await memory.delete([document(memory)["log"]["stored"]["key"]])
    assert not (await on_memory.fsck("production")).ok

    report = await on_memory.repair("production")

    assert report.after.ok
    assert (await on_memory.log("production"))[-len(before) :] == before


async def test_a_permanently_lost_part_of_the_log_is_reported_and_the_rest_is_kept(
    on_memory: ConfigStore, memory: Counting
) -> None:
    await on_memory.upload("loki", "production", LOKI)
    await bump(on_memory, 300)
    key = document(memory)["log"]["stored"]["key"]
    await memory.delete([key])
    bucket_of(memory).history.pop(key)

    report = await on_memory.repair("production")

    assert report.after.ok
    entries = await on_memory.log("production")
    assert "of the log are lost" in entries[0].message
    assert entries[-1].sequence == document(memory)["log"]["entries"][0]["seq"]


async def test_the_log_continues_after_the_reference_document_was_lost(
    on_memory: ConfigStore, memory: Counting
) -> None:
    await on_memory.upload("loki", "production", LOKI)
    release = await on_memory.upload("loki", "production", OTHER_LOKI)
    assert release.ref is not None
    await bump(on_memory, 200)
    last = document(memory)["sequence"]
    await memory.delete([CURRENT])
    bucket_of(memory).history.pop(CURRENT)

    report = await on_memory.repair("production", choose={"loki": release.ref.key})

    assert report.after.ok, str(report.after)
    entries = await on_memory.log("production")
    assert entries[0].action == "repair"
    assert entries[0].sequence > last
    assert entries[-1].action == "create"


async def test_a_collection_deletes_the_parts_whose_entries_are_all_too_old(
    on_memory: ConfigStore, memory: Counting
) -> None:
    await on_memory.upload("loki", "production", LOKI)
    await bump(on_memory, 250)
    memory.now = START + 400 * 86_400
    await bump(on_memory, 1)
    parts = {key for key in memory.objects if "/log/" in key}

    dry = await on_memory.collect_garbage("production", keep_revisions=5, dry_run=True)
    assert {key for key in memory.objects if "/log/" in key} == parts
    report = await on_memory.collect_garbage("production", keep_revisions=5)

    assert set(dry.log_parts) == set(report.log_parts) == parts
    assert not any("/log/" in key for key in memory.objects)
    assert (await on_memory.fsck("production")).ok
    entries = await on_memory.log("production")
    assert entries[0].action == "collect"
    assert len(entries) >= 64


async def test_a_collection_keeps_parts_with_a_younger_entry_and_deletes_unreferenced_ones(
    on_memory: ConfigStore, memory: Counting
) -> None:
    await on_memory.upload("loki", "production", LOKI)
    await bump(on_memory, 150)
    stray = f"configs/production/log/{40:016d}-production.{'0' * 20}.json"
    await memory.put(stray, b"left by a writer that lost")
    memory.now = START + 86_400 * 30

    report = await on_memory.collect_garbage("production", keep_revisions=5)

    assert report.log_parts == (stray,)
    assert len(await on_memory.log("production")) == 153


async def test_keeping_less_than_a_day_of_the_log_is_refused(on_memory: ConfigStore) -> None:
    await on_memory.upload("loki", "production", LOKI)

    with pytest.raises(InvalidOption, match="keep_log"):
        await on_memory.collect_garbage("production", keep_revisions=5, keep_log=timedelta(hours=1))


async def test_storing_the_log_with_the_blobs_costs_no_more_round_trips(
    on_memory: ConfigStore, memory: Counting
) -> None:
    await on_memory.upload("loki", "production", LOKI)
    puts = []
    for number in range(70):
        memory.requests.clear()
        await on_memory.upload("loki", "production", LOKI.replace("3100", str(3200 + number)))
        puts.append(memory.count("put"))

    # Blob, release document, reference document, live copy; and, twice in 70, a part of the log beside the blob.
    assert Counter(puts) == {4: 68, 5: 2}


async def take(entries: Any, count: int) -> list[LogEntry]:
    async with aclosing(entries):
        return [await anext(entries) for _ in range(count)]


async def test_a_log_watcher_gets_everything_since_its_last_entry_in_one_request(
    on_memory: ConfigStore, memory: Counting
) -> None:
    for number in range(60):
        await on_memory.upload("loki", "production", LOKI.replace("3100", str(3100 + number)))
    await on_memory.upload("prometheus", "production", PROMETHEUS)
    memory.requests.clear()

    entries = await take(on_memory.watch_log("production", since=10, interval=1000), 51)

    assert [entry.sequence for entry in entries] == list(range(11, 62))
    assert entries[-1].tools == {"prometheus": (0, 1)}
    assert memory.requests == [("read", CURRENT)]


async def test_a_log_watcher_that_was_away_for_long_misses_nothing(on_memory: ConfigStore, memory: Counting) -> None:
    await on_memory.upload("loki", "production", LOKI)
    await bump(on_memory, 300)

    entries = await take(on_memory.watch_log("production", since=0, interval=1000), 301)

    assert [entry.sequence for entry in entries] == list(range(1, 302))


async def test_watchers_of_the_log_and_of_releases_share_a_poll(on_memory: ConfigStore) -> None:
    await on_memory.upload("loki", "production", LOKI)
    log = on_memory.watch_log("production", since=0, interval=0.01)
    first = await anext(log)
    releases = on_memory.watch("production", interval=0.01)

    release = await anext(releases)
    await on_memory.upload("loki", "production", OTHER_LOKI)
    second, newer = await anext(log), await anext(releases)

    assert (first.sequence, second.sequence) == (1, 2)
    assert (release.revision, newer.revision) == (1, 2)
    await log.aclose()
    await releases.aclose()


async def test_a_new_log_watcher_gets_only_new_entries(on_memory: ConfigStore) -> None:
    await on_memory.upload("loki", "production", LOKI)
    log = on_memory.watch_log("production", interval=0.01)
    waiting = asyncio.ensure_future(anext(log))
    while not waiting.done():
        await on_memory.mark_good("loki", "production")
        await asyncio.sleep(0)

    assert (await waiting).action == "mark_good"
    await log.aclose()


async def grown(commits: int) -> tuple[Counting, ConfigStore]:
    memory = Counting(now=START)
    store = ConfigStore(memory, require_conditional_writes=False)
    for number in range(commits):
        await store.upload("loki", "production", files={"loki.txt": f"{number}"}, author="Ada")
    return memory, store


async def test_the_requests_of_daily_calls_do_not_grow_with_the_number_of_commits() -> None:
    calls: dict[str, Callable[[ConfigStore], Awaitable[Any]]] = {
        "log": lambda store: store.log("production", limit=50),
        "history": lambda store: store.history("loki", "production", limit=50),
        "status": lambda store: store.status("production"),
        "upload": lambda store: store.upload("loki", "production", files={"loki.txt": "x"}),
        "mark_good": lambda store: store.mark_good("loki", "production"),
    }
    counted = []
    for commits in (100, 420):
        memory, store = await grown(commits)
        counts = {}
        for name, call in calls.items():
            memory.requests.clear()
            await call(store)
            counts[name] = Counter(verb for verb, _ in memory.requests)
        counted.append(counts)

    assert counted[0] == counted[1]
    assert counted[0]["log"] == {"read": 1}
    assert counted[0]["history"] == {"read": 51, "list": 1}
    assert counted[0]["mark_good"]["put"] == 1


async def test_reading_the_whole_log_takes_one_request_for_about_thirty_entries() -> None:
    memory, store = await grown(400)
    memory.requests.clear()

    entries = await store.log("production")

    assert len(entries) == 401
    assert memory.count("list") == 1
    assert memory.count("read") <= 401 // MAY_STORE + 2


async def test_the_reference_document_of_five_tools_and_64_busy_writers_stays_below_24_kilobytes() -> None:
    memory = Counting(now=START)
    store = ConfigStore(memory, require_conditional_writes=False)
    for number in range(80):
        tool = tuple(MAIN_FILES)[number % 5]
        note = {
            "author": f"deployer-{number % 64}@ci.example.org",
            "message": f"raise the limits of the {number}th shard",
        }
        await store.upload(tool, "production", files={"a.txt": f"{number}"}, **note)  # type: ignore[arg-type]
        await store.mark_good(tool, "production", **note)  # type: ignore[arg-type]

    assert len(document(memory)["log"]["entries"]) == 64
    assert len(memory.objects[CURRENT][1]) < 24_000


async def test_a_check_reports_missing_oldest_entries(on_memory: ConfigStore, memory: Counting) -> None:
    await on_memory.upload("loki", "production", LOKI)
    await bump(on_memory, 3)
    await forge(memory, lambda forged: forged["log"]["entries"].pop(0))

    report = await on_memory.fsck("production")

    assert not report.ok
    assert "the log is kept from entry 0, but begins with 1" in str(report)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tools", {"loki": 1}),
        ("tools", {"loki": [1]}),
        ("tools", {"loki": [1, 2, 3]}),
        ("good", {"loki": [1, True]}),
        ("oldest", {"loki": ["1", "2"]}),
        ("of", {"loki": "1"}),
    ],
)
async def test_an_entry_that_cannot_be_read_is_damage(
    name: str, value: object, on_memory: ConfigStore, memory: Counting
) -> None:
    await on_memory.upload("loki", "production", LOKI)
    await forge(memory, lambda forged: forged["log"]["entries"][-1].update({name: value}))

    with pytest.raises(StoreDamaged, match=f"a log entry with an invalid '{name}'"):
        await on_memory.log("production")


async def test_a_document_with_more_entries_than_any_writer_leaves_is_damage(
    on_memory: ConfigStore, memory: Counting
) -> None:
    await on_memory.upload("loki", "production", LOKI)

    def repeat(forged: dict[str, Any]) -> None:
        last = forged["log"]["entries"][-1]
        first = last["seq"] - MAX_ENTRIES
        forged["log"]["entries"] = [{**last, "seq": number} for number in range(first, last["seq"] + 1)]
        forged["sequence"] = last["seq"]

    await bump(on_memory, MAX_ENTRIES)
    await forge(memory, repeat)

    with pytest.raises(StoreDamaged, match=f"has {MAX_ENTRIES + 1} entries in its log"):
        await on_memory.download("loki", "production")


async def test_nothing_is_committed_beyond_the_highest_sequence(on_memory: ConfigStore, memory: Counting) -> None:
    await on_memory.upload("loki", "production", LOKI)

    def raised(forged: dict[str, Any]) -> None:
        forged["sequence"] = MAX_SEQUENCE
        forged["log"]["entries"][-1].update(seq=MAX_SEQUENCE, action="repair")

    await forge(memory, raised)
    before = memory.objects[CURRENT]

    with pytest.raises(StoreDamaged, match="the highest possible one"):
        await on_memory.upload("loki", "production", OTHER_LOKI)
    assert memory.objects[CURRENT] == before


def test_a_gap_between_entries_is_found_unless_a_repair_left_it() -> None:
    older = {"seq": 1, "action": "upload"}
    newer = {"seq": 3, "action": "upload", "prev": entry_hash(older)}

    assert chain_breaks([older, newer]) == ["entry 3 follows entry 1: some are missing"]
    assert chain_breaks([older, {**newer, "action": "repair"}]) == []
    assert chain_breaks([older, {**newer, "seq": 2}]) == []


@pytest.mark.parametrize(
    ("environment", "last", "before", "problem"),
    [
        ("staging", 5, None, "does not match its key"),
        ("production", 6, None, "does not match its key"),
        ("production", 5, 4, "does not follow the part of the log before it"),
        ("production", 5, 9, "does not follow the part of the log before it"),
    ],
)
def test_a_part_under_the_key_of_another_is_damage(
    environment: str, last: int, before: int | None, problem: str
) -> None:
    write_id = "production.0123456789abcdef0123"

    def key(sequence: int) -> str:
        return log_part("production", sequence, write_id)

    earlier = None if before is None else LogRef(0, before, key(before), "0" * 64)
    entries = [{"seq": sequence, "id": write_id, "action": "upload", "prev": None} for sequence in (4, 5)]
    body = encode_part(environment, earlier, entries)

    with pytest.raises(StoreDamaged, match=problem):
        decode_part(body, key=key(last), environment="production", where="part")


async def test_a_part_of_the_log_is_kept_while_its_last_entry_is_young(
    on_memory: ConfigStore, memory: Counting
) -> None:
    await on_memory.upload("loki", "production", LOKI)
    await bump(on_memory, 50)
    memory.now = START + 86_400 * 30
    await bump(on_memory, 150)
    memory.now = START + 86_400 * 40

    report = await on_memory.collect_garbage("production", keep_revisions=5, keep_log=timedelta(days=20))

    assert (report.oldest_entry, report.log_parts) == (0, ())


async def test_a_log_watcher_gets_the_beginning_of_an_environment_that_was_created_again(
    on_memory: ConfigStore,
) -> None:
    await on_memory.upload("loki", "production", LOKI)

    entries = await take(on_memory.watch_log("production", since=40, interval=1000), 2)

    assert [entry.sequence for entry in entries] == [0, 1]
