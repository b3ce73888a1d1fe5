"""Plans of imports: what would be committed, in order. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from apm_s3._tools import Tool
from apm_s3.reports import ValidationReport

Contents = Callable[["ImportRevision"], Awaitable[Mapping[str, bytes]]]
"""Returns the files of a revision, byte for byte."""


@dataclass(frozen=True, slots=True)
class ImportRevision:
    """One release to commit.

    Attributes:
        write_id: made from what is imported, so that a repeated import commits nothing twice.
        author, message: as the release will have them; None and empty for those of the caller.
        files: the ids of the contents by name: Git's hashes, or SHA-256; empty if the configuration is removed.
        commit, committed_at: the commit that it comes from; None without a history.
    """

    environment: str
    tool: Tool
    write_id: str
    author: str | None
    message: str
    files: Mapping[str, str] = field(repr=False)
    commit: str | None = None
    committed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ImportBundle:
    """What an import would do for one tool in one environment.

    Attributes:
        found: the number of revisions in the source.
        done: how many of them were imported before.
        current_revision: the current revision (0: none).
        report: the validation of the newest revision, whose errors block the import unless it is forced; None if it is
            imported already.
        blocked: why it would be refused; None if it would not.
    """

    environment: str
    tool: Tool
    found: int
    done: int
    current_revision: int
    report: ValidationReport | None = None
    blocked: str | None = None

    @property
    def errors(self) -> tuple[str, ...]:
        """Return the errors of the newest revision, one line each."""
        return () if self.report is None else tuple(each.render(self.report.name) for each in self.report.errors)


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """A planned import: a dry run, and the argument of `import_configs`.

    Attributes:
        source: what is imported, for people.
        bundles: the bundles of the source, sorted.
        revisions: what is still to commit, in the order of the commits.
        left_out: files of the source that belong to no bundle.
    """

    source: str
    bucket: str
    prefix: str
    bundles: tuple[ImportBundle, ...]
    revisions: tuple[ImportRevision, ...]
    left_out: tuple[str, ...] = ()
    contents: Contents = field(repr=False, compare=False, kw_only=True)

    @property
    def changes(self) -> bool:
        """Return whether there is anything to do."""
        return bool(self.revisions)

    @property
    def blocked(self) -> tuple[str, ...]:
        """Return why the import would be refused; empty if it would not."""
        return tuple(
            f"{each.tool} in '{each.environment}': {reason}"
            for each in self.bundles
            for reason in (*(() if each.blocked is None else (each.blocked,)), *each.errors[:1])
        )


def import_write_id(bucket: str, prefix: str, environment: str, tool: str, identity: str) -> str:
    """Return the write id of one imported revision: the same for the same content of the same origin."""
    text = json.dumps(["import", bucket, prefix, environment, tool, identity])
    return f"{environment}.{hashlib.sha256(text.encode()).hexdigest()[:20]}"
