"""Grafana's provisioning files: data sources, dashboards, alerting; and what they refer to.

https://grafana.com/docs/grafana/latest/alerting/set-up/provision-alerting-resources/file-provisioning/.

Grafana ignores unknown keys and expands `$VAR`, `${VAR}` (`$$` is a dollar sign).
https://grafana.com/docs/grafana/latest/administration/provisioning/.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from apm_s3.reports import Severity
from apm_s3.validators._checking import Context, Member, did_you_mean, report_repeated
from apm_s3.validators._reading.nodes import MAPPING, SCALAR, SEQUENCE, Node, Path, render_path
from apm_s3.validators._tools.grafana.dashboard import dashboard_uid, data_source_references
from apm_s3.validators._tools.grafana.ini import (
    expect_bool,
    expect_integer,
    expect_mapping,
    expect_text,
    field,
    is_absent,
    is_variable,
    objects,
)

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
