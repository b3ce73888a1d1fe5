"""Durations and sizes as the Go tools write them. Durations are in nanoseconds, sizes in bytes."""

from __future__ import annotations

import re
from functools import lru_cache

from apm_s3.validators._decoding.struct import Mismatch

_MILLISECOND = 10**6
_UNITS = {
    "y": (1, 365 * 24 * 3600 * 1000 * _MILLISECOND),
    "w": (2, 7 * 24 * 3600 * 1000 * _MILLISECOND),
    "d": (3, 24 * 3600 * 1000 * _MILLISECOND),
    "h": (4, 3600 * 1000 * _MILLISECOND),
    "m": (5, 60 * 1000 * _MILLISECOND),
    "s": (6, 1000 * _MILLISECOND),
    "ms": (7, _MILLISECOND),
}
_PART = re.compile(r"([0-9]+)([^0-9]+)")
_LONGEST = 64

SECOND = 1000 * _MILLISECOND
MINUTE = 60 * SECOND


@lru_cache(maxsize=1024)
def parse_duration(text: str) -> int:
    """Parse `1h30m` as Prometheus's common/model does: y w d h m s ms, each at most once, largest first.

    Raises:
        Mismatch: not a valid duration, or longer than 292 years.
    """
    if text == "0":
        return 0
    total, last, end = 0, 0, 0
    if len(text) <= _LONGEST:
        for match in _PART.finditer(text):
            order, size = _UNITS.get(match[2], (0, 0))
            if match.start() != end or order <= last:
                break
            total, last, end = total + int(match[1]) * size, order, match.end()
    if not text or end != len(text):
        message = f"invalid duration: {text[:40]!r}; write it as 30s, 5m or 1h30m (y, w, d, h, m, s, ms)"
        raise Mismatch("duration", message, _duration_hint(text))
    if total >= 2**63:
        raise Mismatch("duration", f"duration {text!r} is out of range")
    return total


def _duration_hint(text: str) -> str | None:
    return f"did you mean {text}s?" if text.isascii() and text.isdigit() and len(text) < 12 else None


_GO_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h)")
_GO_UNITS = {"ns": 1, "us": 1000, "µs": 1000, "μs": 1000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def parse_go_duration(text: str) -> int:
    """Parse `1h30m` or `-1.5s` as Go's time.ParseDuration does.

    Raises:
        Mismatch: not a valid duration.
    """
    sign, rest = (text[0], text[1:]) if text[:1] in ("+", "-") else ("", text)
    if rest == "0":
        return 0
    total, end = 0.0, 0
    if len(rest) <= _LONGEST:
        for match in _GO_PART.finditer(rest):
            if match.start() != end or not (match[1] or match[2]):
                break
            total += float(f"{match[1] or 0}.{match[2] or 0}") * _GO_UNITS[match[3]]
            end = match.end()
    if not rest or end != len(rest) or total >= 2**63:
        message = f"invalid duration: {text[:40]!r}; write it as 30s, 5m or 1h30m (h, m, s, ms, us, ns)"
        raise Mismatch("duration", message, _duration_hint(text))
    return int(-total if sign == "-" else total)


_SIZE_PART = re.compile(r"([0-9]*(?:\.[0-9]*)?)([A-Za-z]+)")
_SIZES: dict[str, int] = {"B": 1}
for _power, _letter in enumerate("KMGTPE", start=1):
    _SIZES[f"{_letter}iB"] = _SIZES[f"{_letter}B"] = 1024**_power


def parse_size(text: str) -> int:
    """Parse `15MB` or `1GiB500MiB` as alecthomas/units parses base-2 bytes; the unit is required except for 0.

    Raises:
        Mismatch: not a valid size.
    """
    sign, rest = (text[0], text[1:]) if text[:1] in ("+", "-") else ("", text)
    if rest == "0":
        return 0
    total, end, spelling = 0.0, 0, set()
    if len(rest) <= _LONGEST:
        for match in _SIZE_PART.finditer(rest):
            if match.start() != end or match[2] not in _SIZES or not match[1].strip("."):
                break
            total += float(match[1]) * _SIZES[match[2]]
            spelling.add(match[2].endswith("iB") if match[2] != "B" else None)
            end = match.end()
    if not rest or end != len(rest) or {True, False} <= spelling:
        raise Mismatch("size", f"invalid size: {text[:40]!r}; write it with a unit: 512KB, 15MB or 1GiB")
    if total >= 2**63:
        raise Mismatch("size", f"size {text!r} is out of range")
    return int(-total if sign == "-" else total)
