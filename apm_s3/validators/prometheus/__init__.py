"""Prometheus: its configuration and its rule files."""

from __future__ import annotations

from apm_s3.validators.bundles import Member
from apm_s3.validators.context import Context, Source
from apm_s3.validators.grammars import promql, regexes
from apm_s3.validators.prometheus.schema import CONFIG, RULES, config_schema, rules_schema
from apm_s3.validators.structure import take_issues

KINDS = ("config", "rules")


def infer_kind(source: Source) -> str | None:
    """`rules` for a file with groups, else `config`; None for a file that is neither YAML nor JSON by its name."""
    if source.name is not None and not source.name.endswith((".yml", ".yaml", ".json", ".rules")):
        return None
    keys = source.top_level_keys()
    return "rules" if "groups" in keys and not keys & config_schema().table[CONFIG].keys() else "config"


def check(kind: str, source: Source, context: Context) -> None:
    """Report the problems of one document."""
    root = take_issues(source.document("yaml", merge_overrides=kind == "config"), context)
    if root is None:
        return
    if kind == "rules":
        if not promql.available():
            context.skip(promql.SKIPPED)
        rules_schema().decode(RULES, root, context)
        return
    if not regexes.available():
        context.skip(regexes.SKIPPED)
    config_schema().decode(CONFIG, root, context)


def check_bundle(members: list[Member]) -> None:
    """Each file stands for itself."""
