"""The entry points: validate one document or a bundle. `_validate_async` has those for an event loop."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, Protocol, TypedDict, Unpack, cast, get_args

from apm_s3._tools import TOOLS, Tool
from apm_s3.errors import InvalidOption
from apm_s3.reports import Issue, Severity, Skipped, ValidationReport, is_rule_among
from apm_s3.validators._checking import (
    MAX_ISSUES,
    ConfigSource,
    Context,
    FileResult,
    MatcherMode,
    Member,
    Source,
    parse_version,
)
from apm_s3.validators._reading.documents import format_of, unreadable_issue
from apm_s3.validators._reading.nodes import Node, Unreadable

Level = Literal["full", "external"]
_LEVELS = get_args(Level)

MAX_KEPT = 10_000
"""Issues of single files, after which a bundle's further files keep only their first ones."""
_MODES = get_args(MatcherMode)


EVERY = "*"
"""All rules, in `warnings_as_errors`."""

_MAX_NAMES = 50
"""Maximum number of rules or environments in a setting, to keep current.json small."""


class ValidationKeywords(TypedDict, total=False):
    """The fields of `ValidationOptions` as keyword arguments."""

    target_version: str | None
    level: Level
    matchers: MatcherMode
    warnings_as_errors: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationOptions:
    """How one configuration is validated. Functions take these fields as keyword arguments, or one such object.

    Attributes:
        target_version: the release of the tool to check against (`2.53`), by default the newest known one.
        level: "external" also runs promtool or amtool, if installed.
        matchers: Alertmanager's matcher mode; `classic` and `utf8-strict` are those of its feature flags.
        warnings_as_errors: rules whose warnings count as errors, such as "plain-text-secret"; "*" means all.
    """

    target_version: str | None = None
    level: Level = "full"
    matchers: MatcherMode = "fallback"
    warnings_as_errors: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuse unknown options.

        Raises:
            InvalidOption: unknown level or mode, not a version, or not names of rules.
        """
        check_level(self.level)
        if self.matchers not in _MODES:
            raise InvalidOption(f"unknown matcher mode: {self.matchers!r:.80}", hint=f"choose from {', '.join(_MODES)}")
        check_names(self.warnings_as_errors, "warnings_as_errors")
        parse_version(self.target_version)

    def covers(self, rule: str) -> bool:
        """Return whether a warning of `rule` counts as an error."""
        return EVERY in self.warnings_as_errors or is_rule_among(rule, self.warnings_as_errors)

    def applied(self, report: ValidationReport) -> ValidationReport:
        """Turn the warnings of `report` that count as errors into errors."""
        if not self.warnings_as_errors:
            return report
        return replace(
            report,
            issues=tuple(
                replace(issue, severity=Severity.ERROR)
                if issue.severity is Severity.WARNING and self.covers(issue.rule)
                else issue
                for issue in report.issues
            ),
        )


LENIENT_RULES = ValidationOptions()
"""The options of an environment without settings."""


def options_of(options: ValidationOptions | None, keywords: ValidationKeywords) -> ValidationOptions:
    """Return `options`, with the fields that `keywords` replace.

    Raises:
        TypeError: unknown keyword.
    """
    return replace(options or LENIENT_RULES, **keywords) if keywords else options or LENIENT_RULES


def check_level(level: Any) -> Level | None:
    """Check a validation level, or None.

    Raises:
        InvalidOption: it is not a valid level.
    """
    if level is not None and level not in _LEVELS:
        raise InvalidOption(f"unknown level: {level!r:.80}", hint=f"choose from {', '.join(_LEVELS)}")
    known: Level | None = level
    return known


def check_names(names: Any, what: str) -> None:
    """Check a tuple of names, of rules or environments.

    Raises:
        InvalidOption: it is not a tuple of names, or has too many.
    """
    if not isinstance(names, tuple) or not all(isinstance(name, str) and 0 < len(name) <= 100 for name in names):
        raise InvalidOption(f"{what} is not a tuple of names", hint="use one such as ('plain-text-secret',)")
    if len(names) > _MAX_NAMES:
        raise InvalidOption(f"{what} has more than {_MAX_NAMES} names", hint="use fewer")


class ToolValidator(Protocol):
    """The interface of a tool's package."""

    KINDS: tuple[str, ...]
    READ_TOGETHER: tuple[str, ...]
    """The kinds whose nodes `check_bundle` reads; for others it uses their mentions."""

    def infer_kind(self, source: Source) -> str | None:
        """Return the kind of `source`, guessed from its name and content; None if it does not belong to this tool."""

    def check(self, kind: str, source: Source, context: Context) -> None:
        """Report the problems of one document. May raise `Unreadable`."""

    def check_bundle(self, members: list[Member]) -> None:
        """Report inconsistencies between the files of a bundle, each of which has already been checked by itself."""


