"""Sends requests of the data plane through the aiobotocore client: slower than `signed`, but to every form of bucket.

A request has the headers and the query that it has on the signed path. botocore's description of the operation says
which of its parameters they are; botocore finds the endpoint, signs, and follows S3 to another region.

Importing this module loads botocore's names only: `Clients` loads the rest, which takes most of a second, in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from botocore import xform_name

from apm_s3._s3.transports.boto.errors import refused_etag, translate, translated
from apm_s3._s3.transports.expectations import check_object, check_status, check_unchanged, joined
from apm_s3._s3.transports.routes import refuse_exposed_token
from apm_s3._s3.transports.signed.requests import Request, api_of
from apm_s3._s3.transports.signed.responses import CHECKSUM, file_info
from apm_s3.errors import ConnectFailed, ConnectionLost, InvalidOption, NotModified, UnsupportedByServer

if TYPE_CHECKING:
    from apm_s3._s3.transports.clients import Clients
    from apm_s3._s3.transports.signed.payloads import Payload
    from apm_s3.models import FileInfo
    from apm_s3.options import ReadOptions

_PIECE = 256 * 1024
_CONVERSIONS: Mapping[str, Callable[[str], Any]] = {"boolean": "true".__eq__, "integer": int, "long": int}


ADDED: ContextVar[tuple[str, Mapping[str, str], bytes | None] | None] = ContextVar("apm_s3_added", default=None)
"""The API of a request of the data plane, and its headers and body that no parameter of botocore's is."""

RECEIVED: ContextVar[list[bytes] | None] = ContextVar("apm_s3_received", default=None)
"""Where the bodies of responses are kept that botocore has read."""


class BotoResponse(NamedTuple):
    """The head of a response."""

    status: int
    headers: dict[str, str]


