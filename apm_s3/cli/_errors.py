"""Turns errors into one message, a hint and an exit status. No other module of the command line does."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from apm_s3 import errors
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

HINTS: Mapping[type[errors.ApmS3Error], str] = MappingProxyType(
    {
        errors.BackupInvalid: "use another backup: apm-s3 config backups",
        errors.BatchError: "repeat the command: what succeeded is not done again",
        errors.BucketAlreadyOwned: "use apm-s3 bucket ensure: you already own the bucket",
        errors.BucketNotEmpty: "apm-s3 bucket rm --force empties it first",
        errors.BucketNotFound: "see apm-s3 bucket ls, or create it: apm-s3 bucket create NAME",
        errors.CommitUnknown: "find out before you try again: apm-s3 config outcome WRITE-ID",
        errors.ConditionalWritesUnsupported: "use a server that honours If-Match: no commit is safe without it",
        errors.ConfigInvalid: "correct the errors, and try again",
        errors.ConfigNotFound: "see what exists: apm-s3 config ls, apm-s3 config history TOOL",
        errors.DeployRefused: "resolve the reasons, then make a new plan: apm-s3 config plan",
        errors.FormatTooNew: "upgrade: python -m pip install --upgrade apm-s3",
        errors.EnvironmentFrozen: "thaw it (apm-s3 config thaw), or ask whoever froze it",
        errors.InvalidCredentials: "check the credentials: --profile, AWS_PROFILE, AWS_ACCESS_KEY_ID; see --debug",
        errors.NotConfigured: "the bucket does not have this setting",
        errors.ObjectArchived: "restore it from the archive first (aws s3api restore-object), and wait",
        errors.ObjectNotFound: "see which keys exist: apm-s3 object ls s3://BUCKET/PREFIX",
        errors.PlanOutdated: "make a new plan, and have it reviewed: apm-s3 config plan --out FILE",
        errors.RevisionConflict: "get the current revision (apm-s3 config pull), and apply your change to it",
        errors.StoreDamaged: "see what is wrong: apm-s3 config fsck; then apm-s3 config repair",
        errors.KmsThrottled: "turn on S3 Bucket Keys, raise the KMS request quota, or lower --concurrency",
        errors.Throttled: "try again later, or lower --concurrency",
        errors.RequestTimedOut: "check the network and --endpoint-url, and try again",
        errors.ConnectFailed: "check the network and --endpoint-url",
        errors.ServiceUnavailable: "try again later: apm-s3 health says how the bucket is",
        errors.WrongRegion: "name the bucket's region: --region",
    }
)
"""Hints that name commands, where the library's own hint names its functions."""


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
        return Explanation(status, _problem(error), _hint(error))
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


def _problem(error: errors.ApmS3Error) -> str:
    """Return the error's message without its hint, and without the name of the library's function."""
    hint, operation = error.hint, error.operation
    error.hint = error.operation = None
    try:
        return str(error).removesuffix(".")
    finally:
        error.hint, error.operation = hint, operation


def _hint(error: errors.ApmS3Error) -> str:
    """Return the error's own hint if it says more than the command line's for this kind of error."""
    command = next((HINTS[kind] for kind in type(error).__mro__ if kind in HINTS), "")
    if isinstance(error, errors.CommitUnknown):
        return command.replace("WRITE-ID", error.write_id)
    own = error.hint or ""
    for pattern, replacement in _REWRITES:
        own = pattern.sub(replacement, own)
    if command and (isinstance(error, _SETTLED) or own == type(error).default_hint or _PYTHON.search(own)):
        return command
    return own


_SETTLED = (errors.EnvironmentFrozen, errors.RevisionConflict)
"""Errors whose own hint never says more than the command line's."""


def _accept(match: re.Match[str]) -> str:
    return " ".join(f"--accept {name}" for name in re.findall(r"[\w-]+", match[1]))


_PYTHON = re.compile(r"\w\(|[a-z]_[a-z]|(?<!--choose )\b\w+=")
"""What only programmers write: calls, names with underscores, arguments."""


def _choose(match: re.Match[str]) -> str:
    chosen = re.findall(r"'(\w+)': '?([^',}]+)", match[2])
    return " ".join([f"apm-s3 config repair -e {match[1]}", *(f"--choose {tool}={what}" for tool, what in chosen)])


_REWRITES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"accept=\(([^)]*)\)"), _accept),
    (re.compile(r"repair\('([^']*)', choose=\{([^}]*)\}\)"), _choose),
    (re.compile(r"history\(\) marks"), "apm-s3 config history marks"),
    (re.compile(r"look for it in list_backups\(\)"), "look for it in apm-s3 config backups"),
    (
        re.compile(r"set_setting\('([^']*)', Versioning\(\)\) turns it on"),
        r"turn it on: apm-s3 bucket ensure \1 --versioning",
    ),
    (re.compile(r"pass credentials=Credentials\(\.\.\.\), or configure"), "configure"),
    (re.compile(r"that of create_apm_bucket denies"), "that of --purpose denies"),
    (re.compile(r"S3Settings\(token_over_http=True\)"), "set APM_S3_TOKEN_OVER_HTTP=1"),
    (re.compile(r"check that endpoint_url names"), "check that --endpoint-url names"),
    (re.compile(r"use remove\('(\w+)', '([^']*)'\)"), r"use apm-s3 config rm \1 -e \2"),
    (re.compile(r"^pass the result of to_dict$"), "make a plan: apm-s3 config plan --out FILE"),
    (
        re.compile(r"^take it from CommitUnknown\.write_id or Release\.write_id$"),
        "take it from the hint of the command whose outcome is unknown",
    ),
    (
        re.compile(r"^pass it, or set it for the environment$"),
        "pass --keep-revisions, or set it for the environment",
    ),
    (re.compile(r"\bor a store for a prefix in S3\b"), "or s3://BUCKET/PREFIX"),
    (re.compile(r"^pass unsupported='warn' to continue without, or choose"), "add --skip-unsupported, or choose"),
    (
        re.compile(r"^call it on the store that the plan was made with, .*"),
        "use the --bucket and --prefix that the plan was made with",
    ),
    (re.compile(r"^use Versioning\(\)$"), "add --versioning"),
    (
        re.compile(r"use delete_prefix or remove the directory"),
        "use apm-s3 object rm --recursive, or remove the directory",
    ),
    (re.compile(r"^pass a prefix; delete_bucket\(bucket, force=True\)"), "name a prefix; apm-s3 bucket rm --force"),
    (re.compile(r"replace=True to delete it"), "--replace to delete it"),
    (re.compile(r"allow_drift=True"), "--allow-drift"),
    (re.compile(r"pass a reason as force="), "use --force REASON"),
    (re.compile(r"^pass the same ones as variables=$"), "pass the same ones: --var NAME=VALUE"),
    (re.compile(r"^use a key from list_backups$"), "use a key that apm-s3 config backups lists"),
    (re.compile(r"use each write id for one write: .*"), "leave out --write-id: it is for repeating that same write"),
    (re.compile(r"^create one with new_write_id\([^)]*\): the"), "it is the"),
    (re.compile(r"open this store with failover=True"), "see the page on regions in the documentation"),
    (re.compile(r"^read the object with read_file, and write it there$"), "print it: apm-s3 object cat"),
    (re.compile(r"^check verify, client_cert and AWS_CA_BUNDLE$"), "check AWS_CA_BUNDLE"),
    (re.compile(r"\b(author|message)=(?=,|$)"), r"--\1"),
)
"""Library hints that name Python calls, as commands and options."""
