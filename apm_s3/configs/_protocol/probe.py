"""Probes once whether an endpoint honours conditional writes, which every commit relies on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections import Counter

from apm_s3._hints import Advice
from apm_s3._tasks import run_all, wait_shielded
from apm_s3.configs._protocol import keys
from apm_s3.configs._protocol.changes import PostCommitTasks
from apm_s3.configs._protocol.objects import ObjectStore, delete_what_can_be
from apm_s3.errors import (
    AccessDenied,
    ApmS3Error,
    BucketNotFound,
    ConditionalWritesUnsupported,
    NotFound,
    ObjectNotFound,
    PreconditionFailed,
    UnsupportedByServer,
)
from apm_s3.events import expecting
from apm_s3.models import FileInfo

log = logging.getLogger(__name__)

CLEAN_UP = 5.0
"""Seconds that a failed probe, or closing, waits for the removal of its objects. A collection removes what stays."""

_NO_ETAG = "00000000000000000000000000000000"
_BODY = b"apm-s3 asks whether this server honours conditional writes; this object can be deleted\n"


class Probe:
    """Probes once and remembers the result. On an endpoint that passes, no objects are left.

    Args:
        afterwards: runs the probe in the background, while a write reads what it builds on.
    """

    def __init__(self, objects: ObjectStore, afterwards: PostCommitTasks, *, needed: bool) -> None:
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
                await wait_shielded(task)
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
        asked: list[str] = []
        try:
            failed = await self._failed(environment, asked)
            if failed is not None:
                # A fault can look like an endpoint that ignores conditions, so it is asked again.
                failed = await self._failed(environment, asked)
            if failed is not None:
                raise failed  # noqa: TRY301 - its objects are removed below, as after any other error
        except BaseException:
            # Raise the first error, which the caller can act on.
            with contextlib.suppress(ApmS3Error, TimeoutError):
                async with asyncio.timeout(CLEAN_UP):
                    await self._objects.delete(asked)
            raise
        self._passed = True
        removing = self._removing[environment] = self._afterwards.start(self._remove(asked[::2]))
        removing.add_done_callback(lambda _: self._removing.pop(environment, None))

    async def _remove(self, asked: list[str]) -> None:
        # A writer may not have permission to delete objects.
        try:
            kept = await delete_what_can_be(self._objects, asked)
        except AccessDenied as exc:
            kept = dict.fromkeys(asked, exc.problem)
        for key, reason in kept.items():
            log.warning("'%s' cannot be deleted before a collection: %s", key, reason)

    async def _failed(self, environment: str, asked: list[str]) -> ConditionalWritesUnsupported | None:
        """Return what the endpoint does wrong; None if it accepts what it should, and refuses what it should.

        Args:
            asked: the keys are added to it: one that exists afterwards, and one that does not.
        """
        key, absent = (keys.probes(environment) + keys.new_write_id(environment) for _ in range(2))
        asked += (key, absent)
        # For a missing key: 404 on AWS, 412 elsewhere.
        made, unmatched = await run_all([self._put(key, create=True), self._put(absent, if_match=f'"{_NO_ETAG}"')])
        if unmatched is not None:
            return self._unsupported("If-Match", unmatched)
        if made is None:
            return self._unsupported("If-None-Match", made)
        etag = made.etag or '""'
        again, replaced = await run_all([self._put(key, create=True), self._put(key, if_match=etag)])
        if again is not None:
            return self._unsupported("If-None-Match", again)
        if replaced is not None:
            return None
        # Ceph's gateway only takes an ETag without quotes.
        replaced = await self._put(key, if_match=etag.strip('"'))
        if replaced is None or await self._put(key, if_match=_NO_ETAG) is not None:
            return self._unsupported("If-Match", made)
        return None

    async def _put(self, key: str, *, if_match: str | None = None, create: bool = False) -> FileInfo | None:
        """Return what is stored now; None if the endpoint refused the condition."""
        # Each body is another one, so that an object of an earlier request is never taken for that of this one.
        body = _BODY + os.urandom(16).hex().encode() + b"\n"
        try:
            with expecting(PreconditionFailed, ObjectNotFound):
                return await self._objects.put(
                    key, body, if_match=if_match, create=create, hashed=True, content_type="text/plain"
                )
        except BucketNotFound:
            raise
        except (PreconditionFailed, NotFound):
            return None
        except UnsupportedByServer as exc:
            raise self._unsupported("conditions", None) from exc

    def _unsupported(self, what: str, made: FileInfo | None) -> ConditionalWritesUnsupported:
        versioned = made is not None and made.version_id not in (None, "null")
        return ConditionalWritesUnsupported(
            f"the endpoint of bucket '{self._objects.bucket}' does not honour {what} on PUT"
            + " in this bucket, which is versioned" * versioned,
            bucket=self._objects.bucket,
            hint="use a bucket without versioning: Ceph's gateway, for example, honours conditions only there"
            if versioned
            else Advice.SINGLE_WRITER(),
        )
