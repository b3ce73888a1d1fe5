"""Collects deletions of a batch until they fill a DeleteObjects request. Pure.

Invariants: no group has more than 1000 deletions; all deletions of a group share bucket and options, and either all of
them name a version or none does, so that each key in the response belongs to one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from apm_s3._s3.engine import check_target
from apm_s3._s3_responses import s3_error
from apm_s3.batch import DeleteOp
from apm_s3.errors import InvalidRequest, S3Error
from apm_s3.models import DeleteOutcome, DeleteReport
from apm_s3.options import DeleteOptions

GROUP = 1000
"""https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html."""

_MOST = 10 * GROUP
"""Maximum number of held deletions, in all groups together."""

_GroupKey = tuple[str, DeleteOptions | None, bool]


@dataclass(slots=True)
class Group:
    """Deletions that share a request.

    Attributes:
        began: when the first deletion was added, by `time.monotonic`.
        entries: the deletions and their positions in the batch.
    """

    bucket: str
    options: DeleteOptions | None
    began: float
    entries: list[tuple[int, DeleteOp]] = field(default_factory=list)

    @property
    def targets(self) -> list[tuple[str, str | None]]:
        """Return the keys for `delete_files`."""
        return [(operation.key, _version(operation)) for _, operation in self.entries]

    def outcomes(self, report: DeleteReport) -> Iterator[tuple[int, DeleteOp, DeleteOutcome | S3Error]]:
        """Yield the result of each deletion; `report` covers all of them."""
        versioned = bool(self.entries) and _version(self.entries[0][1]) is not None
        deleted = {(one.key, one.version_id if versioned else None): one for one in report.deleted}
        failed = {(one.key, one.version_id if versioned else None): one for one in report.failed}
        for position, operation in self.entries:
            target = (operation.key, _version(operation))
            # Some servers omit the version: then the failure counts for each version not reported as deleted.
            failure = failed.get(target) or (None if target in deleted else failed.get((operation.key, None)))
            if failure is None:
                yield position, operation, deleted.get(target) or DeleteOutcome(*target)
                continue
            yield (
                position,
                operation,
                s3_error(
                    operation="delete_files",
                    status=403 if failure.s3_code == "AccessDenied" else 0,
                    s3_code=failure.s3_code,
                    message=failure.message,
                    bucket=self.bucket,
                    key=operation.key,
                ),
            )


class Deletions:
    """The groups that are not full yet.

    Attributes:
        held: the number of deletions in all groups.
    """

    def __init__(self) -> None:
        self._groups: dict[_GroupKey, Group] = {}
        self.held = 0

    def add(self, position: int, operation: DeleteOp, now: float) -> Group | None:
        """Add a deletion, and return the group to send now, if any."""
        options = operation.options
        versioned = options is not None and options.version_id is not None
        if versioned and options is not None:
            options = replace(options, version_id=None)
        key = (operation.bucket, options, versioned)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(operation.bucket, options, now)
        group.entries.append((position, operation))
        self.held += 1
        if len(group.entries) >= GROUP:
            del self._groups[key]
            self.held -= GROUP
            return group
        return self.pop() if self.held >= _MOST else None

    def pop(self, begun_before: float | None = None) -> Group | None:
        """Return the oldest group, if there is one (and it was started before that time)."""
        if not self._groups:
            return None
        key, group = next(iter(self._groups.items()))
        if begun_before is not None and group.began >= begun_before:
            return None
        del self._groups[key]
        self.held -= len(group.entries)
        return group


def can_share(operation: DeleteOp) -> bool:
    """Return whether a deletion can share a request. Deletions that would be refused cannot, to protect the others."""
    options = operation.options
    try:
        check_target(operation.bucket, operation.key)
        if options is None:
            return True
        (options.version_id or "").encode()
    except (InvalidRequest, UnicodeEncodeError, TypeError, AttributeError):
        return False
    return options.if_match is None


def _version(operation: DeleteOp) -> str | None:
    return operation.options.version_id if operation.options is not None else None
