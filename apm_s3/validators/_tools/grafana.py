"""Grafana: its ini file, provisioning files and dashboards.

Grafana ignores unknown names in its ini file and in provisioning files, so they are warnings: usually they are typos.
It expands `$VAR` and `${VAR}` (`$$` is a dollar sign). Sources, below https://grafana.com/docs/grafana/latest/:
`setup-grafana/configure-grafana`, `administration/provisioning`,
`alerting/set-up/provision-alerting-resources/file-provisioning`,
`dashboards/build-dashboards/view-dashboard-json-model`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from apm_s3.reports import Rule, Severity
from apm_s3.validators._checking import Context, Member, Source, did_you_mean, report_repeated, take_issues
from apm_s3.validators._reading.documents import DEFAULT_SECTION, Format
from apm_s3.validators._reading.nodes import MAPPING, SCALAR, SEQUENCE, Node, Path, is_null, render_path, resolve_plain


def field(node: Node, name: str) -> Node | None:
    """Return the value of a mapping's key, or None."""
    entry = node.entries.get(name) if node.kind == MAPPING else None
    return None if entry is None else entry[1]


def is_absent(node: Node | None) -> bool:
    """Return whether the value is missing, null, or blank."""
    return node is None or (node.kind == SCALAR and (is_null(node) or not node.text.strip()))


def is_variable(node: Node) -> bool:
    """Return whether only the server knows the value."""
    return node.kind == SCALAR and "$" in node.text


def expect_mapping(node: Node, path: Path, context: Context) -> bool:
    """Return whether `node` is a mapping; report it if it is neither that nor null."""
    if node.kind == MAPPING:
        return True
    if not (node.kind == SCALAR and is_null(node)):
        context.error(node, path, "wrong-type", "expected a mapping")
    return False


def objects(root: Node, path: Path, name: str, context: Context) -> Iterator[tuple[Node, Path]]:
    """Yield the mappings in the list `name`, and report other entries."""
    value = field(root, name)
    at: Path = (path, name)
    if value is None or (value.kind == SCALAR and is_null(value)):
        return
    if value.kind != SEQUENCE:
        context.error(value, at, "wrong-type", "expected a list")
        return
    for index, item in enumerate(value.items):
        if expect_mapping(item, (at, index), context):
            yield item, (at, index)


_OPEN_PREFIXES = ("plugin.", "tracing.", "unified_storage.", "log.")
"""Sections named after plugins, exporters, resources and log sinks."""


@cache
def known_sections() -> dict[str, frozenset[str] | None]:
    """Return the keys of each section; None if any key is allowed."""
    text = files("apm_s3.validators").joinpath("_data", "grafana_ini.json").read_text("utf-8")
    return {name: None if keys is None else frozenset(keys) for name, keys in json.loads(text).items()}


def check_ini(root: Node, context: Context) -> None:
    """Report sections and keys that Grafana does not document."""
    known = known_sections()
    for name, (key, section) in root.entries.items():
        if section.kind != MAPPING:
            if name in (known[DEFAULT_SECTION] or ()):
                continue
            context.error(key, (None, name), "wrong-type", "a section of grafana.ini is a mapping of keys to values")
        elif name in known:
            _check_keys(section, name, known[name], context)
        elif not name.startswith(_OPEN_PREFIXES):
            hint = context.hint(name, known)
            context.warn(key, (None, name), "unknown-section", f"[{name[:80]}] is not a documented section", hint)


def _check_keys(section: Node, name: str, keys: frozenset[str] | None, context: Context) -> None:
    if keys is None:
        return
    for key_name, (key, value) in section.entries.items():
        path = ((None, name), key_name)
        if value.kind == MAPPING:
            _check_nested(value, f"{name}.{key_name}", context)
        elif key_name not in keys:
            hint = context.hint(key_name, keys)
            context.warn(key, path, "unknown-key", f"{key_name[:80]!r} is not a documented key of [{name}]", hint)


def _check_nested(section: Node, name: str, context: Context) -> None:
    """Check sub-sections of a mapping: `auth: {ldap: {...}}` is `[auth.ldap]`."""
    known = known_sections()
    if name in known:
        _check_keys(section, name, known[name], context)


