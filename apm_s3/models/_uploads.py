"""Bodies and parts of uploads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Stream:
    """A body that is read in pieces.

    Attributes:
        size: bytes in total; None if unknown.
        open: starts reading from the beginning.
        replayable: whether `open` may be called again; otherwise, a failed upload is not retried.
        digests: what is claimed of the whole body: "md5" and S3's checksums, in base64, by algorithm.
    """

    open: Callable[[], AsyncIterator[bytes]]
    size: int | None = None
    replayable: bool = False
    digests: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PartInfo:
    """One part of a multipart upload, as stored by S3."""

    number: int
    etag: str
    size: int
    checksums: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UploadInfo:
    """One open multipart upload."""

    key: str
    upload_id: str
    initiated: datetime | None
