"""What decides which objects move, under which names, and what counts as the same. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from apm_s3._migration.models import IfExists, Verify
from apm_s3._naming import check_key
from apm_s3._s3.bulk.trees import Rules as Patterns
from apm_s3.errors import InvalidKey, InvalidOption

_MD5 = re.compile(r'"?[0-9a-f]{32}"?')

CAPABILITIES = ("metadata", "tags", "storage-class", "object-lock", "checksums", "versions", "acls")
"""What `accept` takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationRules:
    """The rule set of a migration: everything that decides what the target will hold.

    Attributes:
        transform_key: gives the target's name for a source's; both are relative to their places.
    """

    if_exists: IfExists = "skip-identical"
    include: str | Sequence[str] | None = None
    exclude: str | Sequence[str] | None = None
    transform_key: Callable[[str], str] | None = None
    delete_extra: bool = False
    versions: bool = False
    acls: bool = False
    verify: Verify = "checksum"
    accept: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.if_exists not in {"skip-identical", "overwrite", "fail"}:
            raise InvalidOption(f"if_exists is {self.if_exists!r:.40}", hint="skip-identical, overwrite or fail")
        if self.verify not in {"checksum", "read"}:
            raise InvalidOption(f"verify is {self.verify!r:.40}", hint="checksum or read")
        if unknown := sorted(set(self.accept) - set(CAPABILITIES)):
            raise InvalidOption(f"accept has {unknown[0]!r:.40}", hint=f"it takes {', '.join(CAPABILITIES)}")

    @property
    def patterns(self) -> Patterns:
        """Which keys take part."""
        return Patterns(self.include, self.exclude)

    def fingerprint(self) -> str:
        """Names the rule set. A function is named by its module and name alone: nobody can compare its code."""
        transform = self.transform_key
        told = {
            "if_exists": self.if_exists,
            "include": _listed(self.include),
            "exclude": _listed(self.exclude),
            "transform_key": transform
            and [str(getattr(transform, name, "")) for name in ("__module__", "__qualname__")],
            "delete_extra": self.delete_extra,
            "versions": self.versions,
            "acls": self.acls,
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def target_key(self, key: str) -> str:
        """The name that `key` gets at the target.

        Raises:
            InvalidKey: `transform_key` gave something that cannot be one.
        """
        if self.transform_key is None:
            return key
        made = self.transform_key(key)
        if not isinstance(made, str):
            raise InvalidKey(f"transform_key gave {type(made).__name__} for '{key}'", hint="it has to give a str")
        check_key(made, bucket=None)
        return made


class Sameness(IntEnum):
    """What two listings tell of an object and its counterpart."""

    NEW = 0
    IDENTICAL = 1
    CHANGED = 2
    UNSURE = 3


def compare(size: int, etag: str | None, their_size: int | None, their_etag: str | None) -> Sameness:
    """Whether the target has an object already, by size and ETag. ETags of parts, or encrypted, compare only if equal.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
    """
    if their_size is None:
        return Sameness.NEW
    if size != their_size:
        return Sameness.CHANGED
    if etag and etag == their_etag:
        return Sameness.IDENTICAL
    if is_md5(etag) and is_md5(their_etag):
        return Sameness.CHANGED
    return Sameness.UNSURE


def is_md5(etag: str | None) -> bool:
    """Whether an ETag looks like the MD5 of the content."""
    return etag is not None and _MD5.fullmatch(etag) is not None


def group_of(key: str) -> str:
    """The part of a key by which requests are throttled: its first folder."""
    return key.partition("/")[0] if "/" in key else ""


def _listed(patterns: str | Sequence[str] | None) -> list[str]:
    if not patterns:
        return []
    return [patterns] if isinstance(patterns, str) else list(patterns)
