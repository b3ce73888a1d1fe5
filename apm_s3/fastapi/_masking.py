"""Configurations with their secrets masked, for callers that may not read secrets."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from apm_s3.configs import ConfigFile
from apm_s3.configs._models.releases import format_of
from apm_s3.fastapi._problems import ProblemError
from apm_s3.validators import parse_document
from apm_s3.validators._secrets.shapes import MASK
from apm_s3.validators._secrets.texts import decode, mask_text

_MAX_KEPT = 16 * 1024**2
"""Bytes of masked texts that a process remembers: finding secrets costs milliseconds."""


class _Masked:
    """Masked files by the hash of their content, the most recently used ones."""

    def __init__(self) -> None:
        self._texts: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()  # applications may run in several threads

    def get(self, name: str, sha256: str) -> bytes | None:
        with self._lock:
            text = self._texts.get((name, sha256))
            if text is not None:
                self._texts.move_to_end((name, sha256))
            return text

    def put(self, name: str, sha256: str, text: bytes) -> None:
        with self._lock:
            if (name, sha256) in self._texts or len(text) > _MAX_KEPT:
                return
            self._texts[name, sha256] = text
            self._size += len(text)
            while self._size > _MAX_KEPT:
                self._size -= len(self._texts.popitem(last=False)[1])


_masked = _Masked()


async def mask_file(file: ConfigFile) -> bytes:
    """Return the content of a file with its secrets masked.

    Raises:
        ProblemError: it is not text, so that nobody can tell what is a secret.
    """
    known = _masked.get(file.name, file.sha256)
    if known is not None:
        return known
    text = decode(file.raw)
    if text is None:
        raise ProblemError(
            403, "not-maskable", f"'{file.name}' is not text: reading it needs the permission to read secrets."
        )
    masked = (await asyncio.to_thread(mask_text, file.name, text)).encode()
    _masked.put(file.name, file.sha256, masked)
    return masked


async def mask_files(files: Mapping[str, ConfigFile]) -> dict[str, bytes]:
    """Return the contents of several files with their secrets masked, by name.

    Raises:
        ProblemError: one of them is not text.
    """
    return {name: await mask_file(file) for name, file in files.items()}


def masked_etag(revision: int, masked: bytes, variant: str = "") -> str:
    """Return the ETag of a masked file. It contains no hash of the secrets, from which they could be guessed."""
    return f'"{revision}-m{variant}{hashlib.sha256(masked).hexdigest()}"'


def refuse_masked(name: str, new: bytes, old: bytes) -> None:
    """Refuse content in which secrets are masked: storing it would replace the secrets.

    Raises:
        ProblemError: it has more masked values than the content that it replaces.
    """
    if _masks(new) > _masks(old):
        raise ProblemError(
            422,
            "masked-content",
            f"'{name}' contains {MASK} in place of a secret: it was read without the permission to read secrets.",
        )


def _masks(raw: bytes) -> int:
    return (decode(raw) or "").count(MASK)


async def parsed(name: str, raw: bytes) -> Any:
    """Return the parsed content of a file, for JSON.

    Raises:
        ConfigInvalid: it cannot be parsed.
    """
    return await asyncio.to_thread(parse_document, raw, format_of(name))
