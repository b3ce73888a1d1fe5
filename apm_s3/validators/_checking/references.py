"""Files that a bundle refers to: by patterns, and secrets and certificates by name."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from posixpath import dirname, join, normpath

from apm_s3.validators._checking.bundles import Member
from apm_s3.validators._grammars.globs import BadGlob, check_glob, glob_matches
from apm_s3.validators._reading.nodes import MAPPING, SCALAR, SEQUENCE, Node, Path
from apm_s3.validators._reading.scalars import is_null

_WRITTEN = frozenset(("query_log_file", "scrape_failure_log_file"))
"""Files that the tool writes."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """One entry of a list of patterns: its text and position."""

    text: str
    node: Node
    path: Path


def patterns_in(root: Node | None, field: str) -> Iterator[Pattern]:
    """Yield the patterns in the list `field` of a document."""
    if root is None or root.kind != MAPPING or field not in root.entries:
        return
    listed = root.entries[field][1]
    for index, item in enumerate(listed.items if listed.kind == SEQUENCE else ()):
        if item.kind == SCALAR:
            yield Pattern("" if is_null(item) else item.text, item, ((None, field), index))


def matching(owner: Member, pattern: Pattern, members: Collection[Member]) -> list[Member] | None:
    """Return the files of the bundle that a pattern in `owner` matches; None after reporting an invalid pattern."""
    try:
        check_glob(pattern.text)
        folder = dirname(owner.name)
        found = [member for member in members if glob_matches(pattern.text, folder, member.name)]
    except BadGlob as exc:
        message = f"{pattern.text[:80]!r} is not a valid pattern: {exc}"
        owner.context.error(pattern.node, pattern.path, "file-glob", message)
        return None
    if pattern.text.startswith("/"):
        # The bundle is in one folder: the longer the match with an absolute pattern, the more certain the folder.
        found = [member for member in found if member is not owner]
        deepest = max((member.name.count("/") for member in found), default=0)
        found = [member for member in found if member.name.count("/") == deepest]
    for member in found:
        member.used = True
    return found


def folders_of(members: Collection[Member]) -> set[str]:
    """Return the folders of the files."""
    found: set[str] = set()
    for member in members:
        folder = dirname(member.name)
        while folder and folder not in found:
            found.add(folder)
            folder = dirname(folder)
    return found


def notice_absent_files(owner: Member, members: Collection[Member]) -> None:
    """Report relative paths of certificates, keys and credentials that are not in the bundle.

    A tool resolves such a path from the folder of its configuration, so the file must be put there in another way.
    """
    names = {member.name for member in members}
    folder = dirname(owner.name)
    for name, node, path in _named_files(owner.root, None):
        if not node.text.startswith("/") and normpath(join(folder, node.text)) not in names:
            message = (
                f"{name} names {node.text[:80]!r}, which is not in this bundle; the tool reads it from the same folder"
            )
            owner.context.notice(node, path, "file-not-in-bundle", message)


def _named_files(node: Node | None, path: Path) -> Iterator[tuple[str, Node, Path]]:
    if node is None or node.kind == SCALAR:
        return
    if node.kind == SEQUENCE:
        for index, item in enumerate(node.items):
            yield from _named_files(item, (path, index))
        return
    for name, (_, value) in node.entries.items():
        if value.kind == SCALAR:
            if name.endswith("_file") and name not in _WRITTEN and value.text and not is_null(value):
                yield name, value, (path, name)
        else:
            yield from _named_files(value, (path, name))
