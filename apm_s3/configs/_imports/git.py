"""Reads the history of a Git repository with git itself: commits, trees and blobs. Nothing is written.

A repository is input like any other: settings of the repository that name programs (monitors of files, signatures,
hooks, replacements of objects, lazy fetches) are switched off.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from apm_s3._processes import ROOT, clean_environment, find_program
from apm_s3.errors import InvalidOption, ObjectTooLarge

MAX_COMMITS = 100_000
MAX_BYTES = 256 * 1024**2
"""Maximum total size of one revision, as for a directory."""

_SAFE = (
    "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "log.showSignature=false", "-c",
    "core.quotePath=false", "-c", "protocol.allow=never",
)  # fmt: skip
_VARIABLES = {
    "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_REPLACE_OBJECTS": "1", "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "", "LC_ALL": "C",
}  # fmt: skip
_FIELDS = 5
_LFS = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit of the first-parent history."""

    id: str
    author: str
    email: str
    time: datetime
    message: str


class GitRepository:
    """One repository, as of `ref`, below the directory `path` in it."""

    def __init__(self, path: str | os.PathLike[str], ref: str) -> None:
        self._path = Path(path).absolute()
        self._ref = ref
        self._below = ""

    async def open(self) -> str:
        """Find the repository, and return the id of the commit that `ref` names.

        Raises:
            InvalidOption: git is not installed, this is not a repository, or it has no such commit.
        """
        self._below = (await self._git("rev-parse", "--show-prefix")).decode(errors="replace").rstrip("\n")
        found = await self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{self._ref}^{{commit}}")
        return found.decode().strip()

    async def commits(self, head: str) -> list[Commit]:
        """Return the commits that lead to `head` and changed something here, oldest first, along first parents."""
        form = "--format=%H%x00%an%x00%ae%x00%cI%x00%B"
        raw = await self._git(
            "log", "-z", "--first-parent", "--reverse", "--no-color", "--no-mailmap", "--encoding=UTF-8",
            f"--max-count={MAX_COMMITS}", form, head, "--", ".",
        )  # fmt: skip
        parts = raw.decode(errors="replace").split("\0")
        whole = len(parts) // _FIELDS * _FIELDS
        return [_commit(*parts[at : at + _FIELDS]) for at in range(0, whole, _FIELDS)]

    async def tree(self, commit: str) -> dict[str, str]:
        """Return the blobs of all regular files as of a commit, by their paths below the directory.

        Raises:
            InvalidOption: a name is not UTF-8.
        """
        raw = await self._git("ls-tree", "-r", "-z", "--full-tree", commit, *([self._below] if self._below else []))
        found = {}
        for line in raw.split(b"\0"):
            told, _, name = line.partition(b"\t")
            if told.startswith(b"100"):
                try:
                    path = name.decode()
                except UnicodeDecodeError as exc:
                    raise InvalidOption(
                        f"commit {commit[:12]} has a file whose name is not UTF-8", hint="rename it in a new commit"
                    ) from exc
                found[path.removeprefix(self._below)] = told.split()[2].decode()
        return found

    async def contents(self, blobs: Mapping[str, str]) -> dict[str, bytes]:
        """Return the contents of blobs by the names in `blobs`.

        Raises:
            InvalidOption: one is missing, as in a partial clone, or only refers to a file in Git LFS.
            ObjectTooLarge: they have more than `MAX_BYTES` in total.
        """
        wanted = list(dict.fromkeys(blobs.values()))
        raw = await self._git("cat-file", "--batch", feed="".join(f"{each}\n" for each in wanted).encode())
        found = dict(_split_batch(raw, wanted))
        for name, blob in blobs.items():
            if found[blob].startswith(_LFS):
                raise InvalidOption(f"'{name}' is only a reference to a file in Git LFS", hint="import a directory")
        return {name: found[blob] for name, blob in blobs.items()}

    async def _git(self, *arguments: str, feed: bytes | None = None) -> bytes:
        """Run git, and return what it printed; on cancellation it is killed.

        Raises:
            InvalidOption: git failed, or is not installed.
        """
        program = find_program("git")
        if program is None:
            raise InvalidOption("git is not installed", hint="install it, or import the directory")
        process = await asyncio.create_subprocess_exec(
            program, *_SAFE, "-C", str(self._path), *arguments,
            cwd=ROOT, env=clean_environment("HOME", "XDG_CONFIG_HOME") | _VARIABLES,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            out, err = await process.communicate(feed or b"")
        except BaseException:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        if process.returncode:
            told = err.decode(errors="replace").strip().splitlines()
            reason = told[-1][:200] if told else f"git {arguments[0]} exited with {process.returncode}"
            raise InvalidOption(f"'{self._path}' cannot be read with git: {reason}", hint="pass a checkout and its ref")
        return out


def _commit(commit: str, author: str, email: str, time: str, message: str) -> Commit:
    return Commit(commit.strip(), author, email, datetime.fromisoformat(time), message.strip())


def _split_batch(raw: bytes, wanted: Iterable[str]) -> Iterable[tuple[str, bytes]]:
    """Split the output of `git cat-file --batch`: `id type size`, the content and a line break, for each object."""
    at = total = 0
    for blob in wanted:
        end = raw.find(b"\n", at)
        told = raw[at:end].split()
        if end < 0 or len(told) != 3:
            raise InvalidOption(f"the repository lacks the object {blob[:12]}", hint="use a complete clone")
        size = int(told[2])
        total += size
        if total > MAX_BYTES:
            raise ObjectTooLarge(size=total, limit=MAX_BYTES, operation="import")
        yield blob, raw[end + 1 : end + 1 + size]
        at = end + 1 + size + 1
