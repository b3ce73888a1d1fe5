"""Routes of plain endpoints, found without botocore, which takes most of a second to load. Pure.

A target is plain only if nothing in the settings, the environment or the AWS configuration files can change its
endpoint, addressing or signature. botocore handles all other cases.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from apm_s3._s3.transports.boto.control import Endpoint
from apm_s3._s3.transports.routes import ALIASES, FOREIGN_HOSTS, PORTS, Origin, Route, is_custom
from apm_s3.models import Credentials

if TYPE_CHECKING:
    from apm_s3.settings import S3Settings

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

_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", re.ASCII)
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
    names = _BUCKET if server is None else _DOTTED_BUCKET
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
