"""The entry points: validate one document or a bundle, in the event loop or outside it."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path as FilePath
from typing import Literal, Protocol, cast, get_args

from apm_s3._tools import TOOLS, Tool
from apm_s3.errors import InvalidOption
from apm_s3.reports import ValidationReport, other_file
from apm_s3.validators._bundles import FileResult, Member
from apm_s3.validators._context import (
    ConfigSource,
    Context,
    MatcherMode,
    Source,
    Version,
    parse_version,
    read_capped,
)
from apm_s3.validators._memory import ResultMemory, keys_of
from apm_s3.validators._offload import run_beside, run_shared
from apm_s3.validators._reading.documents import unreadable_issue
from apm_s3.validators._reading.nodes import Node, Unreadable

Level = Literal["full", "external"]
_LEVELS = get_args(Level)
_MODES = get_args(MatcherMode)

_INLINE_BYTES = 16 * 1024
"""The size that an asynchronous call checks in the event loop itself, in a few milliseconds."""

_CONCEALER = "apm_s3.validators._secrets.reports"

_memory = ResultMemory()


@dataclass(frozen=True, slots=True)
class Terms:
    """The options of a validation. See `validate_config`."""

    target_version: str | None = None
    level: Level = "full"
    matchers: MatcherMode = "fallback"

    @property
    def target(self) -> Version | None:
        """Return the target release, None for the newest known one."""
        return parse_version(self.target_version)

    def context(self) -> Context:
        """Return a context for the check of one document."""
        return Context(self.target, self.matchers)

    def check(self) -> None:
        """Refuse unknown options.

        Raises:
            InvalidOption: unknown level or mode, or not a version.
        """
        if self.level not in _LEVELS:
            raise InvalidOption(f"unknown level: {self.level!r}", hint=f"choose from {', '.join(_LEVELS)}")
        if self.matchers not in _MODES:
            raise InvalidOption(f"unknown matcher mode: {self.matchers!r}", hint=f"choose from {', '.join(_MODES)}")
        parse_version(self.target_version)


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
    *,
    name: str | None = None,
    kind: str | None = None,
    target_version: str | None = None,
    level: Level = "full",
    matchers: MatcherMode = "fallback",
) -> ValidationReport:
    """Check one configuration of `tool` as the tool's own loader would, and report all problems together.

    `source` is text, bytes, the Path of a file, or a mapping. By default, `kind` is inferred from `name` and content:
    prometheus `config`, `rules`, `targets`, `tests`, `web`; alertmanager `config`, `templates`, `web`;
    loki `config`, `rules`; jaeger `config`, `sampling`, `ui`; grafana `ini`, `provisioning`, `dashboard`.
    `target_version` (`2.53`) selects the release to check against, by default the newest known one.
    `level="external"` also runs promtool or amtool, if installed. `matchers` selects Alertmanager's matcher mode:
    `classic` and `utf8-strict` are those of its feature flags. If the text cannot be read, the report has an error;
    no exception is raised.

    Raises:
        InvalidOption: the tool, kind, level, mode or version is not valid.
        TypeError: `source` has another type.
        OSError: `source` is a Path that cannot be read.
    """
    terms = Terms(target_version, level, matchers)
    module = _check_options(tool, kind, terms)
    context = terms.context()
    read = Source(source, name)
    chosen = kind or module.infer_kind(read) or module.KINDS[0]
    _check(tool, chosen, read, context, level)
    return context.report(tool, chosen, read.name)


def infer_kind(tool: str, name: str, raw: bytes) -> str | None:
    """Guess the kind of a file of a bundle; None for one that does not belong to the tool, such as a certificate.

    Raises:
        InvalidOption: unknown tool.
    """
    return _tool(tool).infer_kind(Source(raw, name))


async def validate_config_async(
    tool: Tool,
    source: ConfigSource,
    *,
    name: str | None = None,
    kind: str | None = None,
    target_version: str | None = None,
    level: Level = "full",
    matchers: MatcherMode = "fallback",
) -> ValidationReport:
    """As `validate_config`, without blocking the event loop: large inputs are checked in a thread or a process."""
    if isinstance(source, FilePath):
        name, source = name or source.name, await asyncio.to_thread(read_capped, source)
    terms = Terms(target_version, level, matchers)
    run = partial(
        validate_config,
        *(tool, source),
        name=name,
        kind=kind,
        target_version=target_version,
        level=level,
        matchers=matchers,
    )
    if level == "full" and _is_light(tool, source):
        return run()
    # In a thread, because the first use imports the tool's package.
    await asyncio.to_thread(_prepare, tool, kind, terms)
    return await run_beside(run, len(source) if isinstance(source, str | bytes | bytearray) else 0)


def validate_bundle(
    tool: Tool,
    files: Mapping[str, bytes],
    *,
    target_version: str | None = None,
    level: Level = "full",
    matchers: MatcherMode = "fallback",
) -> ValidationReport:
    """Check all files of a tool's bundle: each by itself, then the references between them.

    Every issue has the name of its file. Files that do not belong to the tool (certificates, notes) are listed as
    skipped.

    Raises:
        InvalidOption: the tool, level, mode or version is not valid.
    """
    terms = Terms(target_version, level, matchers)
    _check_options(tool, None, terms)
    return check_together(tool, files, check_files(tool, files, terms), terms)


async def validate_bundle_async(
    tool: Tool,
    files: Mapping[str, bytes],
    *,
    target_version: str | None = None,
    level: Level = "full",
    matchers: MatcherMode = "fallback",
) -> ValidationReport:
    """As `validate_bundle`, without blocking the event loop: large inputs are checked in a thread or processes.

    The results of single files are cached in this process: only changed files are checked again, and the references
    between all files.
    """
    if level == "full" and _is_light(tool, b"".join(files.values()) if len(files) == 1 else None):
        return validate_bundle(tool, files, target_version=target_version, level=level, matchers=matchers)
    terms = Terms(target_version, level, matchers)
    module = await asyncio.to_thread(_prepare, tool, None, terms)
    # promtool and amtool are always run again: the result depends on which of them are installed.
    keys = await asyncio.to_thread(keys_of, tool, files, target_version, matchers) if level == "full" else {}
    results = _memory.find(keys)
    fresh = await run_shared(
        lambda share: partial(check_files, tool, share, terms),
        {name: raw for name, raw in files.items() if name not in results},
    )
    if level == "full":
        _memory.keep(keys, fresh)
    results |= fresh
    read = sum(len(files[name]) for name, result in results.items() if result.kind in module.READ_TOGETHER)
    return await run_beside(partial(check_together, tool, files, results, terms), read)


def check_files(tool: str, files: Mapping[str, bytes], terms: Terms) -> dict[str, FileResult]:
    """Check each file by itself, and return the results by name."""
    return {name: _check_file(_tool(tool), tool, name, raw, terms) for name, raw in files.items()}


def _check_file(module: ToolValidator, tool: str, name: str, raw: bytes, terms: Terms) -> FileResult:
    source, context = Source(raw, name), terms.context()
    kind = module.infer_kind(source)
    if kind is None:
        return FileResult(None)
    _check(tool, kind, source, context, terms.level)
    start = None if source.root is None else (source.root.line, source.root.column)
    return FileResult(kind, start, context.issues, context.mentions, context.skipped)


def check_together(
    tool: str, files: Mapping[str, bytes], results: Mapping[str, FileResult], terms: Terms
) -> ValidationReport:
    """Check the references between the files of a bundle, and add the results of their own checks."""
    module, target = _tool(tool), terms.target
    skipped, members = dict[str, None](), []
    for name, raw in files.items():
        result = results[name]
        members.append(Member(name, result.kind, raw, result, target, partial(_read, module, result.kind)))
    module.check_bundle(members)
    for member in members:
        if member.kind is None:
            skipped[other_file(member.name, tool)] = None
        skipped.update(dict.fromkeys(member.context.skipped))
    issues = [issue for member in members for issue in member.issues()]
    return ValidationReport(tool, "bundle", None, tuple(issues), tuple(skipped))


def _read(module: ToolValidator, kind: str | None, source: Source) -> Node | None:
    """Return the nodes of a file, as read by its own check."""
    if kind is None:
        return None
    with suppress(Unreadable):
        module.check(kind, source, Context())
    return source.root


def _check_options(tool: str, kind: str | None, terms: Terms) -> ToolValidator:
    """Return the tool's package, if all options are valid."""
    module = _tool(tool)
    terms.check()
    if kind is not None and kind not in module.KINDS:
        raise InvalidOption(f"unknown kind for {tool}: {kind!r}", hint=f"choose from {', '.join(module.KINDS)}")
    return module


