"""Options for creating a bucket."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from apm_s3._hints import Advice
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

STORE_TAG = {"apm:managed-by": "apm_s3"}
"""The tag of buckets for configurations, whose settings must not keep a server from honouring conditional writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketOptions:
    """The desired or current settings of a bucket; settings that are None are left unchanged.

    S3 creates new buckets private, encrypted (SSE-S3) and without ACLs
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
        """Create options from settings."""
        return cls(**{_FIELDS[type(setting)]: setting for setting in settings})  # type: ignore[arg-type]

    def settings(self) -> tuple[BucketSetting, ...]:
        """Return the settings that are set, in the order in which they are applied."""
        found = (getattr(self, name) for name in _FIELDS.values())
        return tuple(setting for setting in found if setting is not None)

    def check(self) -> None:
        """Refuse what S3 would refuse.

        Raises:
            InvalidOption: S3 does not accept one of the settings, or a combination of them.
        """
        for setting in self.settings():
            setting.check()
        if self.lifecycle and self.versioning and self.versioning.mfa_delete:
            raise InvalidOption("S3 does not allow lifecycle rules with MFA delete", hint="omit one of them")
        if self.versioning and not self.versioning.enabled and (self.replication or self.object_lock):
            raise InvalidOption("replication and object lock need versioning", hint=Advice.USE_VERSIONING())


# In the order in which they are applied: settings that a server may refuse in part (transitions) come first, the
# policy, which may lock out its own author, comes last, and each setting comes after those that it needs.
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
