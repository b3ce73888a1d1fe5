"""Ten thousand interleavings in every run, more than a million in the long one."""

import pytest

from tests.configs.simulation.mutations import MUTATIONS
from tests.configs.simulation.world import Violation, play

BATCH = 1000


@pytest.mark.parametrize("batch", range(10))
def test_no_interleaving_breaks_the_protocol(batch: int) -> None:
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        play(seed)


@pytest.mark.long
@pytest.mark.timeout(0)
@pytest.mark.parametrize("batch", range(100))
def test_no_interleaving_of_a_million_and_more_breaks_the_protocol(batch: int) -> None:
    for seed in range(1_000_000 + batch * 12_000, 1_000_000 + (batch + 1) * 12_000):
        play(seed)


@pytest.mark.parametrize("mistake", list(MUTATIONS))
def test_every_mistake_is_caught(mistake: str) -> None:
    with MUTATIONS[mistake]():
        for seed in range(3000):
            try:
                play(seed)
            except Violation:
                return
    pytest.fail("the simulation does not notice it")


def test_the_same_seed_is_the_same_interleaving() -> None:
    first, second = play(7), play(7)

    assert first.states == second.states
    assert first.attempts == second.attempts
    assert first.server.requests == second.server.requests
