"""The parts of S3 that a server lacks, known from its name or learned from its responses.

Most of them show in a GET (501 for an unknown setting), but not all: for a setting that SeaweedFS lacks, a GET returns
that it is not configured, and a PUT is treated as CreateBucket, which may create a *new bucket*.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

TRANSITIONS = "Lifecycle transitions"

_LACKING: Mapping[str, tuple[str, ...]] = {"seaweedfs": ("AccessLogging", "Notifications", "Replication")}
"""Missing kinds of settings, by the first word of the Server header. Determined with SeaweedFS 4.48."""


class Capabilities:
    """What one endpoint is known to lack. It only learns, without I/O."""

    def __init__(self) -> None:
        self._lacking: set[str] = set()

    def learn_server(self, response: Mapping[str, Any]) -> None:
        """Learn from a response of the control plane: the Server header names products with known gaps."""
        headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        product = headers.get("server", "").partition(" ")[0].lower()
        self._lacking.update(_LACKING.get(product, ()))

    def lacks(self, feature: str) -> bool:
        """Return whether the server is known to lack a kind of setting, or TRANSITIONS."""
        return feature in self._lacking

    def learn_lack(self, feature: str) -> None:
        """Record that the server does not know a kind of setting."""
        self._lacking.add(feature)


class Conditions:
    """What an endpoint does with the conditions of writes, by S3's name of the request. It only learns, without I/O.

    Ceph's gateway takes the ETag of PutObject's `If-Match` only without quotes, and refuses it with quotes as stale.
    """

    def __init__(self) -> None:
        self.honoured: dict[tuple[str, str], bool] = {}
        """Whether a request (S3's name) honours a condition ("If-Match")."""
        self.asking: asyncio.Lock = asyncio.Lock()
        """Held while a server is asked, so that concurrent calls ask once."""
        self._quoted: dict[str, bool] = {}
        self._proven: set[tuple[str, str]] = set()

    def spelled(self, api: str, etag: str) -> str:
        """Return `etag` with or without quotes, as the endpoint takes it; unchanged if that is not known."""
        quoted = self._quoted.get(api)
        bare = etag.strip('"')
        return etag if quoted is None or etag.startswith("W/") else f'"{bare}"' if quoted else bare

    def proven(self, api: str, bucket: str) -> bool:
        """Return whether a write to `bucket` has succeeded with `If-Match`, so that a refused ETag is a stale one."""
        return (api, bucket) in self._proven

    def learn(self, api: str, bucket: str, etag: str) -> None:
        """Record that a write with the condition `etag`, as it was sent, has succeeded."""
        self._quoted[api] = etag.endswith('"')
        self._proven.add((api, bucket))
