"""Alerting resources in provisioning files: rules, contact points, policies, mute timings, templates.

https://grafana.com/docs/grafana/latest/alerting/set-up/provision-alerting-resources/file-provisioning/.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from apm_s3.validators._checking import Context
from apm_s3.validators._reading.nodes import SCALAR, Node, Path
from apm_s3.validators._tools.grafana.values import (
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
    context.error(value or node, (path, name), "required", f"{what} needs a {name}")
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
        context.error(value, (path, name), "choice", f"expected one of {', '.join(choices)}", hint)


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
        context.error(data or rule, (path, "data"), "required", "a rule needs data: its queries and expressions")
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
            context.error(receiver, (at, "settings"), "required", "a receiver needs settings")
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


CHECKS: dict[str, Callable[[Node, Path, Context], None]] = {
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
