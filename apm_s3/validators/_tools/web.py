"""The web configuration (TLS, users, headers) that Prometheus and Alertmanager read from `--web.config.file`.

https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md.
"""

from __future__ import annotations

import re
from functools import cache

from apm_s3.validators._checking import Context, Source, take_issues
from apm_s3.validators._decoding import Gate, Mismatch, Parser, Schema, Struct, nanoseconds_codec, scalar_codec
from apm_s3.validators._grammars.values import parse_go_duration

KEYS = frozenset(("tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"))
"""The sections of the document."""

_CONFIG = "web.Config"
_TABLE = {
    _CONFIG: {
        "tls_server_config": "web.TLSConfig",
        "http_server_config": "web.HTTPConfig",
        "rate_limit": "web.RateLimiterConfig",
        "basic_auth_users": "{}string",
    },
    "web.TLSConfig": {
        "cert": "string",
        "key": "string",
        "client_ca": "string",
        "cert_file": "string",
        "key_file": "string",
        "client_ca_file": "string",
        "client_auth_type": "string",
        "client_allowed_sans": "[]string",
        "cipher_suites": "[]web.Cipher",
        "curve_preferences": "[]web.Curve",
        "min_version": "web.TLSVersion",
        "max_version": "web.TLSVersion",
        "prefer_server_cipher_suites": "bool",
    },
    "web.HTTPConfig": {"http2": "bool", "headers": "{}string"},
    "web.RateLimiterConfig": {"burst": "int", "interval": "time.Duration"},
    "web.Cipher": {},
    "web.Curve": {},
    "web.TLSVersion": {},
}
_SINCE = {"prometheus": (3, 6), "alertmanager": (0, 29)}
"""The first releases that may limit the rate of requests: those after
https://github.com/prometheus/exporter-toolkit/pull/331 was merged."""
_HEADERS: dict[str, tuple[str, ...]] = {
    "Content-Security-Policy": (),
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
}
_CLIENT_AUTH = (
    *("", "NoClientCert", "RequestClientCert", "RequireAnyClientCert", "RequireClientCert"),
    *("VerifyClientCertIfGiven", "RequireAndVerifyClientCert"),
)
_VERSIONS = ("TLS10", "TLS11", "TLS12", "TLS13")
_CURVES = ("CurveP256", "CurveP384", "CurveP521", "X25519")
_CIPHERS = tuple(
    f"TLS_{name}"
    for name in (
        *("AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256"),
        *("RSA_WITH_AES_128_CBC_SHA", "RSA_WITH_AES_256_CBC_SHA", "RSA_WITH_AES_128_GCM_SHA256"),
        *("RSA_WITH_AES_256_GCM_SHA384",),
        *(
            f"ECDHE_{key}_WITH_{cipher}"
            for key in ("ECDSA", "RSA")
            for cipher in (
                *("AES_128_CBC_SHA", "AES_256_CBC_SHA", "AES_128_GCM_SHA256", "AES_256_GCM_SHA384"),
                "CHACHA20_POLY1305_SHA256",
            )
        ),
    )
)
"""https://pkg.go.dev/crypto/tls#CipherSuites, and the RSA suites that older releases of Go list there."""
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
    return Schema(
        _TABLE,
        codecs={
            "web.Cipher": scalar_codec(_one_of("cipher", _CIPHERS)),
            "web.Curve": scalar_codec(_one_of("curve", _CURVES)),
            "web.TLSVersion": scalar_codec(_one_of("TLS version", _VERSIONS)),
            "time.Duration": nanoseconds_codec(scalar_codec(parse_go_duration)),
        },
        hooks={
            _CONFIG: (_check_users,),
            "web.TLSConfig": (_check_tls,),
            "web.HTTPConfig": (_check_headers,),
        },
        gates={_CONFIG: {"rate_limit": Gate(since=_SINCE[tool])}},
    )


def _one_of(what: str, known: tuple[str, ...]) -> Parser:
    def parse(text: str) -> str:
        if text not in known:
            raise Mismatch.unknown(what, text, known)
        return text

    return parse


def _check_tls(tls: Struct, context: Context) -> None:
    """Check that a certificate has its key, and that client CAs are set only if clients must present certificates."""
    used = [name for name in ("cert", "key", "client_ca") if not (tls.empty(name) and tls.empty(f"{name}_file"))]
    kind = tls.get("client_auth_type") or ""
    if not used and not kind:
        return
    for name in ("cert", "key"):
        if name not in used:
            tls.error(context, "tls_server_config", "required-field", f"one of {name} and {name}_file must be set")
    for name in used:
        if not tls.empty(name) and not tls.empty(f"{name}_file"):
            message = f"at most one of {name} and {name}_file may be set"
            tls.error(context, f"{name}_file", "exclusive-fields", message)
    if kind not in _CLIENT_AUTH:
        tls.unknown(context, "client_auth_type", "type of client authentication", kind, _CLIENT_AUTH[1:])
    elif "client_ca" in used and kind in _CLIENT_AUTH[:2]:
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
