"""The data plane over the aiobotocore client: slower than `signed`, but it supports every form of bucket."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from apm_s3._paging import ListingProgress
from apm_s3._s3.transports.base import ParsedPage
from apm_s3._s3.transports.boto.errors import refused_etag, translate, translated
from apm_s3._s3.transports.boto.parameters import (
    access_parameters,
    check_unicode,
    checked_read_parameters,
    copy_parameters,
    copy_part_parameters,
    delete_parameters,
    list_parameters,
    part_parameters,
    read_parameters,
    tags_parameters,
    upload_parameters,
)
from apm_s3._s3.transports.boto.responses import (
    check_response,
    checksums_of,
    completed,
    file_info_of,
    next_mark,
    part_of,
    quoted,
    required,
    size_of,
    time_of,
    version_of,
    written,
)
from apm_s3._s3.transports.expectations import (
    check_every_key_reported,
    check_listed,
    check_status,
    check_unchanged,
    joined,
)
from apm_s3._s3.transports.routes import refuse_exposed_token
from apm_s3._wire.listings import newest_first
from apm_s3.errors import ApmS3Error, ConnectionLost, NotModified
from apm_s3.models import DeleteOutcome, DeleteReport, FileInfo, KeyFailure, ListPage, UploadInfo, VersionPage
from apm_s3.models._objects import PartInfo, Stream
from apm_s3.options import CopyOptions, DeleteOptions, ListOptions, ReadOptions, UploadOptions

if TYPE_CHECKING:
    from apm_s3._s3.transports.clients import Clients

_PIECE = 256 * 1024
_METHODS = {
    "get_object": "GET",
    "head_object": "HEAD",
    "get_object_tagging": "GET",
    "get_object_lock_configuration": "GET",
    "head_bucket": "HEAD",
    "put_object": "PUT",
    "delete_object": "DELETE",
    "delete_objects": "POST",
    "copy_object": "PUT",
    "list_objects_v2": "GET",
    "list_object_versions": "GET",
    "create_multipart_upload": "POST",
    "upload_part": "PUT",
    "upload_part_copy": "PUT",
    "complete_multipart_upload": "POST",
    "abort_multipart_upload": "DELETE",
    "list_parts": "GET",
    "list_multipart_uploads": "GET",
}


class BotoTransport:
    """The verbs over aiobotocore. Streams are read into memory, because botocore only signs and repeats bytes."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def read(self, bucket: str, key: str, options: ReadOptions) -> tuple[FileInfo, bytes]:
        body = await self.open(bucket, key, options)
        try:
            data = await joined([piece async for piece in body])
        finally:
            await body.aclose()
        return body.info, data

    async def open(self, bucket: str, key: str, options: ReadOptions) -> BotoBody:
        response = await self._call("get_object", Bucket=bucket, Key=key, **checked_read_parameters(options))
        try:
            check_response(response, "download_file", "GET", bucket, key, options)
            return BotoBody(bucket, key, response)
        except BaseException:
            response["Body"].close()
            raise

    async def head(self, bucket: str, key: str, options: ReadOptions) -> FileInfo:
        response = await self._call("head_object", Bucket=bucket, Key=key, **checked_read_parameters(options))
        check_response(response, "head_file", "HEAD", bucket, key, options)
        return file_info_of(bucket, key, response)

    async def tags(self, bucket: str, key: str, options: ReadOptions) -> dict[str, str]:
        response = await self._call("get_object_tagging", Bucket=bucket, Key=key, **tags_parameters(options))
        check_response(response, "get_file_tags", "GET", bucket, key, ReadOptions(version_id=options.version_id))
        if response["ResponseMetadata"]["HTTPHeaders"].get("content-length") == "0":
            return {}
        return {required(tag, "Key"): tag.get("Value") or "" for tag in required(response, "TagSet")}

    async def object_lock(self, bucket: str) -> bool:
        response = await self._call("get_object_lock_configuration", Bucket=bucket)
        return (response.get("ObjectLockConfiguration") or {}).get("ObjectLockEnabled") == "Enabled"

    async def server_name(self, bucket: str) -> str:
        response = await self._call("head_bucket", Bucket=bucket)
        return str(response["ResponseMetadata"]["HTTPHeaders"].get("server", ""))

    async def streams(self, bucket: str) -> bool:
        del bucket
        return False

    async def put(self, bucket: str, key: str, body: bytes | Stream, options: UploadOptions) -> FileInfo:
        data = await _gather(body)
        response = await self._call(
            "put_object", Bucket=bucket, Key=key, Body=data, **await _digest(data), **upload_parameters(options)
        )
        return written(bucket, key, len(data), response, options)

    async def delete(self, bucket: str, key: str, options: DeleteOptions) -> DeleteOutcome:
        parameters = delete_parameters(options)
        if options.version_id is not None:
            parameters["VersionId"] = options.version_id
        response = await self._call("delete_object", Bucket=bucket, Key=key, **parameters)
        return DeleteOutcome(key, response.get("VersionId"), bool(response.get("DeleteMarker")))

    async def delete_many(
        self, bucket: str, keys: Sequence[tuple[str, str | None]], options: DeleteOptions
    ) -> DeleteReport:
        objects = [{"Key": key, "VersionId": version} if version else {"Key": key} for key, version in keys]
        response = await self._call(
            "delete_objects", Bucket=bucket, Delete={"Objects": objects}, **delete_parameters(options)
        )
        report = DeleteReport(
            tuple(
                DeleteOutcome(
                    entry.get("Key", ""),
                    entry.get("DeleteMarkerVersionId") or entry.get("VersionId"),
                    bool(entry.get("DeleteMarker")),
                )
                for entry in response.get("Deleted", ())
            ),
            tuple(
                KeyFailure(
                    entry.get("Key", ""), entry.get("VersionId"), entry.get("Code", ""), entry.get("Message", "")
                )
                for entry in response.get("Errors", ())
            ),
        )
        return check_every_key_reported(bucket, keys, report)

    async def copy(self, source_bucket: str, source_key: str, bucket: str, key: str, options: CopyOptions) -> FileInfo:
        response = await self._call(
            "copy_object", Bucket=bucket, Key=key, **copy_parameters(source_bucket, source_key, options)
        )
        result = required(response, "CopyObjectResult")
        return FileInfo(
            bucket,
            key,
            size=-1,
            etag=quoted(required(result, "ETag")),
            version_id=response.get("VersionId"),
            last_modified=result.get("LastModified"),
            server_time=time_of(response),
        )

    async def list_files(self, bucket: str, options: ListOptions) -> ListPage:
        response = await self._call("list_objects_v2", Bucket=bucket, **list_parameters(options))
        at = time_of(response)
        page = ListPage(
            tuple(
                FileInfo(
                    bucket,
                    required(entry, "Key"),
                    size=size_of(entry),
                    etag=quoted(entry.get("ETag")),
                    last_modified=entry.get("LastModified"),
                    metadata=None,
                    storage_class=entry.get("StorageClass") or "STANDARD",
                    server_time=at,
                )
                for entry in response.get("Contents", ())
            ),
            tuple(required(entry, "Prefix") for entry in response.get("CommonPrefixes", ())),
            next_mark(response, "NextContinuationToken"),
        )
        check_listed("list_files", bucket, options.prefix, page.files, page.prefixes)
        return page

    async def fetch_files(self, bucket: str, options: ListOptions) -> ParsedPage:
        return ParsedPage(await self.list_files(bucket, options))

    async def list_versions(
        self, bucket: str, options: ListOptions, key_marker: str | None, version_marker: str | None
    ) -> VersionPage:
        parameters = list_parameters(options)
        parameters.pop("StartAfter", None)
        if key_marker:
            parameters["KeyMarker"] = key_marker
        if version_marker:
            parameters["VersionIdMarker"] = version_marker
        response = await self._call("list_object_versions", Bucket=bucket, **parameters)
        found = [version_of(entry, marker=False) for entry in response.get("Versions", ())]
        found += [version_of(entry, marker=True) for entry in response.get("DeleteMarkers", ())]
        # S3 interleaves versions and delete markers by key, newest first, but the parser has separated them.
        found.sort(key=newest_first)
        key = next_mark(response, "NextKeyMarker")
        prefixes = tuple(required(entry, "Prefix") for entry in response.get("CommonPrefixes", ()))
        check_listed("list_versions", bucket, options.prefix, found, prefixes)
        return VersionPage(
            tuple(found),
            prefixes,
            key,
            response.get("NextVersionIdMarker") if key is not None else None,
        )

    async def create_upload(self, bucket: str, key: str, options: UploadOptions) -> str:
        parameters = upload_parameters(options)
        parameters.pop("IfMatch", None)
        parameters.pop("IfNoneMatch", None)
        response = await self._call("create_multipart_upload", Bucket=bucket, Key=key, **parameters)
        return cast("str", required(response, "UploadId"))

    async def upload_part(
        self, bucket: str, key: str, upload_id: str, number: int, body: bytes | Stream, options: UploadOptions
    ) -> PartInfo:
        data = await _gather(body)
        response = await self._call(
            "upload_part",
            Bucket=bucket,
            Key=key,
            UploadId=upload_id,
            PartNumber=number,
            Body=data,
            **await _digest(data),
            **part_parameters(options),
        )
        return PartInfo(number, required(response, "ETag"), len(data), checksums_of(response))

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
        response = await self._call(
            "upload_part_copy",
            Bucket=bucket,
            Key=key,
            UploadId=upload_id,
            PartNumber=number,
            CopySourceRange=f"bytes={start}-{stop - 1}",
            **copy_part_parameters(source_bucket, source_key, options),
        )
        result = required(response, "CopyPartResult")
        return PartInfo(number, quoted(required(result, "ETag")) or "", stop - start, checksums_of(result))

    async def complete_upload(
        self, bucket: str, key: str, upload_id: str, parts: Sequence[PartInfo], options: UploadOptions
    ) -> FileInfo:
        conditions = {"IfMatch": options.if_match, "IfNoneMatch": options.if_none_match}
        response = await self._call(
            "complete_multipart_upload",
            Bucket=bucket,
            Key=key,
            UploadId=upload_id,
            MultipartUpload={"Parts": [completed(part) for part in parts]},
            **{name: value for name, value in conditions.items() if value is not None},
            **part_parameters(options),
        )
        if "ETag" not in response:
            required(response, "ETag")
        return written(bucket, key, sum(part.size for part in parts), response, options)

    async def abort_upload(self, bucket: str, key: str, upload_id: str, options: UploadOptions) -> None:
        parameters = access_parameters(options)
        await self._call("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload_id, **parameters)

    async def list_parts(self, bucket: str, key: str, upload_id: str, options: UploadOptions) -> tuple[PartInfo, ...]:
        found: list[PartInfo] = []
        parameters = part_parameters(options)
        progress = ListingProgress("list_parts", bucket)
        while True:
            response = await self._call("list_parts", Bucket=bucket, Key=key, UploadId=upload_id, **parameters)
            parts = [part_of(entry) for entry in response.get("Parts", ())]
            found += parts
            marker = next_mark(response, "NextPartNumberMarker")
            progress.check(marker, parts[0].number if parts else None)
            if marker is None:
                return tuple(found)
            parameters["PartNumberMarker"] = marker

    async def list_uploads(self, bucket: str, options: ListOptions) -> tuple[UploadInfo, ...]:
        found: list[UploadInfo] = []
        parameters = access_parameters(options) | {"Prefix": options.prefix}
        progress = ListingProgress("list_uploads", bucket)
        while True:
            response = await self._call("list_multipart_uploads", Bucket=bucket, **parameters)
            uploads = [
                UploadInfo(required(entry, "Key"), required(entry, "UploadId"), entry.get("Initiated"))
                for entry in response.get("Uploads", ())
            ]
            found += uploads
            key = next_mark(response, "NextKeyMarker")
            upload_id = response.get("NextUploadIdMarker") or ""
            mark = None if key is None else (key, upload_id)
            progress.check(mark, (uploads[0].key, uploads[0].upload_id) if uploads else None)
            if key is None:
                return tuple(found)
            parameters |= {"KeyMarker": key, "UploadIdMarker": upload_id}

    async def presign(
        self, method: str, bucket: str, key: str, expires_in: int, options: ReadOptions | UploadOptions
    ) -> str:
        if isinstance(options, UploadOptions):
            name, parameters = "put_object", upload_parameters(options)
        else:
            name, parameters = ("head_object" if method == "HEAD" else "get_object"), read_parameters(options)
        try:
            check_unicode(parameters)
            client = await self._clients.get()
            url = await client.generate_presigned_url(
                name, Params={"Bucket": bucket, "Key": key, **parameters}, ExpiresIn=expires_in, HttpMethod=method
            )
        except translated(UnicodeEncodeError) as exc:
            raise translate(exc, operation="presign", bucket=bucket, key=key) from exc
        parts = urlsplit(url)
        exposed = parts.scheme == "http" and "X-Amz-Security-Token=" in parts.query
        if exposed and not self._clients.settings.token_over_http:
            refuse_exposed_token(parts.hostname or "")
        return cast("str", url)

    async def recover(self, error: ApmS3Error) -> bool:
        """Learn from `error`; botocore itself follows redirects."""
        return await self._clients.recover(error)

    async def aclose(self) -> None:
        """Do nothing: the clients belong to `Clients`."""

    async def _call(self, method: str, **parameters: Any) -> Mapping[str, Any]:
        try:
            response = await self._clients.call(method, **parameters)
        except NotModified as error:
            check_unchanged(
                method,
                _METHODS[method],
                parameters.get("Bucket"),
                parameters.get("Key"),
                if_none_match=parameters.get("IfNoneMatch"),
                if_modified_since=parameters.get("IfModifiedSince"),
                etag=refused_etag(error),
            )
            raise
        status = response["ResponseMetadata"]["HTTPStatusCode"]
        if status != 200:
            part = "Range" in parameters
            check_status(method, _METHODS[method], status, parameters["Bucket"], parameters.get("Key"), part=part)
        return response


class BotoBody:
    """The body of a GET through aiobotocore."""

    def __init__(self, bucket: str, key: str, response: Mapping[str, Any]) -> None:
        self.info = file_info_of(bucket, key, response)
        self.length = int(response["ContentLength"])
        self._stream = response["Body"]
        self._closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the pieces; only `read` verifies the checksum, `async with` does not."""
        got = 0
        try:
            while piece := await self._stream.read(_PIECE):
                got += len(piece)
                yield piece
        except translated() as exc:
            raise translate(exc, operation="read_file", bucket=self.info.bucket, key=self.info.key) from exc
        if got != self.length:
            raise ConnectionLost(
                f"the body ended after {got} of {self.length} bytes",
                operation="read_file",
                bucket=self.info.bucket,
                key=self.info.key,
            )

    async def write_to(self, sink: Callable[[memoryview], object]) -> None: ...

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._stream.close()
            # aiohttp releases the transport in the loop's next iteration.
            await asyncio.sleep(0)


async def _gather(body: bytes | Stream) -> bytes:
    if isinstance(body, Stream):
        return await joined([piece async for piece in body.open()])
    return body


async def _digest(data: bytes) -> dict[str, str]:
    """Return Content-MD5, the only checksum that every S3-compatible server verifies."""
    if len(data) > 1024**2:
        digest = await asyncio.to_thread(_md5, data)
    else:
        digest = _md5(data)
    return {"ContentMD5": base64.b64encode(digest).decode()}


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()
