"""The entry points for an event loop: large documents are validated outside it.

They have their own module so that a program without an event loop does not import asyncio.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path as FilePath

from apm_s3._tools import Tool
from apm_s3.reports import ValidationReport
from apm_s3.validators._checking import ConfigSource, FileResult, MatcherMode, read_capped
from apm_s3.validators._validation.cache import Key, ResultCache, keys_of, weight_of
from apm_s3.validators._validation.offload import BOUNDED, gate, run_beside, run_shared
from apm_s3.validators._validation.validate import (
    MAX_KEPT,
    Level,
    Terms,
    ToolValidator,
    check_files,
    check_options,
    check_together,
    module_name,
    validate_bundle,
    validate_config,
)

_INLINE_BYTES = 16 * 1024
"""Size up to which an asynchronous call validates in the event loop, usually in a few milliseconds."""

_CONCEALER = "apm_s3.validators._secrets.known"

_cache: ResultCache[Key, FileResult] = ResultCache(weight_of)


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
    """Like `validate_config`, without blocking the event loop: large inputs are checked in a thread or a process."""
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
    size = len(source) if isinstance(source, str | bytes | bytearray) else 0
    with gate().admit(size):
        # In a thread, because the first use imports the tool's package.
        await asyncio.to_thread(_prepare, tool, kind, terms)
        return await run_beside(run, size)


async def validate_bundle_async(
    tool: Tool,
    files: Mapping[str, bytes],
    *,
    target_version: str | None = None,
    level: Level = "full",
    matchers: MatcherMode = "fallback",
) -> ValidationReport:
    """Like `validate_bundle`, without blocking the event loop: large inputs are checked in a thread or processes.

    Results of single files are cached in this process, so that only changed files, and the references between all
    files, are checked again.
    """
    if level == "full" and _is_light(tool, b"".join(files.values()) if len(files) == 1 else None):
        return validate_bundle(tool, files, target_version=target_version, level=level, matchers=matchers)
    with gate().admit(sum(map(len, files.values()))):
        return await _validate_heavy(tool, files, Terms(target_version, level, matchers))


async def _validate_heavy(tool: Tool, files: Mapping[str, bytes], terms: Terms) -> ValidationReport:
    level = terms.level
    module = await asyncio.to_thread(_prepare, tool, None, terms)
    # promtool and amtool always run again, as the result depends on which of them are installed.
    keys = (
        await asyncio.to_thread(keys_of, tool, files, terms.target_version, terms.matchers) if level == "full" else {}
    )
    results = _cache.find(keys)
    fresh = await run_shared(
        lambda share: partial(check_files, tool, share, terms),
        {name: raw for name, raw in files.items() if name not in results},
    )
    if level == "full" and sum(len(each.issues) for each in fresh.values()) < MAX_KEPT:
        _cache.keep(keys, fresh)
    results |= fresh
    read = sum(len(files[name]) for name, result in results.items() if result.kind in module.READ_TOGETHER)
    return await run_beside(partial(check_together, tool, files, results, terms), read)


def _prepare(tool: str, kind: str | None, terms: Terms) -> ToolValidator:
    """Do the same as `check_options`, and load everything that a light check needs in the event loop."""
    importlib.import_module(_CONCEALER)
    return check_options(tool, kind, terms)


def _is_light(tool: str, source: ConfigSource | None) -> bool:
    # The first use of a tool loads its tables, and the size of a mapping is unknown until it is walked.
    if source is None or isinstance(source, Mapping | FilePath):
        return False
    # A service cannot choose its callers: 600 bytes of aliases, for example, take half a second.
    if BOUNDED.get():
        return False
    if not {module_name(tool), _CONCEALER} <= sys.modules.keys():
        return False
    return len(source) <= _INLINE_BYTES
