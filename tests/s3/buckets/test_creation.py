"""create_bucket is all or nothing, whatever fails, and whenever."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from apm_s3.errors import (
    AccessDenied,
    BucketAlreadyExists,
    BucketAlreadyOwned,
    BucketNotFound,
    ConnectionLost,
    InvalidOption,
    UnsupportedByServer,
    WrongRegion,
)
from apm_s3.options import (
    BucketOptions,
    Cors,
    CorsRule,
    Encryption,
    Lifecycle,
    LifecycleRule,
    ObjectLock,
    OwnershipControls,
    Policy,
    PublicAccessBlock,
    Tags,
    Versioning,
)
from tests.s3.buckets.conftest import FaultyControl, make_buckets

CALLS = [
    "head_bucket",
    "create_bucket",
    "put_bucket_lifecycle_configuration",
    "put_bucket_versioning",
    "put_bucket_encryption",
    "put_bucket_ownership_controls",
    "put_public_access_block",
    "put_bucket_tagging",
    "put_bucket_cors",
    "get_bucket_lifecycle_configuration",
    "get_bucket_versioning",
    "get_bucket_encryption",
    "get_bucket_ownership_controls",
    "get_public_access_block",
    "get_bucket_tagging",
    "get_bucket_cors",
    "put_bucket_policy",
    "get_bucket_policy",
]
ONE_OF_EACH = ["create_bucket", "put_bucket_lifecycle_configuration", "put_bucket_policy", "get_bucket_policy"]
SETTING_OF = {
    "put_bucket_lifecycle_configuration": "Lifecycle",
    "put_bucket_policy": "Policy",
    "put_bucket_tagging": "Tags",
    "put_public_access_block": "PublicAccessBlock",
}


def everything(bucket: str) -> BucketOptions:
    statement = {
        "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/x",
    }  # fmt: skip
    return BucketOptions(
        lifecycle=Lifecycle(rules=(LifecycleRule(id="temp", prefix="temp/", expire_days=7),)),
        versioning=Versioning(),
        encryption=Encryption(),
        ownership=OwnershipControls(),
        public_access_block=PublicAccessBlock(),
        tags=Tags({"team": "apm"}),
        cors=Cors((CorsRule(methods=("GET",), origins=("*",)),)),
        policy=Policy.of([statement]),
    )


def failing(method: str, error: BaseException) -> Any:
    return lambda called, params: error if called == method else None


async def test_the_list_has_every_call_that_create_bucket_makes(control: FaultyControl, bucket_name: str) -> None:
    await make_buckets(control.clients, control).create_bucket(bucket_name, everything(bucket_name))

    assert sorted(control.calls) == sorted(CALLS)


ERRORS = [AccessDenied("no", status=403), ConnectionLost("broken")]


@pytest.mark.parametrize("method", CALLS)
async def test_a_failed_creation_leaves_no_bucket(control: FaultyControl, bucket_name: str, method: str) -> None:
    # A HEAD that is refused is asked again as a GET, which can say why.
    calls = (method, "get_bucket_location") if method == "head_bucket" else (method,)
    for error in ERRORS:
        for moment in ("before", "after"):
            if moment == "after" and (method == "head_bucket" or not error.retryable):
                continue  # S3 does not refuse what it has done, and the HEAD of an absent bucket gives no answer.
            setattr(control, moment, lambda called, params, error=error: error if called in calls else None)

            with pytest.raises(type(error)) as failed:
                await make_buckets(control.clients, control).create_bucket(bucket_name, everything(bucket_name))
            control.before = control.after = lambda called, params: None

            assert not await make_buckets(control.clients).bucket_exists(bucket_name), (error, moment)
            assert failed.value.operation == "create_bucket"
            assert SETTING_OF.get(method, "") in str(failed.value)


@pytest.mark.parametrize("method", ONE_OF_EACH)
async def test_a_transient_failure_does_not_fail_the_creation(
    control: FaultyControl, bucket_name: str, method: str
) -> None:
    failed: list[str] = []

    def once(called: str, params: Mapping[str, Any]) -> BaseException | None:
        if called != method or failed:
            return None
        failed.append(called)
        return ConnectionLost("broken")

    control.after = once
    buckets = make_buckets(control.clients, control)

    await buckets.create_bucket(bucket_name, everything(bucket_name))

    assert failed
    assert (await buckets.plan_bucket(bucket_name, everything(bucket_name))).empty


async def test_a_repeated_creation_continues_if_it_finds_its_own_bucket(
    control: FaultyControl, bucket_name: str
) -> None:
    """Outside us-east-1, S3 answers the second send of CreateBucket with BucketAlreadyOwnedByYou."""
    sent: list[str] = []

    def second_time(called: str, params: Mapping[str, Any]) -> BaseException | None:
        if called == "create_bucket":
            sent.append(called)
            if len(sent) == 2:
                return BucketAlreadyOwned("yours", status=409)
        return None

    control.before = second_time
    control.after = lambda called, params: (
        ConnectionLost("broken") if called == "create_bucket" and len(sent) == 1 else None
    )
    buckets = make_buckets(control.clients, control)

    await buckets.create_bucket(bucket_name, everything(bucket_name))

    assert (await buckets.plan_bucket(bucket_name, everything(bucket_name))).empty


@pytest.mark.parametrize("method", ["head_bucket", *ONE_OF_EACH, "delete_bucket"])
async def test_a_cancelled_creation_leaves_no_bucket(control: FaultyControl, bucket_name: str, method: str) -> None:
    reached = asyncio.Event()
    release = asyncio.Event()
    call = control.call

    async def held(called: str, **params: Any) -> Mapping[str, Any]:
        if called == method and not reached.is_set():
            reached.set()
            await release.wait()
        return await call(called, **params)

    control.call = held  # type: ignore[method-assign]
    if method == "delete_bucket":
        control.before = failing("put_bucket_cors", AccessDenied("no"))
    task = asyncio.create_task(
        make_buckets(control.clients, control).create_bucket(bucket_name, everything(bucket_name))
    )
    await reached.wait()
    task.cancel()
    await asyncio.sleep(0)
    release.set()

    with pytest.raises(asyncio.CancelledError):
        await task

    assert not await make_buckets(control.clients).bucket_exists(bucket_name)


async def test_an_existing_bucket_is_left_unchanged(control: FaultyControl, bucket_name: str) -> None:
    """us-east-1 answers 200 to the CreateBucket of a bucket that is yours already."""
    buckets = make_buckets(control.clients, control)
    await buckets.create_bucket(bucket_name, BucketOptions(tags=Tags({"mine": "yes"})))
    control.before = failing("put_bucket_versioning", AccessDenied("no"))

    with pytest.raises(BucketAlreadyOwned, match="ensure_bucket"):
        await buckets.create_bucket(bucket_name, everything(bucket_name))
    with pytest.raises(AccessDenied, match="Versioning"):
        await buckets.ensure_bucket(bucket_name, BucketOptions(versioning=Versioning()))

    assert (await buckets.get_bucket(bucket_name)).settings == BucketOptions(tags=Tags({"mine": "yes"}))


async def test_a_bucket_created_by_another_process_meanwhile_is_not_removed(
    control: FaultyControl, bucket_name: str
) -> None:
    async def overtaken(called: str, **params: Any) -> Mapping[str, Any]:
        if called == "create_bucket":
            await control.clients.call(called, **params)
            raise BucketAlreadyOwned("yours", status=409, bucket=bucket_name)
        return await control.clients.call(called, **params)

    control.call = overtaken  # type: ignore[method-assign]
    buckets = make_buckets(control.clients, control)

    with pytest.raises(BucketAlreadyOwned):
        await buckets.create_bucket(bucket_name, everything(bucket_name))
    assert await buckets.bucket_exists(bucket_name)
    await buckets.ensure_bucket(bucket_name, everything(bucket_name))
    assert (await buckets.plan_bucket(bucket_name, everything(bucket_name))).empty


async def test_an_ensure_that_loses_the_race_applies_its_options_to_the_winners_bucket(
    control: FaultyControl, bucket_name: str
) -> None:
    async def overtaken(called: str, **params: Any) -> Mapping[str, Any]:
        if called == "create_bucket":
            await control.clients.call(called, **params)
            raise BucketAlreadyOwned("yours", status=409, bucket=bucket_name)
        return await control.clients.call(called, **params)

    control.call = overtaken  # type: ignore[method-assign]
    buckets = make_buckets(control.clients, control)

    plan = await buckets.ensure_bucket(bucket_name, everything(bucket_name))

    assert not plan.create
    assert (await buckets.plan_bucket(bucket_name, everything(bucket_name))).empty


async def test_a_bucket_of_another_account_is_reported_as_such(control: FaultyControl, bucket_name: str) -> None:
    control.before = failing("create_bucket", BucketAlreadyExists("taken", status=409))

    with pytest.raises(BucketAlreadyExists):
        await make_buckets(control.clients, control).create_bucket(bucket_name)

    assert "delete_bucket" not in control.calls


async def test_a_bucket_that_cannot_be_removed_again_is_named_in_the_error(
    control: FaultyControl, bucket_name: str
) -> None:
    control.before = lambda called, params: (
        AccessDenied("no") if called in ("put_bucket_policy", "delete_bucket") else None
    )

    with pytest.raises(AccessDenied, match=f"(?s)Policy.*{bucket_name}' could not be removed"):
        await make_buckets(control.clients, control).create_bucket(bucket_name, everything(bucket_name))


@pytest.mark.parametrize(
    "options",
    [
        BucketOptions(lifecycle=Lifecycle(rules=(LifecycleRule(id="a", expire_days=0),))),
        BucketOptions(policy=Policy("{not json")),
        BucketOptions(tags=Tags({"n" * 129: "v"})),
        BucketOptions(encryption=Encryption(kms_key_id="k")),
        BucketOptions(versioning=Versioning(enabled=False), object_lock=ObjectLock()),
        BucketOptions(
            lifecycle=Lifecycle(rules=(LifecycleRule(id="a", expire_days=1),)), versioning=Versioning(mfa_delete=True)
        ),
    ],
)
async def test_options_that_s3_would_refuse_are_refused_before_anything_is_sent(
    control: FaultyControl, bucket_name: str, options: BucketOptions
) -> None:
    buckets = make_buckets(control.clients, control)

    for call in (buckets.create_bucket, buckets.ensure_bucket, buckets.plan_bucket):
        with pytest.raises(InvalidOption):
            await call(bucket_name, options)

    assert control.calls == []


async def test_the_region_of_a_new_bucket_is_sent_to_s3(control: FaultyControl, bucket_name: str) -> None:
    buckets = make_buckets(control.clients, control)

    await buckets.create_bucket(bucket_name, region="eu-central-1")

    assert (await buckets.get_bucket(bucket_name)).region == "eu-central-1"


async def test_mfa_delete_without_a_code_is_refused_before_anything_is_written(
    control: FaultyControl, bucket_name: str
) -> None:
    buckets = make_buckets(control.clients, control)

    for call in (buckets.create_bucket, buckets.ensure_bucket):
        with pytest.raises(InvalidOption, match="MFA"):
            await call(bucket_name, BucketOptions(versioning=Versioning(mfa_delete=True)))

    assert set(control.calls) == {"head_bucket"}


async def test_an_unknown_policy_for_unsupported_features_is_refused(control: FaultyControl, bucket_name: str) -> None:
    with pytest.raises(InvalidOption, match="'ignore'"):
        await make_buckets(control.clients, control).create_bucket(bucket_name, unsupported="ignore")  # type: ignore[arg-type]


async def test_a_creation_waits_until_the_new_bucket_is_visible_everywhere(
    control: FaultyControl, bucket_name: str
) -> None:
    missed: list[str] = []

    def not_yet(called: str, params: Mapping[str, Any]) -> BaseException | None:
        if called == "put_bucket_versioning" and len(missed) < 2:
            missed.append(called)
            return BucketNotFound("not yet", status=404, s3_code="NoSuchBucket")
        return None

    control.before = not_yet
    buckets = make_buckets(control.clients, control)

    await buckets.create_bucket(bucket_name, BucketOptions(versioning=Versioning()))

    assert await buckets.get_setting(bucket_name, Versioning) == Versioning()


async def test_a_bucket_in_another_region_is_not_mistaken_for_the_requested_one(
    control: FaultyControl, bucket_name: str
) -> None:
    buckets = make_buckets(control.clients, control)
    await buckets.create_bucket(bucket_name, region="eu-west-1")

    with pytest.raises(WrongRegion, match="eu-west-1 rather than us-west-2"):
        await buckets.ensure_bucket(bucket_name, region="us-west-2")


async def test_the_bucket_policy_is_set_last_as_it_could_block_the_cleanup(
    control: FaultyControl, bucket_name: str
) -> None:
    def lacking(method: str, _: Mapping[str, Any]) -> BaseException | None:
        return UnsupportedByServer("none") if method == "put_public_access_block" else None

    control.before = lacking
    buckets = make_buckets(control.clients, control)
    with pytest.raises(UnsupportedByServer, match="PublicAccessBlock"):
        await buckets.create_bucket(bucket_name, everything(bucket_name))
    assert "put_bucket_policy" not in control.calls
    assert not await buckets.bucket_exists(bucket_name)
