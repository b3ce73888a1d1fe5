"""The Go templates of line_format and label_format, with Loki's functions.

https://grafana.com/docs/loki/latest/query/template_functions/.
"""

from __future__ import annotations

from apm_s3.validators._grammars.gotemplate import template_problem
from apm_s3.validators._query.literals import source_offset
from apm_s3.validators._query.nodes import StringLiteral
from apm_s3.validators._query.problems import QueryProblem

_FUNCTIONS = frozenset(
    (
        *("ToLower", "ToUpper", "Replace", "Trim", "TrimLeft", "TrimRight", "TrimPrefix", "TrimSuffix", "TrimSpace"),
        *("__line__", "__timestamp__", "regexReplaceAll", "regexReplaceAllLiteral", "count", "urldecode", "urlencode"),
        *("bytes", "duration", "duration_seconds", "unixEpochMillis", "unixEpochNanos", "unixEpoch", "unixToTime"),
        *("toDateInZone", "toDate", "date", "now", "alignLeft", "alignRight", "b64enc", "b64dec", "lower", "upper"),
        *("title", "trunc", "substr", "contains", "hasPrefix", "hasSuffix", "eq", "indent", "nindent", "replace"),
        *("repeat", "trim", "trimAll", "trimSuffix", "trimPrefix", "int", "float64", "add", "sub", "mul", "div", "mod"),
        *("addf", "subf", "mulf", "divf", "max", "min", "maxf", "minf", "ceil", "floor", "round", "fromJson"),
        *("default", "regexReplace", "nospace", "sha1sum", "sha256sum"),
    )
)


def check_template(value: StringLiteral, text: str) -> None:
    """Check that `value`, a string of the query `text`, is a valid template in Loki.

    Raises:
        QueryProblem: it is not valid, with the position of the invalid part.
    """
    if found := template_problem(value.value, _FUNCTIONS):
        message, offset = found
        start = value.start + source_offset(text[value.start : value.end], offset)
        raise QueryProblem(f"invalid Go template: {message}", start, max(start + 1, value.end - 1))
