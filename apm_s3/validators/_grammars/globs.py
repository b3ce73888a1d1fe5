"""File name patterns as in Go's filepath.Match and filepath.Glob: https://pkg.go.dev/path/filepath#Match."""

from __future__ import annotations

import re
from functools import lru_cache
from posixpath import join, normpath


class BadGlob(Exception):
    """The pattern is not valid in Go."""


def check_glob(pattern: str) -> None:
    """Check that a pattern is valid in Go.

    Raises:
        BadGlob: a bracket is unclosed or empty, or there is a backslash at the end.
    """
    for part in pattern.split("/"):
        _regex(part)


def glob_matches(pattern: str, folder: str, name: str) -> bool:
    """Return whether `pattern`, from a file in `folder`, matches the file `name` of the same bundle.

    A relative pattern is resolved from `folder`. For an absolute one only its end is matched, because the location of
    a bundle is not known: /etc/prometheus/rules/*.yml may mean rules/*.yml in the bundle, or *.yml if the bundle is
    the folder itself.

    Raises:
        BadGlob: the pattern is not valid.
    """
    names = name.split("/")
    if not pattern.startswith("/"):
        return bool(pattern) and _match(normpath(join(folder, pattern)).split("/"), names)
    parts = pattern.strip("/").split("/")
    return len(names) <= len(parts) and _match(parts[len(parts) - len(names) :], names)


def _match(parts: list[str], names: list[str]) -> bool:
    # Parse every part, to find invalid ones independently of the names.
    matched = [_regex(part) for part in parts]
    return len(parts) == len(names) and all(regex.fullmatch(name) for regex, name in zip(matched, names, strict=True))


@lru_cache(maxsize=1024)
def _regex(part: str) -> re.Pattern[str]:
    """Compile a pattern without a slash."""
    pieces: list[str] = []
    at = 0
    while at < len(part):
        char = part[at]
        if char == "[":
            piece, at = _class(part, at + 1)
            pieces.append(piece)
            continue
        if char == "\\":
            at += 1
            if at == len(part):
                raise BadGlob("there is a backslash at the end")
        pieces.append({"*": ".*", "?": "."}.get(char) or re.escape(part[at]))
        at += 1
    return re.compile("".join(pieces), re.DOTALL)


def _class(part: str, at: int) -> tuple[str, int]:
    """Parse the class after an opening bracket, and return it with its end."""
    negated = part.startswith("^", at)
    at += negated
    ranges: list[str] = []
    while not (part.startswith("]", at) and ranges):
        low, at = _member(part, at)
        high = low
        if part.startswith("-", at):
            high, at = _member(part, at + 1)
        # In Go, a reversed range is valid and matches nothing.
        ranges.append(f"{re.escape(low)}-{re.escape(high)}" if low <= high else "")
    found = "".join(ranges)
    if not found:
        return ("." if negated else "(?!)"), at + 1
    return f"[{'^' if negated else ''}{found}]", at + 1


def _member(part: str, at: int) -> tuple[str, int]:
    if at >= len(part) or part[at] in "-]":
        raise BadGlob("a bracket is not closed, or empty")
    if part[at] == "\\":
        at += 1
    if at + 1 >= len(part):
        raise BadGlob("a bracket is not closed, or empty")
    return part[at], at + 1
