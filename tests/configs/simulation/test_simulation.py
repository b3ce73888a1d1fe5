"""Three thousand interleavings in every run, more than a million in the long one."""

import pytest

from apm_s3.errors import ApmS3Error
from tests.configs.simulation.mutations import MUTATIONS, SCENARIOS
from tests.configs.simulation.world import Violation, play
from tests.seams.mistakes import PLACED

BATCH = 300
"""Ten batches are four times as many interleavings as any planted mistake needs to be seen."""

SEEN_AT = {
    "a collector deletes a part of the log that is kept": 183,
    "a collector does not move the document first": 183,
    "a repeated write id is not looked for": 209,
    "a rollback names old blobs instead of copying them": 678,
    "a twin's document is not read": 158,
    "a write goes on after its window": 465,
    "an entry leaves the log before it was stored": 220,
    "drafts made under other settings are used again": 163,
    "outcome does not move the document on": 465,
}
"""Seeds that have caught mistakes which few interleavings meet. They are tried first, which saves a minute."""


@pytest.mark.parametrize("batch", range(10))
def test_no_interleaving_breaks_the_protocol(batch: int) -> None:
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        play(seed)


@pytest.mark.long
@pytest.mark.timeout(0)
@pytest.mark.parametrize("batch", range(100))
def test_none_of_a_million_interleavings_breaks_the_protocol(batch: int) -> None:
    for seed in range(1_000_000 + batch * 12_000, 1_000_000 + (batch + 1) * 12_000):
        play(seed)


@pytest.mark.parametrize("mistake", list(MUTATIONS))
def test_every_planted_mistake_is_caught(mistake: str) -> None:
    seeds = (SEEN_AT.get(mistake, 0), *range(6000))
    with MUTATIONS[mistake]():
        caught = next(filter(None, map(_violation, seeds)), None)

    assert caught is not None, "the simulation does not notice it"
    # A mistake of the test itself would be caught as well.
    assert not isinstance(caught.__cause__, TypeError | AttributeError | NameError), caught


def _violation(seed: int) -> Violation | None:
    try:
        play(seed)
    except Violation as violation:
        return violation
    return None


@pytest.mark.parametrize("mistake", list(PLACED))
async def test_every_planted_mistake_that_needs_a_scenario_is_caught(mistake: str) -> None:
    scenario = SCENARIOS[mistake]
    await scenario()

    with PLACED[mistake](), pytest.raises((AssertionError, pytest.fail.Exception, ApmS3Error)):
        await scenario()


def test_the_same_seed_is_the_same_interleaving() -> None:
    first, second = play(7), play(7)

    assert first.states == second.states
    assert first.attempts == second.attempts
    assert first.server.requests == second.server.requests
