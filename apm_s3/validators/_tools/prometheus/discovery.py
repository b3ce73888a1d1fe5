"""Relabelling and service discovery in Prometheus's configuration."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping

from apm_s3.validators._checking import Context
from apm_s3.validators._decoding import Hook, Mismatch
from apm_s3.validators._query.re2_match import Match, Program
from apm_s3.validators._query.values import (
    Url,
    anchored_program,
    is_label_name,
    is_label_template,
    parse_url,
)
from apm_s3.validators._structs import Struct
from apm_s3.validators._tools.prometheus_common import (
    SELECTORS_OF_OTHER_ROLES,
    check_http_client,
)

_NEED_TARGET = ("replace", "keepequal", "dropequal", "hashmod", "lowercase", "uppercase")
_NO_REPLACEMENT = ("lowercase", "uppercase", "keepequal", "dropequal")
_RELABEL_DEFAULTS = {"separator": ";", "replacement": "$1", "modulus": 0}


def parse_label_name(text: str) -> str:
    """Parse a label name.

    Raises:
        Mismatch: empty, or not UTF-8.
    """
    if not is_label_name(text):
        raise Mismatch("label-name", "a label name cannot be empty")
    return text


def check_relabel(rule: Struct, context: Context, *, legacy: bool) -> bool:
    """Check the rules of relabel.Config.Validate; `legacy` allows only label names of the legacy alphabet.

    Return False if the rule is invalid, so that it cannot be applied.
    """
    before = context.count
    _check(rule, context, legacy)
    return not rule.failed and context.count == before


def _check(rule: Struct, context: Context, legacy: bool) -> None:
    action = rule.get("action", "replace")
    if action in (None, ""):
        rule.error(context, "action", "enum", "the action cannot be empty")
        return
    if "action" in rule.failed:
        return
    for index, name in rule.strings("source_labels"):
        if legacy and name and not is_label_name(name, legacy=True):
            rule.error(context, ("source_labels", index), "label-name", f"{name[:80]!r} is not a valid label name")
    if action == "hashmod" and rule.empty("modulus"):
        rule.error(context, "modulus", "required-field", "action hashmod needs a modulus above 0")
    if action in _NEED_TARGET and rule.empty("target_label"):
        rule.error(context, "target_label", "required-field", f"action {action} needs a target_label")
    else:
        _check_target(rule, action, context, legacy)
    _check_forbidden(rule, action, context)


def _check_target(rule: Struct, action: str, context: Context, legacy: bool) -> None:
    target = rule.get("target_label") or ""
    if action in _NEED_TARGET and "target_label" not in rule.failed:
        template = action == "replace" and "$" in target
        fits = is_label_template(target, legacy=legacy) if template else is_label_name(target, legacy=legacy)
        if not fits:
            message = f"action {action} needs a label name, and {target[:80]!r} is not a valid one"
            rule.error(context, "target_label", "label-name", message)
    replacement = rule.get("replacement", "$1") or ""
    if action == "labelmap" and not is_label_template(replacement, legacy=legacy):
        message = f"action labelmap needs a label name, and {replacement[:80]!r} cannot become one"
        rule.error(context, "replacement", "label-name", message)


def _check_forbidden(rule: Struct, action: str, context: Context) -> None:
    if action in ("keepequal", "dropequal"):
        extra = [name for name in _RELABEL_DEFAULTS if not _is_default(rule, name)] + ["regex"] * rule.given("regex")
        allowed = "source_labels and target_label"
    elif action in ("labeldrop", "labelkeep"):
        extra = [name for name in _RELABEL_DEFAULTS if not _is_default(rule, name)]
        extra += ["source_labels"] * rule.has("source_labels") + ["target_label"] * (not rule.empty("target_label"))
        allowed = "regex"
    elif action in _NO_REPLACEMENT and not _is_default(rule, "replacement"):
        extra, allowed = ["replacement"], "source_labels, separator, regex and target_label"
    else:
        return
    for name in extra:
        rule.error(context, name, "relabel-action-args", f"action {action} allows only {allowed}, not {name}")


def _is_default(rule: Struct, name: str) -> bool:
    return name in rule.failed or rule.get(name, _RELABEL_DEFAULTS[name]) == _RELABEL_DEFAULTS[name]


def apply_rules(labels: dict[str, str], rules: list[Struct]) -> dict[str, str] | None:
    """Apply `rules` to `labels`; None if a rule drops the target. Each rule must have a `rule_program`."""
    for rule in rules:
        kept = _apply(labels, rule)
        if kept is None:
            return None
        labels = kept
    return labels


def rule_program(rule: Struct) -> Program | None:
    """Return the program for the regular expression of `rule`; None if it cannot be run here."""
    return anchored_program(rule.get("regex", "(.*)") or "")


def _apply(labels: dict[str, str], rule: Struct) -> dict[str, str] | None:
    action = rule.get("action", "replace")
    separator = rule.get("separator", ";")
    value = separator.join(labels.get(name, "") for name in rule.get("source_labels") or ())
    target = rule.get("target_label") or ""
    regex = rule_program(rule)
    if regex is None:
        raise ValueError("the rule cannot be applied")
    if action in ("keep", "drop"):
        return labels if bool(regex.search(value)) == (action == "keep") else None
    if action in ("keepequal", "dropequal"):
        return labels if (labels.get(target, "") == value) == (action == "keepequal") else None
    if action == "replace":
        return _replace(labels, rule, regex.search(value), target)
    if action in ("lowercase", "uppercase"):
        return _with(labels, target, value.lower() if action == "lowercase" else value.upper())
    if action == "hashmod":
        digest = hashlib.md5(value.encode("utf-8", "surrogateescape"), usedforsecurity=False).digest()
        return _with(labels, target, str(int.from_bytes(digest[8:], "big") % rule.get("modulus")))
    return _map_names(labels, rule, action, regex)


def _replace(labels: dict[str, str], rule: Struct, match: Match | None, target: str) -> dict[str, str]:
    if match is None:
        return labels
    name = expand(target, match)
    if not is_label_name(name):
        return labels
    return _with(labels, name, expand(rule.get("replacement", "$1") or "", match))


def _map_names(labels: dict[str, str], rule: Struct, action: str, regex: Program) -> dict[str, str]:
    if action == "labeldrop":
        return {name: value for name, value in labels.items() if not regex.search(name)}
    if action == "labelkeep":
        return {name: value for name, value in labels.items() if regex.search(name)}
    mapped = dict(labels)
    for name, value in labels.items():
        if (match := regex.search(name)) is not None:
            mapped = _with(mapped, expand(rule.get("replacement", "$1") or "", match), value)
    return mapped


def _with(labels: dict[str, str], name: str, value: str) -> dict[str, str]:
    rest = {key: old for key, old in labels.items() if key != name}
    return {**rest, name: value} if value else rest


_REFERENCE = re.compile(r"\$(?:\$|\{(\w+)\}|(\w+))", re.ASCII)


def expand(template: str, match: Match) -> str:
    """Replace `$1`, `${name}` and `$$` in `template` as Go's Regexp.Expand does: unknown groups are empty."""

    def group(reference: re.Match[str]) -> str:
        if reference[0] == "$$":
            return "$"
        name = reference[1] or reference[2]
        try:
            return match.group(int(name) if name.isdigit() else name) or ""
        except (IndexError, KeyError, OverflowError, ValueError):
            return ""

    return _REFERENCE.sub(group, template)


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
        _LabelSelector(tokens).parse()
    except ValueError as exc:
        return str(exc)
    return None


