"""Durations, label names, regular expressions and URLs in configurations, as the tools read them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from apm_s3.validators._decoding import Mismatch
from apm_s3.validators._query.re2 import Regex, check_re2, parse_re2
from apm_s3.validators._query.re2_match import Program, program_of
from apm_s3.validators._query.re2_syntax import RegexError

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
    """Parse `1h30m` or `-1.5s` as Go's time.ParseDuration does, or raise `Mismatch`."""
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


_LEGACY_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_LEGACY_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LEGACY_TEMPLATE = re.compile(r"(?:[a-zA-Z_]|\$(?:\{\w+\}|\w))(?:\w|\$(?:\{\w+\}|\w))*", re.ASCII)
"""The same names as Prometheus's own expression, whose nested repetitions take Python exponentially long."""


def is_utf8(text: str) -> bool:
    """Return whether `text` is UTF-8; text from `!!binary` may not be."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_label_name(name: str, *, legacy: bool = False) -> bool:
    """Return whether `name` is a valid label name."""
    return bool(_LEGACY_LABEL.fullmatch(name)) if legacy else bool(name) and is_utf8(name)


def is_metric_name(name: str, *, legacy: bool) -> bool:
    """Return whether `name` is a valid metric name."""
    return bool(_LEGACY_METRIC.fullmatch(name)) if legacy else bool(name) and is_utf8(name)


def is_label_template(name: str, *, legacy: bool) -> bool:
    """Return whether `name`, which may refer to groups of a regular expression (`$1`), can become a label name."""
    return bool(_LEGACY_TEMPLATE.fullmatch(name)) if legacy else is_label_name(name)


PREFIX, SUFFIX = "^(?s:", ")$"
"""How Prometheus and Alertmanager anchor expressions; before 3.0 without `s`, which does not affect validity."""
_SHOWN = 300


def regex_error(expression: str) -> RegexError | None:
    """Return why the tools refuse `expression`, or None."""
    return check_re2(expression, PREFIX, SUFFIX)


def regex_message(error: RegexError) -> str:
    """Format `error` for a report."""
    reason = error.message if len(error.message) <= _SHOWN else f"{error.message[:_SHOWN]}..."
    return f"invalid regular expression: {reason}"


def parse_regex(text: str) -> str:
    """Parse a regular expression that must match the whole value, or raise `Mismatch`."""
    if error := regex_error(text):
        raise Mismatch("regex", regex_message(error), error.hint, error.offset)
    return text


def anchored_program(expression: str) -> Program | None:
    """Return the program that matches `expression` on whole values; None if it is invalid or too large."""
    regex = parse_re2(PREFIX + expression + SUFFIX)
    return program_of(regex) if isinstance(regex, Regex) else None


_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:")
_NO_SCHEME = re.compile(r"[a-zA-Z0-9+.-]*")
_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2})")
_HOST = re.compile(r"(?:[A-Za-z0-9\-_.~!$&'()*+,;=:\[\]<>\"]|[^\x00-\x7f]|%[89a-fA-F][0-9a-fA-F])*")
_USER = re.compile(r"[A-Za-z0-9\-._:~!$&'()*+,;=%@]*")
_PORT = re.compile(r"(?::[0-9]*)?")


@dataclass(frozen=True, slots=True)
class Url:
    """The parts of a parsed URL that the rules need."""

    scheme: str
    host: str
    path: str
    text: str


def _bad_url(reason: str) -> Mismatch:
    return Mismatch("url", f"invalid URL: {reason}")


def parse_url(text: str) -> Url:
    """Parse a URL as Go does; an empty text is an empty URL. Errors do not quote it: it may contain a password.

    Raises:
        Mismatch: Go refuses it.
    """
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in text):
        raise _bad_url("a URL cannot have control characters")
    rest, _, fragment = text.partition("#")
    _check_escapes(fragment, "fragment")
    scheme, rest = _split_scheme(rest)
    rest, _, _ = rest.partition("?")
    if not rest.startswith("/"):
        if scheme:
            return Url(scheme, "", "", text)
        if ":" in rest.partition("/")[0]:
            raise _bad_url("the first part of a path cannot have a colon; is the scheme missing (http://...)?")
    host = ""
    if rest.startswith("//") and (scheme or not rest.startswith("///")):
        authority, slash, path = rest[2:].partition("/")
        host, rest = _host(authority), slash + path
    _check_escapes(rest, "path")
    return Url(scheme, host, rest, text)


def _split_scheme(text: str) -> tuple[str, str]:
    if text.startswith(":"):
        raise _bad_url("the scheme before the colon is missing")
    match = _SCHEME.match(text)
    return (match[0][:-1].lower(), text[match.end() :]) if match else ("", text)


def _host(authority: str) -> str:
    user, at, host = authority.rpartition("@")
    if at and not _USER.fullmatch(user):
        raise _bad_url("the user information has characters that must be escaped")
    if at:
        _check_escapes(user, "user information")
    if host.startswith("["):
        _check_brackets(host)
    elif ":" in host and not _PORT.fullmatch(host[host.rindex(":") :]):
        raise _bad_url("the port is not a number")
    elif not _HOST.fullmatch(host):
        raise _bad_url("the host has characters that are not allowed in host names")
    return host


def _check_brackets(host: str) -> None:
    end = host.rfind("]")
    if end < 0:
        raise _bad_url("']' is missing in the host")
    if not _PORT.fullmatch(host[end + 1 :]):
        raise _bad_url("the port is not a number")
    address = host[1:end].partition("%25")[0]
    if not _HOST.fullmatch(address):
        raise _bad_url("the host has characters that are not allowed in host names")


def _check_escapes(text: str, part: str) -> None:
    if _BAD_ESCAPE.search(text):
        raise _bad_url(f"the {part} has a '%' that is not followed by two hexadecimal digits")
