"""Prometheus: its configuration and its rule files."""

from __future__ import annotations

import re

from apm_s3.validators._context import Context, Source
from apm_s3.validators._prometheus.bundle import check_bundle
from apm_s3.validators._prometheus.schema import CONFIG, RULES, TARGETS, config_schema, rules_schema
from apm_s3.validators._reading.nodes import Node
from apm_s3.validators._structure import take_issues

__all__ = ["KINDS", "READ_TOGETHER", "check", "check_bundle", "infer_kind"]

KINDS = ("config", "rules", "targets")
"""`targets` are the files of file_sd_configs."""
READ_TOGETHER = ("config",)
_LIST = re.compile(r"(?:\s|#[^\n]*\n)*(?:\[|-\s)")
_OTHERS = frozenset(("tests", "tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"))
"""Keys of promtool's unit tests and of the web configuration, which are not checked here."""


def infer_kind(source: Source) -> str | None:
    """`rules` for a file with groups, `targets` for a list, else `config`; None for another kind of file."""
    if source.name is not None and not source.name.endswith((".yml", ".yaml", ".json", ".rules")):
        return None
    keys = source.top_level_keys()
    if "groups" in keys and not keys & config_schema().table[CONFIG].keys():
        return "rules"
    if keys & _OTHERS:
        return None
    return "targets" if source.name is not None and _LIST.match(source.text) else "config"


def check(kind: str, source: Source, context: Context) -> None:
    """Report the problems of one document."""
    root = take_issues(source.document("yaml", library="v2" if kind == "config" else "v3"), context)
    if root is None:
        return
    if kind == "rules":
        rules_schema().decode(RULES, root, context)
        return
    if kind == "targets":
        _check_targets(root, context)
        return
    config_schema().decode(CONFIG, root, context)


def _check_targets(root: Node, context: Context) -> None:
    for index, group in enumerate(config_schema().codec(f"[]{TARGETS}")(root, None, context) or ()):
        if group is None:
            context.error(root.items[index], (None, index), "null-section", "empty or null group of targets")
