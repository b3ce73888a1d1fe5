"""Fields that this version does not know, and fields that are empty."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

Extra = Mapping[str, Any]
"""Unknown fields of a document, from a newer version of this library. They are written back."""


def nothing() -> Mapping[str, Any]:
    """Return an empty mapping that nobody can fill, the default of fields."""
    return MappingProxyType({})
