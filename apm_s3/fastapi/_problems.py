"""Errors as problem documents (RFC 9457): one table from the library's errors to HTTP statuses. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from http.client import responses
from itertools import islice
from types import MappingProxyType
from typing import Any

from fastapi.responses import JSONResponse
from fastapi.utils import is_body_allowed_for_status_code
from starlette.responses import Response

from apm_s3 import errors
from apm_s3._hints import for_http
from apm_s3.configs._content.overlays import without_hashes
from apm_s3.errors import (
    ApmS3Error,
    CommitUnknown,
    ConfigInvalid,
    DeployRefused,
    PlanOutdated,
    RevisionConflict,
    S3Error,
)
from apm_s3.fastapi._models import IssueModel

MEDIA_TYPE = "application/problem+json"

MAX_ISSUES = 100
"""The most problems of a request that an answer lists: each unknown member of a document is one."""

RETRY_AFTER = 5
"""Seconds after which a client may repeat a request that S3 could not serve, if S3 named none."""

LATER: Mapping[str, str] = MappingProxyType({"Retry-After": str(RETRY_AFTER)})
"""The header of a refusal after which the same request may succeed."""

STATUSES: Mapping[type[ApmS3Error], int] = MappingProxyType(
    {
        errors.ApmS3Error: 500,
        # The request.
        errors.InvalidRequest: 422,
        errors.ObjectTooLarge: 413,
        errors.MigrationRefused: 409,
        errors.JournalRefused: 409,
        # This service.
        errors.ManagerClosed: 503,
        # No response from S3.
        errors.TransportError: 503,
        errors.RequestTimedOut: 504,
        # S3 refused this service, which is not the client's fault: never 401, 403 or 404.
        errors.S3Error: 502,
        errors.ConditionalConflict: 503,
        errors.Throttled: 503,
        errors.ServiceUnavailable: 503,
        errors.IntegrityError: 502,
        errors.BatchError: 502,
        # Configurations.
        errors.PlanOutdated: 409,
        errors.ConfigInvalid: 422,
        errors.ConfigNotFound: 404,
        errors.RevisionConflict: 409,
        errors.EnvironmentFrozen: 423,
        errors.DeployRefused: 409,
        errors.CommitUnknown: 504,
        errors.FormatTooNew: 501,
        errors.ConditionalWritesUnsupported: 501,
        errors.BackupInvalid: 409,
    }
)
"""The statuses of errors; all others have that of their nearest base."""

_TOLD = (
    errors.InvalidRequest,
    errors.PlanOutdated,
    errors.ConfigInvalid,
    errors.ConfigNotFound,
    errors.RevisionConflict,
    errors.EnvironmentFrozen,
    errors.DeployRefused,
    errors.CommitUnknown,
    errors.FormatTooNew,
    errors.BackupInvalid,
)
"""Errors about the client's own request. All others only tell their kind: their messages name S3's resources."""

_DETAILS: Mapping[int, str] = MappingProxyType(
    {
        404: "The environment, tool, revision, file or backup does not exist.",
        409: "The state does not allow this: something has changed, or a backup is damaged.",
        500: "The service cannot do this. Its operators must look into it.",
        501: "The storage behind this service does not support this.",
        502: "The storage behind this service refused a request of the service.",
        503: "The storage behind this service cannot be reached, or asks to slow down. Try again later.",
        504: "The storage behind this service did not answer in time.",
    }
)
_MORE_DETAILS: Mapping[type[ApmS3Error], str] = MappingProxyType(
    {
        errors.StoreDamaged: "The stored configuration is damaged. Its operators must repair it.",
        errors.IntegrityError: "The storage behind this service returned damaged data.",
        errors.ConditionalWritesUnsupported: "The storage behind this service cannot store changes safely.",
        errors.ManagerClosed: "The service is shutting down.",
    }
)


class ProblemError(Exception):
    """A refusal of this package that is not an error of the library.

    Args:
        name: the kind of problem, at the end of its type.
    """

    def __init__(self, status: int, name: str, detail: str, **members: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.name = name
        self.detail = detail
        self.members = members


def problem(
    status: int, name: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
) -> JSONResponse:
    """Return a problem document. `members` are its further fields, without those that are None."""
    document = {
        "type": problem_type(name),
        "title": _phrase(status),
        "status": status,
        "detail": detail,
        **{key: value for key, value in members.items() if value is not None},
    }
    return JSONResponse(
        document, status, headers={"Cache-Control": "no-store", **(headers or {})}, media_type=MEDIA_TYPE
    )


def _phrase(status: int) -> str:
    return responses.get(status, "Error")


def problem_type(name: str) -> str:
    """Return the URI of a kind of problem."""
    return f"urn:apm-s3:problem:{name}"


def problem_name(kind: type[Exception]) -> str:
    """Return the name of an error's kind of problem: "revision-conflict"."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", kind.__name__).lower()


