"""Prometheus: its configuration, its rule files with their unit tests, target files and the web configuration."""

from __future__ import annotations

import re
from importlib import import_module

from apm_s3.validators._checking import Context, Member, Source, take_issues
from apm_s3.validators._tools.prometheus.config import CONFIG, config_schema
from apm_s3.validators._tools.prometheus_common import KEYS as WEB_KEYS
from apm_s3.validators._tools.prometheus_common import check_web_config

__all__ = ["KINDS", "READ_TOGETHER", "check", "check_bundle", "infer_kind"]

KINDS = ("config", "rules", "targets", "tests", "web")
"""`targets` are files for file_sd_configs, `tests` files for `promtool test rules`."""
READ_TOGETHER = ("config", "targets", "tests", "web")
_ENDINGS = (".yml", ".yaml", ".json", ".rules")
_LIST = re.compile(r"(?:\s|#[^\n]*\n)*(?:\[|-\s)")


def infer_kind(source: Source) -> str | None:
    """Infer `rules` from groups, `targets` from a list, `tests`, `web`, else `config`; None for other files."""
    if source.name is not None and not source.name.lower().endswith(_ENDINGS):
        return None
    keys = source.top_level_keys()
    if "groups" in keys and not keys & config_schema().table[CONFIG].keys():
        return "rules"
    if "tests" in keys:
        return "tests"
    if keys & WEB_KEYS:
        return "web"
    return "targets" if source.name is not None and _LIST.match(source.text) else "config"


def check(kind: str, source: Source, context: Context) -> None:
    """Report the problems of one document."""
    if kind == "config":
        root = take_issues(source.document("yaml", library="v2"), context)
        if root is not None:
            config_schema().decode(CONFIG, root, context)
    elif kind == "web":
        check_web_config("prometheus", source, context)
    else:
        module, function = _CHECKS[kind]
        getattr(import_module(f"apm_s3.validators._tools.prometheus.{module}"), function)(source, context)


def check_bundle(members: list[Member]) -> None:
    """Check the references between the files; see `bundle`."""
    from apm_s3.validators._tools.prometheus import bundle  # noqa: PLC0415 - as in _CHECKS

    bundle.check_bundle(members)


_CHECKS = {
    "rules": ("rules", "check_rule_file"),
    "targets": ("bundle", "check_target_file"),
    "tests": ("rules", "check_unit_tests"),
}
"""Where each check is. They are loaded when needed: the parser of PromQL, which most need, takes long to load."""
