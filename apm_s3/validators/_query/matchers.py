"""Label matchers of PromQL and LogQL: their regular expressions, and whether they match empty values."""

from __future__ import annotations

import re

from apm_s3.validators._query.literals import source_offset
from apm_s3.validators._query.nodes import Matcher, StringLiteral
from apm_s3.validators._query.problems import QueryProblem
from apm_s3.validators._query.re2.parser import Regex, check_re2, parse_re2

_PREFIX, _SUFFIX = "^(?s:", ")$"
_META = re.compile(r"[\\.+*?()\[\]{}^$]")


def check_regex(value: StringLiteral, text: str) -> None:
    """Check that `value`, a string of the query `text`, is a valid regular expression in Prometheus and Loki.

    Raises:
        QueryProblem: it is not valid, with the position of the invalid part.
    """
    pattern = value.value
    if not is_utf8(pattern):
        # Prometheus does not compile expressions without special characters.
        if _META.search(pattern):
            raise QueryProblem("invalid regular expression: bytes that are not UTF-8", value.start, value.end)
        return
    # Prometheus parses the expression both alone and anchored, so `)(` is refused.
    error = check_re2(pattern) or check_re2(pattern, _PREFIX, _SUFFIX)
    if error is not None:
        start = value.start + source_offset(text[value.start : value.end], error.offset)
        message = f"invalid regular expression: {error.message[:300]}"
        raise QueryProblem(message, start, max(start, value.end - 1), error.hint)


def is_utf8(text: str) -> bool:
    """Return whether the escapes of `text` gave valid UTF-8."""
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


def allows_empty(matcher: Matcher) -> bool:
    """Return whether series without the label match."""
    if matcher.op in ("=", "!="):
        return (matcher.value == "") is (matcher.op == "=")
    regex = parse_re2(_PREFIX + matcher.value + _SUFFIX)
    return (isinstance(regex, Regex) and regex.matches_empty) is (matcher.op == "=~")
