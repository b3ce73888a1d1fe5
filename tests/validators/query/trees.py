"""Queries by their public parsers, with releases as tuples."""

from __future__ import annotations

from typing import Any

import pytest

from apm_s3.errors import QueryInvalid
from apm_s3.validators import Node, parse_logql, parse_promql

MAX_DEPTH = 100
MAX_LENGTH = 100_000


def promql(text: str, release: tuple[int, ...] | None = None) -> Any:
    """Return the tree; its nodes have no public classes."""
    return parse_promql(text, target_version=_version(release))


def logql(text: str, release: tuple[int, ...] | None = None) -> Any:
    """Return the tree; its nodes have no public classes."""
    return parse_logql(text, target_version=_version(release))


def _version(release: tuple[int, ...] | None) -> str | None:
    return None if release is None else ".".join(map(str, release))


def refused(parse: Any, text: str, release: tuple[int, ...] | None = None) -> tuple[str, str, str | None]:
    """Return the part of `text` that is refused, with the message and the hint."""
    with pytest.raises(QueryInvalid) as caught:
        parse(text, release)
    found = caught.value
    hint = found.hint if found.hint != QueryInvalid.default_hint else None
    return text[found.offset : found.end], str(found), hint


def kind(node: Node) -> str:
    """Return what a node is, such as `Binary`."""
    return type(node).__name__