def validate_config(
    tool: Tool,
    source: ConfigSource,
    options: ValidationOptions | None = None,
    *,
    name: str | None = None,
    kind: str | None = None,
    **keywords: Unpack[ValidationKeywords],
) -> ValidationReport:
    """Check one configuration of `tool` as the tool's own loader would, and report all problems together.

    `source` is text, bytes, the Path of a file, or a mapping. By default, `kind` is inferred from `name` and content:
    prometheus `config`, `rules`, `targets`, `tests`, `web`; alertmanager `config`, `templates`, `web`;
    loki `config`, `rules`; jaeger `config`, `sampling`, `ui`; grafana `ini`, `provisioning`, `dashboard`.
    `keywords` are the fields of `options`, and replace those of the object. If the text cannot be read, the report has
    an error; no exception is raised.

    Raises:
        InvalidOption: the tool, kind, level, mode or version is not valid.
        TypeError: `source` has another type.
        OSError: `source` is a Path that cannot be read.
    """
    wanted = options_of(options, keywords)
    module = check_options(tool, kind, wanted)
    context = _context(wanted)
    read = Source(source, name)
    chosen = kind or module.infer_kind(read) or module.KINDS[0]
    _check(tool, chosen, read, context, wanted.level)
    return wanted.applied(context.report(tool, chosen, read.name))


def _context(options: ValidationOptions) -> Context:
    return Context(parse_version(options.target_version), options.matchers)


def infer_kind(tool: str, name: str, raw: bytes) -> str | None:
    """Guess the kind of a file of a bundle; None for one that does not belong to the tool, such as a certificate.

    Raises:
        InvalidOption: unknown tool.
    """
    return tool_module(tool).infer_kind(Source(raw, name))


def validate_bundle(
    tool: Tool,
    files: Mapping[str, bytes],
    options: ValidationOptions | None = None,
    **keywords: Unpack[ValidationKeywords],
) -> ValidationReport:
    """Check all files of a tool's bundle: each by itself, then the references between them.

    Every issue has the name of its file. Files that do not belong to the tool (certificates, notes) are listed as
    skipped. Results of single files are cached in this process, so that only changed files, and the references between
    all files, are checked again.

    Raises:
        InvalidOption: the tool, level, mode or version is not valid.
    """
    from apm_s3.validators._validation import cache  # noqa: PLC0415 - only bundles need hashes

    wanted = options_of(options, keywords)
    check_options(tool, None, wanted)
    keys = cache.keys_of(tool, files, wanted)
    results = cache.results.find(keys)
    fresh = check_files(tool, {name: raw for name, raw in files.items() if name not in results}, wanted)
    cache.keep(keys, fresh)
    return check_together(tool, files, results | fresh, wanted)


def check_files(tool: str, files: Mapping[str, bytes], options: ValidationOptions) -> dict[str, FileResult]:
    """Check each file by itself, and return the results by name.

    After `MAX_KEPT` issues, a file keeps only the first of each severity, so that small files with nothing but mistakes
    do not fill the memory.
    """
    results, count = {}, 0
    for name, raw in files.items():
        result = _check_file(tool_module(tool), tool, name, raw, options)
        count += len(result.issues)
        results[name] = result if count <= MAX_KEPT else replace(result, issues=_first(result.issues, 1))
    return results


