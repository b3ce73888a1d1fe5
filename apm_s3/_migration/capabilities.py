"""Finds out what the target keeps of an object: from the target's settings and from a probe object."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import suppress

from apm_s3._migration.models import Capability
from apm_s3._migration.sides import Side
from apm_s3._migration.task import Task
from apm_s3._tasks import shielded
from apm_s3.errors import ApmS3Error, JournalRefused, MigrationRefused, S3Error
from apm_s3.models import FileInfo
from apm_s3.options import DeleteOptions, UploadOptions

_METADATA, _TAGS, _CACHE = {"apm-probe": "kept"}, {"apm-probe": "kept"}, "max-age=7"
_MOST_VERSIONS = 10
_PROBE_PREFIX = ".apm-s3-migration-probe-"
_PROBE = re.compile(re.escape(_PROBE_PREFIX) + "[0-9a-f]{32}")
_STREAMED = "checked with each streamed object"
_SHOWED = "found out with a probe object"
_UNASKED = "only writing an object to the target can tell"


def new_probe() -> str:
    """Return a unique name for a probe object."""
    return f"{_PROBE_PREFIX}{uuid.uuid4().hex}"


def check_probe(name: str) -> None:
    """Check a name that a journal tells: the object of this name is overwritten, and deleted.

    Raises:
        JournalRefused: `new_probe` cannot have made it.
    """
    if not _PROBE.fullmatch(name):
        raise JournalRefused(f"the journal was changed by others: its probe object has the name {name!r:.80}")


async def find_capabilities(task: Task, *, probe: str | None) -> tuple[Capability, ...]:
    """Return what the target keeps.

    Args:
        probe: the name of an object to write below the target, copy (if S3 does the copying), read back and delete.
            None writes nothing.
    """
    if task.target_side is None:
        return tuple(_of_directory())
    found = [] if task.source_side is None else await _of_objects(task, task.target_side, probe=probe)
    if task.source_side is not None:
        locks = task.target_side.locks
        denied = any("get_object_lock_configuration" in side.unreadable for side in task.sides)
        detail = "the target's bucket has object lock" if locks else "the target's bucket has no object lock"
        needed, kept = task.source_side.locks, locks if locks or not denied else None
        if denied:
            detail = "a setting could not be read: grant s3:GetBucketObjectLockConfiguration to be sure"
        found.append(Capability("object-lock", kept, needed, detail))
        found += await _when_asked(task, task.target_side)
        found.append(Capability("storage-class", kept=None, needed=False, detail=_STREAMED))
    return tuple(found)


async def check_capabilities(task: Task, *, probe: str | None) -> tuple[Capability, ...]:
    """Return what the target keeps, and refuse losses that were not accepted by name.

    Raises:
        MigrationRefused: something would get lost that `accept` does not name.
    """
    found = await find_capabilities(task, probe=probe)
    lost = [one for one in found if one.needed and one.kept is False and one.name not in task.rules.accept]
    if lost:
        names = tuple(one.name for one in lost)
        listed = "; ".join(f"{one.name}: {one.detail}" for one in lost)
        raise MigrationRefused(
            f"{task.target_name} cannot keep everything: {listed}",
            capabilities=names,
            operation="migrate",
            hint=f"choose another target, or accept the loss by name: accept={names}",
        )
    return found


async def _when_asked(task: Task, target: Side) -> list[Capability]:
    found = []
    if task.rules.versions:
        status = await target.setting("get_bucket_versioning", "Status")
        kept = status == "Enabled"
        found.append(Capability("versions", kept, needed=True, detail=f"versioning is {status or 'not enabled'}"))
    return found


def _of_directory() -> Iterator[Capability]:
    for name in ("metadata", "tags"):
        yield Capability(name, kept=False, needed=True, detail="files have none")
    for name in ("storage-class", "object-lock", "checksums"):
        yield Capability(name, kept=False, needed=False, detail="files have none")


async def _of_objects(task: Task, target: Side, *, probe: str | None) -> list[Capability]:
    accepted = set(task.rules.accept)
    names = ("metadata", "tags", "checksums")
    if probe is None or target.locks or {"metadata", "tags"} <= accepted:
        # The bucket may lock every new object, and then the probe could not be deleted.
        return [Capability(name, None, name != "checksums", _UNASKED) for name in names]
    with_tags = "tags" not in accepted
    key = target.key(probe)
    try:
        info, tags = await _probed(task, target, key, with_tags=with_tags)
    except S3Error as exc:
        if not exc.may_have_happened and not exc.retryable and with_tags:
            why = f"an object with tags was refused: {exc.s3_code or exc.problem}"
            return [Capability("tags", kept=False, needed=True, detail=why)]
        raise
    kept_metadata = dict(info.metadata or {}) == _METADATA and info.headers.get("cache-control") == _CACHE
    summed = bool(info.checksums)
    return [
        Capability("metadata", kept_metadata, needed=True, detail=_SHOWED),
        Capability("tags", not with_tags or tags == _TAGS, needed=with_tags, detail=_SHOWED),
        Capability("checksums", summed, needed=False, detail=", ".join(info.checksums) or "it reports none"),
    ]


async def _probed(task: Task, target: Side, key: str, *, with_tags: bool) -> tuple[FileInfo, dict[str, str]]:
    """Write a probe (and let S3 copy it, if S3 does the copying), and return the result and its tags."""
    bucket, s3 = target.place.bucket, target.s3
    options = UploadOptions(
        content_type="text/plain", metadata=_METADATA, tags=_TAGS if with_tags else {}, cache_control=_CACHE
    )
    keys = [key]
    try:
        await s3.upload_file(bucket, key, b"apm_s3 looks what this server keeps", options)
        if task.server_side:
            keys.append(f"{key}-copy")
            await s3.copy_file(bucket, key, bucket, keys[-1])
        info = await target.head(keys[-1])
        return info, await s3.get_file_tags(bucket, keys[-1]) if with_tags else {}
    finally:
        await shielded(_remove(target, keys))


async def _remove(target: Side, keys: list[str]) -> None:
    """Delete probes with all their versions."""
    bucket, s3 = target.place.bucket, target.s3
    for key in keys:
        with suppress(ApmS3Error):
            # A killed run may have left several versions.
            for _ in range(_MOST_VERSIONS):
                info = await target.head(key)
                await s3.delete_file(bucket, key, DeleteOptions(version_id=info.version_id))
