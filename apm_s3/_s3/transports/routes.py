"""The location and addressing style of a bucket, as determined by botocore.

botocore's endpoint rules are evaluated once per bucket: its client builds and signs a request, the public
`before-send.s3` event shows the final URL and signature scope, and the request is stopped there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextvars import ContextVar
from ipaddress import ip_address
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from apm_s3._hints import Advice
from apm_s3._naming import EXPRESS
from apm_s3._s3.transports.boto.errors import Internal
from apm_s3._wire.sigv4 import SERVICE, encode_path
from apm_s3.errors import InvalidOption

PROBE_KEY = "k"

PORTS = {"http": 80, "https": 443}

_SCOPE = re.compile(r"AWS4-HMAC-SHA256 Credential=.*/\d{8}/([^/]+)/([^/]+)/aws4_request,")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}", re.ASCII)
FOREIGN_HOSTS = ("s3-accelerate", "s3express", "-fips.", "fips.", "s3-outposts", "s3-object-lambda", ".vpce.")
ALIASES = (EXPRESS, "--xa-s3", "--ol-s3", "--op-s3", "-s3alias", ".mrap")
_KNOWN_HEADERS = frozenset(
    {
        "accept-encoding", "amz-sdk-invocation-id", "amz-sdk-request", "authorization", "content-length", "host",
        "user-agent", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token",
    }
)  # fmt: skip


def is_custom(endpoint_url: str) -> bool:
    """Return whether the endpoint is an S3-compatible server rather than AWS."""
    host = urlsplit(endpoint_url).hostname or ""
    return not host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws"))


def refuse_exposed_token(*hosts: str) -> None:
    """Refuse to send a session token over plain HTTP, unless all `hosts` on the way are this machine.

    Raises:
        InvalidOption: one of them is another machine: whoever is between could read the token, and use it.
    """
    for host in hosts:
        if not _is_local(host):
            raise InvalidOption(
                f"the session token would be sent over plain HTTP to {host}, readable for everybody between",
                hint=Advice.SECURE_TOKEN(),
            )


def _is_local(host: str) -> bool:
    """Return whether `host` is this machine, by https://www.rfc-editor.org/rfc/rfc6761#section-6.3 or its address."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


class Origin(NamedTuple):
    """A server: https://www.rfc-editor.org/rfc/rfc9110#name-origin."""

    host: str
    port: int
    secure: bool

    @property
    def scheme(self) -> str:
        """Return the scheme of its URLs."""
        return "https" if self.secure else "http"

    @property
    def authority(self) -> str:
        """Return host and port for a URL and the Host header, without the default port of the scheme."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == PORTS[self.scheme] else f"{name}:{self.port}"


class Route(NamedTuple):
    """The route to one bucket.

    Attributes:
        host: the Host header, as it is signed.
        prefix: the path before the key: "/", or "/bucket/" (after the endpoint's own path, if any).
        aws: whether it is AWS itself, not an S3-compatible server.
    """

    origin: Origin
    host: str
    prefix: str
    region: str
    aws: bool

    @property
    def root(self) -> str:
        """Return the path of the bucket itself."""
        return self.prefix[:-1] or "/"

    @property
    def secure(self) -> bool:
        """Return whether the connection uses TLS."""
        return self.origin.secure


class _Stopped(Internal):
    """Not an error: it carries the request that was stopped."""

    def __init__(self, url: str, headers: Mapping[str, Any]) -> None:
        super().__init__("stopped before it was sent")
        self.url = url
        self.headers = headers


_learning: ContextVar[bool] = ContextVar("apm_s3_learning", default=False)


def _stop(request: Any, **_: Any) -> None:
    if _learning.get():
        raise _Stopped(request.url, request.headers)


async def learn_route(client: Any, bucket: str) -> Route | None:
    """Return the route of `bucket` from an aiobotocore `client`; None if only that client can be used."""
    if not _BUCKET.fullmatch(bucket) or bucket.endswith(ALIASES):
        return None
    client.meta.events.register_first("before-send.s3.HeadObject", _stop, unique_id="apm-s3-learn-route")
    token = _learning.set(True)
    try:
        await client.head_object(Bucket=bucket, Key=PROBE_KEY)
    except _Stopped as stopped:
        return route_of(stopped.url, stopped.headers, bucket)
    finally:
        _learning.reset(token)
    return None


def route_of(url: str, headers: Mapping[str, Any], bucket: str) -> Route | None:
    """Return the route from botocore's request for `PROBE_KEY` in `bucket`; None if anything is unusual."""
    scope = _SCOPE.match(_text(headers.get("Authorization", "")))
    parts = urlsplit(url)
    host = parts.hostname or ""
    if scope is None or scope[2] != SERVICE or any(name in f"{host}." for name in FOREIGN_HOSTS):
        return None
    if parts.query or any(name.lower() not in _KNOWN_HEADERS for name in headers):
        return None
    prefix = parts.path.removesuffix(PROBE_KEY)
    if prefix == parts.path or not (prefix == "/" or prefix.endswith(f"/{encode_path(bucket)}/")):
        return None
    if parts.username is not None or parts.password is not None or parts.scheme not in PORTS or not host:
        return None
    origin = Origin(host, parts.port or PORTS[parts.scheme], parts.scheme == "https")
    return Route(
        origin=origin,
        host=origin.authority,
        prefix=prefix,
        region=scope[1],
        aws=not is_custom(url),
    )


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
