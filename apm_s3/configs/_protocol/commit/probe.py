"""Probes once whether an endpoint honours conditional writes, which every commit relies on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter

from apm_s3._tasks import joined, run_all
from apm_s3.configs._protocol.commit.calls import Afterwards
from apm_s3.configs._protocol.documents import keys
from apm_s3.configs._protocol.objects import ObjectStore, delete_what_can_be
from apm_s3.errors import (
    AccessDenied,
    ApmS3Error,
    BucketNotFound,
    ConditionalWritesUnsupported,
    NotFound,
    PreconditionFailed,
    UnsupportedByServer,
)

log = logging.getLogger(__name__)

CLEAN_UP = 5.0
"""Seconds that a failed probe, or closing, waits for the removal of its objects. A collection removes what stays."""

_NO_ETAG = '"00000000000000000000000000000000"'
_BODY = b"apm-s3 asks whether this server honours conditional writes; this object can be deleted\n"


class Probe:
    """Probes once and remembers the result. On an endpoint that passes, no objects are left.

    Args:
        afterwards: runs the probe in the background, while a write reads what it builds on.
    """

    def __init__(self, objects: ObjectStore, afterwards: Afterwards, *, needed: bool) -> None:
        self._objects = objects
        self._afterwards = afterwards
        self._passed = not needed
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._waiting: Counter[str] = Counter()
        self._removing: dict[str, asyncio.Task[None]] = {}

    def begin(self, environment: str) -> None:
        """Start the probe, unless its result is known or it is running; `ensure` raises the result."""
        if not self._passed and environment not in self._asking:
            # Per environment, because a policy may allow one and deny another.
            task = self._afterwards.start(self._pass(environment))
            self._asking[environment] = task
            task.add_done_callback(lambda _: self._asking.pop(environment, None))

    async def ensure(self, environment: str) -> None:
        """Refuse an endpoint that ignores `If-Match` or `If-None-Match` on PUT.

        Raises:
            ConditionalWritesUnsupported: it ignores them.
        """
        self.begin(environment)
        task = self._asking.get(environment)
        if not self._passed and task is not None:
            # Shielded, because others may wait for it as well.
            self._waiting[environment] += 1
            try:
                await joined(task)
            finally:
                self._waiting[environment] -= 1

    def abandon(self) -> None:
        """Cancel the probes that nobody waits for, and soon their clean-up; a write that needs one starts it again."""
        for environment, task in self._asking.items():
            if not self._waiting[environment]:
                task.cancel()
        for task in self._removing.values():
            asyncio.get_running_loop().call_later(CLEAN_UP, task.cancel)

    async def gone(self, environment: str, timeout: float) -> None:
        """Wait at most `timeout` seconds for the probe in `environment` and its clean-up; do not raise its result."""
        end = asyncio.get_running_loop().time() + timeout
        # In this order, because the objects to remove are known only after the probe.
        for tasks in (self._asking, self._removing):
            if (task := tasks.get(environment)) is not None:
                await asyncio.wait({task}, timeout=end - asyncio.get_running_loop().time())

    async def _pass(self, environment: str) -> None:
        # Inside the environment, because a policy may allow no other location; the names are unique.
        key = keys.probes(environment) + keys.new_write_id(environment)
        absent = keys.probes(environment) + keys.new_write_id(environment)
        try:
            await self._ask(key, absent)
        except BaseException:
            # Raise the first error, which the caller can act on.
            with contextlib.suppress(ApmS3Error, TimeoutError):
                async with asyncio.timeout(CLEAN_UP):
                    await self._objects.delete([key, absent])
            raise
        self._passed = True
        removing = self._removing[environment] = self._afterwards.start(self._remove(key))
        removing.add_done_callback(lambda _: self._removing.pop(environment, None))

    async def _remove(self, key: str) -> None:
        # A writer may not have permission to delete objects.
        try:
            kept = await delete_what_can_be(self._objects, [key])
        except AccessDenied as exc:
            kept = {key: exc.problem}
        for reason in kept.values():
            log.warning("'%s' cannot be deleted before a collection: %s", key, reason)

    async def _ask(self, key: str, absent: str) -> None:
        # For a missing key: 404 on AWS, 412 elsewhere.
        no_match, there = await run_all([self._refuses(absent, if_match=_NO_ETAG), self._refuses(key, create=True)])
        if not no_match:
            raise self._unsupported("If-Match")
        if there or not await self._refuses(key, create=True):
            raise self._unsupported("If-None-Match")

    async def _refuses(self, key: str, *, if_match: str | None = None, create: bool = False) -> bool:
        try:
            await self._objects.put(
                key, _BODY, if_match=if_match, create=create, hashed=True, content_type="text/plain"
            )
        except BucketNotFound:
            raise
        except (PreconditionFailed, NotFound):
            return True
        except UnsupportedByServer as exc:
            raise self._unsupported("conditions") from exc
        return False

    def _unsupported(self, what: str) -> ConditionalWritesUnsupported:
        return ConditionalWritesUnsupported(
            f"the endpoint of bucket '{self._objects.bucket}' does not honour {what} on PUT",
            bucket=self._objects.bucket,
            hint="two writers could overwrite each other; use another endpoint or, with a single writer, "
            "open the store with require_conditional_writes=False",
        )
