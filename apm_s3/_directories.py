"""Reads a directory as a bundle: the files that an upload of it would store. Async code runs it in a thread.

The files of a bundle are all regular files in the directory, by their relative paths, except those whose name or parent
folder begins with a dot (version control, editors, `..data` of Kubernetes volumes); the environment's overlay,
`.apm/overlay.yml`, is included. A symbolic link to a file counts as that file if it stays inside the directory, as in
Kubernetes' mounted ConfigMaps. Links that lead out, linked folders and other kinds of files are refused, unless
`exclude` matches them.
"""

from __future__ import annotations

import os
import re
import stat
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from functools import lru_cache
from pathlib import Path

from apm_s3._beneath import Below
from apm_s3._hints import Advice
from apm_s3._naming import OVERLAY, check_file_name
from apm_s3.errors import InvalidOption, ObjectTooLarge

MAX_FILES = 10_000
MAX_BYTES = 256 * 1024**2
"""Maximum total size of a directory; all files are held in memory."""

EXCLUDED = (
    "README*", "LICENSE*", "CHANGELOG*", "*.md", "*.bak", "*.old", "*.orig", "*.rej", "*.swp", "*.tmp", "*~", "#*#",
    "*.pyc", "__pycache__", "node_modules", "Thumbs.db", "desktop.ini",
)  # fmt: skip
"""Files that are not part of a configuration: notes, backup files of editors and merges, caches."""


@dataclass(frozen=True, slots=True)
class Directory:
    """The contents of a directory.

    Attributes:
        files: by name, in order.
        left_out: the omitted files and folders, in order; the contents of omitted folders are not listed.
    """

    files: Mapping[str, bytes] = field(repr=False)
    left_out: tuple[str, ...] = ()


class Stopped(Exception):
    """The caller was cancelled."""


def check_stop(stop: threading.Event | None) -> None:
    """Stop the work of a cancelled caller.

    Raises:
        Stopped: `stop` is set.
    """
    if stop is not None and stop.is_set():
        raise Stopped


def read_files(
    path: Path,
    exclude: Collection[str] = EXCLUDED,
    stop: threading.Event | None = None,
    within: Path | None = None,
) -> Directory:
    """Read the files in `path`.

    Args:
        exclude: shell patterns (`*.bak`); a file or folder is omitted if its name, or its path relative to `path`,
            matches one. Case does not matter.
        stop: ends the reading with `Stopped` when it is set.
        within: a directory that contains `path`, if no directory between them may be a link.

    Raises:
        InvalidOption: it is not a directory, is empty, has more than `MAX_FILES` files, or contains something refused.
        InvalidKey: a file name is not valid.
        ObjectTooLarge: the files have more than `MAX_BYTES` in total.
    """
    return _Reader(path.absolute(), _any_of(tuple(exclude)), stop, within).read()


def is_part(name: str, exclude: Collection[str]) -> bool:
    """Return whether a file of this name, relative to its bundle, is part of the bundle, as for `read_files`."""
    excluded = _any_of(tuple(exclude))
    folders = [name[:at] for at, char in enumerate(name) if char == "/"]
    return _counts(name, excluded, is_folder=False) and all(_counts(each, excluded, is_folder=True) for each in folders)


@lru_cache(maxsize=16)
def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(translate(pattern.lower().rstrip("/")) for pattern in patterns) or "(?!)")


def _counts(name: str, excluded: re.Pattern[str], *, is_folder: bool) -> bool:
    parent, _, last = name.rpartition("/")
    hidden = OVERLAY.partition("/")[0]
    if parent == hidden:
        return name == OVERLAY
    if last.startswith("."):
        return name == hidden and is_folder
    return not (excluded.match(last.lower()) or excluded.match(name.lower()))


class _Reader:
    def __init__(self, root: Path, exclude: re.Pattern[str], stop: threading.Event | None, within: Path | None) -> None:
        self._root = root
        self._base = (within or root).resolve()
        self._real = self._base if within is None else self._base / root.relative_to(within.absolute())
        self._exclude = exclude
        self._stop = stop
        self._left_out: list[str] = []

    def read(self) -> Directory:
        if not self._root.is_dir():
            hint = "pass a directory with the configuration's files"
            raise InvalidOption(f"'{self._root}' is not a directory", hint=hint)
        found: dict[str, Path] = {}
        for path in self._walk(self._real):
            found[check_file_name(self._name(path))] = path
            if len(found) > MAX_FILES:
                raise InvalidOption(
                    f"'{self._root}' has more than {MAX_FILES} files", hint="is it the right directory?"
                )
        if not found:
            hint = Advice.HIDDEN_FILES()
            raise InvalidOption(f"'{self._root}' contains no files", hint=hint)
        files, left = {}, MAX_BYTES
        for name in sorted(found):
            check_stop(self._stop)
            files[name] = _read_file(found[name], self._real, self._base, left)
            left -= len(files[name])
        return Directory(files, tuple(sorted(self._left_out)))

    def _walk(self, folder: Path) -> Iterator[Path]:
        check_stop(self._stop)
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda each: each.name):
                path, is_folder = Path(entry.path), entry.is_dir(follow_symlinks=False)
                name = self._name(path)
                if not _counts(name, self._exclude, is_folder=is_folder):
                    self._left_out.append(name + "/" * is_folder)
                elif is_folder:
                    yield from self._walk(path)
                else:
                    yield path

    def _name(self, path: Path) -> str:
        return path.relative_to(self._real).as_posix()


def _read_file(path: Path, root: Path, base: Path, limit: int) -> bytes:
    """Read a regular file, checking again that it is one, and that no directory below `base` has become a link."""
    real = path.resolve()
    if not real.is_relative_to(root):
        raise InvalidOption(f"'{path}' leads out of '{root}'", hint="copy the link's target into the directory")
    try:
        descriptor = Below(base, real.relative_to(base).as_posix()).opener("", os.O_RDONLY)
    except OSError as exc:
        raise InvalidOption(f"'{path}' cannot be read: {exc.strerror}", hint="check its permissions") from exc
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InvalidOption(f"'{path}' is not a regular file", hint="remove it, or link to the file itself")
    with os.fdopen(descriptor, "rb") as file:
        # Read one byte more than allowed, because the file may grow while it is read.
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ObjectTooLarge(size=MAX_BYTES - limit + len(content), limit=MAX_BYTES, operation="upload_dir")
    return content