class _LabelSelector:
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


_FILE_PATTERN = re.compile(r"[^*]*(?:\*[^/]*)?\.(?:json|yml|yaml|JSON|YML|YAML)", re.DOTALL)


def _check_consul(sd: Struct, context: Context) -> None:
    _check_not_blank(sd, context)
    if not (sd.empty("username") and sd.empty("password")) and not {"username", "password"} & sd.failed:
        if sd.has("basic_auth"):
            sd.error(context, "basic_auth", "auth-exclusive", "username and password cannot be used with basic_auth")
        elif any(sd.has(name) for name in ("authorization", "oauth2")) or sd.get("bearer_token"):
            sd.error(context, "username", "auth-exclusive", "username and password exclude other ways to authenticate")
    if sd.get("token") and (sd.has("authorization") or sd.has("oauth2")):
        message = "at most one of token, authorization and oauth2 may be set"
        sd.error(context, "token", "auth-exclusive", message)


def _check_not_blank(sd: Struct, context: Context) -> None:
    server = sd.get("server")
    if server and not server.strip():
        sd.error(context, "server", "required-field", "the server is blank")


def _check_dns(sd: Struct, context: Context) -> None:
    kind = (sd.get("type", "SRV") or "").upper()
    if kind == "SRV" or "type" in sd.failed:
        return
    if kind not in ("A", "AAAA", "MX", "NS"):
        sd.unknown(context, "type", "record type", kind, ("SRV", "A", "AAAA", "MX", "NS"))
    elif sd.empty("port"):
        sd.error(context, "port", "required-field", f"records of type {kind} need a port")


