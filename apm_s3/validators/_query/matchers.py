"""Label matchers, which PromQL and LogQL share: their regular expressions, and whether an empty value fits."""

from __future__ import annotations

import re
from functools import lru_cache

from apm_s3.validators._grammars.regexes import compile_regex
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
    if problem := compile_regex(f"^(?s:{matcher.value})$")[1]:
        raise QueryProblem(f"not a regular expression: {problem}", value_start, value_end)


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
    return _matches_empty(matcher.value) is (matcher.op == "=~")


@lru_cache(maxsize=4096)
def _matches_empty(pattern: str) -> bool:
    compiled = compile_regex(f"^(?s:{pattern})$")[0] if is_utf8(pattern) else None
    return compiled is not None and compiled.search("") is not None
