"""Replication between buckets, and restores of archived objects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from apm_s3._hints import Advice
from apm_s3._s3.buckets import apm_buckets
from apm_s3._s3.buckets.plans import BucketParts
from apm_s3._s3.buckets.requests import BucketRef, BucketRequests
from apm_s3._s3.engine import Engine, explain_failed_head
from apm_s3.errors import BucketNotFound, InvalidOption, NotFound, ObjectArchived, S3Error
from apm_s3.models import ReplicationSetup
from apm_s3.options import ReadOptions
from apm_s3.options._bucket_settings import Encryption, Replication, ReplicationDestination, ReplicationRule, Versioning
from apm_s3.options._buckets import BucketOptions

_OPERATION = "setup_replication"
_REPLICATED = ("lifecycle", "versioning", "encryption", "ownership", "public_access_block", "tags", "policy")
"""The settings of the source that a target bucket gets: its protections."""


@dataclass(frozen=True)
class Wanted:
    """The options of `S3Manager.setup_replication`."""

    role: str | None
    prefixes: Sequence[str]
    delete_markers: bool
    storage_class: str | None
    kms_key_id: str | None
    create_target: bool


async def set_up(parts: BucketParts, source: BucketRef, target: BucketRef, wanted: Wanted) -> ReplicationSetup:
    """Replicate `source` to `target`; without a role, only return what is needed."""
    if source.name == target.name:
        raise InvalidOption("a bucket cannot replicate to itself", hint="use another target", bucket=source.name)
    role, kms_key_id = wanted.role, wanted.kms_key_id
    settings = (await parts.reads.get(source)).settings
    _check_versioned(source.name, settings.versioning)
    exists = await _is_there(parts, target, wanted.create_target)
    partition_region = (await parts.requests.endpoint(source.region)).region
    arns = apm_buckets.bucket_arn(source.name, partition_region), apm_buckets.bucket_arn(target.name, partition_region)
    replication = _merged(
        source.name, settings.replication, role, _rules(arns[1], target.expected_bucket_owner, wanted)
    )
    replication.check()
    if role is not None:
        if not exists:
            options = _target_options(settings, arns, kms_key_id)
            await parts.plans.create(target, options, mfa=None, unsupported="refuse")
        await parts.settings.write(source, replication)
    return ReplicationSetup(
        replication,
        applied=role is not None,
        created_target=role is not None and not exists,
        trust_policy=trust_policy(),
        permissions_policy=permissions_policy(*arns, settings.encryption, kms_key_id),
        warnings=_warnings(settings.encryption, kms_key_id),
    )


async def _is_there(parts: BucketParts, target: BucketRef, may_be_missing: bool) -> bool:
    """Return whether the target exists, and require versioning on it."""
    if await parts.requests.head(target) is not None:
        _check_versioned(target.name, await parts.settings.read(target, Versioning))
        return True
    if not may_be_missing:
        raise BucketNotFound(
            f"the target bucket '{target.name}' does not exist",
            operation=_OPERATION,
            bucket=target.name,
            hint=Advice.CREATE_TARGET(),
        )
    return False


async def status(
    requests: BucketRequests, engine: Engine, ref: BucketRef, key: str, version_id: str | None
) -> str | None:
    """Return the replication status of an object, as S3 documents it; None if no rule applies to it."""
    params: dict[str, Any] = {"Key": key} if version_id is None else {"Key": key, "VersionId": version_id}
    try:
        response = await requests.send(ref, "head_object", **params)
    except NotFound as error:
        options = ReadOptions(expected_bucket_owner=ref.expected_bucket_owner)
        raise await explain_failed_head(engine, error, ref.operation, options) from error
    found: str | None = response.get("ReplicationStatus")
    # The API reference says COMPLETE, but S3 returns COMPLETED.
    return "COMPLETED" if found == "COMPLETE" else found


def trust_policy() -> str:
    """Return the JSON policy that lets S3 assume the role. Pure."""
    return _json([{"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sts:AssumeRole"}])


def permissions_policy(
    source_arn: str, target_arn: str, encryption: Encryption | None = None, target_kms_key_id: str | None = None
) -> str:
    """Return the JSON policy with the permissions of the role. Pure.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/setting-repl-config-perm-overview.html.
    """
    statements: list[apm_buckets.Statement] = [
        {
            "Effect": "Allow",
            "Action": ["s3:GetReplicationConfiguration", "s3:ListBucket"],
            "Resource": source_arn,
        },
        {
            "Effect": "Allow",
            "Action": [
                "s3:GetObjectVersionForReplication",
                "s3:GetObjectVersionAcl",
                "s3:GetObjectVersionTagging",
                "s3:GetObjectRetention",
                "s3:GetObjectLegalHold",
            ],
            "Resource": f"{source_arn}/*",
        },
        {
            "Effect": "Allow",
            "Action": [
                "s3:ReplicateObject",
                "s3:ReplicateDelete",
                "s3:ReplicateTags",
                "s3:ObjectOwnerOverrideToBucketOwner",
            ],
            "Resource": f"{target_arn}/*",
        },
    ]
    if encryption is not None and encryption.kms_key_id is not None and target_kms_key_id is not None:
        statements += [
            {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": _key_arn(encryption.kms_key_id)},
            {"Effect": "Allow", "Action": "kms:Encrypt", "Resource": _key_arn(target_kms_key_id)},
        ]
    return _json(statements)


def _json(statements: Sequence[apm_buckets.Statement]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)}, indent=2)


def _key_arn(key: str) -> str:
    """Return the ARN of a key. IAM accepts only ARNs of keys, and the key behind an alias is not known here."""
    return key if key.startswith("arn:") and ":alias/" not in key else f"arn:aws:kms:*:*:key/{key.rpartition('/')[2]}"


def _check_versioned(bucket: str, versioning: Versioning | None) -> None:
    if versioning is None or not versioning.enabled:
        raise InvalidOption(
            f"bucket '{bucket}' has no versioning, which replication needs on both sides",
            operation=_OPERATION,
            bucket=bucket,
            hint=Advice.TURN_ON_VERSIONING(bucket=bucket),
        )


def _rules(target_arn: str, account: str | None, wanted: Wanted) -> list[ReplicationRule]:
    destination = ReplicationDestination(
        bucket=target_arn,
        account=account,
        storage_class=wanted.storage_class,
        owner_override=account is not None,
        kms_key_id=wanted.kms_key_id,
    )
    name = target_arn.rpartition(":")[2]
    return [
        ReplicationRule(
            id=f"{name} {prefix}".strip(),
            destination=destination,
            prefix=prefix,
            delete_markers=wanted.delete_markers,
            kms_objects=wanted.kms_key_id is not None,
        )
        for prefix in wanted.prefixes
    ]


def _merged(
    source: str, current: Replication | None, role: str | None, rules: Sequence[ReplicationRule]
) -> Replication:
    """Merge the rules with the source's rules for other targets, which keep their priorities."""
    if current is not None and role is not None and current.role != role:
        raise InvalidOption(
            f"bucket '{source}' already replicates with the role '{current.role}', and can only have one",
            operation=_OPERATION,
            bucket=source,
            hint=Advice.KEEP_ROLE(),
        )
    target = rules[0].destination.bucket if rules else ""
    kept = [rule for rule in (current.rules if current else ()) if rule.destination.bucket != target]
    first = max((rule.priority or 0 for rule in kept), default=0) + 1
    numbered = [replace(rule, priority=first + number) for number, rule in enumerate(rules)]
    role = role or (current.role if current else "")
    return Replication(role=role, rules=(*kept, *numbered))


