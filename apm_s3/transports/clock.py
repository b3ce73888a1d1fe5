"""S3's clock, where this machine's is off: S3 takes no signature whose time is a quarter of an hour from its own."""

from __future__ import annotations

import re
import time
from typing import Any
from urllib.parse import urlsplit

from apm_s3.transports.credentials import CredentialProvider
from apm_s3.wire.sigv4 import SERVICE, Signer

MAX_SKEW = 15 * 60
"""Seconds: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html."""

_AUTHORIZATION = re.compile(
    rf"AWS4-HMAC-SHA256 Credential=(.+)/\d{{8}}/([^/]+)/{SERVICE}/aws4_request, SignedHeaders=([^,]+), Signature=.+"
)
_REPLACED = ("x-amz-date", "x-amz-security-token", "authorization")


class Clock:
    """The time by which requests are signed: this machine's, until S3 corrects it.

    Attributes:
        offset: seconds by which S3's clock is ahead of this machine's.
    """

    def __init__(self) -> None:
        self.offset = 0.0

    def now(self) -> float:
        """Unix seconds."""
        return time.time() + self.offset

    def correct(self, server_time: float) -> None:
        """S3 has refused a signature for its time, and told its own (Unix seconds)."""
        self.offset = server_time - time.time()

    def is_off(self, server_time: float | None) -> bool:
        """Whether S3 refuses what is signed now, given the time that it told."""
        return server_time is not None and abs(server_time - self.now()) > MAX_SKEW


class Resigner:
    """Signs botocore's requests anew, by `clock`: botocore knows this machine's only.

    A handler of botocore's `before-send.s3` event. It does nothing while the clock needs no correction, and leaves what
    is signed otherwise (SigV4a, S3 Express) as it is.
    """

    def __init__(self, clock: Clock, credentials: CredentialProvider) -> None:
        self._clock = clock
        self._credentials = credentials
        self._signer = Signer()

    async def __call__(self, request: Any, **_: Any) -> None:
        """See the class."""
        if not self._clock.offset:
            return
        headers = request.headers
        signed = _AUTHORIZATION.fullmatch(_text(headers.get("Authorization", "")))
        credentials = await self._credentials.get()
        if signed is None or credentials is None or signed[1] != credentials.key_id:
            return
        parts = urlsplit(request.url)
        names = signed[3].split(";")
        values = {name: _text(headers.get(name, parts.netloc if name == "host" else "")) for name in names}
        self._signer.sign(
            credentials,
            signed[2],
            request.method,
            parts.path or "/",
            _sorted(parts.query),
            values,
            _text(headers["X-Amz-Content-SHA256"]),
            self._clock.now(),
        )
        for name in _REPLACED:
            if name in values:
                del headers[name]
                headers[name] = values[name]


def _sorted(query: str) -> str:
    pairs = sorted(pair.partition("=") for pair in query.split("&") if pair)
    return "&".join(f"{name}={value}" for name, _, value in pairs)


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
