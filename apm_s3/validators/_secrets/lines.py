"""Finds secrets in texts that are not parsed: comments, other formats, configurations inside values. Pure.

The search goes line by line: the name of a secret, the rest of its line, and the lines that continue its value. Every
search is bounded, so that it takes at most linear time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

from apm_s3.validators._secrets.names import ENDINGS
from apm_s3.validators._secrets.shapes import OVERLAP, PIECE, is_elsewhere

Place = tuple[int, int]
"""Start and end of a secret."""

BLANK = r"[\s\u00ad\u200b-\u200f\u2060\ufeff]"
"""Every kind of blank, including those of no width, which no parser of a configuration treats as blanks."""
_ENDS = "|".join(ENDINGS).replace("_", "[-_. ]?")
_NAMES = rf"(?:(?:{_ENDS}|(?<![a-z0-9])(?:authorization|cookie|pass|pwd|psk))(?:_?\d{{1,3}})?)"
NAME = rf"{_NAMES}[\"']?{BLANK}{{0,64}}(?::?=>?|:|->){BLANK}{{0,64}}"
"""The name of a secret, and everything between it and its value."""
_VALUE = rf"(?:{NAME}(?=\S|$)|{_NAMES}s[\"']?:[ \t]{{0,64}}(?=\[|$))"
"""`tokens: 5` is a count of tokens; `tokens:` is followed by a list of them."""
_LEAD = r"[ \t]*(?:[#;]+|//+)?[ \t]*(?:- )?(?:export |set )?[\"']?[\w.-]{0,64}?"
_FIRST = _LEAD + _VALUE
_ASSIGNED = rf"{_LEAD}{_NAMES}[\"']?[ \t]{{0,64}}=(?![=~>])[ \t]{{0,64}}(\S)"
_WORD_ASSIGNED = rf"{_LEAD}{_NAMES}[\"']?:[ \t]{{1,64}}((?=\S*\d)\S+)$"
"""`password: hunter2` as a one-line value. Without a digit it may be a sentence, such as `Password: expired`."""
_WORD = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'|\$\{[^}\n]*\}|\{\{[^\n]*?\}\}|[^\s\"',;}\])]+")
_ENDED = re.compile(r"\s*(?:$|[,;}\])#\"'])|\s+/[/*]")
"""The end of a value."""

_MARK = re.compile(r"[ \t]*(?:[#;]+|//+)")
_COMMENT_MARKS = "#;"
_ITEM = re.compile(r"[ \t]*(?:- +)*")
_HEAD = re.compile(r"[|>][-+]?\d?[-+]?(?=\s)")
_BLOCK = re.compile(r"[|>][-+]?\d?[-+]?(?:\s+#.*)?$")
"""The head of a YAML block."""
_QUOTES = ('"""', "'''", '"', "'", "`")
_MAX_QUOTED = 100
"""Most lines to search for the end of a quoted value."""
_KEY = re.compile(r"[ \t]*(?:- )?[\"']?[\w.-]+[\"']?\s*[:=]|[ \t]*\[[^\]]*\]\s*$")
_PLAIN = r"(?:sha|md|hs|rs|es|aes|base|utf|oauth|pbkdf|x|rfc|ed|http|ipv|iso)-?\d+"
"""Words that have letters and digits, and are no secrets: `sha256`, `base64`, `oauth2`."""
_BESIDE = (
    rf"{_NAMES}[ \t]{{1,16}}(?:(?:is|was)[ \t]{{1,16}})?[\"'`]?"
    rf"(?!(?:{_PLAIN}|\d+[a-z]{{1,2}}|v\d+(?:alpha|beta)\d*|(?-i:[a-z0-9]+(?:[-_./:][a-z0-9]+)+|[A-Z0-9]+(?:[-_][A-Z0-9]+)+))(?![^\s\"'`,;.)]))"
    r"((?=[^\s]{0,64}[a-z])(?=[^\s]{0,64}\d)[^\s\"'`,;<>(){}$/]{6,256})"
)
"""`password hunter2` in a comment: without a colon, only a word with letters and digits is taken for the secret.

Prose has none behind such a name, except for the words above and for names of things, as in `secret grafana-ldap-1`.
"""
_TOLD = re.compile(r"[:=]\s+(\S.*)|(?<!\S)(?=\S*\d)(\S{4,})")
"""A possible secret in the comment after a value that only says where the secret is."""


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """Compile a pattern that contains the names of secrets, which takes milliseconds, when a text first needs it."""
    return re.compile(pattern, re.IGNORECASE)


class _Line(NamedTuple):
    """A line, or the comment in it, and where it begins."""

    start: int
    text: str


def in_any_line(text: str) -> Iterator[Place]:
    """Find secrets in a text of unknown format, or one that could not be parsed completely."""
    return _found(_lines_of(text), _search)


def in_comments(text: str) -> Iterator[Place]:
    """Find secrets in the comments of a text."""
    for run in _comments_of(text):
        yield from _found(run, _search)
        for line in run:
            yield from (
                (line.start + told.start(1), line.start + told.end(1)) for told in compiled(_BESIDE).finditer(line.text)
            )


def in_first_words(text: str) -> Iterator[Place]:
    """Find secrets in a configuration inside a value, where names only occur at the start of a line.

    Elsewhere in a line, `token="x"` can be part of an expression.
    """
    if "\n" in text.strip():
        yield from _found(_lines_of(text), _match)
    elif match := compiled(_ASSIGNED).match(text) or compiled(_WORD_ASSIGNED).match(text):
        rest = text[match.start(1) :].rstrip()
        if _elsewhere(rest) is None:
            yield match.start(1), match.start(1) + len(rest)