def _target_options(source: BucketOptions, arns: tuple[str, str], kms_key_id: str | None) -> BucketOptions:
    kept = {name: getattr(source, name) for name in _REPLICATED}
    options = BucketOptions(**kept)
    if source.policy is not None:
        options = replace(options, policy=apm_buckets.for_other_bucket(source.policy, *arns))
    if source.versioning is not None and source.versioning.mfa_delete:
        # Only the root user can turn it on, with a code of its own MFA device.
        options = replace(options, versioning=Versioning())
    if source.encryption is not None and source.encryption.kms_key_id is not None:
        # Keys belong to one region: without a key for the target's region, the AWS managed key is used there.
        options = replace(options, encryption=replace(source.encryption, kms_key_id=kms_key_id))
    return options


def _warnings(encryption: Encryption | None, kms_key_id: str | None) -> tuple[str, ...]:
    if encryption is not None and encryption.algorithm != "AES256" and kms_key_id is None:
        return ("objects encrypted with KMS are not replicated: pass kms_key_id, a key in the target's region",)
    return ()


RestoreTier = Literal["Standard", "Bulk", "Expedited"]

_RESTORE = "restore_archived"


async def restore(
    requests: BucketRequests, ref: BucketRef, key: str, version_id: str | None, days: int, tier: RestoreTier
) -> bool:
    """Ask S3 to make the object readable. Return False if that is already in progress."""
    if days < 1:
        raise InvalidOption(f"days is {days}, but must be at least 1", hint="use at least 1", bucket=ref.name, key=key)
    params: dict[str, Any] = {"Key": key} if version_id is None else {"Key": key, "VersionId": version_id}
    wanted = {"Days": days, "GlacierJobParameters": {"Tier": tier}}
    try:
        await requests.send(ref, "restore_object", done_already=_is_under_way, RestoreRequest=wanted, **params)
    except ObjectArchived as error:
        # InvalidObjectState means the opposite here of what it means on reading.
        raise InvalidOption(
            f"'{ref.name}/{key}' is not in an archive class, so it can be read without a restore",
            operation=_RESTORE,
            bucket=ref.name,
            key=key,
            hint="read it",
        ) from error
    except S3Error as error:
        if _is_under_way(error):
            return False
        raise
    return True


def _is_under_way(error: S3Error) -> bool:
    return error.s3_code == "RestoreAlreadyInProgress"
