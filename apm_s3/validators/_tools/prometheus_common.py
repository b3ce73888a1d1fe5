"""What Prometheus, Alertmanager and Loki share: types of github.com/prometheus/common, and the web configuration.

The types are HTTP clients, TLS and durations. `SCALARS` and `HOOKS` are part of each tool's schema. Prometheus and
Alertmanager read the web configuration (TLS, users, headers) from `--web.config.file`:
https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md.

The releases of Prometheus that changed a rule are from
https://github.com/prometheus/prometheus/blob/main/CHANGELOG.md; `_data/prometheus.json` has those of fields and
values. What a library changed counts from the first release with that version of the library. Fields without a
release exist since 2.45 or earlier.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from apm_s3.validators._checking import Context, Source, Version, take_issues
from apm_s3.validators._decoding import Hook, Parser, Schema, load_table, nanoseconds_codec, scalar_codec
from apm_s3.validators._query.values import Url, parse_duration, parse_go_duration, parse_url
from apm_s3.validators._structs import Struct, at_most_one

UTF8_NAMES: Version = (3, 0)
"""Metrics and labels may have any UTF-8 name, unless the legacy scheme is set."""
REGION_FROM_THE_INSTANCE: Version = (3, 0)
"""AWS discovery can take the region from the environment or from the instance's metadata."""
ADDRESSES_WITHOUT_PORT: Version = (3, 0)
"""Target addresses no longer get a port from the scheme, and need none."""
WITHOUT_ALERTMANAGER_V1: Version = (3, 0)
"""Version 1 of Alertmanager's API is no longer supported."""
IDENTITY_OF_THE_SYSTEM: Version = (3, 5)
"""An Azure managed identity without a client id is the system-assigned one."""
SELECTORS_OF_OTHER_ROLES: Version = (3, 11)
"""Kubernetes discovery of pods accepts selectors of other roles."""
QUEUE_BOUNDS: Version = (3, 12)
"""The numbers of a remote-write queue are validated."""


_SIGNATURES = ("RS256", "RS384", "RS512")
_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
RESERVED_HEADERS = frozenset((
    "accept-encoding", "authorization", "connection", "content-encoding", "content-length", "content-type", "host",
    "keep-alive", "proxy-authenticate", "proxy-authorization", "user-agent", "www-authenticate", "x-amz-content-sha256",
    "x-amz-date", "x-amz-security-token", "x-prometheus-remote-read-version", "x-prometheus-remote-write-version",
    "x-prometheus-scrape-timeout-seconds",
))  # fmt: skip
"""Headers that the client sets itself."""
_AUTH = ("basic_auth", "authorization", "oauth2")


def check_tls(tls: Struct, context: Context) -> None:
    """Check that ca, cert and key have one source each, and that cert and key are set together."""
    for part in ("ca", "cert", "key"):
        at_most_one(tls, context, (part, f"{part}_file", f"{part}_ref"))
    cert, key = (any(not tls.empty(f"{part}{end}") for end in ("", "_file", "_ref")) for part in ("cert", "key"))
    if cert != key:
        given, missing = ("cert", "key") if cert else ("key", "cert")
        where = next((f"{given}{end}" for end in ("", "_file", "_ref") if not tls.empty(f"{given}{end}")), given)
        tls.error(
            context, where, "required-field", f"a client {given} needs its {missing} ({missing} or {missing}_file)"
        )


def check_proxy(client: Struct, context: Context) -> None:
    """Check proxy settings that are mutually exclusive or depend on each other."""
    url = client.get("proxy_url")
    has_url = isinstance(url, Url) and url.text != ""
    from_environment = bool(client.get("proxy_from_environment"))
    unknown = "proxy_url" in client.failed
    if client.get("proxy_connect_header") and not (from_environment or has_url or unknown):
        message = "proxy_connect_header needs proxy_url or proxy_from_environment"
        client.error(context, "proxy_connect_header", "required-field", message)
    if from_environment and has_url:
        client.error(context, "proxy_url", "exclusive-fields", "proxy_url cannot be used with proxy_from_environment")
    if from_environment and client.get("no_proxy"):
        client.error(context, "no_proxy", "exclusive-fields", "no_proxy cannot be used with proxy_from_environment")
    elif client.get("no_proxy") and url is None and not unknown:
        client.error(context, "no_proxy", "required-field", "no_proxy needs proxy_url")


def check_http_client(client: Struct, context: Context) -> None:
    """Check the rules of HTTPClientConfig.Validate, for every struct with inline fields of an HTTP client."""
    bearer = ("bearer_token", "bearer_token_file")
    at_most_one(client, context, bearer, "auth-exclusive")
    has_bearer = not all(client.empty(name) for name in bearer)
    used = [name for name in _AUTH if client.has(name)]
    if len(used) > 1:
        message = "at most one of basic_auth, oauth2 and authorization may be set"
        client.error(context, used[1], "auth-exclusive", message)
    if has_bearer and used:
        message = f"{used[0]} cannot be used with bearer_token or bearer_token_file"
        client.error(context, used[0], "auth-exclusive", message)
    if (basic := client.struct("basic_auth")) is not None:
        at_most_one(basic, context, ("username", "username_file", "username_ref"), "auth-exclusive")
        at_most_one(basic, context, ("password", "password_file", "password_ref"), "auth-exclusive")
    if (authorization := client.struct("authorization")) is not None:
        _check_authorization(authorization, context)
    if (oauth2 := client.struct("oauth2")) is not None:
        _check_oauth2(oauth2, context)
    check_proxy(client, context)
    check_http_headers(client, context)


