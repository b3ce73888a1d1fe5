"""The control plane: everything about buckets that is rare, through the aiobotocore client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint of S3.

    Attributes:
        region: the region that requests are signed for.
        is_aws: whether it is S3 itself, rather than an S3-compatible server.
    """

    url: str
    region: str
    is_aws: bool

    @property
    def is_encrypted(self) -> bool:
        """Whether requests go over HTTPS."""
        return self.url.startswith("https:")


class ControlPlane(Protocol):
    """One attempt of any S3 API call, errors translated at this edge."""

    async def call(self, method: str, *, region: str | None = None, **params: Any) -> Mapping[str, Any]:
        """The answer of the aiobotocore client's `method` ("put_bucket_policy"), with boto3's parameters (Bucket=...).

        Args:
            region: the client of that region; the manager's own where it is None.

        Raises:
            S3Error: S3 said no; bucket, key and S3's code are set.
            TransportError: no answer came.
            InvalidRequest: botocore refused the parameters; nothing was sent.
        """

    async def endpoint(self, region: str | None = None) -> Endpoint:
        """Where the requests of `call` with this `region` go."""
