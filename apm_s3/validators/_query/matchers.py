"""Label matchers, which PromQL and LogQL share: their regular expressions, and whether an empty value fits."""

from __future__ import annotations

import re

from apm_s3.validators._grammars.regexes import matches_empty, regex_error, regex_message
from apm_s3.validators._query.nodes import Matcher
from apm_s3.validators._query.problems import QueryProblem

_META = re.compile(r"[\\.+*?()\[\]{}^$]")


def check_matcher(matcher: Matcher, value_start: int, value_end: int) -> None:
    """The value of a `=~` or `!~` is a regular expression. It stands between the two offsets.

    Raises:
        QueryProblem: it is none.
    """
    if matcher.op not in ("=~", "!~"):
        return
    # Prometheus compiles nothing where all characters stand for themselves.
    if is_utf8(matcher.value) or _META.search(matcher.value):
        check_regex(matcher.value, value_start, value_end)


def check_regex(pattern: str, start: int, end: int) -> None:
    """The string between the two offsets, whose value is `pattern`, is a regular expression.

    Raises:
        QueryProblem: it is none.
    """
    if not is_utf8(pattern):
        raise QueryProblem("not a regular expression: bytes that are not UTF-8", start, end)
    if error := regex_error(pattern):
        # Where the string is longer than its value, escapes have moved the place.
        if end - start == len(pattern) + 2:
            start, end = start + 1 + error.offset, end - 1
        raise QueryProblem(regex_message(error), start, end, error.hint)


def is_utf8(text: str) -> bool:
    """Whether no escape of `text` gave a byte that is not UTF-8."""
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


def allows_empty(matcher: Matcher) -> bool:
    """Whether series without the label fit."""
    if matcher.op in ("=", "!="):
        return (matcher.value == "") is (matcher.op == "=")
    return (is_utf8(matcher.value) and matches_empty(matcher.value)) is (matcher.op == "=~")
