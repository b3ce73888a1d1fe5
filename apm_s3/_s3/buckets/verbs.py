"""The manager's methods for buckets: their documentation, and argument checks.

What the methods need is imported when one of them is first called, because most programs call none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from apm_s3._naming import check_key
from apm_s3._s3.buckets.requests import BucketRef, bucket_ref
from apm_s3._s3.engine import Engine, Verbs, composed

if TYPE_CHECKING:
    from apm_s3._plans import PlanDocument
    from apm_s3._s3.buckets.parts import BucketParts
    from apm_s3._s3.buckets.plans import Unsupported
    from apm_s3._s3.buckets.replication import RestoreTier
    from apm_s3.models import BucketDetails, BucketInfo, BucketPlan, BucketUsage, EmptyReport, ReplicationSetup
    from apm_s3.options import BucketOptions, BucketSetting, Policy

S = TypeVar("S", bound="BucketSetting")


class Buckets(Verbs):
    """The manager's methods for buckets.

    In all of these methods, `region` is the region whose endpoint is used (None means the manager's region), and
    `expected_bucket_owner` is the account that must own the bucket (otherwise AccessDenied is raised).
    """

    def __init__(self, engine: Callable[[], Engine]) -> None:
        super().__init__(engine)
        self._made: BucketParts | None = None

    @property
    def _parts(self) -> BucketParts:
        engine = self._engine()
        if self._made is None:
            from apm_s3._s3.buckets.parts import BucketParts

            self._made = BucketParts(engine)
        return self._made

    @composed
    async def create_bucket(
        self,
        name: str,
        options: BucketOptions | None = None,
        *,
        region: str | None = None,
        mfa: str | None = None,
        unsupported: Unsupported = "refuse",
    ) -> BucketPlan:
        """Create a bucket with all `options`. If one of them cannot be set, the bucket is removed again.

        In us-east-1, if two processes create the same bucket at the same time, S3 tells both that they succeeded. If
        one of them then fails, it removes the bucket, unless it is not empty.

        Args:
            mfa: "serial code" of the root user's MFA device, for `Versioning(mfa_delete=True)`.
            unsupported: "warn" omits options that an S3-compatible server lacks, and lists them in the plan's warnings.

        Returns:
            The plan that was carried out.

        Raises:
            InvalidBucketName, InvalidOption: S3 would refuse it; nothing was sent.
            BucketAlreadyOwned: you already own it; ensure_bucket applies options to it.
            BucketAlreadyExists: another account owns it.
            UnsupportedByServer: the server lacks some of the options; the message lists them.
        """
        ref = BucketRef(name, region)
        return await self._parts.plans.create("create_bucket", ref, options, mfa=mfa, unsupported=unsupported)

    @composed
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
        """Create the bucket, or apply `options` to the existing one, changing only what differs.

        It can be repeated at any time: a second call finds nothing to do.

        Args:
            plan: the result of `plan_bucket` for the same options, or of `BucketPlan.from_dict`. The call continues
                only if making the plan again gives the same one.

        Returns:
            The plan that was carried out.

        Raises:
            As `create_bucket`, except BucketAlreadyOwned.
            WrongRegion: it exists in another region than `region`.
            PlanOutdated: the plan would be different now; nothing was changed.
        """
        ref = BucketRef(name, region, expected_bucket_owner)
        return await self._parts.plans.ensure(
            "ensure_bucket", ref, options, mfa=mfa, unsupported=unsupported, agreed=plan
        )

    @composed
    async def plan_bucket(
        self,
        name: str,
        options: BucketOptions | None = None,
        *,
        region: str | None = None,
        expected_bucket_owner: str | None = None,
    ) -> BucketPlan:
        """Return what `ensure_bucket` would do, without changing anything."""
        ref = BucketRef(name, region, expected_bucket_owner)
        return await self._parts.plans.plan("plan_bucket", ref, options)

    async def list_buckets(
        self, *, prefix: str = "", region: str | None = None, details: bool = False, refresh: bool = False
    ) -> tuple[BucketInfo, ...]:
        """List the buckets of the account, sorted by name.

        Args:
            prefix: only buckets whose names begin with it.
            region: only buckets in this region.
            details: also read all settings of each, several buckets at a time.
            refresh: bypass the cache (see `S3Settings.cache`).
        """
        return await self._parts.cached.listed(prefix, region, details=details, refresh=refresh)

    @composed
    async def get_bucket(
        self, name: str, *, region: str | None = None, expected_bucket_owner: str | None = None, refresh: bool = False
    ) -> BucketDetails:
        """Return a bucket with all its settings, read in parallel.

        Args:
            refresh: bypass the cache (see `S3Settings.cache`).

        Raises:
            BucketNotFound: it does not exist.
            AccessDenied: one of its settings may not be read; this never means "not configured".
        """
        return await self._parts.cached.details(bucket_ref(name, region, expected_bucket_owner), refresh=refresh)

    async def bucket_exists(
        self, name: str, *, region: str | None = None, expected_bucket_owner: str | None = None
    ) -> bool:
        """Return whether the bucket exists.

        Raises:
            AccessDenied: it may exist, but access is denied.
        """
        ref = bucket_ref(name, region, expected_bucket_owner)
        return await self._parts.requests.head("bucket_exists", ref) is not None

    @composed
    async def delete_bucket(
        self,
        name: str,
        *,
        force: bool = False,
        confirm: str | None = None,
        mfa: str | None = None,
        bypass_governance: bool = False,
        on_progress: Callable[[EmptyReport], object] | None = None,
        region: str | None = None,
        expected_bucket_owner: str | None = None,
    ) -> EmptyReport:
        """Delete a bucket; with `force`, first delete all of its versions, delete markers and open uploads.

        Args:
            confirm: the bucket's name, required to empty a bucket that is tagged as production.
            mfa: "serial code" of the MFA device, if the bucket has MFA delete.
            bypass_governance: delete versions despite a GOVERNANCE lock (requires the permission).
            on_progress: called after each batch with what was deleted so far; its exceptions are logged.

        Returns:
            What was deleted from the bucket.

        Raises:
            BucketNotFound: it does not exist.
            BucketNotEmpty: it is not empty, and `force` is not set; old versions and delete markers count.
            InvalidOption: it is tagged as production, and `confirm` is not its name; nothing was deleted.
            BatchError: some contents could not be deleted; `failures` says which, and why. The rest was deleted.
        """
        from apm_s3.models import EmptyReport

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
        else:
            await self._parts.emptying.require_empty("delete_bucket", ref)
        await self._parts.requests.delete("delete_bucket", ref)
        return report

    async def get_setting(
        self, bucket: str, kind: type[S], *, region: str | None = None, expected_bucket_owner: str | None = None
    ) -> S | None:
        """Return one kind of setting of a bucket (`Lifecycle`, `Policy`, ...); None if it is not configured.

        Raises:
            BucketNotFound: the bucket does not exist.
            UnsupportedByServer: the server does not know this kind.
        """
        return await self._parts.settings.read("get_setting", bucket_ref(bucket, region, expected_bucket_owner), kind)

    @composed
    async def set_setting(
        self,
        bucket: str,
        setting: BucketSetting,
        *,
        mfa: str | None = None,
        region: str | None = None,
        expected_bucket_owner: str | None = None,
    ) -> None:
        """Set a setting of a bucket, replacing the current one of its kind.

        Args:
            mfa: "serial code" of the root user's MFA device, to change `Versioning.mfa_delete`, or any versioning
                setting while it is on.

        Raises:
            InvalidOption: S3 would refuse it; nothing was sent.
            BucketNotFound: the bucket does not exist.
            UnsupportedByServer: the server does not know this kind; nothing was changed.
        """
        ref = bucket_ref(bucket, region, expected_bucket_owner)
        setting.check()
        await self._parts.settings.require_bucket("set_setting", ref)
        await self._parts.settings.write("set_setting", ref, setting, mfa=mfa)

    @composed
    async def remove_setting(
        self,
        bucket: str,
        kind: type[BucketSetting],
        *,
        mfa: str | None = None,
        region: str | None = None,
        expected_bucket_owner: str | None = None,
    ) -> None:
        """Remove one kind of setting from a bucket; harmless if it is not configured.

        Two kinds can only be removed in part: versioning is suspended, and object lock stays on without a default
        retention.
        """
        ref = bucket_ref(bucket, region, expected_bucket_owner)
        await self._parts.settings.remove("remove_setting", ref, kind, mfa=mfa)

    async def apm_options(
        self,
        name: str,
        environment: str,
        tool: str,
        purpose: str,
        *,
        region: str | None = None,
        kms_key_id: str | None = None,
        mfa_delete: bool = False,
        retention: int | None = None,
        tags: Mapping[str, str] | None = None,
        prefixes: Sequence[str] = ("",),
        policy: Policy | None = None,
        require_https: bool | None = None,
    ) -> BucketOptions:
        """Return the options that `create_apm_bucket` applies, for `ensure_bucket` and `plan_bucket`.

        They fit this manager's endpoint: its region, and whether it is encrypted. `apm_bucket_options` is the same
        without a manager.

        Args:
            require_https: see `create_apm_bucket`.

        Raises:
            InvalidOption, InvalidKey, InvalidBucketName: an argument is not valid.
        """
        from apm_s3._s3.buckets import apm_buckets

        endpoint = await self._parts.requests.endpoint(region)
        return apm_buckets.apm_bucket_options(
            name,
            environment,
            tool,
            purpose,
            region=endpoint.region,
            kms_key_id=kms_key_id,
            mfa_delete=mfa_delete,
            retention=retention,
            tags=tags,
            prefixes=prefixes,
            policy=policy,
            require_https=endpoint.is_encrypted if require_https is None else require_https,
        )

    @composed
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
        unsupported: Unsupported = "refuse",
    ) -> BucketPlan:
        """Create a bucket for configurations: encrypted, versioned, private, tagged, with a policy and a lifecycle.

        `apm_lifecycle` describes what happens to its objects, `apm_policy` what is denied. If any setting cannot be
        applied, the bucket is removed again. To apply the same settings to an existing bucket, use
        `ensure_bucket(name, apm_bucket_options(...))`.

        Args:
            environment: "production" or "prod" adds protections that require MFA. They apply to everybody: later
                changes of the bucket's settings need credentials from a session with MFA.
            tool: the tool whose configurations it contains, or "all".
            purpose: "configs", "backups", "logs", ...: the purpose of the bucket.
            kms_key_id: encrypt with this KMS key instead of SSE-S3.
            mfa: "serial code" of the root user's MFA device turns on MFA delete. S3 then refuses lifecycle rules, so
                they are omitted, with a warning.
            retention: days after which backups (or logs, by purpose) expire.
            tags: additional tags.
            prefixes: prefixes of the configuration stores in the bucket.
            policy: replaces the environment's policy.
            require_https: deny plain HTTP. This is the default, except on a plain HTTP endpoint, where it would lock
                everybody out: there it is omitted, with a warning.
            unsupported: "warn" omits settings that an S3-compatible server lacks, with a warning.

        Returns:
            The plan that was carried out; `warnings` lists what was omitted.

        Raises:
            As `create_bucket`; and InvalidOption or InvalidKey for invalid arguments.
        """
        from apm_s3._s3.buckets import apm_buckets

        endpoint = await self._parts.requests.endpoint(region)
        options = await self.apm_options(
            name,
            environment,
            tool,
            purpose,
            region=region,
            kms_key_id=kms_key_id,
            mfa_delete=mfa is not None,
            retention=retention,
            tags=tags,
            prefixes=prefixes,
            policy=policy,
            require_https=require_https,
        )
        warnings = apm_buckets.left_out(
            mfa_delete=mfa is not None,
            plain_http=require_https is None and policy is None and not endpoint.is_encrypted,
        )
        plan = await self._parts.plans.create(
            "create_apm_bucket", BucketRef(name, region), options, mfa=mfa, unsupported=unsupported
        )
        return dataclasses.replace(plan, warnings=(*warnings, *plan.warnings))

    @composed
    async def bucket_usage(
        self,
        bucket: str,
        *,
        prefixes: Sequence[str] = ("",),
        expected_bucket_owner: str | None = None,
        timeout: float | None = None,
    ) -> BucketUsage:
        """Count objects and bytes in a bucket by storage class, environment and tool, including old versions.

        It lists the bucket, with folders in parallel: one request per thousand versions. For many millions of objects,
        S3 Inventory or Storage Lens cost less.

        Args:
            prefixes: prefixes of the configuration stores in the bucket.
            timeout: seconds for each request of the listing.

        Raises:
            BucketNotFound: it does not exist.
        """
        from apm_s3._s3.buckets import contents

        ref = bucket_ref(bucket, owner=expected_bucket_owner)
        return await contents.measure(self._engine(), ref, prefixes, timeout)

    @composed
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
        """Replicate the objects of `source` to `target`.

        Both buckets must have versioning. The role must exist and have the permissions in the result's
        `permissions_policy`. Without `role`, nothing is changed, and the result shows how to create it (print it).
        The source's rules for other targets are kept.

        Args:
            role: the ARN of the IAM role that S3 assumes.
            prefixes: replicate only these, with one rule each.
            delete_markers: also replicate delete markers (deletions of versions are never replicated).
            storage_class: of the replicas; None keeps the source's.
            target_account: the account that owns the target, if it is another one; it will own the replicas.
            kms_key_id: the key in the target's region for replicas of objects that are encrypted with KMS; without it,
                these objects are not replicated.
            create_target: create the target in `target_region`, with the source's protections, if it does not exist.
            expected_bucket_owner: of the source.

        Raises:
            BucketNotFound: the source, or, without `create_target`, the target does not exist.
            InvalidOption: versioning is off on one side, or the source replicates with another role.
        """
        from apm_s3._s3.buckets import replication

        ref = bucket_ref(source, source_region, expected_bucket_owner)
        target_ref = bucket_ref(target, target_region, target_account)
        wanted = replication.Wanted(role, prefixes, delete_markers, storage_class, kms_key_id, create_target)
        return await replication.set_up(self._parts, ref, target_ref, wanted)

    @composed
    async def replication_status(
        self,
        bucket: str,
        key: str,
        *,
        version_id: str | None = None,
        region: str | None = None,
        expected_bucket_owner: str | None = None,
    ) -> str | None:
        """Return the replication status of an object: "PENDING", "COMPLETED" or "FAILED"; "REPLICA" for a replica.

        None means that no rule applies to it.

        Raises:
            BucketNotFound, ObjectNotFound: the bucket or the object does not exist.
        """
        from apm_s3._s3.buckets import replication

        ref = bucket_ref(bucket, region, expected_bucket_owner)
        check_key(key, bucket=bucket)
        return await replication.status(self._parts.requests, self._engine(), ref, key, version_id)

    @composed
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
        """Ask S3 to make an object in GLACIER or DEEP_ARCHIVE readable for some days. This takes minutes to two days.

        Until it is ready, reading raises ObjectArchived. Times and costs of the tiers: https://docs.aws.amazon.com/AmazonS3/latest/userguide/restoring-objects-retrieval-options.html.

        Args:
            days: how long the readable copy is kept.
            tier: the speed; "Expedited" does not exist for DEEP_ARCHIVE.

        Returns:
            True if the restore was started; False if one is already in progress.

        Raises:
            InvalidOption: `days` is less than 1, or the object is not in an archive class.
            ObjectNotFound, BucketNotFound: the object or the bucket does not exist.
        """
        from apm_s3._s3.buckets import replication

        ref = bucket_ref(bucket, region, expected_bucket_owner)
        check_key(key, bucket=bucket)
        return await replication.restore(self._parts.requests, ref, key, version_id, days, tier)
