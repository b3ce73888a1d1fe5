"""Which checksums of an upload a server verifies: known of AWS, found out once of any other.

The probe is a multipart upload of a few bytes that is never completed: nothing of it is ever visible as an object.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import AsyncIterator, Coroutine
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeVar

from apm_s3._s3.transports.signed.payloads import PART_CHECKSUM, Payload, Verified, chunked
from apm_s3._s3.transports.signed.requests import Headers, Request, owner_headers
from apm_s3._tasks import run_all, wait_shielded
from apm_s3._wire import checksums
from apm_s3._wire.sigv4 import SIGNED_CHUNKS_TRAILER, UNSIGNED_CHUNKS_TRAILER, encode_query
from apm_s3._wire.xml import MalformedDocument, parse_upload_id
from apm_s3.errors import ApmS3Error, BucketNotFound, DigestRejected, S3Error
from apm_s3.models._objects import Stream

if TYPE_CHECKING:
    from apm_s3._s3.transports.routes import Route
    from apm_s3._s3.transports.signed.sender import Sender


EVERYTHING = Verified(headers=True, trailers=True)
NOTHING = Verified(headers=False, trailers=False)

log = logging.getLogger(__name__)

T = TypeVar("T")

_PROBE = b"apm_s3 finds out whether this server verifies checksums"


class ChecksumProbe:
    """What each endpoint verifies.

    Attributes:
        known: the answers so far, by host.

    Args:
        known_to_verify: whether every server verifies everything, so that none is asked.
    """

    def __init__(self, sender: Sender, *, known_to_verify: bool) -> None:
        self._sender = sender
        self._known_to_verify = known_to_verify
        self.known: dict[str, Verified] = {}
        self._probes: dict[str, asyncio.Task[Verified]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing = False
        self._asking: set[asyncio.Task[Any]] = set()

    async def verified(self, route: Route, bucket: str, owner: str | None = None) -> Verified:
        """Return what the server verifies, after asking it if that is not known; `owner` must own the bucket."""
        known = self._at_once(route)
        if known is not None:
            return known
        # Shielded: it serves every upload that waits for it.
        return await wait_shielded(self._probe_of(route, bucket, owner))

    def so_far(self, route: Route, bucket: str, owner: str | None) -> Verified:
        """Return what is known without waiting. If nothing is, start a probe, and let the caller use Content-MD5."""
        known = self._at_once(route)
        if known is None:
            self._probe_of(route, bucket, owner)
        return known or NOTHING

    async def aclose(self) -> None:
        """End a running probe, and wait for its clean-up."""
        self._closing = True
        # Only while it waits for answers: before that, S3 may create an upload whose id nobody knows.
        for task in self._asking:
            task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _at_once(self, route: Route) -> Verified | None:
        known = self.known.get(route.host)
        if known is None and (self._known_to_verify or route.aws):
            known = self.known[route.host] = EVERYTHING
        return known

    def _probe_of(self, route: Route, bucket: str, owner: str | None) -> asyncio.Task[Verified]:
        probe = self._probes.get(route.host)
        if probe is None or probe.done():
            probe = self._spawn(self._probe(route, bucket, owner_headers(owner)), f"checksums of {route.host}")
            self._probes[route.host] = probe
        return probe

    def _spawn(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        # Without the context: these requests are no part of the attempt that happened to need them.
        task = asyncio.create_task(work, name=f"apm_s3 {name}", context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _probe(self, route: Route, bucket: str, owner: Headers) -> Verified:
        key = f".apm-s3-checksum-probe-{os.urandom(16).hex()}"
        try:
            found = await self._ask(route, bucket, key, owner)
        except (ApmS3Error, MalformedDocument) as error:
            found = NOTHING
            if not isinstance(error, S3Error) or error.retryable or isinstance(error, BucketNotFound):
                # Still unknown: Content-MD5 does for now, and the next upload asks again.
                return found
        except asyncio.CancelledError:
            if not self._closing:
                raise
            return NOTHING
        self.known[route.host] = found
        return found

    async def _ask(self, route: Route, bucket: str, key: str, owner: Headers) -> Verified:
        algorithm = {"x-amz-checksum-algorithm": PART_CHECKSUM.upper(), **owner}
        create = Request("probe_checksums", "POST", bucket, key, "uploads=", algorithm)
        _, body = await self._sender.exchange(create)
        upload_id = parse_upload_id(body)

        async def rejects(number: int, payload: Payload) -> bool:
            query = encode_query([("partNumber", str(number)), ("uploadId", upload_id)])
            return await self._rejects(Request("probe_checksums", "PUT", bucket, key, query, {**owner}), payload)

        named = encode_query([("uploadId", upload_id)])
        abort = Request("probe_checksums", "DELETE", bucket, key, named, {**owner})
        try:
            headers, trailers = await self._until_closing(
                rejects(1, _wrong_header()), rejects(2, _wrong_trailer(route))
            )
        finally:
            # A task of its own: whoever waits for the response need not wait for this.
            self._spawn(self._abort(abort), "abort of a probe")
        return Verified(headers=headers, trailers=headers and trailers)

    async def _until_closing(self, *questions: Coroutine[Any, Any, bool]) -> list[bool]:
        """Return the answers; `aclose` cancels the task that waits for them.

        Raises:
            CancelledError: the manager is closing.
        """
        task = asyncio.current_task()
        if self._closing or task is None:
            for question in questions:
                question.close()
            raise asyncio.CancelledError
        self._asking.add(task)
        try:
            return await run_all(questions)
        finally:
            self._asking.discard(task)

    async def _abort(self, call: Request) -> None:
        try:
            await self._sender.exchange(call)
        except ApmS3Error as error:
            log.debug("the upload of a probe was not aborted: %s", error)

    async def _rejects(self, call: Request, payload: Payload) -> bool:
        try:
            await self._sender.exchange(call, payload)
        except DigestRejected:
            return True
        except S3Error as error:
            if error.retryable:
                raise
        return False


def _wrong_header() -> Payload:
    return Payload(
        hashlib.sha256(_PROBE).hexdigest(),
        {f"x-amz-checksum-{PART_CHECKSUM}": checksums.checksum(PART_CHECKSUM, b"something else")},
        data=_PROBE,
    )


def _wrong_trailer(route: Route) -> Payload:
    used = checksums.start(PART_CHECKSUM)
    used.update(b"something else")
    kind = UNSIGNED_CHUNKS_TRAILER if route.secure else SIGNED_CHUNKS_TRAILER
    return chunked(Stream(_probe, size=len(_PROBE)), len(_PROBE), kind, used)


async def _probe() -> AsyncIterator[bytes]:
    yield _PROBE
