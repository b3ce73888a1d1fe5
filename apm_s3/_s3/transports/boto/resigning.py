"""Re-signs botocore's requests if its clock is wrong, or if it would hash a body in the event loop."""

from __future__ import annotations

import asyncio
import re
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from apm_s3._wire.checksums import OFF_LOOP
from apm_s3._wire.sigv4 import SERVICE, UNSIGNED_PAYLOAD, Signer

if TYPE_CHECKING:
    from apm_s3._s3.transports.clock import Clock
    from apm_s3._s3.transports.credentials import CredentialProvider

_AUTHORIZATION = re.compile(
    rf"AWS4-HMAC-SHA256 Credential=(.+)/\d{{8}}/([^/]+)/{SERVICE}/aws4_request, SignedHeaders=([^,]+), Signature=.+"
)
_REPLACED = ("x-amz-content-sha256", "x-amz-date", "x-amz-security-token", "authorization")


class Resigner:
    """A handler of botocore's `before-send.s3` event. Requests with other signatures (SigV4a, S3 Express) are
    unchanged.

    Over plain HTTP, the body's hash must be signed. botocore would compute it in the event loop (1.5 ms per MiB), so
    this is turned off (`payload_signing_enabled`), and the hash is computed here, in a thread.
    """

    def __init__(self, clock: Clock, credentials: CredentialProvider) -> None:
        self._clock = clock
        self._credentials = credentials
        self._signer = Signer()

    async def __call__(self, request: Any, **_: Any) -> None:
        """Sign the request again, if needed."""
        headers = request.headers
        # botocore passes a file instead of the bytes of an object.
        body = request.body.getvalue() if isinstance(request.body, BytesIO) else request.body
        unhashed = isinstance(body, bytes) and body and request.url.startswith("http:")
        if not (unhashed or self._clock.offset):
            return
        signed = _AUTHORIZATION.fullmatch(_text(headers.get("Authorization", "")))
        credentials = await self._credentials.get()
        if signed is None or credentials is None or signed[1] != credentials.key_id:
            return
        payload_hash = _text(headers["X-Amz-Content-SHA256"])
        if unhashed and payload_hash == UNSIGNED_PAYLOAD:
            payload_hash = await _hash(body)
        parts = urlsplit(request.url)
        host = _host(parts)
        values = {name: _text(headers.get(name, host if name == "host" else "")) for name in signed[3].split(";")}
        self._signer.sign(
            credentials,
            signed[2],
            request.method,
            parts.path or "/",
            _sorted(parts.query),
            values,
            payload_hash,
            self._clock.now(),
        )
        for name in _REPLACED:
            if name in values:
                del headers[name]
                headers[name] = values[name]


def _host(parts: SplitResult) -> str:
    """Return the Host header, which aiohttp adds."""
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return name if parts.port in (None, default) else f"{name}:{parts.port}"


async def _hash(body: bytes) -> str:
    if len(body) < OFF_LOOP:
        return sha256(body).hexdigest()
    return (await asyncio.to_thread(sha256, body)).hexdigest()


def _sorted(query: str) -> str:
    pairs = sorted(pair.partition("=") for pair in query.split("&") if pair)
    return "&".join(f"{name}={value}" for name, _, value in pairs)


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
