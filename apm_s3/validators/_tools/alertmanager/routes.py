"""Routes and inhibition rules. https://prometheus.io/docs/alerting/latest/configuration/#route."""

from __future__ import annotations

from collections.abc import Iterator

from apm_s3.validators._checking import Context
from apm_s3.validators._decoding import Struct
from apm_s3.validators._grammars.values import is_label_name
from apm_s3.validators._tools.alertmanager.matchers import is_classic

_EVERYTHING = "..."


def check_route(route: Struct, context: Context) -> None:
    """Check the rules of Route.UnmarshalYAML."""
    _check_label_maps(route, ("match", "match_re"), context)
    _check_group_by(route, context)
    for name in ("group_interval", "repeat_interval"):
        if route.get(name) == 0:
            route.error(context, name, "out-of-range", f"{name} cannot be zero")
    for index, child in enumerate(route.get("routes") or ()):
        if child is None:
            route.error(context, ("routes", index), "null-entry", "a route is empty")


def check_inhibit_rule(rule: Struct, context: Context) -> None:
    """Check the rules of InhibitRule.UnmarshalYAML."""
    _check_label_maps(rule, ("source_match", "source_match_re", "target_match", "target_match_re"), context)
    for index, name in rule.strings("equal"):
        if not is_label_name(name, legacy=is_classic(context)):
            rule.error(context, ("equal", index), "label-name", _no_label(name))


def check_root(route: Struct, context: Context) -> None:
    """Check what the root route must and must not have."""
    if route.empty("receiver"):
        route.error(context, "receiver", "root-route", "the root route must name a default receiver")
    for name in ("match", "match_re", "matchers"):
        if route.get(name):
            route.error(context, name, "root-route", "the root route must not have matchers")
    for name in ("mute_time_intervals", "active_time_intervals"):
        if route.get(name):
            route.error(context, name, "root-route", f"the root route must not have {name}")
    if route.get("continue"):
        route.error(context, "continue", "root-route", "the root route must not have continue")


def check_references(route: Struct, receivers: set[str], intervals: set[str], context: Context) -> None:
    """Check that the receivers and time intervals of all routes are defined."""
    for each in _all_routes(route):
        name = each.get("receiver")
        if name and name not in receivers:
            _undefined(each, "receiver", "receiver", name, receivers, context)
        for field in ("mute_time_intervals", "active_time_intervals"):
            for index, interval in each.strings(field):
                if interval not in intervals:
                    _undefined(each, (field, index), "time interval", interval, intervals, context)


def _undefined(
    route: Struct, where: str | tuple[str | int, ...], what: str, name: str, known: set[str], context: Context
) -> None:
    node, path = route.place(*((where,) if isinstance(where, str) else where))
    context.error(node, path, "undefined-reference", f"undefined {what} {name[:80]!r}", context.hint(name, known))


def _all_routes(route: Struct) -> Iterator[Struct]:
    yield route
    for _, child in route.structs("routes"):
        yield from _all_routes(child)


def _check_label_maps(owner: Struct, fields: tuple[str, ...], context: Context) -> None:
    for field in fields:
        for name, value in (owner.get(field) or {}).items():
            if not is_label_name(name, legacy=True):
                message = f"{name[:80]!r} is not a valid label name here; use matchers for UTF-8 names"
                owner.error(context, (field, name), "label-name", message, at_key=True)
            if value is None:
                owner.error(context, (field, name), "regex", f"the regular expression for {name[:80]!r} is missing")


def _no_label(name: str) -> str:
    return f"{name[:80]!r} is not a valid label name ([a-zA-Z_][a-zA-Z0-9_]*)" if name else "a label name is empty"


def _check_group_by(route: Struct, context: Context) -> None:
    seen: set[str] = set()
    for index, name in route.strings("group_by"):
        if name != _EVERYTHING and not is_label_name(name, legacy=is_classic(context)):
            route.error(context, ("group_by", index), "label-name", _no_label(name))
        if name in seen and name != _EVERYTHING:
            route.error(context, ("group_by", index), "duplicate-name", f"label {name[:80]!r} is listed twice")
        seen.add(name)
    if _EVERYTHING in seen and len(seen) > 1:
        message = f"{_EVERYTHING!r} groups by all labels, so it cannot be combined with other labels"
        route.error(context, "group_by", "exclusive-fields", message)
