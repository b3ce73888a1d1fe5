"""Every call of a store, and every route of the HTTP service, against wrong responses.

Each call either gives the right result and has done what it says, or raises one of our errors; an error with a change is
one that says that it may have happened. Nothing wrong is delivered, nothing is damaged, and every call ends.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.faults.faults import Case
from tests.faults.http_verbs import http_verbs, serving_the_calls
from tests.faults.lies import LIES
from tests.faults.matrix import DATA_PATHS, DataPath
from tests.faults.store_lies import STORE_LIES
from tests.faults.store_matrix import Pairs, run_store_matrix
from tests.faults.store_verbs import STORE_VERBS, StoreVerb

SHARES: dict[DataPath, int] = {"signed": 12, "boto": 25}
"""Of how many pairs one is tested in each run: each call meets several lies, and each lie several calls."""


def every(step: int) -> Pairs:
    """Choose one of `step` pairs."""
    return lambda _verb, _case, number: number % step == 0


def _check(data_path: DataPath, cases: Iterable[Case], verbs: Iterable[StoreVerb], chosen: Pairs) -> None:
    cells = run_store_matrix(data_path, cases, verbs, chosen)
    assert cells
    wrong = [f"{cell.verb}, {cell.case}: {'; '.join(cell.problems)}" for cell in cells if cell.problems]
    assert not wrong, "\n".join(wrong)


@pytest.mark.timeout(400)
def test_a_store_on_a_server_that_gives_other_objects_than_those_requested() -> None:
    _check("signed", STORE_LIES, STORE_VERBS, every(1))


@pytest.mark.timeout(400)
@pytest.mark.parametrize("data_path", DATA_PATHS)
def test_a_store_on_a_lying_server(data_path: DataPath) -> None:
    _check(data_path, LIES, STORE_VERBS, every(SHARES[data_path]))


@pytest.mark.timeout(400)
@pytest.mark.parametrize("data_path", DATA_PATHS)
def test_routes_of_a_service_whose_server_lies(data_path: DataPath) -> None:
    with serving_the_calls():
        _check(data_path, (*STORE_LIES, *LIES), http_verbs(), every(2 * SHARES[data_path]))


@pytest.mark.long
@pytest.mark.timeout(0)
@pytest.mark.parametrize("data_path", DATA_PATHS)
def test_all_calls_and_routes_against_all_lies(data_path: DataPath) -> None:
    with serving_the_calls():
        _check(data_path, (*STORE_LIES, *LIES), (*STORE_VERBS, *http_verbs()), every(1))
