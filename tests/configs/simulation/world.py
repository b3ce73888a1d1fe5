"""One seeded interleaving: processes at work on one environment, and what must hold whatever happens to them."""

from __future__ import annotations

import asyncio
import gc
import json
import random
from collections.abc import Coroutine
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from apm_s3.configs import CommitOutcome, ConfigStore, EnvironmentSettings, Release
from apm_s3.errors import (
    CommitUnknown,
    ConfigNotFound,
    DeployRefused,
    EnvironmentFrozen,
    FormatTooNew,
    InvalidOption,
    RevisionConflict,
    S3Error,
    TransportError,
)
from apm_s3.validators import MAIN_FILES
from tests.configs.simulation.bucket import Client, Faults, FaultyBucket
from tests.configs.simulation.fleet import LaterClient, OldClient
from tests.configs.simulation.loop import VirtualLoop
from tests.configs.simulation.memories import STALENESS, Backend, Forgetting, Recollection
from tests.configs.simulation.record import Witness
from tests.seams.cache import never_clean
from tests.seams.store import (
    GRACE,
    Current,
    ToolState,
    decode_current_once,
    decode_release_once,
    keys,
    short_logs,
    without_validation,
    write_ids_from,
)

ENV = "production"
SOURCE = "staging"
TOOLS = ("loki", "prometheus")


class Violation(AssertionError):
    """A rule of the protocol was broken."""


@dataclass(slots=True)
class Attempt:
    """One upload, and its outcome as its caller knows it: True (committed), False (not committed), None (unknown)."""

    tool: str
    content: bytes
    told: bool | None = None


@dataclass(slots=True)
class State:
    """A committed state: by tool, revision, release key and content."""

    time: float
    tools: dict[str, tuple[int, str, bytes]]
    frozen: bool = False
    oldest: dict[str, int] = field(default_factory=dict)


