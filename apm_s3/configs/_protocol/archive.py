"""Stores and reads the older parts of an environment's log, which leave the reference document."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from apm_s3._tasks import run_all
from apm_s3.configs._models import Current, LogRef, RawEntry
from apm_s3.configs._protocol import keys
from apm_s3.configs._protocol.encoding import LogPart, chain_breaks, decode_part, encode_part
from apm_s3.configs._protocol.objects import ObjectStore
from apm_s3.configs._protocol.reader import NEAR, PARALLEL, Gone, Reader, Snapshot, sha256, twice
from apm_s3.errors import FormatTooNew, ObjectNotFound, PreconditionFailed, StoreDamaged


class Archive:
    """Stores and reads the parts of one store's logs."""

    def __init__(self, objects: ObjectStore, reader: Reader) -> None:
        self._objects = objects
        self._reader = reader

    async def store(self, environment: str, current: Current, write_id: str) -> LogPart | None:
        """Store the entries of `current` that are in no stored part; return None if there are none.

        Nothing leads to the part until a reference document names it.
        """
        entries = current.log.unstored
        if not entries:
            return None
        key = keys.log_part(environment, entries[-1]["seq"], write_id)
        body = encode_part(environment, current.log.stored, entries)
        try:
            await self._objects.put(key, body, create=True, hashed=True, content_type="application/json")
        except PreconditionFailed:
            # No other write has our write id: an existing object is from an earlier attempt, or of a twin.
            return await self.unnamed(environment, key)
        ref = LogRef(entries[0]["seq"], entries[-1]["seq"], key, await sha256(body))
        return LogPart(ref, current.log.stored, entries)

    async def part(self, environment: str, ref: LogRef) -> LogPart:
        """Return the stored part at `ref`.

        Raises:
            Gone: it is missing, or its bytes differ.
        """
        where = self._reader.where(ref.key)

        async def read() -> LogPart:
            part = await self.unnamed(environment, ref.key)
            if part.ref != ref:
                raise StoreDamaged(f"the part '{where}' of the log does not have the SHA-256 {ref.sha256}")
            return part

        try:
            return await twice(read)
        except ObjectNotFound as exc:
            raise Gone(f"the part '{where}' of the log is missing") from exc
        except StoreDamaged as exc:
            raise Gone(exc.problem) from exc

    async def unnamed(self, environment: str, key: str) -> LogPart:
        """Return the part under `key`, even if no reference document ever named it.

        Raises:
            ObjectNotFound: it does not exist.
            StoreDamaged: it is not a part of this log.
        """
        _, body = await self._reader.read_bounded(key)
        return decode_part(body, key=key, environment=environment, where=self._reader.where(key))

    async def keys(self, environment: str, *, first: int = 0) -> list[str]:
        """Return the keys of all parts from the one with entry `first`, named or not, oldest first."""
        folder = keys.log_parts(environment)
        async with aclosing(self._objects.list(folder, start_after=f"{folder}{max(first, 0):016d}")) as listing:
            return [info.key async for info in listing if keys.parse_log_part(info.key) is not None]

    async def parts(
        self, snapshot: Snapshot, *, enough: Callable[[], bool] = lambda: False
    ) -> AsyncGenerator[LogPart, None]:
        """Yield the kept stored parts, newest first: a few sequentially, more of them in parallel.

        Args:
            enough: called before each part is read; True stops.

        Raises:
            Gone: one is missing, or its bytes differ.
        """
        log, environment = snapshot.current.log, snapshot.environment
        ref, read = log.stored, 0
        names: list[str] | None = None
        near: dict[str, LogPart] = {}
        while ref is not None and ref.last >= log.oldest and not enough():
            if read >= NEAR and ref.key not in near:
                names = await self.keys(environment, first=log.oldest) if names is None else names
                names = [name for name in names if name <= ref.key]
                near = await self._fetch(environment, names[-PARALLEL:])
            part = near.get(ref.key)
            if part is None or part.ref != ref:
                part = await self.part(environment, ref)
            yield part
            read += 1
            ref = part.before

    async def _fetch(self, environment: str, names: list[str]) -> dict[str, LogPart]:
        parts = await run_all((self._try_part(environment, name) for name in names), limit=PARALLEL)
        return {part.ref.key: part for part in parts if part is not None}

    async def _try_part(self, environment: str, key: str) -> LogPart | None:
        try:
            return await self.unnamed(environment, key)
        except (ObjectNotFound, StoreDamaged, FormatTooNew):
            # If the part is needed, it is read again, which raises the error.
            return None

    async def find(self, snapshot: Snapshot, write_id: str) -> RawEntry | None:
        """Return the entry of a write; None if it was not committed, or its entry is no longer kept.

        Raises:
            Gone: a part is missing, or its bytes differ.
        """
        found = _find(snapshot.current.log.entries, write_id)
        if found is not None:
            return found
        async with aclosing(self.parts(snapshot)) as parts:
            async for part in parts:
                if (found := _find(part.entries, write_id)) is not None:
                    return found
        return None

    async def newest(
        self,
        snapshot: Snapshot,
        *,
        wanted: Callable[[RawEntry], bool],
        is_older: Callable[[RawEntry], bool],
        limit: int | None,
        after: int,
    ) -> list[RawEntry]:
        """Return at most `limit` of the kept entries that are `wanted` and come after `after`, newest first.

        Args:
            is_older: returns whether an entry, and all before it, are too old.

        Raises:
            Gone: a part is missing, or its bytes differ.
            StoreDamaged: an entry does not match the previous one.
        """
        first = max(snapshot.current.log.oldest, after + 1)
        read = [entry for entry in reversed(snapshot.current.log.entries) if entry["seq"] > after]
        found = list(filter(wanted, read))

        def lowest() -> int:
            number: int = read[-1]["seq"] if read else snapshot.current.sequence + 1
            return number

        def enough() -> bool:
            return lowest() <= first or (limit is not None and len(found) >= limit) or bool(read and is_older(read[-1]))

        async with aclosing(self.parts(snapshot, enough=enough)) as parts:
            async for part in parts:
                more = [entry for entry in reversed(part.entries) if first <= entry["seq"] < lowest()]
                read += more
                found += filter(wanted, more)
        broken = chain_breaks(read[::-1], snapshot.current.log.unproven)
        if broken:
            raise StoreDamaged(f"the log of '{snapshot.environment}' is damaged: {broken[0]}")
        return [entry for entry in found[:limit] if not is_older(entry)]


def _find(entries: Sequence[RawEntry], write_id: str) -> RawEntry | None:
    return next((entry for entry in reversed(entries) if entry["id"] == write_id), None)
