"""Converts callers' configurations to the bytes that are stored. Text and bytes are kept unchanged."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, cast

from apm_s3._naming import OVERLAY
from apm_s3._tools import MAIN_FILES, TOOLS, Tool
from apm_s3.configs._content.names import check_names
from apm_s3.configs._content.overlays import RESERVED, is_internal
from apm_s3.configs._content.serialise import serialise
from apm_s3.errors import InvalidKey, InvalidOption, ObjectTooLarge
from apm_s3.validators._reading.nodes import MAX_BYTES

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
            raise InvalidOption(f"{what} is {revision}, below 0", hint="see history() for the existing revisions")


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
    check_names(given)
    for file_name in given:
        if is_internal(file_name):
            raise InvalidKey(f"'{file_name[:80]}' is reserved", hint=f"only {OVERLAY} can be uploaded under {RESERVED}")
    return {file_name: await read_source(value, file_name) for file_name, value in given.items()}


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