@dataclass
class World:
    """The processes of one seed, and the truth about what they did."""

    seed: int
    rng: random.Random = field(init=False)
    loop: VirtualLoop = field(init=False)
    tools: tuple[str, ...] = field(init=False)
    attempts: list[Attempt] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    stored: list[str] = field(default_factory=list)
    written: set[str] = field(default_factory=set)
    violations: list[Exception] = field(default_factory=list)
    verdicts: list[tuple[str, CommitOutcome]] = field(default_factory=list)
    deployed: list[str] = field(default_factory=list)
    reads: int = 0
    collecting: bool = False

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.loop = VirtualLoop()
        self.tools = self.rng.choice((TOOLS, TOOLS[:1]))
        rate, commit_rate = self.rng.choice(((0.0, 0.0), (0.0, 0.08), (0.002, 0.03), (0.01, 0.01), (0.03, 0.03)))
        late = self.rng.choice((2.0, 60.0, 3000.0))
        self.disturbed = commit_rate > 0
        self.deadline = self.rng.choice((1.0, 4.0, 20.0))
        self.server = FaultyBucket(self.loop, self.rng, Faults.some(rate, late))
        self.server.commit_faults = Faults.some(commit_rate, late)
        if not self.disturbed:
            self.server.faults = self.server.commit_faults = Faults(hung=self.rng.choice((0.0, 0.1, 0.4)))
        self.server.observers.append(self._observe)
        # Machines that are suspended in the middle of a write, and somebody who asks how that write ended.
        self.suspend_at = self.rng.randint(1, 4) if self.rng.random() < 0.2 else 0
        # Short logs, whose entries have to be stored soon; and processes of other versions.
        self.short = self.rng.random() < 0.5
        self.fleet = self.rng.choices(("one version", "old and new", "new and later"), (2, 1, 1))[0]
        self.witness = Witness(self.server.objects, ENV)
        self.clients: list[Client] = []
        self.stores: list[ConfigStore] = []
        self.backend = Backend(self.rng)
        self.recollections: list[Recollection] = []
        """Of processes that have looked at the store before, and do something later."""
        self.staleness: dict[ConfigStore, float] = {}
        self.tasks: list[asyncio.Task[None]] = []

    # What happens ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Play it, and check what must hold."""
        with no_validation(self.rng), short_logs() if self.short else nullcontext():
            self.loop.run(self._play())
        self._judge()

    async def _play(self) -> None:
        rng = self.rng
        deployers: list[Coroutine[Any, Any, None]] = []
        if rng.random() < 0.2:
            await self._in_peace(SOURCE, TOOLS, (b"deployed;",))
            deployers = [self._deployer(self._store(mortal=rng.random() < 0.2)) for _ in range(rng.randint(1, 2))]
        await self._begin()
        work = [*self._writers(), self._reader(self._store(), rng.randint(1, 3)), *self._others(), *deployers]
        for coroutine in work:
            self.tasks.append(self.loop.create_task(self._from(rng.random() * 2, coroutine)))
        if rng.random() < 0.15:
            # What follows a commit is brought to its end, whoever is cancelled: `live/` is right after that, too.
            victim = rng.choice(self.tasks)
            self.loop.call_later(rng.random() * 4, victim.cancel)
        for _ in range(2):
            await asyncio.wait(self.tasks, timeout=4 * 3600)
        await asyncio.sleep(4000)  # whatever is late has arrived
        for client in self.clients:
            client.alive = False
        pending = [task for task in self.tasks if not task.done()]
        for task in pending:
            task.cancel()
        for store in self.stores:
            await store.finish(timeout=0)
        results = await asyncio.gather(*self.tasks, return_exceptions=True)
        self.violations += [result for result in results if isinstance(result, Exception)]
        await self._end()

    async def _begin(self) -> None:
        """The state before any process begins."""
        self.collecting = self.rng.random() < 0.25
        if self.collecting:
            self.tools = TOOLS[:1]
            await self._in_peace(ENV, self.tools, (b"1;", b"1;2;", b"1;2;3;", b"1;2;3;4;"))
        elif self.fleet == "old and new":
            await self._in_peace(ENV, self.tools, (b"1;",), OldClient)

    async def _end(self) -> None:
        self.suspend_at = 0
        if not self.violations:
            await self._aftermath()
        if self.violations:
            raise self.violations[0]

    def _writers(self) -> list[Coroutine[Any, Any, None]]:
        rng = self.rng
        work = [self._writer(self._store(mortal=rng.random() < 0.2), f"w{n}", 1) for n in range(rng.randint(2, 3))]
        if rng.random() < 0.3:
            store = self._store()
            work += [self._writer(store, f"x{n}", 1) for n in range(2)]
        return work

    def _others(self) -> list[Coroutine[Any, Any, None]]:
        rng = self.rng
        work = []
        if rng.random() < 0.15:
            work.append(self._freezer(self._store()))
        if rng.random() < 0.25:
            work += [self._roller(self._store()) for _ in range(rng.randint(1, 2))]
        if rng.random() < 0.15:
            work.append(self._ruler(self._store()))
        if rng.random() < 0.1:
            work.append(self._mender(self._store()))
        if self.collecting:
            work.append(self._collector(self._store(mortal=rng.random() < 0.2)))
            work += [self._reader(self._store(slow=3.0), 2) for _ in range(3)]
        return work

    async def _from(self, start: float, work: Coroutine[Any, Any, None]) -> None:
        try:
            await asyncio.sleep(start)
        except BaseException:
            work.close()
            raise
        await work

    def _store(self, *, mortal: bool = False, slow: float = 0.0) -> ConfigStore:
        kinds = {"one version": Client, "old and new": OldClient, "new and later": LaterClient}
        kind = kinds[self.fleet] if self.rng.random() < 0.4 else Client
        client = kind(self.server, retries=self.rng.choice((0, 0, 2)))
        client.slow = slow
        if mortal:
            client.requests_left = self.rng.randint(1, 25)
            self.disturbed = True
        self.clients.append(client)
        self.stores.append(self._remembering(client, self.deadline))
        return self.stores[-1]

    def _remembering(self, client: Client, deadline: float) -> ConfigStore:
        """A store of a process that remembers, perhaps since long; or of one without a memory, as old versions are."""
        if isinstance(client, OldClient) or self.rng.random() < 0.5:
            return ConfigStore(client, require_conditional_writes=False, deadline=deadline)
        mind = self.recollections.pop() if self.recollections and self.rng.random() < 0.7 else self._recollection()
        objects = Forgetting(client, mind.cache)
        store = ConfigStore(objects, require_conditional_writes=False, deadline=deadline, cache=mind.new_cache())
        self.staleness[store] = mind.staleness
        return store

    def _recollection(self) -> Recollection:
        backend = self.backend if self.rng.random() < 0.6 else None
        return Recollection(self.loop.time, self.rng.choice(STALENESS), backend)

    async def _writer(self, store: ConfigStore, name: str, count: int) -> None:
        """Appends its lines, each built on what it read, and tries again when another was faster."""
        for number in range(count):
            tool = self.rng.choice(self.tools)
            for attempt in range(3):
                if await self._append(store, tool, f"{name}.{number}.{attempt};".encode()) is not False:
                    break

    async def _append(self, store: ConfigStore, tool: str, line: bytes) -> bool | None:
        try:
            file = await store.download(tool, ENV)
            base, revision = file.raw, file.revision
        except ConfigNotFound:
            base, revision = b"", 0
        except (S3Error, TransportError, FormatTooNew):
            return None
        attempt = Attempt(tool, base + line)
        self.attempts.append(attempt)
        if self.rng.random() < 0.15:
            await self._repeat(store, attempt, revision)
            return attempt.told
        try:
            author = self.rng.choice((None, "writer")) if line != b"last;" else "writer"
            release = await store.upload(tool, ENV, attempt.content, expect_revision=revision, author=author)
        except CommitUnknown as unknown:
            attempt.told = await self._ask(store, unknown.write_id)
        except (RevisionConflict, EnvironmentFrozen, InvalidOption, S3Error, TransportError, FormatTooNew):
            attempt.told = False
        else:
            self._tell(attempt, release)
            if self.rng.random() < 0.3:
                await self._look_at_own(store, release)
        return attempt.told

    async def _look_at_own(self, store: ConfigStore, release: Release) -> None:
        """Whoever has written sees it, whatever age its reads accept."""
        with suppress(S3Error, TransportError, FormatTooNew, ConfigNotFound):
            seen = (await store.download(release.tool, ENV)).revision
            if seen < release.revision:
                raise Violation(f"{release.tool}: revision {seen} was read after {release.revision} was written")

    def _tell(self, attempt: Attempt, release: Release) -> None:
        attempt.told = True
        if release.live_pending:
            self.disturbed = True

    async def _repeat(self, store: ConfigStore, attempt: Attempt, revision: int) -> None:
        """The same upload several times under one write id: from several processes, at once and one after the other."""
        write_id = store.new_write_id(ENV)
        twins = [self._once(store, attempt, revision, write_id)]
        twins += [self._once(self._store(), attempt, revision, write_id) for _ in range(self.rng.randint(0, 1))]
        told = await asyncio.gather(*twins)
        for _ in range(2):
            if any(told):
                break
            await asyncio.sleep(self.rng.choice((0.1, 20.0, 900.0)))
            told.append(await self._once(self._store(), attempt, revision, write_id))
        keys_told = {key for key in told if isinstance(key, str)}
        if len(keys_told) > 1:
            raise Violation(f"{write_id} made {keys_told}")
        if keys_told:
            attempt.told = True

    async def _once(self, store: ConfigStore, attempt: Attempt, revision: int, write_id: str) -> str | None:
        """The key of the release that was made, by this call or by an earlier one; None where that is not known."""
        try:
            release = await store.upload(
                attempt.tool, ENV, attempt.content, author="w", expect_revision=revision, write_id=write_id
            )
        except (RevisionConflict, EnvironmentFrozen, S3Error, TransportError, FormatTooNew, CommitUnknown):
            return None
        except InvalidOption:
            # Begun too long ago to be committed any more, or pruned.
            return None
        if release.live_pending:
            self.disturbed = True
        return release.ref.key if release.ref else None

    async def _ask(self, store: ConfigStore, write_id: str) -> bool | None:
        for _ in range(30):
            try:
                outcome = await store.outcome(write_id)
            except (S3Error, TransportError, FormatTooNew, CommitUnknown):
                outcome = CommitOutcome.PENDING
            if outcome is CommitOutcome.EXPIRED:
                if not self.collecting:
                    raise Violation(f"{write_id} has expired, but nothing was collected")
                return None
            if outcome is not CommitOutcome.PENDING:
                return outcome is CommitOutcome.WON
            await asyncio.sleep(self.rng.choice((1.0, 60.0, 400.0)))
        return None

    async def _reader(self, store: ConfigStore, count: int) -> None:
        for _ in range(count):
            began = self.loop.now
            try:
                if self.rng.random() < 0.2:
                    entries = await store.log(ENV, limit=self.rng.choice((None, 3)))
                    self.witness.check_read([(entry.sequence, entry.hash) for entry in entries])
                elif self.rng.random() < 0.7:
                    bundles = await store.download_environment(ENV)
                    accepted = began - self.staleness.get(store, 0.0)
                    self._check_read(accepted, {tool: bundle.main.raw for tool, bundle in bundles.items()})
                else:
                    tool = self.rng.choice(TOOLS)
                    releases = await store.history(tool, ENV)
                    self._check_history(began, tool, [release.ref.key for release in releases if release.ref])
            except ConfigNotFound:
                # However old a state may be that is read, it does not decide that something is not there.
                self._check_read(began, {}, only=TOOLS)
            except (S3Error, TransportError, FormatTooNew):
                pass
            await asyncio.sleep(self.rng.random() * 0.5)

    async def _freezer(self, store: ConfigStore) -> None:
        try:
            await store.freeze(ENV, "simulated")
            await asyncio.sleep(self.rng.random())
            await store.thaw(ENV)
        except (S3Error, TransportError, FormatTooNew, InvalidOption, CommitUnknown, ConfigNotFound):
            return

    async def _ruler(self, store: ConfigStore) -> None:
        """From then on, every change has to name its author."""
        await asyncio.sleep(self.rng.random())
        with suppress(
            S3Error, TransportError, FormatTooNew, CommitUnknown, ConfigNotFound, EnvironmentFrozen, InvalidOption
        ):
            settings = EnvironmentSettings(require_author=True)
            await store.set_settings(ENV, settings, author="ruler")

    async def _mender(self, store: ConfigStore) -> None:
        """Refreshes `live/` while others write; nothing is damaged, so nothing else may change."""
        try:
            await store.repair(ENV)
        except FormatTooNew:
            # It may have written an old copy last, and an old version cannot read what a new one committed meanwhile.
            self.disturbed = True
        except (S3Error, TransportError, ConfigNotFound, InvalidOption):
            return

    async def _roller(self, store: ConfigStore) -> None:
        """Goes back to an old revision."""
        tool = self.rng.choice(self.tools)
        with suppress(
            S3Error,
            TransportError,
            FormatTooNew,
            ConfigNotFound,
            CommitUnknown,
            RevisionConflict,
            EnvironmentFrozen,
            InvalidOption,
        ):
            newest = (await store.history(tool, ENV))[0].revision
            await store.rollback(tool, ENV, to_revision=self.rng.randint(max(1, newest - 3), newest))

    async def _in_peace(
        self, environment: str, tools: tuple[str, ...], contents: tuple[bytes, ...], kind: type[Client] = Client
    ) -> None:
        """What was there before, uploaded while nothing failed."""
        faults = self.server.faults, self.server.commit_faults
        self.server.faults = self.server.commit_faults = Faults()
        suspend_at, self.suspend_at = self.suspend_at, 0
        store = ConfigStore(kind(self.server, alone=True), require_conditional_writes=False)
        for tool in tools:
            for content in contents:
                await store.upload(tool, environment, content)
                if environment == ENV and self.rng.random() < 0.5:
                    await self._look_in()
        self.server.faults, self.server.commit_faults = faults
        # Whoever asks how a write ended, asks about one that was made among others.
        self.suspend_at = suspend_at
        self.stored.clear()

    async def _look_in(self) -> None:
        """A process sees what there is now, and does not come back before other things have happened."""
        mind = self._recollection()
        store = ConfigStore(Client(self.server, alone=True), require_conditional_writes=False, cache=mind.new_cache())
        await store.download_environment(ENV)
        self.recollections.append(mind)

    async def _deployer(self, store: ConfigStore) -> None:
        with suppress(
            S3Error,
            TransportError,
            FormatTooNew,
            ConfigNotFound,
            CommitUnknown,
            RevisionConflict,
            EnvironmentFrozen,
            DeployRefused,
            InvalidOption,
        ):
            plan = await store.plan_deploy(SOURCE, ENV, create=True)
            tools = [each.tool for each in plan.tools if each.changes]
            await store.deploy(plan, allow_drift=True, message=" ".join(tools))

    async def _collector(self, store: ConfigStore) -> None:
        """A day later, old revisions are collected."""
        self.disturbed = True
        await asyncio.sleep(self.rng.random())
        if self.rng.random() < 0.8:
            self.server.skipped += 25 * 3600
            for _ in range(2):
                roller = self._from(self.rng.random() / 2, self._roller(self._store(slow=0.5)))
                self.tasks.append(self.loop.create_task(roller))
        with suppress(
            S3Error, TransportError, FormatTooNew, ConfigNotFound, CommitUnknown, EnvironmentFrozen, InvalidOption
        ):
            # A third of them keeps the log for longer: its parts stay then, old as they are.
            keep_log = GRACE if self.seed % 3 else 7 * GRACE
            await store.collect_garbage(ENV, keep_revisions=1, keep_log=keep_log)

    async def _suspend_and_ask(self, write_id: str) -> None:
        """All machines except S3's are suspended for a while; then a process asks for the outcome of a write."""
        store = self._store()
        await asyncio.sleep(self.rng.random() * 0.3)
        self.server.skipped += self.rng.choice((0.0, 14.5 * 60, 16 * 60, 25 * 3600))
        if (told := await self._ask(store, write_id)) is not None:
            self.verdicts.append((write_id, CommitOutcome.WON if told else CommitOutcome.LOST))

    async def _aftermath(self) -> None:
        """The next process finds everything in order, without any manual step."""
        self.server.faults = self.server.commit_faults = Faults()
        store = ConfigStore(Client(self.server, alone=True), require_conditional_writes=False, deadline=20.0)
        await store.thaw(ENV, author="last") if self.states else None
        for tool in TOOLS:
            if not self.disturbed and self.states and tool in self.states[-1].tools:
                self._check_live(tool)
            if await self._append(store, tool, b"last;") is not True:
                raise Violation(f"{tool}: the next writer cannot write")
            for each in (store, *self.stores):
                await each.finish(timeout=60.0)
            self._check_live(tool)
        self.witness.check_kept()
        self.witness.check_read([(entry.sequence, entry.hash) for entry in await store.log(ENV)])
        if problems := (await store.fsck(ENV)).findings:
            raise Violation(f"not in order: {problems}")

    # What must hold --------------------------------------------------------------------------------------------

    def _observe(self, key: str, body: bytes) -> None:
        try:
            self._look(key, body)
        except Exception as exc:
            self.violations.append(exc)

    def _look(self, key: str, body: bytes) -> None:
        if f"/{SOURCE}/" in key:
            return
        if "/releases/" in key:
            self.stored.append(key.rpartition("/")[2].partition("-")[2].removesuffix(".json"))
            if len(self.stored) == self.suspend_at:
                self.disturbed = True
                self.tasks.append(self.loop.create_task(self._suspend_and_ask(self.stored[-1])))
        elif key.endswith("/current.json"):
            self.witness.look(json.loads(body))
            current = decode_current_once(body, environment=ENV, where=self.where(key))
            self.written.add(current.writers[-1])
            self._observe_commit(current)
        elif key.startswith("live/"):
            tool = key.split("/")[2]
            committed = {state.tools[tool][2] for state in self.states if tool in state.tools}
            if body not in committed:
                raise Violation(f"live/ is ahead: {body!r}")

    def where(self, key: str) -> str:
        """In the form of the store's reader, so that the same bytes are decoded once for both."""
        return f"{self.server.name}/{key}"

    def _observe_commit(self, current: Current) -> None:
        """What the document names is there, whole, and follows from what was there before."""
        before = self.states[-1].tools if self.states else {}
        tools = {}
        for tool, state in current.tools.items():
            if tool in before and before[tool][1] == state.release.key:
                tools[tool] = before[tool]
                continue
            tools[tool] = self._observe_release(tool, state, before.get(tool, (0, None, b"")))
        for tool in before:
            if tool not in tools:
                raise Violation(f"{tool} has vanished")
        for tool in self.deployed:
            if tools[tool] == before.get(tool):
                raise Violation(f"{tool} was not committed with the rest of its deploy")
        self.deployed = []
        if self.states and self.states[-1].frozen and tools != before:
            raise Violation("a frozen environment has changed")
        oldest = {tool: state.oldest for tool, state in current.tools.items()}
        self.states.append(State(self.loop.now, tools, current.freeze is not None, oldest))

    def _observe_release(
        self, tool: str, state: ToolState, old: tuple[int, str | None, bytes]
    ) -> tuple[int, str, bytes]:
        stored = self.server.objects.get(state.release.key)
        if stored is None:
            raise Violation(f"{state.release.key} was committed, but is not there")
        release = decode_release_once(stored.body, key=state.release.key, where=self.where(state.release.key))
        if release.ref != state.release:
            raise Violation(f"{state.release.key} is not the one that was committed")
        entry = release.files[MAIN_FILES[tool]]
        blob = self.server.objects.get(keys.blobs(ENV, tool) + entry.blob)
        if blob is None:
            raise Violation(f"{entry.blob} was committed, but is not there")
        if (release.revision, release.parent.key if release.parent else None) != (old[0] + 1, old[1]):
            raise Violation(f"{tool}: revision {release.revision} does not follow revision {old[0]}")
        if not self._follows(release, blob.body, old[2]):
            raise Violation(f"lost update: {release.origin.action} made {blob.body!r} of {old[2]!r}")
        return release.revision, state.release.key, blob.body

    def _follows(self, release: Release, content: bytes, before: bytes) -> bool:
        match release.origin.action:
            case "rollback":
                return any(
                    state.tools[release.tool][0] == release.origin.revision and state.tools[release.tool][2] == content
                    for state in self.states
                    if release.tool in state.tools
                )
            case "deploy":
                self.deployed += release.message.split()
                return content == b"deployed;"
        return content.startswith(before) and content[len(before) :].count(b";") == 1

    def _between(self, began: float) -> list[State]:
        """The states that were current at some time since `began`."""
        first = max((n for n, state in enumerate(self.states) if state.time <= began), default=0)
        return self.states[first:] if self.states and self.states[first].time <= began else [State(0, {}), *self.states]

    def _check_read(self, began: float, seen: dict[str, bytes], only: tuple[str, ...] = ()) -> None:
        self.reads += 1
        for state in self._between(began):
            contents = {tool: content for tool, (_, _, content) in state.tools.items()}
            if contents == seen or (only and any(tool not in contents for tool in only)):
                return
        raise Violation(f"torn, backward or invented read: {seen}")

    def _check_history(self, began: float, tool: str, seen: list[str]) -> None:
        self.reads += 1
        chain: list[str] = []
        for state in self.states:
            key = state.tools[tool][1] if tool in state.tools else None
            if key is not None and key not in chain:
                chain.append(key)
        for state in self._between(began):
            if tool in state.tools:
                revision, oldest = state.tools[tool][0], state.oldest[tool]
                if seen[::-1] == chain[oldest - 1 : revision]:
                    return
        raise Violation(f"a history that never was: {seen}, not {chain}")

    def _check_live(self, tool: str) -> None:
        stored = self.server.objects.get(f"live/{ENV}/{tool}/{MAIN_FILES[tool]}")
        if stored is None or stored.body != self.states[-1].tools[tool][2]:
            raise Violation(f"live/ of {tool} is not what was committed last")

    def _judge(self) -> None:
        """Check that callers were told the truth, after everything has arrived."""
        committed = {(tool, content) for state in self.states for tool, (_, _, content) in state.tools.items()}
        for attempt in self.attempts:
            truth = (attempt.tool, attempt.content) in committed
            if attempt.told is not None and attempt.told != truth:
                raise Violation(f"false verdict: {attempt} was told {attempt.told}")
        for write_id, outcome in self.verdicts:
            if (outcome is CommitOutcome.WON) != (write_id in self.written):
                raise Violation(f"false verdict: {write_id} was called {outcome}")


@contextmanager
def no_validation(rng: random.Random) -> Any:
    """The content is not what is simulated; ids and pauses come from the seed."""
    # A clean-up of caches within a play would be an event more.
    with without_validation(), write_ids_from(rng), mock.patch.object(random, "uniform", rng.uniform), never_clean():
        yield


def play(seed: int) -> World:
    """One interleaving.

    Raises:
        Violation: the protocol was broken; the message names the seed.
    """
    world = World(seed)
    # Nearly all of it is garbage at the end, and next to nothing before.
    gc.disable()
    try:
        world.run()
    except Exception as exc:
        raise Violation(f"seed {seed}: {type(exc).__name__}: {exc}") from exc
    finally:
        gc.enable()
        if seed % 25 == 0:
            gc.collect()
    return world
