"""Restores objects from archive classes."""

from __future__ import annotations

from typing import Any, Literal

from apm_s3._s3.buckets.requests import BucketRef, BucketRequests
from apm_s3.errors import InvalidOption, ObjectArchived, S3Error

RestoreTier = Literal["Standard", "Bulk", "Expedited"]

_OPERATION = "restore_archived"


async def restore(
    requests: BucketRequests, ref: BucketRef, key: str, version_id: str | None, days: int, tier: RestoreTier
) -> bool:
    """Ask S3 to make the object readable. Return False if that is already in progress."""
    if days < 1:
        raise InvalidOption(f"days is {days}, but must be at least 1", hint="use at least 1", bucket=ref.name, key=key)
    params: dict[str, Any] = {"Key": key} if version_id is None else {"Key": key, "VersionId": version_id}
    wanted = {"Days": days, "GlacierJobParameters": {"Tier": tier}}
    try:
        await requests.send(
            _OPERATION, "restore_object", ref, done_already=_is_under_way, RestoreRequest=wanted, **params
        )
    except ObjectArchived as error:
        # InvalidObjectState means the opposite here of what it means on reading.
        raise InvalidOption(
            f"'{ref.name}/{key}' is not in an archive class, so it can be read without a restore",
            operation=_OPERATION,
            bucket=ref.name,
            key=key,
            hint="read it",
        ) from error
    except S3Error as error:
        if _is_under_way(error):
            return False
        raise
    return True


def _is_under_way(error: S3Error) -> bool:
    return error.s3_code == "RestoreAlreadyInProgress"
