"""The web configuration (TLS, users, headers) that Prometheus and Alertmanager read from `--web.config.file`.

https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md.
"""

from __future__ import annotations

import re
from functools import cache

from apm_s3.validators._checking import Context, Source, take_issues
from apm_s3.validators._decoding import Schema, load_table, nanoseconds_codec, scalar_codec
from apm_s3.validators._grammars.values import parse_go_duration
from apm_s3.validators._structs import Struct

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
