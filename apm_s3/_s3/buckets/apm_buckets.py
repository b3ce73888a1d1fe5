"""Buckets for configurations: secure by default, with the policies and the lifecycle that they need.

Keys of conditions: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, Unpack

from apm_s3._naming import HEALTH_PREFIX, PRODUCTION, check_bucket_name, check_environment, check_file_name
from apm_s3._tools import TOOLS
from apm_s3.errors import InvalidOption
from apm_s3.options._bucket_settings import Encryption, OwnershipControls, Policy, PublicAccessBlock, Tags, Versioning
from apm_s3.options._buckets import STORE_TAG, BucketOptions, Lifecycle, LifecycleRule, Transition

Statement = dict[str, Any]

_PARTITIONS = {"cn": "aws-cn", "us-gov": "aws-us-gov", "us-iso": "aws-iso", "us-isob": "aws-iso-b", "eusc": "aws-eusc"}

_WITHOUT_MFA = {"Null": {"aws:MultiFactorAuthAge": "true"}}
"""Only requests with MFA have an MFA age; long-term access keys and sessions without MFA have none
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/example-bucket-policies.html)."""

PROTECTIONS = (
    "s3:DeleteBucketPolicy",
    "s3:PutBucketPolicy",
    "s3:PutBucketVersioning",
    "s3:PutLifecycleConfiguration",
    "s3:PutEncryptionConfiguration",
    "s3:PutBucketPublicAccessBlock",
    "s3:PutBucketOwnershipControls",
    "s3:PutBucketObjectLockConfiguration",
    "s3:PutReplicationConfiguration",
    "s3:PutBucketTagging",
)
"""Actions that change or remove a protection; deleting a setting needs the permission to put it."""


def partition(region: str) -> str:
    """Return the AWS partition of a region, for ARNs."""
    for prefix, name in sorted(_PARTITIONS.items(), key=lambda one: -len(one[0])):
        if region.startswith(f"{prefix}-"):
            return name
    return "aws"


def bucket_arn(bucket: str, region: str) -> str:
    """Return the ARN of a bucket."""
    return f"arn:{partition(region)}:s3:::{bucket}"


def deny_plain_http(arn: str) -> Statement:
    """Return a statement that denies plain HTTP."""
    return {
        "Sid": "DenyPlainHttp",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, f"{arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def deny_unencrypted_uploads(arn: str, kms_key_id: str | None) -> list[Statement]:
    """Return statements that deny encryption other than SSE-S3 or KMS or, with a key, other than KMS with this key.

    With a key, they also deny keys that come with each request (SSE-C), with which nobody else can read an object.

    Uploads that name no encryption get the bucket's default and are allowed. StringNotEquals alone would also match a
    missing header, so a Null condition is added.
    """
    allowed = ["aws:kms", "aws:kms:dsse"] if kms_key_id else ["AES256", "aws:kms", "aws:kms:dsse"]
    statements = [_deny_upload("DenyOtherEncryption", arn, "s3:x-amz-server-side-encryption", allowed)]
    # The key behind an alias is not known here.
    if kms_key_id and "alias/" not in kms_key_id:
        key_id = kms_key_id.rpartition("/")[2]
        key_arn = kms_key_id if kms_key_id.startswith("arn:") else f"arn:*:kms:*:*:key/{key_id}"
        header = "s3:x-amz-server-side-encryption-aws-kms-key-id"
        statements.append(_deny_upload("DenyOtherKmsKey", arn, header, [key_arn, key_id]))
    if kms_key_id:
        # An upload with a key of its sender (SSE-C) names no encryption of the server.
        header = "s3:x-amz-server-side-encryption-customer-algorithm"
        statements.append(_deny_upload("DenyCustomerKeys", arn, header))
    return statements


def _deny_upload(sid: str, arn: str, header: str, allowed: list[str] | None = None) -> Statement:
    others = {} if allowed is None else {"StringNotLike": {header: allowed}}
    return {
        "Sid": sid,
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": f"{arn}/*",
        "Condition": {"Null": {header: "false"}, **others},
    }


def deny_removal_without_mfa(arn: str, free: Sequence[str]) -> list[Statement]:
    """Return statements that require MFA to remove versions, the bucket, and its protections.

    Args:
        free: key patterns whose versions can be deleted without MFA.
    """
    return [
        {
            "Sid": "DenyVersionRemovalWithoutMfa",
            "Effect": "Deny",
            "Principal": "*",
            "Action": ["s3:DeleteObjectVersion", "s3:BypassGovernanceRetention"],
            "NotResource": [f"{arn}/{pattern}" for pattern in free],
            "Condition": _WITHOUT_MFA,
        },
        {
            "Sid": "DenyBucketRemovalWithoutMfa",
            "Effect": "Deny",
            "Principal": "*",
            "Action": ["s3:DeleteBucket", *PROTECTIONS],
            "Resource": arn,
            "Condition": _WITHOUT_MFA,
        },
    ]


def for_other_bucket(policy: Policy, source_arn: str, target_arn: str) -> Policy:
    """Return the same policy for another bucket."""

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: renamed(one) for key, one in value.items()}
        if isinstance(value, list):
            return [renamed(one) for one in value]
        if isinstance(value, str) and (value == source_arn or value.startswith(f"{source_arn}/")):
            return target_arn + value[len(source_arn) :]
        return value

    return Policy(json.dumps(renamed(policy.document), indent=2))


CONFIGS_NONCURRENT_DAYS = 90
BACKUPS_DAYS, BACKUPS_NONCURRENT_DAYS = 2555, 30
LOGS_DAYS, LOGS_NONCURRENT_DAYS = 365, 7
TEMP_DAYS, TEMP_NONCURRENT_DAYS = 7, 1
UPLOADS_DAYS = 1

_BACKUPS_MOVES = (
    Transition(storage_class="STANDARD_IA", days=30),
    Transition(storage_class="GLACIER_IR", days=90),
    Transition(storage_class="DEEP_ARCHIVE", days=180),
)
_LOGS_MOVES = (
    Transition(storage_class="STANDARD_IA", days=30),
    Transition(storage_class="GLACIER", days=60),
    Transition(storage_class="DEEP_ARCHIVE", days=150),
)


def apm_bucket_name(environment: str, purpose: str) -> str:
    """Return `apm-{environment}-{purpose}`.

    Raises:
        InvalidBucketName: it is not a valid bucket name.
    """
    return check_bucket_name(f"apm-{environment}-{purpose}")


def apm_lifecycle(
    purpose: str,
    *,
    retention: int | None = None,
    prefixes: Sequence[str] = ("",),
) -> Lifecycle:
    """Return the lifecycle of a bucket for configurations.

    ==========  ===================  ==========================================================================
    rule        prefix               what happens
    ==========  ===================  ==========================================================================
    configs     configs/, live/      current objects: nothing; old versions expire after 90 days
    backups     backups/             STANDARD_IA after 30 days, GLACIER_IR after 90, DEEP_ARCHIVE after 180,
                                     expiry after 2555; old versions after 30
    logs        logs/                (purpose "logs") STANDARD_IA after 30 days, GLACIER after 60, DEEP_ARCHIVE
                                     after 150, expiry after 365; old versions after 7
    temp        temp/                expiry after 7 days; old versions after 1
    uploads     everything           open multipart uploads are aborted after 1 day
    ==========  ===================  ==========================================================================

    Delete markers without older versions are removed everywhere.

    Args:
        purpose: "logs" adds the rule for logs.
        retention: days after which backups (with purpose "logs": logs) expire, instead of the table's; transitions at
            that time or later are omitted.
        prefixes: prefixes of the configuration stores in the bucket.
    """
    rules: list[LifecycleRule] = []
    for prefix in prefixes:
        where = f" {prefix}" if prefix else ""
        logs = purpose == "logs"
        backups_days = retention if retention is not None and not logs else BACKUPS_DAYS
        rules += _kept(f"configs{where}", f"{prefix}configs/")
        rules += _kept(f"live{where}", f"{prefix}live/")
        rules += _expiring(
            f"backups{where}",
            f"{prefix}backups/",
            _BACKUPS_MOVES,
            backups_days,
            BACKUPS_NONCURRENT_DAYS,
        )
        if logs:
            rules += _expiring(
                f"logs{where}",
                f"{prefix}logs/",
                _LOGS_MOVES,
                retention or LOGS_DAYS,
                LOGS_NONCURRENT_DAYS,
            )
        rules += _expiring(f"temp{where}", f"{prefix}temp/", (), TEMP_DAYS, TEMP_NONCURRENT_DAYS)
    rules.append(LifecycleRule(id="uploads", abort_uploads_days=UPLOADS_DAYS))
    return Lifecycle(rules=tuple(rules))


def apm_policy(
    name: str,
    environment: str,
    *,
    region: str = "us-east-1",
    kms_key_id: str | None = None,
    prefixes: Sequence[str] = ("",),
    require_https: bool = True,
) -> Policy:
    """Return the policy of a bucket for configurations: no plain HTTP, and no unencrypted objects.

    In production, versions, the bucket and its protections cannot be removed without MFA, except what the library
    itself must delete.
    """
    arn = bucket_arn(name, region)
    statements = [deny_plain_http(arn)] if require_https else []
    statements += deny_unencrypted_uploads(arn, kms_key_id)
    if environment in PRODUCTION:
        free = [f"{HEALTH_PREFIX}*"]
        for prefix in prefixes:
            free += [f"{prefix}temp/*", f"{prefix}configs/*/probe-*"]
        statements += deny_removal_without_mfa(arn, free)
    return Policy.of(statements)


class ApmBucketKeywords(TypedDict, total=False):
    """The keyword arguments of a bucket for configurations; see `S3Manager.create_apm_bucket`."""

    region: str | None
    kms_key_id: str | None
    retention: int | None
    tags: Mapping[str, str] | None
    prefixes: Sequence[str]
    policy: Policy | None
    require_https: bool | None


def apm_bucket_options(
    name: str,
    environment: str,
    tool: str,
    purpose: str,
    *,
    mfa_delete: bool = False,
    **options: Unpack[ApmBucketKeywords],
) -> BucketOptions:
    """Return the options that `create_apm_bucket` uses, for `ensure_bucket` and `plan_bucket`. Pure.

    Pass `require_https=False` for a plain HTTP endpoint; otherwise the policy would lock everybody out.

    Raises:
        InvalidOption, InvalidKey, InvalidBucketName: an argument is not valid.
    """
    prefixes, retention = options.get("prefixes", ("",)), options.get("retention")
    _check(name, environment, tool, purpose, retention, prefixes)
    own = {
        "apm:environment": environment,
        "apm:tool": tool,
        "apm:purpose": purpose,
        **STORE_TAG,
    }
    kms_key_id = options.get("kms_key_id")
    return BucketOptions(
        # S3 does not allow lifecycle rules with MFA delete.
        lifecycle=None if mfa_delete else apm_lifecycle(purpose, retention=retention, prefixes=prefixes),
        versioning=Versioning(mfa_delete=mfa_delete),
        encryption=(
            Encryption(algorithm="aws:kms", kms_key_id=kms_key_id, bucket_key=True) if kms_key_id else Encryption()
        ),
        ownership=OwnershipControls(),
        public_access_block=PublicAccessBlock(),
        tags=Tags({**(options.get("tags") or {}), **own}),
        policy=options.get("policy")
        or apm_policy(
            name,
            environment,
            region=options.get("region") or "us-east-1",
            kms_key_id=kms_key_id,
            prefixes=prefixes,
            require_https=options.get("require_https") is not False,
        ),
    )


def _check(
    name: str, environment: str, tool: str, purpose: str, retention: int | None, prefixes: Sequence[str]
) -> None:
    check_bucket_name(name)
    check_environment(environment)
    if tool != "all" and tool not in TOOLS:
        raise InvalidOption(f"unknown tool: '{tool}'", hint=f"use one of {', '.join(TOOLS)}, or 'all'")
    if not purpose:
        raise InvalidOption("the purpose is empty", hint="use one such as 'configs', 'backups' or 'logs'")
    if retention is not None and retention < 1:
        raise InvalidOption(f"retention is {retention} days, but must be at least 1", hint="omit it to use the default")
    if isinstance(prefixes, str) or not prefixes:
        raise InvalidOption(
            "prefixes must be a sequence of prefixes", hint="use ('',) for a store at the bucket's root"
        )
    for prefix in prefixes:
        if prefix:
            check_file_name(prefix.removesuffix("/"))
            if not prefix.endswith("/"):
                raise InvalidOption(f"the prefix '{prefix}' does not end with '/'", hint=f"use '{prefix}/'")


def left_out(*, mfa_delete: bool, plain_http: bool) -> list[str]:
    """Return warnings about what a bucket of `apm_bucket_options` lacks."""
    told = []
    if mfa_delete:
        told.append("S3 does not allow lifecycle rules with MFA delete: nothing will expire or move automatically")
    if plain_http:
        told.append("the endpoint is plain HTTP: the policy does not deny plain HTTP, which would lock everybody out")
    return told


def _kept(rule_id: str, prefix: str) -> list[LifecycleRule]:
    return [LifecycleRule(id=rule_id, prefix=prefix, noncurrent_days=CONFIGS_NONCURRENT_DAYS, expire_markers=True)]


def _expiring(
    rule_id: str, prefix: str, moves: tuple[Transition, ...], days: int, noncurrent_days: int
) -> list[LifecycleRule]:
    """Split the rule: S3 requires a separate one for delete markers."""
    moves = tuple(move for move in moves if move.days is not None and move.days < days)
    rule = LifecycleRule(
        id=rule_id, prefix=prefix, transitions=moves, expire_days=days, noncurrent_days=noncurrent_days
    )
    return [rule, LifecycleRule(id=f"{rule_id} markers", prefix=prefix, expire_markers=True)]