def _prepare(tool: str, kind: str | None, terms: Terms) -> ToolValidator:
    """As `_check_options`, and load everything that a light check needs in the event loop."""
    importlib.import_module(_CONCEALER)
    return _check_options(tool, kind, terms)


def _check(tool: str, kind: str, source: Source, context: Context, level: Level) -> None:
    context.read_from(source)
    try:
        _tool(tool).check(kind, source, context)
    except Unreadable as exc:
        context.add(unreadable_issue(exc))
    else:
        if level == "external":
            from apm_s3.validators._external import ask_tool  # noqa: PLC0415 - as below

            text = source.text if source.data is None else json.dumps(source.data, default=str)
            ask_tool(tool, kind, text, context)
    if context.issues:
        # Imported here to keep the import of the validators cheap: most documents are valid.
        from apm_s3.validators._secrets.reports import Concealer  # noqa: PLC0415

        context.revise(Concealer(source.text if source.data is None else source.root, source.format).conceal)


def _tool(tool: str) -> ToolValidator:
    if tool not in TOOLS:
        raise InvalidOption(f"unknown tool: {tool!r}", hint=f"choose from {', '.join(TOOLS)}")
    return cast("ToolValidator", importlib.import_module(_module_name(tool)))


def _module_name(tool: str) -> str:
    return f"apm_s3.validators._{tool}"


def _is_light(tool: str, source: ConfigSource | None) -> bool:
    # The first use of a tool loads its tables; the size of a mapping is not known before it is walked.
    if source is None or isinstance(source, Mapping | FilePath):
        return False
    if not {_module_name(tool), _CONCEALER} <= sys.modules.keys():
        return False
    return len(source) <= _INLINE_BYTES
