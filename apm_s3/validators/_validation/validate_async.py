"""The entry points for an event loop: large documents are validated outside it.

They have their own module so that a program without an event loop does not import asyncio.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
from collections.abc import Callable, Coroutine, Mapping
from functools import partial, wraps
from pathlib import Path as FilePath
from typing import Any, ParamSpec

from apm_s3._tools import Tool
from apm_s3.reports import ValidationReport
from apm_s3.validators._checking import ConfigSource, read_capped
from apm_s3.validators._validation import cache
from apm_s3.validators._validation.offload import BOUNDED, gate, run_beside, run_shared
from apm_s3.validators._validation.validate import (
    ToolValidator,
    ValidationKeywords,
    ValidationOptions,
    check_files,
    check_options,
    check_together,
    module_name,
    options_of,
    validate_bundle,
    validate_config,
)

_INLINE_BYTES = 16 * 1024
"""Size up to which an asynchronous call validates in the event loop, usually in a few milliseconds."""

_CONCEALER = "apm_s3.validators._secrets.known"

_NONE: ValidationKeywords = {}

P = ParamSpec("P")
_Twin = Callable[P, Coroutine[Any, Any, ValidationReport]]


def off_loop(declared: Callable[P, ValidationReport]) -> Callable[[_Twin[...]], _Twin[P]]:
    """Give an asynchronous function the parameters of `declared`.

    Its body gets the arguments by name, and `keywords` as one dictionary.
    """
    signature = inspect.signature(declared)

    def decorate(body: _Twin[...]) -> _Twin[P]:
        @wraps(body)
        async def call(*args: P.args, **kwargs: P.kwargs) -> ValidationReport:
            return await body(**signature.bind(*args, **kwargs).arguments)

        vars(call)["__signature__"] = signature
        return call

    return decorate


@off_loop(validate_config)
async def validate_config_async(
    tool: Tool,
    source: ConfigSource,
    options: ValidationOptions | None = None,
    name: str | None = None,
    kind: str | None = None,
    keywords: ValidationKeywords = _NONE,
) -> ValidationReport:
    """Like `validate_config`, without blocking the event loop: large inputs are checked in a thread or a process."""
    if isinstance(source, FilePath):
        name, source = name or source.name, await asyncio.to_thread(read_capped, source)
    wanted = options_of(options, keywords)
    run = partial(validate_config, tool, source, wanted, name=name, kind=kind)
    if wanted.level == "full" and _is_light(tool, source):
        return run()
    size = len(source) if isinstance(source, str | bytes | bytearray) else 0
    with gate().admit(size):
        # In a thread, because the first use imports the tool's package.
        await asyncio.to_thread(_prepare, tool, kind, wanted)
        return await run_beside(run, size)


@off_loop(validate_bundle)
async def validate_bundle_async(
    tool: Tool,
    files: Mapping[str, bytes],
    options: ValidationOptions | None = None,
    keywords: ValidationKeywords = _NONE,
) -> ValidationReport:
    """Like `validate_bundle`, without blocking the event loop: large inputs are checked in a thread or processes."""
    wanted = options_of(options, keywords)
    if wanted.level == "full" and _is_light(tool, b"".join(files.values()) if len(files) == 1 else None):
        return validate_bundle(tool, files, wanted)
    with gate().admit(sum(map(len, files.values()))):
        return await _validate_heavy(tool, files, wanted)


async def _validate_heavy(tool: Tool, files: Mapping[str, bytes], options: ValidationOptions) -> ValidationReport:
    module = await asyncio.to_thread(_prepare, tool, None, options)
    keys = await asyncio.to_thread(cache.keys_of, tool, files, options)
    results = cache.results.find(keys)
    fresh = await run_shared(
        lambda share: partial(check_files, tool, share, options),
        {name: raw for name, raw in files.items() if name not in results},
    )
    cache.keep(keys, fresh)
    results |= fresh
    read = sum(len(files[name]) for name, result in results.items() if result.kind in module.READ_TOGETHER)
    return await run_beside(partial(check_together, tool, files, results, options), read, begun=bool(fresh))


def _prepare(tool: str, kind: str | None, options: ValidationOptions) -> ToolValidator:
    """Do the same as `check_options`, and load everything that a light check needs in the event loop."""
    importlib.import_module(_CONCEALER)
    return check_options(tool, kind, options)


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
