"""The verbs about buckets."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from apm_s3._plans import PlanDocument
from apm_s3._s3.buckets.parts import BucketGroup, bucket_ref
from apm_s3._s3.buckets.plans import Unsupported
from apm_s3._s3.buckets.requests import BucketRef
from apm_s3.models import BucketDetails, BucketInfo, BucketPlan, EmptyReport
from apm_s3.options._bucket_settings import BucketSetting
from apm_s3.options._buckets import BucketOptions

S = TypeVar("S", bound=BucketSetting)


class BucketOperations(BucketGroup):
    """See the module.

    In all of them, `region` is the region whose endpoint is asked (the manager's own where it is None), and
    `expected_bucket_owner` the account that the bucket has to belong to (AccessDenied where it does not).
    """

    async def create_bucket(
        self,
        name: str,
        options: BucketOptions | None = None,
        *,
        region: str | None = None,
        mfa: str | None = None,
        unsupported: Unsupported = "refuse",
    ) -> BucketPlan:
        """Make a bucket with all of `options`. If one of them cannot be set, the bucket is removed again.

        In us-east-1, S3 does not tell two processes that make the same bucket at the same moment apart: both believe
        that they made it, and if one of them fails, it removes the bucket of both, unless there is something in it.

        Args:
            mfa: "serial code" of the root user's MFA device, for `Versioning(mfa_delete=True)`.
            unsupported: "warn" leaves out what an S3-compatible server lacks, and says so in the plan's warnings.

        Returns:
            What was done.

        Raises:
            InvalidBucketName, InvalidOption: S3 would refuse it; nothing was sent.
            BucketAlreadyOwned: you have it already; ensure_bucket brings it to its options.
            BucketAlreadyExists: somebody else has it.
            UnsupportedByServer: the server lacks some of the options; the message lists them.
        """
        ref = BucketRef(name, region)
        return await self._parts.plans.create(
            "create_bucket", ref, options or BucketOptions(), mfa=mfa, unsupported=unsupported
        )

    async def ensure_bucket(
        self,
        name: str,
        options: BucketOptions | None = None,
        *,
        region: str | None = None,
        expected_bucket_owner: str | None = None,
        mfa: str | None = None,
        unsupported: Unsupported = "refuse",
        plan: BucketPlan | PlanDocument | None = None,
    ) -> BucketPlan:
        """Make the bucket, or bring the one that exists to `options`, changing only what differs.

        It can be run again at any time: a second run finds nothing to do.

        Args:
            plan: what `plan_bucket` made of the same options, or `BucketPlan.from_dict` brought back: go on only if
                planned anew it is the same.

        Returns:
            The plan that was carried out.

        Raises:
            As `create_bucket`, but for BucketAlreadyOwned.
            WrongRegion: it exists, in another region than `region`.
            PlanOutdated: something is different from `plan`; nothing was changed.
        """
        ref = BucketRef(name, region, expected_bucket_owner)
        agreed = None if plan is None else BucketPlan.from_dict(plan.to_dict())
        return await self._parts.plans.ensure(
            "ensure_bucket", ref, options or BucketOptions(), mfa=mfa, unsupported=unsupported, agreed=agreed
        )

    async def plan_bucket(
        self,
        name: str,
        options: BucketOptions | None = None,
        *,
        region: str | None = None,
        expected_bucket_owner: str | None = None,
    ) -> BucketPlan:
        """What `ensure_bucket` would do. Changes nothing."""
        ref = BucketRef(name, region, expected_bucket_owner)
        return await self._parts.plans.plan("plan_bucket", ref, options or BucketOptions())

    async def list_buckets(
        self, *, prefix: str = "", region: str | None = None, details: bool = False, refresh: bool = False
    ) -> tuple[BucketInfo, ...]:
        """The buckets of the account, by name.

        Args:
            prefix: only those whose names begin with it.
            region: only those in this region.
            details: with all settings of each, some buckets at a time.
            refresh: past what is remembered (see `S3Settings.cache`).
        """
        return await self._parts.memory.listed(prefix, region, details=details, refresh=refresh)

    async def get_bucket(
        self, name: str, *, region: str | None = None, expected_bucket_owner: str | None = None, refresh: bool = False
    ) -> BucketDetails:
        """A bucket with all its settings, read in parallel.

        Args:
            refresh: past what is remembered (see `S3Settings.cache`).

        Raises:
            BucketNotFound: it does not exist.
            AccessDenied: one of its settings may not be read: that is never taken for "not configured".
        """
        return await self._parts.memory.details(bucket_ref(name, region, expected_bucket_owner), refresh=refresh)

    async def bucket_exists(
        self, name: str, *, region: str | None = None, expected_bucket_owner: str | None = None
    ) -> bool:
        """Whether the bucket exists.

        Raises:
            AccessDenied: it exists, or these credentials may not see it: never taken for "no".
        """
        ref = bucket_ref(name, region, expected_bucket_owner)
        return await self._parts.requests.head("bucket_exists", ref) is not None

    async def delete_bucket(
        self,
        name: str,
        *,
        force: bool = False,
        confirm: str | None = None,
        mfa: str | None = None,
        bypass_governance: bool = False,
        on_progress: Callable[[EmptyReport], None] | None = None,
        region: str | None = None,
        expected_bucket_owner: str | None = None,
    ) -> EmptyReport:
        """Delete a bucket; with `force`, all of its versions, delete markers and open uploads before.

        Args:
            confirm: the bucket's name: needed to empty one that is tagged as production.
            mfa: "serial code" of the MFA device, where the bucket has MFA delete.
            bypass_governance: delete versions in spite of a GOVERNANCE lock (needs the permission).
            on_progress: told of what is deleted so far, after each batch.

        Returns:
            What was deleted from it.

        Raises:
            BucketNotFound: it does not exist.
            BucketNotEmpty: it holds something, and `force` is not set; old versions and delete markers count.
            InvalidOption: it is tagged as production, and `confirm` is not its name; nothing was deleted.
            BatchError: some of its contents could not be deleted: `failures` says which, and why. The rest is gone.
        """
        ref = bucket_ref(name, region, expected_bucket_owner)
        report = EmptyReport()
        if force:
            report = await self._parts.emptying.empty(
                "delete_bucket",
                ref,
                confirm=confirm,
                mfa=mfa,
                bypass_governance=bypass_governance,
                on_progress=on_progress,
            )
        await self._parts.requests.delete("delete_bucket", ref)
        return report

    async def get_setting(
        self, bucket: str, kind: type[S], *, region: str | None = None, expected_bucket_owner: str | None = None
    ) -> S | None:
        """One kind of setting of a bucket (`Lifecycle`, `Policy`, ...); None where it is not configured.

        Raises:
            BucketNotFound: the bucket does not exist.
            UnsupportedByServer: the server does not know this kind.
        """
        return await self._parts.settings.read("get_setting", bucket_ref(bucket, region, expected_bucket_owner), kind)

    async def set_setting(
        self,
        bucket: str,
        setting: BucketSetting,
        *,
        mfa: str | None = None,
        region: str | None = None,
        expected_bucket_owner: str | None = None,
    ) -> None:
        """Give a bucket this setting, in place of the one of its kind that it has.

        Args:
            mfa: "serial code" of the root user's MFA device, to change `Versioning.mfa_delete`, or anything about
                versioning while it is on.

        Raises:
            InvalidOption: S3 would refuse it; nothing was sent.
            BucketNotFound: the bucket does not exist.
            UnsupportedByServer: the server does not know this kind; nothing was changed.
        """
        ref = bucket_ref(bucket, region, expected_bucket_owner)
        setting.check()
        await self._parts.settings.require_bucket("set_setting", ref)
        await self._parts.settings.write("set_setting", ref, setting, mfa=mfa)

    async def remove_setting(
        self,
        bucket: str,
        kind: type[BucketSetting],
        *,
        mfa: str | None = None,
        region: str | None = None,
        expected_bucket_owner: str | None = None,
    ) -> None:
        """Take one kind of setting from a bucket; harmless where there is none.

        S3 lets go of two kinds only in part: versioning is suspended, and object lock stays on without a default
        retention.
        """
        ref = bucket_ref(bucket, region, expected_bucket_owner)
        await self._parts.settings.remove("remove_setting", ref, kind, mfa=mfa)
