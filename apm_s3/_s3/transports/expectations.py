"""Checks that an answer is one to the request that was sent. Pure.

A range that was asked for means 206 and exactly that range, anything else means 200:
https://www.rfc-editor.org/rfc/rfc9110#name-206-partial-content.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from apm_s3.errors import IntegrityError, PreconditionFailed, UnsupportedByServer
from apm_s3.models import DeleteReport, KeyFailure
from apm_s3.options import ReadOptions

_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})", re.ASCII)

SUCCESS = {
    "GET": frozenset({200}),
    "HEAD": frozenset({200}),
    # Servers other than S3 say 201 or 204.
    "PUT": frozenset({200, 201, 204}),
    "POST": frozenset({200}),
    "DELETE": frozenset({200, 204}),
}
"""What says that a request of a method was carried out."""


def check_status(operation: str, method: str, status: int, bucket: str | None, key: str | None, *, part: bool) -> None:
    """Refuse a success that is not one of this request: 202 means "perhaps later", 206 "a part of it".

    Args:
        part: whether a range was asked for.

    Raises:
        IntegrityError: nobody knows what the server did.
    """
    if status not in SUCCESS[method] and not (part and status == 206):
        raise IntegrityError(
            f"the server answered {status} to {method}",
            operation=operation,
            bucket=bucket,
            key=key,
            hint="check that endpoint_url names an S3 server, and look for a proxy that changes answers",
        )


def check_read(
    operation: str,
    method: str,
    bucket: str,
    key: str,
    options: ReadOptions,
    *,
    status: int,
    content_range: str | None,
    length: int | None,
    etag: str | None,
    version_id: str | None,
) -> None:
    """Hold a success of GET or HEAD against what was asked.

    Args:
        content_range, etag, version_id: the headers of the answer.
        length: bytes of the body, where they are known.

    Raises:
        UnsupportedByServer: the server ignored the range.
        IntegrityError: it is another range, another version, or a part where the whole was asked for.
        PreconditionFailed: the object is not the one of `if_match`.
    """
    problem = None
    if options.range is None:
        if status != 200 or content_range is not None:
            problem = f"the whole object was asked for, and the server answered {status} with a part of it"
    elif status != 206:
        # For a HEAD, servers may ignore ranges: RFC 9110, 14.2.
        if method == "GET":
            raise UnsupportedByServer(
                f"the server ignored the range that was asked for: it answered {status}, not 206",
                operation=operation,
                bucket=bucket,
                key=key,
                hint="read the object whole, and look for a proxy that changes answers",
            )
    else:
        problem = _range_problem(options.range, content_range or "", length)
    if problem is None and version_id and options.version_id not in (None, version_id):
        problem = f"version {options.version_id} was asked for, and version {version_id} came"
    if problem is None and options.if_match is not None:
        _check_etag(operation, bucket, key, options.if_match, etag)
    if problem is not None:
        raise IntegrityError(problem, operation=operation, bucket=bucket, key=key)


def accounted(bucket: str, keys: Sequence[tuple[str, str | None]], report: DeleteReport) -> DeleteReport:
    """The outcome of exactly the (key, version id) that were to be deleted: one that the server left out has failed.

    A key that is said to be deleted and to have failed has failed. What was not asked for is dropped.

    Raises:
        IntegrityError: it is an answer about something else.
    """
    if not report.failed and [outcome.key for outcome in report.deleted] == [key for key, _ in keys]:
        return report
    left = dict.fromkeys(keys)
    versions: dict[str, list[str | None]] = {}
    for key, version in keys:
        versions.setdefault(key, []).append(version)

    def settle(key: str, version: str | None) -> bool:
        """Whether (key, version) was asked for, and is answered now. Some servers leave the version out."""
        candidates = [version, None] if version else versions.get(key, [])
        for candidate in candidates:
            if (key, candidate) in left:
                del left[key, candidate]
                return True
        return False

    failed = [failure for failure in report.failed if settle(failure.key, failure.version_id)]
    deleted = [outcome for outcome in report.deleted if settle(outcome.key, outcome.version_id)]
    if len(left) == len(keys):
        raise IntegrityError(
            "the answer names none of the keys that were to be deleted", operation="delete_files", bucket=bucket
        )
    failed += [KeyFailure(key, version, "", "the server did not say what became of it") for key, version in left]
    return DeleteReport(tuple(deleted), tuple(failed))


def _range_problem(asked: tuple[int, int | None], content_range: str, length: int | None) -> str | None:
    found = _RANGE.fullmatch(content_range)
    if found is None:
        return f"the server sent a part of the object without a valid Content-Range ('{content_range:.80}')"
    first, last, size = int(found[1]), int(found[2]), int(found[3])
    start, stop = asked
    if first != start or last + 1 != (size if stop is None else min(stop, size)) or last < first:
        wanted = f"{start}-{'' if stop is None else stop - 1}"
        return f"bytes {wanted} were asked for, and the server sent {first}-{last} of {size}"
    if length is not None and length != last + 1 - first:
        return f"the server says that it sends bytes {first}-{last}, and sends {length} bytes"
    return None


def _check_etag(operation: str, bucket: str, key: str, if_match: str, etag: str | None) -> None:
    if if_match in ("*", etag) or etag is None:
        return
    # It may be a list of ETags, and some callers leave the quotes out.
    if etag.strip('"') not in {one.strip(' \t"') for one in if_match.split(",")}:
        raise PreconditionFailed(
            f"the object with ETag {if_match} was asked for, and that with {etag} came",
            operation=operation,
            bucket=bucket,
            key=key,
        )
