"""The journal of a migration: a SQLite file that keeps what was listed and moved, and a thread that alone uses it.

A row exists before its object moves, and is marked done only afterwards. A listed page and the place where the listing
continues are written in one transaction.

Invariants: only that thread writes to the file; closing the journal writes all pending outcomes.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

from apm_s3._migration.models import other_rules
from apm_s3._tasks import shielded
from apm_s3.errors import InvalidOption, JournalRefused

FORMAT = "apm-s3/migration-journal/2"

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE ranges (id INTEGER PRIMARY KEY, after TEXT, upto TEXT, done INTEGER NOT NULL DEFAULT 0);
CREATE TABLE objects (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL, version TEXT NOT NULL, target_key TEXT NOT NULL,
  size INTEGER NOT NULL, etag TEXT, modified REAL, storage_class TEXT, marker INTEGER NOT NULL DEFAULT 0,
  state INTEGER NOT NULL DEFAULT 0, target_etag TEXT, checksum TEXT,
  attempts INTEGER NOT NULL DEFAULT 0, error TEXT, UNIQUE (key, version));
CREATE TABLE target (key TEXT PRIMARY KEY, size INTEGER NOT NULL, etag TEXT, modified REAL) WITHOUT ROWID;
CREATE TABLE skipped (key TEXT PRIMARY KEY, reason TEXT NOT NULL) WITHOUT ROWID;
"""
_BY_TARGET = "CREATE INDEX by_target ON objects (target_key)"
_STATEMENTS = {_BY_TARGET, *(statement.strip() for statement in _SCHEMA.split(";"))}

TRUSTED = "trusted"
"""Stands in `Outcome.checksum` for the digests of the source, with which content went unsigned over plain HTTP."""


class State(IntEnum):
    """The state of an object."""

    PENDING = 0
    MOVED = 1
    IDENTICAL = 2
    FAILED = 3
    VANISHED = 4


class Listed(NamedTuple):
    """An object in the source's listing; keys are relative to their places."""

    key: str
    target_key: str
    size: int
    etag: str | None
    modified: float | None
    storage_class: str | None
    version: str = ""
    marker: bool = False


class Row(NamedTuple):
    """An object to move, with its counterpart from the target's listing.

    Attributes:
        failed: whether it failed before, in this run or an earlier one.
    """

    id: int
    key: str
    version: str
    target_key: str
    size: int
    etag: str | None
    modified: float | None
    storage_class: str | None
    marker: bool
    attempts: int
    their_size: int | None = None
    their_etag: str | None = None
    failed: bool = False


class Outcome(NamedTuple):
    """The result of moving a row."""

    state: State
    size: int
    etag: str | None
    target_etag: str | None
    checksum: str | None
    error: str | None
    attempts: int
    id: int


class Span(NamedTuple):
    """A range of keys to list: after `after` (None: from the first), up to and including `upto` (None: the last)."""

    id: int
    after: str | None
    upto: str | None


class Totals(NamedTuple):
    """Counts by state, the bytes of all objects, and the bytes of moved objects."""

    objects: int
    bytes: int
    pending: int
    moved: int
    moved_bytes: int
    identical: int
    failed: int
    vanished: int
    trusted: int


