"""Objects in archive classes, asked back."""

from __future__ import annotations

from typing import Any, Literal

from apm_s3._naming import check_key
from apm_s3._s3.buckets.parts import BucketGroup, bucket_ref
from apm_s3.errors import InvalidOption, ObjectArchived, S3Error

RestoreTier = Literal["Standard", "Bulk", "Expedited"]


class RestoreOperations(BucketGroup):
    """Objects in archive classes."""

    async def restore_archived(
        self,
        bucket: str,
        key: str,
        *,
        days: int = 7,
        tier: RestoreTier = "Standard",
        version_id: str | None = None,
        region: str | None = None,
        expected_bucket_owner: str | None = None,
    ) -> bool:
        """Ask S3 to make an object in GLACIER or DEEP_ARCHIVE readable for some days. It takes minutes to two days.

        `head_file` and `read_file` tell when it can be read: until then, reading raises ObjectArchived. Times and
        costs of the tiers: https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects-retrieval-options.html.

        Args:
            days: how long the readable copy is kept.
            tier: how fast; "Expedited" does not exist for DEEP_ARCHIVE.

        Returns:
            Whether it was asked for now; False where that is under way already.

        Raises:
            InvalidOption: `days` is less than 1, or the object is in no archive class.
            ObjectNotFound, BucketNotFound: there is none.
        """
        ref = bucket_ref(bucket, region, expected_bucket_owner)
        check_key(key, bucket=bucket)
        if days < 1:
            raise InvalidOption(f"a copy for {days} days is none", hint="give at least 1", bucket=bucket, key=key)
        params: dict[str, Any] = {"Key": key}
        if version_id is not None:
            params["VersionId"] = version_id
        request = {"Days": days, "GlacierJobParameters": {"Tier": tier}}
        try:
            await self._parts.requests.send(
                "restore_archived", "restore_object", ref, done_already=_is_under_way, RestoreRequest=request, **params
            )
        except ObjectArchived as error:
            # InvalidObjectState: here it means the opposite of what it means on reading.
            raise InvalidOption(
                f"'{bucket}/{key}' is in no archive class: it can be read as it is",
                operation="restore_archived",
                bucket=bucket,
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
