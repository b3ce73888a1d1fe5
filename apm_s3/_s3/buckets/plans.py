"""Creates buckets and applies their options, after a plan. A new bucket gets all of its options, or is removed."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args
from weakref import WeakValueDictionary

from apm_s3._backoff import Backoff
from apm_s3._hints import Advice
from apm_s3._logs import LOGGER
from apm_s3._naming import check_bucket_name
from apm_s3._plans import PlanDocument
from apm_s3._s3.buckets.contents import BucketEmptying
from apm_s3._s3.buckets.reads import BucketReads, CachedBuckets
from apm_s3._s3.buckets.requests import BucketRef, BucketRequests, outcome_unknown
from apm_s3._s3.buckets.settings import BucketSettings, check_mfa, without_transitions
from apm_s3._s3.engine import TRANSITIONS, Engine
from apm_s3._tasks import shielded
from apm_s3.errors import (
    AccessDenied,
    ApmS3Error,
    BucketAlreadyOwned,
    BucketNotFound,
    InvalidOption,
    NotFound,
    PreconditionFailed,
    RequestRejected,
    S3Error,
    UnsupportedByServer,
    WrongRegion,
)
from apm_s3.events import expecting
from apm_s3.models import BucketPlan, SettingChange
from apm_s3.options._bucket_settings import BucketSetting, Encryption, Policy, PublicAccessBlock, Versioning
from apm_s3.options._buckets import STORE_TAG, BucketOptions, Lifecycle

Unsupported = Literal["refuse", "warn"]

_TRIED = (Encryption, PublicAccessBlock, Policy, Versioning)
"""Settings with which some servers refuse uploads, or ignore their conditions: Ceph's gateway with the second, for
example. moto ignores the conditions of policies, and so denies everything that they deny under some."""

_OF_UPLOADS = ("aws:SecureTransport", "s3:x-amz-server-side-encryption")
"""Conditions of policies that the uploads of a store never meet, on a server that evaluates them."""

_WITHDRAW_SECONDS = 30.0
"""Maximum time that a cancelled caller waits for the removal of the bucket."""

_WRITES = 4
"""How often a setting is written at most to an S3-compatible server that does not show it afterwards."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.4
"""Seconds between those writes: other processes finish theirs meanwhile."""


