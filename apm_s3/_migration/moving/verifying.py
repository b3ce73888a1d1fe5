"""Compares an object at the target with its source: metadata, tags, storage class, lock and content."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from apm_s3._migration.rules import MigrationRules
from apm_s3._migration.sides import Side, differences
from apm_s3.errors import IntegrityError
from apm_s3.models import FileInfo


def check_stored(target: Side, rules: MigrationRules, ours: FileInfo, theirs: FileInfo) -> None:
    """Compare the HEAD responses of both sides.

    Raises:
        IntegrityError: the target has dropped or changed something that `accept` does not name.
    """
    wrong = differences(ours, theirs, lock=target.locks and "object-lock" not in rules.accept)
    if "metadata" in rules.accept:
        wrong = [one for one in wrong if one.startswith("size")]
    if "storage-class" not in rules.accept and ours.storage_class != theirs.storage_class:
        wrong.append(f"storage class ({theirs.storage_class} instead of {ours.storage_class})")
    if wrong:
        raise IntegrityError(
            f"the target has other {', '.join(wrong)}", operation="migrate", bucket=theirs.bucket, key=theirs.key
        )


async def check_tags(
    target: Side, rules: MigrationRules, tags: Mapping[str, str], theirs: FileInfo, *, exactly: bool = False
) -> None:
    """Compare the target's tags with the source's, reading them only if there should be some.

    Args:
        exactly: also read them if there may be some: this migration has not written the object.

    Raises:
        IntegrityError: the tags differ.
    """
    if "tags" in rules.accept or not (tags or exactly):
        return
    stored = await (target.tags(theirs) if exactly else target.s3.get_file_tags(theirs.bucket, theirs.key))
    if dict(stored) != dict(tags):
        lost = sorted(set(tags) - set(stored))
        what = f"dropped the tags {', '.join(lost)}" if lost else "other tags"
        raise IntegrityError(f"the target has {what}", operation="migrate", bucket=theirs.bucket, key=theirs.key)


def told_same(ours: FileInfo, theirs: FileInfo) -> bool | None:
    """Compare the whole-object checksums that both servers keep; None if they share no kind of checksum."""
    common = set(ours.checksums) & set(theirs.checksums)
    return None if not common else all(ours.checksums[name] == theirs.checksums[name] for name in common)


async def same_content(source: Side, key: str, version: str, target: Side, to: str) -> bool:
    """Read both sides and return whether their content is the same."""
    ours, theirs = await asyncio.gather(source.digest(key, version), target.digest(to))
    return ours == theirs
