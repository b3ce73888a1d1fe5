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
from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files

from apm_s3.reports import Severity
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


def expect_text(node: Node, path: Path, name: str, context: Context) -> None:
    """Report a list or mapping instead of text."""
    value = field(node, name)
    if value is not None and value.kind != SCALAR:
        context.error(value, (path, name), "wrong-type", "expected text")


def expect_integer(node: Node, path: Path, name: str, context: Context) -> None:
    """Report a value that is not an integer, quoted or not."""
    value = field(node, name)
    if value is None or is_absent(value) or is_variable(value):
        return
    number = resolve_plain(value.text) if value.kind == SCALAR else None
    if isinstance(number, bool) or not isinstance(number, int):
        context.error(value, (path, name), "wrong-type", "expected an integer")


def expect_bool(node: Node, path: Path, name: str, context: Context) -> None:
    """Report a value that is neither true nor false."""
    value = field(node, name)
    if value is None or is_absent(value) or is_variable(value):
        return
    if value.kind != SCALAR or (
        not isinstance(resolve_plain(value.text), bool) and value.text not in ("1", "0", "t", "f", "T", "F")
    ):
        context.error(value, (path, name), "wrong-type", "expected true or false")


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


_UID_LETTERS = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)
_UID_LENGTH = 40
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
    elif len(uid.text) > _UID_LENGTH or not _UID_LETTERS.fullmatch(uid.text):
        context.error(uid, (path, "uid"), "uid", "use at most 40 characters of A-Z, a-z, 0-9, '-' and '_'")


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
_UID = re.compile(r"[A-Za-z0-9_-]{1,40}", re.ASCII)
_NO_DATA = ("Alerting", "NoData", "OK", "KeepLast")
_ERROR = ("Alerting", "Error", "OK", "KeepLast")


def _require(node: Node, path: Path, name: str, what: str, context: Context) -> bool:
    value = field(node, name)
    if not is_absent(value):
        expect_text(node, path, name, context)
        return True
    context.error(value or node, (path, name), "required-field", f"{what} needs a {name}")
    return False


def _check_duration(node: Node, path: Path, name: str, context: Context) -> None:
    value = field(node, name)
    if value is None or is_absent(value) or is_variable(value):
        return
    if value.kind != SCALAR or not _DURATION.fullmatch(value.text):
        context.error(value, (path, name), "duration", "expected a duration such as 30s, 5m or 1h30m")


def _check_choice(node: Node, path: Path, name: str, choices: tuple[str, ...], context: Context) -> None:
    value = field(node, name)
    if value is None or is_absent(value) or is_variable(value):
        return
    if value.kind != SCALAR or value.text not in choices:
        hint = context.hint(value.text, choices) if value.kind == SCALAR else None
        context.error(value, (path, name), "enum", f"expected one of {', '.join(choices)}", hint)


def _check_group(group: Node, path: Path, context: Context) -> None:
    for name in ("name", "folder"):
        _require(group, path, name, "a rule group", context)
    expect_integer(group, path, "orgId", context)
    if _require(group, path, "interval", "a rule group", context):
        _check_duration(group, path, "interval", context)
    for rule, at in objects(group, path, "rules", context):
        _check_rule(rule, at, context)


def _check_rule(rule: Node, path: Path, context: Context) -> None:
    if _require(rule, path, "uid", "a rule", context):
        uid = field(rule, "uid")
        if uid is not None and uid.kind == SCALAR and not is_variable(uid) and not _UID.fullmatch(uid.text):
            context.error(uid, (path, "uid"), "uid", "use at most 40 characters of A-Z, a-z, 0-9, '-' and '_'")
    _require(rule, path, "title", "a rule", context)
    if is_absent(field(rule, "record")):
        _require(rule, path, "condition", "a rule", context)
    data = field(rule, "data")
    if data is None or is_absent(data) or not getattr(data, "items", True):
        context.error(data or rule, (path, "data"), "required-field", "a rule needs data: its queries and expressions")
    else:
        for query, at in objects(rule, path, "data", context):
            expect_text(query, at, "refId", context)
    _check_duration(rule, path, "for", context)
    _check_choice(rule, path, "noDataState", _NO_DATA, context)
    _check_choice(rule, path, "execErrState", _ERROR, context)
    for name in ("labels", "annotations"):
        value = field(rule, name)
        if value is not None:
            expect_mapping(value, (path, name), context)


def _check_contact_point(point: Node, path: Path, context: Context) -> None:
    _require(point, path, "name", "a contact point", context)
    expect_integer(point, path, "orgId", context)
    for receiver, at in objects(point, path, "receivers", context):
        _require(receiver, at, "uid", "a receiver", context)
        _require(receiver, at, "type", "a receiver", context)
        settings = field(receiver, "settings")
        if settings is None or is_absent(settings):
            context.error(receiver, (at, "settings"), "required-field", "a receiver needs settings")
        else:
            expect_mapping(settings, (at, "settings"), context)


