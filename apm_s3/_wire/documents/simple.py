"""Converts the small settings to S3's documents and back."""

from __future__ import annotations

from typing import Any

from apm_s3._wire.documents.members import Document, known, present, tag_list, tag_mapping
from apm_s3.errors import FormatTooNew
from apm_s3.options._bucket_settings import (
    AccessLogging,
    Cors,
    CorsRule,
    Encryption,
    LogGrant,
    ObjectLock,
    OwnershipControls,
    Policy,
    PublicAccessBlock,
    Tags,
    Versioning,
)


def write_versioning(setting: Versioning) -> dict[str, Any]:
    """Return the parameters of PutBucketVersioning."""
    document = {"Status": "Enabled" if setting.enabled else "Suspended"}
    if setting.mfa_delete:
        document["MFADelete"] = "Enabled"
    return {"VersioningConfiguration": document}


def read_versioning(response: Document) -> Versioning | None:
    """Read the result of GetBucketVersioning, which is empty if versioning was never on."""
    status = response.get("Status")
    if status not in ("Enabled", "Suspended"):
        return None
    # boto3 names the member MFADelete, the XML MfaDelete.
    return Versioning(enabled=status == "Enabled", mfa_delete=response.get("MFADelete") == "Enabled")


def write_encryption(setting: Encryption) -> dict[str, Any]:
    """Return the parameters of PutBucketEncryption."""
    rule: dict[str, Any] = {
        "ApplyServerSideEncryptionByDefault": present(SSEAlgorithm=setting.algorithm, KMSMasterKeyID=setting.kms_key_id)
    }
    if setting.bucket_key:
        rule["BucketKeyEnabled"] = True
    if setting.blocked_types is not None:
        rule["BlockedEncryptionTypes"] = {"EncryptionType": list(setting.blocked_types)}
    return {"ServerSideEncryptionConfiguration": {"Rules": [rule]}}


def read_encryption(response: Document) -> Encryption | None:
    """Read the result of GetBucketEncryption."""
    rules = (response.get("ServerSideEncryptionConfiguration") or {}).get("Rules") or ()
    if not rules:
        return None
    if len(rules) > 1:
        raise FormatTooNew(f"the bucket has {len(rules)} encryption rules, but this version supports only one")
    where = "the encryption"
    rule = known(rules[0], "ApplyServerSideEncryptionByDefault BucketKeyEnabled BlockedEncryptionTypes", where=where)
    default = known(rule.get("ApplyServerSideEncryptionByDefault") or {}, "SSEAlgorithm KMSMasterKeyID", where=where)
    blocked = rule.get("BlockedEncryptionTypes")
    return Encryption(
        algorithm=default.get("SSEAlgorithm", "AES256"),
        kms_key_id=default.get("KMSMasterKeyID"),
        bucket_key=bool(rule.get("BucketKeyEnabled")),
        blocked_types=None if blocked is None else tuple(blocked.get("EncryptionType") or ()),
    )


def write_public_access_block(setting: PublicAccessBlock) -> dict[str, Any]:
    """Return the parameters of PutPublicAccessBlock."""
    return {
        "PublicAccessBlockConfiguration": {
            "BlockPublicAcls": setting.block_public_acls,
            "IgnorePublicAcls": setting.ignore_public_acls,
            "BlockPublicPolicy": setting.block_public_policy,
            "RestrictPublicBuckets": setting.restrict_public_buckets,
        }
    }


def read_public_access_block(response: Document) -> PublicAccessBlock | None:
    """Read the result of GetPublicAccessBlock; missing switches are off."""
    document = response.get("PublicAccessBlockConfiguration")
    if document is None:
        return None
    known(
        document,
        "BlockPublicAcls IgnorePublicAcls BlockPublicPolicy RestrictPublicBuckets",
        where="the public access block",
    )
    return PublicAccessBlock(
        block_public_acls=bool(document.get("BlockPublicAcls")),
        ignore_public_acls=bool(document.get("IgnorePublicAcls")),
        block_public_policy=bool(document.get("BlockPublicPolicy")),
        restrict_public_buckets=bool(document.get("RestrictPublicBuckets")),
    )


def write_ownership(setting: OwnershipControls) -> dict[str, Any]:
    """Return the parameters of PutBucketOwnershipControls."""
    return {"OwnershipControls": {"Rules": [{"ObjectOwnership": setting.object_ownership}]}}


def read_ownership(response: Document) -> OwnershipControls | None:
    """Read the result of GetBucketOwnershipControls."""
    rules = (response.get("OwnershipControls") or {}).get("Rules") or ()
    if not rules:
        return None
    return OwnershipControls(object_ownership=known(rules[0], "ObjectOwnership", where="ownership")["ObjectOwnership"])


def write_policy(setting: Policy) -> dict[str, Any]:
    """Return the parameters of PutBucketPolicy."""
    return {"Policy": setting.text}


def read_policy(response: Document) -> Policy | None:
    """Read the result of GetBucketPolicy."""
    text = response.get("Policy")
    return Policy(text) if text else None


