"""Alertmanager: its configuration and its notification templates."""

from __future__ import annotations

from apm_s3.validators.bundles import Member
from apm_s3.validators.context import Context, Source
from apm_s3.validators.structure import check_top_level, take_issues

KINDS = ("config", "templates")
_TOP_LEVEL = frozenset(
    (
        "global",
        "route",
        "inhibit_rules",
        "receivers",
        "templates",
        "mute_time_intervals",
        "time_intervals",
        "tracing",
        "event_recorder",
    )
)


def infer_kind(source: Source) -> str | None:
    """`templates` for `*.tmpl`, else `config` for YAML."""
    if source.name is not None and source.name.endswith((".tmpl", ".template")):
        return "templates"
    if (
        source.name is None
        and "{{" in source.text
        and "define" in source.text
        and "route" not in source.top_level_keys()
    ):
        return "templates"
    return "config" if source.name is None or source.name.endswith((".yml", ".yaml", ".json")) else None


def check(kind: str, source: Source, context: Context) -> None:
    """Report the problems of one document."""
    if kind == "templates":
        source.readable_text()
        return
    root = take_issues(source.document("yaml", merge_overrides=True), context)
    check_top_level(root, _TOP_LEVEL, context)


def check_bundle(members: list[Member]) -> None:
    """Each file stands for itself."""
