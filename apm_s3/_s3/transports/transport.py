"""The verbs of the data plane, which make requests of calls and values of responses.

They are sent over our own connections (`signed`). Buckets that these do not reach (access points, S3 Express,
accelerate, FIPS, proxies with their own certificates) are reached through aiobotocore (`boto`), with the same headers
and queries.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from apm_s3._hints import Advice
from apm_s3._paging import ListingProgress
from apm_s3._s3.transports.base import RawPage
from apm_s3._s3.transports.expectations import check_every_key_reported, check_listed, check_object
from apm_s3._s3.transports.signed import requests
from apm_s3._s3.transports.signed.checksum_probe import ChecksumProbe
from apm_s3._s3.transports.signed.payloads import (
    PART_CHECKSUM,
    Payload,
    payload_in_memory,
    payload_of_bytes,
    payload_of_stream,
)
from apm_s3._s3.transports.signed.requests import Request
from apm_s3._s3.transports.signed.responses import file_info, refusal, verify
from apm_s3._s3.transports.signed.sender import Sender
from apm_s3._wire import checksums, listings, xml
from apm_s3._wire.http1 import unix_time
from apm_s3._wire.sigv4 import encode_query
from apm_s3.errors import ApmS3Error, IntegrityError
from apm_s3.models import FileInfo
from apm_s3.models._objects import PartInfo
from apm_s3.options import ReadOptions

if TYPE_CHECKING:
    from apm_s3._s3.transports.base import Body
    from apm_s3._s3.transports.clients import Clients
    from apm_s3._s3.transports.signed.responses import ResponseHead
    from apm_s3.models import DeleteOutcome, DeleteReport, ListPage, UploadInfo, VersionPage
    from apm_s3.models._objects import PartInfo, Stream
    from apm_s3.options import CopyOptions, DeleteOptions, ListOptions, ReadOptions, UploadOptions


T = TypeVar("T")

XML = {"content-type": "application/xml"}

_IN_MEMORY = (bytes, bytearray, memoryview)
"""Types of bodies that are not streams."""


def parsed(call: Request, response: ResponseHead, body: bytes, parse: Callable[[bytes], T]) -> T:
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
            **call.where,
            hint=Advice.CHECK_ENDPOINT(more=""),
        ) from exc


def document(data: bytes) -> Payload:
    """Return the payload of an XML document. Content-MD5 is the checksum that every server accepts for it."""
    md5 = checksums.checksum("md5", data)
    return Payload(hashlib.sha256(data).hexdigest(), {"content-md5": md5}, data=data, length=len(data))


def written_info(
    bucket: str, key: str, size: int, response: ResponseHead, options: UploadOptions, sums: Mapping[str, str]
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
        unix_time(headers.get("date")),
    )


def size_of(body: bytes | Stream) -> int:
    """Return the size of a body."""
    return len(body) if isinstance(body, _IN_MEMORY) else body.size or 0


_UNASKED = ReadOptions()


def _list_page(call: Request, prefix: str, response: ResponseHead, body: bytes) -> ListPage:
    page = parsed(call, response, body, lambda page: listings.parse_list(page, call.bucket))
    check_listed(call.operation, call.bucket, prefix, page.files, page.prefixes)
    return page


def _list_page_from(
    call: Request, prefix: str, response: ResponseHead, body: bytes, next_token: str | None
) -> ListPage:
    page = _list_page(call, prefix, response, body)
    if page.next_token != next_token:
        raise IntegrityError(
            "the response has two different tokens for the next page", operation=call.operation, bucket=call.bucket
        )
    return page


class Transport:
    """The verbs of `ObjectTransport`.

    Args:
        clients: aiobotocore's clients, which provide routes and credentials.
        signed: whether to use our own connections wherever they can be.
    """

    def __init__(self, clients: Clients, *, signed: bool = True) -> None:
        self._sender = Sender(clients, signed=signed)
        self._checksum_probe = ChecksumProbe(self._sender, known_to_verify=clients.settings._known_to_verify)  # noqa: SLF001 - see there

    async def read(self, bucket: str, key: str, options: ReadOptions) -> tuple[FileInfo, bytes]:
        call = self._read_call("read_file", "GET", bucket, key, options)
        response, body = await self._sender.exchange(call, limit=None)
        check_object(call, options, response, len(body))
        info = file_info(bucket, key, response.headers, len(body))
        if info.checksums and options.range is None:
            if len(body) < checksums.OFF_LOOP and not checksums.needs_loading(info.checksums):
                verify(call, body, info)
            else:
                await asyncio.to_thread(verify, call, body, info)
        return info, body

    async def open(self, bucket: str, key: str, options: ReadOptions) -> Body:
        call = self._read_call("download_file", "GET", bucket, key, options)
        body = await self._sender.open_body(call, options)
        if checksums.needs_loading(body.info.checksums):
            try:
                await asyncio.to_thread(checksums.load)
            except BaseException:
                await body.aclose()
                raise
        return body

    async def head(self, bucket: str, key: str, options: ReadOptions) -> FileInfo:
        call = self._read_call("head_file", "HEAD", bucket, key, options)
        response, _ = await self._sender.exchange(call)
        check_object(call, options, response, None)
        return file_info(bucket, key, response.headers, None)

    async def tags(self, bucket: str, key: str, options: ReadOptions) -> dict[str, str]:
        headers = requests.access_headers(options)
        call = Request("get_file_tags", "GET", bucket, key, requests.tags_query(options.version_id), headers)
        response, body = await self._sender.exchange(call)
        check_object(call, ReadOptions(version_id=options.version_id), response, None)
        return parsed(call, response, body, xml.parse_tags)

    async def object_lock(self, bucket: str) -> bool:
        call = Request("get_object_lock_configuration", "GET", bucket, None, "object-lock=", {})
        response, body = await self._sender.exchange(call)
        return parsed(call, response, body, xml.parse_object_lock)

    async def server_name(self, bucket: str) -> str:
        response, _ = await self._sender.exchange(Request("head_bucket", "HEAD", bucket, None, "", {}))
        return response.headers.get("server", "")

    async def streams(self, bucket: str) -> bool:
        return await self._sender.route(bucket) is not None

    async def put(self, bucket: str, key: str, body: bytes | Stream, options: UploadOptions) -> FileInfo:
        from apm_s3.options._writes import HashedUpload  # noqa: PLC0415 - only writes need it

        headers = requests.upload_headers(options)
        if options.if_match is not None:
            headers["if-match"] = options.if_match
        elif options.if_none_match is not None:
            headers["if-none-match"] = options.if_none_match
        hashed = type(options) is HashedUpload
        payload = await self._payload(bucket, body, headers, part=False, hashed=hashed)
        call = Request("upload_file", "PUT", bucket, key, "", headers)
        response, _ = await self._sender.exchange(call, payload)
        return written_info(bucket, key, size_of(body), response, options, payload.checksums)

    async def delete(self, bucket: str, key: str, options: DeleteOptions) -> DeleteOutcome:
        from apm_s3.models import DeleteOutcome  # noqa: PLC0415 - only deletions need it

        query = requests.version_query(options.version_id)
        call = Request("delete_file", "DELETE", bucket, key, query, requests.delete_headers(options))
        response, _ = await self._sender.exchange(call)
        headers = response.headers
        return DeleteOutcome(key, headers.get("x-amz-version-id"), headers.get("x-amz-delete-marker") == "true")

    async def delete_many(
        self, bucket: str, keys: Sequence[tuple[str, str | None]], options: DeleteOptions
    ) -> DeleteReport:
        headers = requests.delete_headers(options)
        headers.update(XML)
        call = Request("delete_files", "POST", bucket, None, "delete=", headers)
        response, body = await self._sender.exchange(call, document(xml.build_delete(keys)))
        return check_every_key_reported(bucket, keys, parsed(call, response, body, xml.parse_deleted))

    async def copy(self, source_bucket: str, source_key: str, bucket: str, key: str, options: CopyOptions) -> FileInfo:
        headers = requests.copy_headers(source_bucket, source_key, options)
        call = Request("copy_file", "PUT", bucket, key, "", headers)
        response, body = await self._sender.exchange(call)
        written = parsed(call, response, body, xml.parse_written)
        return FileInfo(
            bucket,
            key,
            size=-1,
            etag=written.etag,
            version_id=response.headers.get("x-amz-version-id"),
            last_modified=written.last_modified,
            server_time=unix_time(response.headers.get("date")),
        )

    async def list_files(self, bucket: str, options: ListOptions) -> ListPage:
        return (await self.fetch_files(bucket, options)).parse()

    async def fetch_files(self, bucket: str, options: ListOptions) -> RawPage:
        headers = requests.access_headers(options)
        call = Request("list_files", "GET", bucket, None, requests.list_query(options), headers)
        response, body = await self._sender.exchange(call)
        if not listings.is_whole_list(body):
            # Its token is only known after parsing, or it is not a list, which is an error of this request.
            return RawPage.of(_list_page(call, options.prefix, response, body))
        token = listings.next_token(body)
        return RawPage(token, functools.partial(_list_page_from, call, options.prefix, response, body, token))

    async def list_versions(
        self, bucket: str, options: ListOptions, key_marker: str | None, version_marker: str | None
    ) -> VersionPage:
        query = requests.versions_query(options, key_marker, version_marker)
        headers = requests.access_headers(options)
        call = Request("list_versions", "GET", bucket, None, query, headers)
        response, body = await self._sender.exchange(call)
        page = parsed(call, response, body, listings.parse_versions)
        check_listed(call.operation, bucket, options.prefix, page.versions, page.prefixes)
        return page

    async def create_upload(self, bucket: str, key: str, options: UploadOptions) -> str:
        headers = requests.upload_headers(options)
        route = await self._sender.route(bucket)
        owner = options.expected_bucket_owner
        if route is not None and (await self._checksum_probe.verified(route, bucket, owner)).trailers:
            # A checksum of the whole object, so that downloads can be verified.
            headers["x-amz-checksum-algorithm"] = PART_CHECKSUM.upper()
            headers["x-amz-checksum-type"] = "FULL_OBJECT"
        call = Request("upload_file", "POST", bucket, key, "uploads=", headers)
        response, body = await self._sender.exchange(call)
        return parsed(call, response, body, xml.parse_upload_id)

    async def upload_part(
        self, bucket: str, key: str, upload_id: str, number: int, body: bytes | Stream, options: UploadOptions
    ) -> PartInfo:
        headers = requests.part_headers(options)
        payload = await self._payload(bucket, body, headers, part=True)
        query = encode_query([("partNumber", str(number)), ("uploadId", upload_id)])
        call = Request("upload_file", "PUT", bucket, key, query, headers)
        response, _ = await self._sender.exchange(call, payload)
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
        start, stop = byte_range
        headers = requests.source_headers(source_bucket, source_key, options)
        headers["x-amz-copy-source-range"] = f"bytes={start}-{stop - 1}"
        query = encode_query([("partNumber", str(number)), ("uploadId", upload_id)])
        call = Request("copy_file", "PUT", bucket, key, query, headers)
        response, body = await self._sender.exchange(call)
        written = parsed(call, response, body, xml.parse_written)
        return PartInfo(number, written.etag, stop - start, written.checksums)

    async def complete_upload(
        self, bucket: str, key: str, upload_id: str, parts: Sequence[PartInfo], options: UploadOptions
    ) -> FileInfo:
        headers = requests.part_headers(options)
        headers.update(XML)
        headers.update(requests.condition_headers(options.if_match, options.if_none_match))
        algorithm = PART_CHECKSUM if all(PART_CHECKSUM in part.checksums for part in parts) else None
        payload = document(xml.build_complete(parts, algorithm))
        call = Request("upload_file", "POST", bucket, key, encode_query([("uploadId", upload_id)]), headers)
        response, body = await self._sender.exchange(call, payload)
        written = parsed(call, response, body, xml.parse_completed)
        info = written_info(bucket, key, sum(part.size for part in parts), response, options, written.checksums)
        return info if info.etag else info._replace(etag=written.etag)

    async def abort_upload(self, bucket: str, key: str, upload_id: str, options: UploadOptions) -> None:
        headers = requests.access_headers(options)
        query = encode_query([("uploadId", upload_id)])
        await self._sender.exchange(Request("abort_upload", "DELETE", bucket, key, query, headers))

    async def list_parts(self, bucket: str, key: str, upload_id: str, options: UploadOptions) -> tuple[PartInfo, ...]:
        found: list[PartInfo] = []
        marker: str | None = None
        progress = ListingProgress("list_parts", bucket)
        while True:
            query = [("uploadId", upload_id)]
            if marker is not None:
                query.append(("part-number-marker", marker))
            headers = requests.part_headers(options)
            call = Request("list_parts", "GET", bucket, key, encode_query(query), headers)
            response, body = await self._sender.exchange(call)
            parts, marker = parsed(call, response, body, xml.parse_parts)
            found += parts
            progress.check(marker, parts[0].number if parts else None)
            if marker is None:
                return tuple(found)

    async def list_uploads(self, bucket: str, options: ListOptions) -> tuple[UploadInfo, ...]:
        found: list[UploadInfo] = []
        marker: tuple[str, str] | None = None
        progress = ListingProgress("list_uploads", bucket)
        while True:
            headers = requests.access_headers(options)
            call = Request("list_uploads", "GET", bucket, None, requests.uploads_query(options.prefix, marker), headers)
            response, body = await self._sender.exchange(call)
            uploads, marker = parsed(call, response, body, xml.parse_uploads)
            found += uploads
            progress.check(marker, (uploads[0].key, uploads[0].upload_id) if uploads else None)
            if marker is None:
                return tuple(found)

    async def presign(
        self, method: str, bucket: str, key: str, expires_in: int, options: ReadOptions | UploadOptions
    ) -> str:
        query = ""
        if isinstance(options, ReadOptions):
            headers = requests.read_headers(options, verify=False)
            query = requests.version_query(options.version_id)
        else:
            headers = requests.upload_headers(options)
            if options.content_type is None:
                del headers["content-type"]
            headers.update(requests.condition_headers(options.if_match, options.if_none_match))
        return await self._sender.presign(Request("presign", method, bucket, key, query, headers), expires_in)

    async def recover(self, error: ApmS3Error) -> bool:
        return await self._sender.recover(error)

    async def aclose(self) -> None:
        await self._checksum_probe.aclose()
        await self._sender.aclose()

    def _read_call(self, operation: str, method: str, bucket: str, key: str, options: ReadOptions) -> Request:
        headers = requests.read_headers(options)
        return Request(operation, method, bucket, key, requests.version_query(options.version_id), headers)

    async def _payload(
        self, bucket: str, body: bytes | Stream, headers: requests.Headers, *, part: bool, hashed: bool = False
    ) -> Payload:
        """Return the payload of `body`, and add its encoding to `headers`. `hashed`: see `HashedUpload`."""
        route = self._sender.routes.get(bucket) or await self._sender.route(bucket)
        if route is None:
            return await payload_in_memory(body)
        verified = self._checksum_probe.known.get(route.host)
        if verified is None:
            owner = headers.get("x-amz-expected-bucket-owner")
            if hashed:
                verified = self._checksum_probe.so_far(route, bucket, owner)
            else:
                verified = await self._checksum_probe.verified(route, bucket, owner)
        if isinstance(body, _IN_MEMORY):
            if len(body) < checksums.OFF_LOOP:
                return payload_of_bytes(body, part=part, verified=verified)
            return await asyncio.to_thread(payload_of_bytes, body, part=part, verified=verified)
        payload = await payload_of_stream(body, secure=route.secure, verified=verified)
        if route.aws and "x-amz-decoded-content-length" in payload.headers:
            # AWS requires this header and removes it; other servers detect it by the hash, and would store the header.
            headers["content-encoding"] = ",".join(filter(None, (headers.get("content-encoding"), "aws-chunked")))
        return payload
