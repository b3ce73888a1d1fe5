"""Objects, and the credentials to reach them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO, NamedTuple, TypeAlias

_NOTHING: Mapping[str, str] = {}

Source: TypeAlias = bytes | bytearray | memoryview | os.PathLike[str] | BinaryIO | AsyncIterable[bytes]
"""What `upload_file` accepts. A `str` is refused: it could be a path or the content."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Static AWS credentials. The repr shows only the key id."""

    key_id: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


# A tuple, because it is created for every request and every listed key, in a quarter of the time of a dataclass.
class FileInfo(NamedTuple):
    """Information about an object.

    Attributes:
        size: bytes of the whole object, even if only a range was read.
        etag: as S3 sent it, quotes included; opaque, use it only for comparison.
        metadata: user metadata, names in lower case; None in a listing that did not request it.
        storage_class: "STANDARD" if S3 names none.
        checksums: S3's checksums by algorithm ("crc32", "sha256", ...), in base64, if it sent any.
        server_time: the server's clock (its `Date`) at the response, Unix seconds.
        headers: the content headers stored with the object ("cache-control", ...), names in lower case; also its
            number of tags ("x-amz-tagging-count") and its lock ("x-amz-object-lock-mode", ...) if S3 sent them.
        stale_since: when this cached value was read, if S3 cannot be reached (see `CacheSettings.stale_if_error`).
    """

    bucket: str
    key: str
    size: int
    etag: str | None = None
    version_id: str | None = None
    last_modified: datetime | None = None
    content_type: str | None = None
    metadata: Mapping[str, str] | None = _NOTHING
    storage_class: str = "STANDARD"
    checksums: Mapping[str, str] = _NOTHING
    server_time: float | None = None
    headers: Mapping[str, str] = _NOTHING
    stale_since: datetime | None = None


class FileContent(NamedTuple):
    """A whole object: its information, content and tags (None if they were not requested)."""

    info: FileInfo
    data: bytes
    tags: Mapping[str, str] | None = None