_UID = re.compile(r"[A-Za-z0-9_-]{1,40}", re.ASCII)
_UID_HINT = "use at most 40 characters of A-Z, a-z, 0-9, '-' and '_'"
_NEWEST_SCHEMA = 42
_VARIABLE = re.compile(r"\$\{?(?P<name>\w+)|\[\[(?P<old>\w+)\]\]", re.ASCII)
_RESOURCE = "dashboard.grafana.app/"

BUILT_IN_SOURCES = frozenset(
    ("-- Grafana --", "-- Mixed --", "-- Dashboard --", "grafana", "__expr__", "-100", "default")
)


def check_dashboard(root: Node, context: Context) -> None:
    """Report the problems of one dashboard."""
    if root.kind != MAPPING:
        context.error(root, None, "wrong-type", "a dashboard must be a JSON object")
        return
    model, path = _model(root)
    title = field(model, "title")
    if is_absent(title):
        hint = (
            "the dashboard is inside 'dashboard': provision only that object" if "dashboard" in root.entries else None
        )
        context.error(title or root, (path, "title"), "required-field", "a dashboard needs a title", hint)
    elif title is not None and not _is_json_text(title):
        context.error(title, (path, "title"), "wrong-type", "expected a string")
    _check_uid(model, path, context)
    if _is_v2(root):
        return
    _check_schema_version(model, path, context)
    variables = _check_variables(model, path, context)
    _check_panels(model, path, variables, context)


def data_source_references(root: Node) -> Iterator[tuple[str, Node, Path]]:
    """Yield the uid or name of each data source in panels, except variables and built-in ones."""
    model, path = _model(root)
    for panel, at in _all_panels(model, path):
        source, where = _source_of(panel, at)
        if source is None or not _is_json_text(source) or _VARIABLE.search(source.text):
            continue
        if source.text and source.text not in BUILT_IN_SOURCES:
            yield source.text, source, where


def dashboard_uid(root: Node) -> Node | None:
    """Return the dashboard's uid, if it has one."""
    uid = field(_model(root)[0], "uid")
    return None if is_absent(uid) else uid


def _model(root: Node) -> tuple[Node, Path]:
    """Return the dashboard itself; for a resource, its `spec`."""
    spec = field(root, "spec")
    if spec is not None and spec.kind == MAPPING and _api_version(root).startswith(_RESOURCE):
        return spec, (None, "spec")
    return root, None


def _api_version(root: Node) -> str:
    version = field(root, "apiVersion")
    return version.text if version is not None and version.kind == SCALAR else ""


def _is_v2(root: Node) -> bool:
    return _api_version(root).startswith(f"{_RESOURCE}v2")


def _is_json_text(node: Node) -> bool:
    return node.kind == SCALAR and not node.plain


def _check_uid(model: Node, path: Path, context: Context) -> None:
    uid = field(model, "uid")
    if uid is None or is_absent(uid):
        return
    if not _is_json_text(uid):
        context.error(uid, (path, "uid"), "wrong-type", "expected a string")
    elif not _UID.fullmatch(uid.text):
        context.error(uid, (path, "uid"), "uid", _UID_HINT)


def _check_schema_version(model: Node, path: Path, context: Context) -> None:
    node = field(model, "schemaVersion")
    if node is None:
        return
    version = resolve_plain(node.text) if node.kind == SCALAR and node.plain else None
    if not isinstance(version, int) or isinstance(version, bool):
        if not is_absent(node):
            context.warn(node, (path, "schemaVersion"), "schema-version", "expected a number")
    elif version > _NEWEST_SCHEMA:
        message = f"schema version {version} is newer than the newest known one, {_NEWEST_SCHEMA}"
        context.warn(node, (path, "schemaVersion"), "schema-version", message)


def _check_variables(model: Node, path: Path, context: Context) -> set[str]:
    templating = field(model, "templating")
    names: set[str] = set()
    at: Path = (path, "templating")
    if templating is None or is_absent(templating):
        return names
    if templating.kind != MAPPING:
        context.error(templating, at, "wrong-type", "expected an object with a list of variables")
        return names
    for variable, where in objects(templating, at, "list", context):
        name = field(variable, "name")
        if name is None or is_absent(name):
            context.warn(variable, (where, "name"), "required-field", "a variable needs a name")
            continue
        if name.kind != SCALAR:
            context.error(name, (where, "name"), "wrong-type", "expected a string")
            continue
        if name.text in names:
            context.warn(name, (where, "name"), "duplicate-name", f"variable {name.text[:80]!r} is defined twice")
        names.add(name.text)
    return names


