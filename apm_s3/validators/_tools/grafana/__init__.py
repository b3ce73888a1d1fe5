"""Grafana: its ini file, provisioning files and dashboards."""

from __future__ import annotations

import re

from apm_s3.validators._checking import Context, Source, take_issues
from apm_s3.validators._reading.documents import Format
from apm_s3.validators._tools.grafana.dashboard import check_dashboard
from apm_s3.validators._tools.grafana.ini import check_ini
from apm_s3.validators._tools.grafana.provisioning import check_bundle, check_provisioning, mention_names

__all__ = ["FORMATS", "KINDS", "READ_TOGETHER", "check", "check_bundle", "infer_kind"]

KINDS = ("ini", "provisioning", "dashboard")
READ_TOGETHER = ()
FORMATS: dict[str, Format] = {"ini": "ini", "provisioning": "yaml", "dashboard": "json"}
_CHECKS = {"ini": check_ini, "provisioning": check_provisioning, "dashboard": check_dashboard}
_SECTION = re.compile(r"^\s*\[[\w.-]+\]\s*$", re.MULTILINE)


def infer_kind(source: Source) -> str | None:
    """Infer the kind from the extension of the name, else from the content."""
    name = source.name or ""
    if name.endswith(".json") and _is_provisioning(source):
        return "provisioning"
    for endings, kind in (((".ini",), "ini"), ((".json",), "dashboard"), ((".yml", ".yaml"), "provisioning")):
        if name.endswith(endings):
            return kind
    if name:
        return None
    if source.data is not None:
        keys = source.top_level_keys()
        return "dashboard" if "panels" in keys else "provisioning" if "apiVersion" in keys else "ini"
    if source.text.lstrip().startswith("{"):
        return "dashboard"
    return "provisioning" if source.top_level_keys() and not _SECTION.search(source.text) else "ini"


def _is_provisioning(source: Source) -> bool:
    """Recognize provisioning files, which may be JSON, because Grafana reads them with a YAML decoder."""
    keys = source.top_level_keys()
    return "apiVersion" in keys and not keys & {"panels", "rows", "schemaVersion", "kind"}


def check(kind: str, source: Source, context: Context) -> None:
    """Report the problems of one document."""
    root = take_issues(source.document(FORMATS[kind]), context)
    if root is not None:
        _CHECKS[kind](root, context)
        mention_names(kind, root, context)
