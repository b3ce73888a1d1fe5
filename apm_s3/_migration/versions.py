"""Moves histories: all versions and delete markers of each key, in order.

A target key must be empty or hold the beginning of the history, which lets a killed run continue. A different history
is left alone, unless it is to be overwritten: then all versions are added on top.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from apm_s3._migration.journal import Journal, Listed, Outcome, Row, State
from apm_s3._migration.models import NAMELESS, MigrationOptions, is_md5, patterns_of, target_key_of
from apm_s3._migration.moving import S3Mover
from apm_s3._migration.sides import Side
from apm_s3.errors import ApmS3Error, Conflict, InvalidKey
from apm_s3.models import FileVersion

_PAGE = 1000


async def list_histories(journal: Journal, rules: MigrationOptions, side: Side, *, as_root: bool) -> None:
    """List all versions of the source into the journal, the newest of each key first.

    Nothing moves before all versions are known, so the listing of a killed run begins again.

    Args:
        as_root: whether the empty key can be moved, that is, an object whose key is the prefix itself.
    """
    if await journal.do(lambda store: store.get("listed")):
        return
    await journal.do(lambda store: store.forget_objects())
    span = await journal.do(lambda store: store.add_span(None, None))
    keeps, cut = patterns_of(rules).keeps, len(side.place.prefix)
    found: list[Listed] = []
    skipped: dict[str, str] = {}
    async with aclosing(_grouped(side)) as groups:
        async for whole, versions in groups:
            key = whole[cut:]
            if not whole.startswith(side.place.prefix) or not keeps(key):
                continue
            try:
                target_key = target_key_of(rules, key)
            except InvalidKey as exc:
                skipped[key] = exc.problem
                continue
            if not target_key and not as_root:
                skipped[key] = NAMELESS
                continue
            found += [_found(key, target_key, version) for version in reversed(versions)]
            if len(found) >= _PAGE:
                page, found = found, []
                await journal.do(lambda store, page=page: store.add_page(span, None, page, {}, done=False))  # type: ignore[misc]
    await journal.do(lambda store: store.add_page(span, None, found, skipped, done=True))
    await journal.do(lambda store: store.set(listed="yes"))


def _found(key: str, target_key: str, version: FileVersion) -> Listed:
    modified = None if version.last_modified is None else version.last_modified.timestamp()
    return Listed(
        key,
        target_key,
        version.size,
        version.etag,
        modified,
        version.storage_class,
        version.version_id,
        version.is_delete_marker,
    )


@dataclass(slots=True)
class Histories:
    """Moves whole histories of keys."""

    mover: S3Mover
    rules: MigrationOptions

    async def move(self, rows: Sequence[Row]) -> list[Outcome]:
        """Move all versions of one key, given oldest first. Versions that the target already has are left alone."""
        target = self.mover.target
        to = target.key(rows[0].target_key)
        try:
            there = await versions_of(target, to)
            begun = already_there(rows, there)
            if begun and self.rules.compare == "all" and not await self._carry(rows[:begun], there):
                begun = None
            if begun is None and self.rules.if_exists != "overwrite":
                raise Conflict("the target has a different history of this key", operation="migrate", key=to)
        except (ApmS3Error, OSError) as error:
            return [_failed(row, error) for row in rows]
        outcomes = [
            Outcome(State.IDENTICAL, row.size, row.etag, None, "", None, row.attempts, row.id)
            for row in rows[: begun or 0]
        ]
        for row in rows[begun or 0 :]:
            try:
                outcomes.append(await self._one(row, to))
            except (ApmS3Error, OSError) as error:
                # Later versions must not be moved before this one.
                left = rows[len(outcomes) :]
                return [*outcomes, *(_failed(one, error) for one in left)]
        return outcomes

    async def _carry(self, rows: Sequence[Row], there: Sequence[FileVersion]) -> bool:
        """Return whether versions of the target have what is carried over besides the content."""
        for row, version in zip(rows, there, strict=True):
            if not row.marker and not await self.mover.carries(row, version.version_id):
                return False
        return True

    async def _one(self, row: Row, to: str) -> Outcome:
        if not row.marker:
            moved = await self.mover.move(row)
            return Outcome(
                State.MOVED, moved.size, moved.etag, moved.target_etag, moved.checksum, None, row.attempts + 1, row.id
            )
        # Not every server reports whether a marker was created; the check at the end finds out.
        target = self.mover.target
        await target.s3.delete_file(target.place.bucket, to)
        return Outcome(State.MOVED, 0, None, None, "marker", None, row.attempts + 1, row.id)


async def check_histories(journal: Journal, rules: MigrationOptions, target: Side) -> None:
    """Compare the target's versions with the journal; keys that differ or are missing fail."""
    await journal.do(lambda store: store.clear_target())
    cut = len(target.place.prefix)
    async with aclosing(_grouped(target)) as groups:
        async for key, there in groups:
            rows = await journal.do(lambda store, key=key: store.history(key[cut:]))  # type: ignore[misc]
            newest = there[-len(rows) :] if rules.if_exists == "overwrite" else there
            if rows and already_there(rows, newest) == len(rows):
                entry = (key[cut:], 0, None, None)
                await journal.do(lambda store, entry=entry: store.add_target([entry]))  # type: ignore[misc]
    await journal.do(lambda store: store.fail_missing("the target has a different history"))


async def _grouped(side: Side) -> AsyncGenerator[tuple[str, list[FileVersion]], None]:
    """Iterate over keys with their versions, oldest first."""
    key: str | None = None
    found: list[FileVersion] = []
    async with aclosing(side.s3.iter_versions(side.place.bucket, side.place.prefix)) as versions:
        async for version in versions:
            if version.key != key:
                if key is not None:
                    yield key, _oldest_first(found)
                key, found = version.key, []
            found.append(version)
    if key is not None:
        yield key, _oldest_first(found)


def _oldest_first(versions: Sequence[FileVersion]) -> list[FileVersion]:
    """Sort the versions of one key, as some servers list all delete markers after all versions."""

    def newest_first(version: FileVersion) -> tuple[bool, float]:
        at = 0.0 if version.last_modified is None else version.last_modified.timestamp()
        return not version.is_latest, -at

    return sorted(versions, key=newest_first)[::-1]


async def versions_of(side: Side, key: str) -> list[FileVersion]:
    """Return the versions of one key, oldest first."""
    found: list[FileVersion] = []
    async with aclosing(side.s3.iter_versions(side.place.bucket, key)) as versions:
        async for version in versions:
            if version.key == key:
                found.append(version)
            elif version.key > key and not version.key.startswith(key):
                break
    return _oldest_first(found)


def already_there(rows: Sequence[Row], there: Sequence[FileVersion]) -> int | None:
    """Return how many of `rows` the target has, both oldest first; None if it has something else. Pure."""
    if len(there) > len(rows):
        return None
    same = all(_is(row, version) for row, version in zip(rows, there, strict=False))
    return len(there) if same else None


def _is(row: Row, version: FileVersion) -> bool:
    if row.marker or version.is_delete_marker:
        return row.marker == version.is_delete_marker
    comparable = is_md5(row.etag) and is_md5(version.etag)
    return row.size == version.size and (row.etag == version.etag or not comparable)


def _failed(row: Row, error: Exception) -> Outcome:
    problem = str(error) if isinstance(error, ApmS3Error) else f"{type(error).__name__}: {error}"
    attempts = 3 if isinstance(error, Conflict) else row.attempts + 1
    return Outcome(State.FAILED, row.size, row.etag, None, None, problem, attempts, row.id)