def write_tags(setting: Tags) -> dict[str, Any]:
    """Return the parameters of PutBucketTagging."""
    return {"Tagging": {"TagSet": tag_list(setting.own())}}


def read_tags(response: Document) -> Tags | None:
    """Read the result of GetBucketTagging."""
    tags = tag_mapping(response.get("TagSet") or ())
    return Tags(tags) if tags else None


def write_logging(setting: AccessLogging) -> dict[str, Any]:
    """Return the parameters of PutBucketLogging."""
    document: dict[str, Any] = {"TargetBucket": setting.target_bucket, "TargetPrefix": setting.target_prefix}
    if setting.partitioned_by is not None:
        document["TargetObjectKeyFormat"] = {"PartitionedPrefix": {"PartitionDateSource": setting.partitioned_by}}
    if setting.grants:
        document["TargetGrants"] = [_write_grant(grant) for grant in setting.grants]
    return {"BucketLoggingStatus": {"LoggingEnabled": document}}


def read_logging(response: Document) -> AccessLogging | None:
    """Read the result of GetBucketLogging, which is empty if logging is off."""
    document = response.get("LoggingEnabled")
    if not document:
        return None
    known(document, "TargetBucket TargetPrefix TargetObjectKeyFormat TargetGrants", where="access logging")
    partitioned = (document.get("TargetObjectKeyFormat") or {}).get("PartitionedPrefix") or {}
    return AccessLogging(
        target_bucket=document["TargetBucket"],
        target_prefix=document.get("TargetPrefix", ""),
        partitioned_by=partitioned.get("PartitionDateSource"),
        grants=tuple(_read_grant(grant) for grant in document.get("TargetGrants") or ()),
    )


def _write_grant(grant: LogGrant) -> dict[str, Any]:
    grantee = present(
        Type=grant.type, ID=grant.id, EmailAddress=grant.email, URI=grant.uri, DisplayName=grant.display_name
    )
    return {"Permission": grant.permission, "Grantee": grantee}


def _read_grant(document: Document) -> LogGrant:
    known(document, "Permission Grantee", where="a log grant")
    grantee = known(document["Grantee"], "Type ID EmailAddress URI DisplayName", where="a log grant")
    return LogGrant(
        permission=document["Permission"],
        type=grantee["Type"],
        id=grantee.get("ID"),
        email=grantee.get("EmailAddress"),
        uri=grantee.get("URI"),
        display_name=grantee.get("DisplayName"),
    )


def write_object_lock(setting: ObjectLock) -> dict[str, Any]:
    """Return the parameters of PutObjectLockConfiguration."""
    retention = present(Mode=setting.mode, Days=setting.days, Years=setting.years)
    hold = present(Days=setting.hold_days, Years=setting.hold_years)
    if hold:
        retention["DefaultEventHold"] = hold
    document: dict[str, Any] = {"ObjectLockEnabled": "Enabled"}
    if retention:
        document["Rule"] = {"DefaultRetention": retention}
    return {"ObjectLockConfiguration": document}


def read_object_lock(response: Document) -> ObjectLock | None:
    """Read the result of GetObjectLockConfiguration."""
    document = response.get("ObjectLockConfiguration")
    if not document or document.get("ObjectLockEnabled") != "Enabled":
        return None
    where = "the object lock"
    rule = known(document.get("Rule") or {}, "DefaultRetention", where=where)
    retention = known(rule.get("DefaultRetention") or {}, "Mode Days Years DefaultEventHold", where=where)
    hold = known(retention.get("DefaultEventHold") or {}, "Days Years", where=where)
    return ObjectLock(
        mode=retention.get("Mode"),
        # Some servers return 0 for the missing one of the two, which S3 does not accept.
        days=retention.get("Days") or None,
        years=retention.get("Years") or None,
        hold_days=hold.get("Days"),
        hold_years=hold.get("Years"),
    )


def write_cors(setting: Cors) -> dict[str, Any]:
    """Return the parameters of PutBucketCors."""
    rules = [
        present(
            ID=rule.id,
            AllowedMethods=list(rule.methods),
            AllowedOrigins=list(rule.origins),
            AllowedHeaders=list(rule.headers) or None,
            ExposeHeaders=list(rule.expose_headers) or None,
            MaxAgeSeconds=rule.max_age,
        )
        for rule in setting.rules
    ]
    return {"CORSConfiguration": {"CORSRules": rules}}


def read_cors(response: Document) -> Cors | None:
    """Read the result of GetBucketCors."""
    rules = response.get("CORSRules") or ()
    return Cors(tuple(_read_cors_rule(rule) for rule in rules)) if rules else None


def _read_cors_rule(rule: Document) -> CorsRule:
    known(rule, "ID AllowedMethods AllowedOrigins AllowedHeaders ExposeHeaders MaxAgeSeconds", where="a CORS rule")
    return CorsRule(
        methods=tuple(rule["AllowedMethods"]),
        origins=tuple(rule["AllowedOrigins"]),
        headers=tuple(rule.get("AllowedHeaders") or ()),
        expose_headers=tuple(rule.get("ExposeHeaders") or ()),
        max_age=rule.get("MaxAgeSeconds"),
        id=rule.get("ID"),
    )
