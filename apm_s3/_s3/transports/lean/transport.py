"""The data plane over our own connections: URL, signature, request, response, and nothing else.

Everything that it does not support (access points, S3 Express, accelerate, FIPS, SSE-C, requester pays, proxies with
their own certificates) is passed to the aiobotocore transport automatically.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from apm_s3._s3.transports.expectations import accounted, check_listed
from apm_s3._s3.transports.lean import requests
from apm_s3._s3.transports.lean.multipart import XML, SignedMultipart, document, parsed, size_of, written_info
from apm_s3._s3.transports.lean.requests import Call
from apm_s3._s3.transports.lean.responses import check_object, file_info, server_time, verify
from apm_s3._wire import checksums, listings, xml
from apm_s3.errors import ApmS3Error, IntegrityError
from apm_s3.models import FileInfo
from apm_s3.options import ReadOptions

if TYPE_CHECKING:
    from apm_s3._s3.transports.base import Body, RawPage
    from apm_s3._s3.transports.lean.connection import Response
    from apm_s3.models import DeleteOutcome, DeleteReport, ListPage, VersionPage
    from apm_s3.models._objects import Stream
    from apm_s3.options import CopyOptions, DeleteOptions, ListOptions, UploadOptions

_UNASKED = ReadOptions()


def _list_page(call: Call, prefix: str, response: Response, body: bytes) -> ListPage:
    page = parsed(call, response, body, lambda page: listings.parse_list(page, call.bucket))
    check_listed(call.operation, call.bucket, prefix, page.files, page.prefixes)
    return page


class SignedPage:
    """A page of a listing that has not been parsed yet."""

    def __init__(self, call: Call, prefix: str, response: Response, body: bytes) -> None:
        self._call = call
        self._prefix = prefix
        self._response = response
        self._body = body

    @property
    def next_token(self) -> str | None:
        return listings.next_token(self._body)

    def parse(self) -> ListPage:
        call = self._call
        page = _list_page(call, self._prefix, self._response, self._body)
        if page.next_token != self.next_token:
            raise IntegrityError(
                "the response has two different tokens for the next page", operation=call.operation, bucket=call.bucket
            )
        return page


class SignedTransport(SignedMultipart):
    """The verbs of `ObjectTransport` over our own connections."""

    async def read(self, bucket: str, key: str, options: ReadOptions) -> tuple[FileInfo, bytes]:
        route = await self._route(bucket, options)
        if route is None:
            return await self._boto.read(bucket, key, options)
        call = self._read_call("read_file", "GET", bucket, key, options)
        response, body = await self._sender.exchange(call, route, limit=None)
        check_object(call, options, response, len(body))
        info = file_info(bucket, key, response.headers, len(body))
        if info.checksums and options.range is None and self._verify:
            if len(body) < checksums.OFF_LOOP and not checksums.needs_loading(info.checksums):
                verify(call, body, info)
            else:
                await asyncio.to_thread(verify, call, body, info)
        return info, body

    async def open(self, bucket: str, key: str, options: ReadOptions) -> Body:
        route = await self._route(bucket, options)
        if route is None:
            return await self._boto.open(bucket, key, options)
        call = self._read_call("download_file", "GET", bucket, key, options)
        body = await self._sender.open_body(call, route, options)
        if checksums.needs_loading(body.info.checksums):
            try:
                await asyncio.to_thread(checksums.load)
            except BaseException:
                await body.aclose()
                raise
        return body

    async def head(self, bucket: str, key: str, options: ReadOptions) -> FileInfo:
        route = await self._route(bucket, options)
        if route is None:
            return await self._boto.head(bucket, key, options)
        call = self._read_call("head_file", "HEAD", bucket, key, options)
        response, _ = await self._sender.exchange(call, route)
        check_object(call, options, response, None)
        return file_info(bucket, key, response.headers, None)

    async def tags(self, bucket: str, key: str, options: ReadOptions) -> dict[str, str]:
        route = await self._route(bucket, options)
        if route is None:
            return await self._boto.tags(bucket, key, options)
        headers = requests.owner_headers(options.expected_bucket_owner)
        call = Call("get_file_tags", "GET", bucket, key, requests.tags_query(options.version_id), headers)
        response, body = await self._sender.exchange(call, route)
        check_object(call, ReadOptions(version_id=options.version_id), response, None)
        return parsed(call, response, body, xml.parse_tags)

    async def object_lock(self, bucket: str) -> bool:
        route = await self._route(bucket, _UNASKED)
        if route is None:
            return await self._boto.object_lock(bucket)
        call = Call("get_object_lock_configuration", "GET", bucket, None, "object-lock=", {})
        response, body = await self._sender.exchange(call, route)
        return parsed(call, response, body, xml.parse_object_lock)

    async def server_name(self, bucket: str) -> str:
        route = await self._route(bucket, _UNASKED)
        if route is None:
            return await self._boto.server_name(bucket)
        response, _ = await self._sender.exchange(Call("head_bucket", "HEAD", bucket, None, "", {}), route)
        return response.headers.get("server", "")

    async def streams(self, bucket: str) -> bool:
        return await self._route(bucket, _UNASKED) is not None

    async def put(self, bucket: str, key: str, body: bytes | Stream, options: UploadOptions) -> FileInfo:
        from apm_s3.options._writes import HashedUpload  # noqa: PLC0415 - only writes need it

        route = await self._route(bucket, options)
        if route is None:
            return await self._boto.put(bucket, key, body, options)
        headers = requests.upload_headers(options)
        if options.if_match is not None:
            headers["if-match"] = options.if_match
        elif options.if_none_match is not None:
            headers["if-none-match"] = options.if_none_match
        hashed = type(options) is HashedUpload
        payload = await self._payload(route, bucket, body, headers, part=False, hashed=hashed)
        call = Call("upload_file", "PUT", bucket, key, "", headers)
        response, _ = await self._sender.exchange(call, route, payload)
        return written_info(bucket, key, size_of(body), response, options, payload.checksums)

    async def delete(self, bucket: str, key: str, options: DeleteOptions) -> DeleteOutcome:
        from apm_s3.models import DeleteOutcome  # noqa: PLC0415 - only deletions need it

        route = await self._route(bucket, options)
        if route is None:
            return await self._boto.delete(bucket, key, options)
        query = requests.version_query(options.version_id)
        call = Call("delete_file", "DELETE", bucket, key, query, requests.delete_headers(options))
        response, _ = await self._sender.exchange(call, route)
        headers = response.headers
        return DeleteOutcome(key, headers.get("x-amz-version-id"), headers.get("x-amz-delete-marker") == "true")

    async def delete_many(
        self, bucket: str, keys: Sequence[tuple[str, str | None]], options: DeleteOptions
    ) -> DeleteReport:
        route = await self._route(bucket, options)
        if route is None:
            return await self._boto.delete_many(bucket, keys, options)
        headers = requests.delete_headers(options)
        headers.update(XML)
        call = Call("delete_files", "POST", bucket, None, "delete=", headers)
        response, body = await self._sender.exchange(call, route, document(xml.build_delete(keys)))
        return accounted(bucket, keys, parsed(call, response, body, xml.parse_deleted))

    async def copy(self, source_bucket: str, source_key: str, bucket: str, key: str, options: CopyOptions) -> FileInfo:
        route = await self._copy_route(source_bucket, bucket, options)
        if route is None:
            return await self._boto.copy(source_bucket, source_key, bucket, key, options)
        headers = requests.copy_headers(source_bucket, source_key, options)
        call = Call("copy_file", "PUT", bucket, key, "", headers)
        response, body = await self._sender.exchange(call, route)
        written = parsed(call, response, body, xml.parse_written)
        return FileInfo(
            bucket,
            key,
            size=-1,
            etag=written.etag,
            version_id=response.headers.get("x-amz-version-id"),
            last_modified=written.last_modified,
            server_time=server_time(response.headers.get("date")),
        )

    async def list_files(self, bucket: str, options: ListOptions) -> ListPage:
        return (await self.fetch_files(bucket, options)).parse()

    async def fetch_files(self, bucket: str, options: ListOptions) -> RawPage:
        route = await self._route(bucket, options)
        if route is None:
            return await self._boto.fetch_files(bucket, options)
        headers = requests.owner_headers(options.expected_bucket_owner)
        call = Call("list_files", "GET", bucket, None, requests.list_query(options), headers)
        response, body = await self._sender.exchange(call, route)
        if not listings.is_whole_list(body):
            from apm_s3._s3.transports.base import ParsedPage  # noqa: PLC0415 - only such lists need it

            # Its token is only known after parsing, or it is not a list, which is an error of this request.
            return ParsedPage(_list_page(call, options.prefix, response, body))
        return SignedPage(call, options.prefix, response, body)

    async def list_versions(
        self, bucket: str, options: ListOptions, key_marker: str | None, version_marker: str | None
    ) -> VersionPage:
        route = await self._route(bucket, options)
        if route is None:
            return await self._boto.list_versions(bucket, options, key_marker, version_marker)
        query = requests.versions_query(options, key_marker, version_marker)
        headers = requests.owner_headers(options.expected_bucket_owner)
        call = Call("list_versions", "GET", bucket, None, query, headers)
        response, body = await self._sender.exchange(call, route)
        page = parsed(call, response, body, listings.parse_versions)
        check_listed(call.operation, bucket, options.prefix, page.versions, page.prefixes)
        return page

    async def presign(
        self, method: str, bucket: str, key: str, expires_in: int, options: ReadOptions | UploadOptions
    ) -> str:
        route = await self._route(bucket, options)
        if route is None:
            return await self._boto.presign(method, bucket, key, expires_in, options)
        parameters: list[tuple[str, str]] = []
        if isinstance(options, ReadOptions):
            headers = requests.read_headers(options, verify=False)
            if options.version_id is not None:
                parameters.append(("versionId", options.version_id))
        else:
            headers = requests.upload_headers(options)
            if options.content_type is None:
                del headers["content-type"]
            headers.update(requests.condition_headers(options.if_match, options.if_none_match))
        return await self._sender.presign(route, method, key, parameters, headers, expires_in)

    async def recover(self, error: ApmS3Error) -> bool:
        return await self._sender.recover(error)

    async def aclose(self) -> None:
        await self._verification.aclose()
        await self._sender.aclose()

    def _read_call(self, operation: str, method: str, bucket: str, key: str, options: ReadOptions) -> Call:
        headers = requests.read_headers(options, verify=self._verify)
        return Call(operation, method, bucket, key, requests.version_query(options.version_id), headers)