def _check_authorization(authorization: Struct, context: Context) -> None:
    at_most_one(authorization, context, ("credentials", "credentials_file", "credentials_ref"), "auth-exclusive")
    if (authorization.get("type") or "").strip().lower() == "basic":
        authorization.error(context, "type", "enum", 'the type cannot be "basic"; use basic_auth instead')


def _check_oauth2(oauth2: Struct, context: Context) -> None:
    for name in ("client_id", "token_url"):
        if oauth2.empty(name):
            oauth2.error(context, name, "required-field", f"oauth2 needs {name}")
    if oauth2.get("grant_type") != _JWT_BEARER:
        at_most_one(oauth2, context, ("client_secret", "client_secret_file", "client_secret_ref"), "auth-exclusive")
        return
    names = ("client_certificate_key", "client_certificate_key_file", "client_certificate_key_ref")
    at_most_one(oauth2, context, names, "auth-exclusive")
    if oauth2.get("signature_algorithm") not in (None, "", *_SIGNATURES):
        oauth2.unknown(context, "signature_algorithm", "algorithm", oauth2.get("signature_algorithm"), _SIGNATURES)


def check_http_headers(client: Struct, context: Context) -> None:
    """Check that `http_headers` has no header that the client sets itself."""
    for name in client.get("http_headers") or ():
        if name.lower() in RESERVED_HEADERS:
            client.error(context, ("http_headers", name), "reserved-header", f"header {name!r} cannot be set here")


SCALARS: Mapping[str, Parser] = {"common/model.Duration": parse_duration, "common/config.URL": parse_url}
HOOKS: Mapping[str, tuple[Hook, ...]] = {
    "common/config.TLSConfig": (check_tls,),
    "common/config.OAuth2": (check_proxy,),
    "common/config.HTTPClientConfig": (check_http_client,),
}


KEYS = frozenset(("tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"))
"""The sections of the document."""

_CONFIG = "web.Config"
_SINCE = {"prometheus": "3.6", "alertmanager": "0.29"}
"""The first releases that may limit the rate of requests (the table has that of Prometheus): those after
https://github.com/prometheus/exporter-toolkit/pull/331 was merged."""
_HEADERS: dict[str, tuple[str, ...]] = {
    "Content-Security-Policy": (),
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
}
_BCRYPT_LENGTH = 59
_COST = re.compile(r"\$2[^$]?\$(\d\d)", re.DOTALL)
_COSTS = range(4, 32)


def check_web_config(tool: str, source: Source, context: Context) -> None:
    """Report the problems of one web configuration of `tool`."""
    root = take_issues(source.document("yaml", library="v2"), context)
    if root is not None:
        _schema(tool).decode(_CONFIG, root, context)


@cache
def _schema(tool: str) -> Schema:
    table = load_table("web")
    table["types"][_CONFIG]["rate_limit"]["since"] = _SINCE[tool]
    return Schema(
        table,
        codecs={"time.Duration": nanoseconds_codec(scalar_codec(parse_go_duration))},
        hooks={_CONFIG: (_check_users,), "web.TLSConfig": (_check_tls,), "web.HTTPConfig": (_check_headers,)},
    )


def _check_tls(tls: Struct, context: Context) -> None:
    """Check that a certificate has its key, and that client CAs are set only if clients must present certificates."""
    used = [name for name in ("cert", "key", "client_ca") if not (tls.empty(name) and tls.empty(f"{name}_file"))]
    kind = tls.get("client_auth_type") or ""
    if not used and not kind:
        return
    for name in ("cert", "key"):
        if name not in used:
            tls.error(context, "tls_server_config", "required-field", f"one of {name} and {name}_file must be set")
    if "client_ca" in used and kind in ("", "NoClientCert"):
        where = "client_ca" if not tls.empty("client_ca") else "client_ca_file"
        message = f"{where} needs a client_auth_type that verifies certificates"
        tls.error(context, where, "required-field", message, "write RequireAndVerifyClientCert")


def _check_headers(http: Struct, context: Context) -> None:
    for name, value in (http.get("headers") or {}).items():
        values = _HEADERS.get(name)
        if values is None:
            message = f"header {name[:80]!r} cannot be set here; allowed headers: {', '.join(_HEADERS)}"
            http.error(context, ("headers", name), "reserved-header", message, context.hint(name, _HEADERS))
        elif values and value not in values and isinstance(value, str):
            http.unknown(context, ("headers", name), f"value of {name}", value, values)


def _check_users(config: Struct, context: Context) -> None:
    """Check that passwords are bcrypt hashes. They are never quoted."""
    for name, value in (config.get("basic_auth_users") or {}).items():
        if isinstance(value, str) and not _is_bcrypt(value):
            message = f"the password of {name[:80]!r} is not a bcrypt hash"
            hint = "make one with: htpasswd -nBC 10 ''"
            config.error(context, ("basic_auth_users", name), "password-hash", message, hint)


def _is_bcrypt(text: str) -> bool:
    cost = _COST.match(text)
    return len(text.encode("utf-8", "surrogatepass")) >= _BCRYPT_LENGTH and cost is not None and int(cost[1]) in _COSTS