def _check_policy(policy: Node, path: Path, context: Context) -> None:
    expect_text(policy, path, "receiver", context)
    for name in ("group_wait", "group_interval", "repeat_interval"):
        _check_duration(policy, path, name, context)
    for route, at in objects(policy, path, "routes", context):
        _check_policy(route, at, context)


def _check_named(entry: Node, path: Path, context: Context) -> None:
    _require(entry, path, "name", "an entry", context)
    expect_integer(entry, path, "orgId", context)


def _check_template(template: Node, path: Path, context: Context) -> None:
    _check_named(template, path, context)
    _require(template, path, "template", "a template", context)


def _check_deleted_uid(entry: Node, path: Path, context: Context) -> None:
    _require(entry, path, "uid", "a deletion", context)


ALERTING: dict[str, Callable[[Node, Path, Context], None]] = {
    "groups": _check_group,
    "deleteRules": _check_deleted_uid,
    "contactPoints": _check_contact_point,
    "deleteContactPoints": _check_deleted_uid,
    "policies": _check_policy,
    "muteTimes": _check_named,
    "deleteMuteTimes": _check_named,
    "templates": _check_template,
    "deleteTemplates": _check_named,
}
"""The checks by the list that contains the resources."""


_ACCESS = ("proxy", "direct")
_SECTIONS = (
    "apiVersion", "datasources", "deleteDatasources", "delete_datasources", "prune", "providers", "apps",
    "notifiers", "delete_notifiers", "resetPolicies", "roles", "teams", *ALERTING,
)  # fmt: skip


def check_provisioning(root: Node, context: Context) -> None:
    """Report the problems of one provisioning file."""
    if root.kind == SEQUENCE:
        # Version 0 of dashboard providers is a plain list.
        for index, item in enumerate(root.items):
            _check_legacy_provider(item, (None, index), context)
        return
    if not expect_mapping(root, None, context):
        return
    expect_integer(root, None, "apiVersion", context)
    for name, (key, _) in root.entries.items():
        if name not in _SECTIONS:
            hint = context.hint(name, _SECTIONS)
            context.warn(key, (None, name), "unknown-field", f"Grafana ignores {name[:80]!r} here", hint)
    _check_data_sources(root, context)
    for provider, path in objects(root, None, "providers", context):
        _check_provider(provider, path, context)
    for app, path in objects(root, None, "apps", context):
        _check_app(app, path, context)
    for section, check in ALERTING.items():
        for entry, path in objects(root, None, section, context):
            check(entry, path, context)


def _check_app(app: Node, path: Path, context: Context) -> None:
    if is_absent(field(app, "type")):
        context.error(app, (path, "type"), "required-field", "an app needs its plugin's type")
    expect_bool(app, path, "disabled", context)


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


def _check_data_sources(root: Node, context: Context) -> None:
    _check_defaults(root, context)
    for source, path in objects(root, None, "datasources", context):
        for name in ("name", "type", "uid", "url", "user", "database"):
            expect_text(source, path, name, context)
        for name in ("name", "type"):
            if is_absent(field(source, name)):
                context.warn(source, (path, name), "required-field", f"a data source needs a {name}")
        for name in ("orgId", "org_id", "version"):
            expect_integer(source, path, name, context)
        for name in ("isDefault", "is_default", "basicAuth", "withCredentials", "editable"):
            expect_bool(source, path, name, context)
        for name in ("jsonData", "secureJsonData", "json_data", "secure_json_data"):
            node = field(source, name)
            if node is not None:
                expect_mapping(node, (path, name), context)
        access = field(source, "access")
        if access is not None and not is_absent(access) and getattr(access, "text", "proxy") not in _ACCESS:
            context.warn(access, (path, "access"), "access", "unknown access; Grafana treats it as proxy")


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


def _check_provider(provider: Node, path: Path, context: Context) -> None:
    for name in ("orgId", "updateIntervalSeconds"):
        expect_integer(provider, path, name, context)
    for name in ("disableDeletion", "editable", "allowUiUpdates"):
        expect_bool(provider, path, name, context)
    if is_absent(field(provider, "name")):
        context.warn(provider, (path, "name"), "required-field", "a provider needs a name")
    kind = field(provider, "type")
    options = field(provider, "options")
    if options is not None and not expect_mapping(options, (path, "options"), context):
        return
    if getattr(kind, "text", "file") not in ("", "file"):
        message = "Grafana supports only providers of type file"
        context.error(kind or provider, (path, "type"), "provider-type", message)
    elif options is None or (is_absent(field(options, "path")) and is_absent(field(options, "folder"))):
        context.error(provider, ((path, "options"), "path"), "required-field", "a file provider needs options.path")


def _check_legacy_provider(item: Node, path: Path, context: Context) -> None:
    if not expect_mapping(item, path, context):
        return
    options = field(item, "options")
    if options is None or (options.kind == MAPPING and is_absent(field(options, "path"))):
        legacy = options is not None and not is_absent(field(options, "folder"))
        if not legacy:
            context.error(item, ((path, "options"), "path"), "required-field", "a file provider needs options.path")


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
_SECTION = re.compile(r"^\s*\[[\w.-]+\]\s*$", re.MULTILINE)


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