class BucketPlans:
    """Creates buckets and applies options. Calls of one manager for the same bucket wait for each other."""

    def __init__(self, requests: BucketRequests, settings: BucketSettings) -> None:
        self._requests = requests
        self._settings = settings
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._tried: dict[str, str] = {}

    async def create(
        self,
        ref: BucketRef,
        options: BucketOptions | None,
        *,
        mfa: str | None,
        unsupported: Unsupported,
    ) -> BucketPlan:
        """Create the bucket with all `options`, or leave no bucket behind.

        Raises:
            BucketAlreadyOwned: it exists.
        """
        options = options or BucketOptions()
        _check(ref, options, unsupported)
        _check_mfa(_plan_of_new(ref, options), mfa)
        async with self._lock(ref.name):
            if await self._requests.head(ref) is not None:
                raise BucketAlreadyOwned(
                    f"bucket '{ref.name}' already exists",
                    operation=ref.operation,
                    bucket=ref.name,
                    hint=Advice.ENSURE_BUCKET(),
                )
            return await self._make(ref, options, mfa, unsupported)

    async def plan(self, ref: BucketRef, options: BucketOptions | None) -> BucketPlan:
        """Return what `ensure` would do, without changing anything."""
        options = options or BucketOptions()
        _check(ref, options)
        head = await self._requests.head(ref)
        if head is None:
            return _plan_of_new(ref, options)
        _check_region(ref, head.get("BucketRegion"))
        ref = ref._replace(seen=True)
        lost: tuple[str, ...] = ()
        if options.lifecycle and self._requests.capabilities.lacks(TRANSITIONS):
            rest = without_transitions(options.lifecycle)
            lost = (TRANSITIONS,) if rest != options.lifecycle else ()
            options = replace(options, lifecycle=rest)
        wanted = options.settings()
        current, missing = await self._settings.read_many(ref, [type(setting) for setting in wanted])
        changes = tuple(
            SettingChange(current[type(setting)], setting)
            for setting in wanted
            if type(setting) in current and not setting.matches(current[type(setting)])
        )
        return BucketPlan(ref.name, create=False, changes=changes, unsupported=missing + lost)

    async def ensure(
        self,
        ref: BucketRef,
        options: BucketOptions | None,
        *,
        mfa: str | None,
        unsupported: Unsupported,
        agreed: BucketPlan | PlanDocument | None = None,
    ) -> BucketPlan:
        """Create the bucket, or change what differs, and return the plan that was carried out.

        Raises:
            PlanOutdated: the plan differs from `agreed`.
        """
        options = options or BucketOptions()
        document = None if agreed is None else BucketPlan.from_dict(agreed.to_dict())
        _check(ref, options, unsupported)
        async with self._lock(ref.name):
            try:
                return await self._ensure(ref, options, mfa, unsupported, document)
            except BucketNotFound:
                # The process that made it may have failed, and removed it again.
                return await self._ensure(ref, options, mfa, unsupported, document)

    async def _ensure(
        self,
        ref: BucketRef,
        options: BucketOptions,
        mfa: str | None,
        unsupported: Unsupported,
        agreed: PlanDocument | None,
    ) -> BucketPlan:
        plan = await self.plan(ref, options)
        _check_agreed(agreed, plan)
        _check_mfa(plan, mfa)
        if plan.create:
            try:
                return await self._make(ref, options, mfa, unsupported)
            except BucketAlreadyOwned:
                # Another process created it meanwhile.
                plan = await self.plan(ref, options)
                _check_agreed(agreed, plan)
        plan = await self._with_writes(ref, options, plan)
        if plan.unsupported and unsupported == "refuse":
            raise _lacking(ref, plan.unsupported)
        return await self._apply(ref._replace(seen=True), plan, mfa, unsupported)

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    async def _make(
        self, ref: BucketRef, options: BucketOptions, mfa: str | None, unsupported: Unsupported
    ) -> BucketPlan:
        """Create a bucket that did not exist just now; on any failure, remove it again."""
        plan = await self._with_writes(ref, options, _plan_of_new(ref, options))
        if plan.unsupported and unsupported == "refuse":
            raise _lacking(ref, plan.unsupported)
        # Shielded, because a cancellation would leave it unknown whether there is a bucket to remove.
        await shielded(
            self._send_creation(ref, options),
            on_cancel=lambda _: self._withdraw(ref),
            timeout=_WITHDRAW_SECONDS,
        )
        try:
            return await self._apply(ref._replace(seen=True), plan, mfa, unsupported)
        except BaseException as error:
            await self._withdraw(ref, error)
            raise

    async def _send_creation(self, ref: BucketRef, options: BucketOptions) -> None:
        params = await self._creation(ref, options)
        try:
            await self._requests.create(ref, params)
        except BaseException as error:
            if outcome_unknown(error):
                await self._withdraw(ref, error)
            raise

    async def _creation(self, ref: BucketRef, options: BucketOptions) -> dict[str, Any]:
        params: dict[str, Any] = {}
        endpoint = await self._requests.endpoint(ref.region)
        # us-east-1 is the only region that S3 does not accept as a constraint.
        if endpoint.region != "us-east-1":
            params["CreateBucketConfiguration"] = {"LocationConstraint": endpoint.region}
        if options.object_lock is not None:
            params["ObjectLockEnabledForBucket"] = True
        return params

    async def _withdraw(self, ref: BucketRef, error: BaseException | None = None) -> None:
        """Remove the bucket that this call has created, or may have created."""
        try:
            await shielded(self._requests.delete(ref), timeout=_WITHDRAW_SECONDS)
        except NotFound:
            return
        except ApmS3Error as failure:
            LOGGER.warning("%s: the new bucket '%s' could not be removed again: %s", ref.operation, ref.name, failure)
            if isinstance(error, ApmS3Error):
                error.hint = f"bucket '{ref.name}' could not be removed ({failure.code}): remove it manually"

    async def _apply(self, ref: BucketRef, plan: BucketPlan, mfa: str | None, unsupported: Unsupported) -> BucketPlan:
        """Carry out the plan. On a new bucket, find everything that is missing; otherwise stop at the first."""
        missing = list(plan.unsupported)
        done: list[SettingChange] = []
        for stage in _stages(plan.changes):
            applied: list[SettingChange] = []
            for change in stage:
                lacks = await self._apply_one(ref, change.after, mfa, unsupported)
                if lacks is None:
                    applied.append(change)
                else:
                    missing.append(lacks)
                if missing and unsupported == "refuse" and not plan.create:
                    raise _lacking(ref, missing, [*done, *applied])
            missing += await self._not_kept(ref, [change.after for change in applied], mfa)
            if missing and unsupported == "refuse":
                # A new bucket is removed again.
                raise _lacking(ref, missing, [] if plan.create else [*done, *applied])
            done += applied
        warnings = tuple(f"the server lacks {name}, which was omitted" for name in missing)
        for warning in warnings:
            LOGGER.warning("%s: bucket '%s': %s", ref.operation, ref.name, warning)
        return replace(plan, changes=tuple(done), unsupported=tuple(missing), warnings=plan.warnings + warnings)

    async def _apply_one(
        self, ref: BucketRef, setting: BucketSetting, mfa: str | None, unsupported: Unsupported
    ) -> str | None:
        """Return the name of the missing feature for this setting, or None."""
        try:
            await self._settings.write(ref, setting, mfa=mfa)
        except UnsupportedByServer:
            if not isinstance(setting, Lifecycle) or not self._requests.capabilities.lacks(TRANSITIONS):
                return type(setting).__name__
            rest = without_transitions(setting)
            if unsupported == "warn" and rest is not None:
                await self._settings.write(ref, rest)
            return TRANSITIONS
        except ApmS3Error as error:
            error.problem = f"{type(setting).__name__} could not be set: {error.problem}"
            raise
        return None

    async def _with_writes(self, ref: BucketRef, options: BucketOptions, plan: BucketPlan) -> BucketPlan:
        """Leave settings out of the plan for a store's bucket with which this server refuses uploads, or conditions.

        They are tried in a new bucket, once, which is removed again.
        """
        wanted = [change.after for change in plan.changes if isinstance(change.after, _TRIED)]
        # MFA delete, which would need a code, is AWS's.
        wanted = [setting for setting in wanted if not (isinstance(setting, Versioning) and setting.mfa_delete)]
        for_store = options.tags is not None and STORE_TAG.items() <= options.tags.own().items()
        if not for_store or (await self._requests.endpoint(ref.region)).is_aws:
            return plan
        new = [setting for setting in wanted if repr(setting) not in self._tried]
        if new:
            try:
                await self._try(ref, new)
            except S3Error as error:
                # A store asks for conditional writes again, before its first write.
                LOGGER.warning(
                    "%s: it is not known which settings this server's uploads bear: %s", ref.operation, error
                )
        lost = {type(setting).__name__: told for setting in wanted if (told := self._tried.get(repr(setting)))}
        changes = tuple(change for change in plan.changes if change.kind not in lost)
        return replace(plan, changes=changes, unsupported=(*plan.unsupported, *lost.values()))

    async def _try(self, ref: BucketRef, settings: Iterable[BucketSetting]) -> None:
        probe = BucketRef(ref.operation, f"apm-s3-probe-{secrets.token_hex(8)}", ref.region, seen=True)
        await shielded(
            self._send_creation(probe, BucketOptions()),
            on_cancel=lambda _: self._withdraw(probe),
            timeout=_WITHDRAW_SECONDS,
        )
        try:
            for setting in settings:
                tried = _about_uploads(setting, ref.name, probe.name) if isinstance(setting, Policy) else setting
                if tried is None:
                    continue
                try:
                    with expecting(UnsupportedByServer):
                        await self._settings.write(probe, tried)
                except UnsupportedByServer:
                    continue  # as the bucket itself will show
                self._tried[repr(setting)] = lost = await self._lost_with(probe, setting)
                if lost:
                    await self._settings.remove(probe, type(setting), mfa=None)
        finally:
            await shielded(self._discard(probe), timeout=_WITHDRAW_SECONDS)

    async def _lost_with(self, probe: BucketRef, setting: BucketSetting) -> str:
        """Return what the server does not do under the setting that a store needs; empty if it does everything."""
        put: dict[str, Any] = {"Key": type(setting).__name__, "Body": b"", "IfNoneMatch": "*"}
        try:
            await self._requests.send(
                probe, "put_object", done_already=lambda error: isinstance(error, PreconditionFailed), **put
            )
        except (AccessDenied, RequestRejected) as error:
            return f"uploads with {type(setting).__name__} ({error.s3_code or error.status})"
        try:
            with expecting(PreconditionFailed):
                await self._requests.send(probe, "put_object", **put)
        except PreconditionFailed:
            return ""
        return f"conditional writes with {type(setting).__name__}"

    async def _discard(self, probe: BucketRef) -> None:
        found = await self._requests.send(probe, "list_object_versions")
        for entry in found.get("Versions", ()):
            place = {"Key": entry["Key"], "VersionId": entry["VersionId"]}
            await self._requests.send(probe, "delete_object", **place)
        await self._withdraw(probe)

    async def _not_kept(self, ref: BucketRef, settings: Iterable[BucketSetting], mfa: str | None) -> list[str]:
        """Return the kinds of settings that an S3-compatible server accepts but does not keep."""
        if (await self._requests.endpoint(ref.region)).is_aws:
            return []
        wanted = {type(setting): setting for setting in settings}
        lost = await self._lost(ref, wanted)
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        for _ in range(1, _WRITES):
            if not lost:
                break
            # Some servers store all settings of a bucket as one document: of two processes that change it at the same
            # time, one can undo what the other wrote. Only what is lost every time counts as not supported.
            await asyncio.sleep(next(backoff))
            for kind in lost:
                await self._settings.write(ref, wanted[kind], mfa=mfa)
            lost = await self._lost(ref, {kind: wanted[kind] for kind in lost})
        return [kind.__name__ for kind in lost]

    async def _lost(
        self, ref: BucketRef, wanted: Mapping[type[BucketSetting], BucketSetting]
    ) -> list[type[BucketSetting]]:
        """Return the kinds of settings that were written but do not exist."""
        current, _ = await self._settings.read_many(ref, wanted)
        # A kind that the server turns out not to know has no entry.
        return [kind for kind in wanted if current.get(kind) is None and not wanted[kind].matches(None)]


