"""Every call against every fault: the right result or the right error, nothing left behind."""

from __future__ import annotations

import pytest

from tests.faults.matrix import DATA_PATHS, DataPath, run_matrix, table


# One test per transport, so that parallel runs do not run the matrix in every process.
@pytest.mark.parametrize("data_path", DATA_PATHS)
def test_calls_that_meet_faults_end_as_expected(data_path: DataPath, record_property) -> None:
    cells = run_matrix(data_path)
    record_property("fault matrix", "\n".join(table(data_path, cells)))
    wrong = [f"{verb}, {case}: {'; '.join(cell.problems)}" for (verb, case), cell in cells.items() if cell.problems]
    assert not wrong, "\n".join(wrong)
