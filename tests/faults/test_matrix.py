"""Every call against every fault: the right result or the right error, nothing left behind."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.faults import CASES
from tests.faults.matrix import DATA_PATHS, Cell, DataPath, run_matrix, table
from tests.faults.verbs import VERBS

Matrix = dict[tuple[str, str], Cell]
TABLES = pytest.StashKey[list[str]]()


@pytest.fixture(scope="module", params=DATA_PATHS)
def matrix(request: pytest.FixtureRequest) -> Matrix:
    """All cells, run once for each transport."""
    data_path: DataPath = request.param
    cells = asyncio.run(run_matrix(data_path))
    request.config.stash.setdefault(TABLES, []).extend(table(data_path, cells))
    return cells


@pytest.mark.timeout(240)
@pytest.mark.parametrize("verb", VERBS, ids=str)
def test_a_call_that_meets_a_fault_ends_as_it_should(matrix: Matrix, verb) -> None:
    wrong = [
        f"{case.name}: {'; '.join(cell.problems)}"
        for case in CASES
        if (cell := matrix.get((str(verb), case.name))) and cell.problems
    ]
    assert not wrong, "\n".join(wrong)
