"""Bodies of responses: joined without blocking the event loop, and checked for damage.

A requested range must give 206 and exactly that range, anything else 200:
https://www.rfc-editor.org/rfc/rfc9110#name-206-partial-content.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

from apm_s3._hints import Advice
from apm_s3.errors import IntegrityError, PreconditionFailed, UnsupportedByServer

if TYPE_CHECKING:
    from apm_s3._s3.transports.signed.requests import Request
    from apm_s3._s3.transports.signed.responses import ResponseHead
    from apm_s3.models import DeleteReport, FileInfo, FileVersion
    from apm_s3.options import ReadOptions


MAX_ERROR = 1024**2
"""Maximum bytes of an error response; S3's are a few KiB."""

MAX_DOCUMENT = 32 * 1024**2
"""Maximum bytes of a document. A page of 1000 keys of 1024 bytes each, all percent-encoded, has 4 MiB."""

# A millisecond per MiB, including page faults; `bytes.join` releases the interpreter lock meanwhile.
_LARGE = 4 * 1024**2


async def joined(pieces: list[bytes]) -> bytes:
    """Join the pieces, in a thread if they are large."""
    if sum(map(len, pieces)) < _LARGE:
        return b"".join(pieces)
    return await asyncio.to_thread(b"".join, pieces)


def corrupted(operation: str, bucket: str, key: str, algorithm: str, actual: str, expected: str) -> IntegrityError:
    """Return the error for an object whose bytes do not match its checksum."""
    return IntegrityError(
        f"the {algorithm} of the received bytes is {actual}, but S3 sent {expected}",
        operation=operation,
        bucket=bucket,
        key=key,
        hint="read it again; if this repeats, the stored object is damaged",
    )


_KEY = attrgetter("key")
_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})", re.ASCII)

SUCCESS = {
    "GET": frozenset({200}),
    "HEAD": frozenset({200}),
    # Servers other than S3 send 201 or 204.
    "PUT": frozenset({200, 201, 204}),
    "POST": frozenset({200}),
    "DELETE": frozenset({200, 204}),
}
"""The statuses of success for each method."""


def check_status(request: Request, status: int) -> None:
    """Refuse a status of success that does not match the request: 202 means "maybe later", 206 "only a part".

    Raises:
        IntegrityError: it is not known what the server did.
    """
    if status not in SUCCESS[request.method] and not (status == 206 and "range" in request.headers):
        raise IntegrityError(
            f"the server returned {status} for {request.method}",
            hint=Advice.CHECK_ENDPOINT(more=", and look for a proxy that modifies responses"),
            **request.where,
        )


def check_listed(
    operation: str, bucket: str, prefix: str, entries: Iterable[FileInfo | FileVersion], folders: Iterable[str]
) -> None:
    """Refuse a page of a listing with a key outside of `prefix`: a caller may delete what is listed.

    Raises:
        IntegrityError: it has one.
    """
    if not prefix:
        return
    names = [*map(_KEY, entries), *folders]
    # What lies between two strings with the same prefix has it, too.
    if names and not (min(names).startswith(prefix) and max(names).startswith(prefix)):
        wrong = next(name for name in names if not name.startswith(prefix))
        raise IntegrityError(
            f"the listing of '{prefix}' contains '{wrong[:200]}'",
            operation=operation,
            bucket=bucket,
            hint="suspect the server, or a proxy in front of it",
        )


def check_object(request: Request, options: ReadOptions, response: ResponseHead, length: int | None) -> None:
    """Check that a successful response to GET or HEAD matches the request; `length` is that of the body, if known.

    Raises:
        UnsupportedByServer: the server ignored the range.
        IntegrityError: it is another range or version, or only a part although the whole object was requested.
        PreconditionFailed: the object is not the one of `if_match`.
    """
    status, headers = response.status, response.headers
    problem = None
    if options.range is None:
        if status != 200 or "content-range" in headers:
            problem = f"the whole object was requested, but the server returned {status} with a part of it"
        elif options.if_match is None and options.version_id is None:
            return
    elif status != 206:
        # For a HEAD, servers may ignore ranges: RFC 9110, 14.2.
        if request.method == "GET":
            raise UnsupportedByServer(
                f"the server ignored the requested range: it returned {status}, not 206",
                hint="read the whole object, and look for a proxy that modifies responses",
                **request.where,
            )
    else:
        problem = _range_problem(options.range, headers.get("content-range", ""), length)
    version_id = headers.get("x-amz-version-id")
    if problem is None and version_id and options.version_id not in (None, version_id):
        problem = f"version {options.version_id} was requested, but the server sent version {version_id}"
    if problem is None and options.if_match is not None:
        _check_etag(request, options.if_match, headers.get("etag"))
    if problem is not None:
        raise IntegrityError(problem, **request.where)


