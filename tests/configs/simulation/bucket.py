"""An S3 that does to requests what networks and servers do, and clients of it that can die."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from apm_s3.errors import ApmS3Error, ConnectionLost, RequestTimedOut
from apm_s3.models import FileInfo
from tests.configs.simulation.loop import VirtualLoop
from tests.seams.s3 import MemoryBucket

EPOCH = 1_700_000_000.0


KINDS = (
    "lost",
    "response_lost",
    "late",
    "duplicated",
    "repeated",
    "failed",
    "failed_after",
    "conflict",
    "denied",
    "hung",
)


@dataclass(slots=True)
class Faults:
    """Probabilities of what may happen to one request; the rest of them goes well."""

    lost: float = 0.0
    response_lost: float = 0.0
    late: float = 0.0
    duplicated: float = 0.0
    repeated: float = 0.0
    failed: float = 0.0
    failed_after: float = 0.0
    conflict: float = 0.0
    denied: float = 0.0
    hung: float = 0.0
    longest_delay: float = 300.0
    rates: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        self.rates = tuple((name, getattr(self, name)) for name in KINDS if getattr(self, name))

    @classmethod
    def some(cls, rate: float, longest_delay: float) -> Faults:
        """All of them, each at `rate`."""
        return cls(**dict.fromkeys(KINDS, rate), longest_delay=longest_delay)


class FaultyBucket(MemoryBucket):
    """The server: what it stores, in the order in which requests arrive.

    Attributes:
        faults, commit_faults: what happens to requests, and to those that write current.json.
        skipped: seconds that the server's clock has run while the clients' clocks stood still (suspended machines).
    """

    def __init__(self, loop: VirtualLoop, rng: random.Random, faults: Faults) -> None:
        super().__init__("sim", self.date)
        self.loop, self.rng, self.faults, self.commit_faults = loop, rng, faults, faults
        self.skipped = 0.0
        self.requests = 0

    def date(self) -> float:
        """The `Date` header: whole seconds."""
        return float(int(EPOCH + self.loop.now + self.skipped))

    # What a request does when it arrives

    def read(self, key: str, if_none_match: str | None) -> tuple[FileInfo, bytes]:
        return self.get(key, if_none_match=if_none_match)

    def store(self, key: str, body: bytes, if_match: str | None, create: bool, metadata: Mapping[str, str]) -> FileInfo:
        return self.put(key, body, if_match=if_match, create=create, metadata=metadata)


class Client:
    """One process's way to the bucket. See `ObjectStore`.

    Attributes:
        alive: False once the process was killed: what it has sent may still arrive, but it never hears of it.
        requests_left: dies instead of sending the request after that many.
        slow: seconds that pass at most before each request.
        retries: how often a request is sent again that failed in a way that may pass, as `S3Manager` does.
        alone: nobody else is at work and nothing fails, so that each request is answered at once. This is cheaper.
    """

    def __init__(
        self, server: FaultyBucket, *, requests_left: int | None = None, retries: int = 0, alone: bool = False
    ) -> None:
        self.alone = alone
        self.bucket = "sim"
        self.server = server
        self.alive = True
        self.requests_left = requests_left
        self.retries = retries
        self.slow = 0.0

    async def read(
        self, key: str, *, if_none_match: str | None = None, version_id: str | None = None, limit: int | None = None
    ) -> Any:
        return await self._send(key, self.server.read, key, if_none_match)

    async def head(self, key: str) -> FileInfo:
        return await self._send(key, self.server.head, key)

    async def put(
        self, key: str, body: bytes, *, if_match: str | None = None, create: bool = False,
        hashed: bool = False, content_type: str | None = None, metadata: Mapping[str, str] | None = None,
        retain_until: Any = None, timeout: float | None = None,
    ) -> FileInfo:  # fmt: skip
        return await self._send(key, self.server.store, key, body, if_match, create, metadata or {})

    async def copy(self, source_key: str, key: str) -> FileInfo:
        return await self._send(key, self.server.copy, source_key, key)

    async def delete(self, keys: Sequence[str]) -> None:
        await self._send(keys[0] if keys else "", self.server.delete, keys)

    async def list(self, prefix: str, *, start_after: str | None = None) -> AsyncGenerator[FileInfo, None]:
        for info in await self._send(prefix, self.server.listed, prefix, start_after):
            yield info

    async def list_folders(self, prefix: str) -> AsyncGenerator[str, None]:
        for name in await self._send(prefix, self.server.folders, prefix):
            yield name

    async def versions(self, key: str) -> AsyncGenerator[Any, None]:
        return
        yield

    async def _send(self, key: str, act: Callable[..., Any], *args: Any) -> Any:
        if self.slow:
            await asyncio.sleep(self.server.rng.random() * self.slow)
        unresolved = False
        for attempt in range(1, self.retries + 2):
            try:
                return await self._send_once(key, act, *args)
            except ApmS3Error as error:
                error.attempts = attempt
                unresolved = error.unresolved = unresolved or error.may_have_happened
                if not error.retryable or attempt > self.retries:
                    raise
        raise AssertionError

    async def _send_once(self, key: str, act: Callable[..., Any], *args: Any) -> Any:
        server = self.server
        server.requests += 1
        if self.alone:
            return act(*args)
        if self.requests_left is not None:
            self.requests_left -= 1
            if self.requests_left < 0:
                self.alive = False
        response = server.loop.create_future()
        if self.alive:
            self._route(response, key, act, args)
        return await response

    def _route(self, response: asyncio.Future[Any], key: str, act: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Decide what becomes of a request."""
        server = self.server
        commits = act == server.store and key.endswith("/current.json")
        faults = server.commit_faults if commits else server.faults
        exchange = _Exchange(self, response, key, act, args, faults.longest_delay)
        draw = server.rng.random()
        for kind, rate in faults.rates:
            if draw < rate:
                getattr(exchange, kind)()
                return
            draw -= rate
        exchange.goes_well()


