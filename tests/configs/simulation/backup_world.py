"""Backups, restores and prunings among writers, on an S3 that fails: what must hold of each backup, always."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from apm_s3.configs import ConfigStore, Release
from apm_s3.errors import (
    BackupInvalid,
    CommitUnknown,
    ConfigNotFound,
    RevisionConflict,
    S3Error,
    TransportError,
)
from tests.configs.simulation.bucket import Client, Faults, FaultyBucket
from tests.configs.simulation.loop import VirtualLoop
from tests.configs.simulation.world import ENV, TOOLS, Violation, no_validation
from tests.seams.store import decode_current_once, decode_release_once, keys

_EXPECTED = (S3Error, TransportError, ConfigNotFound, CommitUnknown, RevisionConflict, BackupInvalid)


class BackupWorld:
    """The processes of one seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.loop = VirtualLoop()
        rate = self.rng.choice((0.0, 0.005, 0.02, 0.05))
        self.server = FaultyBucket(self.loop, self.rng, Faults.some(rate, self.rng.choice((2.0, 60.0, 3000.0))))
        self.server.observers.append(self._observe)
        self.states: list[dict[str, Release]] = []
        self.backups: dict[str, dict[str, Any]] = {}
        self.acknowledged = 0
        self.stores: list[ConfigStore] = []
        self.violations: list[Exception] = []

    def run(self) -> None:
        """Play it, and check what must hold."""
        with no_validation(self.rng):
            self.loop.run(self._play())

    async def _play(self) -> None:
        rng = self.rng
        work = [self._writer(tool) for tool in TOOLS]
        work += [self._often(self._back_up, rng.randint(1, 3)) for _ in range(2)]
        work += [self._often(self._restore, 2), self._often(self._prune, 2), self._often(self._drill, 1)]
        tasks = [self.loop.create_task(coroutine) for coroutine in work]
        if rng.random() < 0.3:
            self.loop.call_later(rng.random() * 10, rng.choice(tasks).cancel)
        await asyncio.wait(tasks, timeout=4 * 3600)
        await asyncio.sleep(4000)  # whatever is late has arrived
        for task in tasks:
            task.cancel()
        for store in self.stores:
            await store.finish(timeout=0)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        self.violations += [result for result in results if isinstance(result, Exception)]
        if not self.violations:
            await self._aftermath()
        if self.violations:
            raise self.violations[0]

    def _store(self) -> ConfigStore:
        mortal = self.rng.random() < 0.2
        client = Client(
            self.server, requests_left=self.rng.randint(1, 40) if mortal else None, retries=self.rng.choice((0, 2))
        )
        self.stores.append(ConfigStore(client, require_conditional_writes=False, deadline=20.0))
        return self.stores[-1]

    async def _often(self, act: Callable[[ConfigStore], Awaitable[None]], count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(self.rng.random() * 5)
            with suppress(*_EXPECTED, TimeoutError):
                # A process of its own, which may die half-way: nobody waits for it longer than that.
                await asyncio.wait_for(act(self._store()), 600)

    async def _writer(self, tool: str) -> None:
        for number in range(4):
            with suppress(*_EXPECTED, TimeoutError):
                files = {f"{name}.txt": f"{tool}{number}{name};" for name in "abc"[: self.rng.randint(1, 3)]}
                await asyncio.wait_for(self._store().upload(tool, ENV, files=files), 600)
            await asyncio.sleep(self.rng.random() * 3)

    async def _back_up(self, store: ConfigStore) -> None:
        await store.backup(self.rng.choice((None, *TOOLS)), ENV)
        self.acknowledged += 1

    async def _restore(self, store: ConfigStore) -> None:
        if backups := await store.list_backups(ENV):
            await store.restore_environment(self.rng.choice(backups).key)

    async def _drill(self, store: ConfigStore) -> None:
        if backups := await store.list_backups(ENV):
            await store.restore_environment(backups[0].key, drill=True)

    async def _prune(self, store: ConfigStore) -> None:
        await store.prune_backups(ENV, keep=self.rng.randint(1, 2))

    async def _aftermath(self) -> None:
        """Now that all is quiet: what is listed as whole is whole, and pruning leaves the last."""
        self.server.faults = self.server.commit_faults = Faults()
        store = ConfigStore(Client(self.server), require_conditional_writes=False)
        whole = [backup for backup in await store.list_backups(ENV) if backup.damage is None]
        for backup in whole:
            await store.verify_backup(backup.key)
        if self.acknowledged and not whole:
            raise Violation("the last backup is gone")
        await store.prune_backups(ENV, keep=1)
        left = [backup for backup in await store.list_backups(ENV) if backup.damage is None]
        for tool in TOOLS:
            if any(tool in backup.tools for backup in whole) and not any(tool in backup.tools for backup in left):
                raise Violation(f"the last backup of {tool} was pruned")
        if left:
            await store.restore_environment(left[0].key)

    # What must hold --------------------------------------------------------------------------------------------

    def _observe(self, key: str, body: bytes) -> None:
        try:
            if key == keys.current(ENV):
                self._observe_commit(body)
            elif key.startswith("backups/") and key.endswith("/manifest.json"):
                self._observe_backup(key.removesuffix("/manifest.json"), json.loads(body))
        except Exception as exc:
            self.violations.append(exc)

    def _observe_commit(self, body: bytes) -> None:
        before = self.states[-1] if self.states else {}
        state = {}
        for tool, each in decode_current_once(body, environment=ENV, where="").tools.items():
            if tool in before and before[tool].ref == each.release:
                state[tool] = before[tool]
                continue
            stored = self.server.objects[each.release.key]
            state[tool] = decode_release_once(stored.body, key=each.release.key, where="")
            if state[tool].origin.action == "restore":
                self._check_restore(state[tool], before.get(tool))
        self.states.append(state)

    def _check_restore(self, release: Release, replaced: Release | None) -> None:
        backup = self.backups.get(release.origin.backup or "")
        if backup is None:
            raise Violation("restored from what is no backup")
        if _hashes(backup, release.tool) != {name: entry.sha256 for name, entry in release.files.items()}:
            raise Violation("restored something else than what was backed up")
        if replaced is None or replaced.removed:
            return
        saved = (each["tools"].get(release.tool) for each in self.backups.values())
        if not any(held is not None and held["revision"] == replaced.revision for held in saved):
            raise Violation("what was replaced was not backed up")

    def _observe_backup(self, folder: str, manifest: dict[str, Any]) -> None:
        if folder in self.backups:
            return  # a late copy of the same request, after a pruning perhaps
        for tool in manifest["tools"]:
            for name, sha256 in _hashes(manifest, tool).items():
                stored = self.server.objects.get(f"{folder}/{tool}/{name}")
                if stored is None or hashlib.sha256(stored.body).hexdigest() != sha256:
                    raise Violation(f"{name} is in the manifest, but not in the backup")
        wanted = {tool: _hashes(manifest, tool) for tool in manifest["tools"]}
        if not any(_matches(state, wanted) for state in self.states):
            raise Violation("a backup of what never was at one moment")
        self.backups[folder] = manifest


def _hashes(manifest: dict[str, Any], tool: str) -> dict[str, str]:
    return {name: file["sha256"] for name, file in manifest["tools"][tool]["files"].items()}


def _matches(state: dict[str, Release], wanted: dict[str, dict[str, str]]) -> bool:
    return all(
        tool in state and {name: entry.sha256 for name, entry in state[tool].files.items()} == hashes
        for tool, hashes in wanted.items()
    )


def play(seed: int) -> BackupWorld:
    """One interleaving.

    Raises:
        Violation: the message names the seed.
    """
    world = BackupWorld(seed)
    try:
        world.run()
    except Exception as exc:
        raise Violation(f"seed {seed}: {type(exc).__name__}: {exc}") from exc
    return world
