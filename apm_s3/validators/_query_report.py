"""Reports a problem in a query at its token, with the line and column in the document."""

from __future__ import annotations

from apm_s3.validators._context import Context
from apm_s3.validators._decoding.struct import Struct
from apm_s3.validators._query.problems import QueryProblem


def report_query(owner: Struct, field: str, language: str, problem: QueryProblem, context: Context) -> None:
    """Report `problem` in the query in `field` of `owner`."""
    node, path = owner.place(field)
    message = f"invalid {language}: {problem.message}"
    context.add(context.issue_inside(node, path, problem.start, language.lower(), message, problem.hint))
