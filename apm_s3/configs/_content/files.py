"""Files of a bundle: what callers pass as their source, and directories of them.

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
from types import NoneType
from typing import Any, BinaryIO, TypeVar, cast

from apm_s3._beneath import Below, open_root
from apm_s3._directories import EXCLUDED, Directory, check_stop, read_files
from apm_s3._hints import Advice
from apm_s3._naming import OVERLAY, check_file_name, check_new_file_name
from apm_s3._tasks import wait_shielded
from apm_s3._tools import MAIN_FILES, TOOLS, Tool
from apm_s3.configs._content.overlays import RESERVED, is_internal
from apm_s3.configs._content.serialise import check_names, serialise
from apm_s3.errors import InvalidKey, InvalidOption, ObjectTooLarge
from apm_s3.validators._reading.nodes import MAX_BYTES

_FEW_NAMES = 100

Source = str | bytes | Path | Mapping[str, Any]
"""Text, bytes, the path of a file, or a mapping that is serialized in the format of the file."""

MAX_FILE = MAX_BYTES
"""Maximum size of a file, far larger than any real configuration."""

MAX_BUNDLE = 256 * 1024**2
"""Maximum size of all files of a bundle, which are in memory together when it is validated or read."""

_MAX_AUTHOR, _MAX_MESSAGE, _MAX_LOG_MESSAGE = 256, 10_000, 500


def check_type(what: str, value: object, *types: type) -> None:
    """Refuse a value of another type than `types`; True and False are not numbers.

    Raises:
        InvalidOption: the type is wrong.
    """
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        names = " or ".join("None" if each is NoneType else each.__name__ for each in types)
        raise InvalidOption(f"{what} is of type {type(value).__name__}", hint=f"pass {names}")


def check_revisions(**revisions: int | None) -> None:
    """Refuse invalid revision numbers.

    Raises:
        InvalidOption: one of them is not valid.
    """
    for what, revision in revisions.items():
        check_type(what, revision, int, NoneType)
        if revision is not None and revision < 0:
            raise InvalidOption(f"{what} is {revision}, below 0", hint=Advice.REVISIONS())


def check_tool(tool: str) -> Tool:
    """Return `tool`, if it is known.

    Raises:
        InvalidOption: it is unknown.
    """
    check_type("tool", tool, str)
    if tool not in MAIN_FILES:
        raise InvalidOption(f"unknown tool: {str(tool)[:80]!r}", hint=f"choose from {', '.join(TOOLS)}")
    return cast("Tool", tool)


def check_tools(tools: Collection[str] | None) -> list[Tool] | None:
    """Return `tools`, if all are known; None means all tools.

    Raises:
        InvalidOption: one is unknown, there are none, or it is a string.
    """
    if tools is None:
        return None
    check_type("tools", tools, Collection)
    if isinstance(tools, str) or not tools:
        raise InvalidOption(f"tools={tools!r:.80} names no tools", hint="pass a list of tools, or omit it for all")
    return [check_tool(tool) for tool in tools]


def check_notes(author: str | None, message: str, reason: str | None = None) -> None:
    """Refuse an author, a message or a reason that cannot be stored and shown.

    Raises:
        InvalidOption: it is too long, not text, or has control characters (except line breaks and tabs in a message).
    """
    notes: list[tuple[str, Any, int]] = [
        ("author", author, _MAX_AUTHOR),
        ("message", message, _MAX_MESSAGE),
        ("reason", reason, _MAX_MESSAGE),
    ]
    for what, text, most in notes:
        if text is None:
            continue
        if not isinstance(text, str) or len(text) > most:
            raise InvalidOption(f"the {what} is not text of at most {most} characters", hint="shorten it")
        if any(char < " " and (char not in "\n\t" or what == "author") for char in text) or not _encodes(text):
            raise InvalidOption(f"the {what} contains control characters", hint="use plain text")
    if reason is not None and not reason.strip():
        raise InvalidOption("the reason is empty", hint="say why; the reason is stored")


def check_log_notes(author: str | None, message: str) -> str:
    """Return `message`, if the log can store all of it, because it is stored nowhere else.

    Raises:
        InvalidOption: see `check_notes`; or more than 500 characters.
    """
    check_notes(author, message)
    if len(message) > _MAX_LOG_MESSAGE:
        raise InvalidOption(f"the message has more than {_MAX_LOG_MESSAGE} characters", hint="shorten it")
    return message


async def gather_sources(
    tool: str, source: Source | None, files: Mapping[str, Source] | None, name: str | None
) -> dict[str, bytes]:
    """Return the given files by name: `source` as the main file or as `name`, or all of `files`.

    Raises:
        InvalidRequest: a combination, a name or a source is not valid, or the files are too large.
    """
    check_type("files", files, Mapping, NoneType)
    check_type("name", name, str, NoneType)
    if files is not None and (source is not None or name is not None):
        raise InvalidOption("files cannot be used with source or name", hint="pass one or the other")
    if source is None and name is not None:
        raise InvalidOption(f"name '{name[:80]}' has no source", hint="pass its content as well")
    given: Mapping[str, Source] = files if files is not None else {}
    if source is not None:
        given = {MAIN_FILES[tool] if name is None else name: source}
    await check_many_names(given)
    for file_name in given:
        if is_internal(file_name):
            raise InvalidKey(f"'{file_name[:80]}' is reserved", hint=f"only {OVERLAY} can be uploaded under {RESERVED}")
    return {file_name: await read_source(value, file_name) for file_name, value in given.items()}


async def check_many_names(names: Collection[str], kept: Collection[str] = ()) -> None:
    """Check names as `check_names` does, in a thread if there are many: deep ones take half a second."""
    if len(names) + len(kept) > _FEW_NAMES:
        await asyncio.to_thread(check_names, names, kept)
    else:
        check_names(names, kept)


async def read_source(source: Source, name: str) -> bytes:
    """Return the bytes of one source.

    Raises:
        InvalidOption: it is not a valid source, or cannot be serialized.
        ObjectTooLarge: more than `MAX_FILE` bytes.
        OSError: a path that cannot be read.
    """
    if isinstance(source, Path):
        raw = await asyncio.to_thread(_read_path, source)
    elif isinstance(source, Mapping):
        raw = await asyncio.to_thread(serialise, source, name)
    elif isinstance(source, str):
        raw = _encode(source, name)
    elif isinstance(source, bytes | bytearray | memoryview):
        raw = bytes(source)
    else:
        raise InvalidOption(
            f"'{name}' is given as {type(source).__name__}", hint="pass text, bytes, a Path or a mapping"
        )
    _check_size(len(raw), name)
    return raw


def _read_path(path: Path) -> bytes:
    _check_size(path.stat().st_size, str(path))
    return path.read_bytes()


def _check_size(size: int, name: str) -> None:
    if size > MAX_FILE:
        raise ObjectTooLarge(size=size, limit=MAX_FILE, key=name, hint="split it into several files")


def _encode(text: str, name: str) -> bytes:
    if not _encodes(text):
        raise InvalidOption(f"'{name}' contains a lone surrogate, so it is not valid text", hint="pass bytes")
    return text.encode()


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


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
        return await wait_shielded(thread)
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
            hint=Advice.REPLACE_DIRECTORY(),
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
        hint = Advice.RENAME_STORED()
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
