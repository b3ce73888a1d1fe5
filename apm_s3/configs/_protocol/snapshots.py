"""The reference document as it was read at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from apm_s3.configs._models import Current


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The reference document of an environment as it was read.

    Attributes:
        server_time: the server's clock at the answer, Unix seconds.
        asked_at: the event loop's clock before it was asked.
        stale_since: S3 could not be reached, and this is what it said then.
    """

    environment: str
    current: Current
    etag: str
    server_time: float
    asked_at: float
    stale_since: datetime | None = None
