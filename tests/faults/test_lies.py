"""Every call against answers that are not to what was asked: the right result, or an error that says so."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.bucket_verbs import DATA_VERBS
from tests.faults.lies import LIES
from tests.faults.matrix import DATA_PATHS, DataPath, run_matrix
from tests.faults.verbs import VERBS

_HONEST = {
    ("list", "empty pages for ever"),
    ("versions", "empty pages for ever"),
    ("empty and delete bucket", "one deletion untold"),
}
"""Calls that cannot know better: one page is empty, and what a second look finds gone is not counted as deleted."""


# One test a transport, so that parallel test runs do not run the matrix once in each process.
@pytest.mark.timeout(400)
@pytest.mark.parametrize("data_path", DATA_PATHS)
def test_calls_that_are_lied_to_give_the_right_result_or_an_error(data_path: DataPath) -> None:
    verbs = tuple(verb for verb in (*VERBS, *DATA_VERBS) if verb.request not in {"HeadBucket", "ListBuckets"})
    cells = asyncio.run(run_matrix(data_path, LIES, verbs))
    wrong = [
        f"{verb}, {case}: {'; '.join(cell.problems)}"
        for (verb, case), cell in cells.items()
        if cell.problems and (cell.verb.name, case) not in _HONEST
    ]
    assert not wrong, "\n".join(wrong)
