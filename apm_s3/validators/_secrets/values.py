"""Finds and masks secrets in parsed values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apm_s3.validators._reading.documents import Tagged
from apm_s3.validators._secrets.known import NONE_KNOWN, KnownSecrets, SecretValue
from apm_s3.validators._secrets.names import Steps, hints_at_secrets, is_label, is_secret_name, kind_by_name, labelled
from apm_s3.validators._secrets.shapes import MASK, is_elsewhere, mask_shapes
from apm_s3.validators._secrets.texts import mask_inner


def mask_value(value: Any, steps: Steps = (), known: KnownSecrets = NONE_KNOWN) -> Any:
    """Mask every secret in `value`, which is at `steps`, and keep everything else.

    Args:
        known: secrets that are masked anywhere.
    """
    if isinstance(value, Tagged):
        return _mask_tagged(value, tuple(steps), known)
    if isinstance(value, Mapping):
        return _mask_mapping(value, tuple(steps), known)
    if isinstance(value, list | tuple):
        return [mask_value(item, (*steps, index), known) for index, item in enumerate(value)]
    if value is None or isinstance(value, bool):
        return value
    text = str(value)
    if (
        isinstance(value, SecretValue)
        or known.is_in(text)
        or (kind_by_name(steps, text) is not None and not is_elsewhere(text))
    ):
        return MASK
    if not isinstance(value, str):
        return value
    return mask_shapes(mask_inner(value) if hints_at_secrets(value) else value)


def _mask_tagged(value: Tagged, steps: tuple[Any, ...], known: KnownSecrets) -> Any:
    """Return a masked value with its tag on the same level: another one would be deeper than documents may be."""
    masked, tag = mask_value(value.value, steps, known), value.tag
    if tag.removeprefix("key ") not in _KNOWN_TAGS:
        # `!hunter2` may be a password that begins with an exclamation mark.
        tag = MASK if value.value == "" or masked == MASK else mask_value(tag, steps, known)
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


def _mask_mapping(value: Mapping[Any, Any], steps: tuple[Any, ...], known: KnownSecrets) -> dict[Any, Any]:
    labels: dict[Steps, str] = {}
    for key, item in value.items():
        if is_label(key) and isinstance(item, str):
            labels[steps] = item
    below = bool(steps) and is_secret_name(steps)
    masked = {}
    for key, item in value.items():
        # `password: {abc}` is a password in braces.
        is_secret = (below and item is None) or known.is_in(str(key))
        shown = MASK if is_secret else mask_shapes(key) if isinstance(key, str) else key
        masked[shown] = mask_value(item, labelled((*steps, str(key)), labels), known)
    return masked
