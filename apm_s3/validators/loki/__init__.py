"""Loki: its configuration and its rule files."""

from __future__ import annotations

from apm_s3.validators.bundles import Member
from apm_s3.validators.context import Context, Source
from apm_s3.validators.structure import check_top_level, take_issues

KINDS = ("config", "rules")


def infer_kind(source: Source) -> str | None:
    """`rules` for a file with groups, else `config`; None for a file that is not YAML by its name."""
    if source.name is not None and not source.name.endswith((".yml", ".yaml", ".json")):
        return None
    keys = source.top_level_keys()
    return "rules" if "groups" in keys and "schema_config" not in keys else "config"


def check(kind: str, source: Source, context: Context) -> None:
    """Report the problems of one document."""
    root = take_issues(source.document("yaml"), context)
    check_top_level(root, ("namespace", "groups") if kind == "rules" else (), context)


def check_bundle(members: list[Member]) -> None:
    """Each file stands for itself."""
