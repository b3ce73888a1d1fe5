"""Shared code for walking through configurations: paths, and lists of named items. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from apm_s3.validators._reading.nodes import MAX_SHOWN, render_step

Step = str | int | tuple[str, str]
"""A key, an index, or (field, name) for the item of a list whose items have names."""
Steps = tuple[Step, ...]

NAME_FIELDS = ("job_name", "name", "uid", "alert", "record", "id", "refId", "title", "from")
"""The fields that name an item of a list, in the order in which they are tried: jobs, receivers, groups, data sources,
rules, panels and their queries, periods of a schema."""

_RULE_FIELDS = ("alert", "record")


def item_names(*lists: Sequence[Any]) -> tuple[list[tuple[str, str]], ...] | None:
    """Return the (field, name) of each item of `lists`, if one field identifies the items of every list.

    Rules may share a name, and a group may mix both kinds: the second `alert: Down` is ("alert", "Down #2"). None if
    the items have no such names.
    """
    items = [item for each in lists for item in each]
    if not items or not all(isinstance(item, Mapping) for item in items):
        return None
    for field in NAME_FIELDS:
        if all(_is_name(item.get(field)) for item in items) and all(_distinct(each, field) for each in lists):
            return tuple([(field, str(item[field])) for item in each] for each in lists)
    if all(sum(_is_name(item.get(field)) for field in _RULE_FIELDS) == 1 for item in items):
        return tuple(_rule_names(each) for each in lists)
    return None


def render(steps: Steps) -> str:
    """Format steps as `scrape_configs[node].job`, `targets[2]`; keys that are not words are quoted: `labels["a.b"]`."""
    return "".join(_rendered(step) for step in steps).removeprefix(".")


def _rendered(step: Step) -> str:
    if isinstance(step, tuple):
        return f"[{step[0]}={json.dumps(step[1][:MAX_SHOWN], ensure_ascii=False)[1:-1]}]"
    return render_step(step)


def _is_name(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and value != ""


def _distinct(items: Sequence[Any], field: str) -> bool:
    return len({str(item[field]) for item in items}) == len(items)


def _rule_names(rules: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    seen: Counter[tuple[str, str]] = Counter()
    names = []
    for rule in rules:
        field = "alert" if _is_name(rule.get("alert")) else "record"
        name = (field, str(rule[field]))
        seen[name] += 1
        names.append(name if seen[name] == 1 else (field, f"{name[1]} #{seen[name]}"))
    return names
