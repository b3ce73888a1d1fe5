"""Recognises repeated changes of the reference document by the caller's write id. Pure.

Such changes create no release, so only the log entry, which is written with the change, shows that one was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apm_s3._plans import canonical_hash
from apm_s3.configs._models.log import Note, RawEntry
from apm_s3.errors import InvalidOption


def request_hash(write_id: str | None, arguments: Mapping[str, Any]) -> str | None:
    """Return the value of `Note.request` for a call with `arguments`; None if the caller gave no write id."""
    return None if write_id is None else canonical_hash(arguments)


def check_same(entry: RawEntry | None, note: Note, write_id: str, environment: str) -> RawEntry:
    """Return `entry`, which was committed under the same write id, if it records the same change as `note`.

    Raises:
        InvalidOption: it records a different change, or there is no entry.
    """
    if entry is None or entry.get("action") != note.action or entry.get("request") != note.request:
        raise used(write_id, environment)
    return entry


def used(write_id: str, environment: str) -> InvalidOption:
    """Return the error for a write id that a different write has used."""
    return InvalidOption(
        f"the write id {write_id!r} belongs to another write in '{environment}'",
        hint="nothing was changed; use each write id for one write: create a new one with new_write_id",
    )
