"""Finds and masks secrets in parsed values. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from apm_s3.validators._reading.documents import Tagged, format_of
from apm_s3.validators._reading.scalars import resolve_plain
from apm_s3.validators._reading.trace import Written
from apm_s3.validators._secrets.lines import in_blocks
from apm_s3.validators._secrets.names import Steps, hints_at_secrets, is_label, is_secret_name, kind_by_name, labelled
from apm_s3.validators._secrets.shapes import MASK, is_elsewhere, mask_shapes
from apm_s3.validators._secrets.texts import labels_of, mask_inner, traced


def secrets_by_neighbours(name: str, text: str) -> frozenset[str]:
    """Return values that are secrets only because of other parts of the text.

    Examples: an alias repeats the value below the name of a secret, the name is beside it in a list item, or it is
    below the head of a YAML block, which INI does not know.
    """
    form = format_of(name)
    if form is None or not hints_at_secrets(text):
        return frozenset()
    trace, _ = traced(text, form)
    labels, repeated = labels_of((*trace.scalars, *trace.repeated)), {id(node) for _, node in trace.repeated}
    found = _in_blocks(text, trace.scalars) if form == "ini" else set()
    for steps, node in (*trace.repeated, *trace.scalars):
        full = labelled(steps, labels)
        if (
            (id(node) in repeated or full is not steps)
            and kind_by_name(full, node.text)
            and not is_elsewhere(node.text)
        ):
            found |= {node.text, str(resolve_plain(node.text))}
    return frozenset(found)


def _in_blocks(text: str, scalars: Sequence[Written]) -> set[str]:
    places = list(in_blocks(text))
    return {
        node.text
        for steps, node in scalars
        if node.text and any(start < node.start < stop for start, stop in places) and kind_by_name(steps) is None
    }


def mask_value(value: Any, steps: Steps = (), shared: AbstractSet[str] = frozenset()) -> Any:
    """Mask every secret in `value`, which is at `steps`, and keep everything else.

    Args:
        shared: values that are secrets anywhere; see `secrets_by_neighbours`.
    """
    if isinstance(value, Tagged):
        return _mask_tagged(value, tuple(steps), shared)
    if isinstance(value, Mapping):
        return _mask_mapping(value, tuple(steps), shared)
    if isinstance(value, list | tuple):
        return [mask_value(item, (*steps, index), shared) for index, item in enumerate(value)]
    if value is None or isinstance(value, bool):
        return value
    text = str(value)
    if text in shared or (kind_by_name(steps, text) is not None and not is_elsewhere(text)):
        return MASK
    if not isinstance(value, str):
        return value
    return mask_shapes(mask_inner(value) if hints_at_secrets(value) else value)


def _mask_tagged(value: Tagged, steps: tuple[Any, ...], shared: AbstractSet[str]) -> Any:
    """Return a masked value with its tag on the same level: another one would be deeper than documents may be."""
    masked, tag = mask_value(value.value, steps, shared), value.tag
    if tag.removeprefix("key ") not in _KNOWN_TAGS:
        # `!hunter2` may be a password that begins with an exclamation mark.
        tag = MASK if value.value == "" or masked == MASK else mask_value(tag, steps, shared)
    if isinstance(masked, list):
        return [{"(tag)": tag}, *masked]
    found, name = masked if isinstance(masked, dict) else {"text": masked}, "(tag)"
    while name in found:
        name = f"({name})"
    return {name: tag, **found}


_KNOWN_TAGS = frozenset(
    f"!!{name}"
    for name in (
        "binary",
        "bool",
        "float",
        "int",
        "map",
        "merge",
        "null",
        "omap",
        "pairs",
        "seq",
        "set",
        "str",
        "timestamp",
    )
)


def _mask_mapping(value: Mapping[Any, Any], steps: tuple[Any, ...], shared: AbstractSet[str]) -> dict[Any, Any]:
    labels: dict[Steps, str] = {}
    for key, item in value.items():
        if is_label(key) and isinstance(item, str):
            labels[steps] = item
    below = bool(steps) and is_secret_name(steps)
    masked = {}
    for key, item in value.items():
        # `password: {abc}` is a password in braces.
        shown = MASK if below and item is None else mask_shapes(key) if isinstance(key, str) else key
        masked[shown] = mask_value(item, labelled((*steps, str(key)), labels), shared)
    return masked
