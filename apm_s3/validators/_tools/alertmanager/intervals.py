"""Time intervals in which routes are muted or active.

https://prometheus.io/docs/alerting/latest/configuration/#time_interval-0.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from zoneinfo import available_timezones

from apm_s3.validators._checking import Context, did_you_mean
from apm_s3.validators._decoding import Mismatch, Struct

_TIME = re.compile(r"(?:(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00)", re.ASCII)
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_SHORTEST_MONTH = 28


def check_times(times: Struct, context: Context) -> None:
    """Check that `start_time` and `end_time` are both set, and in order."""
    values = []
    for name in ("start_time", "end_time"):
        text = times.get(name) or ""
        if name in times.failed:
            return
        if not text:
            times.error(context, name, "required-field", "start_time and end_time must both be set")
            return
        if not _TIME.fullmatch(text):
            times.error(context, name, "time", f"invalid time: {text[:20]!r}; write it as 09:00, up to 24:00")
            return
        values.append(text)
    if values[0] >= values[1]:
        times.error(context, "start_time", "time-order", "the start time must be before the end time")


def parse_weekdays(text: str) -> str:
    """Parse `monday` or `monday:friday`.

    Raises:
        Mismatch: it is not valid.
    """
    begin, end = _range(text, _weekday)
    if begin > end:
        raise Mismatch("range-order", "the start day is after the end day; a week begins on sunday")
    return text


def parse_months(text: str) -> str:
    """Parse `march`, `3` or `march:5`.

    Raises:
        Mismatch: it is not valid.
    """
    begin, end = _range(text, _month)
    if begin > end:
        raise Mismatch("range-order", "the start month is after the end month")
    return text


def parse_years(text: str) -> str:
    """Parse `2026` or `2026:2028`.

    Raises:
        Mismatch: it is not valid.
    """
    begin, end = _range(text, lambda part: _number(part, "year"))
    if begin > end:
        raise Mismatch("range-order", "the start year is after the end year")
    return text


def parse_days_of_month(text: str) -> str:
    """Parse `1`, `1:5` or, from the end of the month, `-3:-1`.

    Raises:
        Mismatch: it is not valid.
    """
    begin, end = _range(text, lambda part: _number(part, "day of the month"))
    for day in (begin, end):
        if day == 0 or not -31 <= day <= 31:
            raise Mismatch("out-of-range", f"{day} is not a day of the month; use 1 to 31 or -31 to -1")
    if begin < 0 < end:
        raise Mismatch("range-order", "the end day must be negative if the start day is")
    first, last = (_SHORTEST_MONTH + day if day < 0 else day for day in (begin, end))
    if first > last:
        raise Mismatch("range-order", f"end day {end} is always before start day {begin}")
    return text


def parse_location(text: str) -> str:
    """Parse a name from the time zone database, `UTC` or `Local`.

    Raises:
        Mismatch: unknown time zone.
    """
    known = _zones()
    if text in ("", "UTC", "Local") or not known or text in known:
        return text
    raise Mismatch("time-zone", f"unknown time zone {text[:40]!r}; write it as Europe/Berlin")


@cache
def _zones() -> frozenset[str]:
    """Return the time zones known on this machine; empty without a time zone database."""
    return frozenset(available_timezones())


def _range(text: str, member: Callable[[str], int]) -> tuple[int, int]:
    parts = text.lower().split(":")
    if len(parts) > 2:
        raise Mismatch("range", f"invalid range: {text[:40]!r}; write it as first:last")
    values = []
    for index, part in enumerate(parts):
        try:
            values.append(member(part))
        except Mismatch as exc:
            exc.offset = len(parts[0]) + 1 if index else 0
            raise
    return values[0], values[-1]


def _weekday(text: str) -> int:
    if text not in _WEEKDAYS:
        raise Mismatch(
            "weekday", f"{text[:40]!r} is not a weekday; write it in full: monday", did_you_mean(text, _WEEKDAYS)
        )
    return _WEEKDAYS.index(text)


def _month(text: str) -> int:
    if text in _MONTHS:
        return _MONTHS.index(text) + 1
    if not _NUMBER.fullmatch(text):
        raise Mismatch("month", f"{text[:40]!r} is not a month; write it as march or 3", did_you_mean(text, _MONTHS))
    # Alertmanager does not require 1 to 12: any other month never matches.
    return int(text)


def _number(text: str, what: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise Mismatch("number", f"{text[:40]!r} is not a {what}")
    return int(text)
