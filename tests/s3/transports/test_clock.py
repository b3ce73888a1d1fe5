"""The time by which requests are signed."""

from __future__ import annotations

from tests.seams.transports import Clock


def test_a_clock_is_skewed_if_s3_would_refuse_its_signatures() -> None:
    clock = Clock()
    now = clock.now()
    assert not clock.is_off(None)
    assert not clock.is_off(now + 800)
    assert clock.is_off(now + 1000)
    clock.correct(now + 1000)
    assert not clock.is_off(now + 1000)
    assert clock.is_off(now)
