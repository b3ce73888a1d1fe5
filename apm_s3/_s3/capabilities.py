"""What the server behind an endpoint lacks of S3: told by its name, and learned from its answers.

GETs show most of it (501 for a setting that a server does not know). Not all: SeaweedFS answers the GET of a setting
that it lacks as if there were none, and takes the PUT for CreateBucket, which makes a *new bucket* where there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TRANSITIONS = "Lifecycle transitions"

_LACKING: Mapping[str, tuple[str, ...]] = {"seaweedfs": ("AccessLogging", "Notifications", "Replication")}
"""Kinds of settings, by the first word of the Server header. Measured with SeaweedFS 4.48."""


class Capabilities:
    """What one endpoint is known to lack. It only ever learns; no I/O."""

    def __init__(self) -> None:
        self._lacking: set[str] = set()

    def learn_server(self, answer: Mapping[str, Any]) -> None:
        """Take in any answer of the control plane: the Server header names products whose gaps are known."""
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        product = headers.get("server", "").partition(" ")[0].lower()
        self._lacking.update(_LACKING.get(product, ()))

    def lacks(self, feature: str) -> bool:
        """Whether the server is known to lack a kind of setting, or TRANSITIONS."""
        return feature in self._lacking

    def learn_lack(self, feature: str) -> None:
        """The server answered that it does not know it."""
        self._lacking.add(feature)
