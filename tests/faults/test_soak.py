"""A moment of the soak that `nox -s soak` runs for ten minutes."""

from __future__ import annotations

from tests.faults.soak import soak


async def test_mixed_work_with_faults_loses_nothing_leaves_nothing_and_is_counted_right() -> None:
    report = await soak(1.0)

    assert report.wrong == []
    assert report.left == []
    assert report.calls
