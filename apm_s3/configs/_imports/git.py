"""Reads the history of a Git repository with git itself: commits, trees and blobs. Nothing is written.

A repository is input like any other. Settings of the repository that name programs or protocols (monitors of files,
signatures, hooks, replacements of objects, lazy fetches) are switched off. git lists commits and prints single objects,
each after its size. It does not walk trees, because its own walk has no limits.
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from apm_s3._processes import ROOT, clean_environment, find_program, limit_process
from apm_s3.configs._content.files import MAX_FILE
from apm_s3.errors import InvalidOption, ObjectTooLarge

MINIMUM = (2, 34)
"""The oldest supported version of git."""
MAX_COMMITS = 1_000_000
MAX_BYTES = 256 * 1024**2
"""Maximum total size of one revision, as for a directory."""
MAX_OBJECT = 8 * 1024**2
"""Maximum size of a tree, which has about 200 000 entries then, and of a commit's message."""
DEADLINE = 300.0
"""Seconds that git may take for one answer."""

_MEMORY, _SECONDS, _MAX_ERRORS = 1024**3, 600, 1024**2
"""Limits of a process: bytes, seconds of processor time, bytes of error messages."""
_PIECE = 64 * 1024
_MAX_KEPT = 100_000
"""Maximum number of entries of trees that are kept, as most trees of a commit are those of the one before."""

