"""Rule files, read as in rulefmt."""

from __future__ import annotations

from apm_s3.validators._checking import Context, Source, take_issues
from apm_s3.validators._tools.prometheus.schema import RULES, rules_schema


def check_rule_file(source: Source, context: Context) -> None:
    """Report the problems of one file."""
    root = take_issues(source.document("yaml", library="v3"), context)
    if root is not None:
        rules_schema().decode(RULES, root, context)
