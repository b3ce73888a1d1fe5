"""Prometheus: its configuration and its rule files."""

from __future__ import annotations

from apm_s3.validators.context import Context, Source
from apm_s3.validators.structure import check_top_level, take_issues

KINDS = ("config", "rules")
_TOP_LEVEL = {
    "config": frozenset(
        (
            "global",
            "runtime",
            "alerting",
            "rule_files",
            "scrape_config_files",
            "scrape_configs",
            "storage",
            "tracing",
            "remote_write",
            "remote_read",
            "otlp",
        )
    ),
    "rules": frozenset(("groups",)),
}


def infer_kind(source: Source) -> str | None:
    """`rules` for a file with groups, else `config`; None for a file that is neither YAML nor JSON by its name."""
    if source.name is not None and not source.name.endswith((".yml", ".yaml", ".json", ".rules")):
        return None
    keys = source.top_level_keys()
    return "rules" if "groups" in keys and not keys & _TOP_LEVEL["config"] else "config"


def check(kind: str, source: Source, context: Context) -> None:
    """Report the problems of one document."""
    root = take_issues(source.document("yaml", merge_overrides=kind == "config"), context)
    check_top_level(root, _TOP_LEVEL[kind], context)
