"""Reports a problem in a query at its token, with the line and column in the document."""

from __future__ import annotations

from collections.abc import Callable

from apm_s3.validators._checking.context import Context, Version
from apm_s3.validators._decoding.struct import Struct
from apm_s3.validators._query.nodes import Expr
from apm_s3.validators._query.problems import QueryProblem

_TYPES = {
    "streams": ("log lines", "count them: count_over_time(... [5m])"),
    "matrix": ("a range vector", "wrap it in rate() or another function for ranges"),
    "string": ("a string", None),
}
"""The types that a rule cannot have, with a hint."""


def report_query(owner: Struct, field: str, language: str, problem: QueryProblem, context: Context) -> None:
    """Report `problem` in the query in `field` of `owner`."""
    node, path = owner.place(field)
    message = f"invalid {language}: {problem.message}"
    context.add(context.issue_inside(node, path, problem.start, language.lower(), message, problem.hint))


def check_rule_query(
    rule: Struct, expression: str, language: str, parse: Callable[[str, Version | None], Expr], context: Context
) -> None:
    """Check the expression of a rule. One that is neither a vector nor a number is loaded, but always fails."""
    try:
        tree = parse(expression, context.target)
    except QueryProblem as exc:
        report_query(rule, "expr", language, exc, context)
        return
    if tree.type in _TYPES:
        found, hint = _TYPES[tree.type]
        node, path = rule.place("expr")
        context.warn(node, path, "query-type", f"a rule needs an instant vector or a number, got {found}", hint)
