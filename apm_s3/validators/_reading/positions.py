"""Finds the source position of a character in a scalar's text, despite folding, indentation and escapes.

It walks through the text and its source together. If they disagree, it returns no position, so that unknown styles cost
precision but never give a wrong position.
"""

from __future__ import annotations

import re
from bisect import bisect_right

_BREAK = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")
_PROPERTIES = re.compile(r"(?:[!&][^\s]*[ \t\r\n]+)*")
_FOLD = re.compile(r"[ \t]*(?:\r\n|[\n\r\x85\u2028\u2029])(?:[ \t]*(?:\r\n|[\n\r\x85\u2028\u2029]))*[ \t]*")
_JOIN = re.compile(r"\\(?:\r\n|[\n\r\x85\u2028\u2029])[ \t]*(?:(?:\r\n|[\n\r\x85\u2028\u2029])[ \t]*)*")
_ESCAPE = re.compile(
    r"\\(?:x[0-9a-fA-F]{2}|u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)"
)
_HEADER = re.compile(r"[|>](?:[+-]?([1-9])?[+-]?)[ \t]*(?:#[^\r\n]*)?(?:\r\n|[\n\r\x85\u2028\u2029])")


class Positions:
    """The lines of a source, counted once, on first use."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._starts: list[int] = []

    def in_scalar(self, line: int, column: int, text: str, offset: int) -> tuple[int, int] | None:
        """Return line and column, from 1, of `text[offset]`, for a scalar that begins at `line` and `column`.

        None if they cannot be determined.
        """
        source = self._source
        if not self._starts:
            self._starts = [0, *(found.end() for found in _BREAK.finditer(source))]
        if not 0 < line <= len(self._starts):
            return None
        first = self._starts[line - 1]
        match = _PROPERTIES.match(source, first + column - 1)
        start = match.end() if match else first
        style = source[start : start + 1]
        if style in ("|", ">"):
            at = _in_block(source, first, start, text, offset)
        elif style in ('"', "'"):
            at = _in_flow(source, start + 1, text, offset, style)
        else:
            at = _in_flow(source, start, text, offset, "")
        if at is None:
            return None
        row = bisect_right(self._starts, at)
        return row, at - self._starts[row - 1] + 1


def _in_flow(source: str, at: int, text: str, offset: int, quote: str) -> int | None:
    """Find the position in a plain or quoted scalar."""
    done = 0
    while done <= offset:
        written, length = _flow_piece(source, at, quote, text[done : done + 1])
        if written is None or text[done : done + len(written)] != written:
            return at if done == offset else None
        # The characters of a fold are at the end of the line.
        if done + len(written) > offset and length:
            return at
        done += len(written)
        at += length
        if not length:
            return at if done == offset else None
    return None


def _flow_piece(source: str, at: int, quote: str, expected: str) -> tuple[str | None, int]:
    """Return the text at `at`, and its length in the source."""
    char = source[at : at + 1]
    if not char:
        return None, 0
    if quote == "'" and char == "'":
        return ("'", 2) if source[at + 1 : at + 2] == "'" else (None, 0)
    if quote == '"' and char == '"':
        return None, 0
    if quote == '"' and char == "\\":
        joined = _JOIN.match(source, at)
        escape = joined or _ESCAPE.match(source, at)
        return ("", joined.end() - at) if joined else (expected, escape.end() - at if escape else 1)
    if char in " \t\r\n\x85\u2028\u2029" and (fold := _FOLD.match(source, at)):
        breaks = len(_BREAK.findall(fold[0]))
        return ("\n" * (breaks - 1) if breaks > 1 else " ", len(fold[0]))
    return char, 1


def _in_block(source: str, first: int, start: int, text: str, offset: int) -> int | None:
    header = _HEADER.match(source, start)
    if header is None:
        return None
    at, done, indent = header.end(), 0, None
    folded = source[start] == ">"
    while done <= offset and at < len(source):
        found = _BREAK.search(source, at)
        end = found.start() if found else len(source)
        line = source[at:end]
        if line.strip(" \t") or (indent is not None and len(line) > indent):
            if indent is None:
                indent = _block_indent(source[first:start], header[1], line)
            content = line[indent:]
            # Two lines are joined by a space or line breaks; the text shows how many.
            while folded and not text.startswith(content, done) and text[done : done + 1] in (" ", "\n"):
                done += 1
            if not text.startswith(content, done):
                return None
            if done <= offset <= done + len(content):
                return at + indent + offset - done
            done += len(content)
            if not folded:
                done += 1
        elif not folded:
            done += 1
        at = found.end() if found else len(source)
    return None


def _block_indent(before: str, explicit: str | None, line: str) -> int:
    """Return the indentation of a block whose first line is `line`; `before` precedes its header on the same line."""
    own = len(line) - len(line.lstrip(" "))
    if explicit is None:
        return own
    # An explicit indicator is relative to the parent, whose indentation is that of the line with the key.
    return min(own, len(before) - len(before.lstrip(" -")) + int(explicit))
