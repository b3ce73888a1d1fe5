"""Which checksums of an upload a server verifies: known of AWS, found out once of any other.

The probe is a multipart upload of a few bytes that is never completed: nothing of it is ever visible as an object.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator

from apm_s3._s3.transports.lean.payloads import PART_CHECKSUM, Payload, Verified, chunked
from apm_s3._s3.transports.lean.requests import Call, Headers, owner_headers
from apm_s3._s3.transports.lean.sender import Sender
from apm_s3._s3.transports.routes import Route
from apm_s3._wire import checksums
from apm_s3._wire.sigv4 import SIGNED_CHUNKS_TRAILER, UNSIGNED_CHUNKS_TRAILER, encode_query
from apm_s3._wire.xml import MalformedDocument, parse_upload_id
from apm_s3.errors import ApmS3Error, DigestRejected, S3Error
from apm_s3.models import Stream

EVERYTHING = Verified(headers=True, trailers=True)
NOTHING = Verified(headers=False, trailers=False)

_PROBE = b"apm_s3 finds out whether this server verifies checksums"


class Verification:
    """What each endpoint verifies.

    Args:
        setting: `S3Settings.request_checksums`: "when_supported" takes every server's word, "when_required" sends
            Content-MD5 alone; None asks the servers that are not AWS.
    """

    def __init__(self, sender: Sender, setting: str | None) -> None:
        self._sender = sender
        self._setting = setting
        self._known: dict[str, Verified] = {}
        self._probes: dict[str, asyncio.Task[Verified]] = {}

    async def of(self, route: Route, bucket: str, owner: str | None = None) -> Verified:
        """What the server at the end of `route` verifies; `owner` is the account that the bucket has to belong to."""
        known = self._known.get(route.host)
        if known is not None:
            return known
        if self._setting is not None or route.aws:
            known = NOTHING if self._setting == "when_required" else EVERYTHING
            self._known[route.host] = known
            return known
        probe = self._probes.get(route.host)
        if probe is None or probe.done():
            probe = asyncio.create_task(
                self._probe(route, bucket, owner_headers(owner)), name=f"apm_s3 checksums of {route.host}"
            )
            self._probes[route.host] = probe
        # Shielded: it serves every upload that waits for it, and cleans up after itself.
        return await asyncio.shield(probe)

    async def aclose(self) -> None:
        """Let a probe that is under way end, and clean up."""
        running = [probe for probe in self._probes.values() if not probe.done()]
        if running:
            await asyncio.wait(running)

    async def _probe(self, route: Route, bucket: str, owner: Headers) -> Verified:
        key = f".apm-s3-checksum-probe-{uuid.uuid4().hex}"
        try:
            found = await self._ask(route, bucket, key, owner)
        except (ApmS3Error, MalformedDocument) as error:
            found = NOTHING
            if not isinstance(error, S3Error) or error.retryable:
                # Still unknown: Content-MD5 does for now, and the next upload asks again.
                return found
        self._known[route.host] = found
        return found

    async def _ask(self, route: Route, bucket: str, key: str, owner: Headers) -> Verified:
        algorithm = {"x-amz-checksum-algorithm": PART_CHECKSUM.upper(), **owner}
        create = Call("probe_checksums", "POST", bucket, key, "uploads=", algorithm)
        _, body = await self._sender.exchange(create, route)
        upload_id = parse_upload_id(body)
        query = encode_query([("partNumber", "1"), ("uploadId", upload_id)])

        async def rejects(payload: Payload) -> bool:
            return await self._rejects(Call("probe_checksums", "PUT", bucket, key, query, {**owner}), route, payload)

        try:
            headers = await rejects(_wrong_header())
            trailers = headers and await rejects(_wrong_trailer(route))
        finally:
            named = encode_query([("uploadId", upload_id)])
            await self._sender.exchange(Call("probe_checksums", "DELETE", bucket, key, named, {**owner}), route)
        return Verified(headers=headers, trailers=trailers)

    async def _rejects(self, call: Call, route: Route, payload: Payload) -> bool:
        try:
            await self._sender.exchange(call, route, payload)
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
