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
        target: the module below `apm_s3.cli` and the function, as in "_config.read:history".
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

EXAMPLES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "": (
            "apm-s3 init --bucket apm-staging-configs --environment staging",
            "apm-s3 bucket create apm-staging-configs --versioning",
            "apm-s3 config push ./prometheus -m 'First version'",
        ),
        "bucket": ("apm-s3 bucket create apm-staging-configs --purpose configs -e staging",),
        "object": ("apm-s3 object cp dashboard.json s3://apm-files/dashboards/",),
        "config": ("apm-s3 config push ./prometheus -e staging", "apm-s3 config history prometheus -e production"),
    }
)
"""Examples in the help of each group, and of the whole command line."""

COMMANDS: Mapping[str, Entry] = MappingProxyType(
    {
        "init": Entry("_setup:init", "Write apm-s3.toml and a hook for pre-commit."),
        "trust": Entry("_settings:trust", "Trust a project file as it is now.", "local"),
        "bucket create": Entry("_s3.bucket:create", "Create a bucket, completely or not at all."),
        "bucket ensure": Entry("_s3.bucket:ensure", "Create a bucket, or change what differs in it."),
        "bucket plan": Entry("_s3.bucket:plan", "Show what `bucket ensure` would do."),
        "bucket ls": Entry("_s3.bucket:ls", "List the buckets of the account.", "s3"),
        "bucket show": Entry("_s3.bucket:show", "Show a bucket with all its settings.", "s3"),
        "bucket rm": Entry("_s3.bucket:rm", "Delete a bucket; with --force, all its contents first.", "s3"),
        "bucket replicate": Entry("_s3.bucket:replicate", "Replicate a bucket to another one.", "s3"),
        "bucket usage": Entry("_s3.bucket:usage", "Count a bucket's objects and bytes, old versions included.", "s3"),
        "object put": Entry("_s3.object:put", "Store a file, or standard input, as an object.", "s3"),
        "object get": Entry("_s3.object:get", "Download an object to a file.", "s3"),
        "object cat": Entry("_s3.object:cat", "Print the content of an object.", "s3"),
        "object ls": Entry("_s3.object:ls", "List objects.", "s3"),
        "object rm": Entry("_s3.object:rm", "Delete an object, one version of it, or everything below a prefix.", "s3"),
        "object cp": Entry("_s3.object:cp", "Copy an object: within S3, from a file, or to a file.", "s3"),
        "object mv": Entry("_s3.object:mv", "Move an object within S3.", "s3"),
        "object sync": Entry("_s3.transfers:sync", "Copy from SOURCE to TARGET what differs.", "s3"),
        "object presign": Entry("_s3.object:presign", "Print a URL that works without credentials.", "s3"),
        "config validate": Entry(
            "_config.validate:validate", "Check configurations offline, as the tools do.", "local"
        ),
        "config push": Entry("_config.push:push", "Store a directory as the new revision of a tool's configuration."),
        "config pull": Entry("_config.push:pull", "Write a tool's configuration to a directory, all files at once."),
        "config diff": Entry("_config.push:diff", "Compare with a directory, a revision, or another environment."),
        "config import": Entry("_config.push:import_", "Take over an existing layout byte for byte."),
        "config ls": Entry("_config.read:ls", "List the current release of each tool."),
        "config show": Entry("_config.read:show", "Print a file of a configuration, byte for byte."),
        "config history": Entry("_config.read:history", "List the releases of a tool, newest first."),
        "config log": Entry("_config.read:log", "Show who changed what in an environment, when and why."),
        "config status": Entry("_config.read:status", "Show revision, age, drift, good mark and backup of each tool."),
        "config watch": Entry("_config.read:watch", "Print each new release as soon as it is there."),
        "config rollback": Entry("_config.deploy:rollback", "Return to an old revision, by default the good one."),
        "config rm": Entry(
            "_config.deploy:rm", "Remove a tool's configuration, or an environment; the history is kept."
        ),
        "config outcome": Entry("_config.deploy:outcome", "Find out what became of a write whose response was lost."),
        "config plan": Entry("_config.deploy:plan", "Show what a deploy would change, for review."),
        "config deploy": Entry("_config.deploy:deploy", "Carry out a plan of config plan, all its tools at once."),
        "config good": Entry("_config.settings:good", "Mark a revision as good: rollbacks return to it."),
        "config freeze": Entry("_config.settings:freeze", "Block all changes to an environment."),
        "config thaw": Entry("_config.settings:thaw", "Allow changes to an environment again."),
        "config settings": Entry("_config.settings:settings", "Show or change the rules of an environment."),
        "config backup": Entry("_config.care:backup", "Make a self-contained copy of an environment as it is now."),
        "config backups": Entry("_config.care:backups", "List the backups, newest first."),
        "config verify": Entry("_config.care:verify", "Check every file of a backup by its SHA-256."),
        "config drill": Entry("_config.care:drill", "Test that a backup can be restored, without changing anything."),
        "config restore": Entry("_config.care:restore", "Restore a backup to its environment, or to --environment."),
        "config fsck": Entry("_config.care:fsck", "Check every document, blob and live copy of an environment."),
        "config repair": Entry("_config.care:repair", "Repair what fsck finds, and update the live copies."),
        "config gc": Entry("_config.care:gc", "Delete old revisions, log entries, and leftovers."),
        "migrate": Entry("_s3.transfers:migrate", "Copy everything from SOURCE to TARGET, verify it, resume it.", "s3"),
        "sync": Entry("_s3.transfers:sync", "Copy from SOURCE to TARGET what differs.", "s3"),
        "health": Entry("_s3.bucket:health", "Check that a bucket can be used: reach, read, write, settings."),
        "demo": Entry("_setup:demo", "Show what the library does, on example configurations.", "s3"),
        "completion": Entry("_setup:completion", "Print the completion script of a shell.", "local"),
    }
)
"""Every command by its full name, in the order in which the help lists them."""
