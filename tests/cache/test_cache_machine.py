"""The cache against a server whose every value is known: reads that overlap, writes, outages, cancellations, time.

What holds for each answer: it is no older than the caller accepts, and no older than the last write of this process
that had ended when the caller asked. And the cache is what the model says after every step: the same entries in the
same order of use, the same requests, the same counts, the same answer for each caller.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from apm_s3.errors import ConnectFailed, ObjectNotFound
from tests.cache.model import Model, Outcome, Rules
from tests.profiles import examples
from tests.seams.cache import OUTAGE_PAUSE, OVERHEAD, Cache, CacheRead, Key, Policy, entries_of, loads_of, tasks_of

TTL, NEGATIVE_TTL, STALE, KEEP = 10.0, 3.0, 20.0, 15.0
MAX_ENTRIES, MAX_BYTES, MAX_COST = 3, 4 * (OVERHEAD + 40), 2000
NAMES = ("a", "b", "c", "d")
NAME = st.sampled_from("aaaaabcd")
"""Mostly one key: bugs occur between reads and writes of the same key."""
SMALL, LARGE, HUGE = 10, 1500, 2500
TICK = 2.0**-10
"""Of the clock: exact in a float, as are all times made of it."""


@dataclass(frozen=True)
class Value:
    """A version of an object; `size` is what it is counted with."""

    version: int
    size: int


@dataclass
class Request:
    """A request in progress. `seen` is the server's value, once the server has read it."""

    name: str
    old: Value | None
    answer: asyncio.Future[Value]
    seen: object = None
    served: bool = False


@dataclass(eq=False)
class Read:
    """A caller, what it accepts, and what had been written before it asked."""

    name: str
    refresh: bool
    asked_at: float
    written: int
    task: asyncio.Task[CacheRead[Value]]
    cancelled: bool = False


@dataclass
class State:
    """An object at the server: since when it has which version; version 0: it is not there."""

    history: list[tuple[float, int, int]] = field(default_factory=lambda: [(-1e9, 1, SMALL)])
    written: int = 0

    @property
    def version(self) -> int:
        return self.history[-1][1]


CALLS = ("get", "fail to get", "read", "refresh", "write", "delete", "cancel the first", "give up and read")
SCENES = (
    ("get", "fail to get", "refresh", "written", "deleted", "wait", "wait long"),
    ("read", "refresh", "look", "answer", "answer the last", "get", "write", "delete"),
    ("read", "refresh", "look", "answer", "fail", "deleted", "wait", "cancel the first", "give up and read"),
)
"""What happens together: the bugs need five or six actions that belong together."""


