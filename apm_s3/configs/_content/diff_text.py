"""Compares two texts as a unified diff: lines are compared unmasked, and shown with secrets masked. Pure.

So a changed password is a changed line that shows neither password. Lines are matched as they are shown: otherwise, a
file with a line for each possible password would tell which one is stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from apm_s3.configs._content.alignment import Block, changed_blocks, with_unequal
from apm_s3.validators._secrets.known import KnownSecrets, Searched

CONTEXT = 3
MAX_LINES = 5_000
"""Maximum number of lines in the diff of a file."""
MAX_WIDTH = 2_000
"""Maximum number of characters shown per line."""

_NO_NEWLINE = "\\ No newline at end of file"


def unified_diff(old: Searched, new: Searched, known: KnownSecrets, *, old_label: str, new_label: str) -> str:
    """Return the unified diff of two versions of a file, with secrets masked; empty if they are equal.

    A long diff is shortened, as its last line says.
    """
    if old.text == new.text:
        return ""
    masked = _lines(known.masked(old)), _lines(known.masked(new))
    blocks = with_unequal(changed_blocks(*masked), _lines(old.text), _lines(new.text))
    shown = [f"--- {old_label}", f"+++ {new_label}"]
    for line in _hunks(blocks, *masked):
        if len(shown) >= MAX_LINES:
            shown.append(f"... shortened to {MAX_LINES} lines")
            break
        shown.append(line)
    return "\n".join(shown) + "\n"


def _lines(text: str) -> list[str]:
    """Split a text into lines with their line ends; the last line may have none."""
    *whole, rest = text.split("\n")
    return [line + "\n" for line in whole] + ([rest] if rest else [])


def _hunks(blocks: Sequence[Block], old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    for group in _groups(blocks):
        before = min(CONTEXT, group[0][0])
        old_start, new_start = group[0][0] - before, group[0][2] - before
        after = min(CONTEXT, len(old) - group[-1][1])
        old_stop, new_stop = group[-1][1] + after, group[-1][3] + after
        yield f"@@ -{_range(old_start, old_stop)} +{_range(new_start, new_stop)} @@"
        at = old_start
        for removed, kept, added, end in group:
            yield from _marked(" ", old[at:removed])
            yield from _marked("-", old[removed:kept])
            yield from _marked("+", new[added:end])
            at = kept
        yield from _marked(" ", old[at:old_stop])


def _groups(blocks: Sequence[Block]) -> Iterator[list[Block]]:
    """Group blocks whose contexts touch."""
    group = [blocks[0]]
    for block in blocks[1:]:
        if block[0] - group[-1][1] > 2 * CONTEXT:
            yield group
            group = []
        group.append(block)
    yield group


def _range(start: int, stop: int) -> str:
    length = stop - start
    return str(start + 1) if length == 1 else f"{start + 1 if length else start},{length}"


def _marked(mark: str, lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        text = line.removesuffix("\n")
        cut = f"{text[:MAX_WIDTH]}... ({len(text) - MAX_WIDTH} characters more)" if len(text) > MAX_WIDTH else text
        yield mark + cut
        if not line.endswith("\n"):
            yield _NO_NEWLINE