def in_blocks(text: str) -> Iterator[Place]:
    """Find YAML blocks under the names of secrets, in a format that has no blocks."""
    return _found(_lines_of(text), _heads)


def behind(text: str, stop: int, *, is_secret: bool) -> Place | None:
    """Find a possible secret in the comment after the value of a secret's name, which ends at `stop`.

    Args:
        is_secret: whether the value is a secret. Then the whole comment may be one too, such as an older password.
    """
    end = text.find("\n", stop)
    rest = text[stop : len(text) if end < 0 else end]
    comment = re.match(r"[\s,}\]\"']*[#;]\s*(?=\S)", rest)
    if comment is None:
        return None
    if is_secret:
        return stop + comment.end(), stop + len(rest.rstrip())
    told = _TOLD.search(rest, comment.end())
    return None if told is None else (stop + told.start(1 if told[1] else 2), stop + len(rest.rstrip()))


def behind_head(text: str, start: int) -> Place | None:
    """Find a possible secret in the comment after the head of a YAML block that begins at `start`."""
    head = _HEAD.match(text, start)
    return None if head is None else behind(text, head.end(), is_secret=True)


# --------------------------------------------------------------------------------------------------------------


def _lines_of(text: str) -> list[_Line]:
    lines, start = [], 0
    for line in text.split("\n"):
        lines.append(_Line(start, line))
        start += len(line) + 1
    return lines


def _comments_of(text: str) -> Iterator[list[_Line]]:
    """Yield the comments of a text, with consecutive ones grouped."""
    run: list[_Line] = []
    start = 0
    for line in text.split("\n"):
        at = min((at for mark in _COMMENT_MARKS if (at := line.find(mark)) >= 0), default=-1)
        if at >= 0:
            whole = not line[:at].strip()
            if not whole and run:
                yield run
                run = []
            body = line[at:].lstrip(_COMMENT_MARKS)
            run.append(_Line(start + len(line) - len(body), body))
            if not whole:
                yield run
                run = []
        elif run:
            yield run
            run = []
        start += len(line) + 1
    if run:
        yield run


def _found(lines: Sequence[_Line], find: Callable[[str], Iterator[int]]) -> Iterator[Place]:
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        for place in find(line.text):
            rest = line.text[place:].strip()
            if _elsewhere(rest) is None:
                yield line.start + place, line.start + len(line.text.rstrip())
            elif told := behind_head(line.text, place) or behind(line.text, place + len(rest), is_secret=False):
                yield line.start + told[0], line.start + told[1]
            more = _continued(lines, at, rest)
            yield from (
                (each.start + len(each.text) - len(each.text.lstrip()), each.start + len(each.text.rstrip()))
                for each in lines[at : at + more]
                if each.text.strip()
            )
            at += more
            break


def _search(line: str) -> Iterator[int]:
    """Yield the starts of values after names of secrets, skipping values that only say where the secret is."""
    last: int | None = None
    anywhere = compiled(_VALUE)
    for start in range(0, max(len(line), 1), PIECE):
        at = start
        while match := anywhere.search(line, at, start + PIECE + OVERLAP):
            last = match.end()
            elsewhere = _elsewhere(line[last : last + PIECE])
            if elsewhere is None:
                yield last
                return
            at = last + max(elsewhere, 1)
    if last is not None:
        yield last


def _match(line: str) -> Iterator[int]:
    if (match := compiled(_FIRST).match(line)) is not None:
        yield match.end()


def _heads(line: str) -> Iterator[int]:
    yield from (at for at in _match(line) if _BLOCK.match(line[at:].rstrip()))


def _continued(lines: Sequence[_Line], at: int, rest: str) -> int:
    """Count the lines from `at` on that belong to the value `rest` of the line before them."""
    if rest.endswith("\\"):
        return _by_backslash(lines, at)
    if quoted := _by_quote(lines, at, rest):
        return quoted
    head = lines[at - 1]
    column = _column_of_key(head)
    commented = _MARK.match(head.text) is not None
    count = 0
    for number in range(1, len(lines) - at + 1):
        text = lines[at + number - 1].text
        if not text.strip():
            continue
        blank = mark.end() if commented and (mark := _MARK.match(text)) else 0
        begins = blank + len(text[blank:]) - len(text[blank:].lstrip(" \t"))
        if begins <= column or (not _BLOCK.match(rest) and _KEY.match(text, blank)):
            break
        count = number
    return count


def _column_of_key(line: _Line) -> int:
    mark = _MARK.match(line.text)
    item = _ITEM.match(line.text, mark.end() if mark else 0)
    return item.end() if item else 0


def _by_backslash(lines: Sequence[_Line], at: int) -> int:
    last = at
    while last < len(lines) and lines[last].text.rstrip().endswith("\\"):
        last += 1
    return min(last + 1, len(lines)) - at


def _by_quote(lines: Sequence[_Line], at: int, rest: str) -> int:
    quote = next((each for each in _QUOTES if rest.startswith(each)), None)
    if quote is None or quote in rest[len(quote) :]:
        return 0
    for number, line in enumerate(lines[at : at + _MAX_QUOTED], start=1):
        if quote in line.text:
            return number
    return 0


def _elsewhere(rest: str) -> int | None:
    """Return how much of the text after a secret's name only says where it is; None if it may be the secret."""
    if _BLOCK.match(rest):
        return len(rest)
    word = _WORD.match(rest)
    # Another value may follow only after the end of this one.
    if word is not None and is_elsewhere(word[0].strip("\"'")) and _ENDED.match(rest, word.end()):
        return word.end()
    return len(rest) if is_elsewhere(rest.strip("\"'")) else None
