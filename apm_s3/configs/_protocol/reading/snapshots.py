"""The reference document as it was read at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from apm_s3.configs._models.current import Current


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The reference document of an environment as it was read.

    Attributes:
        server_time: the server's clock at the response, Unix seconds.
        asked_at: the event loop's clock before the request.
        stale_since: when this was current, if S3 cannot be reached.
        doubtful: whether its MD5 is not its ETag, which it is on most servers: writers ask before they build on it.
    """

    environment: str
    current: Current
    etag: str
    server_time: float
    asked_at: float
    stale_since: datetime | None = None
    doubtful: bool = False
