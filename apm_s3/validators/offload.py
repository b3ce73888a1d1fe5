"""Validation beside the event loop: in a thread, or in a process of its own for what is large.

A thread is not enough for megabytes: the garbage collector walks all the nodes of a document at once, with the
interpreter lock held (100 ms for 2 MB of YAML). The process gets its work on its input and answers on its output; if
it cannot be started or fails, a thread does the work.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from apm_s3.reports import Issue, Severity, ValidationReport

THREAD_BYTES = 256 * 1024
"""The largest source that is left to a thread."""
_MAIN = "from apm_s3.validators.offload import serve; serve()"


async def run_beside(
    work: Callable[[], ValidationReport], call: Mapping[str, Any], files: Mapping[str, bytes]
) -> ValidationReport:
    """What `work` returns, computed off the event loop.

    `call` and `files` describe the same work to a process: the arguments of `validate_config` or, with `bundle`
    true, of `validate_bundle`, but for their sources.
    """
    if sum(map(len, files.values())) > THREAD_BYTES and sys.executable:
        report = await _in_process(call, files)
        if report is not None:
            return report
    return await asyncio.to_thread(work)


async def _in_process(call: Mapping[str, Any], files: Mapping[str, bytes]) -> ValidationReport | None:
    """The report of a process of its own, None where there is none to be had."""
    header = json.dumps({"call": dict(call), "files": [[name, len(raw)] for name, raw in files.items()]})
    paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _MAIN),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": paths},
        )
    except (OSError, NotImplementedError):
        return None
    try:
        answer, _ = await process.communicate(b"".join((header.encode(), b"\n", *files.values())))
    finally:
        # Cancelled while it works: nobody waits for its answer any more.
        if process.returncode is None:
            process.kill()
    return _report(json.loads(answer)) if process.returncode == 0 else None


def _report(data: dict[str, Any]) -> ValidationReport:
    issues = tuple(Issue(**{**issue, "severity": Severity(issue["severity"])}) for issue in data["issues"])
    return ValidationReport(data["tool"], data["kind"], data["name"], issues, tuple(data["skipped"]))


def serve() -> None:
    """The process: read one piece of work from the input, write its report to the output."""
    # Imported here since this module is one of theirs.
    from apm_s3.validators.validate import validate_bundle, validate_config  # noqa: PLC0415

    source = sys.stdin.buffer
    header = json.loads(source.readline())
    call, files = header["call"], {name: source.read(size) for name, size in header["files"]}
    if call.pop("bundle"):
        report = validate_bundle(files=files, **call)
    else:
        report = validate_config(source=next(iter(files.values())), **call)
    sys.stdout.write(json.dumps(asdict(report)))