def check_unchanged(request: Request, etag: str | None) -> None:
    """Check that a 304 matches its request: it needs a condition, and names an ETag of it or none.

    Some servers make an ETag weak in one of two responses, and some send none with a 304:
    https://www.rfc-editor.org/rfc/rfc9110#name-304-not-modified.

    Args:
        etag: the header of the response.

    Raises:
        IntegrityError: it does not match.
    """
    asked = request.headers.get("if-none-match")
    problem = None
    if request.method not in ("GET", "HEAD") or (asked is None and "if-modified-since" not in request.headers):
        problem = f"the server returned 304 for {request.method} without a condition"
    elif etag and asked not in (None, "*", etag):
        known = {one.strip().removeprefix("W/").strip('"') for one in asked.split(",")}
        if etag.removeprefix("W/").strip('"') not in known:
            problem = f"the server returned 304 for ETag {asked}, but names {etag}"
    if problem is not None:
        raise IntegrityError(problem, hint="look for a proxy that modifies or caches responses", **request.where)


def check_every_key_reported(bucket: str, keys: Sequence[tuple[str, str | None]], report: DeleteReport) -> DeleteReport:
    """Return the result for exactly the requested (key, version id); those missing in the response have failed.

    A key that is reported both as deleted and as failed has failed. Keys that were not requested are ignored.

    Raises:
        IntegrityError: the response is about other keys.
    """
    if not report.failed and [outcome.key for outcome in report.deleted] == [key for key, _ in keys]:
        return report
    left = dict.fromkeys(keys)
    versions: dict[str, list[str | None]] = {}
    for key, version in keys:
        versions.setdefault(key, []).append(version)

    def settle(key: str, version: str | None) -> bool:
        """Return whether (key, version) was requested, and mark it as done. Some servers omit the version."""
        candidates = [version, None] if version else versions.get(key, [])
        for candidate in candidates:
            if (key, candidate) in left:
                del left[key, candidate]
                return True
        return False

    from apm_s3.models import DeleteReport, KeyFailure  # noqa: PLC0415 - only deletions need them

    failed = [failure for failure in report.failed if settle(failure.key, failure.version_id)]
    deleted = [outcome for outcome in report.deleted if settle(outcome.key, outcome.version_id)]
    if len(left) == len(keys):
        raise IntegrityError("the response names none of the requested keys", operation="delete_files", bucket=bucket)
    failed += [KeyFailure(key, version, "", "the server did not report a result") for key, version in left]
    return DeleteReport(tuple(deleted), tuple(failed))


def _range_problem(asked: tuple[int, int | None], content_range: str, length: int | None) -> str | None:
    found = _RANGE.fullmatch(content_range)
    if found is None:
        return f"the server sent a part of the object without a valid Content-Range ('{content_range:.80}')"
    first, last, size = int(found[1]), int(found[2]), int(found[3])
    start, stop = asked
    if first != start or last + 1 != (size if stop is None else min(stop, size)) or last < first:
        wanted = f"{start}-{'' if stop is None else stop - 1}"
        return f"bytes {wanted} were requested, but the server sent {first}-{last} of {size}"
    if length is not None and length != last + 1 - first:
        return f"the server announced bytes {first}-{last}, but sent {length} bytes"
    return None


def _check_etag(request: Request, if_match: str, etag: str | None) -> None:
    if if_match in ("*", etag) or etag is None:
        return
    # It may be a list of ETags, and some callers omit the quotes.
    if etag.strip('"') not in {one.strip(' \t"') for one in if_match.split(",")}:
        raise PreconditionFailed(
            f"the object with ETag {if_match} was requested, but the server sent one with {etag}", **request.where
        )
