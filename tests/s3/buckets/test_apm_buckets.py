"""S3Manager for configurations."""

from __future__ import annotations

from typing import Any

import pytest

from apm_s3 import apm_bucket_name, apm_bucket_options
from apm_s3.errors import (
    AccessDenied,
    BucketAlreadyOwned,
    InvalidBucketName,
    InvalidKey,
    InvalidOption,
    UnsupportedByServer,
)
from apm_s3.options import (
    BucketOptions,
    Encryption,
    LifecycleRule,
    OwnershipControls,
    Policy,
    PublicAccessBlock,
    Versioning,
)
from tests.s3.buckets.conftest import FaultyControl, S3Manager, make_buckets
from tests.seams.s3 import apm_lifecycle, apm_policy
from tests.seams.transports import Clients, Endpoint

KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"
KEY_ARN = f"arn:aws:kms:us-east-1:123456789012:key/{KEY}"


def rules(**options: Any) -> dict[str, LifecycleRule]:
    purpose = options.pop("purpose", "configs")
    return {rule.id: rule for rule in apm_lifecycle(purpose, **options).rules}


def statements(policy: Policy) -> dict[str, dict[str, Any]]:
    return {statement["Sid"]: statement for statement in policy.document["Statement"]}


def moves(rule: LifecycleRule) -> list[tuple[str, int | None]]:
    return [(move.storage_class, move.days) for move in rule.transitions]


# --------------------------------------------------------------------------------------------------------------
# The lifecycle


@pytest.mark.parametrize("purpose", ["configs", "logs", "backups"])
@pytest.mark.parametrize("retention", [None, 1, 30, 100, 5000])
def test_the_lifecycle_rules_are_valid_for_s3(purpose: str, retention: int | None) -> None:
    prefixes = ("", "team-a/", "team-b/x/")
    apm_lifecycle(purpose, retention=retention, prefixes=prefixes).check()


@pytest.mark.parametrize("name", ["configs", "live"])
def test_live_configurations_are_never_transitioned_or_expired(name: str) -> None:
    rule = rules()[name]

    assert rule.prefix == f"{name}/"
    assert (rule.transitions, rule.expire_days, rule.expire_date) == ((), None, None)
    assert (rule.noncurrent_days, rule.noncurrent_keep, rule.expire_markers) == (90, None, True)


def test_no_transition_or_expiry_rule_matches_a_live_configuration() -> None:
    for rule in apm_lifecycle("logs", prefixes=("", "team/")).rules:
        if rule.transitions or rule.expire_days or rule.expire_date:
            for live in ("configs/", "live/", "team/configs/", "team/live/"):
                assert not live.startswith(rule.prefix)


def test_backups_move_to_colder_classes_and_expire() -> None:
    rule = rules()["backups"]

    assert rule.prefix == "backups/"
    assert moves(rule) == [("STANDARD_IA", 30), ("GLACIER_IR", 90), ("DEEP_ARCHIVE", 180)]
    assert (rule.expire_days, rule.noncurrent_days) == (2555, 30)
    assert rules()["backups markers"].expire_markers


def test_only_log_buckets_have_a_rule_for_logs() -> None:
    rule = rules(purpose="logs")["logs"]

    assert moves(rule) == [("STANDARD_IA", 30), ("GLACIER", 60), ("DEEP_ARCHIVE", 150)]
    assert (rule.prefix, rule.expire_days, rule.noncurrent_days) == ("logs/", 365, 7)
    assert "logs" not in rules(purpose="configs")


def test_temporary_objects_and_open_uploads_expire() -> None:
    found = rules()

    assert (found["temp"].prefix, found["temp"].expire_days, found["temp"].noncurrent_days) == ("temp/", 7, 1)
    assert (found["uploads"].prefix, found["uploads"].abort_uploads_days) == ("", 1)


def test_a_retention_replaces_the_expiry_and_omits_later_transitions() -> None:
    backups = rules(retention=90)["backups"]
    logs = rules(purpose="logs", retention=61)

    assert (moves(backups), backups.expire_days) == ([("STANDARD_IA", 30)], 90)
    assert (moves(logs["logs"]), logs["logs"].expire_days) == ([("STANDARD_IA", 30), ("GLACIER", 60)], 61)
    assert logs["backups"].expire_days == 2555


