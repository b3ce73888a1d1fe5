"""What callers give as a configuration, as the bytes that are stored. Text and bytes are kept as they are."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, cast

from apm_s3._tools import MAIN_FILES, TOOLS, Tool
from apm_s3.configs._content.names import check_names
from apm_s3.configs._content.overlays import OVERLAY, RESERVED, is_reserved
from apm_s3.configs._content.serialise import serialise
from apm_s3.errors import InvalidKey, InvalidOption, ObjectTooLarge
from apm_s3.validators._reading.nodes import MAX_BYTES

Source = str | bytes | Path | Mapping[str, Any]
"""Text, bytes, the path of a file, or a mapping that is serialised in the file's own format."""

MAX_FILE = MAX_BYTES
"""Bytes of one file: what validation reads, far beyond any real configuration."""

MAX_BUNDLE = 256 * 1024**2
"""Bytes of all files of one bundle: they are in memory at once when it is validated or read."""

_MAX_AUTHOR, _MAX_MESSAGE, _MAX_LOG_MESSAGE = 256, 10_000, 500


def check_type(what: str, value: object, *types: type) -> None:
    """Refuse a value of another type than `types`; True and False are no numbers.

    Raises:
        InvalidOption: it is one.
    """
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        names = " or ".join("None" if each is NoneType else each.__name__ for each in types)
        raise InvalidOption(f"{what} is of type {type(value).__name__}", hint=f"give {names}")


def check_revisions(**revisions: int | None) -> None:
    """Refuse what is no number of a revision.

    Raises:
        InvalidOption: one is none.
    """
    for what, revision in revisions.items():
        check_type(what, revision, int, NoneType)
        if revision is not None and revision < 0:
            raise InvalidOption(f"{what} is {revision}, below 0", hint="history() shows the revisions that there are")


def check_tool(tool: str) -> Tool:
    """`tool`, if it is one that we know.

    Raises:
        InvalidOption: it is not.
    """
    check_type("tool", tool, str)
    if tool not in MAIN_FILES:
        raise InvalidOption(f"no such tool: {str(tool)[:80]!r}", hint=f"choose from {', '.join(TOOLS)}")
    return cast("Tool", tool)


def check_tools(tools: Collection[str] | None) -> list[Tool] | None:
    """`tools`, each of which we know; None: all there are.

    Raises:
        InvalidOption: one is unknown, there are none, or it is a text.
    """
    if tools is None:
        return None
    check_type("tools", tools, Collection)
    if isinstance(tools, str) or not tools:
        raise InvalidOption(f"tools={tools!r:.80} names no tools", hint="give a list of them, or leave it out for all")
    return [check_tool(tool) for tool in tools]


def check_notes(author: str | None, message: str, reason: str | None = None) -> None:
    """Refuse an author, a message or a reason that cannot be stored and shown.

    Raises:
        InvalidOption: too long, not text, or, but for line breaks and tabs in a message, control characters.
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
            raise InvalidOption(f"the {what} holds control characters", hint="use plain text")
    if reason is not None and not reason.strip():
        raise InvalidOption("the reason is empty", hint="say why; it is kept for those who come after")


def check_log_notes(author: str | None, message: str) -> str:
    """`message`, if the log can keep it whole with `author`: it stands nowhere else.

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
    """The given files by name: `source` as the main file or as `name`, or all of `files`.

    Raises:
        InvalidRequest: a combination, a name or a source that makes no sense, or too many bytes.
    """
    check_type("files", files, Mapping, NoneType)
    check_type("name", name, str, NoneType)
    if files is not None and (source is not None or name is not None):
        raise InvalidOption("files is the whole bundle: it excludes source and name", hint="give one or the other")
    if source is None and name is not None:
        raise InvalidOption(f"name '{name[:80]}' has no source", hint="give its content too")
    given: Mapping[str, Source] = files if files is not None else {}
    if source is not None:
        given = {MAIN_FILES[tool] if name is None else name: source}
    check_names(given)
    for file_name in given:
        if is_reserved(file_name) and file_name != OVERLAY:
            raise InvalidKey(f"'{file_name[:80]}' is reserved", hint=f"below {RESERVED} only {OVERLAY} can be uploaded")
    return {file_name: await read_source(value, file_name) for file_name, value in given.items()}


async def read_source(source: Source, name: str) -> bytes:
    """The bytes of one source.

    Raises:
        InvalidOption: it is none, or cannot be serialised.
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
            f"'{name}' is given as {type(source).__name__}", hint="give text, bytes, a Path or a mapping"
        )
    _check_size(len(raw), name)
    return raw


def _read_path(path: Path) -> bytes:
    _check_size(path.stat().st_size, str(path))
    return path.read_bytes()


def _check_size(size: int, name: str) -> None:
    if size > MAX_FILE:
        raise ObjectTooLarge(size=size, limit=MAX_FILE, key=name, hint="split it: that is no configuration")


def _encode(text: str, name: str) -> bytes:
    if not _encodes(text):
        raise InvalidOption(f"'{name}' holds a lone surrogate, which is no text", hint="give its bytes")
    return text.encode()


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
