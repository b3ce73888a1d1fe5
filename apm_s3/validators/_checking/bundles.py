"""The files of a bundle and the results of their checks, for checks across files.

The check of a single file depends only on the tool, the file's name and content, and the target release. Its result is
plain data that can be sent between processes and cached (see `_validation.cache`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

from apm_s3.reports import Issue, Severity
from apm_s3.validators._checking.context import Context, Mention, Source, Version
from apm_s3.validators._reading.nodes import MAPPING, Node, scalar


@dataclass(frozen=True, slots=True)
class FileResult:
    """The result of checking one file by itself.

    Attributes:
        kind: the kind of document; None for a file that does not belong to the tool.
        start: line and column of the document; None if it is empty or unreadable.
    """

    kind: str | None
    start: tuple[int, int] | None = None
    issues: tuple[Issue, ...] = ()
    mentions: tuple[Mention, ...] = ()
    skipped: tuple[str, ...] = ()


@dataclass(eq=False)
class Member:
    """One file of a bundle, with the result of its own check.

    Attributes:
        kind: the kind of document; None for a file that does not belong to the tool, such as a certificate.
        raw: its content.
        result: the result of its own check.
        read: returns the nodes of a source; None if it is empty or unreadable.
        used: whether another file of the bundle refers to it.
    """

    name: str
    kind: str | None
    raw: bytes = field(repr=False)
    result: FileResult
    target: Version | None
    read: Callable[[Source], Node | None] = field(repr=False)
    context: Context = field(init=False)
    used: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.context = Context(self.target)
        self.context.read_from_later(lambda: Source(self.raw, self.name))
        for issue in self.result.issues:
            self.context.add(issue)
        for reason in self.result.skipped:
            self.context.skip(reason)

    @cached_property
    def root(self) -> Node | None:
        """Return the nodes, read on demand, because a bundle has too many files to keep them all."""
        return None if self.result.start is None else self.read(Source(self.raw, self.name))

    @property
    def is_readable(self) -> bool:
        """Return whether it is known to which files it refers: it is a mapping, or empty."""
        return self.is_good if self.root is None else self.root.kind == MAPPING

    @property
    def is_good(self) -> bool:
        """Return whether its own check found no errors."""
        return not any(issue.severity is Severity.ERROR for issue in self.result.issues)

    @property
    def text(self) -> str:
        """Return the text; empty if the file is not text."""
        return Source(self.raw, self.name).text

    @property
    def start(self) -> Node | None:
        """Return a node at the start of the document; None if `root` is None."""
        return None if self.result.start is None else scalar("", *self.result.start, plain=True)

    def mentions(self, what: str) -> list[Mention]:
        """Return what its own check recorded."""
        return [mention for mention in self.result.mentions if mention.what == what]

    def report(self, severity: Severity, mention: Mention, rule: str, message: str, hint: str | None = None) -> None:
        """Report an issue at a mention."""
        self.context.add(Issue(severity, mention.path, mention.line, mention.column, rule, message, hint))

    def issues(self) -> list[Issue]:
        """Return all issues with the name of the file, in the order of the document."""
        return [replace(issue, file=self.name) for issue in self.context.sorted_issues()]


def report_repeated(what: str, found: Iterable[tuple[Member, Mention]]) -> None:
    """Report each text that is mentioned more than once."""
    first: dict[str, str] = {}
    for member, mention in found:
        if mention.text in first:
            message = f"{what} {mention.text[:80]!r} is already defined in {first[mention.text]}"
            member.report(Severity.ERROR, mention, "duplicate", message)
        else:
            first[mention.text] = f"{member.name}, {mention.path}"
