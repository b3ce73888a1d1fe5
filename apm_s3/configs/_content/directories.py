"""Reads a directory as a bundle (see `apm_s3._directories`), and writes a bundle to a directory atomically.

Everything here runs in a thread.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import secrets
import shutil
import sys
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

from apm_s3._beneath import Below, open_root
from apm_s3._directories import EXCLUDED, Directory, check_stop, read_files
from apm_s3._naming import check_file_name, check_new_file_name
from apm_s3._tasks import joined
from apm_s3.configs._content.sources import check_type
from apm_s3.errors import InvalidOption

_CHUNK = 1024**2
_IS_WINDOWS = sys.platform == "win32"

T = TypeVar("T")


async def read_directory(
    path: str | os.PathLike[str], exclude: Collection[str] = EXCLUDED, within: Path | None = None
) -> Directory:
    """Read the files in `path`.

    Args:
        exclude: shell patterns (`*.bak`); a file or folder is omitted if its name, or its path relative to `path`,
            matches one. Case does not matter.
        within: a directory that contains `path`, if no directory between them may be a link.

    Raises:
        InvalidOption: it is not a directory, is empty, has more than `MAX_FILES` files, or contains something refused.
        InvalidKey: a file name is not valid.
        ObjectTooLarge: the files have more than `MAX_BYTES` in total.
    """
    check_type("path", path, str, os.PathLike)
    check_type("exclude", exclude, Collection)
    if isinstance(exclude, str) or not all(isinstance(pattern, str) for pattern in exclude):
        raise InvalidOption("exclude is not a list of patterns", hint="use strings such as ['*.bak', 'drafts']")
    return await _in_thread(lambda stop: read_files(Path(path), exclude, stop, within))


async def write_directory(path: str | os.PathLike[str], files: Mapping[str, bytes], *, replace: bool = False) -> Path:
    """Write `files` to a directory `path` atomically: readers see either the old or the new one.

    The files are written and flushed to a new directory next to `path`, which then replaces it: by a rename if there is
    nothing or an empty directory, or by a new symbolic link if `path` is a link, even a dangling one (the directory
    that it pointed to is removed if it was created here). After a crash, a directory `.{name}.*` may remain next to it,
    which can be deleted.

    Args:
        replace: also replace a directory that is not empty; its contents are deleted.

    Returns:
        The directory that was written: `path`, or the target of the link.

    Raises:
        InvalidKey: a file name is not valid, such as `C:x` on Windows; nothing was written.
        InvalidOption: `path` cannot be replaced, or contains the home or the working directory; or one name is a folder
            of another, or the file system treats two names as equal; nothing was changed.
    """
    _check_names(files)
    return await _in_thread(lambda stop: _write(Path(path).absolute(), files, replace, stop))


async def _in_thread(work: Callable[[threading.Event], T]) -> T:
    """Run `work` in a thread. On cancellation, stop it and wait for it, so that it never keeps running."""
    stop = threading.Event()
    thread = asyncio.ensure_future(asyncio.to_thread(work, stop))
    try:
        return await joined(thread)
    except asyncio.CancelledError:
        stop.set()
        while not thread.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({thread})
        raise


# --------------------------------------------------------------------------------------------------------------
# Writing


def _check_names(files: Mapping[str, bytes]) -> None:
    check = check_new_file_name if _IS_WINDOWS else check_file_name
    for name in files:
        check(name)
    for name in files:
        folders = name.split("/")[:-1]
        for depth in range(1, len(folders) + 1):
            if "/".join(folders[:depth]) in files:
                raise InvalidOption(
                    f"'{'/'.join(folders[:depth])}' is a file and a folder at once", hint="no file system allows this"
                )


def _write(target: Path, files: Mapping[str, bytes], replace: bool, stop: threading.Event) -> Path:
    _check_precious(target)
    if not target.is_symlink() and target.exists():
        _check_place(target, replace)
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.parent / f".{target.name}.{secrets.token_hex(6)}.new"
    try:
        _fill(new, files, stop)
        return _put_in_place(new, target, replace)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def _check_precious(target: Path) -> None:
    """Refuse to replace a root, and directories that contain the home or the working directory."""
    precious = [Path.cwd()]
    with suppress(RuntimeError):
        precious.append(Path.home())
    # A link is replaced, and its target is kept; but a home must not become another directory either.
    inside = precious[1:] if target.is_symlink() else precious
    real = target.resolve()
    if real == Path(real.anchor) or any(each.resolve().is_relative_to(real) for each in inside):
        raise InvalidOption(
            f"'{target}' is a root, or contains the home or the working directory", hint="use a separate directory"
        )


def _check_place(target: Path, replace: bool) -> None:
    if not target.is_dir():
        raise InvalidOption(f"'{target}' is a file", hint="use a directory, or a path that does not exist yet")
    if any(target.iterdir()) and not replace:
        raise InvalidOption(
            f"'{target}' is not empty",
            hint="use a new path, a symbolic link (which is replaced), or replace=True to delete it",
        )


def _fill(folder: Path, files: Mapping[str, bytes], stop: threading.Event) -> None:
    folder.mkdir(mode=0o755)
    folders = {folder}
    within = open_root(folder)
    try:
        for name, content in files.items():
            check_stop(stop)
            folders.update(parent for parent in (folder / name).parents if parent.is_relative_to(folder))
            with _create(Below(folder, name, within)) as file:
                for start in range(0, len(content), _CHUNK):
                    file.write(content[start : start + _CHUNK])
                file.flush()
                os.fsync(file.fileno())
    finally:
        if within is not None:
            os.close(within)
    for each in folders:
        _flush(each)


def _create(path: Below) -> BinaryIO:
    try:
        return os.fdopen(path.create(), "wb")
    except FileExistsError as exc:
        hint = "download_bundle returns both; upload the bundle with one of them renamed"
        raise InvalidOption(f"this file system treats '{path.name}' and another file as equal", hint=hint) from exc


def _flush(folder: Path) -> None:
    """Flush the names in a folder to disk, if the system can."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put_in_place(new: Path, target: Path, replace: bool) -> Path:
    if target.is_symlink():
        return _switch_link(new, target)
    if replace and target.is_dir() and any(target.iterdir()):
        _exchange(new, target)
        _flush(target.parent)
        shutil.rmtree(new, ignore_errors=True)
        return target
    new.rename(target)
    _flush(target.parent)
    return target


def _switch_link(new: Path, link: Path) -> Path:
    """Create a new link under another name, then rename it over the old one."""
    before = link.parent / link.readlink()
    kept, fresh = new.with_suffix(""), new.with_suffix(".link")
    new.rename(kept)
    try:
        fresh.symlink_to(kept.name)
        fresh.replace(link)
    except BaseException:
        fresh.unlink(missing_ok=True)
        shutil.rmtree(kept, ignore_errors=True)
        raise
    _flush(link.parent)
    if before.parent == link.parent and before.name.startswith(f".{link.name}."):
        shutil.rmtree(before, ignore_errors=True)
    return kept


def _exchange(new: Path, target: Path) -> None:
    """Swap two directories atomically with renameat2(2) and RENAME_EXCHANGE, which Python does not provide."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    done = call is not None and call(here, os.fsencode(new), here, os.fsencode(target), exchange) == 0
    if not done:
        reason = os.strerror(ctypes.get_errno() or errno.ENOSYS)
        raise InvalidOption(
            f"'{target}' cannot be replaced atomically here ({reason})", hint="use a symbolic link, or a new path"
        )