def _check(ref: BucketRef, options: BucketOptions, unsupported: Unsupported = "refuse") -> None:
    check_bucket_name(ref.name)
    options.check()
    if unsupported not in get_args(Unsupported):
        raise InvalidOption(f"unsupported={unsupported!r} is not valid", hint="use 'refuse' or 'warn'")


def _check_agreed(agreed: PlanDocument | None, plan: BucketPlan) -> None:
    if agreed is not None:
        agreed.require_same(plan.to_dict(), bucket=plan.bucket)


def _check_mfa(plan: BucketPlan, mfa: str | None) -> None:
    for change in plan.changes:
        if isinstance(change.after, Versioning):
            check_mfa(change.after, mfa)


def _check_region(ref: BucketRef, region: str | None) -> None:
    if ref.region is not None and region is not None and region != ref.region:
        raise WrongRegion(
            f"bucket '{ref.name}' already exists, in region {region} rather than {ref.region}",
            operation=ref.operation,
            bucket=ref.name,
            region=region,
            hint="a bucket cannot move: use its region, or another bucket",
        )


def _stages(changes: Iterable[SettingChange]) -> tuple[list[SettingChange], list[SettingChange]]:
    """Order the changes: the policy comes last, if nothing is missing, because it can prevent removal of the bucket."""
    rest = [change for change in changes if not isinstance(change.after, Policy)]
    return rest, [change for change in changes if isinstance(change.after, Policy)]