class Store:
    """An open journal. Every method is one transaction."""

    def __init__(self, path: str | Path | None) -> None:
        if path:
            _check_owner(Path(path))
        try:
            # With an empty name, SQLite uses a private temporary file and deletes it.
            self._db = sqlite3.connect(path or "", timeout=0, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as exc:
            raise _refused(path, exc) from exc
        try:
            # Exclusive: SQLite refuses a second process, and the lock ends with this process even if it is killed.
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._tables = {name for (name,) in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if self._tables and "ranges" not in self._tables:
                raise JournalRefused(f"'{path}' is a database, but not a journal")  # noqa: TRY301 - closes it below
            if not _STATEMENTS.issuperset(sql for (sql,) in self._db.execute("SELECT sql FROM sqlite_master") if sql):
                # Triggers, views, computed columns and conditions would run what their author wrote.
                raise JournalRefused(f"'{path}' has tables or more that no journal has")  # noqa: TRY301 - see below
            if path:
                self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("COMMIT")
        except sqlite3.Error as exc:
            self.close()
            raise _refused(path, exc) from exc
        except JournalRefused:
            self.close()
            raise

    def prepare(self, identity: dict[str, str]) -> bool:
        """Begin or continue a journal. Return whether it existed before.

        Raises:
            JournalRefused: the file belongs to another migration, or is not a journal.
        """
        if not self._tables:
            with self._transaction():
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)
                self.set(**identity, format=FORMAT, begun=str(time.time()))
            return False
        known = dict(self._db.execute("SELECT name, value FROM meta"))
        if known.get("format") != FORMAT:
            raise JournalRefused(
                f"the journal has the format '{known.get('format')}'; this version reads only '{FORMAT}'",
                hint="finish it with the version that began it, or give the name of a new file",
            )
        for name, value in identity.items():
            if known.get(name) != value:
                had = known.get(name, "")
                rules = name == "rules"
                what = f"other {other_rules(had, value)}" if rules else f"its {name} is {had}, not {value}"
                raise JournalRefused(f"the journal belongs to another migration: {what}")
        return True

    def get(self, name: str) -> str | None:
        """Return a fact about the whole migration."""
        found = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])

    def set(self, **facts: str) -> None:
        """Store facts about the whole migration."""
        self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", facts.items())

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # Listing

    def spans(self) -> list[Span]:
        """Return the ranges whose listing is incomplete."""
        return [Span(*row) for row in self._db.execute("SELECT id, after, upto FROM ranges WHERE done = 0 ORDER BY id")]

    def add_span(self, after: str | None, upto: str | None) -> int:
        """Add a range and return its id."""
        return int(self._db.execute("INSERT INTO ranges (after, upto) VALUES (?, ?)", (after, upto)).lastrowid or 0)

    def cut_span(self, span_id: int, upto: str, rest_upto: str | None) -> int:
        """End a range at `upto`, begin a new one there, and return its id."""
        with self._transaction():
            self.shrink_span(span_id, upto)
            return self.add_span(upto, rest_upto)

    def shrink_span(self, span_id: int, upto: str) -> None:
        """End a range at `upto`, as no keys follow."""
        self._db.execute("UPDATE ranges SET upto = ? WHERE id = ?", (upto, span_id))

    def forget_spans(self) -> None:
        """Discard all ranges, so that the listing begins again."""
        self._db.execute("DELETE FROM ranges")

    def add_page(
        self, span_id: int, after: str | None, found: Sequence[Listed], skipped: dict[str, str], *, done: bool
    ) -> int:
        """Store a listed page and the place where the listing continues. Return how many objects are new.

        Raises:
            InvalidOption: two objects would get the same name at the target.
        """
        with self._transaction():
            before = self._db.total_changes
            self._db.executemany(
                "INSERT OR IGNORE INTO objects (key, target_key, size, etag, modified, storage_class, version, marker) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                found,
            )
            added = self._db.total_changes - before
            if skipped:
                self._db.executemany("INSERT OR REPLACE INTO skipped VALUES (?, ?)", skipped.items())
            self._db.execute("UPDATE ranges SET after = ?, done = ? WHERE id = ?", (after, done, span_id))
            if added and any(one.key != one.target_key for one in found):
                self._check_targets(found)
        return added

    def _check_targets(self, found: Sequence[Listed]) -> None:
        self._db.execute("CREATE INDEX IF NOT EXISTS by_target ON objects (target_key)")
        marks = ",".join("?" * len(found))
        clash = self._db.execute(
            "SELECT target_key, MIN(key), MAX(key) FROM objects WHERE target_key IN "  # noqa: S608 - question marks
            f"({marks}) GROUP BY target_key HAVING MIN(key) <> MAX(key) LIMIT 1",
            [one.target_key for one in found],
        ).fetchone()
        if clash is not None:
            raise InvalidOption(
                f"transform_key gives '{clash[1]}' and '{clash[2]}' the same name, '{clash[0]}'",
                operation="migrate",
                hint="make it return a different name for each key",
            )

    def clear_target(self) -> None:
        """Discard the target's listing."""
        self._db.execute("DELETE FROM target")

    def add_target(self, found: Iterable[tuple[str, int, str | None, float | None]]) -> None:
        """Store entries of the target's listing: key, size, ETag and time."""
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO target VALUES (?, ?, ?, ?)", found)

    def names(self) -> Iterator[tuple[object, ...]]:
        """Iterate over all objects: key, version and name at the target.

        Raises:
            JournalRefused: one has a size or a number of attempts that no listing and no run can have brought.
        """
        wrong = " OR ".join(
            f"typeof({each}) <> 'integer' OR {each} NOT BETWEEN 0 AND {2**53}" for each in ("size", "attempts")
        )
        if self._db.execute(f"SELECT 1 FROM objects WHERE {wrong}").fetchone():  # noqa: S608 - columns of ours
            raise JournalRefused("the journal has sizes or attempts that are no numbers")
        yield from self._db.execute("SELECT key, version, target_key FROM objects")

    # Moving

    def pending(self, after: int, limit: int) -> list[Row]:
        """Return objects to move in listing order, with their counterparts at the target."""
        rows = self._db.execute(
            "SELECT o.id, o.key, o.version, o.target_key, o.size, o.etag, o.modified, o.storage_class, o.marker, "
            "o.attempts, t.size, t.etag, o.error IS NOT NULL FROM objects o LEFT JOIN target t ON t.key = o.target_key "
            "WHERE o.id > ? AND o.state = 0 ORDER BY o.id LIMIT ?",
            (after, limit),
        )
        return [Row(*row) for row in rows]

    def note(self, outcomes: Sequence[Outcome]) -> None:
        """Store outcomes."""
        with self._transaction():
            self._db.executemany(
                "UPDATE objects SET state = ?, size = ?, etag = ?, target_etag = ?, checksum = ?, error = ?, "
                "attempts = ? WHERE id = ?",
                outcomes,
            )

    def retry_failed(self, most: int) -> int:
        """Mark objects that failed fewer than `most` times to be moved again, and return their number."""
        return self._db.execute("UPDATE objects SET state = 0 WHERE state = 3 AND attempts < ?", (most,)).rowcount

    def retry_all_failed(self) -> int:
        """Mark all failed objects to be moved again, and reset their attempts."""
        return self._db.execute("UPDATE objects SET state = 0, attempts = 0 WHERE state = 3").rowcount

    def forget_objects(self) -> None:
        """Discard all objects. Call it only while nothing has moved."""
        self._db.execute("DELETE FROM objects")

    def pending_keys(self, after: int, limit: int) -> list[Row]:
        """Return the newest version of each key that has versions to move, in listing order."""
        rows = self._db.execute(
            "SELECT MIN(id), key, version, target_key, size, etag, modified, storage_class, marker, attempts "
            "FROM objects WHERE state = 0 GROUP BY key HAVING MIN(id) > ? ORDER BY MIN(id) LIMIT ?",
            (after, limit),
        )
        return [Row(*row) for row in rows]

    def history(self, target_key: str) -> list[Row]:
        """Return all versions of the object with this target name, oldest first."""
        self._db.execute("CREATE INDEX IF NOT EXISTS by_target ON objects (target_key)")
        rows = self._db.execute(
            "SELECT id, key, version, target_key, size, etag, modified, storage_class, marker, attempts FROM objects "
            "WHERE target_key = ? ORDER BY id DESC",
            (target_key,),
        )
        return [Row(*row) for row in rows]

    def fail_missing(self, error: str) -> int:
        """Mark objects that are not in the target's listing as failed, and return their number."""
        return self._db.execute(
            "UPDATE objects SET state = 3, error = ? WHERE state IN (1, 2) AND target_key NOT IN "
            "(SELECT key FROM target)",
            (error,),
        ).rowcount

    def give_up(self) -> int:
        """Mark everything that is not at the target as failed, and return its number."""
        return self._db.execute(
            "UPDATE objects SET state = 3, error = COALESCE(error, 'it was not moved yet') WHERE state = 0"
        ).rowcount

    # Verifying

    def suspects(self) -> int:
        """Mark objects that contradict the target's listing to be moved again, and return their number.

        An object that still contradicts it after three moves is marked as failed.
        """
        wrong = (
            "SELECT o.id FROM objects o LEFT JOIN target t ON t.key = o.target_key WHERE o.state IN (1, 2) AND "
            "(t.key IS NULL OR t.size <> o.size OR (o.target_etag IS NOT NULL AND t.etag IS NOT NULL "
            "AND t.etag <> o.target_etag))"
        )
        with self._transaction():
            found = self._db.execute(
                "UPDATE objects SET error = 'the target has a different object, or none', attempts = attempts + 1, "  # noqa: S608
                f"state = CASE WHEN attempts >= 4 THEN 3 ELSE 0 END WHERE id IN ({wrong})"
            )
        return found.rowcount

    def at_target(self, after: int, limit: int) -> list[Row]:
        """Return objects that are at the target, in listing order."""
        rows = self._db.execute(
            "SELECT id, key, version, target_key, size, etag, modified, storage_class, marker, attempts, size, "
            "target_etag FROM objects WHERE id > ? AND state IN (1, 2) ORDER BY id LIMIT ?",
            (after, limit),
        )
        return [Row(*row) for row in rows]

    def extra_keys(self, limit: int) -> list[str]:
        """Return keys that only the target has."""
        self._db.execute("CREATE INDEX IF NOT EXISTS by_target ON objects (target_key)")
        rows = self._db.execute(
            "SELECT key FROM target t WHERE NOT EXISTS (SELECT 1 FROM objects o WHERE o.target_key = t.key "
            "AND o.state <> 4) ORDER BY key LIMIT ?",
            (limit,),
        )
        return [str(key) for (key,) in rows]

    def count_extra(self, keeps: Callable[[str], bool]) -> int:
        """Count the keys that only the target has and that `keeps` selects."""
        self._db.execute("CREATE INDEX IF NOT EXISTS by_target ON objects (target_key)")
        rows = self._db.execute(
            "SELECT key FROM target t WHERE NOT EXISTS (SELECT 1 FROM objects o WHERE o.target_key = t.key "
            "AND o.state <> 4)"
        )
        return sum(keeps(key) for (key,) in rows)

    def drop_target(self, keys: Iterable[str]) -> None:
        """Remove deleted keys from the target's listing."""
        with self._transaction():
            self._db.executemany("DELETE FROM target WHERE key = ?", ((key,) for key in keys))

    # Counting

    def totals(self) -> Totals:
        """Return all counts."""
        row = self._db.execute(
            "SELECT COUNT(*), COALESCE(SUM(size), 0), COALESCE(SUM(state = 0), 0), COALESCE(SUM(state = 1), 0), "
            "COALESCE(SUM(CASE WHEN state = 1 THEN size ELSE 0 END), 0), COALESCE(SUM(state = 2), 0), "
            "COALESCE(SUM(state = 3), 0), COALESCE(SUM(state = 4), 0), "
            "COALESCE(SUM(state IN (1, 2) AND checksum = ?), 0) FROM objects",
            (TRUSTED,),
        ).fetchone()
        return Totals(*row)

    def failures(self, limit: int) -> list[tuple[str, str, int, str]]:
        """Return failures as key, version, attempts and error."""
        rows = self._db.execute(
            "SELECT key, version, attempts, COALESCE(error, '') FROM objects WHERE state = 3 ORDER BY id LIMIT ?",
            (limit,),
        )
        return [tuple(row) for row in rows]

    def count_target(self) -> int:
        """Count the entries of the target's listing."""
        return int(self._db.execute("SELECT COUNT(*) FROM target").fetchone()[0])

    def skipped(self, limit: int) -> dict[str, str]:
        """Return names that cannot be moved, with the reason."""
        return dict(self._db.execute("SELECT key, reason FROM skipped ORDER BY key LIMIT ?", (limit,)))

    def _transaction(self) -> _Transaction:
        return _Transaction(self._db)


