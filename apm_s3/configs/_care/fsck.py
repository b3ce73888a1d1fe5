"""Checks every document, blob and live copy of an environment, and what its log says."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from typing import Literal

from apm_s3._naming import counted
from apm_s3._tasks import run_all
from apm_s3._tools import TOOLS
from apm_s3.configs._backups.backups import Backups, file_key
from apm_s3.configs._care.status import (
    Document,
    History,
    LostRevision,
    Others,
    sort_others,
    trace,
)
from apm_s3.configs._content.overlays import is_reserved
from apm_s3.configs._models import (
    Current,
    FileEntry,
    Log,
    LogRef,
    RawEntry,
    Release,
    ReleaseRef,
    ToolState,
    entry_hash,
)
from apm_s3.configs._progress import QUIET, Steps
from apm_s3.configs._protocol import keys
from apm_s3.configs._protocol.archive import Archive
from apm_s3.configs._protocol.encoding import MAX_ENTRIES, RING, LogPart, chain_breaks, read_entry
from apm_s3.configs._protocol.keys import MAX_DOCUMENT
from apm_s3.configs._protocol.live import HASH_METADATA
from apm_s3.configs._protocol.objects import ObjectStore
from apm_s3.configs._protocol.reader import OTHER_MD5, PARALLEL, Gone, Reader, Snapshot, sha256, unpack
from apm_s3.errors import FormatTooNew, ObjectNotFound, ObjectTooLarge, StoreDamaged
from apm_s3.models import FileInfo

Severity = Literal["damage", "behind", "record", "lost", "newer"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem in a store.

    Attributes:
        severity: "damage" needs repair and stops writers; "behind" is an outdated copy under `live/`, which the next
            refresh updates; "record" is a log that is incomplete or modified, which stops writers if the reference
            document itself contradicts it; "lost" is damage that no repair could undo: it is marked, and nothing is
            left to do; "newer" was written by a later version of this library, so that this one can neither judge nor
            repair it.
        key: relative to the store's prefix.
        sha256: the expected SHA-256 of the content, if known.
        entry: the expected entry of a blob.
        revision: the newest affected revision of a history.
    """

    severity: Severity
    tool: str | None
    key: str
    problem: str
    sha256: str | None = None
    entry: FileEntry | None = None
    revision: int | None = None


class Healer:
    """Recovers objects of one environment, for a single repair: it caches listings."""

    def __init__(self, objects: ObjectStore, backups: Backups, environment: str) -> None:
        self._objects = objects
        self._backups = backups
        self._environment = environment
        self._copies: dict[str, list[FileInfo]] = {}
        self._saved: dict[str, list[str]] | None = None

    async def heal(self, finding: Finding) -> str | None:
        """Restore a lost object, and return the source, or None if there is no copy of its bytes."""
        if finding.sha256 is None:
            return None
        if await self._from_versions(finding):
            return "an older version"
        if finding.entry is None or finding.tool is None:
            return None
        for source, candidates in (
            ("another blob", self._blobs(finding.tool, finding.entry)),
            ("a live copy", self._live_copies(finding.tool, finding.entry)),
            ("a backup", self._saved_files(finding.entry)),
        ):
            async with aclosing(candidates) as found:
                async for key in found:
                    if await self._take(key, finding.key, finding.entry):
                        return f"{source}, '{key}'"
        return None

    async def _from_versions(self, finding: Finding) -> bool:
        async with aclosing(self._objects.versions(finding.key)) as versions:
            async for version in versions:
                if version.is_delete_marker:
                    continue
                with suppress(ObjectNotFound, ObjectTooLarge):
                    _, body = await self._objects.read(
                        finding.key, version_id=version.version_id, limit=_largest(finding)
                    )
                    if await _is_it(body, finding):
                        await self._objects.put(finding.key, body)
                        return True
        return False

    async def _blobs(self, tool: str, entry: FileEntry) -> AsyncGenerator[str, None]:
        """Yield blobs of other writes with the same content."""
        prefix = keys.blobs(self._environment, tool) + keys.blob_name(entry.sha256, "")
        async with aclosing(self._objects.list(prefix)) as listing:
            async for info in listing:
                yield info.key

    async def _live_copies(self, tool: str, entry: FileEntry) -> AsyncGenerator[str, None]:
        if tool not in self._copies:
            async with aclosing(self._objects.list(keys.live(self._environment, tool))) as listing:
                self._copies[tool] = [info async for info in listing]
        for info in self._copies[tool]:
            if info.size == entry.size:
                yield info.key

    async def _saved_files(self, entry: FileEntry) -> AsyncGenerator[str, None]:
        if self._saved is None:
            self._saved = {}
            for backup in await self._backups.found(self._environment):
                for tool, name, file in backup.files():
                    self._saved.setdefault(file.sha256, []).append(file_key(backup.key, tool, name))
        for key in self._saved.get(entry.sha256, []):
            yield key

    async def _take(self, source: str, key: str, entry: FileEntry) -> bool:
        """Store the object `source` as the blob `key`, if it has the expected content."""
        try:
            _, body = await self._objects.read(source, limit=entry.size)
        except (ObjectNotFound, ObjectTooLarge):
            return False
        for encoding in ("identity", "gzip"):
            plain = await unpack(body, replace(entry, encoding=encoding))
            if plain is not None:
                packed = gzip.compress(plain, mtime=0) if entry.encoding == "gzip" else plain
                await self._objects.put(key, packed)
                return True
        return False


