"""The cache as its rules describe it, without tasks: what each caller gets, and what is cached afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Kind = Literal["value", "stale", "absent", "failed"]


class Outcome(NamedTuple):
    """What a caller gets."""

    kind: Kind
    value: Any = None


@dataclass(frozen=True)
class Rules:
    """Limits and times. Seconds and bytes; `cost` counts a value, or None: an absence."""

    max_entries: int
    max_bytes: int
    max_cost: int
    ttl: float
    negative_ttl: float
    keep: float
    stale_if_error: float
    pause: float
    cost: Callable[[Any], int]


@dataclass(eq=False)
class Kept:
    """A cached value, or absence (None)."""

    value: Any
    number: int
    fresh_until: float
    stale_until: float
    kept_until: float
    pause_until: float


@dataclass(eq=False)
class Waiting:
    """A caller. `began` is when the read began that it joined; None if it began then itself."""

    caller: Any
    refresh: bool
    asked_at: float
    began: float | None = None


@dataclass(eq=False)
class Flight:
    """A read in progress; `step` is that in which it began, and `old` the value that it may confirm."""

    name: str
    began: float
    number: int
    step: int
    old: Any
    waiting: list[Waiting] = field(default_factory=list)
    overtaken: bool = False


class Model:
    """The cache of one machine. `kept` is in the order of use; `step` counts what happens to it."""

    def __init__(self, rules: Rules, clock: Callable[[], float]) -> None:
        self.rules = rules
        self.clock = clock
        self.kept: dict[str, Kept] = {}
        self.flights: list[Flight] = []
        self.outcomes: dict[Any, Outcome] = {}
        self.hits = self.misses = self.coalesced = self.evictions = self.step = self._begun = 0

    def read(self, caller: Any, name: str, *, refresh: bool) -> None:
        """A call. All calls of one step share a read."""
        now, kept = self.clock(), self.kept.get(name)
        if kept is not None and not refresh and now < kept.fresh_until:
            self.hits += 1
            self._use(name)
            self.outcomes[caller] = Outcome("absent") if kept.value is None else Outcome("value", kept.value)
            return
        self.misses += 1
        if not refresh and kept is not None and now < kept.pause_until and self._is_served_stale(kept):
            self._use(name)
            self.outcomes[caller] = Outcome("stale", kept.value)
            return
        waiting = Waiting(caller, refresh, now)
        for flight in reversed(self.flights):
            young = not refresh and now - flight.began < self.rules.ttl
            if flight.name == name and not flight.overtaken and (flight.step == self.step or young):
                self.coalesced += 1
                waiting.began = None if flight.step == self.step else flight.began
                flight.waiting.append(waiting)
                return
        self._begun += 1
        old = None if kept is None else kept.value
        self.flights.append(Flight(name, now, self._begun, self.step, old, [waiting]))

    def answer(self, flight: Flight, value: Any) -> None:
        """The response of a read: a value, or None: an absence."""
        self.flights.remove(flight)
        if not flight.overtaken:
            self._remember(flight, value)
        for waiting in flight.waiting:
            if value is not None:
                self.outcomes[waiting.caller] = Outcome("value", value)
            elif waiting.began is not None and waiting.asked_at - waiting.began >= self.rules.negative_ttl:
                self.read(waiting.caller, flight.name, refresh=waiting.refresh)
            else:
                self.outcomes[waiting.caller] = Outcome("absent")

    def fail(self, flight: Flight) -> None:
        """S3 cannot be reached."""
        self.flights.remove(flight)
        kept = self.kept.get(flight.name)
        for waiting in flight.waiting:
            if waiting.refresh or kept is None or not self._is_served_stale(kept):
                self.outcomes[waiting.caller] = Outcome("failed")
                continue
            self._use(flight.name)
            kept.pause_until = self.clock() + self.rules.pause
            self.outcomes[waiting.caller] = Outcome("stale", kept.value)

    def cancel(self, caller: Any) -> None:
        """A caller gives up; a read ends with the last one who waits for it."""
        for flight in self.flights:
            flight.waiting = [waiting for waiting in flight.waiting if waiting.caller is not caller]
        self.flights = [flight for flight in self.flights if flight.waiting]

    def forget(self, names: Iterable[str]) -> None:
        """What was written."""
        for name in names:
            self.kept.pop(name, None)
            for flight in self.flights:
                flight.overtaken = flight.overtaken or flight.name == name

    def clean(self) -> None:
        """Expired entries leave."""
        self.kept = {name: kept for name, kept in self.kept.items() if self.clock() < kept.kept_until}

    @property
    def bytes(self) -> int:
        """The size of all entries."""
        return sum(self.rules.cost(kept.value) for kept in self.kept.values())

    def _is_served_stale(self, kept: Kept) -> bool:
        return kept.value is not None and self.clock() < kept.stale_until

    def _use(self, name: str) -> None:
        self.kept[name] = self.kept.pop(name)

    def _remember(self, flight: Flight, value: Any) -> None:
        rules, old = self.rules, self.kept.get(flight.name)
        if old is not None and old.number > flight.number:
            return
        self.kept.pop(flight.name, None)
        if value is None and not rules.negative_ttl:
            return
        if value is not None and (old is None or old.value is not value) and rules.cost(value) > rules.max_cost:
            return
        fresh_until = flight.began + (rules.negative_ttl if value is None else rules.ttl)
        stale = keep = 0.0
        if value is not None:
            stale, keep = rules.stale_if_error, max(rules.keep, rules.stale_if_error)
        self.kept[flight.name] = Kept(
            value, flight.number, fresh_until, fresh_until + stale, fresh_until + keep, flight.began
        )
        while len(self.kept) > rules.max_entries or self.bytes > rules.max_bytes:
            self.evictions += 1
            del self.kept[next(iter(self.kept))]
