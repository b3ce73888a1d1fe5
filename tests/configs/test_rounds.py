"""The exact round trips and requests of each call: independent requests are sent together."""

from __future__ import annotations

import pytest

from apm_s3.configs import ConfigStore
from tests.configs.rounds import SEVERAL, TARGETS, Target, content, measure

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


def test_a_push_of_two_hundred_files_compares_those_that_it_takes_over_by_one_listing() -> None:
    files = {
        "prometheus.yml": content(0),
        **{f"rules/{number}.yml": f"groups: []\n# {number}\n" for number in range(199)},
    }
    changed = {**files, "rules/0.yml": "groups: []\n# changed\n"}
    push = Target("push", lambda store: store.upload("prometheus", SEVERAL, files=changed), None, 6)

    async def before(store: ConfigStore) -> None:
        await store.upload("prometheus", SEVERAL, files=files)

    cost = measure(push, warm=True, before=before)

    # Is it ahead, which blobs, which copies? The first blob, the document, the commit and the copy.
    assert (cost.requests["LIST"], cost.requests["HEAD"], cost.requests["PUT"]) == (3, 0, 4)
    assert cost.steps <= COLD["upload"].cold