def _first(issues: Iterable[Issue], count: int) -> tuple[Issue, ...]:
    """Return the first issues of each severity, in their order."""
    left = dict.fromkeys(Severity, count)
    kept = []
    for issue in issues:
        if left[issue.severity]:
            left[issue.severity] -= 1
            kept.append(issue)
    return tuple(kept)


def _check_file(module: ToolValidator, tool: str, name: str, raw: bytes, options: ValidationOptions) -> FileResult:
    source, context = Source(raw, name), _context(options)
    kind = module.infer_kind(source)
    if kind is None:
        return FileResult(None)
    _check(tool, kind, source, context, options.level)
    start = None if source.root is None else (source.root.line, source.root.column)
    return FileResult(kind, start, context.issues, context.mentions, context.skipped)


def check_together(
    tool: str, files: Mapping[str, bytes], results: Mapping[str, FileResult], options: ValidationOptions
) -> ValidationReport:
    """Check the references between the files of a bundle, and add the results of their own checks."""
    module, target = tool_module(tool), parse_version(options.target_version)
    skipped, members = dict[Skipped, None](), []
    for name, raw in files.items():
        result = results[name]
        members.append(Member(name, result.kind, raw, result, target, partial(_read, module, result.kind)))
    module.check_bundle(members)
    for member in members:
        if member.kind is None:
            skipped[Skipped.other_file(member.name, tool)] = None
        skipped.update(dict.fromkeys((*member.result.skipped, *member.context.skipped)))
    for member in members:
        _conceal(member)
    issues = _first((issue for member in members for issue in member.issues()), MAX_ISSUES)
    return options.applied(ValidationReport(tool, "bundle", None, issues, tuple(skipped)))


def _conceal(member: Member) -> None:
    """Remove secrets from the issues about references between files; those of the file itself have none any more."""
    own = set(member.result.issues)
    found = [issue for issue in member.context.sorted_issues() if issue not in own]
    if not found:
        return
    from apm_s3.validators._secrets.forms import kind_by_name  # noqa: PLC0415 - as in `_check`

    if any(kind_by_name(_steps(issue.path)) for issue in found):
        from apm_s3.validators._secrets.known import Concealer  # noqa: PLC0415 - as in `_check`

        member.context.revise(Concealer(member.text, format_of(member.name)).conceal)


def _steps(path: str) -> tuple[str | int, ...]:
    names = re.split(r"[.\[\]\"]+", path)
    return tuple([int(name) if name.isdecimal() else name for name in names if name])


def _read(module: ToolValidator, kind: str | None, source: Source) -> Node | None:
    """Return the nodes of a file, as read by its own check."""
    if kind is None:
        return None
    with suppress(Unreadable):
        module.check(kind, source, Context())
    return source.root


def check_options(tool: str, kind: str | None, options: ValidationOptions) -> ToolValidator:
    """Return the tool's package, if all options are valid."""
    module = tool_module(tool)
    options.check()
    if kind is not None and kind not in module.KINDS:
        raise InvalidOption(f"unknown kind for {tool}: {kind!r}", hint=f"choose from {', '.join(module.KINDS)}")
    return module


def _check(tool: str, kind: str, source: Source, context: Context, level: Level) -> None:
    context.read_from(source)
    try:
        tool_module(tool).check(kind, source, context)
    except Unreadable as exc:
        context.add(unreadable_issue(exc))
    else:
        if level == "external":
            from apm_s3.validators._validation.external import ask_tool  # noqa: PLC0415 - as below

            text = source.text if source.data is None else json.dumps(source.data, default=str)
            ask_tool(tool, kind, text, source.root, context)
    if context.issues:
        # Imported here to keep the import of the validators cheap: most documents are valid.
        from apm_s3.validators._secrets.known import Concealer  # noqa: PLC0415

        context.revise(Concealer(source.text if source.data is None else source.root, source.format).conceal)


def tool_module(tool: str) -> ToolValidator:
    if tool not in TOOLS:
        raise InvalidOption(f"unknown tool: {tool!r}", hint=f"choose from {', '.join(TOOLS)}")
    return cast("ToolValidator", importlib.import_module(module_name(tool)))


def module_name(tool: str) -> str:
    return f"apm_s3.validators._tools.{tool}"
