"""The multipart verbs of the lean path, and shared code of all its verbs."""

from __future__ import annotations

import asyncio
import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from apm_s3._paging import ListingProgress
from apm_s3._s3.transports.lean import requests
from apm_s3._s3.transports.lean.payloads import PART_CHECKSUM, Payload, payload_of_bytes, payload_of_stream
from apm_s3._s3.transports.lean.requests import Call
from apm_s3._s3.transports.lean.responses import refusal, server_time
from apm_s3._s3.transports.lean.sender import Sender
from apm_s3._s3.transports.lean.verification import Verification
from apm_s3._wire import checksums, xml
from apm_s3._wire.sigv4 import encode_query
from apm_s3.errors import IntegrityError
from apm_s3.models import FileInfo
from apm_s3.models._objects import PartInfo

if TYPE_CHECKING:
    from apm_s3._s3.transports.base import ObjectTransport
    from apm_s3._s3.transports.clients import Clients
    from apm_s3._s3.transports.lean.connection import Response
    from apm_s3._s3.transports.routes import Route
    from apm_s3.models import UploadInfo
    from apm_s3.models._objects import PartInfo, Stream
    from apm_s3.options import CopyOptions, DeleteOptions, ListOptions, ReadOptions, UploadOptions

T = TypeVar("T")

XML = {"content-type": "application/xml"}

_IN_MEMORY = (bytes, bytearray, memoryview)
"""Types of bodies that are not streams."""


