"""Common parts of S3's documents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from apm_s3.errors import FormatTooNew

Document = Mapping[str, Any]


def known(document: Document, names: str, *, where: str) -> Document:
    """Return `document` if it has only members in `names` (space-separated).

    Raises:
        FormatTooNew: it has an unknown member, which would be lost.
    """
    unknown = sorted(document.keys() - set(names.split()))
    if unknown:
        raise FormatTooNew(f"{where} has {', '.join(unknown)}, which this version does not support")
    return document


def present(**members: Any) -> dict[str, Any]:
    """Return the members that are not None."""
    return {name: value for name, value in members.items() if value is not None}


def switch(on: bool) -> dict[str, str]:
    """Return S3's word for a boolean."""
    return {"Status": "Enabled" if on else "Disabled"}


def is_on(document: Document | None) -> bool:
    """Return whether a switch exists and is on."""
    return document is not None and document.get("Status") == "Enabled"


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Convert tags to S3's list."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tag_mapping(tags: Iterable[Document]) -> dict[str, str]:
    """Convert S3's list of tags to a mapping."""
    return {tag["Key"]: tag["Value"] for tag in tags}


def rule_filter(prefix: str, tags: Mapping[str, str], **sizes: int | None) -> dict[str, Any]:
    """Return the Filter of a rule: a single condition by itself, several in an And."""
    bounds = present(**sizes)
    if len(tags) + len(bounds) + bool(prefix) > 1 or len(tags) > 1:
        return {"And": present(Prefix=prefix or None, Tags=tag_list(tags) or None) | bounds}
    if tags:
        return {"Tag": tag_list(tags)[0]}
    return bounds or {"Prefix": prefix}


def filter_conditions(rule: Document, *, where: str) -> tuple[str, dict[str, str], Document]:
    """Return (prefix, tags, all conditions) of a rule's Filter, or of the Prefix in older documents."""
    outer = known(
        rule.get("Filter") or {}, "Prefix Tag And ObjectSizeGreaterThan ObjectSizeLessThan", where=f"{where}'s filter"
    )
    inner = known(
        outer.get("And") or outer, "Prefix Tag Tags ObjectSizeGreaterThan ObjectSizeLessThan", where=f"{where}'s filter"
    )
    tags = tag_mapping([*inner.get("Tags", ()), *([inner["Tag"]] if "Tag" in inner else ())])
    return inner.get("Prefix") or rule.get("Prefix") or "", tags, inner
