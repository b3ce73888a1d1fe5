"""Reads what an import takes over: a directory, everything below a prefix in S3, or the history of a Git checkout."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from apm_s3._directories import MAX_BYTES
from apm_s3._tasks import run_all
from apm_s3._tools import TOOLS, Tool
from apm_s3.configs._content.directories import read_directory
from apm_s3.configs._imports.git import Commit, GitRepository
from apm_s3.configs._imports.layouts import Layout
from apm_s3.configs._imports.plans import Contents, ImportRevision, import_write_id
from apm_s3.configs._protocol.objects import ObjectStore
from apm_s3.errors import InvalidOption, ObjectTooLarge

Key = tuple[str, Tool]
"""An environment and a tool."""

_PARALLEL = 32
_SUBJECT = 120
"""The part of a release's message that the log keeps."""
_MAX_AUTHOR, _MAX_MESSAGE = 256, 9_000


@dataclass(frozen=True, slots=True)
class Found:
    """The content of a source.

    Attributes:
        revisions: of all bundles, oldest first.
        left_out: files that belong to no bundle.
    """

    revisions: Sequence[ImportRevision]
    left_out: tuple[str, ...]
    contents: Contents


@dataclass(frozen=True, slots=True)
class Target:
    """The store that is imported to; it is part of every write id."""

    bucket: str
    prefix: str

    def revision(self, key: Key, identity: str, files: Mapping[str, str], commit: Commit | None) -> ImportRevision:
        """Return one revision to import."""
        environment, tool = key
        return ImportRevision(
            environment=environment,
            tool=tool,
            write_id=import_write_id(self.bucket, self.prefix, environment, tool, identity),
            author=None if commit is None else author_of(commit),
            message="" if commit is None else message_of(commit),
            files=files,
            commit=None if commit is None else commit.id,
            committed_at=None if commit is None else commit.time,
        )


async def find_in_directory(path: str | os.PathLike[str], layout: Layout, target: Target) -> Found:
    """Read the bundles of a directory as they are now.

    Raises:
        InvalidRequest: it is not a directory, or contains something that cannot be stored.
    """
    root = Path(path)
    folders, others = await asyncio.to_thread(_folders, root, layout)
    read = [(key, await read_directory(folder, layout.exclude)) for key, folder in folders.items()]
    left_out = [
        f"{folders[key].relative_to(root).as_posix()}/{name}".removeprefix("./")
        for key, found in read
        for name in found.left_out
    ]
    return _as_they_are({key: found.files for key, found in read}, (*others, *sorted(left_out)), target)


def _folders(root: Path, layout: Layout) -> tuple[dict[Key, Path], list[str]]:
    """Return the folder of each bundle, and what else is beside them."""
    if not root.is_dir():
        raise InvalidOption(f"'{root}' is not a directory", hint="pass a directory, or a store for a prefix in S3")
    if layout.environment is not None and layout.tool is not None:
        return {(layout.environment, layout.tool): root}, []
    depth = 2 if layout.environment is None else 1
    found: dict[Key, Path] = {}
    others: list[str] = []
    _descend(root, root, depth, layout, found, others)
    return found, others


def _descend(root: Path, folder: Path, depth: int, layout: Layout, found: dict[Key, Path], others: list[str]) -> None:
    for child in sorted(folder.iterdir()):
        name = child.relative_to(root).as_posix()
        inside = child.is_dir() and not child.is_symlink() and child.name[:1] != "."
        if inside and depth == 1:
            place = layout.place_of(f"{name}/x")
            if place is not None and any(child.iterdir()):
                found[place[:2]] = child
                continue
        if inside and depth > 1 and any((child / tool).is_dir() for tool in TOOLS):
            _descend(root, child, depth - 1, layout, found, others)
        else:
            others.append(f"{name}/" if child.is_dir() else name)


async def find_in_bucket(objects: ObjectStore, layout: Layout, target: Target) -> Found:
    """Read the bundles below a prefix in S3 as they are now."""
    names, total = [], 0
    async with aclosing(objects.list("")) as listing:
        async for info in listing:
            if not info.key.endswith("/"):
                names.append(info.key)
                total += info.size if layout.place_of(info.key) else 0
    if total > MAX_BYTES:
        raise ObjectTooLarge(size=total, limit=MAX_BYTES, operation="import", hint="import one environment at a time")
    sorted_files = layout.sort(names)

    async def read(path: str) -> tuple[str, bytes]:
        return path, (await objects.read(path))[1]

    paths = [path for files in sorted_files.bundles.values() for path in files.values()]
    raw = dict(await run_all((read(path) for path in paths), limit=_PARALLEL))
    bundles = {key: {name: raw[path] for name, path in files.items()} for key, files in sorted_files.bundles.items()}
    return _as_they_are(bundles, sorted_files.left_out, target)


def _as_they_are(bundles: Mapping[Key, Mapping[str, bytes]], left_out: tuple[str, ...], target: Target) -> Found:
    kept: dict[str, Mapping[str, bytes]] = {}
    revisions = []
    for key, files in bundles.items():
        hashes = {name: hashlib.sha256(raw).hexdigest() for name, raw in sorted(files.items())}
        identity = hashlib.sha256("".join(f"{each} {name}\n" for name, each in hashes.items()).encode()).hexdigest()
        revision = target.revision(key, identity, hashes, None)
        revisions.append(revision)
        kept[revision.write_id] = files

    async def contents(revision: ImportRevision) -> Mapping[str, bytes]:
        return kept[revision.write_id]

    return Found(revisions, left_out, contents)


async def find_in_history(path: str | os.PathLike[str], ref: str, layout: Layout, target: Target) -> Found:
    """Read the bundles of a Git checkout as of every commit of its first-parent history.

    Raises:
        InvalidOption: it is not a repository, or has no such commit.
    """
    repository = GitRepository(path, ref)
    head = await repository.open()
    before: dict[Key, Mapping[str, str]] = {}
    revisions: list[ImportRevision] = []
    left_out: tuple[str, ...] = ()
    for commit in await repository.commits(head):
        tree = await repository.tree(commit.id)
        found = layout.sort(tree)
        left_out = found.left_out
        now: dict[Key, Mapping[str, str]] = {
            key: {name: tree[path] for name, path in files.items()} for key, files in found.bundles.items()
        }
        for key in sorted(now.keys() | before.keys()):
            files = now.get(key, {})
            if files != before.get(key, {}):
                revisions.append(target.revision(key, commit.id, files, commit))
        before = now

    async def contents(revision: ImportRevision) -> Mapping[str, bytes]:
        return await repository.contents(revision.files)

    return Found(revisions, left_out, contents)


def author_of(commit: Commit) -> str:
    """Return the author of a commit as a release has it: `Name <address>`."""
    text = f"{commit.author} <{commit.email}>" if commit.email else commit.author
    return "".join(char for char in text if char.isprintable())[:_MAX_AUTHOR] or "unknown"


def message_of(commit: Commit) -> str:
    """Return the message of a commit, with its id and time in the first line, which the log keeps."""
    plain = "".join(char for char in commit.message if char.isprintable() or char in "\n\t")
    first, _, rest = plain.partition("\n")
    mark = f" (commit {commit.id[:12]}, {commit.time.isoformat()})"
    room = _SUBJECT - len(mark)
    subject = first if len(first) <= room else f"{first[: room - 1]}…"
    # A shortened subject is kept whole below.
    body = rest.strip() if subject == first else plain.strip()
    return f"{subject}{mark}" + (f"\n\n{body[:_MAX_MESSAGE]}" if body else "")
