"""Looking for damage: every document, blob and copy of an environment is read and compared."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass

from apm_s3._tasks import run_all
from apm_s3._tools import TOOLS
from apm_s3.configs._care.findings import Finding
from apm_s3.configs._care.log_care import LogCare
from apm_s3.configs._content.overlays import is_reserved
from apm_s3.configs._models import Current, FileEntry, Release, ReleaseRef, ToolState
from apm_s3.configs._protocol import keys
from apm_s3.configs._protocol.archive import Archive
from apm_s3.configs._protocol.live import MARK
from apm_s3.configs._protocol.objects import ObjectStore
from apm_s3.configs._protocol.reader import PARALLEL, Gone, Reader, sha256
from apm_s3.errors import FormatTooNew, ObjectNotFound, ObjectTooLarge, StoreDamaged

_TRIES = 5
"""Times that a check is made again when the environment changed under it."""


@dataclass(frozen=True, slots=True)
class FsckReport:
    """What was looked at in one environment, and what was found.

    Attributes:
        leftovers: keys of release documents that were never committed: of writers that lost a race or were cut
            short. Nothing is wrong; a collection removes them.
        entries: of the log.
    """

    environment: str
    releases: int
    blobs: int
    copies: int
    findings: tuple[Finding, ...]
    leftovers: tuple[str, ...] = ()
    entries: int = 0

    @property
    def ok(self) -> bool:
        """Whether there is no damage, no copy that is behind, and a log that is as it was written."""
        return not self.findings

    def __str__(self) -> str:
        looked = f"{self.environment}: {self.releases} releases, {self.blobs} blobs, {self.copies} copies"
        looked += f" and {self.entries} entries of the log"
        lines = [f"{looked}, {f'not as they should be: {len(self.findings)}' if self.findings else 'all in order'}"]
        lines += [f"{finding.severity}: {finding.key}: {finding.problem}" for finding in self.findings]
        if self.leftovers:
            lines.append(f"{len(self.leftovers)} documents were never committed; collect_garbage removes them")
        return "\n".join(lines)

    @property
    def damage(self) -> tuple[Finding, ...]:
        """What needs repair."""
        return tuple(finding for finding in self.findings if finding.severity == "damage")


@dataclass(frozen=True, slots=True)
class ToolCheck:
    """What was found about one tool."""

    releases: Mapping[str, Release]
    blobs: int
    findings: tuple[Finding, ...]
    leftovers: tuple[str, ...]


class Checker:
    """Checks what one store has."""

    def __init__(self, objects: ObjectStore, reader: Reader) -> None:
        self._objects = objects
        self._reader = reader
        self._log = LogCare(Archive(objects, reader), reader)

    async def check(self, environment: str) -> FsckReport:
        """See `ConfigStore.fsck`."""
        for _ in range(_TRIES - 1):
            etag, report = await self._check(environment)
            if report.ok or etag == await self._etag(environment):
                return report
        return (await self._check(environment))[1]

    async def _check(self, environment: str) -> tuple[str | None, FsckReport]:
        key = keys.current(environment)
        etag = await self._etag(environment)
        try:
            snapshot = await self._reader.require(environment)
        except (StoreDamaged, FormatTooNew) as exc:
            return etag, FsckReport(environment, 0, 0, 0, (Finding("damage", None, key, exc.problem),))
        current = snapshot.current
        checks = {tool: await self.check_tool(environment, tool, current.tools.get(tool)) for tool in TOOLS}
        findings = [finding for check in checks.values() for finding in check.findings]
        log = await self._log.check(environment, current)
        findings += log.findings
        copies = 0
        for tool, state in current.tools.items():
            release = checks[tool].releases.get(state.release.key) if tool in checks else None
            if release is not None:
                copies += len(release.files)
                findings += await self._check_copies(release)
        releases = sum(len(check.releases) for check in checks.values())
        blobs = sum(check.blobs for check in checks.values())
        leftovers = tuple(key for check in checks.values() for key in check.leftovers)
        return etag, FsckReport(environment, releases, blobs, copies, tuple(findings), leftovers, log.entries)

    async def _etag(self, environment: str) -> str | None:
        try:
            return (await self._objects.head(keys.current(environment))).etag
        except ObjectNotFound:
            return None

    async def check_tool(self, environment: str, tool: str, state: ToolState | None) -> ToolCheck:
        """Every document and blob of a tool; a tool without state may only have leftovers of its first write."""
        findings: list[Finding] = []
        releases = {} if state is None else await self._releases(tool, state, findings)
        entries = {entry.blob: (release, entry) for release in releases.values() for entry in release.files.values()}
        found = await run_all((self._check_blob(*each) for each in entries.values()), limit=PARALLEL)
        findings += [finding for finding in found if finding is not None]
        revision = 0 if state is None else state.release.revision
        leftovers = []
        async with aclosing(self._objects.list(keys.releases(environment, tool))) as listing:
            async for info in listing:
                parsed = keys.parse_release(info.key)
                if parsed is None or info.key in releases:
                    continue
                if parsed[0] > revision + 1:
                    ahead = f"it is ahead of the current revision {revision}: commits were lost"
                    findings.append(Finding("damage", tool, info.key, ahead))
                elif state is None or info.key not in _refs(state):
                    leftovers.append(info.key)
        return ToolCheck(releases, len(entries), tuple(findings), tuple(leftovers))

    async def _releases(self, tool: str, state: ToolState, findings: list[Finding]) -> dict[str, Release]:
        releases: dict[str, Release] = {}
        starts = [state.release, *([state.good] if state.good is not None else [])]
        for start in starts:
            ref: ReleaseRef | None = start
            while ref is not None and ref.key not in releases:
                try:
                    release = await self._reader.release(ref)
                except (Gone, StoreDamaged, FormatTooNew) as exc:
                    findings.append(Finding("damage", tool, ref.key, exc.problem, ref.sha256))
                    break
                releases[ref.key] = release
                older = release.parent
                ref = older if older is not None and start is state.release and older.revision >= state.oldest else None
        return releases

    async def _check_blob(self, release: Release, entry: FileEntry) -> Finding | None:
        try:
            await self._reader.content(release, entry)
        except Gone as gone:
            key = keys.blobs(release.environment, release.tool) + entry.blob
            return Finding("damage", release.tool, key, gone.problem, entry.sha256, entry)
        return None

    async def _check_copies(self, release: Release) -> list[Finding]:
        folder = keys.live(release.environment, release.tool)
        wanted = {name: entry for name, entry in release.files.items() if not is_reserved(name)}
        found = await run_all(
            (self._check_copy(release.tool, folder + name, entry) for name, entry in wanted.items()), limit=PARALLEL
        )
        findings = [finding for finding in found if finding is not None]
        async with aclosing(self._objects.list(folder)) as listing:
            extra = [info.key async for info in listing if info.key.removeprefix(folder) not in wanted]
        infos = await run_all((self._objects.head(key) for key in extra), limit=PARALLEL)
        return findings + [
            Finding("behind", release.tool, info.key, "the copy of a file that is gone")
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
        return Finding("behind", tool, key, "the copy has another content", entry.sha256)


def _refs(state: ToolState) -> set[str]:
    return {ref.key for ref in (state.release, state.parent, state.good) if ref is not None}


def is_healthy(check: ToolCheck) -> bool:
    """Whether a tool needs no repair."""
    return all(finding.severity != "damage" for finding in check.findings)


def newest_sequence(candidates: list[Current]) -> Current | None:
    """The one that was written last."""
    return max(candidates, key=lambda current: current.sequence, default=None)
