"""The least IAM policies for those who read, write, deploy and administer the configurations in a bucket. Pure.

Each function returns a policy document, ready for `json.dumps`, to attach to a role or user:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html. The actions of each operation are in
https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html.

IAM knows keys, not their meaning: every write of an environment ends in one object, `current.json`, so whoever may
upload a configuration may also roll back, freeze, thaw and change the settings of that environment. Environments can be
kept apart; the tools of one environment cannot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from apm_s3._naming import check_bucket_name, check_environment
from apm_s3.configs._protocol.keys import check_prefix
from apm_s3.errors import InvalidOption

__all__ = ["administrator", "deployer", "reader", "writer"]

_READ = ("s3:GetObject",)
_WRITE = ("s3:PutObject",)
_FOLDERS = ("configs", "live", "backups")
_ALL = ("*",)
_IMMUTABLE = ("*/releases", "*/blobs", "log")
_REPLACES = {"Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}}
"""A request that creates an object although one may exist. The second key, which spares the parts of uploads, is S3's
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes-enforce.html): without it a server denies
nothing."""

# Needed by the bucket settings that this library knows, and to create, empty and delete a bucket:
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html.
_SETTINGS = (
    "BucketCORS",
    "BucketLogging",
    "BucketNotification",
    "BucketObjectLockConfiguration",
    "BucketOwnershipControls",
    "BucketPolicy",
    "BucketPublicAccessBlock",
    "BucketTagging",
    "BucketVersioning",
    "EncryptionConfiguration",
    "LifecycleConfiguration",
    "ReplicationConfiguration",
)
_OF_THE_BUCKET = (
    "s3:CreateBucket",
    "s3:DeleteBucket",
    "s3:DeleteBucketPolicy",
    "s3:GetBucketLocation",
    "s3:ListBucket",
    "s3:ListBucketMultipartUploads",
    "s3:ListBucketVersions",
    *(f"s3:{verb}{setting}" for setting in _SETTINGS for verb in ("Get", "Put")),
)
_OF_ITS_OBJECTS = (
    "s3:AbortMultipartUpload",
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:GetObject",
    "s3:GetObjectTagging",
    "s3:GetObjectVersion",
    "s3:ListMultipartUploadParts",
    "s3:PutObject",
    "s3:PutObjectTagging",
    "s3:RestoreObject",
)


def reader(
    bucket: str,
    *,
    environments: Iterable[str] | None = None,
    prefix: str = "",
    kms_key_arn: str | None = None,
    partition: str = "aws",
) -> dict[str, Any]:
    """Return the policy of a role that reads configurations, their history, logs and backups, and changes nothing.

    Args:
        bucket: the bucket's name.
        environments: the only ones it may read; by default all of the store. A role for some of them has to name the
            environment in each call: it cannot list the names, since S3 would show it the keys of the others, too.
        prefix: that of the store in the bucket.
        kms_key_arn: the key of a bucket that is encrypted with SSE-KMS.
        partition: `aws-cn` or `aws-us-gov` for the regions of these partitions.

    Raises:
        InvalidBucketName, InvalidKey, InvalidOption: a name is not valid, or `environments` is empty.
    """
    place = _Place(bucket, prefix, partition)
    return _document(
        [*place.reading(_names(environments))],
        _key(kms_key_arn, "kms:Decrypt"),
    )


def writer(
    bucket: str,
    *,
    environments: Iterable[str] | None = None,
    prefix: str = "",
    kms_key_arn: str | None = None,
    partition: str = "aws",
) -> dict[str, Any]:
    """Return the policy of a role that reads and writes the configurations of `environments`, and backs them up.

    It may do everything with them except what changes history: collecting garbage, pruning backups and repairs take
    `administrator`. On S3, it cannot replace a release, a file or a backup that exists; other servers may not know the
    condition. The arguments and errors are those of `reader`.
    """
    place, names = _Place(bucket, prefix, partition), _names(environments)
    return _document(
        [*place.reading(names), *place.writing(names)],
        _key(kms_key_arn, "kms:Decrypt", "kms:GenerateDataKey"),
    )


def deployer(
    bucket: str,
    *,
    source: str | Iterable[str],
    target: str | Iterable[str],
    prefix: str = "",
    kms_key_arn: str | None = None,
    partition: str = "aws",
) -> dict[str, Any]:
    """Return the policy of a role that promotes configurations from the environments `source` to those in `target`.

    It reads the sources, and reads and writes the targets. The other arguments and the errors are those of `reader`.
    """
    place = _Place(bucket, prefix, partition)
    targets = _names([target] if isinstance(target, str) else target)
    sources = _names([source] if isinstance(source, str) else source)
    both = tuple(dict.fromkeys((*sources, *targets)))
    return _document(
        [*place.reading(both), *place.writing(targets)],
        _key(kms_key_arn, "kms:Decrypt", "kms:GenerateDataKey"),
    )


def administrator(bucket: str, *, kms_key_arn: str | None = None, partition: str = "aws") -> dict[str, Any]:
    """Return the policy of a role that creates, configures and deletes the bucket, and cares for all stores in it.

    It covers every verb of this library on this bucket. To set up replication, the role also needs `iam:PassRole` for
    the role that replicates; to bypass the retention of an object lock, `s3:BypassGovernanceRetention`.

    Raises:
        InvalidBucketName: the name is not valid.
    """
    place = _Place(bucket, "", partition)
    statements = [
        _statement("AdministerBucket", _OF_THE_BUCKET, [place.bucket]),
        _statement("AdministerObjects", _OF_ITS_OBJECTS, [f"{place.bucket}/*"]),
        _statement("ListBuckets", ("s3:ListAllMyBuckets",), ["*"]),
    ]
    return _document(statements, _key(kms_key_arn, "kms:Decrypt", "kms:GenerateDataKey"))


class _Place:
    """Where a store lies, and the statements about it."""

    def __init__(self, bucket: str, prefix: str, partition: str) -> None:
        self.bucket = f"arn:{partition}:s3:::{check_bucket_name(bucket)}"
        # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html#policy-vars-specialchars
        self._prefix = check_prefix(prefix).translate({ord(special): f"${{{special}}}" for special in "*?$"})

    def reading(self, names: tuple[str, ...]) -> list[dict[str, Any]]:
        folders = self._folders(_FOLDERS, names)
        # Without the permission to list, S3 answers 403 instead of 404 for an object that is not there.
        listed = {"StringLike": {"s3:prefix": folders}}
        return [
            _statement("ReadConfigurations", _READ, self._objects(folders)),
            _statement("ListConfigurations", ("s3:ListBucket",), [self.bucket], listed),
        ]

    def writing(self, names: tuple[str, ...]) -> list[dict[str, Any]]:
        # The only objects that a writer deletes: live copies of files that are gone, and what its probe left.
        passing = [*self._folders(("live",), names), *(f"{self._prefix}configs/{name}/probe-*" for name in names)]
        kept = [f"configs/{name}/{kind}/*" for name in names for kind in _IMMUTABLE]
        immutable = [*(f"{self._prefix}{each}" for each in kept), *self._folders(("backups",), names)]
        return [
            _statement("WriteConfigurations", _WRITE, self._objects(self._folders(_FOLDERS, names))),
            _statement("DeleteWhatPasses", ("s3:DeleteObject",), self._objects(passing)),
            {**_statement("ReplaceNothing", _WRITE, self._objects(immutable), _REPLACES), "Effect": "Deny"},
        ]

    def _folders(self, kinds: Iterable[str], names: tuple[str, ...]) -> list[str]:
        inside = ("*",) if names == _ALL else tuple(f"{name}/*" for name in names)
        return [f"{self._prefix}{kind}/{keys}" for kind in kinds for keys in inside]

    def _objects(self, keys: Iterable[str]) -> list[str]:
        return [f"{self.bucket}/{key}" for key in keys]


def _names(environments: Iterable[str] | None) -> tuple[str, ...]:
    if environments is None:
        return _ALL
    if isinstance(environments, str):
        raise InvalidOption("environments is a single string", hint=f"pass a list: [{environments!r}]")
    names = tuple(dict.fromkeys(check_environment(name) for name in environments))
    if not names:
        raise InvalidOption("environments is empty", hint="name at least one, or omit it for all of them")
    return names


def _key(arn: str | None, *actions: str) -> list[dict[str, Any]]:
    return [] if arn is None else [_statement("UseTheKey", actions, [arn])]


def _statement(
    sid: str, actions: Iterable[str], resources: Iterable[str], condition: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    statement = {"Sid": sid, "Effect": "Allow", "Action": sorted(actions), "Resource": list(resources)}
    return statement | ({"Condition": dict(condition)} if condition else {})


def _document(statements: Iterable[dict[str, Any]], key: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [*statements, *key]}
