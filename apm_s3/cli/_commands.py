"""The table of all commands. A command's module is imported only when the command runs or its own help is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Scope = Literal["store", "s3", "local"]
"""Which common options a command has: "store" all of them, "s3" those of the connection, "local" none of S3's."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One command.

    Attributes:
        target: the module below `apm_s3.cli` and the function, as in "_config_read:history".
        summary: what it does, in one line: the first line of the function's docstring.
        scope: which common options it has.
    """

    target: str
    summary: str
    scope: Scope = "store"


GROUPS: Mapping[str, str] = MappingProxyType(
    {
        "bucket": "Create, inspect, copy and delete buckets.",
        "object": "Read, write, copy and delete objects.",
        "config": "Validate, store and deploy configurations.",
    }
)
"""The groups of commands, and what each is for."""

COMMANDS: Mapping[str, Entry] = MappingProxyType(
    {
        "migrate": Entry("_migrate:migrate", "Copy everything from SOURCE to TARGET, verify it, resume it.", "s3"),
        "sync": Entry("_sync:sync", "Copy from SOURCE to TARGET what differs.", "s3"),
        "demo": Entry("_demo_command:demo", "Show what the library does, on example configurations.", "s3"),
        "completion": Entry("_completion:completion", "Print the completion script of a shell.", "local"),
    }
)
"""Every command by its full name, in the order in which the help lists them."""
