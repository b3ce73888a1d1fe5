"""Prometheus: its configuration, its rule files with their unit tests, target files and the web configuration."""

from __future__ import annotations

import re

from apm_s3.validators._context import Context, Source
from apm_s3.validators._prometheus.bundle import check_bundle
from apm_s3.validators._prometheus.rule_files import check_rule_file
from apm_s3.validators._prometheus.schema import CONFIG, config_schema
from apm_s3.validators._prometheus.target_files import check_target_file
from apm_s3.validators._prometheus.unit_tests import check_unit_tests
from apm_s3.validators._structure import take_issues
from apm_s3.validators._web import KEYS as WEB_KEYS
from apm_s3.validators._web import check_web_config

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
        _CHECKS[kind](source, context)


_CHECKS = {"rules": check_rule_file, "targets": check_target_file, "tests": check_unit_tests}