class BotoSender:
    """Does what `Sender` does, through aiobotocore. Bodies are bytes, because botocore only signs and repeats these."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def exchange(self, request: Request, payload: Payload | None = None) -> tuple[BotoResponse, bytes]:
        """Send one request, and return the response and its whole body, unless it is an object's.

        Raises:
            S3Error: it is an error response.
            IntegrityError: the response does not match `request`.
            TransportError: there is no response.
        """
        response, body, parsed = await self._send(request, payload)
        if "Body" in parsed:
            stream = BotoBody(request, response, parsed["Body"])
            try:
                body = await joined([piece async for piece in stream])
            finally:
                await stream.aclose()
        return response, body

    async def open_body(self, request: Request, options: ReadOptions) -> BotoBody:
        """Send one GET, and return the response, whose body must still be read and closed."""
        response, _, parsed = await self._send(request, None)
        body = BotoBody(request, response, parsed["Body"])
        try:
            check_object(request, options, response, body.length)
            body.info = file_info(request.bucket, request.key or "", response.headers, body.length)
        except BaseException:
            await body.aclose()
            raise
        return body

    async def presign(self, request: Request, expires_in: int) -> str:
        """Return a URL with the signature in its query; its user must also send the headers of `request`."""
        try:
            client = await self._clients.get()
            api = api_of(request)
            parameters, other = parameters_of(client.meta.service_model.operation_model(api), request, request.headers)
            if other:
                raise InvalidOption(f"botocore does not know {', '.join(other)}", hint="use a newer release of it")
            url = await client.generate_presigned_url(
                xform_name(api), Params=parameters, ExpiresIn=expires_in, HttpMethod=request.method
            )
        except translated(UnicodeEncodeError) as exc:
            raise translate(exc, operation="presign", bucket=request.bucket, key=request.key) from exc
        parts = urlsplit(url)
        exposed = parts.scheme == "http" and "X-Amz-Security-Token=" in parts.query
        if exposed and not self._clients.settings.token_over_http:
            refuse_exposed_token(parts.hostname or "")
        return cast("str", url)

    async def _send(self, request: Request, payload: Payload | None) -> tuple[BotoResponse, bytes, Mapping[str, Any]]:
        headers = request.headers if payload is None else request.headers | payload.headers
        api = api_of(request)
        try:
            model = (await self._clients.get()).meta.service_model.operation_model(api)
        except translated() as exc:
            raise translate(exc, **request.where) from exc
        parameters, other = parameters_of(model, request, headers)
        body = None if payload is None else payload.data
        if payload is not None and body is None:
            raise ConnectFailed(
                "the bucket has just lost its route", operation=request.operation, bucket=request.bucket
            )
        if api in ("PutObject", "UploadPart"):
            parameters["Body"], body = body, None
        else:
            # Of documents, botocore adds the checksum that S3 wants of it.
            other.pop("content-md5", None)
        received: list[bytes] = []
        tokens = ADDED.set((api, other, body)), RECEIVED.set(received)
        try:
            parsed = await self._clients.call(xform_name(api), **parameters)
        except NotModified as error:
            check_unchanged(request, refused_etag(error))
            raise
        finally:
            ADDED.reset(tokens[0])
            RECEIVED.reset(tokens[1])
        metadata = parsed["ResponseMetadata"]
        response = BotoResponse(metadata["HTTPStatusCode"], dict(metadata["HTTPHeaders"]))
        if response.status != 200:
            check_status(request, response.status)
        if payload is not None:
            # botocore chooses one, if it is to send any.
            sums = {name: value for name, value in response.headers.items() if name.startswith(CHECKSUM)}
            payload.checksums.update((name.removeprefix(CHECKSUM), value) for name, value in sums.items())
            payload.checksums.pop("type", None)
        return response, received[-1] if received else b"", parsed


def parameters_of(model: Any, request: Request, headers: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return boto3's parameters of a request, and the headers that are none in this release of botocore.

    Args:
        model: botocore's description of the operation.
    """
    query = dict(parse_qsl(request.query, keep_blank_values=True))
    other = dict(headers)
    source = other.get("x-amz-copy-source")
    parameters: dict[str, Any] = {"Bucket": request.bucket} | ({} if request.key is None else {"Key": request.key})
    for member, shape in model.input_shape.members.items():
        location, name = shape.serialization.get("location"), shape.serialization.get("name", member)
        value: Any = None
        if member == "CopySource":
            # botocore would encode it again, so it is sent as another header.
            value = unquote((source or "").partition("?")[0])
        elif location == "headers":
            value = {each[len(name) :]: other.pop(each) for each in list(other) if each.startswith(name)} or None
        elif location in ("header", "querystring"):
            value = other.pop(name.lower(), None) if location == "header" else query.get(name)
            if value is not None and shape.type_name in _CONVERSIONS:
                value = _CONVERSIONS[shape.type_name](value)
        elif member == "Delete":
            value = {"Objects": [{"Key": "in the body"}]}
        if value is not None:
            parameters[member] = value
    return parameters, other


class BotoBody:
    """The body of a GET through aiobotocore. `open_body` sets `info`, once the response is checked."""

    info: FileInfo

    def __init__(self, request: Request, response: BotoResponse, stream: Any) -> None:
        length = response.headers.get("content-length")
        if length is None:
            stream.close()
            raise UnsupportedByServer(
                "the server does not send the size of the object", bucket=request.bucket, key=request.key
            )
        self.length = int(length)
        self._request = request
        self._stream = stream
        self._closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the pieces; only `read` verifies the checksum, `async with` does not."""
        got = 0
        try:
            while piece := await self._stream.read(_PIECE):
                got += len(piece)
                yield piece
        except translated() as exc:
            raise translate(exc, operation="read_file", bucket=self._request.bucket, key=self._request.key) from exc
        if got != self.length:
            raise ConnectionLost(
                f"the body ended after {got} of {self.length} bytes",
                operation="read_file",
                bucket=self._request.bucket,
                key=self._request.key,
            )

    async def write_to(self, sink: Callable[[memoryview], object]) -> None: ...

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._stream.close()
            # aiohttp releases the transport in the loop's next iteration.
            await asyncio.sleep(0)
