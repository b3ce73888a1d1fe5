"""What is known of each file of a bundle, and what checks across its files work with.

The check of one file by itself depends on nothing but the tool, the file's name and content, and the release that it
must fit: its result is plain data that goes between processes and is remembered (see `memory`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

from apm_s3.reports import Issue, Severity
from apm_s3.validators._context import Context, Mention, Source, Version
from apm_s3.validators._reading.nodes import Node, scalar


@dataclass(frozen=True, slots=True)
class FileResult:
    """What the check of one file by itself gave.

    Attributes:
        kind: what it was taken for; None for a file that is none of the tool's.
        start: line and column of its document; None where that is empty or could not be read.
    """

    kind: str | None
    start: tuple[int, int] | None = None
    issues: tuple[Issue, ...] = ()
    mentions: tuple[Mention, ...] = ()
    skipped: tuple[str, ...] = ()


@dataclass(eq=False)
class Member:
    """One file of a bundle: what it is, what its own check gave, and where to report to.

    Attributes:
        kind: what it was taken for; None for a file that is none of the tool's, such as a certificate.
        raw: its content.
        result: what its own check gave.
        read: the nodes of a source; None where it is empty or cannot be read.
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
        """Its nodes. They are read when they are asked for: a bundle's files are too many to keep them all."""
        return None if self.result.start is None else self.read(Source(self.raw, self.name))

    @property
    def is_good(self) -> bool:
        """Whether its own check found no error."""
        return not any(issue.severity is Severity.ERROR for issue in self.result.issues)

    @property
    def text(self) -> str:
        """Its text; empty where it is none."""
        return Source(self.raw, self.name).text

    @property
    def start(self) -> Node | None:
        """The place where its document begins; None where `root` is."""
        return None if self.result.start is None else scalar("", *self.result.start, plain=True)

    def mentions(self, what: str) -> list[Mention]:
        """What its own check came by."""
        return [mention for mention in self.result.mentions if mention.what == what]

    def report(self, severity: Severity, mention: Mention, rule: str, message: str, hint: str | None = None) -> None:
        """Report an issue where something is mentioned."""
        self.context.add(Issue(severity, mention.path, mention.line, mention.column, rule, message, hint))

    def issues(self) -> list[Issue]:
        """Everything found, with the name of the file, in the order of the document."""
        return [replace(issue, file=self.name) for issue in self.context.sorted_issues()]


def report_repeated(what: str, found: Iterable[tuple[Member, Mention]]) -> None:
    """Report each text that was mentioned before."""
    first: dict[str, str] = {}
    for member, mention in found:
        if mention.text in first:
            message = f"{what} {mention.text[:80]!r} stands in {first[mention.text]} already"
            member.report(Severity.ERROR, mention, "duplicate", message)
        else:
            first[mention.text] = f"{member.name}, {mention.path}"
