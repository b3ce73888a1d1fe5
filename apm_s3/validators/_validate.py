"""The entry points: one document or a bundle in, one report out, on the event loop or beside it."""

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
"""What an asynchronous call checks on the event loop itself: a few milliseconds' worth."""

_CONCEALER = "apm_s3.validators._secrets.reports"

_memory = ResultMemory()


@dataclass(frozen=True, slots=True)
class Terms:
    """What a validation was asked for, beside the source. See `validate_config`."""

    target_version: str | None = None
    level: Level = "full"
    matchers: MatcherMode = "fallback"

    @property
    def target(self) -> Version | None:
        """The release that a document must fit, None for the newest known one."""
        return parse_version(self.target_version)

    def context(self) -> Context:
        """A context for the check of one document."""
        return Context(self.target, self.matchers)

    def check(self) -> None:
        """Refuse what is not known.

        Raises:
            InvalidOption: unknown level or mode, or not a version.
        """
        if self.level not in _LEVELS:
            raise InvalidOption(f"no such level: {self.level!r}", hint=f"choose from {', '.join(_LEVELS)}")
        if self.matchers not in _MODES:
            raise InvalidOption(f"no such mode of matchers: {self.matchers!r}", hint=f"choose from {', '.join(_MODES)}")
        parse_version(self.target_version)


class ToolValidator(Protocol):
    """What the package of a tool offers."""

    KINDS: tuple[str, ...]
    READ_TOGETHER: tuple[str, ...]
    """The kinds whose nodes `check_bundle` asks for; of others it takes what was mentioned."""

    def infer_kind(self, source: Source) -> str | None:
        """The kind that `source` seems to be, by its name and content; None when it is none of this tool's."""

    def check(self, kind: str, source: Source, context: Context) -> None:
        """Report the problems of one document. May raise `Unreadable`."""

    def check_bundle(self, members: list[Member]) -> None:
        """Report what the files of a bundle, each checked by itself already, say wrongly about one another."""


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
    """Check one configuration of `tool` as the tool's own loader would, and report every problem at once.

    `source` is text, bytes, the Path of a file, or a mapping. `kind` is inferred from `name` and the content when it
    is not given: prometheus `config`, `rules`, `targets`, `tests`, `web`; alertmanager `config`, `templates`, `web`;
    loki `config`, `rules`; jaeger `config`, `sampling`, `ui`; grafana `ini`, `provisioning`, `dashboard`.
    `target_version` (`2.53`) makes it fit that release, else the newest known. `level="external"` also asks promtool
    or amtool where they are installed. `matchers` is the mode in which Alertmanager reads matchers: `classic` and
    `utf8-strict` are those of its feature flags. A text that cannot be read makes a report with an error, never an
    exception.

    Raises:
        InvalidOption: unknown tool, kind, level or mode, or not a version.
        TypeError: `source` is none of the above.
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
    """The kind that a file of a bundle seems to be; None for one that is none of the tool's, such as a certificate.

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
    """`validate_config`, with what takes long off the event loop: in a thread, or a process where it is large."""
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
    # In a thread as well: it imports the tool's package at its first use.
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
    """Check all files of a tool's bundle: each by itself, then what they say about one another.

    Every issue carries the name of its file. Files that are none of the tool's kinds (certificates, notes) are
    listed as skipped.

    Raises:
        InvalidOption: unknown tool, level or mode, or not a version.
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
    """`validate_bundle`, with what takes long off the event loop: in a thread, or in processes where it is large.

    What a file's own check gave is remembered in this process: only files that have changed are checked again, and
    what all of them say about one another.
    """
    if level == "full" and _is_light(tool, b"".join(files.values()) if len(files) == 1 else None):
        return validate_bundle(tool, files, target_version=target_version, level=level, matchers=matchers)
    terms = Terms(target_version, level, matchers)
    module = await asyncio.to_thread(_prepare, tool, None, terms)
    # What promtool and amtool say is asked anew: it depends on which of them are installed.
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
    """What the check of each file by itself gives, by name."""
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
    """What the files of a bundle say about one another, after what their own checks gave."""
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
    """The nodes of a file as its own check read them."""
    if kind is None:
        return None
    with suppress(Unreadable):
        module.check(kind, source, Context())
    return source.root


def _check_options(tool: str, kind: str | None, terms: Terms) -> ToolValidator:
    """The package of the tool, if all options are known."""
    module = _tool(tool)
    terms.check()
    if kind is not None and kind not in module.KINDS:
        raise InvalidOption(f"{tool} has no kind {kind!r}", hint=f"choose from {', '.join(module.KINDS)}")
    return module


def _prepare(tool: str, kind: str | None, terms: Terms) -> ToolValidator:
    """As `_check_options`, with everything loaded that a light check needs on the event loop."""
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
        # Importing the validators stays cheap: most documents are right.
        from apm_s3.validators._secrets.reports import Concealer  # noqa: PLC0415

        context.revise(Concealer(source.text if source.data is None else source.root, source.format).conceal)


def _tool(tool: str) -> ToolValidator:
    if tool not in TOOLS:
        raise InvalidOption(f"no such tool: {tool!r}", hint=f"choose from {', '.join(TOOLS)}")
    return cast("ToolValidator", importlib.import_module(_module_name(tool)))


def _module_name(tool: str) -> str:
    return f"apm_s3.validators._{tool}"


def _is_light(tool: str, source: ConfigSource | None) -> bool:
    # The first use of a tool loads its tables; a mapping's size is unknown until it is walked.
    if source is None or isinstance(source, Mapping | FilePath):
        return False
    if not {_module_name(tool), _CONCEALER} <= sys.modules.keys():
        return False
    return len(source) <= _INLINE_BYTES
