"""Pages of listings."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from apm_s3.models._objects import FileInfo


@dataclass(frozen=True, slots=True)
class FileVersion:
    """One version, or one delete marker, of a key."""

    key: str
    version_id: str
    is_latest: bool
    is_delete_marker: bool
    size: int
    etag: str | None
    last_modified: datetime | None
    storage_class: str | None = None


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of a listing.

    Attributes:
        prefixes: the common prefixes, if a delimiter was given.
        next_token: pass it to `list_files(token=)` for the next page; None on the last page.
    """

    files: tuple[FileInfo, ...]
    prefixes: tuple[str, ...] = ()
    next_token: str | None = None


@dataclass(frozen=True, slots=True)
class VersionPage:
    """One page of a listing of versions; `next_key` and `next_version` are the markers of the next page."""

    versions: tuple[FileVersion, ...]
    prefixes: tuple[str, ...] = ()
    next_key: str | None = None
    next_version: str | None = None
