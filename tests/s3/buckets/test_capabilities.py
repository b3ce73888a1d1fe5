"""Servers that lack parts of S3 are recognised before harm is done."""

from __future__ import annotations

import pytest

from apm_s3.errors import BucketNotFound, UnsupportedByServer
from apm_s3.options import (
    AccessLogging,
    BucketOptions,
    BucketSetting,
    Lifecycle,
    LifecycleRule,
    Notification,
    Notifications,
    PublicAccessBlock,
    Replication,
    ReplicationDestination,
    ReplicationRule,
    Tags,
    Transition,
    Versioning,
)
from tests.s3.buckets.conftest import FaultyControl, S3Manager, make_buckets
from tests.seams.s3 import forget_the_server
from tests.seams.transports import Clients

NOTIFICATIONS = Notifications(queues=(Notification(arn="arn:aws:sqs:us-east-1:1:q", events=("s3:ObjectCreated:*",)),))
REPLICATION = Replication(
    role="arn:aws:iam::1:role/r",
    rules=(ReplicationRule(id="a", priority=0, destination=ReplicationDestination(bucket="arn:aws:s3:::b")),),
)
MISROUTED = [NOTIFICATIONS, REPLICATION, AccessLogging(target_bucket="logs")]
LIFECYCLE = Lifecycle(
    rules=(
        LifecycleRule(id="move", transitions=(Transition(storage_class="STANDARD_IA", days=30),)),
        LifecycleRule(id="temp", prefix="temp/", expire_days=7),
    )
)


@pytest.mark.parametrize("setting", MISROUTED, ids=lambda one: type(one).__name__)
async def test_a_setting_that_a_server_mistakes_for_create_bucket_creates_no_bucket(
    weed_buckets: S3Manager, bucket_name: str, setting: BucketSetting
) -> None:
    with pytest.raises(BucketNotFound):
        await weed_buckets.set_setting(bucket_name, setting)
    with pytest.raises(BucketNotFound):
        await weed_buckets.remove_setting(bucket_name, type(setting))

    assert not await weed_buckets.bucket_exists(bucket_name)


@pytest.mark.parametrize("setting", MISROUTED, ids=lambda one: type(one).__name__)
async def test_a_setting_that_a_server_mistakes_for_create_bucket_is_never_sent(
    weed_clients: Clients, bucket_name: str, setting: BucketSetting
) -> None:
    control = FaultyControl(weed_clients)
    buckets = make_buckets(weed_clients, control)
    await buckets.create_bucket(bucket_name)

    with pytest.raises(UnsupportedByServer, match=type(setting).__name__):
        await buckets.set_setting(bucket_name, setting)

    assert not [call for call in control.calls if call.startswith("put_")]


async def test_an_unknown_server_that_mistakes_a_setting_for_create_bucket_is_recognised(
    weed_clients: Clients, bucket_name: str
) -> None:
    """The same server, were its name not known."""
    control = FaultyControl(weed_clients)
    buckets = make_buckets(weed_clients, control)
    forget_the_server(buckets)
    await buckets.create_bucket(bucket_name)

    for _ in range(2):
        with pytest.raises(UnsupportedByServer, match="Notifications"):
            await buckets.set_setting(bucket_name, NOTIFICATIONS)

    assert control.calls.count("put_bucket_notification_configuration") == 1


WANTED = BucketOptions(
    lifecycle=LIFECYCLE,
    versioning=Versioning(),
    public_access_block=PublicAccessBlock(),
    tags=Tags({"team": "apm"}),
    notifications=NOTIFICATIONS,
)


async def test_create_refuses_with_a_list_of_missing_features(weed_buckets: S3Manager, bucket_name: str) -> None:
    with pytest.raises(UnsupportedByServer) as refused:
        await weed_buckets.create_bucket(bucket_name, WANTED)

    for name in ("Lifecycle transitions", "PublicAccessBlock", "Notifications"):
        assert name in str(refused.value)
    assert not await weed_buckets.bucket_exists(bucket_name)


async def test_ensure_refuses_before_changing_anything(weed_buckets: S3Manager, bucket_name: str) -> None:
    await weed_buckets.create_bucket(bucket_name, BucketOptions(tags=Tags({"old": "tag"})))

    with pytest.raises(UnsupportedByServer, match="PublicAccessBlock"):
        await weed_buckets.ensure_bucket(bucket_name, WANTED)
    with pytest.raises(UnsupportedByServer, match="Lifecycle transitions"):
        await weed_buckets.ensure_bucket(bucket_name, BucketOptions(lifecycle=LIFECYCLE, tags=Tags({"new": "tag"})))

    settings = (await weed_buckets.get_bucket(bucket_name)).settings
    assert (settings.tags, settings.lifecycle, settings.versioning) == (Tags({"old": "tag"}), None, None)


async def test_warn_continues_without_missing_features_and_reports_them(
    weed_buckets: S3Manager, bucket_name: str
) -> None:
    plan = await weed_buckets.create_bucket(bucket_name, WANTED, unsupported="warn")

    settings = (await weed_buckets.get_bucket(bucket_name)).settings
    assert set(plan.unsupported) == {"Lifecycle transitions", "PublicAccessBlock", "Notifications"}
    assert len(plan.warnings) == 3
    assert settings.tags == WANTED.tags
    assert settings.versioning == WANTED.versioning
    assert settings.lifecycle == Lifecycle(rules=(LIFECYCLE.rules[1],))


async def test_a_second_run_with_warn_changes_nothing(weed_buckets: S3Manager, bucket_name: str) -> None:
    await weed_buckets.ensure_bucket(bucket_name, WANTED, unsupported="warn")

    again = await weed_buckets.ensure_bucket(bucket_name, WANTED, unsupported="warn")

    assert again.empty
    assert set(again.unsupported) == {"Lifecycle transitions", "PublicAccessBlock", "Notifications"}


async def test_a_setting_that_a_server_accepts_but_does_not_keep_counts_as_missing(
    control: FaultyControl, bucket_name: str
) -> None:
    call = control.call

    async def forgetful(method: str, **params: object) -> object:
        return {} if method == "put_bucket_tagging" else await call(method, **params)

    control.call = forgetful  # type: ignore[method-assign, assignment]

    with pytest.raises(UnsupportedByServer, match="Tags"):
        await make_buckets(control.clients, control).create_bucket(bucket_name, BucketOptions(tags=Tags({"a": "b"})))


async def test_a_server_that_mistakes_the_removal_of_a_setting_for_delete_bucket_deletes_nothing(
    weed_clients: Clients, bucket_name: str
) -> None:
    control = FaultyControl(weed_clients)
    buckets = make_buckets(weed_clients, control)
    forget_the_server(buckets)
    await buckets.create_bucket(bucket_name)

    await buckets.remove_setting(bucket_name, Replication)

    assert await buckets.bucket_exists(bucket_name)
