"""Jaeger: the configuration of version 2, sampling strategies and the user interface's configuration."""

from __future__ import annotations

from apm_s3.validators._checking import Context, Member, Source, check_top_level, take_issues
from apm_s3.validators._tools.jaeger.collector import CONFIG, config_schema, is_variable
from apm_s3.validators._tools.jaeger.sampling import check_sampling, check_ui

KINDS = ("config", "sampling", "ui")
READ_TOGETHER = ()
_TOP_LEVEL = {
    "config": frozenset(("receivers", "processors", "exporters", "extensions", "connectors", "service")),
    "sampling": frozenset(("default_strategy", "service_strategies")),
    "ui": frozenset[str](),
}


def infer_kind(source: Source) -> str | None:
    """Infer `sampling` for JSON with strategies, `config` if there are collector sections, `ui` for other JSON."""
    keys = source.top_level_keys()
    if keys & _TOP_LEVEL["sampling"]:
        return "sampling"
    name = source.name or ""
    if name.endswith(".js") or (name.endswith(".json") and not keys & _TOP_LEVEL["config"]):
        return "ui"
    return "config" if not name or name.endswith((".yml", ".yaml", ".json")) else None


def check(kind: str, source: Source, context: Context) -> None:
    """Report the problems of one document."""
    if kind == "ui":
        check_ui(source, context)
        return
    root = take_issues(source.document("yaml" if kind == "config" else "json"), context)
    if kind == "sampling":
        if root is not None:
            check_sampling(root, context)
        return
    if root is not None and is_variable(root):
        context.skip("variable", "", "the whole configuration is a variable, which is only known when it is expanded")
        return
    root = check_top_level(root, (), context)
    if root is not None:
        config_schema().decode(CONFIG, root, context)


def check_bundle(members: list[Member]) -> None:
    """Do nothing: the files do not refer to each other."""
