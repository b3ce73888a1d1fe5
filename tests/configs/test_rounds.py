"""The exact round trips and requests of each call: independent requests are sent together."""

from __future__ import annotations

import pytest

from tests.configs.rounds import TARGETS, Target, measure

COLD = {target.name: target for target in TARGETS if target.name != "deploy"}
WARM = {target.name: target for target in TARGETS if target.warm is not None}


@pytest.mark.parametrize("target", COLD.values(), ids=COLD)
def test_a_call_in_a_new_process_takes_no_more_round_trips_than_allowed(target: Target) -> None:
    assert measure(target, warm=False).steps <= target.cold


@pytest.mark.parametrize("target", WARM.values(), ids=WARM)
def test_a_call_with_a_warm_cache_takes_no_more_round_trips_than_allowed(target: Target) -> None:
    assert target.warm is not None
    assert measure(target, warm=True).steps <= target.warm


@pytest.mark.parametrize("name", ["first upload", "upload", "rollback", "backup"])
def test_only_the_commit_waits_for_the_probe_of_the_servers_checksums(name: str) -> None:
    assert {key.rpartition("/")[2] for key in measure(COLD[name], warm=False).unhashed} <= {"current.json"}


def test_a_first_upload_makes_three_reads_and_three_listings() -> None:
    cost = measure(COLD["first upload"], warm=False)

    # current.json: missing, created, and looked at again after the copies. Is it empty, is it ahead, which copies?
    assert (cost.requests["GET"], cost.requests["LIST"]) == (3, 3)


def test_an_upload_requests_nothing_twice() -> None:
    cost = measure(COLD["upload"], warm=True)

    # current.json before and after, and at most the release; blob, document, commit and copy; two listings.
    assert cost.requests["GET"] <= 3
    assert (cost.requests["PUT"], cost.requests["LIST"]) == (4, 2)
