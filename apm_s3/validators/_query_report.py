"""How a problem in a query inside a document is reported: on the token, in the document's own lines."""

from __future__ import annotations

from apm_s3.reports import Issue, Severity
from apm_s3.validators._context import Context
from apm_s3.validators._decoding.struct import Struct
from apm_s3.validators._query.problems import QueryProblem
from apm_s3.validators._reading.nodes import render_path


def report_query(owner: Struct, field: str, language: str, problem: QueryProblem, context: Context) -> None:
    """Report `problem` in the query that `field` of `owner` holds."""
    node, path = owner.place(field)
    line, column = node.line or None, node.column or None
    message = f"not {language}: {problem.message}"
    if place := context.place_in(node, problem.start):
        line, column = place
    elif problem.start:
        message = f"{message}, at character {problem.start + 1}"
    rule = language.lower()
    context.add(Issue(Severity.ERROR, render_path(path), line, column, rule, message, problem.hint))
