"""The manager's methods about buckets: their documentation, and the checks of their arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from apm_s3._naming import check_key
from apm_s3._plans import PlanDocument
from apm_s3._s3.buckets import apm_buckets, replication, restores, usage
from apm_s3._s3.buckets.parts import BucketParts
from apm_s3._s3.buckets.plans import Unsupported
from apm_s3._s3.buckets.requests import BucketRef, bucket_ref
from apm_s3._s3.engine import Engine, Verbs
from apm_s3.models import BucketDetails, BucketInfo, BucketPlan, BucketUsage, EmptyReport, ReplicationSetup
from apm_s3.options._bucket_settings import BucketSetting, Policy
from apm_s3.options._buckets import BucketOptions

S = TypeVar("S", bound=BucketSetting)


class Buckets(Verbs):
    """What the manager does with buckets.

    In all of these methods, `region` is the region whose endpoint is asked (the manager's own where it is None), and
    `expected_bucket_owner` the account that the bucket has to belong to (AccessDenied where it does not).
    """

    def __init__(self, engine: Callable[[], Engine]) -> None:
        super().__init__(engine)
        self._made: BucketParts | None = None

    @property
    def _parts(self) -> BucketParts:
        engine = self._engine()
        if self._made is None:
            self._made = BucketParts(engine)
        return self._made

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

    async def create_apm_bucket(
        self,
        name: str,
        environment: str,
        tool: str,
        purpose: str,
        *,
        region: str | None = None,
        kms_key_id: str | None = None,
        mfa: str | None = None,
        retention: int | None = None,
        tags: Mapping[str, str] | None = None,
        prefixes: Sequence[str] = ("",),
        policy: Policy | None = None,
        require_https: bool | None = None,
        move_small_objects: bool = False,
        unsupported: Unsupported = "refuse",
    ) -> BucketPlan:
        """Make a bucket for configurations: encrypted, versioned, private, tagged, with a policy and a lifecycle.

        `apm_lifecycle` tells what happens to its objects, `apm_policy` what is denied. If anything of it cannot be
        set, the bucket is removed again. An existing bucket is brought to the same settings by
        `ensure_bucket(name, apm_bucket_options(...))`.

        Args:
            environment: "production" or "prod" adds the protections that only MFA lifts. They bind everybody: later
                changes of the bucket's settings need credentials from a session with MFA.
            tool: whose configurations it holds, or "all".
            purpose: "configs", "backups", "logs", ...: what the bucket is for.
            kms_key_id: encrypt with this KMS key instead of SSE-S3.
            mfa: "serial code" of the root user's MFA device turns MFA delete on; S3 then refuses lifecycle rules, so
                that these are left out, with a warning.
            retention: days after which backups (or logs, by purpose) expire.
            tags: further ones.
            prefixes: of the configuration stores in the bucket.
            policy: in place of the environment's own.
            require_https: deny plain HTTP. By default so, except on an endpoint of plain HTTP, where it would lock
                everybody out: it is left out there, with a warning.
            move_small_objects: also move objects under 128 KiB to cheaper classes.
            unsupported: "warn" leaves out what an S3-compatible server lacks, and says so.

        Returns:
            What was done; `warnings` says what was left out.

        Raises:
            As `create_bucket`; and InvalidOption or InvalidKey for an argument that cannot be.
        """
        endpoint = await self._parts.requests.endpoint(region)
        options = apm_buckets.apm_bucket_options(
            name,
            environment,
            tool,
            purpose,
            region=endpoint.region,
            kms_key_id=kms_key_id,
            mfa_delete=mfa is not None,
            retention=retention,
            tags=tags,
            prefixes=prefixes,
            policy=policy,
            require_https=endpoint.is_encrypted if require_https is None else require_https,
            move_small_objects=move_small_objects,
        )
        warnings = apm_buckets.left_out(
            mfa_delete=mfa is not None,
            plain_http=require_https is None and policy is None and not endpoint.is_encrypted,
        )
        plan = await self._parts.plans.create(
            "create_apm_bucket", BucketRef(name, region), options, mfa=mfa, unsupported=unsupported
        )
        return replace(plan, warnings=(*warnings, *plan.warnings))

    async def bucket_usage(
        self,
        bucket: str,
        *,
        prefixes: Sequence[str] = ("",),
        expected_bucket_owner: str | None = None,
        timeout: float | None = None,
    ) -> BucketUsage:
        """Objects and bytes in a bucket by storage class, environment and tool, old versions included.

        It lists the bucket, folders in parallel: one request for each thousand versions. For buckets of many millions,
        S3 Inventory or Storage Lens cost less.

        Args:
            prefixes: of the configuration stores in the bucket.
            timeout: seconds for each request of the listing.

        Raises:
            BucketNotFound: it does not exist.
        """
        ref = bucket_ref(bucket, owner=expected_bucket_owner)
        return await usage.measure(self._engine(), ref, prefixes, timeout)

    async def setup_replication(
        self,
        source: str,
        target: str,
        *,
        role: str | None = None,
        source_region: str | None = None,
        target_region: str | None = None,
        prefixes: Sequence[str] = ("",),
        delete_markers: bool = True,
        storage_class: str | None = None,
        target_account: str | None = None,
        kms_key_id: str | None = None,
        create_target: bool = False,
        expected_bucket_owner: str | None = None,
    ) -> ReplicationSetup:
        """Replicate the objects of `source` into `target`.

        Both buckets must have versioning. The role has to exist and allow what `permissions_policy` of the result
        says: without `role`, nothing is changed, and the result tells what to make it of (print it).
        Rules that the source has already for other targets are kept.

        Args:
            role: the ARN of the IAM role that S3 assumes.
            prefixes: only these; one rule each.
            delete_markers: replicate deletions, too (never the deletion of a version).
            storage_class: of the replicas; the source's where it is None.
            target_account: the account that owns the target, where that is another one; it will own the replicas.
            kms_key_id: the key, in the target's region, that encrypts replicas of objects that are encrypted with KMS;
                without it, those are not replicated.
            create_target: make the target, in `target_region`, with the source's protections, if it does not exist.
            expected_bucket_owner: of the source.

        Raises:
            BucketNotFound: the source, or, without `create_target`, the target does not exist.
            InvalidOption: versioning is off on one side, or the source replicates with another role.
        """
        ref = bucket_ref(source, source_region, expected_bucket_owner)
        target_ref = bucket_ref(target, target_region, target_account)
        wanted = replication.Wanted(role, prefixes, delete_markers, storage_class, kms_key_id, create_target)
        return await replication.set_up(self._parts, ref, target_ref, wanted)

    async def replication_status(
        self,
        bucket: str,
        key: str,
        *,
        version_id: str | None = None,
        region: str | None = None,
        expected_bucket_owner: str | None = None,
    ) -> str | None:
        """How far the replication of an object is: "PENDING", "COMPLETED" or "FAILED"; "REPLICA" for a replica.

        None where no rule applies to it.

        Raises:
            BucketNotFound, ObjectNotFound: there is none.
        """
        ref = bucket_ref(bucket, region, expected_bucket_owner)
        check_key(key, bucket=bucket)
        return await replication.status(self._parts.requests, self._engine(), ref, key, version_id)

    async def restore_archived(
        self,
        bucket: str,
        key: str,
        *,
        days: int = 7,
        tier: restores.RestoreTier = "Standard",
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
        return await restores.restore(self._parts.requests, ref, key, version_id, days, tier)
