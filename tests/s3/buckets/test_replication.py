"""Replication is set up and read back; archived objects are restored."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apm_s3 import apm_bucket_options
from apm_s3.errors import (
    AccessDenied,
    BucketNotFound,
    InvalidOption,
    ObjectArchived,
    ObjectNotFound,
    S3Error,
)
from apm_s3.options import BucketOptions, Encryption, Replication, Versioning
from tests.s3.buckets.conftest import FaultyControl, S3Manager, make_buckets
from tests.seams.s3 import permissions_policy, trust_policy
from tests.seams.transports import Clients

ROLE = "arn:aws:iam::123456789012:role/replicator"
VERSIONED = BucketOptions(versioning=Versioning())


async def test_replication_into_an_existing_bucket_is_set_up(moto_buckets: S3Manager, bucket_name: str) -> None:
    await moto_buckets.create_bucket(bucket_name, VERSIONED)
    await moto_buckets.create_bucket(f"{bucket_name}-b", VERSIONED, region="eu-west-1")

    setup = await moto_buckets.setup_replication(bucket_name, f"{bucket_name}-b", role=ROLE, storage_class="GLACIER_IR")

    found = await moto_buckets.get_setting(bucket_name, Replication)
    assert (setup.applied, setup.created_target) == (True, False)
    assert found is not None
    assert found.role == ROLE
    assert found.rules[0].destination.bucket == f"arn:aws:s3:::{bucket_name}-b"
    assert found.rules[0].destination.storage_class == "GLACIER_IR"
    assert setup.replication.rules[0].delete_markers


async def test_without_a_role_nothing_changes_and_the_needed_role_is_described(
    moto_buckets: S3Manager, bucket_name: str
) -> None:
    await moto_buckets.create_bucket(bucket_name, VERSIONED)

    setup = await moto_buckets.setup_replication(bucket_name, f"{bucket_name}-b", create_target=True)

    assert not setup.applied
    assert not await moto_buckets.bucket_exists(f"{bucket_name}-b")
    assert await moto_buckets.get_setting(bucket_name, Replication) is None
    assert "s3:ReplicateObject" in str(setup)
    assert "sts:AssumeRole" in str(setup)


async def test_the_target_is_created_with_the_protections_of_the_source(
    trusted_buckets: S3Manager, bucket_name: str
) -> None:
    target = f"{bucket_name}-b"
    await trusted_buckets.create_bucket(bucket_name, apm_bucket_options(bucket_name, "production", "all", "configs"))

    setup = await trusted_buckets.setup_replication(
        bucket_name, target, role=ROLE, create_target=True, target_region="eu-west-1"
    )

    copy = await trusted_buckets.get_bucket(target)
    assert setup.created_target
    assert copy.region == "eu-west-1"
    assert copy.settings == apm_bucket_options(target, "production", "all", "configs")


async def test_the_targets_encryption_uses_the_key_of_its_region(moto_buckets: S3Manager, bucket_name: str) -> None:
    encryption = Encryption(algorithm="aws:kms", kms_key_id="arn:aws:kms:us-east-1:1:key/here", bucket_key=True)
    await moto_buckets.create_bucket(bucket_name, BucketOptions(versioning=Versioning(), encryption=encryption))
    there = "arn:aws:kms:eu-west-1:1:key/there"

    setup = await moto_buckets.setup_replication(
        bucket_name, f"{bucket_name}-b", role=ROLE, create_target=True, target_region="eu-west-1", kms_key_id=there
    )

    copy = (await moto_buckets.get_bucket(f"{bucket_name}-b")).settings.encryption
    assert copy == Encryption(algorithm="aws:kms", kms_key_id=there, bucket_key=True)
    assert setup.replication.rules[0].kms_objects
    actions = {
        statement["Resource"]: statement["Action"] for statement in json.loads(setup.permissions_policy)["Statement"]
    }
    assert actions[there] == "kms:Encrypt"
    assert actions["arn:aws:kms:us-east-1:1:key/here"] == "kms:Decrypt"


async def test_objects_that_will_not_be_replicated_cause_a_warning(moto_buckets: S3Manager, bucket_name: str) -> None:
    encryption = Encryption(algorithm="aws:kms", kms_key_id="arn:aws:kms:us-east-1:1:key/here")
    await moto_buckets.create_bucket(bucket_name, BucketOptions(versioning=Versioning(), encryption=encryption))

    setup = await moto_buckets.setup_replication(bucket_name, f"{bucket_name}-b", create_target=True)

    assert "KMS" in setup.warnings[0]


async def test_replication_requires_versioning_on_both_sides(moto_buckets: S3Manager, bucket_name: str) -> None:
    plain, versioned = f"{bucket_name}-a", f"{bucket_name}-b"
    await moto_buckets.create_bucket(plain)
    await moto_buckets.create_bucket(versioned, VERSIONED)

    for source, target in ((plain, versioned), (versioned, plain)):
        with pytest.raises(InvalidOption, match=f"'{plain}' has no versioning"):
            await moto_buckets.setup_replication(source, target, role=ROLE)


async def test_a_missing_target_and_the_source_as_target_are_refused(moto_buckets: S3Manager, bucket_name: str) -> None:
    await moto_buckets.create_bucket(bucket_name, VERSIONED)

    with pytest.raises(BucketNotFound, match="create_target"):
        await moto_buckets.setup_replication(bucket_name, f"{bucket_name}-b", role=ROLE)
    with pytest.raises(InvalidOption, match="itself"):
        await moto_buckets.setup_replication(bucket_name, bucket_name, role=ROLE)


async def test_rules_for_other_targets_are_kept(moto_buckets: S3Manager, bucket_name: str) -> None:
    for suffix in ("", "-b", "-c"):
        await moto_buckets.create_bucket(f"{bucket_name}{suffix}", VERSIONED)
    await moto_buckets.setup_replication(bucket_name, f"{bucket_name}-b", role=ROLE, prefixes=("configs/", "live/"))

    again = await moto_buckets.setup_replication(bucket_name, f"{bucket_name}-c", role=ROLE)
    twice = await moto_buckets.setup_replication(bucket_name, f"{bucket_name}-c", role=ROLE)

    names = [rule.destination.bucket.rpartition("-")[2] for rule in twice.replication.rules]
    assert names == ["b", "b", "c"]
    assert [rule.priority for rule in twice.replication.rules] == [1, 2, 3]
    assert again.replication.matches(twice.replication)
    with pytest.raises(InvalidOption, match="role"):
        await moto_buckets.setup_replication(bucket_name, f"{bucket_name}-b", role=ROLE + "2")


def test_the_role_may_only_read_the_source_and_write_the_target() -> None:
    statements = json.loads(permissions_policy("arn:aws:s3:::a", "arn:aws:s3:::b"))["Statement"]

    assert [statement["Resource"] for statement in statements] == [
        "arn:aws:s3:::a",
        "arn:aws:s3:::a/*",
        "arn:aws:s3:::b/*",
    ]
    assert not any("*" in action for statement in statements for action in statement["Action"])
    assert json.loads(trust_policy())["Statement"][0]["Principal"] == {"Service": "s3.amazonaws.com"}


@pytest.mark.parametrize(
    ("response", "status"),
    [
        ("PENDING", "PENDING"),
        ("COMPLETED", "COMPLETED"),
        ("COMPLETE", "COMPLETED"),
        ("REPLICA", "REPLICA"),
        (None, None),
    ],
)
async def test_the_replication_status_of_an_object_is_read(
    control: FaultyControl, bucket_name: str, response: str | None, status: str | None
) -> None:
    async def call(method: str, **params: Any) -> dict[str, Any]:
        assert (method, params["Bucket"], params["Key"]) == ("head_object", bucket_name, "k")
        return {} if response is None else {"ReplicationStatus": response}

    control.call = call  # type: ignore[method-assign, assignment]

    assert await make_buckets(control.clients, control).replication_status(bucket_name, "k") == status


async def test_the_replication_status_of_a_missing_object_is_an_error(buckets: S3Manager, bucket_name: str) -> None:
    with pytest.raises(BucketNotFound):
        await buckets.replication_status(bucket_name, "k")
    await buckets.create_bucket(bucket_name)
    with pytest.raises(ObjectNotFound):
        await buckets.replication_status(bucket_name, "k")


# --------------------------------------------------------------------------------------------------------------
# Archives


async def test_an_archived_object_can_be_restored_and_read(
    moto_buckets: S3Manager, moto_clients: Clients, bucket_name: str
) -> None:
    await moto_buckets.create_bucket(bucket_name)
    await moto_clients.call("put_object", Bucket=bucket_name, Key="k", Body=b"x", StorageClass="GLACIER")
    with pytest.raises(ObjectArchived, match="restore_archived"):
        await moto_clients.call("get_object", Bucket=bucket_name, Key="k")

    assert await moto_buckets.restore_archived(bucket_name, "k", days=2)

    response = await moto_clients.call("get_object", Bucket=bucket_name, Key="k")
    assert await response["Body"].read() == b"x"


async def test_a_restore_in_progress_is_not_an_error(control: FaultyControl, bucket_name: str) -> None:
    control.before = lambda method, params: S3Error("busy", status=409, s3_code="RestoreAlreadyInProgress")

    assert not await make_buckets(control.clients, control).restore_archived(bucket_name, "k")


async def test_an_object_outside_archive_classes_needs_no_restore(
    moto_buckets: S3Manager, moto_clients: Clients, bucket_name: str
) -> None:
    await moto_buckets.create_bucket(bucket_name)
    await moto_clients.call("put_object", Bucket=bucket_name, Key="k", Body=b"x")

    with pytest.raises(InvalidOption, match="not in an archive class"):
        await moto_buckets.restore_archived(bucket_name, "k")


async def test_a_restore_of_a_missing_object_or_for_zero_days_is_refused(
    moto_buckets: S3Manager, bucket_name: str
) -> None:
    await moto_buckets.create_bucket(bucket_name)

    with pytest.raises(ObjectNotFound):
        await moto_buckets.restore_archived(bucket_name, "k")
    with pytest.raises(InvalidOption, match="days is 0"):
        await moto_buckets.restore_archived(bucket_name, "k", days=0)


async def test_a_denied_restore_is_reported_as_denied(control: FaultyControl, bucket_name: str) -> None:
    control.before = lambda method, params: AccessDenied("no", status=403)

    with pytest.raises(AccessDenied):
        await make_buckets(control.clients, control).restore_archived(bucket_name, "k")