def _plan_of_new(ref: BucketRef, options: BucketOptions) -> BucketPlan:
    changes = tuple(SettingChange(None, setting) for setting in options.settings())
    return BucketPlan(ref.name, create=True, changes=changes)


def _about_uploads(policy: Policy, bucket: str, probe: str) -> Policy | None:
    """Return what `policy` denies to uploads by the way they are sent, for the bucket `probe`; None if nothing.

    The rest is not tried: it might deny the removal of that bucket, or deny to this caller what others may do.
    """
    text = re.sub(rf'(?<=:){re.escape(bucket)}(?=[/"])', probe, policy.text)
    statements = [
        {**each, "Action": "s3:PutObject"}
        for each in Policy(text).document["Statement"]
        if each.get("Effect") == "Deny"
        and each.get("Principal") == "*"
        and each.get("Action") in ("s3:PutObject", "s3:*")
        and all(key.startswith(_OF_UPLOADS) for keys in each.get("Condition", {"": {"": ""}}).values() for key in keys)
    ]
    return Policy.of(statements) if statements else None


def _lacking(ref: BucketRef, missing: Iterable[str], sent: Sequence[SettingChange] = ()) -> UnsupportedByServer:
    kinds = ", ".join(type(change.after).__name__ for change in sent)
    done = f"already sent to it: {kinds}" if kinds else f"bucket '{ref.name}' was not changed"
    return UnsupportedByServer(
        f"this S3-compatible server has no {', '.join(missing)} for bucket '{ref.name}'; {done}",
        operation=ref.operation,
        bucket=ref.name,
        hint=Advice.SKIP_UNSUPPORTED(),
    )


class BucketParts:
    """The parts of an open manager that only bucket methods need."""

    def __init__(self, engine: Engine) -> None:
        self.requests = BucketRequests(engine.control, engine.runner, engine.cache)
        self.settings = BucketSettings(self.requests)
        self.reads = BucketReads(self.requests, self.settings)
        self.cached = CachedBuckets(self.reads, engine.cache, engine.policies)
        self.plans = BucketPlans(self.requests, self.settings)
        self.emptying = BucketEmptying(self.settings, engine)
