"""Patterns of file names as Go's filepath.Match and filepath.Glob have them: https://pkg.go.dev/path/filepath#Match."""

from __future__ import annotations

import re
from functools import lru_cache
from posixpath import join, normpath


class BadGlob(Exception):
    """Go refuses the pattern."""


def check_glob(pattern: str) -> None:
    """Refuse what Go takes for no pattern.

    Raises:
        BadGlob: a bracket that is not closed, an empty one, or a backslash at the end.
    """
    for part in pattern.split("/"):
        _regex(part)


def glob_matches(pattern: str, folder: str, name: str) -> bool:
    """Whether `pattern` of a file in `folder` matches the file `name` of the same bundle.

    A relative pattern counts from `folder`. An absolute one is matched by its end, since a bundle does not know where
    it will lie: /etc/prometheus/rules/*.yml may be rules/*.yml of it, or *.yml of a bundle that is the folder itself.

    Raises:
        BadGlob: not a pattern.
    """
    names = name.split("/")
    if not pattern.startswith("/"):
        return bool(pattern) and _match(normpath(join(folder, pattern)).split("/"), names)
    parts = pattern.strip("/").split("/")
    return len(names) <= len(parts) and _match(parts[len(parts) - len(names) :], names)


def _match(parts: list[str], names: list[str]) -> bool:
    # Every part is read, so that a bad one is found whatever the names are.
    matched = [_regex(part) for part in parts]
    return len(parts) == len(names) and all(regex.fullmatch(name) for regex, name in zip(matched, names, strict=True))


@lru_cache(maxsize=1024)
def _regex(part: str) -> re.Pattern[str]:
    """What a pattern without a slash matches."""
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
                raise BadGlob("a backslash at the end")
        pieces.append({"*": ".*", "?": "."}.get(char) or re.escape(part[at]))
        at += 1
    return re.compile("".join(pieces), re.DOTALL)


def _class(part: str, at: int) -> tuple[str, int]:
    """The class whose bracket is open, and where it ends."""
    negated = part.startswith("^", at)
    at += negated
    ranges: list[str] = []
    while not (part.startswith("]", at) and ranges):
        low, at = _member(part, at)
        high = low
        if part.startswith("-", at):
            high, at = _member(part, at + 1)
        # One that is the wrong way round matches nothing, and is no mistake to Go.
        ranges.append(f"{re.escape(low)}-{re.escape(high)}" if low <= high else "")
    found = "".join(ranges)
    if not found:
        return ("." if negated else "(?!)"), at + 1
    return f"[{'^' if negated else ''}{found}]", at + 1


def _member(part: str, at: int) -> tuple[str, int]:
    if at >= len(part) or part[at] in "-]":
        raise BadGlob("a bracket that is not closed, or an empty one")
    if part[at] == "\\":
        at += 1
    if at + 1 >= len(part):
        raise BadGlob("a bracket that is not closed, or an empty one")
    return part[at], at + 1
