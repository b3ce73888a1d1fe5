"""Looks for damage: reads and verifies every document, blob and copy of an environment."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from apm_s3._tasks import run_all
from apm_s3._tools import TOOLS
from apm_s3.configs._care.findings import Finding
from apm_s3.configs._care.history import Document, History, LostRevision, Others, sort_others, trace
from apm_s3.configs._care.log_care import LogCare
from apm_s3.configs._content.overlays import is_reserved
from apm_s3.configs._models.current import Current, ToolState
from apm_s3.configs._models.releases import FileEntry, Release, ReleaseRef
from apm_s3.configs._progress import QUIET, Steps
from apm_s3.configs._protocol.documents import keys
from apm_s3.configs._protocol.live import MARK
from apm_s3.configs._protocol.objects import ObjectStore
from apm_s3.configs._protocol.reading.archive import Archive
from apm_s3.configs._protocol.reading.reader import OTHER_MD5, PARALLEL, Gone, Reader, sha256
from apm_s3.errors import FormatTooNew, ObjectNotFound, ObjectTooLarge, StoreDamaged

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
        looked = f"{self.environment}: {self.releases} releases, {self.blobs} blobs, {self.copies} copies"
        looked += f" and {self.entries} entries of the log"
        lines = [f"{looked}; {f'problems: {len(self.findings)}' if self.findings else 'no problems'}"]
        if self.newer:
            lines.append(f"written by a later version of apm_s3, which has to check it: {len(self.newer)}")
        lines += [f"{each.severity}: {each.key}: {each.problem}" for each in (*self.findings, *self.lost, *self.newer)]
        if self.leftovers:
            lines.append(f"{len(self.leftovers)} documents were never committed; collect_garbage removes them")
        if self.retired:
            lines.append(f"{len(self.retired)} documents are not kept any more; collect_garbage removes them")
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
            await self._reader.content(release, entry)
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
            if MARK in (info.metadata or {})
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
