"""Every call against every fault: the right result or the right error, nothing left behind."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable

import pytest

from tests.faults.faults import CASES
from tests.faults.matrix import DATA_PATHS, Cell, DataPath, run_matrix, table, verbs_of

Matrix = dict[tuple[str, str], Cell]
TABLES = pytest.StashKey[list[str]]()


@pytest.fixture(scope="module")
def matrix(request: pytest.FixtureRequest) -> Callable[[DataPath], Matrix]:
    """All cells of a transport, run once."""

    @functools.cache
    def run(data_path: DataPath) -> Matrix:
        cells = asyncio.run(run_matrix(data_path))
        request.config.stash.setdefault(TABLES, []).extend(table(data_path, cells))
        return cells

    return run


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("data_path", "verb"), [(path, verb) for path in DATA_PATHS for verb in verbs_of(path)], ids=str
)
def test_a_call_that_meets_a_fault_ends_as_it_should(matrix, data_path: DataPath, verb) -> None:
    cells = matrix(data_path)
    wrong = [
        f"{case.name}: {'; '.join(cell.problems)}"
        for case in CASES
        if (cell := cells.get((str(verb), case.name))) and cell.problems
    ]
    assert not wrong, "\n".join(wrong)
