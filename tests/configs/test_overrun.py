"""Changes without a release, whose own write ids have left the reference document before they read it again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from apm_s3.configs import CommitOutcome, ConfigStore
from apm_s3.errors import (
    AccessDenied,
    CommitUnknown,
    ConnectionLost,
    EnvironmentFrozen,
    IntegrityError,
    InvalidOption,
)
from apm_s3.testing import MemoryObjects
from tests.configs.samples import LOKI, OTHER_LOKI
from tests.configs.simulation.scenarios import change_a_hundred_times, lose_a_response
from tests.configs.test_faults import play
from tests.seams.store import stop_failing

DAY = 24 * 3600
WRITE = "production." + "ab" * 10


@pytest.fixture
async def memory() -> MemoryObjects:
    """Production with one revision."""
    memory = MemoryObjects(now=1_800_000_000.0)
    await ConfigStore(memory).upload("loki", "production", LOKI)
    return memory


async def _actions(store: ConfigStore) -> list[str]:
    return [entry.action for entry in await store.log("production") if entry.action != "mark_good"]


@pytest.mark.parametrize("write_id", [None, WRITE])
@pytest.mark.parametrize("arrives", [True, False])
async def test_a_change_that_was_overrun_is_found_in_the_log_and_made_once(
    memory: MemoryObjects, arrives: bool, write_id: str | None
) -> None:
    store, other = ConfigStore(memory), ConfigStore(memory)
    lose_a_response(memory, lambda: change_a_hundred_times(other), arrives=arrives)

    await store.freeze("production", "an incident", write_id=write_id)

    assert await _actions(store) == ["freeze", "upload", "create"]
    with pytest.raises(EnvironmentFrozen):
        await store.upload("loki", "production", OTHER_LOKI)


@pytest.mark.parametrize("arrives", [True, False])
async def test_a_change_that_was_overrun_and_collected_is_unknown(memory: MemoryObjects, arrives: bool) -> None:
    store, other = ConfigStore(memory), ConfigStore(memory)

    async def meanwhile() -> None:
        await change_a_hundred_times(other)
        memory.now = (memory.now or 0) + 40 * DAY
        await change_a_hundred_times(other)
        await other.thaw("production")
        await other.collect_garbage("production", keep_revisions=1, keep_log=timedelta(days=1))

    lose_a_response(memory, meanwhile, arrives=arrives)
    with pytest.raises(CommitUnknown):
        await store.freeze("production", "an incident")


async def test_a_change_whose_log_cannot_be_read_is_unknown(memory: MemoryObjects) -> None:
    store, other = ConfigStore(memory), ConfigStore(memory)

    async def meanwhile() -> None:
        await change_a_hundred_times(other)
        memory.will_fail("read", ConnectionLost("no answer"), key=_part(memory), times=None)

    lose_a_response(memory, meanwhile)
    with pytest.raises(CommitUnknown):
        await store.freeze("production", "an incident")


def test_outcome_rules_a_write_out_however_many_commits_are_made_meanwhile() -> None:
    async def scene() -> None:
        memory = MemoryObjects(now=1_800_000_000.0)
        await _lose_an_upload(memory)
        lose_a_response(memory, lambda: change_a_hundred_times(ConfigStore(memory)), arrives=False)
        assert await ConfigStore(memory).outcome(WRITE) is CommitOutcome.LOST

    play(scene)


def test_an_outcome_that_cannot_be_ruled_out_is_pending() -> None:
    async def scene() -> None:
        memory = MemoryObjects(now=1_800_000_000.0)
        await _lose_an_upload(memory)
        _lose_commits(memory)
        assert await ConfigStore(memory).outcome(WRITE) is CommitOutcome.PENDING

        stop_failing(memory)
        assert await ConfigStore(memory).outcome(WRITE) is CommitOutcome.LOST

    play(scene)


def test_an_outcome_that_is_decided_while_it_is_ruled_out_is_told() -> None:
    async def scene() -> None:
        memory = MemoryObjects(now=1_800_000_000.0)
        await _lose_an_upload(memory)

        async def decided() -> None:
            # Another writer is faster, and then the commit that rules it out is lost until its deadline.
            await ConfigStore(memory).upload("loki", "production", f"{LOKI}# another\n")
            _lose_commits(memory)

        lose_a_response(memory, decided, arrives=False)
        assert await ConfigStore(memory).outcome(WRITE) is CommitOutcome.LOST

    play(scene)


def _lose_commits(memory: MemoryObjects) -> None:
    memory.will_fail("put", ConnectionLost("no answer"), key="current.json", times=None)


async def _lose_an_upload(memory: MemoryObjects) -> None:
    """An upload stores its documents; its commit does not arrive, and can be ruled out after an hour."""
    await ConfigStore(memory).upload("loki", "production", LOKI)
    _lose_commits(memory)
    with pytest.raises(CommitUnknown):
        await ConfigStore(memory).upload("loki", "production", OTHER_LOKI, write_id=WRITE)
    stop_failing(memory)
    memory.now = (memory.now or 0) + 3600


def _part(memory: MemoryObjects) -> str:
    return next(key for key in memory.objects if "/log/" in key)


async def test_a_write_is_not_ruled_out_before_the_window_of_its_last_document_has_passed(
    memory: MemoryObjects,
) -> None:
    first = memory.now or 0
    for tool, revision, at in (("loki", 2, first), ("jaeger", 1, first + 600)):
        memory.now = at
        await memory.put(f"configs/production/{tool}/releases/{revision:08d}-{WRITE}.json", b"{}")

    memory.now = first + 16 * 60
    assert await ConfigStore(memory).outcome(WRITE) is CommitOutcome.PENDING
    memory.now = first + 600 + 16 * 60
    assert await ConfigStore(memory).outcome(WRITE) is CommitOutcome.LOST


@pytest.mark.parametrize("others", [63, 64, 65])
async def test_a_change_is_made_once_around_the_number_of_entries_that_the_document_keeps(
    memory: MemoryObjects, others: int
) -> None:
    store, other = ConfigStore(memory), ConfigStore(memory)

    async def meanwhile() -> None:
        for number in range(others):
            await other.upload("loki", "production", f"{LOKI}# {number}\n")

    lose_a_response(memory, meanwhile)
    await store.mark_good("loki", "production", 1)

    assert [entry.action for entry in await store.log("production")].count("mark_good") == 1


@pytest.mark.parametrize(("age", "refused"), [(14 * 60 - 1, False), (14 * 60 + 1, True)])
async def test_a_repeated_write_is_refused_a_minute_before_its_window_ends(
    memory: MemoryObjects, age: int, refused: bool
) -> None:
    memory.will_fail("put", AccessDenied("no", status=403), key="current.json")
    with pytest.raises(AccessDenied):
        await ConfigStore(memory).upload("loki", "production", OTHER_LOKI, write_id=WRITE)
    memory.now = (memory.now or 0) + age
    again = ConfigStore(memory).upload("loki", "production", OTHER_LOKI, write_id=WRITE)

    if refused:
        with pytest.raises(InvalidOption, match="never committed"):
            await again
    else:
        assert (await again).revision == 2


def test_a_commit_that_arrived_is_unknown_if_the_document_cannot_be_read_intact_afterwards() -> None:
    async def scene() -> None:
        memory = MemoryObjects(now=1_800_000_000.0)
        store = ConfigStore(memory)
        await store.upload("loki", "production", LOKI)

        async def meanwhile() -> None:
            memory.will_fail("read", IntegrityError("damaged"), key="current.json", times=None)

        lose_a_response(memory, meanwhile)
        with pytest.raises(CommitUnknown) as caught:
            await store.freeze("production", "an incident")
        assert caught.value.may_have_happened

    play(scene)
