"""Public names that are imported when a program first uses them, so that its start does not pay for the others."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def homes(names: Mapping[str, str]) -> dict[str, str]:
    """Return the module that defines each name, from the names that each module defines, with spaces between."""
    return {name: module for module, defined in names.items() for name in defined.split()}


def lazy_names(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """Return the `__getattr__` of a module: https://docs.python.org/3/reference/datamodel.html#module.__getattr__.

    Args:
        package: the module.
        homes: the modules that define its names; see `homes`.
    """

    def get(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return get