def _largest(finding: Finding) -> int:
    return MAX_DOCUMENT if finding.entry is None else finding.entry.size


async def _is_it(body: bytes, finding: Finding) -> bool:
    if finding.entry is not None:
        return await unpack(body, finding.entry) is not None
    return hashlib.sha256(body).hexdigest() == finding.sha256


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
        self, environment: str, current: Current, healer: Healer, versions: Sequence[Current], was: str
    ) -> tuple[Current, list[str]]:
        """Restore lost parts and changed entries, and return what was done, line by line.

        The log before a part that is lost is dropped. A changed entry without a copy is kept, and marked as unproven.

        Args:
            versions: older versions of the reference document.
            was: the verb of what was done: "was", or "would be" in a dry run.

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
                mended, told = _mended(current, check.entries, [entry for entries in copies for entry in entries], was)
                return mended, done + told
            finding = check.findings[-1]
            source = await healer.heal(finding)
            if source is not None:
                done.append(f"'{finding.key}' {was} restored from {source}")
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


def _mended(
    current: Current, entries: Sequence[RawEntry], copies: Sequence[RawEntry], was: str
) -> tuple[Current, list[str]]:
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
            done.append(f"entry {copy['seq']} of the log {was} restored")
        else:
            unproven.add(newer["seq"])
            done.append(f"the log {was} kept, but cannot be proven: {broken[0]}")
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


_TRIES = 5
"""Maximum repetitions of a check if the environment changed meanwhile."""


@dataclass(frozen=True, slots=True)
class FsckReport:
    """The result of checking one environment.

    Attributes:
        findings: problems that `repair` can fix.
        lost: damage that no repair could undo, marked as such.
        leftovers: keys of release documents that were never committed, from writers that lost a race or were
            interrupted. This is normal; a collection removes them.
        retired: keys of release documents that are no longer kept, mostly of committed releases: older than the oldest
            kept revision, or skipped by a repair. A collection removes them as well.
        entries: the number of log entries.
        newer: objects from a later version of this library, which this one can neither judge nor repair; `repair` and
            `collect_garbage` refuse to change the environment.
    """

    environment: str
    releases: int
    blobs: int
    copies: int
    findings: tuple[Finding, ...]
    leftovers: tuple[str, ...] = ()
    retired: tuple[str, ...] = ()
    lost: tuple[Finding, ...] = ()
    entries: int = 0
    newer: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Return whether everything was readable, nothing needs repair, copies are current and the log is intact."""
        return not self.findings and not self.newer

    def __str__(self) -> str:
        looked = f"{self.environment}: {counted(self.releases, 'release')}, {counted(self.blobs, 'blob')}, "
        looked += f"{counted(self.copies, 'copy', 'copies')} and {counted(self.entries, 'log entry', 'log entries')}"
        lines = [f"{looked}; {f'problems: {len(self.findings)}' if self.findings else 'no problems'}"]
        if self.newer:
            lines.append(f"written by a later version of apm_s3, which has to check it: {len(self.newer)}")
        lines += [f"{each.severity}: {each.key}: {each.problem}" for each in (*self.findings, *self.lost, *self.newer)]
        if self.leftovers:
            lines.append(f"documents that were never committed, which collect_garbage removes: {len(self.leftovers)}")
        if self.retired:
            lines.append(f"documents that are not kept any more, which collect_garbage removes: {len(self.retired)}")
        return "\n".join(lines)

    @property
    def damage(self) -> tuple[Finding, ...]:
        """Return the findings that need repair."""
        return tuple(finding for finding in self.findings if finding.severity == "damage")


