"""Every setting set, read back equal, and removed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from apm_s3.errors import (
    AccessDenied,
    BucketNotFound,
    InvalidOption,
    Throttled,
    UnsupportedByServer,
)
from apm_s3.options import (
    AccessLogging,
    BucketOptions,
    BucketSetting,
    Cors,
    CorsRule,
    Encryption,
    Lifecycle,
    LifecycleRule,
    NoncurrentTransition,
    Notification,
    Notifications,
    ObjectLock,
    OwnershipControls,
    Policy,
    PublicAccessBlock,
    Replication,
    ReplicationDestination,
    ReplicationRule,
    Tags,
    Transition,
    Versioning,
)
from tests.s3.buckets.conftest import FaultyControl, S3Manager, make_buckets
from tests.seams.transports import Clients
from tests.seams.wire import SETTINGS


def policy(bucket: str) -> Policy:
    return Policy.of(
        [
            {
                "Sid": "a",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:PutObject",
                "Resource": f"arn:aws:s3:::{bucket}/x",
            }
        ]
    )


TRANSITIONS = Lifecycle(
    rules=(
        LifecycleRule(
            id="move",
            prefix="logs/",
            tags={"a": "b", "c": "d"},
            transitions=(
                Transition(storage_class="STANDARD_IA", days=30),
                Transition(storage_class="GLACIER", days=60),
            ),
            noncurrent_transitions=(NoncurrentTransition(storage_class="GLACIER", days=10),),
            expire_days=365,
        ),
    )
)
EXPIRY = Lifecycle(
    rules=(
        LifecycleRule(id="all", abort_uploads_days=1),
        LifecycleRule(id="temp", prefix="temp/", expire_days=7, noncurrent_days=1),
        LifecycleRule(id="off", prefix="old/", expire_days=7, enabled=False),
        LifecycleRule(id="tagged", tags={"a": "b"}, expire_days=3),
    )
)
SAMPLES: list[Callable[[str], BucketSetting]] = [
    lambda _: Versioning(),
    lambda _: Encryption(),
    lambda _: Encryption(algorithm="aws:kms", kms_key_id="1234abcd-12ab-34cd-56ef-1234567890ab", bucket_key=True),
    lambda _: PublicAccessBlock(),
    lambda _: PublicAccessBlock(block_public_policy=False, restrict_public_buckets=False),
    lambda _: OwnershipControls(object_ownership="BucketOwnerPreferred"),
    policy,
    lambda _: TRANSITIONS,
    lambda _: EXPIRY,
    lambda _: Tags({"apm:environment": "staging", "team": "apm"}),
    lambda bucket: AccessLogging(target_bucket=f"{bucket}-logs", target_prefix="access/"),
    lambda _: Cors((CorsRule(methods=("GET", "PUT"), origins=("https://a",), headers=("*",), max_age=30),)),
    lambda _: Notifications(
        queues=(
            Notification(
                arn="arn:aws:sqs:us-east-1:123456789012:events",
                events=("s3:ObjectCreated:*",),
                prefix="configs/",
                suffix=".yml",
                id="new",
            ),
        ),
    ),
]
NOT_ON_SEAWEEDFS = (PublicAccessBlock, AccessLogging, Notifications, Replication)


def kind_of(sample: Callable[[str], BucketSetting]) -> str:
    return type(sample("b")).__name__


async def prepare(clients: Clients, bucket: str, setting: BucketSetting) -> None:
    """What moto requires before it accepts `setting`."""
    await clients.call("create_bucket", Bucket=bucket)
    if isinstance(setting, AccessLogging):
        await clients.call("create_bucket", Bucket=setting.target_bucket)
        grant = {"Grantee": {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/s3/LogDelivery"}}
        grants = [grant | {"Permission": permission} for permission in ("WRITE", "READ_ACP")]
        await clients.call(
            "put_bucket_acl",
            Bucket=setting.target_bucket,
            AccessControlPolicy={"Grants": grants, "Owner": {"ID": "o"}},
        )


async def set_read_remove(buckets: S3Manager, bucket: str, setting: BucketSetting) -> None:
    kind = type(setting)
    await buckets.set_setting(bucket, setting)
    assert await buckets.get_setting(bucket, kind) == setting

    await buckets.remove_setting(bucket, kind)
    left = await buckets.get_setting(bucket, kind)
    # Versioning is only suspended, and SeaweedFS names its default ownership as if it were configured.
    assert left in (None, Versioning(enabled=False), OwnershipControls())
    await buckets.remove_setting(bucket, kind)


@pytest.mark.parametrize("sample", SAMPLES, ids=kind_of)
async def test_a_setting_is_set_read_back_and_removed_on_moto(
    moto_buckets: S3Manager, moto_clients: Clients, bucket_name: str, sample: Callable[[str], BucketSetting]
) -> None:
    setting = sample(bucket_name)
    await prepare(moto_clients, bucket_name, setting)

    assert await moto_buckets.get_setting(bucket_name, type(setting)) is None
    await set_read_remove(moto_buckets, bucket_name, setting)


@pytest.mark.parametrize(
    "sample",
    [sample for sample in SAMPLES if not isinstance(sample("b"), NOT_ON_SEAWEEDFS) and sample("b") is not TRANSITIONS],
    ids=kind_of,
)
async def test_a_setting_is_set_read_back_and_removed_on_seaweedfs(
    weed_buckets: S3Manager, weed_clients: Clients, bucket_name: str, sample: Callable[[str], BucketSetting]
) -> None:
    setting = sample(bucket_name)
    await weed_clients.call("create_bucket", Bucket=bucket_name)

    await set_read_remove(weed_buckets, bucket_name, setting)


async def test_replication_can_be_set_read_back_and_removed(moto_buckets: S3Manager, bucket_name: str) -> None:
    versioned = BucketOptions(versioning=Versioning())
    await moto_buckets.create_bucket(bucket_name, versioned)
    await moto_buckets.create_bucket(f"{bucket_name}-b", versioned)
    destination = ReplicationDestination(bucket=f"arn:aws:s3:::{bucket_name}-b", storage_class="STANDARD_IA")
    # moto keeps neither filters nor the setting for delete markers.
    rule = ReplicationRule(id="all", destination=destination, priority=1)

    await set_read_remove(
        moto_buckets, bucket_name, Replication(role="arn:aws:iam::123456789012:role/r", rules=(rule,))
    )


async def test_removing_object_lock_removes_its_default_retention(buckets: S3Manager, bucket_name: str) -> None:
    await buckets.create_bucket(bucket_name, BucketOptions(versioning=Versioning(), object_lock=ObjectLock()))
    lock = ObjectLock(mode="GOVERNANCE", days=3)

    await buckets.set_setting(bucket_name, lock)
    assert await buckets.get_setting(bucket_name, ObjectLock) == lock
    await buckets.remove_setting(bucket_name, ObjectLock)

    assert await buckets.get_setting(bucket_name, ObjectLock) in (ObjectLock(), None)


async def test_removing_versioning_that_was_never_enabled_does_not_suspend_it(
    buckets: S3Manager, bucket_name: str
) -> None:
    await buckets.create_bucket(bucket_name)

    await buckets.remove_setting(bucket_name, Versioning)

    assert await buckets.get_setting(bucket_name, Versioning) is None


@pytest.mark.parametrize("error", [AccessDenied("no"), Throttled("slow"), UnsupportedByServer("none")])
async def test_a_denied_throttled_or_unsupported_setting_is_never_reported_as_not_configured(
    control: FaultyControl, bucket_name: str, error: Exception
) -> None:
    control.before = lambda method, params: error

    for kind in SETTINGS:
        with pytest.raises(type(error)):
            await make_buckets(control.clients, control).get_setting(bucket_name, kind)


async def test_a_missing_bucket_is_not_reported_as_not_configured(moto_buckets: S3Manager, bucket_name: str) -> None:
    for kind in SETTINGS:
        with pytest.raises(BucketNotFound, match=bucket_name):
            await moto_buckets.get_setting(bucket_name, kind)


async def test_mfa_delete_is_sent_with_its_code(control: FaultyControl, bucket_name: str) -> None:
    buckets = make_buckets(control.clients, control)
    await buckets.create_bucket(bucket_name)
    seen: list[object] = []

    def note(method: str, params: object) -> None:
        if method == "put_bucket_versioning":
            seen.append((params["MFA"], params["VersioningConfiguration"]))  # type: ignore[index]

    control.before = note
    with pytest.raises(InvalidOption, match="MFA"):
        await buckets.set_setting(bucket_name, Versioning(mfa_delete=True))
    await buckets.set_setting(bucket_name, Versioning(mfa_delete=True), mfa="serial 123456")
    await buckets.set_setting(bucket_name, Versioning(), mfa="serial 654321")

    assert seen == [
        ("serial 123456", {"Status": "Enabled", "MFADelete": "Enabled"}),
        ("serial 654321", {"Status": "Enabled", "MFADelete": "Disabled"}),
    ]


async def test_an_unknown_kind_of_setting_is_refused(moto_buckets: S3Manager) -> None:
    for kind in (str, BucketSetting):
        with pytest.raises(InvalidOption, match="not a kind of bucket setting"):
            await moto_buckets.get_setting("some-bucket", kind)  # type: ignore[type-var]
