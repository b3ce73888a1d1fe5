"""What has to be right before anything is stored, and what of it is kept with the release."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from apm_s3.configs.overlays import is_reserved
from apm_s3.configs.secrets import find_secrets
from apm_s3.errors import ConfigInvalid
from apm_s3.reports import ValidationReport
from apm_s3.validators import validate_bundle_async, validate_config_async

_MAX_WARNINGS = 200

_INLINE = 16 * 1024
"""Bytes that are searched for secrets on the event loop; more goes to a thread."""


@dataclass(frozen=True, slots=True)
class Checks:
    """What is kept of the checks: warnings, one line each, and the reason why errors were let through."""

    warnings: tuple[str, ...] = ()
    forced: str | None = None


async def check_files(tool: str, files: Mapping[str, bytes], *, force: str | None, whole: bool) -> Checks:
    """Check the given files: as a bundle where they are the whole of it, else each by itself.

    Raises:
        ConfigInvalid: there are errors, and `force` does not give a reason to store them all the same.
    """
    if whole:
        return await check_bundle(tool, files, force=force)
    reports = [
        await validate_config_async(tool, raw, name=name) for name, raw in files.items() if not is_reserved(name)
    ]
    return _kept(reports, await _secrets(files), force)


async def check_bundle(tool: str, files: Mapping[str, bytes], *, force: str | None) -> Checks:
    """Check a bundle as a whole, and look for secrets in clear.

    Raises:
        ConfigInvalid: see `check_files`.
    """
    return _kept([await report_bundle(tool, files)], await _secrets(files), force)


async def report_bundle(tool: str, files: Mapping[str, bytes]) -> ValidationReport:
    """What validation says of the files that the tool reads."""
    return await validate_bundle_async(tool, {name: raw for name, raw in files.items() if not is_reserved(name)})


async def _secrets(files: Mapping[str, bytes]) -> list[str]:
    if sum(map(len, files.values())) <= _INLINE:
        return [str(secret) for secret in find_secrets(files)]
    return await asyncio.to_thread(lambda: [str(secret) for secret in find_secrets(files)])


def _kept(reports: Sequence[ValidationReport], secrets: Sequence[str], force: str | None) -> Checks:
    errors = [(report, issue) for report in reports for issue in report.errors]
    if errors and force is None:
        report, first = errors[0]
        more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
        raise ConfigInvalid(
            f"{report.tool}: {first.render(report.name)}{more}",
            report=report,
            tool=report.tool,
            hint="nothing was stored; correct it, or give force= a reason",
        )
    issues = [(report, issue) for report in reports for issue in (*report.errors, *report.warnings)]
    lines = [*(issue.render(report.name) for report, issue in issues), *secrets]
    kept = lines[:_MAX_WARNINGS]
    if len(lines) > len(kept):
        kept.append(f"... and {len(lines) - len(kept)} more")
    return Checks(tuple(kept), force if errors else None)
