"""Provisioning files: data sources, dashboard providers, alerting, plugins.

Grafana ignores unknown keys and expands `$VAR`, `${VAR}` (`$$` is a dollar sign).
https://grafana.com/docs/grafana/latest/administration/provisioning/.
"""

from __future__ import annotations

from collections.abc import Iterator

from apm_s3.validators._checking import Context
from apm_s3.validators._reading.nodes import MAPPING, SEQUENCE, Node, Path, render_path
from apm_s3.validators._tools.grafana.alerting import CHECKS as ALERTING
from apm_s3.validators._tools.grafana.values import (
    expect_bool,
    expect_integer,
    expect_mapping,
    expect_text,
    field,
    is_absent,
    objects,
)

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
        context.error(app, (path, "type"), "required", "an app needs its plugin's type")
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
                context.warn(source, (path, name), "required", f"a data source needs a {name}")
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
        context.warn(provider, (path, "name"), "required", "a provider needs a name")
    kind = field(provider, "type")
    options = field(provider, "options")
    if options is not None and not expect_mapping(options, (path, "options"), context):
        return
    if getattr(kind, "text", "file") not in ("", "file"):
        message = "Grafana supports only providers of type file"
        context.error(kind or provider, (path, "type"), "provider-type", message)
    elif options is None or (is_absent(field(options, "path")) and is_absent(field(options, "folder"))):
        context.error(provider, ((path, "options"), "path"), "required", "a file provider needs options.path")


def _check_legacy_provider(item: Node, path: Path, context: Context) -> None:
    if not expect_mapping(item, path, context):
        return
    options = field(item, "options")
    if options is None or (options.kind == MAPPING and is_absent(field(options, "path"))):
        legacy = options is not None and not is_absent(field(options, "folder"))
        if not legacy:
            context.error(item, ((path, "options"), "path"), "required", "a file provider needs options.path")
