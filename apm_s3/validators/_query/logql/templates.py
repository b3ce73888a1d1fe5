"""The Go templates of line_format and label_format, with Loki's functions.

https://grafana.com/docs/loki/latest/query/template_functions/.
"""

from __future__ import annotations

from apm_s3.validators._grammars.gotemplate import template_problem

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


def template_problem_of(text: str) -> str | None:
    """Return why `text` is not a valid template in Loki, or None."""
    found = template_problem(text, _FUNCTIONS, ())
    return found[0] if found else None
