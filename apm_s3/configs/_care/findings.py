"""The findings of a check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from apm_s3.configs._models.releases import FileEntry

Severity = Literal["damage", "behind", "record", "lost", "newer"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem in a store.

    Attributes:
        severity: "damage" needs repair and stops writers; "behind" is an outdated copy under `live/`, which the next
            refresh updates; "record" is a log that is incomplete or modified, which stops writers if the reference
            document itself contradicts it; "lost" is damage that no repair could undo: it is marked, and nothing is
            left to do; "newer" was written by a later version of this library, so that this one can neither judge nor
            repair it.
        key: relative to the store's prefix.
        sha256: the expected SHA-256 of the content, if known.
        entry: the expected entry of a blob.
        revision: the newest affected revision of a history.
    """

    severity: Severity
    tool: str | None
    key: str
    problem: str
    sha256: str | None = None
    entry: FileEntry | None = None
    revision: int | None = None