def test_every_store_in_the_bucket_has_its_rules() -> None:
    found = rules(prefixes=("team-a/", "team-b/"))

    assert found["configs team-a/"].prefix == "team-a/configs/"
    assert found["backups team-b/"].prefix == "team-b/backups/"


# --------------------------------------------------------------------------------------------------------------
# The policy


def test_plain_http_is_denied() -> None:
    statement = statements(apm_policy("b", "staging"))["DenyPlainHttp"]

    assert statement["Resource"] == ["arn:aws:s3:::b", "arn:aws:s3:::b/*"]
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert "DenyPlainHttp" not in statements(apm_policy("b", "staging", require_https=False))


def test_another_encryption_is_denied_but_an_unspecified_one_is_allowed() -> None:
    """Conditions of one statement hold together: with Null, an absent header does not match."""
    condition = statements(apm_policy("b", "staging"))["DenyOtherEncryption"]["Condition"]

    header = "s3:x-amz-server-side-encryption"
    assert condition == {
        "Null": {header: "false"},
        "StringNotLike": {header: ["AES256", "aws:kms", "aws:kms:dsse"]},
    }


@pytest.mark.parametrize(
    ("key", "allowed"),
    [(KEY_ARN, [KEY_ARN, KEY]), (KEY, [f"arn:*:kms:*:*:key/{KEY}", KEY]), ("alias/apm", None)],
)
def test_if_a_key_is_given_only_that_key_may_encrypt(key: str, allowed: list[str] | None) -> None:
    found = statements(apm_policy("b", "staging", kms_key_id=key))

    like = found["DenyOtherEncryption"]["Condition"]["StringNotLike"]
    assert like == {"s3:x-amz-server-side-encryption": ["aws:kms", "aws:kms:dsse"]}
    # SSE-C has headers of its own, and an upload with it names no other encryption.
    header = "s3:x-amz-server-side-encryption-customer-algorithm"
    assert found["DenyCustomerKeys"]["Condition"] == {"Null": {header: "false"}}
    if allowed is None:
        assert "DenyOtherKmsKey" not in found
    else:
        (named,) = found["DenyOtherKmsKey"]["Condition"]["StringNotLike"].values()
        assert named == allowed


@pytest.mark.parametrize("environment", ["production", "prod"])
def test_in_production_permanent_deletion_requires_mfa(environment: str) -> None:
    found = statements(apm_policy("b", environment, prefixes=("", "team/")))
    versions, bucket = found["DenyVersionRemovalWithoutMfa"], found["DenyBucketRemovalWithoutMfa"]

    assert versions["Condition"] == bucket["Condition"] == {"Null": {"aws:MultiFactorAuthAge": "true"}}
    assert "s3:DeleteObjectVersion" in versions["Action"]
    assert "s3:DeleteObject" not in versions["Action"]
    for action in ("s3:DeleteBucket", "s3:DeleteBucketPolicy", "s3:PutBucketPolicy", "s3:PutBucketVersioning",
                   "s3:PutLifecycleConfiguration", "s3:PutEncryptionConfiguration", "s3:PutBucketPublicAccessBlock",
                   "s3:PutBucketOwnershipControls"):  # fmt: skip
        assert action in bucket["Action"]
    for free in ("temp/*", "team/temp/*", ".apm-s3/health/*", "configs/*/probe-*"):
        assert f"arn:aws:s3:::b/{free}" in versions["NotResource"]


def test_outside_production_nothing_requires_mfa() -> None:
    assert "MultiFactorAuth" not in apm_policy("b", "staging").text


@pytest.mark.parametrize(
    ("region", "arn"),
    [("cn-north-1", "arn:aws-cn:s3:::b"), ("us-gov-west-1", "arn:aws-us-gov:s3:::b"), ("eu-west-1", "arn:aws:s3:::b")],
)
def test_arns_use_the_partition_of_the_region(region: str, arn: str) -> None:
    assert statements(apm_policy("b", "staging", region=region))["DenyPlainHttp"]["Resource"][0] == arn


# --------------------------------------------------------------------------------------------------------------
# The bucket


def test_the_bucket_name_has_environment_and_purpose() -> None:
    assert apm_bucket_name("production", "configs") == "apm-production-configs"
    with pytest.raises(InvalidBucketName):
        apm_bucket_name("production", "Configs")


