"""Kubernetes service discovery, with the selector languages of its API."""

from __future__ import annotations

import re

from apm_s3.validators._checking import Context
from apm_s3.validators._decoding import Struct
from apm_s3.validators._grammars.values import Url
from apm_s3.validators._tools.prometheus.gates import SELECTORS_OF_OTHER_ROLES

ROLES = ("node", "pod", "service", "endpoints", "endpointslice", "ingress")
_SELECTORS = {
    "pod": ("pod", "node"),
    "service": ("service",),
    "endpoints": ("pod", "service", "endpoints"),
    "endpointslice": ("pod", "service", "endpointslice"),
    "node": ("node",),
    "ingress": ("ingress",),
}
_CLIENT_FIELDS = {
    "basic_auth": None, "authorization": None, "oauth2": None, "bearer_token": "", "bearer_token_file": "",
    "follow_redirects": True, "enable_http2": True, "proxy_from_environment": False, "no_proxy": "",
}  # fmt: skip


def check_kubernetes(sd: Struct, context: Context) -> None:
    """Check the rules of kubernetes.SDConfig.UnmarshalYAML."""
    if sd.empty("role"):
        sd.error(context, "role", "required-field", f"the role is missing; allowed values: {', '.join(ROLES)}")
    elif "role" not in sd.failed and sd.get("role") not in ROLES:
        sd.unknown(context, "role", "Kubernetes role", sd.get("role"), ROLES)
    _check_access(sd, context)
    _check_selectors(sd, context)


def _check_access(sd: Struct, context: Context) -> None:
    api_server = "api_server" in sd.failed or sd.has("api_server")
    kubeconfig = not sd.empty("kubeconfig_file")
    custom = _custom_client_field(sd)
    if api_server and kubeconfig:
        sd.error(context, "kubeconfig_file", "exclusive-fields", "kubeconfig_file cannot be used with api_server")
    if kubeconfig and custom:
        message = f"settings of the HTTP client ({custom}) cannot be used with kubeconfig_file"
        sd.error(context, custom, "exclusive-fields", message)
    elif not api_server and custom:
        message = f"settings of the HTTP client ({custom}) need api_server"
        sd.error(context, custom, "required-field", message)
    namespaces = sd.struct("namespaces")
    if namespaces is not None and namespaces.get("own_namespace"):
        for name, used in (("kubeconfig_file", kubeconfig), ("api_server", api_server)):
            if used:
                message = f"own_namespace cannot be used with {name}: it is for discovery inside the cluster"
                namespaces.error(context, "own_namespace", "exclusive-fields", message)


def _custom_client_field(sd: Struct) -> str | None:
    """Return a field of the HTTP client that differs from its default."""
    for name, default in _CLIENT_FIELDS.items():
        if name not in sd.failed and sd.given(name) and sd.get(name) != default:
            return name
    proxy = sd.get("proxy_url")
    if isinstance(proxy, Url):
        return "proxy_url"
    for name in ("proxy_connect_header", "http_headers"):
        if sd.has(name):
            return name
    tls = sd.struct("tls_config")
    return "tls_config" if tls is not None and any(tls.values.values()) else None


def _check_selectors(sd: Struct, context: Context) -> None:
    seen: set[str] = set()
    for index, selector in enumerate(sd.get("selectors") or ()):
        where: tuple[str | int, ...] = ("selectors", index)
        role = (selector.get("role") or "") if isinstance(selector, Struct) else ""
        allowed = _allowed_selectors(sd, context)
        if role in seen:
            sd.error(
                context, (*where, "role"), "duplicate-name", f"there is more than one selector for the role {role!r}"
            )
        elif role not in allowed:
            message = (
                f"role {sd.get('role')!r} has no selectors for {role[:40]!r}; allowed values: {', '.join(allowed)}"
            )
            sd.error(context, (*where, "role"), "enum", message, context.hint(role, allowed))
        seen.add(role)
        if isinstance(selector, Struct):
            _check_selector(selector, context)


def _allowed_selectors(sd: Struct, context: Context) -> tuple[str, ...]:
    role = sd.get("role") or ""
    if role == "pod" and context.is_before(SELECTORS_OF_OTHER_ROLES):
        return ("pod",)
    return _SELECTORS.get(role, ROLES)


def _check_selector(selector: Struct, context: Context) -> None:
    for field, problem in (("field", field_selector_problem), ("label", label_selector_problem)):
        reason = problem(selector.get(field) or "")
        if reason:
            selector.error(context, field, "selector", f"invalid {field} selector: {reason}")


def field_selector_problem(text: str) -> str | None:
    """Return why `text` is not a field selector (`metadata.name=a,status.phase!=Running`), or None."""
    for term in re.split(r"(?<!\\),", text):
        if not term:
            continue
        value = next((term[match.end() :] for match in [re.search(r"!=|==|=", term)] if match), None)
        if value is None:
            return f"{term[:60]!r} has no operator (=, == or !=)"
        if re.search(r"(?<!\\)(?:\\\\)*[,=]", value) or re.search(r"\\[^\\,=]|(?<!\\)(?:\\\\)*\\$", value):
            return f"the value in {term[:60]!r} has a character that must be escaped"
    return None


_LABEL_TOKEN = re.compile(r"\s*(?:(?P<op>==|!=|[=!<>(),])|(?P<word>[^\s=!<>(),]+))")
_KEY = re.compile(
    r"(?:(?P<prefix>[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)/)?(?P<name>[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)"
)
_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?")


def label_selector_problem(text: str) -> str | None:
    """Return why `text` is not a label selector (`app=web,tier in (a, b),!legacy`), or None."""
    tokens = [match["op"] or match["word"] for match in _LABEL_TOKEN.finditer(text.strip())]
    try:
        _Selector(tokens).parse()
    except ValueError as exc:
        return str(exc)
    return None


class _Selector:
    """The grammar of k8s.io/apimachinery/pkg/labels."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._at = 0

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._peek()
        self._at += 1
        return token

    def parse(self) -> None:
        if not self._tokens:
            return
        while True:
            self._requirement()
            end = self._take()
            if not end:
                return
            if end != ",":
                raise ValueError(f"found {end[:40]!r}, expected ',' or the end")
            if self._peek() in ("", ","):
                raise ValueError("found ',' at the end")

    def _requirement(self) -> None:
        negated = self._peek() == "!"
        if negated:
            self._take()
        key = self._take()
        match = _KEY.fullmatch(key)
        if match is None or len(match["name"]) > 63 or len(match["prefix"] or "") > 253:
            raise ValueError(f"{key[:60]!r} is not a valid label key")
        if negated or self._peek() in ("", ","):
            return
        operator = self._take()
        if operator in ("=", "==", "!="):
            self._value("" if self._peek() in ("", ",") else self._take())
        elif operator in ("in", "notin"):
            self._values()
        elif operator in ("<", ">"):
            self._number(self._take())
        else:
            raise ValueError(f"found {operator[:40]!r}, expected an operator")

    def _value(self, value: str) -> None:
        if len(value) > 63 or not _VALUE.fullmatch(value):
            raise ValueError(f"{value[:60]!r} is not a valid label value")

    def _number(self, value: str) -> None:
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", value):
            raise ValueError("'<' and '>' need a whole number")

    def _values(self) -> None:
        if self._take() != "(":
            raise ValueError("'in' and 'notin' must be followed by '('")
        if self._peek() == ")":
            self._take()
            return
        while True:
            self._value("" if self._peek() in (",", ")") else self._take())
            end = self._take()
            if end == ")":
                return
            if end != ",":
                raise ValueError("expected ',' or ')' in the list of values")