def _check_panels(model: Node, path: Path, variables: set[str], context: Context) -> None:
    seen: set[str] = set()
    for panel, at in _all_panels(model, path, context):
        identity = field(panel, "id")
        if identity is not None and identity.kind == SCALAR and not is_absent(identity):
            if identity.text in seen:
                context.warn(identity, (at, "id"), "duplicate-name", f"panel id {identity.text[:20]} is used twice")
            seen.add(identity.text)
        if is_absent(field(panel, "type")) and field(panel, "libraryPanel") is None:
            context.warn(panel, (at, "type"), "required-field", "a panel needs a type")
        _check_panel_source(panel, at, variables, context)


def _check_panel_source(panel: Node, path: Path, variables: set[str], context: Context) -> None:
    source, at = _source_of(panel, path)
    if source is None or source.kind != SCALAR:
        return
    match = _VARIABLE.fullmatch(source.text.rstrip("}"))
    name = (match["name"] or match["old"]) if match else None
    if name and name not in variables and not name.startswith("DS_"):
        message = f"variable {name[:80]!r} is not defined in the dashboard"
        context.warn(source, at, "undefined-reference", message)


def _source_of(panel: Node, path: Path) -> tuple[Node | None, Path]:
    """Return the uid or, in older dashboards, the name of a panel's data source."""
    source = field(panel, "datasource")
    if source is not None and source.kind == MAPPING:
        return field(source, "uid"), ((path, "datasource"), "uid")
    return source, (path, "datasource")


def _all_panels(model: Node, path: Path, context: Context | None = None) -> Iterator[tuple[Node, Path]]:
    """Yield every panel: at the top level, in old-style rows, and in collapsed rows."""
    for holder in ("rows", "panels"):
        entries = field(model, holder)
        at: Path = (path, holder)
        if entries is None or is_absent(entries):
            continue
        if entries.kind != SEQUENCE:
            if context is not None:
                context.error(entries, at, "wrong-type", "expected a list")
            continue
        for index, item in enumerate(entries.items):
            if item.kind != MAPPING:
                if context is not None and not is_absent(item):
                    context.error(item, (at, index), "wrong-type", "expected an object")
                continue
            if holder == "panels":
                yield item, (at, index)
            yield from _all_panels(item, (at, index), context)


_DURATION = re.compile(
    r"(?:(?:\d+y)?(?:\d+w)?(?:\d+d)?(?:\d+h)?(?:\d+m)?(?:\d+s)?(?:\d+ms)?|(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+|0)"
)


class _Value(NamedTuple):
    """What a scalar must be; absent values and variables are not checked."""

    rule: Rule
    message: str
    fits: Callable[[str], object]
    allowed: tuple[str, ...] = ()

    def check(self, value: Node | None, path: Path, context: Context) -> None:
        """Report a `value` that is something else."""
        if value is None or is_absent(value) or is_variable(value):
            return
        if value.kind != SCALAR or not self.fits(value.text):
            hint = context.hint(value.text, self.allowed) if value.kind == SCALAR and self.allowed else None
            context.error(value, path, self.rule, self.message, hint)


def _one_of(*values: str) -> _Value:
    return _Value("enum", f"expected one of {', '.join(values)}", values.__contains__, values)


def _is_bool(text: str) -> bool:
    return isinstance(resolve_plain(text), bool) or text in ("1", "0", "t", "f", "T", "F")


_TEXT = _Value("wrong-type", "expected text", lambda _: True)
_INTEGER = _Value("wrong-type", "expected an integer", lambda text: type(resolve_plain(text)) is int)
_BOOL = _Value("wrong-type", "expected true or false", _is_bool)
_PERIOD = _Value("duration", "expected a duration such as 30s, 5m or 1h30m", _DURATION.fullmatch)
_MAPPING = None
"""The kind of a field that is a mapping or null."""