async def test_an_apm_bucket_is_created_with_all_its_settings(trusted_buckets: S3Manager, bucket_name: str) -> None:
    plan = await trusted_buckets.create_apm_bucket(
        bucket_name, "production", "all", "configs", tags={"team": "sre"}, require_https=True
    )

    settings = (await trusted_buckets.get_bucket(bucket_name)).settings
    assert plan.warnings == ()
    assert settings == apm_bucket_options(bucket_name, "production", "all", "configs", tags={"team": "sre"})
    assert settings.versioning == Versioning()
    assert settings.encryption == Encryption()
    assert settings.public_access_block == PublicAccessBlock()
    assert settings.ownership == OwnershipControls()
    assert settings.tags is not None
    assert settings.tags.values == {
        "apm:environment": "production",
        "apm:tool": "all",
        "apm:purpose": "configs",
        "apm:managed-by": "apm_s3",
        "team": "sre",
    }


async def test_an_apm_bucket_with_a_key_is_encrypted_with_it(trusted_buckets: S3Manager, bucket_name: str) -> None:
    await trusted_buckets.create_apm_bucket(bucket_name, "staging", "loki", "logs", kms_key_id=KEY_ARN)

    assert (await trusted_buckets.get_bucket(bucket_name)).settings.encryption == Encryption(
        algorithm="aws:kms", kms_key_id=KEY_ARN, bucket_key=True
    )


async def test_over_plain_http_the_https_statement_is_omitted_and_reported(
    trusted_buckets: S3Manager, bucket_name: str
) -> None:
    plan = await trusted_buckets.create_apm_bucket(bucket_name, "staging", "loki", "configs")

    policy = (await trusted_buckets.get_bucket(bucket_name)).settings.policy
    assert policy is not None
    assert "SecureTransport" not in policy.text
    assert any("plain HTTP" in warning for warning in plan.warnings)


async def test_over_https_the_https_statement_is_included(control: FaultyControl, bucket_name: str) -> None:
    control.pretend = Endpoint("https://s3.amazonaws.com", "us-east-1", is_aws=True)
    buckets = make_buckets(control.clients, control)

    plan = await buckets.create_apm_bucket(bucket_name, "staging", "loki", "configs")

    policy = (await buckets.get_bucket(bucket_name)).settings.policy
    assert policy is not None
    assert "DenyPlainHttp" in statements(policy)
    assert plan.warnings == ()


async def test_mfa_delete_omits_the_lifecycle_and_reports_it(control: FaultyControl, bucket_name: str) -> None:
    codes: list[Any] = []

    def note(method: str, params: Any) -> None:
        if method == "put_bucket_versioning":
            codes.append((params["MFA"], params["VersioningConfiguration"]["MFADelete"]))

    control.before = note
    control.pretend = Endpoint("http://127.0.0.1", "us-east-1", is_aws=True)
    plan = await make_buckets(control.clients, control).create_apm_bucket(
        bucket_name, "production", "all", "configs", mfa="arn:aws:iam::1:mfa/root 123456"
    )

    assert codes == [("arn:aws:iam::1:mfa/root 123456", "Enabled")]
    assert "put_bucket_lifecycle_configuration" not in control.calls
    assert any("lifecycle" in warning for warning in plan.warnings)


async def test_a_given_policy_replaces_that_of_the_environment(trusted_buckets: S3Manager, bucket_name: str) -> None:
    own = apm_policy(bucket_name, "staging", require_https=False)

    plan = await trusted_buckets.create_apm_bucket(bucket_name, "production", "all", "configs", policy=own)

    assert (await trusted_buckets.get_bucket(bucket_name)).settings.policy == own
    assert plan.warnings == ()


async def test_create_leaves_an_existing_bucket_alone_and_ensure_updates_it(
    trusted_buckets: S3Manager, bucket_name: str
) -> None:
    await trusted_buckets.create_bucket(bucket_name)
    with pytest.raises(BucketAlreadyOwned):
        await trusted_buckets.create_apm_bucket(bucket_name, "staging", "all", "configs")
    assert (await trusted_buckets.get_bucket(bucket_name)).settings == BucketOptions()

    options = apm_bucket_options(bucket_name, "staging", "all", "configs")
    await trusted_buckets.ensure_bucket(bucket_name, options)
    assert (await trusted_buckets.ensure_bucket(bucket_name, options)).empty


