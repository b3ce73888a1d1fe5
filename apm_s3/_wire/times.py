"""Times and delays in HTTP headers. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache

_MONTHS = {"JanFebMarAprMayJunJulAugSepOctNovDec"[3 * month : 3 * month + 3]: month + 1 for month in range(12)}
_SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)


@lru_cache(maxsize=4096)
def http_time(text: str) -> datetime | None:
    """Parse an HTTP date, in UTC; None if it is malformed: https://www.rfc-editor.org/rfc/rfc9110#http.date."""
    try:
        return datetime(
            int(text[12:16]), _MONTHS[text[8:11]], int(text[5:7]),
            int(text[17:19]), int(text[20:22]), int(text[23:25]), tzinfo=UTC,
        )  # fmt: skip
    except (ValueError, KeyError):
        pass
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - only for obsolete forms, and slow to import

    try:
        at = parsedate_to_datetime(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError, TypeError, IndexError):
        # The standard library's parser raises all of these.
        return None


@lru_cache(maxsize=64)
def unix_time(date: str) -> float | None:
    """Parse an HTTP date to Unix seconds; None if it is malformed."""
    at = http_time(date)
    return at.timestamp() if at is not None else None


def retry_after(text: str | None) -> float | None:
    """Parse the seconds of a Retry-After header; None if there is none, or it is not a plain number."""
    return float(text) if text and _SECONDS.fullmatch(text) else None
