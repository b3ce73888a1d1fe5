"""create, ensure, plan, list, get, exists, delete: on each server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from unittest.mock import AsyncMock

import pytest

from apm_s3.errors import (
    AccessDenied,
    BatchError,
    BucketAlreadyOwned,
    BucketNotEmpty,
    BucketNotFound,
    InvalidBucketName,
    InvalidOption,
)
from apm_s3.options import (
    BucketOptions,
    Cors,
    CorsRule,
    Encryption,
    ObjectLock,
    Policy,
    PublicAccessBlock,
    Tags,
    Versioning,
)
from tests.s3.buckets.conftest import FaultyControl, S3Manager, make_buckets
from tests.seams.transports import BotoTransport, Clients

OPTIONS = BucketOptions(
    versioning=Versioning(),
    encryption=Encryption(),
    tags=Tags({"team": "apm"}),
    cors=Cors((CorsRule(methods=("GET",), origins=("*",)),)),
)


async def test_a_created_bucket_has_its_options(buckets: S3Manager, bucket_name: str) -> None:
    await buckets.create_bucket(bucket_name, OPTIONS)

    assert (await buckets.plan_bucket(bucket_name, OPTIONS)).empty


async def test_a_bucket_that_exists_is_not_created_again(buckets: S3Manager, bucket_name: str) -> None:
    await buckets.create_bucket(bucket_name, OPTIONS)

    with pytest.raises(BucketAlreadyOwned):
        await buckets.create_bucket(bucket_name)

    assert (await buckets.plan_bucket(bucket_name, OPTIONS)).empty


BAD_NAMES = [
    "ab", "a" * 64, "Upper", "under_score", "-lead", "trail-", "a..b", "a.-b", "192.168.5.4", "xn--abc", "sthree-x",
    "amzn-s3-demo-x", "x-s3alias", "x--ol-s3", "x.mrap", "x--x-s3", "x--table-s3", "x-an", "a/b", "", "bücket",
]  # fmt: skip


async def test_a_name_that_s3_refuses_is_refused_before_anything_is_sent(control: FaultyControl) -> None:
    buckets = make_buckets(control.clients, control)

    for call in (buckets.create_bucket, buckets.ensure_bucket, buckets.plan_bucket):
        for name in BAD_NAMES:
            with pytest.raises(InvalidBucketName):
                await call(name)

    assert control.calls == []


async def test_bucket_exists_returns_whether_a_bucket_exists(buckets: S3Manager, bucket_name: str) -> None:
    assert not await buckets.bucket_exists(bucket_name)

    await buckets.create_bucket(bucket_name)

    assert await buckets.bucket_exists(bucket_name)


async def test_a_denied_bucket_is_not_reported_as_missing(control: FaultyControl, bucket_name: str) -> None:
    control.before = lambda method, params: AccessDenied("no", status=403)

    with pytest.raises(AccessDenied):
        await make_buckets(control.clients, control).bucket_exists(bucket_name)


async def test_getting_or_deleting_a_missing_bucket_is_an_error(buckets: S3Manager, bucket_name: str) -> None:
    with pytest.raises(BucketNotFound, match=bucket_name):
        await buckets.get_bucket(bucket_name)
    with pytest.raises(BucketNotFound, match=bucket_name):
        await buckets.delete_bucket(bucket_name)
    with pytest.raises(BucketNotFound, match=bucket_name):
        await buckets.delete_bucket(bucket_name, force=True)


async def test_get_returns_every_setting_and_none_for_unconfigured_ones(
    moto_buckets: S3Manager, bucket_name: str
) -> None:
    await moto_buckets.create_bucket(bucket_name, OPTIONS)

    details = await moto_buckets.get_bucket(bucket_name)

    assert details.settings == OPTIONS
    assert details.name == bucket_name
    assert details.region == "us-east-1"
    assert details.created is not None
    assert details.unsupported == ()


async def test_get_lists_the_settings_that_the_server_does_not_support(
    weed_buckets: S3Manager, bucket_name: str
) -> None:
    await weed_buckets.create_bucket(bucket_name, OPTIONS)

    details = await weed_buckets.get_bucket(bucket_name)

    assert set(details.unsupported) == {"PublicAccessBlock", "AccessLogging", "Notifications", "Replication"}
    assert details.settings.tags == OPTIONS.tags


async def test_get_fails_if_one_setting_is_denied(control: FaultyControl, bucket_name: str) -> None:
    buckets = make_buckets(control.clients, control)
    await buckets.create_bucket(bucket_name)
    control.before = lambda method, params: AccessDenied("no") if method == "get_bucket_policy" else None

    with pytest.raises(AccessDenied):
        await buckets.get_bucket(bucket_name)


async def test_list_filters_by_prefix(buckets: S3Manager, bucket_name: str) -> None:
    await buckets.create_bucket(f"{bucket_name}-a")
    await buckets.create_bucket(f"{bucket_name}-b")

    names = [bucket.name for bucket in await buckets.list_buckets(prefix=bucket_name)]
    one = [bucket.name for bucket in await buckets.list_buckets(prefix=f"{bucket_name}-b")]

    assert names == [f"{bucket_name}-a", f"{bucket_name}-b"]
    assert one == [f"{bucket_name}-b"]


async def test_list_filters_by_region(moto_buckets: S3Manager, bucket_name: str) -> None:
    await moto_buckets.create_bucket(f"{bucket_name}-us")
    await moto_buckets.create_bucket(f"{bucket_name}-eu", region="eu-west-1")

    found = await moto_buckets.list_buckets(prefix=bucket_name, region="eu-west-1")

    assert [(bucket.name, bucket.region) for bucket in found] == [(f"{bucket_name}-eu", "eu-west-1")]


async def test_list_returns_details_on_request(buckets: S3Manager, bucket_name: str) -> None:
    await buckets.create_bucket(bucket_name, OPTIONS)

    (plain,) = await buckets.list_buckets(prefix=bucket_name)
    (detailed,) = await buckets.list_buckets(prefix=bucket_name, details=True)

    assert plain.details is None
    assert plain.created is not None
    assert detailed.details is not None
    assert detailed.details.settings.tags == OPTIONS.tags


async def test_object_lock_is_enabled_at_creation(control: FaultyControl, bucket_name: str) -> None:
    buckets, enabled = make_buckets(control.clients, control), []

    def note(method: str, params: Mapping[str, Any]) -> None:
        if method == "create_bucket":
            enabled.append(params.get("ObjectLockEnabledForBucket"))

    control.before = note
    lock = BucketOptions(versioning=Versioning(), object_lock=ObjectLock(mode="GOVERNANCE", days=1))
    await buckets.create_bucket(bucket_name, lock)

    # moto would also accept the configuration without it, S3 would not.
    assert enabled == [True]
    assert (await buckets.get_bucket(bucket_name)).settings == lock


async def test_ensure_creates_a_missing_bucket_and_a_second_run_changes_nothing(
    buckets: S3Manager, bucket_name: str
) -> None:
    first = await buckets.ensure_bucket(bucket_name, OPTIONS)
    second = await buckets.ensure_bucket(bucket_name, OPTIONS)

    assert first.create
    assert [change.kind for change in first.changes] == ["Versioning", "Encryption", "Tags", "Cors"]
    assert second.empty


async def test_ensure_changes_only_what_differs(control: FaultyControl, bucket_name: str) -> None:
    buckets = make_buckets(control.clients, control)
    await buckets.create_bucket(bucket_name, OPTIONS)
    control.calls.clear()

    wanted = BucketOptions(versioning=Versioning(), tags=Tags({"team": "other"}))
    plan = await buckets.ensure_bucket(bucket_name, wanted)

    assert [(change.before, change.after) for change in plan.changes] == [(OPTIONS.tags, wanted.tags)]
    assert [call for call in control.calls if call.startswith("put_")] == ["put_bucket_tagging"]
    assert (await buckets.get_bucket(bucket_name)).settings.cors == OPTIONS.cors


async def test_plan_changes_nothing(control: FaultyControl, bucket_name: str) -> None:
    buckets = make_buckets(control.clients, control)

    plan = await buckets.plan_bucket(bucket_name, OPTIONS)

    assert plan.create
    assert not await buckets.bucket_exists(bucket_name)
    assert not [call for call in control.calls if call.startswith(("put_", "create_", "delete_"))]


async def test_ten_concurrent_tasks_can_ensure_one_bucket(buckets: S3Manager, bucket_name: str) -> None:
    plans = await asyncio.gather(*[buckets.ensure_bucket(bucket_name, OPTIONS) for _ in range(10)])

    assert sum(plan.create for plan in plans) == 1
    assert (await buckets.plan_bucket(bucket_name, OPTIONS)).empty


async def test_ten_concurrent_managers_can_ensure_one_bucket(clients: Clients, bucket_name: str) -> None:
    each = [make_buckets(clients) for _ in range(10)]

    await asyncio.gather(*[buckets.ensure_bucket(bucket_name, OPTIONS) for buckets in each])

    assert (await each[0].plan_bucket(bucket_name, OPTIONS)).empty


@pytest.mark.parametrize("versioned", [False, True])
async def test_a_bucket_that_is_not_empty_is_not_deleted(
    versioned: bool, buckets: S3Manager, clients: Clients, bucket_name: str
) -> None:
    await buckets.create_bucket(bucket_name, BucketOptions(versioning=Versioning() if versioned else None))
    await clients.call("put_object", Bucket=bucket_name, Key="k", Body=b"x")

    with pytest.raises(BucketNotEmpty, match="'k'"):
        await buckets.delete_bucket(bucket_name)

    assert await buckets.bucket_exists(bucket_name)


async def test_without_the_permission_to_list_the_server_decides_whether_a_bucket_is_empty(
    moto_buckets: S3Manager, moto_clients: Clients, bucket_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await moto_buckets.create_bucket(bucket_name)
    await moto_clients.call("put_object", Bucket=bucket_name, Key="k", Body=b"x")
    monkeypatch.setattr(BotoTransport, "list_versions", AsyncMock(side_effect=AccessDenied("no", status=403)))

    with pytest.raises(BucketNotEmpty):
        await moto_buckets.delete_bucket(bucket_name)
    await moto_clients.call("delete_object", Bucket=bucket_name, Key="k")
    await moto_buckets.delete_bucket(bucket_name)


async def test_force_deletes_versions_markers_and_uploads(
    buckets: S3Manager, clients: Clients, bucket_name: str
) -> None:
    await buckets.create_bucket(bucket_name, BucketOptions(versioning=Versioning()))
    for number in range(7):
        await clients.call("put_object", Bucket=bucket_name, Key=f"k{number % 3}", Body=b"x")
    await clients.call("delete_object", Bucket=bucket_name, Key="k0")
    await clients.call("create_multipart_upload", Bucket=bucket_name, Key="big")
    told = []

    report = await buckets.delete_bucket(bucket_name, force=True, on_progress=told.append)

    assert (report.versions, report.markers, report.uploads) == (7, 1, 1)
    assert told[-1] == report
    assert not await buckets.bucket_exists(bucket_name)


async def test_a_failing_callback_does_not_stop_the_deletion(
    moto_buckets: S3Manager, moto_clients: Clients, bucket_name: str
) -> None:
    await moto_buckets.create_bucket(bucket_name)
    await moto_clients.call("put_object", Bucket=bucket_name, Key="k", Body=b"x")

    await moto_buckets.delete_bucket(bucket_name, force=True, on_progress=lambda report: 1 / 0)

    assert not await moto_buckets.bucket_exists(bucket_name)


@pytest.mark.parametrize("tag", [{"apm:environment": "production"}, {"Environment": "Prod"}])
async def test_a_production_bucket_is_emptied_only_if_its_name_confirms_it(
    buckets: S3Manager, clients: Clients, bucket_name: str, tag: dict[str, str]
) -> None:
    await buckets.create_bucket(bucket_name, BucketOptions(tags=Tags(tag)))
    await clients.call("put_object", Bucket=bucket_name, Key="k", Body=b"x")

    with pytest.raises(InvalidOption, match="production"):
        await buckets.delete_bucket(bucket_name, force=True)
    with pytest.raises(InvalidOption, match="production"):
        await buckets.delete_bucket(bucket_name, force=True, confirm="other")
    await clients.call("head_object", Bucket=bucket_name, Key="k")

    assert (await buckets.delete_bucket(bucket_name, force=True, confirm=bucket_name)).versions == 1


async def test_locked_versions_are_reported_and_the_rest_is_deleted(
    weed_buckets: S3Manager, weed_clients: Clients, bucket_name: str
) -> None:
    lock = ObjectLock(mode="GOVERNANCE", days=1)
    await weed_buckets.create_bucket(bucket_name, BucketOptions(versioning=Versioning(), object_lock=lock))
    await weed_clients.call("put_object", Bucket=bucket_name, Key="locked", Body=b"x")
    await weed_clients.call("delete_object", Bucket=bucket_name, Key="locked")

    with pytest.raises(BatchError) as failed:
        await weed_buckets.delete_bucket(bucket_name, force=True)

    assert [error.key for error in failed.value.failures.values()] == ["locked"]
    report = await weed_buckets.delete_bucket(bucket_name, force=True, bypass_governance=True)
    assert report.versions == 1
    assert not await weed_buckets.bucket_exists(bucket_name)


async def test_a_policy_and_the_public_access_block_are_set_together(moto_buckets: S3Manager, bucket_name: str) -> None:
    policy = Policy.of(
        [{"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket_name}/*"}]
    )
    wanted = BucketOptions(public_access_block=PublicAccessBlock(), policy=policy)
    await moto_buckets.create_bucket(bucket_name, wanted)

    assert (await moto_buckets.get_bucket(bucket_name)).settings == wanted
