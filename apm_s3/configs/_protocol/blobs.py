"""Plans the blobs of a new release: blobs of the replaced release are reused, all others are new. Pure.

Blobs of other releases are never reused, because a collector may be about to delete them.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from apm_s3.configs._models.releases import FileEntry, Release
from apm_s3.configs._protocol.documents.keys import blob_name

COMPRESS_FROM = 16 * 1024
"""Size from which a file is compressed, if that saves a tenth."""

Content = bytes | FileEntry
"""A file of a new release: its bytes, or a file of another release of the same tool and environment."""


@dataclass(frozen=True, slots=True)
class BlobPlan:
    """How to store a release's files.

    Attributes:
        entries: the entries of the release document, by file name.
        puts: the contents to put, by blob name.
        copies: the blobs to copy within the bucket, by new blob name.
    """

    entries: Mapping[str, FileEntry]
    puts: Mapping[str, bytes]
    copies: Mapping[str, str]


def plan_blobs(files: Mapping[str, Content], base: Release | None, write_id: str) -> BlobPlan:
    """Hash the files, compare them with the replaced release, and compress new ones, in time proportional to bytes."""
    known = {entry.sha256: entry for entry in base.files.values()} if base is not None else {}
    entries: dict[str, FileEntry] = {}
    puts: dict[str, bytes] = {}
    copies: dict[str, str] = {}
    for name in sorted(files):
        content = files[name]
        sha256 = content.sha256 if isinstance(content, FileEntry) else hashlib.sha256(content).hexdigest()
        if sha256 not in known:
            blob = blob_name(sha256, write_id)
            if isinstance(content, FileEntry):
                copies[blob] = content.blob
                known[sha256] = FileEntry(content.size, sha256, blob, content.encoding)
            else:
                packed = _pack(content)
                puts[blob] = content if packed is None else packed
                known[sha256] = FileEntry(len(content), sha256, blob, "identity" if packed is None else "gzip")
        entries[name] = known[sha256]
    return BlobPlan(entries, puts, copies)


def _pack(content: bytes) -> bytes | None:
    if len(content) < COMPRESS_FROM:
        return None
    packed = gzip.compress(content, compresslevel=6, mtime=0)
    return packed if len(packed) < len(content) * 0.9 else None
