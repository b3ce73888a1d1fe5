"""Migrations that are killed, cancelled or started twice resume where they were."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from apm_s3.errors import JournalRefused
from apm_s3.migration import MigrationProgress, migrate
from tests.faults.server import Exchange
from tests.migration.places import SOURCE, TARGET, Place, open_place
from tests.seams.migration import Journal, Listed, Outcome, State, Store

ROOT = Path(__file__).parents[2]
COUNT = 1200
"""More than a page, and more than one transaction of the journal."""


@pytest.fixture
async def one() -> AsyncIterator[Place]:
    """A server."""
    async with open_place() as place:
        yield place


def fill(place: Place, count: int = COUNT) -> dict[str, bytes]:
    bodies = {f"{number:05}": f"{number}".encode() for number in range(count)}
    for key, body in bodies.items():
        place.put(f"team/{key}", body)
    return bodies


def written(place: Place) -> Counter[str]:
    """Counts from now on which keys are written."""
    keys: Counter[str] = Counter()

    async def fault(exchange: Exchange) -> None:
        if exchange.request.operation in {"PutObject", "CopyObject"}:
            keys[exchange.request.key.removeprefix("copy/")] += 1
        exchange.send(exchange.carry_out())

    place.server.rules.clear()
    place.server.will(fault, times=None)
    return keys


async def killed_at(place: Place, journal: Path, request: int, *, streamed: bool) -> None:
    """Migrate in another process, which is killed when its `request`th request arrives, of whatever kind."""
    arguments = [place.server.endpoint_url, str(journal), *(["streamed"] if streamed else [])]
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.migration.child", *arguments, stderr=asyncio.subprocess.PIPE, cwd=ROOT
    )
    left = iter(range(request))

    async def fault(exchange: Exchange) -> None:
        if next(left, None) is None:
            if child.returncode is None:
                os.kill(child.pid, signal.SIGKILL)
            return
        exchange.send(exchange.carry_out())

    place.server.rules.clear()
    place.server.will(fault, times=None)
    _, errors = await child.communicate()
    assert child.returncode == -signal.SIGKILL, errors.decode()


def done(journal: Path) -> set[str]:
    """The keys that a journal says are done."""
    db = sqlite3.connect(journal)
    try:
        return {key for (key,) in db.execute("SELECT key FROM objects WHERE state IN (1, 2)")}
    finally:
        db.close()


async def killed_and_resumed(place: Place, journal: Path, request: int, *, streamed: bool) -> None:
    bodies = fill(place)
    await killed_at(place, journal, request, streamed=streamed)
    finished = done(journal)
    again = written(place)

    report = await migrate(SOURCE, TARGET, source_s3=place.s3, journal=journal)

    assert place.stored() == bodies
    assert (report.failed, report.verified) == (0, COUNT)
    assert not finished & set(again)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize(("request_number", "streamed"), [(15, False), (700, False), (1600, True)])
async def test_a_killed_migration_resumes_without_copying_anything_twice(
    one: Place, tmp_path: Path, request_number: int, streamed: bool
) -> None:
    await killed_and_resumed(one, tmp_path / "journal", request_number, streamed=streamed)


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("seed", range(20))
async def test_twenty_kills_at_random_requests_lose_nothing_and_copy_nothing_twice(
    one: Place, tmp_path: Path, seed: int
) -> None:
    streamed = bool(seed % 2)
    # A copy takes one request, a streamed object three; some more are for listings and the probe.
    request_number = random.Random(seed).randrange(COUNT * (3 if streamed else 1) + 10)
    await killed_and_resumed(one, tmp_path / "journal", request_number, streamed=streamed)


@pytest.mark.parametrize("operation", ["ListObjectsV2", "CopyObject"])
async def test_a_cancelled_migration_resumes_where_it_was(one: Place, tmp_path: Path, operation: str) -> None:
    bodies = fill(one)
    reached, never = asyncio.Event(), asyncio.Event()
    left = iter(range(2 if operation == "ListObjectsV2" else 600))

    async def fault(exchange: Exchange) -> None:
        if exchange.request.operation == operation and next(left, None) is None:
            reached.set()
            await asyncio.wait({asyncio.create_task(never.wait()), exchange.lost}, return_when="FIRST_COMPLETED")
            return
        exchange.send(exchange.carry_out())

    one.server.will(fault, times=None)
    running = asyncio.create_task(migrate(SOURCE, TARGET, source_s3=one.s3, journal=tmp_path / "journal"))
    await reached.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    never.set()
    finished, again = done(tmp_path / "journal"), written(one)

    told: list[MigrationProgress] = []
    report = await migrate(SOURCE, TARGET, source_s3=one.s3, journal=tmp_path / "journal", on_progress=told.append)

    assert one.stored() == bodies
    assert (report.failed, report.verified, report.resumed) == (0, COUNT, True)
    assert not finished & set(again)
    assert told[-1].before == len(finished)
    if operation == "CopyObject":
        assert len(finished) > 500


async def test_a_second_process_cannot_use_the_journal(one: Place, tmp_path: Path) -> None:
    del one
    async with Journal(tmp_path / "journal", {"source": "a"}):
        code = (
            f"import sqlite3; sqlite3.connect({str(tmp_path / 'journal')!r}, timeout=0).execute('SELECT * FROM meta')"
        )
        other = await asyncio.create_subprocess_exec(sys.executable, "-S", "-c", code, stderr=asyncio.subprocess.PIPE)
        _, errors = await other.communicate()
        assert b"locked" in errors
        with pytest.raises(JournalRefused, match="another process is using the journal"):
            async with Journal(tmp_path / "journal", {"source": "a"}):
                pass
    async with Journal(tmp_path / "journal", {"source": "a"}) as again:
        assert again.resumed


def test_a_page_and_its_checkpoint_are_written_in_one_transaction(tmp_path: Path) -> None:
    store = Store(tmp_path / "journal")
    store.prepare({})
    span = store.add_span(None, None)
    store.add_page(span, "a", [Listed("a", "a", 1, None, None, None)], {}, done=False)
    broken = [Listed("b", "b", 1, None, None, None), Listed("c", None, 1, None, None, None)]  # type: ignore[arg-type]
    store.add_page(span, "c", broken[:1], {}, done=False)
    with pytest.raises(sqlite3.Error):
        store.add_page(span, "d", [Listed("d", "d", object(), None, None, None)], {}, done=True)  # type: ignore[arg-type]
    assert [(one.after, one.upto) for one in store.spans()] == [("c", None)]
    assert [row.key for row in store.pending(0, 10)] == ["a", "b"]
    store.close()


def test_a_range_is_split_in_the_journal_as_in_the_listing() -> None:
    store = Store(None)
    store.prepare({})
    first = store.add_span(None, None)
    store.shrink_span(first, "z")
    second = store.cut_span(first, "m", "z")
    store.add_page(first, "m", [], {}, done=True)
    assert store.spans() == [(second, "m", "z")]
    store.close()


async def test_outcomes_are_written_before_the_next_query() -> None:
    async with Journal(None, {}) as journal:
        span = await journal.do(lambda store: store.add_span(None, None))
        await journal.do(
            lambda store: store.add_page(span, "a", [Listed("a", "a", 1, '"e"', None, None)], {}, done=True)
        )
        journal.note(Outcome(State.MOVED, 1, '"e"', '"t"', "etag", None, 1, 1))
        assert (await journal.do(lambda store: store.totals())).moved == 1
        await journal.do(lambda store: store.add_target([("a", 1, '"other"', None)]))
        assert await journal.do(lambda store: store.suspects()) == 1
        assert [row.attempts for row in await journal.do(lambda store: store.pending(0, 9))] == [2]


@pytest.mark.parametrize("content", [b"", b"text that is no database, and longer than a header of one " * 50])
async def test_only_an_empty_file_can_become_a_journal(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    if content:
        with pytest.raises(JournalRefused, match="cannot be used as a journal"):
            async with Journal(path, {}):
                pass
        assert path.read_bytes() == content
        return
    async with Journal(path, {}) as journal:
        assert not journal.resumed


async def test_a_journal_of_another_version_is_refused_by_its_format(tmp_path: Path) -> None:
    async with Journal(tmp_path / "journal", {"source": "a"}):
        pass
    db = sqlite3.connect(tmp_path / "journal")
    with db:
        db.execute("UPDATE meta SET value = 'apm-s3/migration-journal/1' WHERE name = 'format'")
    db.close()

    with pytest.raises(JournalRefused, match=r"has the format 'apm-s3/migration-journal/1'") as refused:
        async with Journal(tmp_path / "journal", {"source": "a"}):
            pass

    assert "the version that began it" in str(refused.value)


async def test_a_foreign_database_is_left_alone(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "db")
    db.execute("CREATE TABLE users (name TEXT)")
    db.close()
    before = (tmp_path / "db").read_bytes()
    with pytest.raises(JournalRefused, match="not a journal"):
        async with Journal(tmp_path / "db", {}):
            pass
    assert (tmp_path / "db").read_bytes() == before


async def test_a_journal_that_becomes_unwritable_ends_the_run(
    one: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = fill(one, 30)

    def full(store: Store, outcomes: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "note", full)
        with pytest.raises(JournalRefused, match="cannot be read or written: database or disk is full") as refused:
            await migrate(SOURCE, TARGET, source_s3=one.s3, journal=tmp_path / "journal")
    assert refused.value.may_have_happened
    report = await migrate(SOURCE, TARGET, source_s3=one.s3, journal=tmp_path / "journal")
    assert one.stored() == bodies
    assert (report.failed, report.verified) == (0, 30)
