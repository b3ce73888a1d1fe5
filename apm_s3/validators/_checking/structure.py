"""Checks that a document's top level is a mapping with known keys."""

from __future__ import annotations

from collections.abc import Collection

from apm_s3.validators._checking.context import Context
from apm_s3.validators._reading.nodes import MAPPING, Document, Node


def take_issues(document: Document, context: Context) -> Node | None:
    """Report the issues of the reader, and return the root."""
    for issue in document.issues:
        context.add(issue)
    return document.root


def check_top_level(root: Node | None, known: Collection[str], context: Context) -> Node | None:
    """Return `root` if it is a mapping, and report keys not in `known`; an empty `known` allows any."""
    if root is None:
        return None
    if root.kind != MAPPING:
        context.error(root, None, "wrong-type", "expected a mapping at the top level")
        return None
    for name, (key, _) in root.entries.items():
        if known and name not in known:
            message = f"unknown field {name[:80]!r}; known fields: {', '.join(sorted(known))}"
            context.error(key, (None, name), "unknown-field", message, context.hint(name, known))
    return root
