"""AWS Signature Version 4 for S3, in headers, in a query (presigned URLs) and in the chunks of a body. Pure.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from hashlib import sha256
from hmac import digest as hmac_digest
from urllib.parse import quote, urlencode

from apm_s3.errors import InvalidRequest
from apm_s3.models import Credentials

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "s3"
EMPTY_SHA256 = sha256(b"").hexdigest()
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_CHUNKS_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_CHUNKS_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
"""Values of `x-amz-content-sha256` for a body whose hash is not known in advance."""

MAX_PRESIGN_SECONDS = 7 * 24 * 3600
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-presigned-url.html."""

_INNER_PAD = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD = bytes(byte ^ 0x5C for byte in range(256))

_UNRESERVED = re.compile(r"[A-Za-z0-9/_.~-]*", re.ASCII)


def encode_path(path: str) -> str:
    """Encode `path` for both the URL and the signature: S3 encodes once and never normalizes."""
    if _UNRESERVED.fullmatch(path):
        return path
    try:
        return quote(path, safe="/~")
    except UnicodeEncodeError as exc:
        raise _not_unicode() from exc


def encode_query(parameters: Iterable[tuple[str, str]]) -> str:
    """Encode and sort the parameters, for the query of both the URL and the signature."""
    try:
        return "&".join(f"{name}={value}" for name, value in sorted(map(_encode_parameter, parameters)))
    except UnicodeEncodeError as exc:
        raise _not_unicode() from exc


def encode_tags(tags: Mapping[str, str]) -> str:
    """Encode tags for a header. A space is %20, because some servers take a plus for a plus."""
    return urlencode(tags, quote_via=quote)


def _not_unicode() -> InvalidRequest:
    return InvalidRequest("an argument is not valid Unicode (it has a lone surrogate)", hint="use UTF-8 text")


