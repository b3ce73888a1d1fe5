"""The state of one validation: the source, the target release, and the issues found so far."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, Literal

from apm_s3.errors import InvalidOption
from apm_s3.reports import Issue, Severity, ValidationReport
from apm_s3.validators._hints import did_you_mean
from apm_s3.validators._reading.documents import Format, from_data, read_document
from apm_s3.validators._reading.nodes import (
    MAX_BYTES,
    Document,
    Node,
    Path,
    Unreadable,
    decode_text,
    problem,
    render_path,
)
from apm_s3.validators._reading.yaml_reader import GoYaml

if TYPE_CHECKING:
    from apm_s3.validators._reading.positions import Positions

MAX_ISSUES = 1000
"""The maximum number of errors, and of warnings, in one report."""
_YAML_KEY = re.compile(r"^[\"']?([A-Za-z_][\w.-]*)[\"']?[ \t]*:", re.MULTILINE)
_JSON_KEY = re.compile(r'"([A-Za-z_][\w.-]*)"\s*:')
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_SNIFFED = 256 * 1024

ConfigSource = str | bytes | FilePath | Mapping[str, Any]
"""What `validate_config` accepts: text, bytes, the path of a file, or data."""

Version = tuple[int, ...]

MatcherMode = Literal["fallback", "classic", "utf8-strict"]
"""Alertmanager's matcher modes: the default, `--enable-feature=classic-mode` and `=utf8-strict-mode`."""


class Source:
    """One configuration, read at most once.

    `name` is its name in a bundle. `data` is set if it was given as a mapping, otherwise `text` is. `root` is the
    result of the last read, in the format `format`. `has_mark` says whether it began with a byte order mark.
    """

    def __init__(self, given: ConfigSource, name: str | None = None) -> None:
        self.name = name
        self.data: Mapping[str, Any] | None = None
        self.text = ""
        self.root: Node | None = None
        self.format: Format | None = None
        self.has_mark = False
        self._unreadable: Unreadable | None = None
        if isinstance(given, Mapping):
            self.data = given
        elif isinstance(given, FilePath):
            self.name = name or given.name
            self._decode(read_capped(given))
        elif isinstance(given, str | bytes | bytearray | memoryview):
            self._decode(given if isinstance(given, str) else bytes(given))
        else:
            raise TypeError(f"a configuration must be text, bytes, a Path or a mapping, not {type(given).__name__}")

    def _decode(self, raw: bytes | str) -> None:
        self.has_mark = raw.startswith(_MARKS) if isinstance(raw, bytes) else raw.startswith("\ufeff")
        try:
            self.text = decode_text(raw)
        except Unreadable as exc:
            self._unreadable = exc

    def document(
        self,
        format: Format,  # noqa: A002
        *,
        library: GoYaml = "v4",
        last_wins: bool = False,
    ) -> Document:
        """Return the nodes of the source read as `format`, or the nodes of a mapping. `last_wins` is as in `read_json`.

        Raises:
            Unreadable: not a document of the format, or over a limit.
        """
        self.format = format
        if self.data is not None:
            document = from_data(self.data)
        else:
            document = read_document(self.readable_text(), format, library=library, last_wins=last_wins)
        self.root = document.root
        return document

    def readable_text(self) -> str:
        """Return the decoded text.

        Raises:
            Unreadable: too large, not UTF-8, or with NUL bytes.
        """
        if self._unreadable is not None:
            raise self._unreadable
        return self.text

    def top_level_keys(self) -> frozenset[str]:
        """Guess the top-level keys from the beginning of the source, without parsing."""
        if self.data is not None:
            keys: Iterable[object] = self.data
            return frozenset(key for key in keys if isinstance(key, str))
        start = self.text[:_SNIFFED]
        pattern = _JSON_KEY if start.lstrip().startswith("{") else _YAML_KEY
        return frozenset(pattern.findall(start))


def read_capped(path: FilePath) -> bytes:
    """Return the content of a file, truncated above the size limit."""
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


@dataclass(frozen=True, slots=True)
class Mention:
    """A part of a document that must be checked against other files of the bundle, with its position."""

    what: str
    text: str
    path: str
    line: int | None
    column: int | None


