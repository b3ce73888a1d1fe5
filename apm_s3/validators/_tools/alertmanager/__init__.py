"""Alertmanager: its configuration, its notification templates and its web configuration."""

from __future__ import annotations

from apm_s3.reports import Issue, Severity
from apm_s3.validators._checking import Context, Source, take_issues
from apm_s3.validators._tools.alertmanager.config import CONFIG, config_schema
from apm_s3.validators._tools.alertmanager.receivers import check_bundle, check_templates
from apm_s3.validators._tools.prometheus_common import KEYS as WEB_KEYS
from apm_s3.validators._tools.prometheus_common import check_web_config

__all__ = ["KINDS", "READ_TOGETHER", "check", "check_bundle", "infer_kind"]

KINDS = ("config", "templates", "web")
READ_TOGETHER = ("config", "templates", "web")


def infer_kind(source: Source) -> str | None:
    """Infer `templates` from `*.tmpl`, `web` from its sections, else `config` for YAML."""
    if source.name is not None and source.name.endswith((".tmpl", ".template")):
        return "templates"
    if (
        source.name is None
        and "{{" in source.text
        and "define" in source.text
        and "route" not in source.top_level_keys()
    ):
        return "templates"
    if source.top_level_keys() & WEB_KEYS:
        return "web"
    return "config" if source.name is None or source.name.endswith((".yml", ".yaml", ".json")) else None


def check(kind: str, source: Source, context: Context) -> None:
    """Report the problems of one document."""
    if kind == "templates":
        check_templates(source, context)
        return
    if kind == "web":
        check_web_config("alertmanager", source, context)
        return
    root = take_issues(source.document("yaml", library="v2"), context)
    if root is None:
        context.add(Issue(Severity.ERROR, "", 1, 1, "root-route", "no route: a root route with a receiver is required"))
        return
    if config_schema().decode(CONFIG, root, context) is None:
        context.error(root, None, "root-route", "no route: a root route with a receiver is required")
