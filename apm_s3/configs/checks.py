"""What has to be right before anything is stored, and what of it is kept with the release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from apm_s3.errors import ConfigInvalid
from apm_s3.reports import ValidationReport
from apm_s3.validators import validate_bundle_async, validate_config_async

_MAX_WARNINGS = 200


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
    warnings: list[str] = []
    forced = None
    for name, raw in files.items():
        checks = _judge(await validate_config_async(tool, raw, name=name), name, force)
        warnings += checks.warnings
        forced = forced or checks.forced
    return _kept(warnings, forced)


async def check_bundle(tool: str, files: Mapping[str, bytes], *, force: str | None) -> Checks:
    """Check a bundle as a whole.

    Raises:
        ConfigInvalid: see `check_files`.
    """
    return _judge(await validate_bundle_async(tool, files), f"{tool} bundle", force)


def _judge(report: ValidationReport, name: str, force: str | None) -> Checks:
    if report.ok:
        return _kept([issue.render(name) for issue in report.warnings], None)
    if force is None:
        errors = report.errors
        more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
        raise ConfigInvalid(
            f"{report.tool}: {errors[0].render(name)}{more}",
            report=report,
            tool=report.tool,
            hint="nothing was stored; correct it, or give force= a reason",
        )
    return _kept([issue.render(name) for issue in (*report.errors, *report.warnings)], force)


def _kept(warnings: list[str], forced: str | None) -> Checks:
    cut = warnings[:_MAX_WARNINGS]
    if len(warnings) > len(cut):
        cut.append(f"... and {len(warnings) - len(cut)} more")
    return Checks(tuple(cut), forced)
