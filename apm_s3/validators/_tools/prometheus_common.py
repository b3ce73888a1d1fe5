"""The types of github.com/prometheus/common, which Prometheus, Alertmanager and Loki share: HTTP clients, TLS,
durations.

`SCALARS` and `HOOKS` are part of each tool's schema.
"""

from __future__ import annotations

from collections.abc import Mapping

from apm_s3.validators._checking import Context
from apm_s3.validators._decoding import Hook, Mismatch, Parser
from apm_s3.validators._grammars.values import BadUrl, Url, parse_duration, parse_url
from apm_s3.validators._structs import Struct, at_most_one

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


def parse_common_url(text: str) -> Url:
    """Parse a URL as Go does. Errors do not quote it, because URLs may contain passwords.

    Raises:
        Mismatch: not a URL.
    """
    try:
        return parse_url(text)
    except BadUrl as exc:
        raise Mismatch("url", f"invalid URL: {exc}") from exc


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


SCALARS: Mapping[str, Parser] = {"common/model.Duration": parse_duration, "common/config.URL": parse_common_url}
HOOKS: Mapping[str, tuple[Hook, ...]] = {
    "common/config.TLSConfig": (check_tls,),
    "common/config.OAuth2": (check_proxy,),
    "common/config.HTTPClientConfig": (check_http_client,),
}
