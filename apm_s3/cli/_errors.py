"""Turns errors into one message, a hint and an exit status. No other module of the command line does."""

from __future__ import annotations

import re

from apm_s3 import errors
from apm_s3._hints import for_command
from apm_s3.cli._statuses import Explanation, OutputFailed, Status, UsageFailed

_STATUSES: tuple[tuple[type[BaseException], Status], ...] = (
    (errors.ConfigInvalid, Status.INVALID),
    (errors.CommitUnknown, Status.UNKNOWN),
    (errors.RevisionConflict, Status.CONFLICT),
    (errors.EnvironmentFrozen, Status.CONFLICT),
    (errors.DeployRefused, Status.CONFLICT),
    (errors.PlanOutdated, Status.CONFLICT),
    (errors.Conflict, Status.CONFLICT),
    (errors.PreconditionFailed, Status.CONFLICT),
    (errors.InvalidRequest, Status.USAGE),
    (UsageFailed, Status.USAGE),
)
"""The first row that fits decides; everything else is `FAILED`."""


def explain(error: BaseException, *, changes: bool = False) -> Explanation:
    """Return how to show `error`.

    Args:
        changes: whether the command changes something, so that a lost response makes its outcome unknown.
    """
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), Status.FAILED)
    if isinstance(error, errors.ApmS3Error):
        if status is Status.FAILED and changes and error.may_have_happened:
            status = Status.UNKNOWN
        if isinstance(error, errors.JournalRefused) and error.may_have_happened:
            status = Status.FAILED
        return Explanation(status, error.worded(None, None).removesuffix("."), for_command(error.hint))
    if isinstance(error, UsageFailed | OutputFailed):
        return Explanation(status, str(error), error.hint)
    if isinstance(error, OSError):
        where = "" if error.filename is None else ": " + _TEMPORARY.sub(r"\1", str(error.filename))
        return Explanation(status, f"{error.strerror or error}{where}")
    return Explanation(
        status,
        f"internal error: {type(error).__name__}: {error}",
        "this is a bug in apm-s3: run it again with --debug, and report what it prints",
    )


_TEMPORARY = re.compile(r"(?<![^/])\.([^/]+)\.[0-9a-f]{8,16}(?:\.part|\.new)?$")
"""The name of a file that is written beside the wanted one, which the user named."""


def details(error: BaseException) -> dict[str, object]:
    """Return what a program needs to know of an error besides its message."""
    found: dict[str, object] = {name: getattr(error, name) for name in _DETAILS if hasattr(error, name)}
    if isinstance(error, errors.ConfigInvalid):
        found["issues"] = error.report.issues
    return found


_DETAILS = ("write_id", "current_revision", "reasons", "changes", "failures")