def _check_files(sd: Struct, context: Context) -> None:
    for index, pattern in sd.strings("files"):
        if not _FILE_PATTERN.fullmatch(pattern):
            message = f"{pattern[:80]!r} must end in .json, .yml or .yaml, and may have only one '*', in its last part"
            sd.error(context, ("files", index), "file-glob", message)


def _check_filters(sd: Struct, context: Context) -> None:
    for index, entry in enumerate(sd.get("filters") or ()):
        if entry is None or (isinstance(entry, Struct) and entry.empty("values")):
            sd.error(context, ("filters", index, "values"), "required-field", "a filter needs values")


def _server_url(*, schemes: tuple[str, ...] | None = None, field: str = "server") -> Hook:
    """Return a hook: the field must be a URL with a scheme (one of `schemes`) and a host."""

    def check(sd: Struct, context: Context) -> None:
        text = sd.get(field)
        if not text:
            return
        try:
            url = text if isinstance(text, Url) else parse_url(text)
        except Mismatch as exc:
            sd.error(context, field, exc.rule, exc.message)
            return
        if schemes is not None and url.scheme not in schemes:
            sd.error(context, field, "url", f"the URL must begin with {' or '.join(f'{name}://' for name in schemes)}")
        elif not url.scheme or not url.host:
            sd.error(context, field, "url", "the URL needs a scheme and a host (http://host:port)")

    return check


def _parses(field: str) -> Hook:
    """Return a hook: the field must be a URL."""

    def check(sd: Struct, context: Context) -> None:
        try:
            parse_url(sd.get(field) or "")
        except Mismatch as exc:
            sd.error(context, field, exc.rule, exc.message)

    return check


def _check_stackit(sd: Struct, context: Context) -> None:
    if sd.empty("endpoint") and sd.given("region") and sd.empty("region"):
        sd.error(context, "region", "required-field", "stackit service discovery needs endpoint or region")


def _check_triton(sd: Struct, context: Context) -> None:
    if sd.given("refresh_interval") and (sd.get("refresh_interval") or 0) <= 0 and "refresh_interval" not in sd.failed:
        sd.error(context, "refresh_interval", "out-of-range", "refresh_interval must be above 0")


_SPECIAL: Mapping[str, tuple[Hook, ...]] = {
    "aws.EC2SDConfig": (_check_filters,),
    "aws.RDSSDConfig": (_check_filters,),
    "consul.SDConfig": (_check_consul,),
    "dns.SDConfig": (_check_dns,),
    "eureka.SDConfig": (_server_url(),),
    "file.SDConfig": (_check_files,),
    "http.SDConfig": (_server_url(schemes=("http", "https"), field="url"),),
    "kubernetes.SDConfig": (_check_access, _check_selectors),
    "moby.DockerSDConfig": (_parses("host"),),
    "moby.DockerSwarmSDConfig": (_parses("host"),),
    "nomad.SDConfig": (_check_not_blank,),
    "puppetdb.SDConfig": (_server_url(schemes=("http", "https"), field="url"),),
    "scaleway.SDConfig": (_parses("api_url"),),
    "stackit.SDConfig": (_check_stackit, _parses("endpoint")),
    "triton.SDConfig": (_check_triton,),
    "uyuni.SDConfig": (_parses("server"),),
    "xds.SDConfig": (_server_url(),),
}


def discovery_hooks(types: Mapping[str, Collection[str]]) -> Mapping[str, tuple[Hook, ...]]:
    """Return the checks of every mechanism in the table; those with an inline HTTP client get its rules as well."""
    return {name: tuple(_hooks(name, fields)) for name, fields in types.items() if name.startswith("discovery/")}


def _hooks(name: str, fields: Collection[str]) -> Iterable[Hook]:
    yield from _SPECIAL.get(name.removeprefix("discovery/"), ())
    if "follow_redirects" in fields:
        yield check_http_client
