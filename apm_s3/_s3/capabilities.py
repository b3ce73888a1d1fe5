"""The parts of S3 that a server lacks, known from its name or learned from its responses.

Most of them show in a GET (501 for an unknown setting), but not all: for a setting that SeaweedFS lacks, a GET returns
that it is not configured, and a PUT is treated as CreateBucket, which may create a *new bucket*.
"""

from __future__ import annotations

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