@pytest.mark.parametrize(
    "arguments",
    [
        {"tool": "zabbix"},
        {"environment": "Pro Duction"},
        {"purpose": ""},
        {"retention": 0},
        {"prefixes": ()},
        {"prefixes": "team/"},
        {"prefixes": ("team",)},
        {"prefixes": ("../",)},
        {"tags": {"x" * 129: "y"}},
    ],
)
async def test_invalid_arguments_are_refused_before_anything_is_sent(
    control: FaultyControl, bucket_name: str, arguments: dict[str, Any]
) -> None:
    given: dict[str, Any] = {"environment": "staging", "tool": "all", "purpose": "configs", **arguments}

    with pytest.raises((InvalidOption, InvalidKey)):
        await make_buckets(control.clients, control).create_apm_bucket(bucket_name, **given)

    assert control.calls == []


async def test_on_seaweedfs_the_policy_allows_uploads_and_protects_versions(
    weed_buckets: S3Manager, weed_clients: Clients, bucket_name: str
) -> None:
    plan = await weed_buckets.create_apm_bucket(bucket_name, "production", "all", "configs", unsupported="warn")
    put = {"Bucket": bucket_name, "Body": b"x"}
    live = await weed_clients.call("put_object", Key="configs/production/current.json", **put)
    temp = await weed_clients.call("put_object", Key="temp/a", **put)
    await weed_clients.call("put_object", Key="live/a", ServerSideEncryption="AES256", **put)

    await weed_clients.call("delete_object", Bucket=bucket_name, Key="temp/a", VersionId=temp["VersionId"])
    with pytest.raises(AccessDenied):
        await weed_clients.call(
            "delete_object", Bucket=bucket_name, Key="configs/production/current.json", VersionId=live["VersionId"]
        )

    assert "PublicAccessBlock" in plan.unsupported
    assert "Lifecycle transitions" in plan.unsupported
    assert not [each for each in plan.unsupported if "Policy" in each]
    assert [each.name for each in await weed_buckets.list_buckets() if each.name.startswith("apm-s3-probe-")] == []


async def test_a_policy_with_which_the_server_refuses_every_upload_is_not_kept(
    moto_buckets: S3Manager, moto_clients: Clients, bucket_name: str
) -> None:
    options = bucket_name, "production", "all", "configs"

    with pytest.raises(UnsupportedByServer, match=r"uploads with Policy \(403\)"):
        await moto_buckets.create_apm_bucket(*options)
    assert bucket_name not in [each.name for each in await moto_buckets.list_buckets()]

    plan = await moto_buckets.create_apm_bucket(*options, unsupported="warn")
    assert plan.unsupported == ("uploads with Policy (403)",)
    assert (await moto_buckets.get_bucket(bucket_name)).settings.policy is None
    await moto_clients.call("put_object", Bucket=bucket_name, Key="configs/a", Body=b"x")


async def test_what_a_policy_denies_for_other_reasons_is_not_tried(moto_buckets: S3Manager, bucket_name: str) -> None:
    arn = f"arn:aws:s3:::{bucket_name}"
    others = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": f"{arn}/*"}
    only_ci = Policy.of([{**others, "Condition": {"StringNotLike": {"aws:PrincipalArn": "arn:aws:iam::1:role/ci"}}}])

    await moto_buckets.create_apm_bucket(bucket_name, "staging", "all", "configs", policy=only_ci)

    assert (await moto_buckets.get_bucket(bucket_name)).settings.policy == only_ci


async def test_on_seaweedfs_a_bucket_with_a_key_accepts_only_its_default_encryption(
    weed_buckets: S3Manager, weed_clients: Clients, bucket_name: str
) -> None:
    await weed_buckets.create_apm_bucket(
        bucket_name, "staging", "all", "configs", kms_key_id="apm-key", unsupported="warn"
    )
    put = {"Bucket": bucket_name, "Body": b"x"}

    default = await weed_clients.call("put_object", Key="a", **put)
    named = await weed_clients.call("put_object", Key="b", ServerSideEncryption="aws:kms", SSEKMSKeyId="apm-key", **put)
    with pytest.raises(AccessDenied):
        await weed_clients.call("put_object", Key="c", ServerSideEncryption="AES256", **put)
    with pytest.raises(AccessDenied):
        await weed_clients.call("put_object", Key="d", ServerSideEncryption="aws:kms", SSEKMSKeyId="other-key", **put)

    assert default["ServerSideEncryption"] == named["ServerSideEncryption"] == "aws:kms"