def problem_of_error(error: ApmS3Error, hidden: Collection[str] = ()) -> JSONResponse:
    """Return the problem document of an error of the library.

    Args:
        hidden: names that never appear in it, such as the bucket's.
    """
    status = status_of(type(error))
    return problem(
        status,
        problem_name(type(error)),
        _detail(error, status, hidden),
        headers=_retry_headers(error, status),
        code=error.code.value,
        retryable=error.retryable or None,
        **{name: scrubbed(value, hidden) for name, value in _members(error).items()},
    )


def problem_of_http(status: int, detail: Any, headers: Mapping[str, str] | None) -> Response:
    """Return the problem document of an `HTTPException`; an application's own may have any status."""
    if not is_body_allowed_for_status_code(status):
        return Response(status_code=status, headers=headers)
    phrase = _phrase(status)
    text = detail if isinstance(detail, str) else phrase
    return problem(status, phrase.lower().replace(" ", "-").replace("'", ""), text, headers=headers)


def problem_of_validation(found: Iterable[Mapping[str, Any]]) -> JSONResponse:
    """Return the problem document of a request that does not fit the API; it never repeats values."""
    issues = [_request_issue(each) for each in islice(found, MAX_ISSUES)]
    return problem(422, "request-invalid", "The request is not valid; see 'issues'.", issues=issues)


def status_of(kind: type[ApmS3Error]) -> int:
    """Return the status of a kind of error, also of one of a program's own."""
    return next(STATUSES[each] for each in kind.__mro__ if each in STATUSES)


def _detail(error: ApmS3Error, status: int, hidden: Collection[str]) -> str:
    generic = next(
        (text for kind, text in _MORE_DETAILS.items() if isinstance(error, kind)),
        _DETAILS.get(status, _phrase(status)),
    )
    if not isinstance(error, _TOLD):
        return generic
    hint = for_http(error.hint)
    text = without_hashes(error.problem if hint is None else f"{error.problem} ({hint})")
    return generic if _names_any(text, hidden) else text


def _members(error: ApmS3Error) -> dict[str, Any]:
    match error:
        case ConfigInvalid():
            return {"issues": [IssueModel.showing(each).model_dump() for each in error.report.issues]}
        case RevisionConflict():
            return {"expected_revision": error.expected_revision, "current_revision": error.current_revision}
        case CommitUnknown():
            return {"write_id": error.write_id}
        case DeployRefused():
            return {"reasons": list(error.reasons)}
        case PlanOutdated():
            return {"changes": list(error.changes)}
    return {}


def scrubbed(value: Any, hidden: Collection[str]) -> Any:
    """Return the value without the texts that name something hidden, and without hashes in names."""
    if isinstance(value, str):
        return "(not shown)" if _names_any(value, hidden) else without_hashes(value)
    if isinstance(value, list):
        return [scrubbed(each, hidden) for each in value]
    return value


def _names_any(text: str, hidden: Collection[str]) -> bool:
    return any(re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", text) for name in hidden if name)


def _retry_headers(error: ApmS3Error, status: int) -> dict[str, str]:
    if status != 503:
        return {}
    asked = error.retry_after if isinstance(error, S3Error) else None
    return {"Retry-After": str(RETRY_AFTER if asked is None else max(1, math.ceil(min(asked, 3600))))}


def _request_issue(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return one problem of a request: where, by whom it was given, and what is wrong."""
    where: Sequence[Any] = found.get("loc") or [None]
    source, *steps = where
    line = steps.pop(0) if source == "body" and found.get("type") == "json_invalid" and steps else None
    # A name that somebody made up may be megabytes long.
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step:.100}" for step in steps if step is not None)
    issue = {
        "in": "request" if source is None else str(source),
        "path": path.removeprefix("."),
        "rule": str(found.get("type", "invalid")),
        "message": str(found.get("msg", "not valid")),
    }
    return issue if line is None else {**issue, "offset": line}
