"""The pieces that S3's documents share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from apm_s3.errors import FormatTooNew

Document = Mapping[str, Any]


def known(document: Document, names: str, *, where: str) -> Document:
    """`document`, if it has no other members than `names` (space-separated).

    Raises:
        FormatTooNew: it has one that the settings could not give back: it is not dropped in silence.
    """
    unknown = sorted(document.keys() - set(names.split()))
    if unknown:
        raise FormatTooNew(f"{where} has {', '.join(unknown)}, which this version cannot keep")
    return document


def present(**members: Any) -> dict[str, Any]:
    """The members that are not None."""
    return {name: value for name, value in members.items() if value is not None}


def switch(on: bool) -> dict[str, str]:
    """S3's way to say yes or no."""
    return {"Status": "Enabled" if on else "Disabled"}


def is_on(document: Document | None) -> bool:
    """Whether there is such a switch, and it is on."""
    return document is not None and document.get("Status") == "Enabled"


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as S3 lists them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tag_mapping(tags: Iterable[Document]) -> dict[str, str]:
    """S3's list of tags, as a mapping."""
    return {tag["Key"]: tag["Value"] for tag in tags}


def rule_filter(prefix: str, tags: Mapping[str, str], **sizes: int | None) -> dict[str, Any]:
    """The Filter of a rule: one condition stands alone, several stand in an And."""
    bounds = present(**sizes)
    if len(tags) + len(bounds) + bool(prefix) > 1 or len(tags) > 1:
        return {"And": present(Prefix=prefix or None, Tags=tag_list(tags) or None) | bounds}
    if tags:
        return {"Tag": tag_list(tags)[0]}
    return bounds or {"Prefix": prefix}


def filter_conditions(rule: Document, *, where: str) -> tuple[str, dict[str, str], Document]:
    """(prefix, tags, the whole) of a rule's Filter, or of the Prefix that older documents have in its place."""
    outer = known(
        rule.get("Filter") or {}, "Prefix Tag And ObjectSizeGreaterThan ObjectSizeLessThan", where=f"{where}'s filter"
    )
    inner = known(
        outer.get("And") or outer, "Prefix Tag Tags ObjectSizeGreaterThan ObjectSizeLessThan", where=f"{where}'s filter"
    )
    tags = tag_mapping([*inner.get("Tags", ()), *([inner["Tag"]] if "Tag" in inner else ())])
    return inner.get("Prefix") or rule.get("Prefix") or "", tags, inner
