"""Finds secrets by the name of their field. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

Steps = tuple[str | int | tuple[str, str], ...]
"""The path to a value. Names and indexes of list items are ignored."""
Labels = Mapping[Steps, str]
"""The names of named mappings, by the steps that lead to them."""

_KINDS = {
    "connection string": ("connection_string", "connectionstring", "connstr", "dsn"),
    "credentials": ("credentials", "x_auth", "xauth"),
    "key": (
        "access_key_secret", "account_key", "api_key", "apikey", "app_key", "auth_key", "client_certificate_key",
        "consumer_key", "encryption_key", "hmac_key", "integration_key", "integrationkey", "jwt_key",
        "license_key", "master_key", "private_key", "privatekey", "routing_key", "secret_access_key", "secret_key",
        "secretkey", "service_account_key", "service_key", "shared_key", "signature_key", "signed_url_key",
        "signing_key", "user_key", "userkey",
    ),
    "password": ("password", "passwd", "passphrase"),
    "secret": ("secret", "http_header_value", "httpheadervalue"),
    "token": ("token", "token_id", "assertion", "access_signature"),
    "webhook URL": ("slack_api_url", "webhook_url", "webhookurl"),
}  # fmt: skip
BY_ENDING = {ending: kind for kind, endings in _KINDS.items() for ending in endings}
ENDINGS = tuple(sorted(BY_ENDING, key=len, reverse=True))
_ENDING = re.compile(rf"({'|'.join(ENDINGS)})(?:_?\d{{1,3}})?$")
_SHORT = re.compile(r"(?:^|_)(?:pass|pwd|psk)(?:_?\d{1,3})?$")

_ALWAYS = frozenset(("secure_json_data", "secure_settings", "proxy_connect_header"))
"""Mappings whose values are all secrets: Grafana's provisioning, Prometheus's proxy headers."""
_URL_IN = frozenset(("slack_configs", "webhook_configs", "webhook_outputs", "settings"))
"""Sections whose `url` and `api_url` grant the right to post: Alertmanager's receivers, Grafana's contact points."""
_HEADERS = frozenset(("headers", "http_headers"))
_SECRET_HEADER = re.compile(
    r"auth|bearer|cookie|credential|honeycomb_team|jwt|key|passw|secret|session|signature|token|x_vault"
)
_HEADER_TEXT = re.compile(
    rf"(?:^|[,;\n])\s*[\w.-]{{0,64}}?(?:{_SECRET_HEADER.pattern.replace('_', '[-_]')})[\w.-]{{0,64}}\s*[=:]\s*(?!\$)\S",
    re.IGNORECASE,
)
"""OpenTelemetry's `api-key=abc,other=def`."""
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SEPARATOR = re.compile(r"[-. ]")
_AROUND = re.compile(r"^[\s\"'`\u00ad\u200b-\u200f\u2060\ufeff]+|[\s\"'`\u00ad\u200b-\u200f\u2060\ufeff]+$")
"""Blanks around a name, including those of no width, and quotes that the format does not know."""

NAME_HINTS = (
    "passw", "passphrase", "secret", "token", "credential", "connection", "connstr", "dsn", "webhook", "slack", "key",
    "auth", "cookie", "secure", "header", "settings", "assertion", "signature", "pass", "pwd", "psk", "\\u", "\\x",
)  # fmt: skip
"""A lower-case text without any of these contains no name of a secret; escapes could hide one."""
BELOW = "value below the name of a secret"

_REMEMBERED = 4096
"""Most names to cache: a configuration repeats a few names many times."""
_LABELS = frozenset(("name", "key", "header", "header_name", "field", "param", "parameter", "variable"))
_VALUES = frozenset(("value", "values", "val"))
_SECRET_LABELS = frozenset(("apikey", "auth", "jwt", "key", "session", "sid", "sig", "signature"))
"""Names of query parameters that grant access, if they are named in a list."""


def hints_at_secrets(text: str) -> bool:
    """Return whether a text may contain the name of a secret."""
    lower = text.lower()
    return any(hint in lower for hint in NAME_HINTS)


def kind_by_name(steps: Steps, value: str = "") -> str | None:
    """Return the kind of secret at `steps`, judged by the names that lead to it; None if it is not a secret."""
    names = [_normal(step) for step in steps if isinstance(step, str) and step != "<<"]
    if not names or names[0] == "quota":  # Grafana counts API keys there
        return None
    *above, name = names
    kind = _kind_by_ending(name) or _kind_by_place(above, name, value)
    if kind in (None, BELOW) and isinstance(steps[-1], int):
        # `tokens: [a, b]` lists tokens; `tokens: 5` counts them.
        kind = _kind_by_ending(name.removesuffix("s")) or kind
    return kind


def is_secret_name(steps: Steps) -> bool:
    """Return whether the last name alone shows that a secret follows."""
    kind = kind_by_name(steps)
    return kind is not None and kind != BELOW


def labelled(steps: Steps, labels: Labels) -> Steps:
    """Add the name that a list item gives its value: `{name: api-key, value: x}` counts as `api-key: x`."""
    at = len(steps) - 1
    while at > 0 and isinstance(steps[at], int):
        at -= 1
    step = steps[at] if steps else 0
    if not isinstance(step, str) or _normal(step) not in _VALUES:
        return steps
    label = labels.get(steps[:at])
    if label is None:
        return steps
    return (*steps[:at], "secret" if _normal(label) in _SECRET_LABELS else label)


def is_label(step: object) -> bool:
    """Return whether a field of this name is the name of its mapping."""
    return isinstance(step, str) and _normal(step) in _LABELS


@lru_cache(maxsize=_REMEMBERED)
def _normal(step: str) -> str:
    return _SEPARATOR.sub("_", _CAMEL.sub("_", _AROUND.sub("", step)).lower())


@lru_cache(maxsize=_REMEMBERED)
def _kind_by_ending(name: str) -> str | None:
    if ending := _ENDING.search(name):
        return BY_ENDING[ending[1]]
    return "password" if _SHORT.search(name) else None


def _kind_by_place(above: list[str], name: str, value: str) -> str | None:
    if not _ALWAYS.isdisjoint(above):
        return "secret"
    if name == "files":
        return None
    if _is_header(above, name, value):
        return "header"
    parent = above[-1] if above else ""
    if name in ("url", "api_url") and parent in _URL_IN:
        return "webhook URL"
    if name == "key" and "tls" in parent:
        return "key"
    if name in ("authorization", "cookie") or (name == "inline" and parent == "htpasswd"):
        return "credentials"
    if name == "secrets":
        return "secret"
    below = any(step == "secrets" or _kind_by_ending(step) for step in above)
    return BELOW if below and not name.endswith("_file") else None


def _is_header(above: list[str], name: str, value: str) -> bool:
    headers = [at for at, step in enumerate(above) if step in _HEADERS]
    if headers and any(_SECRET_HEADER.search(step) for step in (*above[headers[0] + 1 :], name)):
        return True
    return name.endswith(("headers", "headers_list")) and _HEADER_TEXT.search(value) is not None
