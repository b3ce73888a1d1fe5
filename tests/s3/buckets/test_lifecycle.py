"""Lifecycle rules: what S3 refuses is refused before anything is sent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from apm_s3.errors import InvalidOption
from apm_s3.options import Lifecycle, LifecycleRule, NoncurrentTransition, Transition

MIDNIGHT = datetime(2030, 1, 1, tzinfo=UTC)


def move(storage_class: str, days: int | None = None, date: datetime | None = None) -> Transition:
    return Transition(storage_class=storage_class, days=days, date=date)  # type: ignore[arg-type]


def old(storage_class: str, days: int, keep: int | None = None) -> NoncurrentTransition:
    return NoncurrentTransition(storage_class=storage_class, days=days, keep=keep)  # type: ignore[arg-type]


REFUSED = {
    "too early for STANDARD_IA": {"transitions": (move("STANDARD_IA", 29),)},
    "too early for ONEZONE_IA": {"transitions": (move("ONEZONE_IA", 1),)},
    "too short in STANDARD_IA": {"transitions": (move("STANDARD_IA", 30), move("GLACIER", 59))},
    "back up the classes": {"transitions": (move("GLACIER", 30), move("STANDARD_IA", 90))},
    "deep archive before glacier": {"transitions": (move("DEEP_ARCHIVE", 1), move("GLACIER", 90))},
    "one class twice": {"transitions": (move("GLACIER", 30), move("GLACIER", 90))},
    "the same day": {"transitions": (move("STANDARD_IA", 30), move("GLACIER", 30))},
    "negative": {"transitions": (move("GLACIER", -1),)},
    "neither days nor date": {"transitions": (move("GLACIER"),)},
    "both days and date": {"transitions": (move("GLACIER", 1, MIDNIGHT),)},
    "days and dates": {"transitions": (move("GLACIER", 1), move("DEEP_ARCHIVE", None, MIDNIGHT))},
    "expiry by days, move by date": {"transitions": (move("GLACIER", None, MIDNIGHT),), "expire_days": 3},
    "dates in the wrong order": {
        "transitions": (move("DEEP_ARCHIVE", None, MIDNIGHT), move("GLACIER", None, MIDNIGHT + timedelta(days=90))),
    },
    "not midnight": {"expire_date": MIDNIGHT.replace(hour=1)},
    "no time zone": {"expire_date": MIDNIGHT.replace(tzinfo=None)},
    "expiry before the move": {"transitions": (move("GLACIER", 60),), "expire_days": 60},
    "expiry after 0 days": {"expire_days": 0},
    "old versions after 0 days": {"noncurrent_days": 0},
    "uploads after 0 days": {"abort_uploads_days": 0},
    "markers beside expiry": {"expire_days": 3, "expire_markers": True},
    "days beside a date": {"expire_days": 3, "expire_date": MIDNIGHT},
    "uploads by tag": {"abort_uploads_days": 1, "tags": {"a": "b"}},
    "uploads by size": {"abort_uploads_days": 1, "larger_than": 3},
    "markers by tag": {"expire_markers": True, "tags": {"a": "b"}},
    "an empty range of sizes": {"expire_days": 1, "larger_than": 5, "smaller_than": 5},
    "old versions too early for STANDARD_IA": {"noncurrent_transitions": (old("STANDARD_IA", 29),)},
    "old versions up the classes": {"noncurrent_transitions": (old("GLACIER", 3), old("STANDARD_IA", 30))},
    "old versions expire before they move": {"noncurrent_transitions": (old("GLACIER", 9),), "noncurrent_days": 9},
    "101 old versions": {"noncurrent_days": 9, "noncurrent_keep": 101},
    "no old versions": {"noncurrent_transitions": (old("GLACIER", 9, keep=0),)},
    "keep without days": {"noncurrent_keep": 3, "expire_days": 1},
    "nothing": {},
    "an id that is too long": {"id": "x" * 256, "expire_days": 1},
}

ACCEPTED = {
    "the minimums": {"transitions": (move("STANDARD_IA", 30), move("GLACIER_IR", 60), move("DEEP_ARCHIVE", 61))},
    "glacier at once": {"transitions": (move("GLACIER", 0), move("DEEP_ARCHIVE", 90))},
    "all classes": {
        "transitions": (
            move("DEEP_ARCHIVE", 200), move("STANDARD_IA", 30), move("INTELLIGENT_TIERING", 60), move("ONEZONE_IA", 90),
            move("GLACIER_IR", 120), move("GLACIER", 150),
        ),
        "expire_days": 201,
    },
    "dates": {
        "transitions": (move("GLACIER", None, MIDNIGHT), move("DEEP_ARCHIVE", None, MIDNIGHT + timedelta(days=1))),
        "expire_date": MIDNIGHT + timedelta(days=2),
    },
    "markers with old versions": {"expire_markers": True, "noncurrent_days": 1, "noncurrent_keep": 100},
    "uploads with expiry": {"abort_uploads_days": 1, "expire_days": 1, "prefix": "temp/"},
}  # fmt: skip


def check(**rule: object) -> None:
    Lifecycle(rules=(LifecycleRule(**{"id": "r", **rule}),)).check()  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", REFUSED.values(), ids=REFUSED)
def test_settings_that_s3_refuses_are_refused(rule: dict[str, object]) -> None:
    with pytest.raises(InvalidOption, match="lifecycle rule"):
        check(**rule)


@pytest.mark.parametrize("rule", ACCEPTED.values(), ids=ACCEPTED)
def test_settings_that_s3_accepts_are_accepted(rule: dict[str, object]) -> None:
    check(**rule)


def test_two_rules_with_one_id_are_refused() -> None:
    rule = LifecycleRule(id="r", expire_days=1)

    with pytest.raises(InvalidOption, match="this id"):
        Lifecycle(rules=(rule, rule)).check()


@pytest.mark.parametrize("count", [0, 1001])
def test_the_number_of_lifecycle_rules_is_limited(count: int) -> None:
    rules = tuple(LifecycleRule(id=str(number), expire_days=1) for number in range(count))

    with pytest.raises(InvalidOption, match="1 to 1000"):
        Lifecycle(rules=rules).check()


def test_the_order_of_lifecycle_rules_does_not_matter() -> None:
    one, two = LifecycleRule(id="1", expire_days=1), LifecycleRule(id="2", expire_days=2)

    assert Lifecycle(rules=(one, two)).matches(Lifecycle(rules=(two, one)))
    assert not Lifecycle(rules=(one, two)).matches(Lifecycle(rules=(one,)))
    assert not Lifecycle(rules=(one,)).matches(None)