class Context:
    """Collects what the checks of one document report.

    `target` is the target release, None for the newest known one; `matchers` is Alertmanager's matcher mode.
    """

    def __init__(self, target: Version | None = None, matchers: MatcherMode = "fallback") -> None:
        self.target = target
        self.matchers = matchers
        self._positions: Positions | None = None
        self._source: Source | Callable[[], Source] | None = None
        self._issues: list[Issue] = []
        self._counts = dict.fromkeys(Severity, 0)
        self._seen: set[tuple[int | None, int | None, str, str]] = set()
        self._unkeyed: set[str] = set()
        self._skipped: dict[str, None] = {}
        self._mentions: list[Mention] = []

    def read_from(self, source: Source) -> None:
        """Set the source of the nodes, to find the positions of characters inside scalars."""
        self._positions, self._source = None, source

    def read_from_later(self, source: Callable[[], Source]) -> None:
        """As `read_from`, with a source that is created when a position is needed."""
        self._source = source

    def place_in(self, node: Node, offset: int) -> tuple[int, int] | None:
        """Return line and column of a character in a scalar's text; None if they cannot be determined."""
        if not node.line or not self.has_room:
            return None
        positions = self._positions or self._find_positions()
        return None if positions is None else positions.in_scalar(node.line, node.column, node.text, offset)

    def _find_positions(self) -> Positions | None:
        source = self._source() if callable(self._source) else self._source
        if source is None or not source.text:
            return None
        # Only documents with mistakes need it.
        from apm_s3.validators._reading.positions import Positions  # noqa: PLC0415

        self._positions, self._source = Positions(source.text), None
        return self._positions

    def issue_inside(
        self,
        node: Node,
        path: Path,
        offset: int,
        rule: str,
        message: str,
        hint: str | None = None,
        *,
        severity: Severity = Severity.ERROR,
    ) -> Issue:
        """Create an issue at a character in a scalar's text. The message has its offset if the line is not known."""
        found = problem(severity, path, node, rule, message, hint)
        if place := self.place_in(node, offset):
            return replace(found, line=place[0], column=place[1])
        return replace(found, message=f"{message}, at character {offset + 1}") if offset else found

    def error(self, node: Node, path: Path, rule: str, message: str, hint: str | None = None) -> None:
        """Report an error at `node`."""
        self.add(problem(Severity.ERROR, path, node, rule, message, hint))

    def warn(self, node: Node, path: Path, rule: str, message: str, hint: str | None = None) -> None:
        """Report a warning at `node`."""
        self.add(problem(Severity.WARNING, path, node, rule, message, hint))

    def notice(self, node: Node, path: Path, rule: str, message: str) -> None:
        """Report something noteworthy at `node` that may be intended."""
        self.add(problem(Severity.INFO, path, node, rule, message, None))

    def add(self, issue: Issue) -> None:
        """Report `issue`, unless the same one was reported at the same position (aliases repeat nodes)."""
        # A mapping with such a key is one mistake, whatever type belongs there.
        if issue.rule == "complex-key":
            self._unkeyed.add(issue.path)
        elif issue.rule == "wrong-type" and issue.path and issue.path in self._unkeyed:
            return
        if issue.line is not None:
            mark = (issue.line, issue.column, issue.rule, issue.message)
            if mark in self._seen:
                return
            self._seen.add(mark)
        # Counted separately, so that warnings do not displace errors.
        if self._counts[issue.severity] < MAX_ISSUES:
            self._counts[issue.severity] += 1
            self._issues.append(issue)

    def mention(self, what: str, text: str, node: Node, path: Path) -> None:
        """Record what `node` says, for the check across the files of a bundle."""
        self._mentions.append(Mention(what, text, render_path(path), node.line or None, node.column or None))

    def is_before(self, version: Version) -> bool:
        """Return whether the target release is older than `version`."""
        return self.target is not None and self.target < version

    @property
    def has_room(self) -> bool:
        """Return whether the report has fewer than `MAX_ISSUES` errors."""
        return self._counts[Severity.ERROR] < MAX_ISSUES

    def hint(self, name: str, known: Iterable[str]) -> str | None:
        """As `did_you_mean`, but only while the report has room for the issue."""
        return None if MAX_ISSUES in self._counts.values() else did_you_mean(name, known)

    @property
    def count(self) -> int:
        """Return the number of issues reported so far."""
        return len(self._issues)

    @property
    def issues(self) -> tuple[Issue, ...]:
        """Return the issues reported so far."""
        return tuple(self._issues)

    @property
    def mentions(self) -> tuple[Mention, ...]:
        """Return the mentions recorded so far."""
        return tuple(self._mentions)

    @property
    def skipped(self) -> tuple[str, ...]:
        """Return the checks that were not made, one sentence each."""
        return tuple(self._skipped)

    def replace_below(self, path: str, issues: Iterable[Issue]) -> None:
        """Replace everything reported at or below `path` with `issues`."""
        self._issues = [issue for issue in self._issues if not re.match(rf"{re.escape(path)}(?:[.\[]|$)", issue.path)]
        self._seen.clear()
        self._counts = {kind: sum(issue.severity is kind for issue in self._issues) for kind in Severity}
        for issue in issues:
            self.add(issue)

    def revise(self, change: Callable[[Issue], Issue]) -> None:
        """Replace each issue reported so far with `change(issue)`."""
        self._issues = [change(issue) for issue in self._issues]

    def skip(self, reason: str) -> None:
        """Record that a check was not made."""
        self._skipped[reason] = None

    def report(self, tool: str, kind: str, name: str | None) -> ValidationReport:
        """Return the report, in the order of the document."""
        return ValidationReport(tool, kind, name, self.sorted_issues(), self.skipped)

    def sorted_issues(self) -> tuple[Issue, ...]:
        """Return the issues reported so far, in the order of the document."""
        return tuple(sorted(self._issues, key=lambda issue: (issue.line or 0, issue.column or 0)))


def parse_version(text: str | None) -> Version | None:
    """Parse `v2.53.3` into (2, 53).

    Raises:
        InvalidOption: not a version.
    """
    if text is None:
        return None
    match = re.fullmatch(r"v?(\d{1,6})(?:\.(\d{1,6}))?(?:\.\d{1,6})?(?:[-+][\w.+-]{0,64})?", text, re.ASCII)
    if match is None:
        raise InvalidOption(f"not a valid version: {text!r}", hint="write it as 2.53 or 3.1.0")
    return int(match[1]), int(match[2] or 0)
