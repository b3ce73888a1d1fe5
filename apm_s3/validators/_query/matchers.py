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
    if not is_utf8(matcher.value):
        if not _META.search(matcher.value):
            return
        raise QueryProblem("not a regular expression: bytes that are not UTF-8", value_start, value_end)
    if error := regex_error(matcher.value):
        # Where the string is longer than its value, escapes have moved the place.
        plain = value_end - value_start == len(matcher.value) + 2
        start, end = (value_start + 1 + error.offset, value_end - 1) if plain else (value_start, value_end)
        raise QueryProblem(regex_message(error), start, end, error.hint)


def regex_problem(pattern: str) -> str | None:
    """Why `pattern` is no regular expression, None when it is one."""
    if not is_utf8(pattern):
        return "bytes that are not UTF-8"
    return compile_regex(f"^(?s:{pattern})$")[1]


def is_utf8(text: str) -> bool:
    """Whether no escape of `text` gave a byte that is not UTF-8."""
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


def allows_empty(matcher: Matcher) -> bool:
    """Whether series without the label fit."""
    if matcher.op in ("=", "!="):
        return (matcher.value == "") is (matcher.op == "=")
    return (is_utf8(matcher.value) and matches_empty(matcher.value)) is (matcher.op == "=~")
