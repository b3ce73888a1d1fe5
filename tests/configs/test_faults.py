"""A fault at each request of a write: the old state or the new one, and the caller is told which."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from apm_s3.configs import CommitOutcome, ConfigStore
from apm_s3.errors import CommitUnknown, ConnectionLost
from tests.configs.samples import LOKI, OTHER_LOKI, OTHER_PROMETHEUS, PROMETHEUS, RULES
from tests.configs.simulation.loop import VirtualLoop
from tests.configs.simulation.world import no_validation
from tests.configs.test_backup_faults import FAULTS, FaultyObjects, attempt, state

DAY = 24 * 3600
OLD = {"prometheus": {"prometheus.yml": PROMETHEUS, "rules/a.yml": RULES}, "loki": {"loki.yaml": LOKI}}


class Outage(FaultyObjects):
    """From one request on nothing gets through, and what becomes of that one request is for the test to say."""

    silent = False

    async def _meet(self, act: Callable[[], Awaitable[Any]], key: str) -> Any:
        if self.silent:
            await asyncio.sleep(0.1)
            raise ConnectionLost("outage", bucket=self.bucket, key=key)
        self.silent = self.count + 1 == self.at and self.fault in ("answer lost", "late")
        return await super()._meet(act, key)


async def prepared(kind: type[FaultyObjects] = FaultyObjects) -> tuple[FaultyObjects, ConfigStore]:
    """Production with an old revision and the state OLD, and staging with something else."""
    objects = kind()
    objects.now = 1_800_000_000.0
    store = ConfigStore(objects, deadline=5.0)
    await store.upload("prometheus", "production", OTHER_PROMETHEUS)
    for text in (OTHER_LOKI, LOKI, OTHER_LOKI):
        await store.upload("loki", "production", text)
    for tool, files in OLD.items():
        await store.upload(tool, "production", files=files)
    for tool, text in {"prometheus": OTHER_PROMETHEUS, "loki": OTHER_LOKI}.items():
        await store.upload(tool, "staging", text)
    objects.now += 2 * DAY
    return objects, store


async def upload(store: ConfigStore) -> None:
    await store.upload("prometheus", "production", OTHER_PROMETHEUS)


async def rollback(store: ConfigStore) -> None:
    await store.rollback("prometheus", "production", to_revision=1)


async def remove(store: ConfigStore) -> None:
    await store.remove("loki", "production")


async def deploy(store: ConfigStore) -> None:
    await store.deploy(await store.plan_deploy("staging", "production"))


NEW: dict[Callable[[ConfigStore], Coroutine[Any, Any, None]], dict[str, dict[str, str]]] = {
    upload: {**OLD, "prometheus": {"prometheus.yml": OTHER_PROMETHEUS, "rules/a.yml": RULES}},
    rollback: {**OLD, "prometheus": {"prometheus.yml": OTHER_PROMETHEUS}},
    remove: {"prometheus": OLD["prometheus"]},
    deploy: {"prometheus": {"prometheus.yml": OTHER_PROMETHEUS}, "loki": {"loki.yaml": OTHER_LOKI}},
}


def play(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a scene in virtual time, without validation: the texts are valid."""
    with no_validation(random.Random(1)):
        VirtualLoop().run(scene())


async def requests_of(work: Callable[[ConfigStore], Awaitable[None]]) -> int:
    objects, store = await prepared()
    objects.arm(0, "")
    await work(store)
    return objects.count


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("work", NEW)
def test_a_write_during_a_fault_leaves_the_old_or_the_new_state_and_reports_which(
    work: Callable[[ConfigStore], Coroutine[Any, Any, None]], fault: str
) -> None:
    async def scene() -> None:
        for at in range(1, await requests_of(work) + 1):
            objects, store = await prepared()
            objects.arm(at, fault)

            raised = await attempt(objects, work(store))

            objects.arm(0, "")
            found = await state(store)
            if raised is None:
                assert found == NEW[work]
            elif isinstance(raised, asyncio.CancelledError):
                assert found in (OLD, NEW[work])
            else:
                assert found == OLD, f"{raised!r} at request {at}"
            await objects.arrive()
            assert await state(store) == found
            await store.upload("prometheus", "production", PROMETHEUS)
            report = await store.repair("production")
            assert report.after.ok

    play(scene)


@pytest.mark.parametrize("fault", ["answer lost", "late"])
@pytest.mark.parametrize("work", NEW)
def test_a_write_with_a_lost_response_is_unknown_until_outcome_resolves_it(
    work: Callable[[ConfigStore], Coroutine[Any, Any, None]], fault: str
) -> None:
    async def scene() -> None:
        unknown = 0
        for at in range(1, await requests_of(work) + 1):
            for arrives_before in (True, False):
                objects, store = await prepared(Outage)
                objects.arm(at, fault)

                raised = await attempt(objects, work(store))

                objects.silent = False
                objects.arm(0, "")
                if arrives_before:
                    await objects.arrive()
                if raised is None:
                    assert await state(store) == NEW[work]
                    continue
                if not isinstance(raised, CommitUnknown):
                    await objects.arrive()
                    assert await state(store) == OLD, f"{raised!r} at request {at}"
                    continue
                unknown += 1
                outcome = await store.outcome(raised.write_id)
                if outcome is CommitOutcome.PENDING:
                    objects.now += 15 * 60
                    outcome = await store.outcome(raised.write_id)
                await objects.arrive()
                won = await state(store) == NEW[work]
                assert outcome is (CommitOutcome.WON if won else CommitOutcome.LOST)
        assert unknown

    play(scene)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_collection_during_a_fault_deletes_nothing_that_must_be_kept(fault: str) -> None:
    async def collect(store: ConfigStore) -> None:
        await store.collect_garbage("production", keep_revisions=2)

    async def scene() -> None:
        for at in range(1, await requests_of(collect) + 1):
            objects, store = await prepared()
            objects.arm(at, fault)

            await attempt(objects, collect(store))

            objects.arm(0, "")
            await objects.arrive()
            assert await state(store) == OLD
            assert (await store.fsck("production")).ok
            await collect(store)
            assert await state(store) == OLD

    play(scene)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_freeze_during_a_fault_happens_or_not_and_is_repeatable(fault: str) -> None:
    async def freeze(store: ConfigStore) -> None:
        await store.freeze("production", "incident")

    async def scene() -> None:
        for at in range(1, await requests_of(freeze) + 1):
            objects, store = await prepared()
            objects.arm(at, fault)

            raised = await attempt(objects, freeze(store))

            objects.arm(0, "")
            if raised is None:
                assert (await store.status("production"))[0].freeze is not None
            await freeze(store)
            await store.thaw("production")
            assert (await store.status("production"))[0].freeze is None

    play(scene)