class _Shape(NamedTuple):
    """What the objects in one list have.

    Attributes:
        required: fields that an object needs; they are text if `fields` says nothing else.
        lenient: whether a missing field is a warning.
        fields: the kinds of fields, or the name of the shape of the objects that they list.
        check: what else is checked.
    """

    what: str
    required: tuple[str, ...] = ()
    fields: Mapping[str, _Value | str | None] = {}
    check: Callable[[Node, Path, Context], None] = lambda node, path, context: None  # noqa: ARG005
    lenient: bool = False


_NEEDED = {"data": "data: its queries and expressions", "interval": "an interval", "settings": "settings"}


def _lacks(what: str, node: Node, path: Path, name: str, context: Context, *, lenient: bool = False) -> bool:
    """Return whether a field is absent, after reporting that."""
    value = field(node, name)
    # An empty list of queries is none; in place of a text, it is of the wrong type.
    if not is_absent(value) and (name != "data" or getattr(value, "items", True)):
        return False
    report = context.warn if lenient else context.error
    report(value or node, (path, name), "required-field", f"{what} needs {_NEEDED.get(name, f'a {name}')}")
    return True


def _check_shape(shape: _Shape, node: Node, path: Path, context: Context) -> None:
    lacking = {name for name in shape.required if _lacks(shape.what, node, path, name, context, lenient=shape.lenient)}
    for name, kind in {**dict.fromkeys(shape.required, _TEXT), **shape.fields}.items():
        if name in lacking:
            continue
        if isinstance(kind, str):
            for item, at in objects(node, path, name, context):
                _check_shape(_SHAPES[kind], item, at, context)
        elif kind is not None:
            kind.check(field(node, name), (path, name), context)
        elif (value := field(node, name)) is not None:
            expect_mapping(value, (path, name), context)
    shape.check(node, path, context)


def _check_condition(rule: Node, path: Path, context: Context) -> None:
    if is_absent(field(rule, "record")):
        _lacks("a rule", rule, path, "condition", context)


def _check_access(source: Node, path: Path, context: Context) -> None:
    access = field(source, "access")
    if access is not None and not is_absent(access) and getattr(access, "text", "proxy") not in ("proxy", "direct"):
        context.warn(access, (path, "access"), "access", "unknown access; Grafana treats it as proxy")


def _check_provider(provider: Node, path: Path, context: Context) -> None:
    kind, options = field(provider, "type"), field(provider, "options")
    if options is not None and options.kind != MAPPING:
        return
    if getattr(kind, "text", "file") not in ("", "file"):
        message = "Grafana supports only providers of type file"
        context.error(kind or provider, (path, "type"), "provider-type", message)
    else:
        _check_folder(provider, path, context)


def _check_folder(provider: Node, path: Path, context: Context) -> None:
    """Check that a provider names the folder of its dashboards; version 0 calls it `folder`."""
    options = field(provider, "options")
    if options is None or (
        options.kind == MAPPING and all(is_absent(field(options, name)) for name in ("path", "folder"))
    ):
        context.error(provider, ((path, "options"), "path"), "required-field", "a file provider needs options.path")


