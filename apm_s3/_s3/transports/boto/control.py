"""The control plane: bucket settings and other rare requests, through the aiobotocore client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol


class Endpoint(NamedTuple):
    """An endpoint of S3.

    Attributes:
        region: the region for signing requests.
        is_aws: whether it is S3 itself, rather than an S3-compatible server.
    """

    url: str
    region: str
    is_aws: bool

    @property
    def is_encrypted(self) -> bool:
        """Return whether requests use HTTPS."""
        return self.url.startswith("https:")


class ControlPlane(Protocol):
    """One attempt of any S3 API call, with translated errors."""

    async def call(self, method: str, *, region: str | None = None, **params: Any) -> Mapping[str, Any]:
        """Call the aiobotocore client's `method` ("put_bucket_policy") with boto3's parameters (Bucket=...).

        Args:
            region: the region of the client; None means the manager's region.

        Raises:
            S3Error: S3 refused the request, or failed; bucket, key and S3's code are set.
            TransportError: there was no response.
            InvalidRequest: botocore refused the parameters; nothing was sent.
        """

    async def endpoint(self, region: str | None = None) -> Endpoint:
        """Return the endpoint of `call` for this `region`."""
