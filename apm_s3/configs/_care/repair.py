"""Mending damage: older versions of objects where the bucket keeps them, else what the caller chooses.

Nothing is guessed: where it is not certain what was committed last, the choice is the caller's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType

from apm_s3._tasks import run_all
from apm_s3._tools import TOOLS
from apm_s3.configs._care.findings import Finding
from apm_s3.configs._care.fsck import Checker, FsckReport, ToolCheck, is_healthy, newest_sequence
from apm_s3.configs._care.log_care import LogCare
from apm_s3.configs._models import Current, Origin, Release, ReleaseRef, ToolState
from apm_s3.configs._protocol import keys
from apm_s3.configs._protocol.archive import Archive
from apm_s3.configs._protocol.blobs import plan_blobs
from apm_s3.configs._protocol.documents import decode_current, encode_current, encode_release
from apm_s3.configs._protocol.live import Live
from apm_s3.configs._protocol.log import stamp
from apm_s3.configs._protocol.objects import ObjectStore, server_time
from apm_s3.configs._protocol.reader import PARALLEL, Gone, Reader, unpack
from apm_s3.configs._record import Note
from apm_s3.errors import ApmS3Error, ConfigNotFound, ObjectNotFound, PreconditionFailed, StoreDamaged

_TRIES = 5
"""Times that it is looked at again when the environment changed meanwhile."""

_TOLD = 500
"""Characters of what was done that the log keeps."""

_SHOWN = 3
"""Releases that are offered for each tool."""


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What a repair did, one line each, and what a check finds afterwards."""

    environment: str
    actions: tuple[str, ...]
    after: FsckReport


@dataclass(frozen=True, slots=True)
class _Found:
    """The reference document as it should be, as far as it is known, and as it is."""

    wanted: Current
    present: Current | None
    etag: str | None
    last_sequence: int
    now: float


