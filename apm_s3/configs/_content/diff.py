"""Differences between files and bundles: by structure, and as text with secrets masked.

So a changed password is a changed line that shows neither password. Lines are matched as they are shown: otherwise, a
file with a line for each possible password would tell which one is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from apm_s3.configs._content.overlays import secrets_in
from apm_s3.configs._content.structure import Block, Change, Kind, changed_blocks, differences, with_unequal
from apm_s3.errors import ConfigInvalid
from apm_s3.validators import parse_document
from apm_s3.validators._reading.documents import Format
from apm_s3.validators._secrets.known import KnownSecrets, Searched, marked
from apm_s3.validators._secrets.texts import decode

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
            yield from _prefixed(" ", old[at:removed])
            yield from _prefixed("-", old[removed:kept])
            yield from _prefixed("+", new[added:end])
            at = kept
        yield from _prefixed(" ", old[at:old_stop])


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


def _prefixed(mark: str, lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        text = line.removesuffix("\n")
        cut = f"{text[:MAX_WIDTH]}... ({len(text) - MAX_WIDTH} characters more)" if len(text) > MAX_WIDTH else text
        yield mark + cut
        if not line.endswith("\n"):
            yield _NO_NEWLINE


MAX_CHANGES = 5_000
"""Maximum number of changes in the structural diff of a file."""
_KEPT = 4 * 1024**2
"""Characters of a diff's texts up to which they are read only once, which takes memory."""


@dataclass(frozen=True, slots=True)
class FileDiff:
    """The differences of one file.

    Attributes:
        kind: whether the file was added, removed or changed.
        text: the unified diff; empty if a side is not text.
        changes: the structural diff; empty if only comments, layout or order changed, None if there is none.
        note: why there is no text or structure, or that it was shortened; None if it is complete.
    """

    name: str
    kind: Kind
    text: str
    changes: tuple[Change, ...] | None
    note: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON."""
        changes = None if self.changes is None else [change.to_dict() for change in self.changes]
        return {"name": self.name, "kind": self.kind, "text": self.text, "changes": changes, "note": self.note}


@dataclass(frozen=True, slots=True)
class BundleDiff:
    """The differences of two bundles; `files` has only files that differ, by name.

    Attributes:
        old, new: labels of both sides: "staging#3", "./prometheus".
    """

    old: str
    new: str
    files: tuple[FileDiff, ...]

    def __bool__(self) -> bool:
        """Return whether there are differences."""
        return bool(self.files)

    def __str__(self) -> str:
        """Return all diffs, and a line for each file without one."""
        return "".join(each.text or f"{each.name}: {each.kind} ({each.note or 'empty'})\n" for each in self.files)

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON."""
        return {"old": self.old, "new": self.new, "files": [each.to_dict() for each in self.files]}


def diff_bundles(
    old: Mapping[str, bytes],
    new: Mapping[str, bytes],
    *,
    old_label: str,
    new_label: str,
    inputs: tuple[Mapping[str, bytes], Mapping[str, bytes]] = ({}, {}),
) -> BundleDiff:
    """Compare two bundles. The cost per file is limited; equal files are not read.

    Args:
        inputs: files of both bundles that show what an overlay made a secret of. Whatever is a secret there, or in any
            of the files that differ, is masked everywhere.
    """
    differ = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    both = tuple(zip((old, new), inputs, strict=True))
    sides = [[_search(name, side.get(name, b""), others) for side, others in both] for name in differ]
    more = [[_search(name, raw, {}) for each in inputs for name, raw in each.items()]] if differ else []
    keeps = sum(len(side.text) for each in sides for side in each if side is not None) <= _KEPT
    known = KnownSecrets(_secrets([*sides, *more], keeps=keeps))
    found = []
    for name, (before, after) in zip(differ, sides, strict=True):
        label = "/dev/null" if name not in old else f"{old_label}/{name}"
        new_name = "/dev/null" if name not in new else f"{new_label}/{name}"
        found.append(_diff_file(name, (old.get(name), new.get(name)), before, after, known, (label, new_name)))
    return BundleDiff(old_label, new_label, tuple(found))


def _search(name: str, raw: bytes, others: Mapping[str, bytes]) -> Searched | None:
    text = decode(raw)
    return None if text is None else Searched(name, text, secrets_in(name, raw, others) or ())


def _secrets(sides: Iterable[Iterable[Searched | None]], *, keeps: bool) -> Iterator[str]:
    for each in sides:
        for side in each:
            if side is not None:
                yield from side.secrets()
                if not keeps:
                    side.forget()


def _diff_file(
    name: str,
    raws: tuple[bytes | None, bytes | None],
    before: Searched | None,
    after: Searched | None,
    known: KnownSecrets,
    labels: tuple[str, str],
) -> FileDiff:
    old, new = raws
    kind: Kind = "added" if old is None else "removed" if new is None else "changed"
    if before is None or after is None:
        sizes = f"{len(old or b'')} to {len(new or b'')} bytes"
        return FileDiff(name, kind, "", None, f"not text, {sizes}")
    text = unified_diff(before, after, known, old_label=labels[0], new_label=labels[1])
    if kind != "changed":
        return FileDiff(name, kind, text, None)
    changes, note = _structural(before, after, known)
    return FileDiff(name, kind, text, changes, note if text else "only its encoding changed")


def _structural(old: Searched, new: Searched, known: KnownSecrets) -> tuple[tuple[Change, ...] | None, str | None]:
    form = old.form
    if form is None:
        return None, "no structural diff for this kind of file"
    try:
        found: Iterator[Change] = (each.masked(known) for each in differences(_marked(old, form), _marked(new, form)))
        changes = tuple(islice(found, MAX_CHANGES + 1))
    except ConfigInvalid:
        # The message could quote the text, including a secret.
        return None, f"no structural diff: a side cannot be parsed as {form.upper()}"
    if len(changes) > MAX_CHANGES:
        return changes[:MAX_CHANGES], f"shortened to {MAX_CHANGES} changes"
    return changes, None


def _marked(searched: Searched, form: Format) -> Any:
    data = parse_document(searched.text, form, tagged=True)
    steps = searched.secret_steps()
    return marked(data, steps) if steps else data