@dataclass(frozen=True, slots=True)
class ToolCheck:
    """The findings about one tool.

    Attributes:
        releases: the kept and readable releases: those of the history, and the one that is marked good.
        without_files: the revisions of releases that lack a file.
    """

    documents: Mapping[str, Document]
    history: History
    releases: tuple[Release, ...]
    blobs: int
    findings: tuple[Finding, ...]
    without_files: frozenset[int]
    others: Others

    def release(self, ref: ReleaseRef) -> Release | None:
        """Return the release at `ref`, if it is kept and readable."""
        return next((release for release in self.releases if release.ref == ref), None)

    def is_whole(self, ref: ReleaseRef) -> bool:
        """Return whether the release at `ref` has all its files."""
        return self.release(ref) is not None and ref.revision not in self.without_files


class Checker:
    """Checks one store."""

    def __init__(self, objects: ObjectStore, reader: Reader) -> None:
        self._objects = objects
        self._reader = reader
        self._log = LogCare(Archive(objects, reader), reader)

    async def check(self, environment: str, steps: Steps = QUIET) -> FsckReport:
        for _ in range(_TRIES - 1):
            etag, report = await self._check(environment, steps)
            if report.ok or etag == await self._etag(environment):
                return report
        return (await self._check(environment, steps))[1]

    async def _check(self, environment: str, steps: Steps) -> tuple[str | None, FsckReport]:
        key = keys.current(environment)
        etag = await self._etag(environment)
        try:
            snapshot = await self._reader.require(environment)
        except StoreDamaged as exc:
            return etag, FsckReport(environment, 0, 0, 0, (Finding("damage", None, key, exc.problem),))
        except FormatTooNew as exc:
            newer = (Finding("newer", None, key, exc.problem),)
            return etag, FsckReport(environment, 0, 0, 0, (), newer=newer)
        current = snapshot.current
        checks: dict[str, ToolCheck] = {}
        for each in TOOLS:
            checks[each] = await self.check_tool(
                environment, each, current.tools.get(each), current.writers, steps=steps
            )
        findings = [Finding("damage", None, key, OTHER_MD5)] if snapshot.doubtful else []
        findings += [finding for check in checks.values() for finding in check.findings]
        steps.begin(environment, "checking the log")
        log = await self._log.check(environment, current)
        findings += log.findings
        copies = 0
        for tool, state in current.tools.items():
            release = checks[tool].release(state.release)
            if release is not None:
                copies += len(release.files)
                findings += await self._check_copies(release, steps)
        releases = sum(len(check.releases) for check in checks.values())
        blobs = sum(check.blobs for check in checks.values())
        return etag, FsckReport(
            environment,
            releases,
            blobs,
            copies,
            findings=tuple(finding for finding in findings if finding.severity not in ("lost", "newer")),
            leftovers=tuple(key for check in checks.values() for key in check.others.leftovers),
            retired=tuple(key for check in checks.values() for key in check.others.retired),
            lost=tuple(finding for finding in findings if finding.severity == "lost"),
            entries=len(log.entries),
            newer=tuple(finding for finding in findings if finding.severity == "newer"),
        )

    async def history(
        self, environment: str, tool: str, limit: int | None
    ) -> tuple[tuple[Release, ...], dict[int, str]]:
        """Return the releases of a damaged history that can be read, and why the others cannot, by revision."""
        current = (await self._reader.require(environment)).current
        history = trace(current.tools[tool], await self.documents(environment, tool), writers=current.writers)
        oldest = 0 if limit is None else current.tools[tool].release.revision - limit + 1
        lost = {each.revision: each.problem for each in history.lost if each.revision >= oldest}
        return tuple(release for release in history.releases if release.revision >= oldest), lost

    async def _etag(self, environment: str) -> str | None:
        try:
            return (await self._objects.head(keys.current(environment))).etag
        except ObjectNotFound:
            return None

    async def check_tool(
        self,
        environment: str,
        tool: str,
        state: ToolState | None,
        writers: Collection[str],
        *,
        steps: Steps = QUIET,
    ) -> ToolCheck:
        """Check every document and blob of a tool; a tool without state can only have leftovers of its first write.

        Args:
            writers: committed write ids.
        """
        documents = await self.documents(environment, tool, steps)
        history = History((), ()) if state is None else trace(state, documents, writers=writers)
        releases = list(history.releases)
        findings = [_lost_document(environment, state, each, tool) for each in history.lost]
        if state is not None and state.good is not None and state.good.revision < state.oldest:
            good = documents.get(state.good.key)
            if good is None or good.release is None or good.release.ref != state.good:
                missing = LostRevision(
                    state.good.revision, state.good, "the release that is marked good cannot be read"
                )
                findings.append(_lost_document(environment, state, missing, tool))
            else:
                releases.append(good.release)
        without_files, blobs = await self._check_blobs(state, releases, findings, steps)
        others = sort_others(state, history, documents)
        revision = 0 if state is None else state.release.revision
        ahead = f"it is ahead of the current revision {revision}: commits were lost"
        findings += [Finding("damage", tool, key, ahead) for key in others.ahead]
        newer = {key: each.newer for key, each in documents.items() if each.newer is not None}
        findings = [finding for finding in findings if finding.key not in newer]
        findings += [
            Finding("newer", tool, key, each.problem, revision=documents[key].revision) for key, each in newer.items()
        ]
        return ToolCheck(documents, history, tuple(releases), blobs, tuple(findings), without_files, others)

    async def documents(self, environment: str, tool: str, steps: Steps = QUIET) -> dict[str, Document]:
        """Return everything in the folder of a tool's release documents, by key."""
        async with aclosing(self._objects.list(keys.releases(environment, tool))) as listing:
            names = [(info.key, *parsed) async for info in listing if (parsed := keys.parse_release(info.key))]
        steps.begin(environment, f"checking documents of {tool}", len(names))
        found = await run_all((steps.count(self._document, *name) for name in names), limit=PARALLEL)
        return {document.key: document for document in found}

    async def _document(self, key: str, revision: int, write_id: str) -> Document:
        try:
            return Document(key, revision, write_id, await self._reader.document(key))
        except ObjectNotFound:
            return Document(key, revision, write_id, None, "the release document is missing")
        except StoreDamaged as exc:
            return Document(key, revision, write_id, None, exc.problem)
        except FormatTooNew as exc:
            return Document(key, revision, write_id, None, exc.problem, newer=exc)

    async def _check_blobs(
        self, state: ToolState | None, releases: Sequence[Release], findings: list[Finding], steps: Steps
    ) -> tuple[frozenset[int], int]:
        """Read every blob once, and return the revisions that lack one, and the number of blobs."""
        users: dict[str, list[Release]] = {}
        entries: dict[str, FileEntry] = {}
        for release in releases:
            for entry in release.files.values():
                users.setdefault(entry.blob, []).append(release)
                entries[entry.blob] = entry
        if releases:
            steps.begin(releases[0].environment, f"checking blobs of {releases[0].tool}", len(entries))
        problems = await run_all(
            (steps.count(self._blob_problem, users[blob][0], entry) for blob, entry in entries.items()),
            limit=PARALLEL,
        )
        without: set[int] = set()
        for blob, problem in zip(entries, problems, strict=True):
            if problem is None:
                continue
            revisions = sorted({release.revision for release in users[blob]})
            without.update(revisions)
            marked = state is not None and all(_is_given_up(state, revision) for revision in revisions)
            first = users[blob][0]
            key = keys.blobs(first.environment, first.tool) + blob
            told = f"{problem} ({_shown(revisions)})"
            entry = entries[blob]
            findings.append(
                Finding("lost" if marked else "damage", first.tool, key, told, entry.sha256, entry, revisions[-1])
            )
        return frozenset(without), len(entries)

    async def _blob_problem(self, release: Release, entry: FileEntry) -> str | None:
        try:
            await self._reader.blob(release.environment, release.tool, entry)
        except Gone as gone:
            return gone.problem
        return None

    async def _check_copies(self, release: Release, steps: Steps) -> list[Finding]:
        folder = keys.live(release.environment, release.tool)
        wanted = {name: entry for name, entry in release.files.items() if not is_reserved(name)}
        steps.begin(release.environment, f"checking live copies of {release.tool}", len(wanted))
        found = await run_all(
            (steps.count(self._check_copy, release.tool, folder + name, entry) for name, entry in wanted.items()),
            limit=PARALLEL,
        )
        findings = [finding for finding in found if finding is not None]
        async with aclosing(self._objects.list(folder)) as listing:
            extra = [info.key async for info in listing if info.key.removeprefix(folder) not in wanted]
        infos = await run_all((self._objects.head(key) for key in extra), limit=PARALLEL)
        return findings + [
            Finding("behind", release.tool, info.key, "the copy of a removed file")
            for info in infos
            if HASH_METADATA in (info.metadata or {})
        ]

    async def _check_copy(self, tool: str, key: str, entry: FileEntry) -> Finding | None:
        try:
            _, body = await self._objects.read(key, limit=entry.size)
        except ObjectNotFound:
            return Finding("behind", tool, key, "the copy is missing", entry.sha256)
        except ObjectTooLarge:
            body = b""
        if len(body) == entry.size and await sha256(body) == entry.sha256:
            return None
        return Finding("behind", tool, key, "the copy has different content", entry.sha256)


def _lost_document(environment: str, state: ToolState | None, lost: LostRevision, tool: str) -> Finding:
    marked = state is not None and _is_given_up(state, lost.revision)
    key = keys.releases(environment, tool) + f"{lost.revision:08d}" if lost.ref is None else lost.ref.key
    sha256 = None if lost.ref is None else lost.ref.sha256
    return Finding("lost" if marked else "damage", tool, key, lost.problem, sha256, revision=lost.revision)


def _is_given_up(state: ToolState, revision: int) -> bool:
    """Return whether a repair marked the revision as damaged, and nothing is left to do: another one is current."""
    return revision != state.release.revision and state.damage_of(revision) is not None


def _shown(revisions: Sequence[int]) -> str:
    if len(revisions) == 1:
        return f"revision {revisions[0]}"
    return f"{len(revisions)} revisions, from {revisions[0]} to {revisions[-1]}"


def newest_sequence(candidates: list[Current]) -> Current | None:
    """Return the document that was written last."""
    return max(candidates, key=lambda current: current.sequence, default=None)