class _Transaction:
    """A transaction. Nested ones join the outermost."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._outermost = not db.in_transaction

    def __enter__(self) -> None:
        if self._outermost:
            self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._outermost:
            self._db.execute("COMMIT" if kind is None else "ROLLBACK")


def _check_owner(path: Path) -> None:
    """Refuse files that others can write: SQLite believes them, and those that it puts beside them."""
    if os.name == "nt":
        return
    for suffix in ("", "-wal", "-shm", "-journal"):
        try:
            told = path.with_name(path.name + suffix).stat()
        except OSError:
            continue
        if told.st_uid != os.geteuid() or told.st_mode & 0o022:
            raise JournalRefused(
                f"others can write '{path}{suffix}': its mode is {told.st_mode & 0o7777:o}, its owner {told.st_uid}",
                hint="a journal decides which files are read and written: use one of your own, and chmod go-w",
            )
    with suppress(OSError):
        told = path.parent.stat()
        # With the sticky bit, as in /tmp, only the owners of the directory and of a file replace it.
        if told.st_uid not in (os.geteuid(), 0) or (told.st_mode & 0o022 and not told.st_mode & stat.S_ISVTX):
            raise JournalRefused(
                f"others can replace files in '{path.parent}': its mode is {told.st_mode & 0o7777:o}, "
                f"its owner {told.st_uid}",
                hint="put the journal into a directory of your own, and chmod go-w it",
            )


def _refused(path: str | Path | None, error: sqlite3.Error) -> JournalRefused:
    if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
        return JournalRefused(
            f"another process is using the journal '{path}'", hint="wait until it ends, or give another file"
        )
    return JournalRefused(f"'{path}' cannot be used as a journal: {error}")


T = TypeVar("T")

_BATCH = 500
"""Most outcomes in one transaction."""


class Journal:
    """A journal, open inside `async with`.

    Args:
        path: the file; None for a temporary one that is deleted with the process.
        identity: the source, target and rules that the journal must belong to.

    Attributes:
        resumed: whether an earlier run began this journal.
        moving: whether something may have moved, so that an error is no refusal.

    Raises (when it is opened):
        JournalRefused: the file belongs to another migration, is in use, or is not a journal.
    """

    def __init__(self, path: Path | None, identity: dict[str, str]) -> None:
        self._path = path
        self._identity = identity
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="apm_s3 journal")
        self._store: Store | None = None
        self._outcomes: list[Outcome] = []
        self.resumed = self.moving = False

    async def __aenter__(self) -> Self:
        try:
            await self._in_thread(self._open)
        except BaseException:
            await shielded(self._end())
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await shielded(self._end())

    async def do(self, work: Callable[[Store], T]) -> T:
        """Run `work` in the journal's thread, after writing all noted outcomes, and return its result.

        Raises:
            JournalRefused: the file can no longer be read or written.
        """
        # Swapped before the thread is asked, in one step of the event loop: an outcome that a worker notes meanwhile
        # goes into the next transaction, neither into both nor into none. The thread works in the order of the calls,
        # so that whoever counts sees every outcome noted before. If the process dies before the write, the journal says
        # that the object has not moved: the next run finds it at the target, where it counts as identical.
        outcomes, self._outcomes = self._outcomes, []

        def worked() -> T:
            store = self._opened()
            if outcomes:
                store.note(outcomes)
            return work(store)

        return await self._in_thread(worked)

    def note(self, outcome: Outcome) -> bool:
        """Add an outcome to the next batch. Return whether the batch is full and `flush` is due."""
        self._outcomes.append(outcome)
        return len(self._outcomes) >= _BATCH

    async def flush(self) -> None:
        """Write all noted outcomes."""
        if self._outcomes:
            await self.do(lambda _store: None)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        # Shielded: a transaction that has begun finishes before a cancelled caller continues.
        try:
            return await shielded(_awaited(asyncio.get_running_loop().run_in_executor(self._thread, work)))
        except sqlite3.Error as exc:
            refused = JournalRefused(
                f"the journal '{self._path}' cannot be read or written: {exc}",
                operation="migrate",
                hint="free space on its disk or check its permissions, then resume with the same journal",
            )
            refused.unresolved = self.moving
            raise refused from exc

    def _open(self) -> None:
        self._store = Store(self._path)
        self.resumed = self._store.prepare(self._identity)

    def _opened(self) -> Store:
        if self._store is None:
            raise RuntimeError("the journal is not open")
        return self._store

    async def _end(self) -> None:
        try:
            if self._store is not None:
                await self.flush()
        finally:
            if self._store is not None:
                await self._in_thread(self._store.close)
            self._thread.shutdown(wait=False)


async def _awaited(future: asyncio.Future[T]) -> T:
    return await future
