"""Checks before anything is stored, and their results that are stored with the release."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial

from apm_s3._hints import Advice
from apm_s3._logs import LOGGER
from apm_s3._naming import OVERLAY
from apm_s3._tools import MAIN_FILES, Tool
from apm_s3.configs._content.overlays import check_overlay, is_internal, is_reserved, secrets_in
from apm_s3.configs._models import Release, SecretWarning
from apm_s3.errors import ConfigInvalid, InvalidOption
from apm_s3.reports import Issue, Skipped, ValidationReport
from apm_s3.validators import ValidationOptions, infer_kind, validate_bundle_async, validate_config_async
from apm_s3.validators._checking import PLAIN_SECRET, report_main_file, report_secrets
from apm_s3.validators._secrets.known import Concealer, Searched, is_strong
from apm_s3.validators._secrets.texts import decode, find_secrets
from apm_s3.validators._validation.offload import run_beside, run_large, run_quick
from apm_s3.validators._validation.validate import LENIENT_RULES, Level

_MAX_WARNINGS = 200
_logged: set[str] = set()

_UNREADABLE = frozenset((
    "alias-cycle", "ini-syntax", "json-syntax", "nul-byte", "invalid-utf8", "duplicate-key", "too-deep", "too-large",
    "too-many-aliases", "too-many-values", "unknown-anchor", "unsupported-type", "yaml-syntax", "yaml-version",
))  # fmt: skip
"""The rules of the readers."""

_INLINE = 16 * 1024
"""Size up to which texts are searched for secrets in the event loop; larger ones are searched in a thread."""


runs_programs: ContextVar[bool] = ContextVar("runs_programs", default=True)
"""Whether this task may run promtool and amtool; services say whether their clients may make them do it."""


def check_level_here(level: Level) -> None:
    """Refuse checks by other programs where the service that calls does not offer them.

    Raises:
        InvalidOption: it does not.
    """
    if level == "external" and not runs_programs.get():
        raise InvalidOption(
            "the environment's settings ask for promtool and amtool (level 'external'): not offered by this service",
            hint=Advice.EXTERNAL_TOOLS(),
        )


@dataclass(frozen=True, slots=True)
class Checks:
    """The stored results of the checks: warnings, one line each, and the reason for storing errors."""

    warnings: tuple[str, ...] = ()
    forced: str | None = None


async def report_files(
    tool: Tool, files: Mapping[str, bytes], options: ValidationOptions = LENIENT_RULES, *, whole: bool
) -> list[ValidationReport]:
    """Validate files: together if they are the whole bundle, otherwise each by itself."""
    if whole:
        return [await check_bundle(tool, files, options)]
    checked = {name: raw for name, raw in files.items() if not is_internal(name)}
    reports = [await _report_file(tool, name, raw, options) for name, raw in checked.items()]
    return [
        await _applied(report, {name: checked[name]}, options) for report, name in zip(reports, checked, strict=True)
    ]


async def _report_file(tool: Tool, name: str, raw: bytes, options: ValidationOptions) -> ValidationReport:
    check_level_here(options.level)
    if name == OVERLAY:
        return ValidationReport(tool, "overlay", name, await _overlay_issues(raw))
    # A note or a certificate is not refused, as in a whole bundle.
    if name != MAIN_FILES[tool] and infer_kind(tool, name, raw) is None:
        return ValidationReport(tool, "other", name, (), (Skipped.other_file(name, tool),))
    return await validate_config_async(tool, raw, options, name=name)


async def check_bundle(
    tool: Tool, files: Mapping[str, bytes], options: ValidationOptions = LENIENT_RULES
) -> ValidationReport:
    """Validate the files that the tool reads and the overlay, and check that the main file exists."""
    return await _applied(await _validated(tool, files, options), files, options)


async def _applied(
    report: ValidationReport, files: Mapping[str, bytes], options: ValidationOptions
) -> ValidationReport:
    if options.covers(PLAIN_SECRET):
        report = await run_large(partial(report_secrets, report, files), sum(map(len, files.values())))
    return options.applied(report)


async def _validated(tool: Tool, files: Mapping[str, bytes], options: ValidationOptions) -> ValidationReport:
    check_level_here(options.level)
    read = {name: raw for name, raw in files.items() if not is_reserved(name)}
    report = await validate_bundle_async(tool, read, options)
    if OVERLAY in files:
        report = replace(report, issues=(*report.issues, *await _overlay_issues(files[OVERLAY])))
    if report.issues and any(map(is_internal, files)):
        report = await run_quick(partial(_concealed, report, files))
    return report_main_file(report, tool, files)


def _concealed(report: ValidationReport, files: Mapping[str, bytes]) -> ValidationReport:
    """Return `report` without secrets that only the inputs of files show to be secrets."""
    made = {name: raw for name, raw in files.items() if is_reserved(name)}
    texts = ((name, decode(raw)) for name, raw in made.items())
    secrets = {each for name, text in texts if text is not None for each in Searched(name, text).secrets()}
    known = set(filter(is_strong, secrets))
    conceal: dict[str | None, Concealer] = {}
    for name in {issue.file for issue in report.issues}:
        raw = files.get(name or "", b"")
        text = decode(raw) or ""
        places = () if name is None else secrets_in(name, raw, made) or ()
        placed = [
            (text[start:stop], text.count("\n", 0, start) + 1, text.count("\n", 0, stop) + 1) for start, stop in places
        ]
        conceal[name] = Concealer(None, None, known, placed)
    return replace(report, issues=tuple(conceal[issue.file].conceal(issue) for issue in report.issues))


async def _overlay_issues(raw: bytes) -> tuple[Issue, ...]:
    return await run_beside(partial(check_overlay, raw), len(raw))


def only_unreadable(report: ValidationReport) -> ValidationReport:
    """Reduce `report` to the reasons why files cannot be read, which do not depend on settings."""
    return replace(report, issues=tuple(issue for issue in report.issues if issue.rule in _UNREADABLE))


def require_valid(reports: Sequence[ValidationReport], force: str | None) -> None:
    """Refuse errors without a reason for storing them.

    Raises:
        ConfigInvalid: there are errors.
    """
    errors = [(report, issue) for report in reports for issue in report.errors]
    if not errors or force is not None:
        return
    report, first = errors[0]
    more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
    raise ConfigInvalid(
        f"{report.tool}: {first.render(report.name)}{more}",
        report=report,
        tool=report.tool,
        hint=Advice.CORRECT_OR_FORCE(),
    )


async def keep_checks(
    reports: Sequence[ValidationReport], files: Mapping[str, bytes], known: Sequence[Release], *, force: str | None
) -> Checks:
    """Return what is stored with a release of `files`: issues, skipped checks, plain-text secrets, and the reason for
    storing errors.

    Args:
        known: releases whose warnings already cover the files that they share.
    """
    size = sum(map(len, files.values()))
    if size <= _INLINE:
        secrets, searched = _known_secrets(files, known)
        found = find_secrets(searched)
    else:
        secrets, searched = await run_quick(partial(_known_secrets, files, known))
        found = await run_large(partial(find_secrets, searched), sum(map(len, searched.values())))
    secrets += [SecretWarning.of(secret.file, str(secret)) for secret in found]
    issues = [(report, issue) for report in reports for issue in (*report.errors, *report.warnings)]
    skipped = list(
        dict.fromkeys(f"skipped: {each}" for report in reports for each in report.skipped if each.kind != "file")
    )
    lines = [*(issue.render(report.name) for report, issue in issues), *skipped, *secrets]
    _log_once(skipped)
    kept = lines[:_MAX_WARNINGS]
    if len(lines) > len(kept):
        kept.append(f"... and {len(lines) - len(kept)} more")
    return Checks(tuple(kept), force if any(report.errors for report in reports) else None)


def _log_once(skipped: Sequence[str]) -> None:
    """Log skipped checks once per process, because they are the same with every upload."""
    for line in skipped:
        if line not in _logged and len(_logged) < _MAX_WARNINGS:
            _logged.add(line)
            LOGGER.warning("%s", line)


def _known_secrets(
    files: Mapping[str, bytes], known: Sequence[Release]
) -> tuple[list[SecretWarning], dict[str, bytes]]:
    """Return the warnings of secrets in known files, and the files to search: 2 MB take a second."""
    told: list[SecretWarning] = []
    searched: dict[str, bytes] = {}
    for name, raw in files.items():
        if is_internal(name):
            # The file that was made from this one is searched too.
            continue
        # Of more warnings than are stored, some of this file's may be missing.
        whole = [release for release in known if name in release.files and len(release.warnings) <= _MAX_WARNINGS]
        entries = [(release, release.files[name]) for release in whole]
        sha256 = hashlib.sha256(raw).hexdigest() if entries else ""
        same = next((release for release, entry in entries if entry.sha256 == sha256), None)
        if same is None:
            searched[name] = raw
        else:
            told += [each for each in same.warnings if isinstance(each, SecretWarning) and each.file == name]
    return told, searched