class Repairer:
    """Mends what one store has."""

    def __init__(self, objects: ObjectStore, reader: Reader, checker: Checker, live: Live) -> None:
        self._objects = objects
        self._reader = reader
        self._checker = checker
        self._live = live
        self._log = LogCare(Archive(objects, reader), reader)

    async def repair(
        self, environment: str, choose: Mapping[str, str], *, author: str | None, message: str
    ) -> RepairReport:
        """See `ConfigStore.repair`."""
        found, actions, checks = await self._look(environment)
        ill = [tool for tool, check in checks.items() if not is_healthy(check)]
        await self._ask(environment, [tool for tool in ill if tool not in choose], checks)
        write_id = keys.new_write_id(environment)
        tools = dict(found.wanted.tools)
        for tool in ill:
            tools[tool] = await self._take_up(environment, tool, choose[tool], tools.get(tool), write_id, found.now)
            actions.append(f"{tool}: revision {tools[tool].release.revision} takes up '{choose[tool]}'")
        wanted, healed = await self._log.heal(
            environment, replace(found.wanted, tools=MappingProxyType(tools)), self._restore
        )
        actions += healed
        if wanted != found.present:
            note = Note(action="repair", author=author, message=message or "; ".join(actions)[:_TOLD])
            await self._write(environment, found, wanted, write_id, note)
            actions.append(f"'{keys.current(environment)}' was written anew")
        actions += await self._refresh(environment)
        return RepairReport(environment, tuple(actions), await self._checker.check(environment))

    async def _look(self, environment: str) -> tuple[_Found, list[str], dict[str, ToolCheck]]:
        """What is there, with objects restored that could be; again where others have changed it meanwhile."""
        actions: list[str] = []
        for _ in range(_TRIES - 1):
            found, more, checks = await self._look_once(environment)
            actions += more
            if all(map(is_healthy, checks.values())) or (await self._find(environment)).etag == found.etag:
                return found, actions, checks
        found, more, checks = await self._look_once(environment)
        return found, actions + more, checks

    async def _look_once(self, environment: str) -> tuple[_Found, list[str], dict[str, ToolCheck]]:
        found = await self._find(environment)
        actions = await self._restore_objects(environment, found.wanted)
        states = found.wanted.tools
        checks: dict[str, ToolCheck] = {}
        for tool in TOOLS:
            checks[tool] = await self._checker.check_tool(environment, tool, states.get(tool))
        return found, actions, checks

    # The reference document -------------------------------------------------------------------------------------

    async def _find(self, environment: str) -> _Found:
        key = keys.current(environment)
        etag: str | None = None
        present: Current | None = None
        now = 0.0
        try:
            info, body = await self._objects.read(key)
            etag, now = info.etag, server_time(info)
            present = decode_current(body, environment=environment, where=self._reader.where(key))
        except (ObjectNotFound, StoreDamaged):
            pass
        older = await self._versions(environment)
        newest = newest_sequence([*older, *([present] if present is not None else [])])
        if newest is None and etag is None and await self._is_empty(environment):
            raise ConfigNotFound(f"there is no environment '{environment}'", environment=environment)
        wanted = newest or await self._log.recover(environment, Current(-1, (), self._objects.bucket))
        return _Found(wanted, present, etag, wanted.sequence, now or datetime.now(UTC).timestamp())

    async def _is_empty(self, environment: str) -> bool:
        try:
            await self._reader.check_empty(environment)
        except StoreDamaged:
            return False
        return True

    async def _versions(self, environment: str) -> list[Current]:
        key = keys.current(environment)
        found = []
        async with aclosing(self._objects.versions(key)) as versions:
            async for version in versions:
                if version.is_delete_marker:
                    continue
                with suppress(StoreDamaged, ObjectNotFound):
                    _, body = await self._objects.read(key, version_id=version.version_id)
                    found.append(decode_current(body, environment=environment, where=self._reader.where(key)))
        return found

    async def _write(self, environment: str, found: _Found, wanted: Current, write_id: str, note: Note) -> None:
        # A higher sequence and an id of its own: fresh bytes, so that no ETag that a writer still holds comes back.
        body = encode_current(
            stamp(
                found.wanted,
                replace(wanted, sequence=found.last_sequence),
                write_id=write_id,
                home=self._objects.bucket,
                note=note,
                at=found.now,
            )
        )
        key = keys.current(environment)
        try:
            await self._objects.put(
                key, body, if_match=found.etag, create=found.etag is None, content_type="application/json"
            )
        except PreconditionFailed as exc:
            raise StoreDamaged(
                f"'{self._reader.where(key)}' has changed during the repair", environment=environment,
                hint="somebody else is at work on it: look at it again with fsck",
            ) from exc  # fmt: skip

    # Documents and blobs ----------------------------------------------------------------------------------------

    async def _restore_objects(self, environment: str, wanted: Current) -> list[str]:
        """Put back what an older version of the same object still has. Again while that brings more to light."""
        actions: list[str] = []
        while True:
            checks = [await self._checker.check_tool(environment, tool, state) for tool, state in wanted.tools.items()]
            lost = [finding for check in checks for finding in check.findings if finding.sha256 is not None]
            restored = [finding.key for finding in lost if finding.key not in actions and await self._restore(finding)]
            if not restored:
                return [f"'{key}' was restored from an older version" for key in actions]
            actions += restored

    async def _restore(self, finding: Finding) -> bool:
        async with aclosing(self._objects.versions(finding.key)) as versions:
            async for version in versions:
                if version.is_delete_marker:
                    continue
                with suppress(ObjectNotFound):
                    _, body = await self._objects.read(finding.key, version_id=version.version_id)
                    if await _is_it(body, finding):
                        await self._objects.put(finding.key, body)
                        return True
        return False

    async def _ask(self, environment: str, tools: list[str], checks: Mapping[str, ToolCheck]) -> None:
        if not tools:
            return
        lines = []
        for tool in tools:
            problem = next(each.problem for each in checks[tool].findings if each.severity == "damage")
            offers = [release.ref.key for release in await self._offers(environment, tool) if release.ref is not None]
            lines.append(f"{tool}: {problem} (whole releases: {', '.join(offers[:_SHOWN]) or 'none'})")
        raise StoreDamaged(
            f"'{environment}' cannot be mended without a choice: {'; '.join(lines)}",
            environment=environment,
            hint="choose a release for each: repair(environment, choose={tool: key}); or restore a backup elsewhere",
        )

    async def _offers(self, environment: str, tool: str) -> list[Release]:
        """The releases that are whole, newest first, committed or not."""
        async with aclosing(self._objects.list(keys.releases(environment, tool))) as listing:
            names = [info.key async for info in listing if keys.parse_release(info.key)]
        found = []
        for key in reversed(names):
            with suppress(Gone, ApmS3Error):
                found.append(await self._whole(key))
            if len(found) == _SHOWN:
                break
        return found

    async def _whole(self, key: str) -> Release:
        release = await self._reader.document(key)
        await self._reader.files(release)
        return release

    async def _take_up(
        self, environment: str, tool: str, key: str, state: ToolState | None, write_id: str, now: float
    ) -> ToolState:
        """A new release above all that are there, with the files of the chosen one."""
        try:
            chosen = await self._whole(key)
        except (Gone, ObjectNotFound) as exc:
            raise StoreDamaged(f"'{self._reader.where(key)}' is not whole itself", environment=environment) from exc
        if (chosen.environment, chosen.tool) != (environment, tool) or chosen.ref is None:
            raise ConfigNotFound(f"'{key}' is no release of {tool} in '{environment}'", environment=environment)
        revision = await self._highest(environment, tool, state) + 1
        plan = plan_blobs(chosen.files, None, write_id)
        folder = keys.blobs(environment, tool)
        await run_all(
            (self._objects.copy(folder + source, folder + blob) for blob, source in plan.copies.items()), limit=PARALLEL
        )
        release = replace(
            chosen,
            revision=revision,
            parent=chosen.ref,
            write_id=write_id,
            author=None,
            message=f"repaired with revision {chosen.revision}",
            created_at=datetime.fromtimestamp(now, UTC),
            origin=Origin("repair", environment, chosen.revision),
            files=plan.entries,
        )
        document, body = keys.release(environment, tool, revision, write_id), encode_release(release)
        await self._objects.put(document, body, create=True, content_type="application/json")
        ref = ReleaseRef(revision, document, hashlib.sha256(body).hexdigest())
        return ToolState(ref, chosen.ref, await self._good(state), oldest=chosen.revision)

    async def _good(self, state: ToolState | None) -> ReleaseRef | None:
        """The good mark, as long as there is something whole to roll back to."""
        if state is None or state.good is None:
            return None
        try:
            return state.good if (await self._whole(state.good.key)).ref == state.good else None
        except (Gone, ApmS3Error):
            return None

    async def _highest(self, environment: str, tool: str, state: ToolState | None) -> int:
        async with aclosing(self._objects.list(keys.releases(environment, tool))) as listing:
            revisions = [parsed[0] async for info in listing if (parsed := keys.parse_release(info.key))]
        return max([0 if state is None else state.release.revision, *revisions])

    async def _refresh(self, environment: str) -> list[str]:
        """Bring `live/` up to date."""
        snapshot = await self._reader.require(environment)
        actions = []
        for tool in snapshot.current.tools:
            try:
                release = await self._reader.newest(snapshot, tool)
            except Gone:
                continue
            if release is not None:
                await self._live.refresh(release, {})
                actions.append(f"live copies of {tool} were compared and refreshed")
        return actions


async def _is_it(body: bytes, finding: Finding) -> bool:
    if finding.entry is not None:
        return await unpack(body, finding.entry) is not None
    return hashlib.sha256(body).hexdigest() == finding.sha256