_NAMED = _Shape("an entry", ("name",), {"orgId": _INTEGER})
_DELETED = _Shape("a deletion", ("uid",))
ALERTING = {
    "groups": _Shape(
        "a rule group", ("name", "folder", "interval"), {"orgId": _INTEGER, "interval": _PERIOD, "rules": "rules"}
    ),
    "deleteRules": _DELETED,
    "contactPoints": _Shape("a contact point", ("name",), {"orgId": _INTEGER, "receivers": "receivers"}),
    "deleteContactPoints": _DELETED,
    "policies": _Shape(
        "a policy",
        fields={
            "receiver": _TEXT,
            **dict.fromkeys(("group_wait", "group_interval", "repeat_interval"), _PERIOD),
            "routes": "policies",
        },
    ),
    "muteTimes": _NAMED,
    "deleteMuteTimes": _NAMED,
    "templates": _Shape("a template", ("name", "template"), {"orgId": _INTEGER}),
    "deleteTemplates": _NAMED,
}
"""The resources of alerting, by the list that contains them."""
_SHAPES = {
    **ALERTING,
    "rules": _Shape(
        "a rule",
        ("uid", "title", "data"),
        {
            "uid": _Value("uid", _UID_HINT, _UID.fullmatch),
            "condition": _TEXT,
            "data": "queries",
            "for": _PERIOD,
            "noDataState": _one_of("Alerting", "NoData", "OK", "KeepLast"),
            "execErrState": _one_of("Alerting", "Error", "OK", "KeepLast"),
            "labels": _MAPPING,
            "annotations": _MAPPING,
        },
        _check_condition,
    ),
    "queries": _Shape("a query", fields={"refId": _TEXT}),
    "receivers": _Shape("a receiver", ("uid", "type", "settings"), {"settings": _MAPPING}),
    "datasources": _Shape(
        "a data source",
        ("name", "type"),
        {
            **dict.fromkeys(("uid", "url", "user", "database"), _TEXT),
            **dict.fromkeys(("orgId", "org_id", "version"), _INTEGER),
            **dict.fromkeys(("isDefault", "is_default", "basicAuth", "withCredentials", "editable"), _BOOL),
            **dict.fromkeys(("jsonData", "secureJsonData", "json_data", "secure_json_data"), _MAPPING),
        },
        _check_access,
        lenient=True,
    ),
    "providers": _Shape(
        "a provider",
        ("name",),
        {
            **dict.fromkeys(("orgId", "updateIntervalSeconds"), _INTEGER),
            **dict.fromkeys(("disableDeletion", "editable", "allowUiUpdates"), _BOOL),
            "options": _MAPPING,
        },
        _check_provider,
        lenient=True,
    ),
    "apps": _Shape("an app", ("type",), {"disabled": _BOOL}),
}
_SECTIONS = (
    "apiVersion", "datasources", "deleteDatasources", "delete_datasources", "prune", "providers", "apps",
    "notifiers", "delete_notifiers", "resetPolicies", "roles", "teams", *ALERTING,
)  # fmt: skip


def check_provisioning(root: Node, context: Context) -> None:
    """Report the problems of one provisioning file."""
    if root.kind == SEQUENCE:
        # Version 0 of dashboard providers is a plain list.
        for index, item in enumerate(root.items):
            if expect_mapping(item, (None, index), context):
                _check_folder(item, (None, index), context)
        return
    if not expect_mapping(root, None, context):
        return
    _INTEGER.check(field(root, "apiVersion"), (None, "apiVersion"), context)
    for name, (key, _) in root.entries.items():
        if name not in _SECTIONS:
            hint = context.hint(name, _SECTIONS)
            context.warn(key, (None, name), "unknown-field", f"Grafana ignores {name[:80]!r} here", hint)
    _check_defaults(root, context)
    for section in ("datasources", "providers", "apps", *ALERTING):
        for entry, path in objects(root, None, section, context):
            _check_shape(_SHAPES[section], entry, path, context)


def data_sources(root: Node) -> Iterator[tuple[Node, Path]]:
    """Yield the data sources that a provisioning file defines."""
    entry = root.entries.get("datasources") if root.kind == MAPPING else None
    if entry is not None and entry[1].kind == SEQUENCE:
        for index, item in enumerate(entry[1].items):
            if item.kind == MAPPING:
                yield item, ((None, "datasources"), index)


def default_of(source: Node) -> tuple[Node, str] | None:
    """Return the node that makes `source` the default, and the organisation's id; None if it is not the default."""
    node = field(source, "isDefault") or field(source, "is_default")
    if node is None or getattr(node, "text", "").lower() not in ("true", "yes", "on"):
        return None
    organisation = field(source, "orgId") or field(source, "org_id")
    text = "" if organisation is None else getattr(organisation, "text", "")
    return node, text if text not in ("", "0") else "1"


def _check_defaults(root: Node, context: Context) -> None:
    """Check that each organisation has at most one default data source."""
    first: dict[str, Path] = {}
    for source, path in data_sources(root):
        if (default := default_of(source)) is None:
            continue
        node, organisation = default
        if first.setdefault(organisation, path) is not path:
            place = render_path(first[organisation])
            message = f"organisation {organisation[:20]} already has a default data source, {place}"
            context.error(node, (path, "isDefault"), "one-default", message)


_SOURCE_UID, _SOURCE_NAME, _DEFAULT = "data source uid", "data source name", "default data source of organisation"
_DASHBOARD_UID, _REFERENCE = "dashboard uid", "data source reference"