def _some(actions: tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(actions), min_size=4, max_size=10)


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.loop = asyncio.new_event_loop()
        self.states = {name: State() for name in NAMES}
        self.gone: set[int] = set()
        self.requests: list[Request] = []
        self.reads: list[Read] = []
        self.versions = 1

    @initialize(
        ttl=st.sampled_from([TTL, TTL, 0.0]),
        negative=st.sampled_from([0.0, NEGATIVE_TTL]),
        stale=st.sampled_from([STALE, STALE, 0.0]),
    )
    def begin(self, ttl: float, negative: float, stale: float) -> None:
        self.cache = Cache(max_entries=MAX_ENTRIES, max_bytes=MAX_BYTES, ttl=ttl, clock=lambda: self.now)
        self.policy: Policy[Value] = Policy(
            cost=lambda value: value.size,
            ttl=ttl,
            keep=KEEP,
            stale_if_error=stale,
            absent=(ObjectNotFound,),
            negative_ttl=negative,
            max_cost=MAX_COST,
        )
        rules = Rules(MAX_ENTRIES, MAX_BYTES, MAX_COST + OVERHEAD, ttl, negative, KEEP, stale, OUTAGE_PAUSE, cost)
        self.model = Model(rules, lambda: self.now)

    def key(self, name: str) -> Key:
        # Two details in one group: what is written changes both.
        return Key(("object", "bucket", "ab" if name in "ab" else name), name)

    def tick(self) -> None:
        # No two things happen at the same time, or an old value could be mistaken for a new one.
        self.now += TICK
        self.model.step += 1

    def turn(self) -> None:
        async def turns() -> None:
            for _ in range(8):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turns())
        self.judge()

    # ----------------------------------------------------------------------------------------------------------

    @rule(name=NAME, refresh=st.booleans(), many=st.integers(1, 3))
    def read(self, name: str, refresh: bool, many: int) -> None:
        self.tick()
        before = len(self.requests)
        for _ in range(many):
            task = self.loop.create_task(
                self.cache.fetch(self.key(name), self.policy, lambda old: self.load(name, old), refresh=refresh)
            )
            read = Read(name, refresh, self.now, self.states[name].written, task)
            self.reads.append(read)
            self.model.read(read, name, refresh=refresh)
        self.turn()
        assert len(self.requests) <= before + 1, "those who ask at one moment share a request"

    @rule(names=st.lists(st.sampled_from(NAMES), min_size=2, max_size=6))
    def visit(self, names: list[str]) -> None:
        """Reads one after the other: the order of use decides which entry leaves."""
        for name in names:
            self.get(name)

    def get(self, name: str) -> None:
        """A read from beginning to end."""
        self.read(name, refresh=False, many=1)
        for request in self.asked(name):
            self.tick()
            self.look(request)
            self.answer(request)

    def asked(self, name: str) -> list[Request]:
        return [request for request in self.requests if request.name == name]

    @rule(name=st.sampled_from("ab"), actions=st.sampled_from(SCENES).flatmap(_some))
    def scene(self, name: str, actions: list[str]) -> None:
        """Several actions in a row on one object."""
        for action in actions:
            if action in CALLS:
                self.call(name, action)
            else:
                self.happen(name, action)

    @rule(name=st.sampled_from("ab"), size=st.sampled_from([SMALL, None, "same"]), newest_first=st.booleans())
    def race(self, name: str, size: Any, newest_first: bool) -> None:
        """Two reads, of which the one that began first may have seen an older state."""
        self.get(name)
        for last in (False, True):
            self.read(name, refresh=True, many=1)
            self.happen(name, "look")
            if not last and size != "same":
                self.write(name, size, ours=False)
        while self.asked(name):
            self.happen(name, "answer the last" if newest_first else "answer")

    @rule(name=st.sampled_from("ab"), waits=st.lists(st.sampled_from([1.0, OUTAGE_PAUSE + 1.0, TTL + 1.0]), max_size=3))
    def outage(self, name: str, waits: list[float]) -> None:
        """S3 cannot be reached any more once the value has aged."""
        self.get(name)
        for seconds in (TTL + 1.0, *waits):
            self.wait(seconds)
            self.call(name, "fail to get")

    def call(self, name: str, action: str) -> None:
        """Something that this process does."""
        match action:
            case "get":
                self.get(name)
            case "read" | "refresh":
                self.read(name, refresh=action == "refresh", many=1)
            case "fail to get":
                self.read(name, refresh=False, many=1)
                for request in self.asked(name):
                    self.break_off(request)
            case "write" | "delete":
                self.write(name, None if action == "delete" else SMALL, ours=True)
            case "cancel the first":
                for read in [read for read in self.reads if read.name == name][:1]:
                    self.give_up(read)
                    self.turn()
            case "give up and read":
                for read in [read for read in self.reads if read.name == name]:
                    self.give_up(read)
                self.read(name, refresh=False, many=1)

    def happen(self, name: str, action: str) -> None:
        """Something that happens to it."""
        served = [request for request in self.asked(name) if request.served]
        match action:
            case "look":
                self.tick()
                for request in self.asked(name):
                    self.look(request)
            case "answer" | "answer the last" if served:
                self.tick()
                self.answer(served[0 if action == "answer" else -1])
            case "fail":
                for request in self.asked(name)[:1]:
                    self.break_off(request)
            case "written" | "deleted":
                self.write(name, None if action == "deleted" else SMALL, ours=False)
            case "wait" | "wait long":
                self.wait(OUTAGE_PAUSE + 1.0 if action == "wait" else TTL + 1.0)

    async def load(self, name: str, old: Value | None) -> Value:
        request = Request(name, old, self.loop.create_future())
        self.requests.append(request)
        try:
            return await request.answer
        finally:
            if request in self.requests:
                self.requests.remove(request)

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def serve(self, data: st.DataObject) -> None:
        """The server reads the object: from now on its response is on the way."""
        self.tick()
        self.look(data.draw(st.sampled_from(self.requests)))

    def look(self, request: Request) -> None:
        if not request.served:
            request.served = True
            _, request.seen, size = self.states[request.name].history[-1]
            if request.seen in self.gone:
                request.seen = None
            elif request.old is not None and request.old.version == request.seen:
                request.seen = request.old
            else:
                request.seen = Value(request.seen, size)

    @precondition(lambda self: any(request.served for request in self.requests))
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        self.tick()
        self.answer(data.draw(st.sampled_from([request for request in self.requests if request.served])))

    def answer(self, request: Request) -> None:
        flight = self.model.flights[self.requests.index(request)]
        self.requests.remove(request)
        self.model.answer(flight, request.seen)
        if request.seen is None:
            request.answer.set_exception(ObjectNotFound("not there"))
        else:
            request.answer.set_result(request.seen)
        self.turn()

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        self.break_off(data.draw(st.sampled_from(self.requests)))

    def break_off(self, request: Request) -> None:
        self.model.fail(self.model.flights[self.requests.index(request)])
        self.requests.remove(request)
        request.answer.set_exception(ConnectFailed("no answer"))
        self.turn()

    @rule(name=NAME, size=st.sampled_from([SMALL, LARGE, HUGE, None]), ours=st.booleans())
    def write(self, name: str, size: int | None, ours: bool) -> None:
        """A write, or a delete, of this process or of another one; of both details of a group."""
        self.tick()
        changed = [each for each in NAMES if self.key(each).group == self.key(name).group]
        for each in changed:
            self.versions += 1
            if size is None:
                self.gone.add(self.versions)
            self.states[each].history.append((self.now, self.versions, size or 0))
            if ours:
                self.states[each].written = self.versions
        if ours:
            self.cache.forget(self.key(name).group)
            self.model.forget(changed)

    @rule(seconds=st.sampled_from([0.5, NEGATIVE_TTL, OUTAGE_PAUSE, TTL, STALE]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: any(not read.task.done() for read in self.reads))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.give_up(data.draw(st.sampled_from([read for read in self.reads if not read.task.done()])))
        self.turn()

    def give_up(self, read: Read) -> None:
        self.model.cancel(read)
        read.cancelled = True
        read.task.cancel()

    @rule()
    def clear(self) -> None:
        self.cache.clear()
        self.model.forget(NAMES)

    @rule()
    def clean(self) -> None:
        self.loop.run_until_complete(self.cache.clean())
        self.model.clean()

    # ----------------------------------------------------------------------------------------------------------

    def judge(self) -> None:
        for read in [read for read in self.reads if read.task.done()]:
            self.reads.remove(read)
            if read.cancelled:
                assert read.task.cancelled()
                continue
            assert not read.task.cancelled(), "a caller was cancelled for another's sake"
            error = read.task.exception()
            expected = self.model.outcomes.pop(read)
            if isinstance(error, ConnectFailed):
                assert expected == Outcome("failed")
                continue
            if isinstance(error, ObjectNotFound):
                assert expected == Outcome("absent")
                self.check_absence(read, 0.0 if read.refresh else self.policy.negative_ttl)
                continue
            assert error is None, repr(error)
            found = read.task.result()
            assert expected == Outcome("value" if found.stale_since is None else "stale", found.value)
            self.check_value(read, found)

    def check_value(self, read: Read, found: CacheRead[Value]) -> None:
        version = found.value.version
        assert version not in self.gone
        assert version >= read.written, "older than what this process has written"
        age = 0.0 if read.refresh else self.policy.ttl
        if found.stale_since is not None:
            assert not read.refresh
            age = self.policy.ttl + self.policy.stale_if_error
            # Judged by the time when it was given, which may be later than that of the question.
            assert self.lived(read.name, version, self.now - age, self.now)
        else:
            assert self.lived(read.name, version, read.asked_at - age, self.now), "older than the caller accepts"
        assert found.entry is None or not found.entry.held or found.entry.value == found.value

    def check_absence(self, read: Read, age: float) -> None:
        history = self.states[read.name].history
        assert any(
            version in self.gone and version >= read.written and self.lived(read.name, version, read.asked_at - age, self.now)
            for _, version, _ in history
        )  # fmt: skip

    def lived(self, name: str, version: int, start: float, end: float) -> bool:
        """Whether `version` was the current one at some moment from `start` to `end`."""
        history = self.states[name].history
        for number, (since, each, _) in enumerate(history):
            until = history[number + 1][0] if number + 1 < len(history) else float("inf")
            if each == version:
                return since <= end and until >= start
        return False

    @invariant()
    def is_what_the_model_says(self) -> None:
        if not hasattr(self, "cache"):
            return
        model = self.model
        entries = [
            (
                entry.key.detail,
                None if isinstance(entry.value, ObjectNotFound) else entry.value,
                entry.fresh_until,
                entry.kept_until,
            )
            for entry in entries_of(self.cache)
        ]
        assert entries == [(name, kept.value, kept.fresh_until, kept.kept_until) for name, kept in model.kept.items()]
        stats = self.cache.stats()
        assert (stats.entries, stats.bytes) == (len(model.kept), model.bytes)
        counted = (stats.hits, stats.misses, stats.coalesced, stats.evictions)
        assert counted == (model.hits, model.misses, model.coalesced, model.evictions)
        asked = [(request.name, request.old) for request in self.requests]
        assert asked == [(flight.name, flight.old) for flight in model.flights]
        assert len(self.reads) == sum(len(flight.waiting) for flight in model.flights)
        joinable = {flight.key.detail for flights in loads_of(self.cache).values() for flight in flights}
        assert joinable == {flight.name for flight in model.flights if not flight.overtaken}

    def teardown(self) -> None:
        if hasattr(self, "cache"):
            for request in list(self.requests):
                self.break_off(request)
            assert not self.reads, "somebody was never answered"
            assert not loads_of(self.cache)
            self.loop.run_until_complete(self.cache.aclose())
            assert not tasks_of(self.cache)
            assert not entries_of(self.cache)
        self.loop.close()


def cost(value: Value | None) -> int:
    """What the cache counts for a value, or for an absence."""
    return OVERHEAD + (len(str(ObjectNotFound("not there"))) if value is None else value.size)


TestCache = Machine.TestCase
TestCache.settings = settings(examples(120), stateful_step_count=50)
