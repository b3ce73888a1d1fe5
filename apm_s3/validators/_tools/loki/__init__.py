"""Loki: its configuration and its rule files."""

from __future__ import annotations

from apm_s3.reports import Issue, Severity
from apm_s3.validators._checking import Context, Member, Source, take_issues
from apm_s3.validators._tools.loki.config import expand
from apm_s3.validators._tools.loki.schema import CONFIG, RULES, config_schema, rules_schema

KINDS = ("config", "rules")
READ_TOGETHER = ()


def infer_kind(source: Source) -> str | None:
    """Infer `rules` for a file with groups, else `config`; None for a file whose name is not that of YAML."""
    if source.name is not None and not source.name.endswith((".yml", ".yaml", ".json")):
        return None
    keys = source.top_level_keys()
    return "rules" if "groups" in keys and "schema_config" not in keys else "config"


def check(kind: str, source: Source, context: Context) -> None:
    """Report the problems of one document."""
    if kind == "rules":
        root = take_issues(source.document("yaml"), context)
        if root is not None:
            rules_schema().decode(RULES, root, context)
        return
    if source.data is None and "${" in source.text:
        source = Source(expand(source.readable_text()), source.name)
        context.read_from(source)
    root = take_issues(source.document("yaml"), context)
    if root is None or config_schema().decode(CONFIG, root, context) is None:
        context.add(
            Issue(Severity.ERROR, "", 1, 1, "no-schema-config", "schema_config.configs needs at least one period")
        )


def check_bundle(members: list[Member]) -> None:
    """Do nothing: the files do not refer to each other."""