def mention_names(kind: str, root: Node, context: Context) -> None:
    """Record what `check_bundle` needs from one file, so that it need not read hundreds of dashboards again."""
    if kind == "dashboard":
        uid = dashboard_uid(root)
        if uid is not None and uid.kind == SCALAR:
            context.mention(_DASHBOARD_UID, uid.text, uid, (None, "uid"))
        for text, reference, path in data_source_references(root):
            context.mention(_REFERENCE, text, reference, path)
    elif kind == "provisioning":
        for source, path in data_sources(root):
            default = default_of(source)
            if default is not None:
                context.mention(_DEFAULT, default[1], default[0], (path, "isDefault"))
            for name, what in (("uid", _SOURCE_UID), ("name", _SOURCE_NAME)):
                node = field(source, name)
                if node is not None and node.kind == SCALAR and not is_absent(node):
                    context.mention(what, node.text, node, (path, name))


def check_bundle(members: list[Member]) -> None:
    """Report conflicting defaults and uids, and broken references."""
    _check_default_sources(members)
    for what, name in (("a data source with uid", _SOURCE_UID), ("a dashboard with uid", _DASHBOARD_UID)):
        report_repeated(what, [(member, mention) for member in members for mention in member.mentions(name)])
    _check_references(members)


def _check_default_sources(members: list[Member]) -> None:
    first: dict[str, tuple[Member, str]] = {}
    for member in members:
        for mention in member.mentions(_DEFAULT):
            organisation = mention.text
            owner, path = first.setdefault(organisation, (member, mention.path.removesuffix(".isDefault")))
            # Within one file, its own check has reported it.
            if owner is not member:
                place = f"{owner.name}, {path}"
                message = f"organisation {organisation[:20]} already has a default data source, in {place}"
                member.report(Severity.ERROR, mention, "one-default", message)


def _check_references(members: list[Member]) -> None:
    names = (_SOURCE_UID, _SOURCE_NAME)
    known = {mention.text for member in members for name in names for mention in member.mentions(name)}
    if not known:
        return
    for member in members:
        for mention in member.mentions(_REFERENCE):
            if mention.text not in known:
                message = f"data source {mention.text[:80]!r} is not provisioned in this bundle"
                hint = did_you_mean(mention.text, known)
                member.report(Severity.WARNING, mention, "undefined-reference", message, hint)


__all__ = ["FORMATS", "KINDS", "READ_TOGETHER", "check", "check_bundle", "infer_kind"]

KINDS = ("ini", "provisioning", "dashboard")
READ_TOGETHER = ()
FORMATS: dict[str, Format] = {"ini": "ini", "provisioning": "yaml", "dashboard": "json"}
_CHECKS = {"ini": check_ini, "provisioning": check_provisioning, "dashboard": check_dashboard}
_SECTION = re.compile(r"^[^\S\n]*\[[\w.-]+\][^\S\n]*$", re.MULTILINE)


def infer_kind(source: Source) -> str | None:
    """Infer the kind from the extension of the name, else from the content."""
    name = source.name or ""
    if name.endswith(".json") and _is_provisioning(source):
        return "provisioning"
    for endings, kind in (((".ini",), "ini"), ((".json",), "dashboard"), ((".yml", ".yaml"), "provisioning")):
        if name.endswith(endings):
            return kind
    if name:
        return None
    if source.data is not None:
        keys = source.top_level_keys()
        return "dashboard" if "panels" in keys else "provisioning" if "apiVersion" in keys else "ini"
    if source.text.lstrip().startswith("{"):
        return "dashboard"
    return "provisioning" if source.top_level_keys() and not _SECTION.search(source.text) else "ini"


def _is_provisioning(source: Source) -> bool:
    """Recognize provisioning files, which may be JSON, because Grafana reads them with a YAML decoder."""
    keys = source.top_level_keys()
    return "apiVersion" in keys and not keys & {"panels", "rows", "schemaVersion", "kind"}


def check(kind: str, source: Source, context: Context) -> None:
    """Report the problems of one document."""
    root = take_issues(source.document(FORMATS[kind]), context)
    if root is not None:
        _CHECKS[kind](root, context)
        mention_names(kind, root, context)
