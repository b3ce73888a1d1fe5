"""Thousands of interleavings of backups, restores, prunings and writers in every run, many more in the long one."""

from __future__ import annotations

import pytest

from tests.configs.simulation.backup_world import Violation, play
from tests.seams.mistakes import OF_BACKUPS


@pytest.mark.parametrize("batch", range(4))
def test_no_interleaving_leaves_an_incomplete_backup_or_loses_replaced_files(batch: int) -> None:
    for seed in range(batch * 100, (batch + 1) * 100):
        play(seed)


@pytest.mark.long
@pytest.mark.timeout(0)
@pytest.mark.parametrize("batch", range(20))
def test_no_interleaving_of_many_leaves_an_incomplete_backup(batch: int) -> None:
    for seed in range(10_000 + batch * 2_000, 10_000 + (batch + 1) * 2_000):
        play(seed)


@pytest.mark.parametrize("mistake", list(OF_BACKUPS))
def test_every_planted_mistake_is_caught(mistake: str) -> None:
    with OF_BACKUPS[mistake]():
        for seed in range(400):
            try:
                play(seed)
            except Violation:
                return
    pytest.fail("the simulation does not notice it")
