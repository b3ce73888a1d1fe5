"""Plans the blobs of a new release: blobs of the replaced release are reused, all others are new.

Blobs of other releases are never reused, because a collector may be about to delete them. Reused ones may have been
damaged since: they are compared as far as a listing tells.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from apm_s3._tasks import run_all
from apm_s3.configs._models.releases import FileEntry, Release
from apm_s3.configs._protocol.documents import keys
from apm_s3.configs._protocol.documents.keys import blob_name
from apm_s3.configs._protocol.reading.reader import INLINE, PARALLEL, Gone, Reader, is_md5
from apm_s3.models import FileInfo

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
                smaller = _pack(content)
                puts[blob] = content if smaller is None else smaller
                known[sha256] = FileEntry(len(content), sha256, blob, "identity" if smaller is None else "gzip")
        entries[name] = known[sha256]
    return BlobPlan(entries, puts, copies)


def _pack(content: bytes) -> bytes | None:
    if len(content) < COMPRESS_FROM:
        return None
    smaller = packed(content)
    return smaller if len(smaller) < len(content) * 0.9 else None


def packed(content: bytes) -> bytes:
    """Return a compressed blob's bytes. Other builds of zlib may compress the same content to other bytes."""
    return gzip.compress(content, compresslevel=6, mtime=0)


async def find_damaged(
    reader: Reader,
    environment: str,
    tool: str,
    wanted: Mapping[str, tuple[FileEntry, Content | None]],
    listed: Mapping[str, FileInfo],
) -> list[str]:
    """Return the names of `wanted` blobs that are gone or differ. Only those with another size or ETag are read.

    Args:
        wanted: the entry of each, and its content: without its bytes, only the size is compared.
    """
    folder = keys.blobs(environment, tool)

    def doubtful() -> list[str]:
        return [
            name
            for name, (entry, content) in wanted.items()
            if _may_differ(listed.get(name), entry, content if reader.etags_tell else None)
        ]

    async def is_damaged(name: str) -> bool:
        try:
            await reader.stored_blob(folder + name, wanted[name][0])
        except Gone:
            return True
        return False

    size = sum(entry.size for entry, content in wanted.values() if isinstance(content, bytes))
    names = doubtful() if size <= INLINE else await asyncio.to_thread(doubtful)
    damaged = await run_all((is_damaged(name) for name in names), limit=PARALLEL)
    return [name for name, is_so in zip(names, damaged, strict=True) if is_so]


def _may_differ(info: FileInfo | None, entry: FileEntry, content: Content | None) -> bool:
    if info is None or (entry.encoding == "identity" and info.size != entry.size):
        return True
    if not isinstance(content, bytes):
        return False
    return is_md5(info.etag, packed(content) if entry.encoding == "gzip" else content) is False