_SAFE = (
    "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "log.showSignature=false", "-c",
    "core.quotePath=false", "-c", "protocol.allow=never",
)  # fmt: skip
_VARIABLES = {
    "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_REPLACE_OBJECTS": "1", "GIT_NO_LAZY_FETCH": "1",
    # No protocol at all: `protocol.ext.allow` of the repository is stronger than `protocol.allow`.
    "GIT_ALLOW_PROTOCOL": "", "LC_ALL": "C",
}  # fmt: skip
_FORM = "--format=%H%x00%T%x00%an%x00%ae%x00%cI%x00%B"
_FIELDS = 6
_LFS = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit of the first-parent history."""

    id: str
    author: str
    email: str
    time: datetime
    message: str
    tree: str = ""


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """An entry of a tree: a folder, a regular file, or something else, such as a link or a submodule."""

    name: str
    id: str
    is_folder: bool
    is_file: bool


class GitRepository:
    """One repository, as of `ref`, below the directory `path` in it."""

    def __init__(self, path: str | os.PathLike[str], ref: str) -> None:
        self._path = Path(path).absolute()
        self._ref = ref
        self._below = ""

    async def open(self) -> str:
        """Find the repository, and return the id of the commit that `ref` names.

        Raises:
            InvalidOption: git is not installed, or too old; this is not a repository, or it has no such commit.
        """
        version = re.search(rb"(\d+)\.(\d+)", await self._git("--version"))
        if version is None or (int(version[1]), int(version[2])) < MINIMUM:
            needed = ".".join(map(str, MINIMUM))
            raise InvalidOption(f"git is older than {needed}", hint="install a newer git, or import the directory")
        self._below = (await self._git("rev-parse", "--show-prefix")).decode(errors="replace").rstrip("\n")
        found = await self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{self._ref}^{{commit}}")
        return found.decode().strip()

    async def commits(self, head: str) -> AsyncGenerator[Commit]:
        """Yield the commits that lead to `head`, oldest first, along first parents.

        Raises:
            InvalidOption: there are more than `MAX_COMMITS`, or one is larger than `MAX_OBJECT`.
        """
        count = 0
        arguments = (
            "log", "-z", "--first-parent", "--reverse", "--no-color", "--no-mailmap", "--encoding=UTF-8",
            f"--max-count={MAX_COMMITS + 1}", _FORM, head, "--",
        )  # fmt: skip
        async with self._started(*arguments) as git, aclosing(_records(git)) as records:
            async for fields in records:
                count += 1
                if count > MAX_COMMITS:
                    hint = "use a clone with a shorter history (git clone --depth), or import the directory"
                    raise InvalidOption(f"the history has more than {MAX_COMMITS} commits", hint=hint)
                yield _commit(*fields)

    @asynccontextmanager
    async def objects(self) -> AsyncIterator[GitObjects]:
        """Return a reader of objects, which has a process of its own."""
        async with self._started("cat-file", "--batch") as git:
            yield GitObjects(git, self._below)

    async def contents(self, blobs: Mapping[str, str]) -> dict[str, bytes]:
        """Return the contents of blobs by the names in `blobs`.

        Raises:
            InvalidOption: one is missing, as in a partial clone, or only refers to a file in Git LFS.
            ObjectTooLarge: one is larger than a file may be, or they have more than `MAX_BYTES` in total.
        """
        found: dict[str, bytes] = {}
        total = 0
        async with self.objects() as objects:
            for name, blob in blobs.items():
                if blob not in found:
                    found[blob] = await objects.read(blob, "blob", min(MAX_FILE, MAX_BYTES))
                total += len(found[blob])
                if total > MAX_BYTES:
                    raise ObjectTooLarge(size=total, limit=MAX_BYTES, operation="import")
                if found[blob].startswith(_LFS):
                    raise InvalidOption(f"'{name}' is only a reference to a file in Git LFS", hint="import a directory")
        return {name: found[blob] for name, blob in blobs.items()}

    async def _git(self, *arguments: str) -> bytes:
        """Run git, and return the beginning of what it printed."""
        async with self._started(*arguments) as git:
            out = await git.read(_PIECE)
            await git.end()
            return out

    @asynccontextmanager
    async def _started(self, *arguments: str) -> AsyncIterator[_Git]:
        """Start git, and end it afterwards; on cancellation too.

        Raises:
            InvalidOption: git is not installed.
        """
        program = find_program("git")
        if program is None:
            raise InvalidOption("git is not installed", hint="install it, or import the directory")
        with tempfile.TemporaryFile() as errors:
            process = await asyncio.create_subprocess_exec(
                program, *_SAFE, "-C", str(self._path), *arguments,
                cwd=ROOT, env=clean_environment("HOME", "XDG_CONFIG_HOME") | _VARIABLES,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=errors,
            )  # fmt: skip
            try:
                limit_process(process.pid, memory=_MEMORY, seconds=_SECONDS, written=_MAX_ERRORS)
                yield _Git(process, errors, f"'{self._path}'", arguments[0])
            finally:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()


class _Git:
    """A running git."""

    def __init__(self, process: asyncio.subprocess.Process, errors: IO[bytes], where: str, what: str) -> None:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("it was started with pipes")
        self._process = process
        self._in, self._out = process.stdin, process.stdout
        self._errors = errors
        self._where = where
        self._what = what

    async def ask(self, line: str) -> bytes:
        """Write a line, and return the line that answers it."""
        async with self._answering():
            self._in.write(f"{line}\n".encode())
            await self._in.drain()
            return (await self._out.readuntil(b"\n"))[:-1]

    async def read_exactly(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        async with self._answering():
            return await self._out.readexactly(size)

    async def read(self, size: int) -> bytes:
        """Return the next bytes, up to `size`; none at the end."""
        async with self._answering():
            return await self._out.read(size)

    async def end(self) -> None:
        """Wait until it ends.

        Raises:
            InvalidOption: it failed.
        """
        async with self._answering():
            self._in.close()
            # What nobody reads would keep it from ending.
            while await self._out.read(_PIECE):
                pass
            if await self._process.wait():
                raise self._failure()

    @asynccontextmanager
    async def _answering(self) -> AsyncIterator[None]:
        """Raise an `InvalidOption` if git ends or takes too long."""
        try:
            async with asyncio.timeout(DEADLINE):
                yield
        except (EOFError, ConnectionError, asyncio.LimitOverrunError) as exc:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
            raise self._failure() from exc
        except TimeoutError as exc:
            raise self._refusal(f"git {self._what} took more than {DEADLINE:g} seconds") from exc

    def _failure(self) -> InvalidOption:
        self._errors.seek(0)
        told = self._errors.read(_MAX_ERRORS).decode(errors="replace").strip().splitlines()
        ended = f"git {self._what} exited with {self._process.returncode}"
        return self._refusal(told[-1][:200] if told else ended)

    def _refusal(self, reason: str) -> InvalidOption:
        return InvalidOption(f"{self._where} cannot be read with git: {reason}", hint="pass a checkout and its ref")


class GitObjects:
    """Reads the objects of a repository, one after the other."""

    def __init__(self, git: _Git, below: str) -> None:
        self._git = git
        self._below = below.split("/")[:-1]
        self._kept: dict[str, tuple[TreeEntry, ...]] = {}
        self._size = 0

    async def read(self, name: str, kind: str, limit: int) -> bytes:
        """Return the content of an object.

        Raises:
            InvalidOption: it is missing, or of another kind.
            ObjectTooLarge: it has more than `limit` bytes; it is not read then.
        """
        told = (await self._git.ask(name)).decode(errors="replace").split()
        if len(told) != 3:
            raise InvalidOption(f"the repository lacks the object {name[:12]}", hint="use a complete clone")
        size = int(told[2])
        if size > limit:
            hint = f"it is the {told[1]} {name[:12]}; import a history without it, or the directory"
            raise ObjectTooLarge(size=size, limit=limit, operation="import", hint=hint)
        content = await self._git.read_exactly(size + 1)
        if told[1] != kind:
            raise InvalidOption(f"the object {name[:12]} is a {told[1]}, not a {kind}", hint="use a complete clone")
        return content[:-1]

    async def top(self, tree: str) -> tuple[TreeEntry, ...]:
        """Return the entries of the repository's directory in the tree of a commit; none if it does not have it."""
        entries = await self.entries(tree)
        for folder in self._below:
            inner = next((each.id for each in entries if each.is_folder and each.name == folder), None)
            entries = () if inner is None else await self.entries(inner)
        return entries

    async def entries(self, tree: str) -> tuple[TreeEntry, ...]:
        """Return the entries of a tree. A name that is not UTF-8 has lone surrogates.

        Raises:
            InvalidOption: it is missing or damaged.
        """
        found = self._kept.get(tree)
        if found is None:
            raw = await self.read(tree, "tree", MAX_OBJECT)
            try:
                found = _entries_of(raw, len(tree) // 2)
            except ValueError as exc:
                raise InvalidOption(f"the tree {tree[:12]} is damaged", hint="use another clone") from exc
            self._size += len(found) + 1
            if self._size > _MAX_KEPT:
                self._kept, self._size = {}, len(found) + 1
            self._kept[tree] = found
        return found


def _entries_of(raw: bytes, width: int) -> tuple[TreeEntry, ...]:
    """Parse a tree: mode, space, name, NUL and an id of `width` bytes for each entry."""
    found, at = [], 0
    while at < len(raw):
        end = raw.index(b"\0", at)
        mode, _, name = raw[at:end].partition(b" ")
        at = end + 1 + width
        if at > len(raw):
            raise ValueError("the last id is cut off")  # git would take it for the abbreviation of another
        text = name.decode("utf-8", "surrogateescape")
        found.append(TreeEntry(text, raw[end + 1 : at].hex(), mode == b"40000", mode.startswith(b"100")))
    return tuple(found)


async def _records(git: _Git) -> AsyncGenerator[list[str]]:
    """Yield the fields of each commit that git prints."""
    fields: list[str] = []
    held = bytearray()
    while piece := await git.read(_PIECE):
        for index, part in enumerate(piece.split(b"\0")):
            if index:
                fields.append(held.decode(errors="replace"))
                held.clear()
            if len(fields) == _FIELDS:
                yield fields
                fields = []
            held += part
            if len(held) > MAX_OBJECT:
                where = f"commit {fields[0][:12]}" if fields else "a commit"
                raise InvalidOption(
                    f"{where} has more than {MAX_OBJECT} bytes", hint="import a later history, or a directory"
                )
    await git.end()


def _commit(commit: str, tree: str, author: str, email: str, time: str, message: str) -> Commit:
    try:
        moment = datetime.fromisoformat(time)
    except ValueError as exc:
        raise InvalidOption(f"commit {commit[:12]} has no valid time", hint="import the directory") from exc
    return Commit(commit, author, email, moment, message.strip(), tree)
