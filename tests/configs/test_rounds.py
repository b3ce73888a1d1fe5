"""The steps and the requests of each call, exactly: what does not depend on each other goes out together."""

from __future__ import annotations

import pytest

from tests.configs.rounds import TARGETS, Target, measure

COLD = {target.name: target for target in TARGETS if target.name != "deploy"}
WARM = {target.name: target for target in TARGETS if target.warm is not None}


@pytest.mark.parametrize("target", COLD.values(), ids=COLD)
def test_a_call_of_a_new_process_takes_no_more_steps_than_it_may(target: Target) -> None:
    assert measure(target, warm=False).steps <= target.cold


@pytest.mark.parametrize("target", WARM.values(), ids=WARM)
def test_a_call_of_a_process_that_knows_the_store_takes_no_more_steps_than_it_may(target: Target) -> None:
    assert target.warm is not None
    assert measure(target, warm=True).steps <= target.warm


def test_an_upload_asks_for_nothing_twice() -> None:
    cost = measure(COLD["upload"], warm=True)

    # current.json before and after, and at most the release; blob, document, commit and copy; two listings.
    assert cost.requests["GET"] <= 3
    assert (cost.requests["PUT"], cost.requests["LIST"]) == (4, 2)
