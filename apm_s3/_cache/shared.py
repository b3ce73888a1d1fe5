"""The second level: a cache shared by many processes, in addition to S3.

It works with any aiocache backend. Only bytes are stored, as base64 text and without the backend's serializer, so that
nothing is ever unpickled; readers verify values by their hash.
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
"""Timeout of the backend in seconds; after that, S3 is used."""

PAUSE = 10.0
"""Seconds in which a failed backend is not used."""

TTL = 24 * 3600
"""Seconds until a value expires; an integer, as Memcached requires."""

MAX_VALUE = 700_000
"""Size of the largest value: Memcached allows items of 1 MiB, and base64 adds a third."""

_MAX_TEXT = -(-MAX_VALUE // 3) * 4

_MAX_PENDING = 64
"""Maximum number of concurrent writes; further values are not stored."""

log = logging.getLogger(__name__)


class SharedLevel:
    """One manager's view of a shared cache.

    Args:
        backend: an aiocache backend, which is never closed here.
        space: distinguishes these keys from all others: the namespace and the endpoint.
        spawn: starts a task that is cancelled when the manager is closed.
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
        """Return the key of an object, within Memcached's limits on length and characters."""
        namespace, endpoint = self._space
        named = f"{namespace}\0{endpoint}\0{bucket}\0{key}"
        return f"apm_s3:1:{hashlib.sha256(named.encode()).hexdigest()}"

    async def get(self, bucket: str, key: str) -> bytes | None:
        """Return the stored bytes for an object, not verified; None if they are missing or unavailable."""
        if self._clock() < self._rests_until:
            return None
        try:
            async with asyncio.timeout(PATIENCE):
                text = await self._backend.get(self.key(bucket, key), loads_fn=_as_it_is)
        except Exception as error:  # noqa: BLE001 - a backend's errors are of any kind, and none is ours
            self._fail(error)
            return None
        self._works()
        # What others wrote may be of any size: only what `put` may have stored is decoded.
        if not isinstance(text, str | bytes) or len(text) > _MAX_TEXT:
            return None
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            return None

    def put(self, bucket: str, key: str, body: bytes) -> None:
        """Store an object's bytes, in the background."""
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
            # Do not log the text: it can contain the address with a password.
            log.warning("the shared cache cannot be reached (%s): reading from S3 instead", type(error).__name__)

    def _works(self) -> None:
        if not self._failed:
            return
        # Broken connections from the outage stay in the backend's pool for a while.
        now = self._clock()
        if self._works_since is None:
            self._works_since = now
        elif now - self._works_since >= PAUSE:
            self._failed = False
            log.info("the shared cache can be reached again")


def _as_it_is(value: Any) -> Any:
    return value
