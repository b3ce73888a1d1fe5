"""Checks that every log entry exists and is unmodified, and repairs the log."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from apm_s3.configs._care.findings import Finding
from apm_s3.configs._care.healing import Healer
from apm_s3.configs._models.current import Current
from apm_s3.configs._models.log import Log, LogRef, RawEntry, entry_hash
from apm_s3.configs._protocol.documents import keys
from apm_s3.configs._protocol.documents.log import MAX_ENTRIES, RING, LogPart, chain_breaks, read_entry
from apm_s3.configs._protocol.reading.archive import Archive
from apm_s3.configs._protocol.reading.reader import Gone, Reader
from apm_s3.configs._protocol.reading.snapshots import Snapshot
from apm_s3.errors import FormatTooNew, ObjectNotFound, StoreDamaged


@dataclass(frozen=True, slots=True)
class Lost:
    """A part that is missing, or whose content differs."""

    ref: LogRef
    problem: str


@dataclass(frozen=True, slots=True)
class LogCheck:
    """The result of checking a log: its entries, oldest first, the problems, and the part that cannot be read.

    Attributes:
        parts: the stored parts that were read, newest first.
        newer: a later version of this library wrote that part, so that the entries before it cannot be checked.
    """

    entries: tuple[RawEntry, ...]
    findings: tuple[Finding, ...]
    parts: tuple[LogPart, ...] = ()
    lost: Lost | None = None
    newer: FormatTooNew | None = None


class LogCare:
    """Checks the logs of one store."""

    def __init__(self, archive: Archive, reader: Reader) -> None:
        self._archive = archive
        self._reader = reader

    async def check(self, environment: str, current: Current) -> LogCheck:
        """Read every kept entry, and compare each with the next one, and the newest with the document."""
        key = keys.current(environment)
        parts, lost, newer = await self._parts(environment, current)
        entries = list(current.log.entries)
        for part in parts:
            lowest = entries[0]["seq"] if entries else current.sequence + 1
            entries[:0] = [entry for entry in part.entries if entry["seq"] < lowest]
        problems = [
            # A part that cannot be read has a finding of its own.
            *(() if lost is not None or newer is not None else _missing(current, entries)),
            *chain_breaks(entries, current.log.unproven),
            *self._unreadable(entries, key),
            *_contradictions(current, entries),
        ]
        findings = [Finding("record", None, key, problem) for problem in problems]
        findings += [
            Finding("lost", None, key, f"entry {entry['seq']} of the log does not prove the entry before it")
            for entry in entries[1:]
            if entry["seq"] in current.log.unproven
        ]
        if lost is not None:
            findings.append(Finding("record", None, lost.ref.key, lost.problem, lost.ref.sha256))
        if newer is not None:
            findings.append(Finding("newer", None, keys.log_parts(environment), newer.problem))
        return LogCheck(tuple(entries), tuple(findings), tuple(parts), lost, newer)

    async def heal(
        self, environment: str, current: Current, healer: Healer, versions: Sequence[Current]
    ) -> tuple[Current, list[str]]:
        """Restore lost parts and changed entries, and return what was done, line by line.

        The log before a part that is lost is dropped. A changed entry without a copy is kept, and marked as unproven.

        Args:
            versions: older versions of the reference document.

        Raises:
            FormatTooNew: a later version of this library wrote a part of the log.
        """
        done: list[str] = []
        while True:
            check = await self.check(environment, current)
            if check.newer is not None:
                raise check.newer
            if check.lost is None:
                copies = [version.log.entries for version in versions] + [part.entries for part in check.parts]
                mended, told = _mended(current, check.entries, [entry for entries in copies for entry in entries])
                return mended, done + told
            finding = check.findings[-1]
            source = await healer.heal(finding)
            if source is not None:
                done.append(f"'{finding.key}' was restored from {source}")
                continue
            last = check.lost.ref.last
            done.append(f"entries {current.log.oldest} to {last} of the log are lost")
            current = replace(current, log=replace(current.log, oldest=last + 1))

    async def recover(self, environment: str, nothing: Current) -> Current:
        """Return the log of an environment whose reference document is lost, with a higher sequence."""
        for key in reversed(await self._archive.keys(environment)):
            try:
                part = await self._archive.unnamed(environment, key)
            except (ObjectNotFound, StoreDamaged):
                continue
            # The document may have had this many more entries, and no number may be used twice.
            sequence = part.ref.last + MAX_ENTRIES
            return replace(nothing, sequence=sequence, log=Log(part.entries[-RING:], part.ref))
        return nothing

    async def _parts(
        self, environment: str, current: Current
    ) -> tuple[list[LogPart], Lost | None, FormatTooNew | None]:
        found: list[LogPart] = []
        snapshot = Snapshot(environment, current, "", 0.0, 0.0)
        try:
            async with aclosing(self._archive.parts(snapshot)) as parts:
                async for part in parts:
                    found.append(part)  # noqa: PERF401 - what was found before an error counts
        except Gone as exc:
            ref = found[-1].before if found else current.log.stored
            return found, None if ref is None else Lost(ref, exc.problem), None
        except FormatTooNew as exc:
            return found, None, exc
        return found, None, None

    def _unreadable(self, entries: list[RawEntry], key: str) -> list[str]:
        problems = []
        for entry in entries:
            try:
                read_entry(entry, self._reader.where(key))
            except StoreDamaged as exc:
                problems.append(f"entry {entry['seq']} of the log: {exc.problem}")
        return problems


def _mended(current: Current, entries: Sequence[RawEntry], copies: Sequence[RawEntry]) -> tuple[Current, list[str]]:
    """Restore changed entries of the document from `copies`, or else mark that the next entry does not prove them."""
    log, done = current.log, list[str]()
    known = {entry_hash(entry): entry for entry in copies}
    kept, unproven = list(entries), set(log.unproven)
    for place in range(len(kept) - 1, 0, -1):
        older, newer = kept[place - 1 : place + 1]
        broken = chain_breaks([older, newer], unproven)
        if not broken:
            continue
        copy = known.get(newer.get("prev") or "")
        if copy is not None and copy["seq"] == older["seq"]:
            kept[place - 1] = copy
            done.append(f"entry {copy['seq']} of the log was restored")
        else:
            unproven.add(newer["seq"])
            done.append(f"the log was kept, but cannot be proven: {broken[0]}")
    first = log.entries[0]["seq"] if log.entries else 0
    held = tuple(entry for entry in kept if entry["seq"] >= first)
    return replace(current, log=replace(log, entries=held, unproven=tuple(sorted(unproven)))), done


def _missing(current: Current, entries: list[RawEntry]) -> list[str]:
    """Return missing entries that should exist before the first existing one."""
    oldest, first = current.log.oldest, entries[0]["seq"] if entries else 0
    if first <= oldest:
        return []
    # A document of format 1 has no log, and the log of an upgraded store begins with the upgrade.
    if not entries or entries[0].get("prev") is None:
        return []
    return [f"the log is kept from entry {oldest}, but begins with {first}: some are missing"]


def _contradictions(current: Current, entries: list[RawEntry]) -> list[str]:
    """Return contradictions between the newest entries and the document."""
    last: dict[str, int] = {}
    for entry in entries:
        moves = entry.get("tools")
        for tool, move in moves.items() if isinstance(moves, dict) else ():
            if isinstance(move, list) and len(move) == 2 and isinstance(move[1], int):
                last[tool] = move[1]
    return [
        f"the log says that revision {revision} of {tool} is current, but the document names another one"
        for tool, revision in last.items()
        if tool not in current.tools or current.tools[tool].release.revision != revision
    ]
