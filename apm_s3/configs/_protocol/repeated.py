"""Changes of the reference document that are repeated under a write id of their caller. Pure.

They leave no release. What tells that one was made is its entry in the log, which was written with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apm_s3._plans import canonical_hash
from apm_s3.configs._record import Note, RawEntry
from apm_s3.errors import InvalidOption


def request_hash(write_id: str | None, arguments: Mapping[str, Any]) -> str | None:
    """What `Note.request` is to say of a call with `arguments`: nothing where its caller made no write id."""
    return None if write_id is None else canonical_hash(arguments)


def check_same(entry: RawEntry | None, note: Note, write_id: str, environment: str) -> RawEntry:
    """`entry`, the one that was committed under the write id of `note`, if that is of the same change.

    Raises:
        InvalidOption: it is of another one, or nothing tells.
    """
    if entry is None or entry.get("action") != note.action or entry.get("request") != note.request:
        raise used(write_id, environment)
    return entry


def used(write_id: str, environment: str) -> InvalidOption:
    """The error of a write id that another write has."""
    return InvalidOption(
        f"the write id {write_id!r} belongs to another write in '{environment}'",
        hint="nothing was changed; use each write id for one write: create a new one with new_write_id",
    )
