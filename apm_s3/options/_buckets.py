"""What a bucket is made with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from apm_s3.errors import InvalidOption
from apm_s3.options._bucket_settings import (
    AccessLogging,
    BucketSetting,
    Cors,
    Encryption,
    Notifications,
    ObjectLock,
    OwnershipControls,
    Policy,
    PublicAccessBlock,
    Tags,
    Versioning,
)
from apm_s3.options._lifecycle import Lifecycle
from apm_s3.options._replication import Replication


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketOptions:
    """The settings that a bucket is to have, or has; what is None is left as it is.

    S3 itself makes new buckets private, encrypted (SSE-S3) and without ACLs
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/create-bucket-overview.html); S3-compatible servers may not.
    """

    lifecycle: Lifecycle | None = None
    versioning: Versioning | None = None
    encryption: Encryption | None = None
    ownership: OwnershipControls | None = None
    public_access_block: PublicAccessBlock | None = None
    tags: Tags | None = None
    object_lock: ObjectLock | None = None
    cors: Cors | None = None
    logging: AccessLogging | None = None
    notifications: Notifications | None = None
    replication: Replication | None = None
    policy: Policy | None = None

    @classmethod
    def of(cls, settings: Iterable[BucketSetting]) -> BucketOptions:
        """The options that hold these settings."""
        return cls(**{_FIELDS[type(setting)]: setting for setting in settings})  # type: ignore[arg-type]

    def settings(self) -> tuple[BucketSetting, ...]:
        """Those that are given, in the order in which they are applied."""
        found = (getattr(self, name) for name in _FIELDS.values())
        return tuple(setting for setting in found if setting is not None)

    def check(self) -> None:
        """Refuse what S3 would refuse.

        Raises:
            InvalidOption: one setting, or two beside each other, that S3 does not take.
        """
        for setting in self.settings():
            setting.check()
        if self.lifecycle and self.versioning and self.versioning.mfa_delete:
            raise InvalidOption("S3 takes no lifecycle rules beside MFA delete", hint="leave one of them out")
        if self.versioning and not self.versioning.enabled and (self.replication or self.object_lock):
            raise InvalidOption("replication and object lock need versioning", hint="use Versioning()")


# In the order in which they are applied: what a server may refuse only in part (transitions) comes first, what may
# lock its own author out (the policy) last, and everything after what it needs.
_FIELDS: dict[type[BucketSetting], str] = {
    Lifecycle: "lifecycle",
    Versioning: "versioning",
    Encryption: "encryption",
    OwnershipControls: "ownership",
    PublicAccessBlock: "public_access_block",
    Tags: "tags",
    ObjectLock: "object_lock",
    Cors: "cors",
    AccessLogging: "logging",
    Notifications: "notifications",
    Replication: "replication",
    Policy: "policy",
}
