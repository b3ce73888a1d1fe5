"""The second level: a cache that many processes share, beside S3 and never in its place.

Any aiocache backend will do. Only bytes go there, as text of base64 and past the backend's serializer, so that nothing
that comes from it is ever unpickled; whoever reads holds what comes against its hash.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

PATIENCE = 1.0
"""Seconds that an answer of the backend may take. S3 is asked then."""

PAUSE = 10.0
"""Seconds in which a backend that failed is left alone."""

TTL = 24 * 3600
"""Seconds that a value stays there; whole ones, as Memcached wants."""

MAX_VALUE = 700_000
"""Bytes of the largest value: Memcached takes items of 1 MiB, and base64 adds a third."""

_MAX_PENDING = 64
"""Values on their way there at once; more are left out."""

log = logging.getLogger(__name__)


class SharedLevel:
    """What one manager keeps in a shared cache.

    Args:
        backend: an aiocache backend. It is not closed here.
        space: what sets these keys apart from all others: the namespace and the endpoint.
        spawn: starts a task that ends with the manager.
    """

    def __init__(
        self,
        backend: Any,
        space: tuple[str, str],
        spawn: Callable[[Coroutine[Any, Any, None], str], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backend = backend
        self._space = space
        self._spawn = spawn
        self._clock = clock
        self._rests_until = 0.0
        self._failed = False
        self._works_since: float | None = None
        self._pending = 0

    def key(self, bucket: str, key: str) -> str:
        """The name of an object there: of no more characters than Memcached takes, and none that it refuses."""
        namespace, endpoint = self._space
        named = f"{namespace}\0{endpoint}\0{bucket}\0{key}"
        return f"apm_s3:1:{hashlib.sha256(named.encode()).hexdigest()}"

    async def get(self, bucket: str, key: str) -> bytes | None:
        """The bytes that somebody has put there for an object, not verified; None where there are none to be had."""
        if self._clock() < self._rests_until:
            return None
        try:
            async with asyncio.timeout(PATIENCE):
                text = await self._backend.get(self.key(bucket, key), loads_fn=_as_it_is)
        except Exception as error:  # noqa: BLE001 - a backend's errors are of any kind, and none is ours
            self._fail(error)
            return None
        self._works()
        if not isinstance(text, str | bytes):
            return None
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            return None

    def put(self, bucket: str, key: str, body: bytes) -> None:
        """Put an object's bytes there, in the background."""
        if len(body) <= MAX_VALUE and self._pending < _MAX_PENDING and self._clock() >= self._rests_until:
            self._pending += 1
            self._spawn(self._put(self.key(bucket, key), body), "second level")

    async def _put(self, name: str, body: bytes) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._backend.set(name, base64.b64encode(body).decode(), ttl=TTL, dumps_fn=_as_it_is)
        except Exception as error:  # noqa: BLE001 - see above
            self._fail(error)
        else:
            self._works()
        finally:
            self._pending -= 1

    def _fail(self, error: Exception) -> None:
        self._rests_until = self._clock() + PAUSE
        self._works_since = None
        if not self._failed:
            self._failed = True
            # Not its text: it can hold the address, and with it a password.
            log.warning("the shared cache cannot be reached (%s): S3 is read instead", type(error).__name__)

    def _works(self) -> None:
        if not self._failed:
            return
        # For a while, connections of its pool that broke at the outage still turn up.
        now = self._clock()
        if self._works_since is None:
            self._works_since = now
        elif now - self._works_since >= PAUSE:
            self._failed = False
            log.info("the shared cache can be reached again")


def _as_it_is(value: Any) -> Any:
    return value
