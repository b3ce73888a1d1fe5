"""The location and addressing style of a bucket: for plain endpoints known here, otherwise determined by botocore.

botocore takes most of a second to load. A target is plain only if nothing in the settings, the environment or the AWS
configuration files can change its endpoint, addressing or signature. botocore handles all other cases.

botocore's endpoint rules are evaluated once per bucket: its client builds and signs a request, the public
`before-send.s3` event shows the final URL and signature scope, and the request is stopped there.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from apm_s3._hints import Advice
from apm_s3._naming import EXPRESS
from apm_s3._s3.transports.base import Endpoint
from apm_s3._s3.transports.boto.errors import Internal
from apm_s3._wire.sigv4 import SERVICE, encode_path
from apm_s3.errors import InvalidOption
from apm_s3.models import Credentials

if TYPE_CHECKING:
    from apm_s3.settings import S3Settings


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
    scope = _SCOPE.match(header_text(headers.get("Authorization", "")))
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


def header_text(value: Any) -> str:
    """Return a header's value: botocore has some of them as bytes."""
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


_HARMLESS = frozenset(
    {
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_REGION",
        "AWS_EC2_METADATA_DISABLED", "AWS_EXECUTION_ENV", "AWS_PAGER",
    }
)  # fmt: skip
"""Variables that do not change endpoint, addressing or signature. botocore does not read AWS_REGION."""

_CONFIGURING = ("AWS_", "BOTO", "_X_AMZN_")
"""Prefixes of the variables that botocore reads."""

_REGION = re.compile(r"(?:us|eu|ap|sa|ca|me|af|il|mx)-(?:central|(?:north|south)?(?:east|west)?)-\d", re.ASCII)
"""Regions of AWS's main partition, from botocore's partitions.json, except unusual ones."""

_CUSTOM_REGION = re.compile(r"[a-z](?:[a-z0-9-]{0,30}[a-z0-9])?", re.ASCII)
_SPECIAL_REGIONS = ("fips", "global", "s3-", "aws-", "gov", "iso", "cn-")

_PLAIN_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", re.ASCII)
_DOTTED_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)

_ENDPOINT = re.compile(r"(https?)://([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?::([1-9]\d{0,4}))?/?", re.ASCII)
_MAX_PORT = 65535


class PlainTarget(NamedTuple):
    """The target of a manager's requests.

    Attributes:
        server: an S3-compatible server with path-style addressing; None for AWS.
        by_path: whether the bucket is in the path of the URL.
    """

    region: str
    server: Origin | None
    by_path: bool


def plain_target(
    region: str | None,
    endpoint_url: str | None,
    settings: S3Settings,
    environment: Mapping[str, str],
    *,
    configured: bool,
) -> PlainTarget | None:
    """Return the target for the arguments of a manager; None if it needs botocore.

    Args:
        configured: whether there may be AWS configuration files.
    """
    region = region or environment.get("AWS_DEFAULT_REGION") or ""
    if configured or not _changes_nothing(environment) or not names_no_proxy(settings.proxies, environment):
        return None
    if settings.proxies_config is not None or not _is_region(region, custom=endpoint_url is not None):
        return None
    if endpoint_url is None:
        return PlainTarget(region, None, settings.addressing_style == "path")
    server = _server(endpoint_url)
    if server is None or settings.addressing_style == "virtual":
        return None
    return PlainTarget(region, server, by_path=True)


def plain_credentials(environment: Mapping[str, str]) -> Credentials | None:
    """Return the credentials of the environment if they are complete and do not expire; None if it needs botocore."""
    key_id, secret = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
    if not key_id or not secret or not _changes_nothing(environment):
        return None
    return Credentials(key_id, secret, environment.get("AWS_SESSION_TOKEN") or None)


def plain_route(target: PlainTarget, bucket: str, region: str | None = None) -> Route | None:
    """Return botocore's route to `bucket`; None if it needs botocore.

    Args:
        region: the region of the bucket, if it is known to differ from the target's.
    """
    region = region or target.region
    server = target.server
    names = _PLAIN_BUCKET if server is None else _DOTTED_BUCKET
    if not names.fullmatch(bucket) or bucket.endswith(ALIASES) or not _is_region(region, custom=server is not None):
        return None
    if server is not None:
        return Route(server, server.authority, f"/{bucket}/", region, aws=False)
    host = _aws_host(region)
    if not target.by_path:
        host = f"{bucket}.{host}"
    return Route(
        Origin(host, PORTS["https"], secure=True), host, f"/{bucket}/" if target.by_path else "/", region, aws=True
    )


def plain_endpoint(target: PlainTarget, endpoint_url: str | None) -> Endpoint:
    """Return botocore's endpoint for a target and the `endpoint_url` that it was made from."""
    if endpoint_url is not None:
        return Endpoint(endpoint_url, target.region, is_aws=False)
    return Endpoint(f"https://{_aws_host(target.region)}", target.region, is_aws=True)


def names_no_proxy(proxies: Mapping[str, str] | None, environment: Mapping[str, str]) -> bool:
    """Return whether there is certainly no proxy. macOS and Windows can have one in their system settings."""
    if proxies is not None:
        return not proxies
    if sys.platform in {"darwin", "win32"}:
        return False
    return not any(name.lower().endswith("_proxy") and value for name, value in environment.items())


def _aws_host(region: str) -> str:
    # botocore's default for us-east-1 is the endpoint without a region ("legacy").
    return "s3.amazonaws.com" if region == "us-east-1" else f"s3.{region}.amazonaws.com"


def _changes_nothing(environment: Mapping[str, str]) -> bool:
    return not any(name.upper().startswith(_CONFIGURING) and name not in _HARMLESS for name in environment)


def _is_region(region: str, *, custom: bool) -> bool:
    if not custom:
        return _REGION.fullmatch(region) is not None
    return _CUSTOM_REGION.fullmatch(region) is not None and not any(mark in region for mark in _SPECIAL_REGIONS)


def _server(endpoint_url: str) -> Origin | None:
    found = _ENDPOINT.fullmatch(endpoint_url)
    if found is None or not is_custom(endpoint_url):
        return None
    scheme, host, port = found.groups()
    if ".." in host or any(name in f"{host}." for name in FOREIGN_HOSTS) or int(port or 1) > _MAX_PORT:
        return None
    return Origin(host, int(port or PORTS[scheme]), scheme == "https")
