"""The state of a validation, and what the rules of all tools stand on.

The check of a single file depends only on the tool, the file's name and content, and the target release. Its result is
plain data that can be sent between processes and cached (see `_validation.cache`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path as FilePath
from posixpath import dirname, join, normpath
from typing import TYPE_CHECKING, Any, Literal

from apm_s3._tools import MAIN_FILES, Tool
from apm_s3.errors import InvalidOption
from apm_s3.reports import Issue, Rule, Severity, Skipped, ValidationReport
from apm_s3.validators._reading.documents import Format, from_data, read_document
from apm_s3.validators._reading.nodes import (
    MAPPING,
    MAX_BYTES,
    SCALAR,
    SEQUENCE,
    Document,
    Node,
    Path,
    Unreadable,
    decode_text,
    is_null,
    problem,
    render_path,
    scalar,
)
from apm_s3.validators._reading.yaml_reader import GoYaml

if TYPE_CHECKING:
    from apm_s3.validators._reading.nodes import Positions


class BadGlob(Exception):
    """The pattern is not valid in Go."""


def check_glob(pattern: str) -> None:
    """Check that a pattern is valid in Go.

    Raises:
        BadGlob: a bracket is unclosed or empty, or there is a backslash at the end.
    """
    for part in pattern.split("/"):
        _regex(part)


def glob_matches(pattern: str, folder: str, name: str) -> bool:
    """Return whether `pattern`, from a file in `folder`, matches the file `name` of the same bundle.

    A relative pattern is resolved from `folder`. For an absolute one only its end is matched, because the location of
    a bundle is not known: /etc/prometheus/rules/*.yml may mean rules/*.yml in the bundle, or *.yml if the bundle is
    the folder itself.

    Raises:
        BadGlob: the pattern is not valid.
    """
    names = name.split("/")
    if not pattern.startswith("/"):
        return bool(pattern) and _match(normpath(join(folder, pattern)).split("/"), names)
    parts = pattern.strip("/").split("/")
    return len(names) <= len(parts) and _match(parts[len(parts) - len(names) :], names)


def _match(parts: list[str], names: list[str]) -> bool:
    # Parse every part, to find invalid ones independently of the names.
    matched = [_regex(part) for part in parts]
    return len(parts) == len(names) and all(regex.fullmatch(name) for regex, name in zip(matched, names, strict=True))


@lru_cache(maxsize=1024)
def _regex(part: str) -> re.Pattern[str]:
    """Compile a pattern without a slash."""
    pieces: list[str] = []
    at = 0
    while at < len(part):
        char = part[at]
        if char == "[":
            piece, at = _class(part, at + 1)
            pieces.append(piece)
            continue
        if char == "\\":
            at += 1
            if at == len(part):
                raise BadGlob("there is a backslash at the end")
        pieces.append({"*": ".*", "?": "."}.get(char) or re.escape(part[at]))
        at += 1
    return re.compile("".join(pieces), re.DOTALL)


def _class(part: str, at: int) -> tuple[str, int]:
    """Parse the class after an opening bracket, and return it with its end."""
    negated = part.startswith("^", at)
    at += negated
    ranges: list[str] = []
    while not (part.startswith("]", at) and ranges):
        low, at = _member(part, at)
        high = low
        if part.startswith("-", at):
            high, at = _member(part, at + 1)
        # In Go, a reversed range is valid and matches nothing.
        ranges.append(f"{re.escape(low)}-{re.escape(high)}" if low <= high else "")
    found = "".join(ranges)
    if not found:
        return ("." if negated else "(?!)"), at + 1
    return f"[{'^' if negated else ''}{found}]", at + 1


def _member(part: str, at: int) -> tuple[str, int]:
    if at >= len(part) or part[at] in "-]":
        raise BadGlob("a bracket is not closed, or empty")
    if part[at] == "\\":
        at += 1
    if at + 1 >= len(part):
        raise BadGlob("a bracket is not closed, or empty")
    return part[at], at + 1


def take_issues(document: Document, context: Context) -> Node | None:
    """Report the issues of the reader, and return the root."""
    for issue in document.issues:
        context.add(issue)
    return document.root


def check_top_level(root: Node | None, known: Collection[str], context: Context) -> Node | None:
    """Return `root` if it is a mapping, and report keys not in `known`; an empty `known` allows any."""
    if root is None:
        return None
    if root.kind != MAPPING:
        context.error(root, None, "wrong-type", "expected a mapping at the top level")
        return None
    for name, (key, _) in root.entries.items():
        if known and name not in known:
            message = f"unknown field {name[:80]!r}; known fields: {', '.join(sorted(known))}"
            context.error(key, (None, name), "unknown-field", message, context.hint(name, known))
    return root


PLAIN_SECRET: Rule = "plain-text-secret"  # noqa: S105 - the name of a rule
"""The rule against plain-text secrets."""


def report_main_file(report: ValidationReport, tool: Tool, files: Mapping[str, bytes]) -> ValidationReport:
    """Add a warning to `report` if the bundle `files` lacks the tool's main file."""
    main = MAIN_FILES[tool]
    if main in files:
        return report
    hint = f"name it {main}, or download files by name"
    missing = Issue(
        Severity.WARNING, "", None, None, "no-main-file", f"{main} is not in the bundle", hint=hint, file=main
    )
    return replace(report, issues=(*report.issues, missing))


def report_secrets(report: ValidationReport, files: Mapping[str, bytes]) -> ValidationReport:
    """Add a warning to `report` for each plain-text secret in `files`."""
    from apm_s3.validators._secrets.texts import find_secrets  # noqa: PLC0415  (only after whole bundles)

    found = [
        Issue(
            Severity.WARNING,
            secret.path,
            secret.line,
            None,
            PLAIN_SECRET,
            f"{secret.kind} in plain text",
            hint="refer to a file or a variable instead",
            file=secret.file,
        )
        for secret in find_secrets(files)
    ]
    return replace(report, issues=(*report.issues, *found))


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
        self._skipped: dict[Skipped, None] = {}
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
        from apm_s3.validators._reading.nodes import Positions  # noqa: PLC0415

        self._positions, self._source = Positions(source.text), None
        return self._positions

    def issue_inside(
        self,
        node: Node,
        path: Path,
        offset: int,
        rule: Rule,
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

    def error(self, node: Node, path: Path, rule: Rule, message: str, hint: str | None = None) -> None:
        """Report an error at `node`."""
        self.add(problem(Severity.ERROR, path, node, rule, message, hint))

    def warn(self, node: Node, path: Path, rule: Rule, message: str, hint: str | None = None) -> None:
        """Report a warning at `node`."""
        self.add(problem(Severity.WARNING, path, node, rule, message, hint))

    def notice(self, node: Node, path: Path, rule: Rule, message: str) -> None:
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
    def skipped(self) -> tuple[Skipped, ...]:
        """Return the checks that were not made."""
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

    def skip(self, kind: Literal["program", "variable", "relabelling"], name: str, reason: str) -> None:
        """Record that a check was not made; see `Skipped`."""
        self._skipped[Skipped(kind, name, reason)] = None

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


_WRITTEN = frozenset(("query_log_file", "scrape_failure_log_file"))
"""Files that the tool writes."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """One entry of a list of patterns: its text and position."""

    text: str
    node: Node
    path: Path


def patterns_in(root: Node | None, field: str) -> Iterator[Pattern]:
    """Yield the patterns in the list `field` of a document."""
    if root is None or root.kind != MAPPING or field not in root.entries:
        return
    listed = root.entries[field][1]
    for index, item in enumerate(listed.items if listed.kind == SEQUENCE else ()):
        if item.kind == SCALAR:
            yield Pattern("" if is_null(item) else item.text, item, ((None, field), index))


def matching(owner: Member, pattern: Pattern, members: Collection[Member]) -> list[Member] | None:
    """Return the files of the bundle that a pattern in `owner` matches; None after reporting an invalid pattern."""
    try:
        check_glob(pattern.text)
        folder = dirname(owner.name)
        found = [member for member in members if glob_matches(pattern.text, folder, member.name)]
    except BadGlob as exc:
        message = f"{pattern.text[:80]!r} is not a valid pattern: {exc}"
        owner.context.error(pattern.node, pattern.path, "file-glob", message)
        return None
    if pattern.text.startswith("/"):
        # The bundle is in one folder: the longer the match with an absolute pattern, the more certain the folder.
        found = [member for member in found if member is not owner]
        deepest = max((member.name.count("/") for member in found), default=0)
        found = [member for member in found if member.name.count("/") == deepest]
    for member in found:
        member.used = True
    return found


def folders_of(members: Collection[Member]) -> set[str]:
    """Return the folders of the files."""
    found: set[str] = set()
    for member in members:
        folder = dirname(member.name)
        while folder and folder not in found:
            found.add(folder)
            folder = dirname(folder)
    return found


def notice_absent_files(owner: Member, members: Collection[Member]) -> None:
    """Report relative paths of certificates, keys and credentials that are not in the bundle.

    A tool resolves such a path from the folder of its configuration, so the file must be put there in another way.
    """
    names = {member.name for member in members}
    folder = dirname(owner.name)
    for name, node, path in _named_files(owner.root, None):
        if not node.text.startswith("/") and normpath(join(folder, node.text)) not in names:
            message = (
                f"{name} names {node.text[:80]!r}, which is not in this bundle; the tool reads it from the same folder"
            )
            owner.context.notice(node, path, "file-not-in-bundle", message)


def _named_files(node: Node | None, path: Path) -> Iterator[tuple[str, Node, Path]]:
    if node is None or node.kind == SCALAR:
        return
    if node.kind == SEQUENCE:
        for index, item in enumerate(node.items):
            yield from _named_files(item, (path, index))
        return
    for name, (_, value) in node.entries.items():
        if value.kind == SCALAR:
            if name.endswith("_file") and name not in _WRITTEN and value.text and not is_null(value):
                yield name, value, (path, name)
        else:
            yield from _named_files(value, (path, name))


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
    skipped: tuple[Skipped, ...] = ()


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

    @cached_property
    def root(self) -> Node | None:
        """Return the nodes, read on demand, because a bundle has too many files to keep them all."""
        return None if self.result.start is None else self.read(Source(self.raw, self.name))

    def tells(self, field: str) -> bool:
        """Return whether it is known which files `field` names: no refused field seems to be a misspelling of it."""
        refused = (issue.path.rpartition(".")[2] for issue in self.result.issues if issue.rule == "unknown-field")
        is_readable = self.is_good if self.root is None else self.root.kind == MAPPING
        return is_readable and not any(nearest(name, [field]) for name in refused)

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

    def report(self, severity: Severity, mention: Mention, rule: Rule, message: str, hint: str | None = None) -> None:
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
            member.report(Severity.ERROR, mention, "duplicate-name", message)
        else:
            first[mention.text] = f"{member.name}, {mention.path}"


_LONGEST, _MOST = 80, 300


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """Return `did you mean scrape_interval?` if a known name is similar, else None."""
    near = nearest(name, known)
    return f"did you mean {near}?" if near is not None else None


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that `name` was probably meant to be, or None."""
    if not name or len(name) > _LONGEST:
        return None
    # Only documents with mistakes need it.
    from difflib import get_close_matches  # noqa: PLC0415

    # Names of a very different length cannot be similar; of many, the first ones are enough.
    shortest, longest = len(name) * 0.6, len(name) / 0.6
    fitting = islice((text for text in known if shortest <= len(text) <= longest), _MOST)
    candidates = {candidate.lower().replace("-", "_"): candidate for candidate in fitting}
    plain = name.lower().replace("-", "_")
    near = get_close_matches(plain, candidates, n=1, cutoff=0.75)
    # In a short name, two swapped letters reduce the similarity a lot.
    near = near or [candidate for candidate in candidates if len(plain) > 2 and sorted(candidate) == sorted(plain)]
    return candidates[near[0]] if near else None
