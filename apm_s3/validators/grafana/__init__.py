"""Grafana: its ini file, provisioning files and dashboards."""

from __future__ import annotations

import re

from apm_s3.validators.context import Context, Source
from apm_s3.validators.parsing.documents import Format
from apm_s3.validators.parsing.nodes import MAPPING, Node
from apm_s3.validators.structure import check_top_level, take_issues

KINDS = ("ini", "provisioning", "dashboard")
_FORMATS: dict[str, Format] = {"ini": "ini", "provisioning": "yaml", "dashboard": "json"}
_SECTION = re.compile(r"^\s*\[[\w.-]+\]\s*$", re.MULTILINE)


def infer_kind(source: Source) -> str | None:
    """By the ending of the name, else by the look of the content."""
    name = source.name or ""
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


def check(kind: str, source: Source, context: Context) -> None:
    """Report the problems of one document."""
    root = take_issues(source.document(_FORMATS[kind]), context)
    if kind != "ini":
        check_top_level(root, (), context)
    elif source.data is not None and root is not None and root.kind == MAPPING:
        _check_sections_of_data(context, root)


def _check_sections_of_data(context: Context, root: Node) -> None:
    for name, (key, section) in root.entries.items():
        if section.kind != MAPPING:
            context.error(key, (None, name), "wrong-type", "a section of grafana.ini is a mapping of keys to values")
