"""The public names: which there are, that all are typed, and that importing them costs nothing."""

from __future__ import annotations

import builtins
import collections.abc
import dataclasses
import importlib
import inspect
import subprocess
import sys
import types
import typing
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

import apm_s3
from apm_s3 import ConfigStore, S3Manager

MODULES = (
    "batch",
    "configs",
    "errors",
    "events",
    "exporters.logs",
    "exporters.notifications",
    "exporters.prometheus",
    "exporters.tracing",
    "fastapi",
    "health",
    "metrics",
    "migration",
    "migration_dask",
    "models",
    "options",
    "policies",
    "reports",
    "settings",
    "sync",
    "testing",
    "validators",
)
NAMES = 39
"""The number of top-level names: a new one is a decision."""


def module(name: str) -> types.ModuleType:
    return importlib.import_module(f"apm_s3.{name}")


def homes() -> dict[str, set[str]]:
    """The names that are public, by the module that offers them."""
    return {"apm_s3": set(apm_s3.__all__), **{name: set(module(name).__all__) for name in MODULES}}


def test_the_top_level_has_only_the_names_that_most_programs_need() -> None:
    assert len(apm_s3.__all__) == NAMES
    assert dir(apm_s3) == sorted(apm_s3.__all__) == sorted(apm_s3._HOMES)


@pytest.mark.parametrize("name", ["models", "options"])
def test_a_lazy_public_module_says_where_each_name_is(name: str) -> None:
    assert sorted(module(name)._HOMES) == sorted(module(name).__all__)


@pytest.mark.parametrize("name", apm_s3.__all__)
def test_a_top_level_name_is_the_same_object_as_in_its_module(name: str) -> None:
    assert getattr(apm_s3, name) is getattr(importlib.import_module(apm_s3._HOMES[name]), name)


def test_a_misspelt_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'apm_s3' has no attribute 'S3Manger'"):
        apm_s3.S3Manger  # noqa: B018


@pytest.mark.parametrize("name", MODULES)
def test_a_public_module_lists_its_names_in_order(name: str) -> None:
    listed = module(name).__all__

    assert len(set(listed)) == len(listed)
    assert all(hasattr(module(name), each) for each in listed)


@pytest.mark.parametrize("name", ["errors", "events", "metrics", "reports", "settings"])
def test_every_class_of_a_public_module_is_listed(name: str) -> None:
    classes = [value for value in vars(module(name)).values() if isinstance(value, type)]
    own = {cls.__name__ for cls in classes if cls.__module__ == f"apm_s3.{name}" and not cls.__name__.startswith("_")}

    assert own <= set(module(name).__all__)


def test_every_other_module_is_visibly_private() -> None:
    package = Path(apm_s3.__file__).parent
    found = {path.stem if path.is_file() else path.name for path in package.iterdir() if path.name != "__pycache__"}

    public = {name for name in MODULES if "." not in name}
    assert {name for name in found if not name.startswith("_")} == {*public, "cli", "exporters", "py"}


@pytest.mark.parametrize("name", [name for name in MODULES if hasattr(module(name), "__path__")])
def test_the_modules_within_a_public_one_are_private(name: str) -> None:
    folder = Path(module(name).__path__[0])

    found = {f"{name}.{path.stem}" for path in folder.iterdir() if not path.name.startswith("_")}
    assert found <= set(MODULES)


def methods(cls: type) -> Iterator[Any]:
    for name, member in inspect.getmembers(cls):
        if not name.startswith("_"):
            if isinstance(member, property):
                yield member.fget
            elif callable(member):
                yield member


def classes_in(hint: Any) -> Iterator[type]:
    """The classes of this library that a type names."""
    for argument in typing.get_args(hint):
        yield from classes_in(argument)
    if isinstance(hint, type) and hint.__module__.startswith("apm_s3."):
        yield hint


def reachable(*roots: type) -> set[type]:
    """What the methods of `roots` take and return, and the fields and methods of that, to the end."""
    seen: set[type] = set()
    left = list(roots)
    while left:
        cls = left.pop()
        if cls in seen:
            continue
        seen.add(cls)
        hints: list[Any] = []
        if dataclasses.is_dataclass(cls) or issubclass(cls, tuple):
            hints += [hint for name, hint in _hints(cls).items() if not name.startswith("_")]
        if not issubclass(cls, (Enum, BaseException)):
            for method in methods(cls):
                hints += _hints(method).values()
        left += [found for hint in hints for found in classes_in(hint)]
    return seen


class _Names(dict[str, Any]):
    """Names in an annotation. What a module imports for type checkers only, and is not ours, counts as Any."""

    def __missing__(self, name: str) -> Any:
        if name.startswith("_"):
            raise KeyError(name)
        if name in sys.stdlib_module_names:
            return importlib.import_module(name)
        places = (builtins, typing, collections.abc, types)
        return next((getattr(place, name) for place in places if hasattr(place, name)), Any)


def _hints(thing: Any) -> dict[str, Any]:
    thing = inspect.unwrap(thing)
    if not (getattr(thing, "__module__", None) or "").startswith("apm_s3."):
        return {}
    module_ = sys.modules[thing.__module__]
    everything = {name: value for name in homes() if name != "apm_s3" for name, value in vars(module(name)).items()}
    names = _Names({**everything, **vars(module_)})
    return typing.get_type_hints(thing, names, names)


def test_argument_and_return_types_are_public() -> None:
    public = set().union(*homes().values())
    found = reachable(S3Manager, ConfigStore)

    assert len(found) > 60
    assert {cls.__name__ for cls in found} - public == set()


LIGHT = """
import sys
{statement}
heavy = {{"aiobotocore", "aiohttp", "asyncio", "botocore", "tenacity"}} - {allowed}
print(sorted(heavy & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ("import apm_s3", "set()"),
        ("from apm_s3 import S3Settings, Credentials, ConfigInvalid", "set()"),
        ("from apm_s3 import validate_config", "{'asyncio'}"),
        ("from apm_s3.configs import Release", "{'asyncio'}"),
    ],
)
def test_imports_that_need_no_client_load_none(statement: str, allowed: str) -> None:
    code = LIGHT.format(statement=statement, allowed=allowed)

    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)

    assert done.stdout == "[]\n", done.stderr


def test_importing_the_package_loads_a_tenth_of_the_modules_of_a_client() -> None:
    def loaded(statement: str) -> int:
        code = f"import sys; before = set(sys.modules); {statement}; print(len(set(sys.modules) - before))"
        return int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)

    assert loaded("import apm_s3") < loaded("import aiobotocore.session") / 10