class SigningKey:
    """HMAC-SHA256 with one key, which is hashed only once, in half the time of `hmac.digest`.

    https://www.rfc-editor.org/rfc/rfc2104
    """

    def __init__(self, key: bytes) -> None:
        padded = key.ljust(64, b"\0")
        self._inner = sha256(padded.translate(_INNER_PAD))
        self._outer = sha256(padded.translate(_OUTER_PAD))

    def sign(self, text: str) -> str:
        """Return the signature of `text`, in hex."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text.encode())
        outer.update(inner.digest())
        return outer.hexdigest()


class ChunkSigner:
    """Signs the chunks of one body; each signature covers the previous one.

    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
    """

    def __init__(self, key: SigningKey, amz_date: str, credential_scope: str, seed: str) -> None:
        self._key = key
        self._stamp = f"{amz_date}\n{credential_scope}"
        self._previous = seed

    def chunk(self, data: bytes | bytearray | memoryview) -> str:
        """Return the signature of the next chunk."""
        return self._next("PAYLOAD", f"{EMPTY_SHA256}\n{sha256(data).hexdigest()}")

    def trailer(self, lines: bytes) -> str:
        """Return the signature of the trailing headers."""
        return self._next("TRAILER", sha256(lines).hexdigest())

    def _next(self, kind: str, content: str) -> str:
        text = f"{ALGORITHM}-{kind}\n{self._stamp}\n{self._previous}\n{content}"
        self._previous = self._key.sign(text)
        return self._previous


class Signer:
    """Signs requests; caches the signing keys, which change once a day, and the text of the current second."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, str, str], tuple[SigningKey, str]] = {}
        self._second: int | None = None
        self._amz_date: str

    def sign(
        self,
        credentials: Credentials,
        region: str,
        method: str,
        path: str,
        query: str,
        headers: dict[str, str],
        payload_hash: str,
        now: float,
    ) -> ChunkSigner | None:
        """Add date, payload hash, token and `authorization` to `headers`, and sign all of them.

        Return the signer of the body's chunks if `payload_hash` says that they are signed.

        Args:
            path, query: already encoded, as they will be sent.
            headers: names in lower case, including `host`.
            now: Unix seconds.
        """
        amz_date = self._date(now)
        headers["x-amz-content-sha256"] = payload_hash
        headers["x-amz-date"] = amz_date
        if credentials.token:
            headers["x-amz-security-token"] = credentials.token
        request, names = canonical_request(method, path, query, headers, payload_hash)
        key, credential_scope = self._key(credentials.secret, amz_date[:8], region)
        signature = _signature(key, amz_date, credential_scope, request)
        credential = f"{credentials.key_id}/{credential_scope}"
        headers["authorization"] = f"{ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}"
        if payload_hash in (SIGNED_CHUNKS, SIGNED_CHUNKS_TRAILER):
            return ChunkSigner(key, amz_date, credential_scope, signature)
        return None

    def presign(
        self,
        credentials: Credentials,
        region: str,
        method: str,
        path: str,
        parameters: Iterable[tuple[str, str]],
        headers: Mapping[str, str],
        expires_in: int,
        now: float,
    ) -> str:
        """Return the query of a presigned URL. Its user must send `headers` (names in lower case) unchanged."""
        amz_date = self._date(now)
        key, credential_scope = self._key(credentials.secret, amz_date[:8], region)
        signing = [
            *parameters,
            ("X-Amz-Algorithm", ALGORITHM),
            ("X-Amz-Credential", f"{credentials.key_id}/{credential_scope}"),
            ("X-Amz-Date", amz_date),
            ("X-Amz-Expires", str(expires_in)),
            ("X-Amz-SignedHeaders", ";".join(sorted(headers))),
        ]
        if credentials.token:
            signing.append(("X-Amz-Security-Token", credentials.token))
        query = encode_query(signing)
        request, _ = canonical_request(method, path, query, headers, UNSIGNED_PAYLOAD)
        signature = _signature(key, amz_date, credential_scope, request)
        return f"{query}&X-Amz-Signature={signature}"

    def _key(self, secret: str, day: str, region: str) -> tuple[SigningKey, str]:
        """Return the signing key and its scope."""
        name = (secret, day, region)
        known = self._keys.get(name)
        if known is None:
            if len(self._keys) >= 64:
                self._keys.clear()
            key = f"AWS4{secret}".encode()
            for part in (day, region, SERVICE, "aws4_request"):
                key = hmac_digest(key, part.encode(), "sha256")
            known = self._keys[name] = (SigningKey(key), f"{day}/{region}/{SERVICE}/aws4_request")
        return known

    def _date(self, now: float) -> str:
        second = int(now)
        if second != self._second:
            self._amz_date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
            self._second = second
        return self._amz_date


def canonical_request(
    method: str, path: str, query: str, headers: Mapping[str, str], payload_hash: str
) -> tuple[str, str]:
    """Return the text to sign, and the names of the signed headers."""
    names = sorted(headers)
    lines = "\n".join([f"{name}:{headers[name]}" for name in names])
    if not lines.isascii() or "  " in lines or ": " in lines or " \n" in lines or lines[-1] == " " or "\t" in lines:
        # White space must be trimmed and folded; checking for it is much cheaper than always doing it.
        lines = "\n".join([f"{name}:{' '.join(headers[name].split())}" for name in names])
    signed = ";".join(names)
    return f"{method}\n{path}\n{query}\n{lines}\n\n{signed}\n{payload_hash}", signed


def _signature(key: SigningKey, amz_date: str, credential_scope: str, request: str) -> str:
    return key.sign(f"{ALGORITHM}\n{amz_date}\n{credential_scope}\n{sha256(request.encode()).hexdigest()}")


def _encode_parameter(parameter: tuple[str, str]) -> tuple[str, str]:
    return quote(parameter[0], safe="-_.~"), quote(parameter[1], safe="-_.~")
