"""Rule files: groups of recording and alerting rules."""

from __future__ import annotations

from collections.abc import Callable

from apm_s3.validators._checking import Context, Version
from apm_s3.validators._decoding import Struct, check_rule_query, known_in
from apm_s3.validators._grammars.gotemplate import template_problem
from apm_s3.validators._grammars.values import is_label_name, is_metric_name, is_utf8
from apm_s3.validators._query.promql import parse
from apm_s3.validators._tools.prometheus.gates import TEMPLATE_FUNCTIONS_SINCE, UTF8_NAMES

_OLD_FUNCTIONS = (
    *("query", "first", "label", "value", "strvalue", "args", "reReplaceAll", "safeHtml", "match", "title"),
    *("toUpper", "toLower", "graphLink", "tableLink", "sortByLabel", "stripPort", "stripDomain", "humanize"),
    *("humanize1024", "humanizeDuration", "humanizePercentage", "humanizeTimestamp", "toTime", "pathPrefix"),
    *("externalURL", "parseDuration"),
)
TEMPLATE_FUNCTIONS: dict[str, Version | None] = {**dict.fromkeys(_OLD_FUNCTIONS), **TEMPLATE_FUNCTIONS_SINCE}
"""https://prometheus.io/docs/prometheus/latest/configuration/template_reference/."""
TEMPLATE_VARIABLES = ("$labels", "$externalLabels", "$externalURL", "$value")


ExpressionCheck = Callable[[Struct, str, Context], None]
"""Reports problems in a rule's expression, which is not empty."""


def check_promql(rule: Struct, expression: str, context: Context) -> None:
    """Check that the expression is PromQL."""
    check_rule_query(rule, expression, "PromQL", parse, context)


def check_groups(file: Struct, context: Context, check_expression: ExpressionCheck = check_promql) -> None:
    """Check the rules of rulefmt.RuleGroups.Validate."""
    names: set[str] = set()
    for _, group in file.structs("groups"):
        if group.empty("name"):
            group.error(context, "name", "required-field", "a group needs a name")
        name = group.get("name")
        if name and name in names:
            group.error(context, "name", "duplicate-name", f"there is more than one group with the name {name[:80]!r}")
        names.add(name)
        _check_labels(group, context)
        for _, rule in group.structs("rules"):
            _check_rule(rule, context, check_expression)


def _check_rule(rule: Struct, context: Context, check_expression: ExpressionCheck) -> None:
    record, alert = rule.get("record"), rule.get("alert")
    if record and alert:
        rule.error(context, "alert", "exclusive-fields", "only one of record and alert may be set")
    elif rule.empty("record") and rule.empty("alert"):
        rule.error(context, "record", "required-field", "one of record and alert must be set")
    expression = rule.get("expr")
    if rule.empty("expr"):
        rule.error(context, "expr", "required-field", "a rule needs an expr")
    elif isinstance(expression, str):
        check_expression(rule, expression, context)
    if record:
        _check_recording(rule, record, context)
    _check_labels(rule, context)
    legacy = context.is_before(UTF8_NAMES)
    for name in rule.get("annotations") or ():
        if not is_label_name(name, legacy=legacy):
            rule.error(
                context,
                ("annotations", name),
                "label-name",
                f"{name[:80]!r} is not a valid annotation name",
                at_key=True,
            )
    if alert:
        functions = known_in(context, TEMPLATE_FUNCTIONS)
        for field in ("labels", "annotations"):
            _check_templates(rule, field, functions, context)


def _check_recording(rule: Struct, record: str, context: Context) -> None:
    for field in ("annotations", "for", "keep_firing_for"):
        if rule.get(field):
            rule.error(context, field, "exclusive-fields", f"a recording rule cannot have {field}")
    if not is_metric_name(record, legacy=context.is_before(UTF8_NAMES)):
        rule.error(context, "record", "name-validity", f"{record[:80]!r} is not a valid metric name")
    elif "{" in record or "}" in record:
        message = f"the name {record[:80]!r} has braces; was it meant for expr?"
        rule.error(context, "record", "name-validity", message)


def _check_labels(owner: Struct, context: Context) -> None:
    for name, value in (owner.get("labels") or {}).items():
        if not is_label_name(name, legacy=context.is_before(UTF8_NAMES)) or name == "__name__":
            owner.error(
                context,
                ("labels", name),
                "label-name",
                f"{name[:80]!r} is not a valid label name in a rule",
                at_key=True,
            )
        if isinstance(value, str) and not is_utf8(value):
            owner.error(context, ("labels", name), "label-value", "a label value must be UTF-8")


def _check_templates(rule: Struct, field: str, functions: frozenset[str], context: Context) -> None:
    for name, text in (rule.get(field) or {}).items():
        if isinstance(text, str) and (found := template_problem(text, functions, TEMPLATE_VARIABLES)):
            node, path = rule.place(field, name)
            context.add(context.issue_inside(node, path, found[1], "template", f"invalid Go template: {found[0]}"))
