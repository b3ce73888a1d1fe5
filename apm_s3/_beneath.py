"""Files below a directory, by names that others chose: a bucket, a journal, a listing. Everything here blocks.

Each use opens the directories from the root on, one by one, and follows no link below the root: a directory that was
checked before may have been replaced by a link since. Windows lacks these calls (openat), so that there, links are
looked for before each use.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from apm_s3.errors import InvalidKey

_RELATIVE = os.open in os.supports_dir_fd and hasattr(os, "O_DIRECTORY")
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
"""Without O_NONBLOCK, opening a FIFO would wait for a writer."""


def no_file(key: str) -> str | None:
    """Return why `key` cannot be a file name below a directory; a name that leads out of it must never be used."""
    if any(segment in ("", ".", "..") for segment in key.split("/")):
        return "it has an empty segment, '.' or '..', and cannot be a file name"
    if "\0" in key or (os.name == "nt" and re.search(r"[\\:]", key)):
        return "it has a character that file names cannot have"
    return None


def open_root(path: str | os.PathLike[str]) -> int | None:
    """Return a descriptor of a directory that is no link, for `Below.within`; None where there are none."""
    return os.open(path, _FOLDER | _NO_LINK) if _RELATIVE else None


class Below:
    """The file `name` below the directory `root`.

    Args:
        within: a descriptor of `root`, if that must not be replaced either.

    Raises:
        InvalidKey: the name leads out of the directory.
    """

    __slots__ = ("_within", "name", "root")

    def __init__(self, root: str | os.PathLike[str], name: str, within: int | None = None) -> None:
        if problem := no_file(name):
            raise InvalidKey(f"{name!r:.80} is not the name of a file below '{root}': {problem}", key=name)
        self.root = os.fspath(root)
        self.name = name
        self._within = within

    def __fspath__(self) -> str:
        return os.path.join(self.root, self.name)  # noqa: PTH118 - a str, for each file

    __str__ = __repr__ = __fspath__

    def enter(self, *, create: bool = False) -> tuple[str, int | None]:
        """Return the last part of the name, and a descriptor of its directory, which the caller closes.

        Where there are no such descriptors, it is the whole path, and None.

        Args:
            create: create missing directories, and the root.

        Raises:
            OSError: a directory is missing, or is a link.
        """
        *folders, last = self.name.split("/")
        if not _RELATIVE:
            return self._checked(folders, create=create), None
        folder = self._open_root(create=create) if self._within is None else os.dup(self._within)
        try:
            for part in folders:
                above, folder = folder, self._descend(folder, part, create=create)
                os.close(above)
        except BaseException:
            os.close(folder)
            raise
        return last, folder

    @contextmanager
    def entered(self, *, create: bool = False) -> Iterator[tuple[str, int | None]]:
        """`enter` for the time of a block."""
        last, folder = self.enter(create=create)
        try:
            yield last, folder
        finally:
            if folder is not None:
                os.close(folder)

    def opener(self, _path: str, flags: int) -> int:
        """Open the file, not through a link; an `opener=` of Python's `open`."""
        with self.entered() as (last, folder):
            return os.open(last, flags | _READ | _NO_LINK | getattr(os, "O_CLOEXEC", 0), dir_fd=folder)

    def create(self) -> int:
        """Create the file, which must be new, and its directory, and return a descriptor for writing."""
        with self.entered(create=True) as (last, folder):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
            return os.open(last, flags, 0o666, dir_fd=folder)

    def read(self) -> io.FileIO:
        """Open the file for reading.

        Raises:
            OSError: it cannot be opened, or is not a regular file.
        """
        file = io.FileIO(os.fspath(self), opener=self.opener)
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise OSError(errno.EINVAL, "it is not a regular file", str(self))
        return file

    def stat(self) -> os.stat_result:
        """Return the status of the file, or of a link."""
        with self.entered() as (last, folder):
            return os.stat(last, dir_fd=folder, follow_symlinks=False)

    def touch(self, at: float) -> None:
        """Set the times of the file to `at`, in seconds."""
        with self.entered() as (last, folder):
            follows = os.utime not in os.supports_follow_symlinks
            os.utime(last, ns=(int(at * 1e9), int(at * 1e9)), dir_fd=folder, follow_symlinks=follows)

    def remove(self) -> None:
        """Remove the file, if it is there, and the directories that become empty."""
        with suppress(FileNotFoundError), self.entered() as (last, folder):
            os.unlink(last, dir_fd=folder)
        above = self.name
        with suppress(OSError):
            while above := above.rpartition("/")[0]:
                with Below(self.root, above, self._within).entered() as (last, folder):
                    os.rmdir(last, dir_fd=folder)

    def _open_root(self, *, create: bool) -> int:
        try:
            return os.open(self.root, _FOLDER)
        except FileNotFoundError:
            if not create:
                raise
        os.makedirs(self.root, exist_ok=True)  # noqa: PTH103 - a str
        return os.open(self.root, _FOLDER)

    def _descend(self, folder: int, part: str, *, create: bool) -> int:
        try:
            return os.open(part, _FOLDER | _NO_LINK, dir_fd=folder)
        except FileNotFoundError:
            if not create:
                raise
        except OSError as exc:
            if exc.errno not in {errno.ELOOP, errno.ENOTDIR}:
                raise
            raise self._refused(part) from exc
        with suppress(FileExistsError):
            os.mkdir(part, dir_fd=folder)
        return self._descend(folder, part, create=False)

    def _checked(self, folders: list[str], *, create: bool) -> str:
        if create:
            os.makedirs(os.path.join(self.root, *folders), exist_ok=True)  # noqa: PTH103, PTH118 - a str
        place = self.root
        for part in folders:
            place = os.path.join(place, part)  # noqa: PTH118 - a str
            if os.path.islink(place):  # noqa: PTH114 - a str
                raise self._refused(part)
        return os.fspath(self)

    def _refused(self, part: str) -> OSError:
        problem = f"it is behind a symbolic link that could lead out of '{self.root}', or '{part}' is no directory"
        return NotADirectoryError(errno.ENOTDIR, problem, str(self))


@contextmanager
def scanned(root: str | os.PathLike[str], prefix: str) -> Iterator[Iterator[os.DirEntry[str]]]:
    """The entries of the directory `prefix` below `root`, as "" or with a "/" at its end, for the time of a block."""
    with Below(root, f"{prefix}x").entered() as (path, folder):
        place = os.path.dirname(path) if folder is None else folder  # noqa: PTH120 - a str
        with os.scandir(place) as entries:
            yield entries