class _Exchange:
    """One request on its way, and what becomes of it."""

    __slots__ = ("act", "args", "client", "delay", "key", "longest_delay", "response", "rng", "soon")

    def __init__(
        self, client: Client, response: asyncio.Future[Any], key: str, act: Callable[..., Any], args: tuple[Any, ...],
        longest_delay: float,
    ) -> None:  # fmt: skip
        self.client, self.response, self.key, self.act, self.args = client, response, key, act, args
        self.longest_delay = longest_delay
        self.rng = client.server.rng
        self.soon = client.server.loop.call_later
        self.delay = self.rng.random() * 0.1

    def goes_well(self) -> None:
        self.soon(self.delay, self._arrive)

    def lost(self) -> None:
        self._fail(self._silence(), self.delay)

    def response_lost(self) -> None:
        self.soon(self.delay, self._arrive_unheard)
        self._fail(self._silence(), self.delay + self.rng.random())

    def late(self) -> None:
        self._fail(self._silence(), self.delay)
        self.soon(self._much_later(), self._arrive_unheard)

    def duplicated(self) -> None:
        self.soon(self.delay, self._arrive)
        self.soon(self._much_later(), self._arrive_unheard)

    def repeated(self) -> None:
        self.soon(self.delay, self._arrive_twice)

    def failed(self) -> None:
        self._fail(self._error(self.rng.choice((500, 503)), "InternalError"), self.delay)

    def failed_after(self) -> None:
        self.soon(self.delay, self._arrive_unheard)
        self._fail(self._error(500, "InternalError"), self.delay + self.rng.random())

    def conflict(self) -> None:
        self._fail(self._error(409, "ConditionalRequestConflict"), self.delay)

    def denied(self) -> None:
        self._fail(self._error(403, "AccessDenied"), self.delay)

    def hung(self) -> None:
        """Slow, and in the end all right: others get in between."""
        self.soon(self.delay + self.rng.random() * 5, self._arrive)

    def _arrive(self) -> None:
        try:
            result, error = self.act(*self.args), None
        except ApmS3Error as exc:
            result, error = None, exc
        self.soon(self.rng.random() * 0.1, self._hear, result, error)

    def _arrive_unheard(self) -> None:
        with suppress(ApmS3Error):
            self.act(*self.args)

    def _arrive_twice(self) -> None:
        self._arrive_unheard()
        self._arrive()

    def _fail(self, error: ApmS3Error, after: float) -> None:
        self.soon(after, self._hear, None, error)

    def _hear(self, result: Any, error: ApmS3Error | None) -> None:
        if not self.client.alive or self.response.done():
            return
        if error is None:
            self.response.set_result(result)
        else:
            self.response.set_exception(error)

    def _much_later(self) -> float:
        return self.delay + self.rng.random() ** 3 * self.longest_delay

    def _silence(self) -> ApmS3Error:
        return self.rng.choice((ConnectionLost, RequestTimedOut))("no answer", bucket="sim", key=self.key)

    def _error(self, status: int, code: str) -> ApmS3Error:
        return self.client.server.error("simulated", self.key, status, code)