class SignedMultipart:
    """The multipart verbs of `ObjectTransport`.

    Args:
        clients: aiobotocore's clients, which provide routes and credentials.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._sender = Sender(clients)
        self._verification = Verification(self._sender, clients.settings.request_checksums)
        self._verify = clients.settings.response_checksums != "when_required"

    @functools.cached_property
    def _boto(self) -> ObjectTransport:
        """The transport for everything that this one does not support; it opens nothing of its own."""
        from apm_s3._s3.transports.boto.transport import BotoTransport  # noqa: PLC0415 - most managers never need it

        return BotoTransport(self._clients)

    async def create_upload(self, bucket: str, key: str, options: UploadOptions) -> str:
        route = await self._route(bucket, options)
        if route is None:
            return await self._boto.create_upload(bucket, key, options)
        headers = requests.upload_headers(options)
        if (await self._verification.of(route, bucket, options.expected_bucket_owner)).trailers:
            # A checksum of the whole object, so that downloads can be verified.
            headers["x-amz-checksum-algorithm"] = PART_CHECKSUM.upper()
            headers["x-amz-checksum-type"] = "FULL_OBJECT"
        call = Call("upload_file", "POST", bucket, key, "uploads=", headers)
        response, body = await self._sender.exchange(call, route)
        return parsed(call, response, body, xml.parse_upload_id)

    async def upload_part(
        self, bucket: str, key: str, upload_id: str, number: int, body: bytes | Stream, options: UploadOptions
    ) -> PartInfo:
        route = await self._route(bucket, options)
        if route is None:
            return await self._boto.upload_part(bucket, key, upload_id, number, body, options)
        headers = requests.owner_headers(options.expected_bucket_owner)
        payload = await self._payload(route, bucket, body, headers, part=True)
        query = encode_query([("partNumber", str(number)), ("uploadId", upload_id)])
        call = Call("upload_file", "PUT", bucket, key, query, headers)
        response, _ = await self._sender.exchange(call, route, payload)
        etag = response.headers.get("etag")
        if not etag:
            raise IntegrityError("S3 sent no ETag for the part", operation="upload_part", bucket=bucket, key=key)
        return PartInfo(number, etag, size_of(body), payload.checksums)

    async def copy_part(
        self,
        source_bucket: str,
        source_key: str,
        byte_range: tuple[int, int],
        bucket: str,
        key: str,
        upload_id: str,
        number: int,
        options: CopyOptions,
    ) -> PartInfo:
        route = await self._copy_route(source_bucket, bucket, options)
        if route is None:
            return await self._boto.copy_part(
                source_bucket, source_key, byte_range, bucket, key, upload_id, number, options
            )
        start, stop = byte_range
        headers = requests.source_headers(source_bucket, source_key, options)
        headers["x-amz-copy-source-range"] = f"bytes={start}-{stop - 1}"
        query = encode_query([("partNumber", str(number)), ("uploadId", upload_id)])
        call = Call("copy_file", "PUT", bucket, key, query, headers)
        response, body = await self._sender.exchange(call, route)
        written = parsed(call, response, body, xml.parse_written)
        return PartInfo(number, written.etag, stop - start, written.checksums)

    async def complete_upload(
        self, bucket: str, key: str, upload_id: str, parts: Sequence[PartInfo], options: UploadOptions
    ) -> FileInfo:
        route = await self._route(bucket, options)
        if route is None:
            return await self._boto.complete_upload(bucket, key, upload_id, parts, options)
        headers = requests.owner_headers(options.expected_bucket_owner)
        headers.update(XML)
        headers.update(requests.condition_headers(options.if_match, options.if_none_match))
        algorithm = PART_CHECKSUM if all(PART_CHECKSUM in part.checksums for part in parts) else None
        payload = document(xml.build_complete(parts, algorithm))
        call = Call("upload_file", "POST", bucket, key, encode_query([("uploadId", upload_id)]), headers)
        response, body = await self._sender.exchange(call, route, payload)
        written = parsed(call, response, body, xml.parse_completed)
        info = written_info(bucket, key, sum(part.size for part in parts), response, options, written.checksums)
        return info if info.etag else info._replace(etag=written.etag)

    async def abort_upload(self, bucket: str, key: str, upload_id: str, options: UploadOptions) -> None:
        route = await self._route(bucket, options)
        if route is None:
            return await self._boto.abort_upload(bucket, key, upload_id, options)
        headers = requests.owner_headers(options.expected_bucket_owner)
        query = encode_query([("uploadId", upload_id)])
        await self._sender.exchange(Call("abort_upload", "DELETE", bucket, key, query, headers), route)
        return None

    async def list_parts(self, bucket: str, key: str, upload_id: str, options: UploadOptions) -> tuple[PartInfo, ...]:
        route = await self._route(bucket, options)
        if route is None:
            return await self._boto.list_parts(bucket, key, upload_id, options)
        found: list[PartInfo] = []
        marker: str | None = None
        progress = ListingProgress("list_parts", bucket)
        while True:
            query = [("uploadId", upload_id)]
            if marker is not None:
                query.append(("part-number-marker", marker))
            headers = requests.owner_headers(options.expected_bucket_owner)
            call = Call("list_parts", "GET", bucket, key, encode_query(query), headers)
            response, body = await self._sender.exchange(call, route)
            parts, marker = parsed(call, response, body, xml.parse_parts)
            found += parts
            progress.check(marker, parts[0].number if parts else None)
            if marker is None:
                return tuple(found)

    async def list_uploads(self, bucket: str, options: ListOptions) -> tuple[UploadInfo, ...]:
        route = await self._route(bucket, options)
        if route is None:
            return await self._boto.list_uploads(bucket, options)
        found: list[UploadInfo] = []
        marker: tuple[str, str] | None = None
        progress = ListingProgress("list_uploads", bucket)
        while True:
            headers = requests.owner_headers(options.expected_bucket_owner)
            call = Call("list_uploads", "GET", bucket, None, requests.uploads_query(options.prefix, marker), headers)
            response, body = await self._sender.exchange(call, route)
            uploads, marker = parsed(call, response, body, xml.parse_uploads)
            found += uploads
            progress.check(marker, (uploads[0].key, uploads[0].upload_id) if uploads else None)
            if marker is None:
                return tuple(found)

    async def _route(
        self, bucket: str, options: ReadOptions | UploadOptions | ListOptions | DeleteOptions | CopyOptions
    ) -> Route | None:
        """Return the route of `bucket`; None if aiobotocore must be used."""
        if options.requester_pays or getattr(options, "sse_customer_key", None) is not None:
            return None
        return self._sender.routes.get(bucket) or await self._sender.route(bucket)

    async def _copy_route(self, source_bucket: str, bucket: str, options: CopyOptions) -> Route | None:
        if options.source_sse_customer_key is not None or source_bucket.startswith("arn:"):
            return None
        return await self._route(bucket, options)

    async def _payload(
        self,
        route: Route,
        bucket: str,
        body: bytes | Stream,
        headers: requests.Headers,
        *,
        part: bool,
        hashed: bool = False,
    ) -> Payload:
        """Return the payload of `body`, and add its encoding to `headers`. `hashed`: see `HashedUpload`."""
        verified = self._verification.known.get(route.host)
        if verified is None:
            owner = headers.get("x-amz-expected-bucket-owner")
            if hashed:
                verified = self._verification.by_now(route, bucket, owner)
            else:
                verified = await self._verification.of(route, bucket, owner)
        if isinstance(body, _IN_MEMORY):
            if len(body) < checksums.OFF_LOOP:
                return payload_of_bytes(body, part=part, verified=verified)
            return await asyncio.to_thread(payload_of_bytes, body, part=part, verified=verified)
        payload = await payload_of_stream(body, secure=route.secure, verified=verified)
        if route.aws and "x-amz-decoded-content-length" in payload.headers:
            # AWS requires this header and removes it; other servers detect it by the hash, and would store the header.
            headers["content-encoding"] = ",".join(filter(None, (headers.get("content-encoding"), "aws-chunked")))
        return payload


def parsed(call: Call, response: Response, body: bytes, parse: Callable[[bytes], T]) -> T:
    """Parse the document in a response with status 200.

    Raises:
        S3Error: it is an error document.
        IntegrityError: it is not a document of S3, so the result is unknown.
    """
    try:
        return parse(body)
    except xml.ErrorInstead:
        raise refusal(call, response.status, response.headers, body) from None
    except (xml.MalformedDocument, KeyError, ValueError) as exc:
        raise IntegrityError(
            f"the response is not a document of S3: {exc}",
            operation=call.operation,
            bucket=call.bucket,
            key=call.key,
            hint="check that endpoint_url names an S3 server",
        ) from exc


def document(data: bytes) -> Payload:
    """Return the payload of an XML document. Content-MD5 is the checksum that every server accepts for it."""
    md5 = checksums.checksum("md5", data)
    return Payload(hashlib.sha256(data).hexdigest(), {"content-md5": md5}, data=data, length=len(data))


def written_info(
    bucket: str, key: str, size: int, response: Response, options: UploadOptions, sums: Mapping[str, str]
) -> FileInfo:
    """Return the information about an uploaded object."""
    headers = response.headers
    return FileInfo(
        bucket,
        key,
        size,
        headers.get("etag"),
        headers.get("x-amz-version-id"),
        None,
        options.content_type,
        {name.lower(): value for name, value in options.metadata.items()} if options.metadata else {},
        options.storage_class or "STANDARD",
        sums,
        server_time(headers.get("date")),
    )


def size_of(body: bytes | Stream) -> int:
    """Return the size of a body."""
    return len(body) if isinstance(body, _IN_MEMORY) else body.size or 0
