"""Statements of bucket policies. Pure.

Keys of conditions: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from apm_s3.options._bucket_settings import Policy

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
