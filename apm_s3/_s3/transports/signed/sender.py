"""Signs a request, sends it, and reads the response, for every verb. What has no route goes through aiobotocore."""

from __future__ import annotations

import asyncio
import functools
import math
import time
from collections.abc import AsyncGenerator
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from apm_s3._hints import Advice
from apm_s3._logs import EXCHANGES, Exchange
from apm_s3._s3.transports.boto.errors import botocore_errors
from apm_s3._s3.transports.boto.errors import translate as translate_botocore
from apm_s3._s3.transports.expectations import MAX_DOCUMENT, SUCCESS, check_object, check_status
from apm_s3._s3.transports.routes import Route, learn_route, plain_route, refuse_exposed_token
from apm_s3._s3.transports.signed.connection import Connection, ConnectionBroken, Response, Stalls
from apm_s3._s3.transports.signed.connections import CannotConnect, Connections, Lane
from apm_s3._s3.transports.signed.payloads import PIECE, Payload, closing
from apm_s3._s3.transports.signed.requests import DEFAULT_TYPE, Request, api_of
from apm_s3._s3.transports.signed.responses import SignedBody, broken, refusal, stalled_error
from apm_s3._wire.http1 import request_head, unix_time
from apm_s3._wire.sigv4 import EMPTY_SHA256, Signer, encode_path
from apm_s3.errors import ApmS3Error, IntegrityError, InvalidCredentials, InvalidRequest, WrongRegion

if TYPE_CHECKING:
    from apm_s3._s3.transports.base import Body
    from apm_s3._s3.transports.boto.sender import BotoSender
    from apm_s3._s3.transports.clients import Clients
    from apm_s3._s3.transports.signed.responses import ResponseHead
    from apm_s3.models import Credentials
    from apm_s3.options import ReadOptions


MAX_ROUTES = 4096
"""Maximum number of cached routes; beyond it, botocore determines them again."""

READY_SECONDS = 1.0
"""How long a check of the credentials' expiry is valid. botocore refreshes them minutes before they expire."""

_WITH_BODY = frozenset({"PUT", "POST"})
"""Methods that send `Content-Length: 0` without a body: https://www.rfc-editor.org/rfc/rfc9110#field.content-length."""

_LEAST = 4096
"""Minimum size that a piece of a body counts as, so that many small pieces do not block the event loop."""

_SKEWED = b"<Error><Code>RequestTimeTooSkewed</Code></Error>"
"""Stands for the body with the error code, which the response to a HEAD lacks."""


class Sender:
    """Routes, credentials, clock and connections of the signed path.

    A route is a fact about a bucket, never about a call, so all requests for a bucket take the same way. Each request
    looks it up again, because a redirect to another region replaces it (`recover`) while others are in flight. These
    keep the route that they began with: at worst S3 redirects them as well, and they learn the same region. A route
    that cannot be determined is not remembered: aiobotocore then reports the problem, and the next request tries again.

    So the route can change between the preparation of a payload and its request. Bytes that were prepared for
    aiobotocore are hashed late (`_signed`); pieces that were prepared for signing have an encoding that aiobotocore
    cannot send, so `BotoSender` refuses them as not connected: nothing was sent, and the attempt is repeated.

    Attributes:
        routes: the known routes by bucket; None if aiobotocore must handle the bucket.

    Args:
        signed: whether to use our own connections wherever they can be.
    """

    _frozen: Credentials

    def __init__(self, clients: Clients, *, signed: bool) -> None:
        self._clients = clients
        self._signs = signed
        settings = clients.settings
        self._connections = Connections(settings, clients.ca_bundle)
        self._credentials = clients.provider
        self._clock = clients.clock
        self._signer = Signer()
        self._stalls = Stalls(settings.timeouts.read)
        self.routes: dict[str, Route | None] = {}
        self._ready_until = -math.inf

    async def route(self, bucket: str) -> Route | None:
        """Return the route of `bucket`; None if aiobotocore must handle it."""
        if not self._signs:
            return None
        return self.routes[bucket] if bucket in self.routes else await self._learn(bucket, None)

    @functools.cached_property
    def _boto(self) -> BotoSender:
        from apm_s3._s3.transports.boto.sender import BotoSender  # noqa: PLC0415 - most managers never need it

        return BotoSender(self._clients)

    async def exchange(
        self, call: Request, payload: Payload | None = None, limit: int | None = MAX_DOCUMENT
    ) -> tuple[ResponseHead, bytes]:
        """Send one request, and return the response and its whole body.

        Args:
            limit: maximum bytes of a document; None for an object.

        Raises:
            S3Error: it is an error response.
            IntegrityError: the response does not match `call`.
            TransportError: there is no response.
        """
        route = self.routes.get(call.bucket) or await self.route(call.bucket)
        if route is None:
            return await self._boto.exchange(call, payload)
        return await self._exchange(call, route, payload, limit, whole=True)

    async def _exchange(
        self, call: Request, route: Route, payload: Payload | None, limit: int | None, *, whole: bool
    ) -> tuple[Response, bytes]:
        """Send one request, and return the response and its whole body. Any error closes the connection.

        Every request passes through here, so each additional coroutine would cost about one percent of its CPU time.

        Args:
            whole: whether to read the body; False leaves a successful response to the caller, who has to close it.
        """
        now = time.monotonic()
        if now >= self._ready_until:
            await self._prepare(route)
            now = time.monotonic()
        if (exchanges := EXCHANGES.get()) is not None:
            copy_source = call.headers.get("x-amz-copy-source")
            exchanges.began(api_of(call), route.origin.host, route.origin.port, call.query, copy_source)
        task = self._stalls.enter(now)
        response = None
        try:
            lane = self._connections.lane(route.origin)
            request = self._signed(call, route, payload, lane)
            connection = self._connections.reuse(lane, now) or await self._connections.connect(lane)
            response = connection.begin(call.method, whole=whole, limit=limit)
            if payload is None or payload.data is not None:
                connection.write(request)
            else:
                await _send(connection, response, request, _watched(payload, self._stalls, task))
            if not response.ended:
                self._stalls.reading(task, response)
            body = await response.read() if whole else await response.opened()
            if exchanges is not None:
                exchanges.append(_exchange(response, payload, body if whole else None))
            if response.status not in SUCCESS[call.method] or response.cut:
                self._check(call, response, body)
        except BaseException as exc:
            failure = self._failure(exc, call, route, task)
            if response is not None:
                response.close()
            if failure is exc:
                raise
            raise failure from exc
        self._stalls.leave(task)
        return response, body

    async def open_body(self, call: Request, options: ReadOptions) -> Body:
        """Send one GET, and return the response, whose body must still be read and closed.

        Raises:
            S3Error: it is an error response.
            TransportError: there is no response.
        """
        route = self.routes.get(call.bucket) or await self.route(call.bucket)
        if route is None:
            return await self._boto.open_body(call, options)
        response, _ = await self._exchange(call, route, None, None, whole=False)
        try:
            check_object(call, options, response, response.length)
            return SignedBody(call, response, self._stalls, route.host)
        except BaseException:
            response.close()
            raise

    async def presign(self, call: Request, expires_in: int) -> str:
        """Return a URL with the signature in its query; its user must also send the headers of `call`."""
        route = await self.route(call.bucket)
        if route is None:
            return await self._boto.presign(call, expires_in)
        await self._prepare(route)
        if self._frozen.token and not route.secure and not self._clients.settings.token_over_http:
            refuse_exposed_token(route.origin.host)
        path = route.prefix + encode_path(call.key or "")
        try:
            query = self._signer.presign(
                self._frozen,
                route.region,
                call.method,
                path,
                parse_qsl(call.query, keep_blank_values=True),
                {"host": route.host, **call.headers},
                expires_in,
                self._clock.now(),
            )
        except UnicodeEncodeError as exc:
            raise InvalidRequest(
                "a header is not valid Unicode (it has a lone surrogate)", hint="use UTF-8 text"
            ) from exc
        return f"{route.origin.scheme}://{route.host}{path}?{query}"

    async def recover(self, error: ApmS3Error) -> bool:
        if isinstance(error, WrongRegion):
            if not (self._signs and error.region and error.bucket):
                return False
            return await self._learn(error.bucket, error.region) is not None
        recovered = await self._clients.recover(error)
        # Only now, because a request that started meanwhile may have prepared the old credentials again.
        self._ready_until = -math.inf
        return recovered

    async def aclose(self) -> None:
        """Close every connection."""
        self._stalls.close()
        await self._connections.aclose()

    def _signed(self, call: Request, route: Route, payload: Payload | None, lane: Lane) -> bytes:
        """Return the signed head of a request, with its body unless that is sent in pieces."""
        if self._frozen.token and not route.secure and not self._clients.settings.token_over_http:
            refuse_exposed_token(route.origin.host, *(() if lane.proxy is None else (lane.proxy.host,)))
        path = route.root if call.key is None else route.prefix + encode_path(call.key)
        headers = call.headers
        headers["host"] = route.host
        content_hash, data = EMPTY_SHA256, None
        if payload is not None:
            headers.update(payload.headers)
            # Without a type, SeaweedFS treats the trailer of a part as a truncated body.
            headers.setdefault("content-type", DEFAULT_TYPE)
            content_hash, data = payload.hash, payload.data
            if not content_hash and data is not None:
                # It was made for aiobotocore, but the bucket has a route now.
                content_hash = sha256(data).hexdigest()
        try:
            signer = self._signer.sign(
                self._frozen, route.region, call.method, path, call.query, headers, content_hash, self._clock.now()
            )
        except UnicodeEncodeError:
            # Raised without its cause, which contains the signed text.
            raise InvalidRequest(
                "a header is not valid Unicode (it has a lone surrogate)", hint="use UTF-8 text"
            ) from None
        if payload is not None:
            payload.signer = signer
            headers["content-length"] = str(payload.length if data is None else len(data))
        elif call.method in _WITH_BODY:
            headers["content-length"] = "0"
        if lane.headers:
            headers.update(lane.headers)
        target = f"{lane.prefix}{path}?{call.query}" if call.query else lane.prefix + path
        try:
            head = request_head(call.method, target, headers)
        except ValueError as exc:
            # Raised without its cause, which contains the signature.
            raise InvalidRequest(str(exc), hint="remove line breaks from metadata and other headers") from None
        return head if data is None else head + data

    def _check(self, call: Request, response: Response, body: bytes) -> None:
        """Raise an error if the response is an error or does not match `call`."""
        if response.status >= 300:
            if not body and response.status == 403 and self._clock.is_off(unix_time(response.headers.get("date"))):
                body = _SKEWED
            raise refusal(call, response.status, response.headers, body)
        if response.cut:
            raise IntegrityError(
                f"the response has more than {MAX_DOCUMENT} bytes, more than any document of S3",
                **call.where,
                hint=Advice.CHECK_ENDPOINT(more=""),
            )
        check_status(call, response.status)

    def _failure(self, exc: BaseException, call: Request, route: Route, task: asyncio.Task[Any]) -> BaseException:
        """Return the error to raise for `exc` of a request; `exc` itself if it is not about the connection."""
        stalled = self._stalls.leave(task)
        if isinstance(exc, asyncio.CancelledError):
            return stalled_error(call, self._stalls.timeout, route.host) if stalled else exc
        if not isinstance(exc, CannotConnect | ConnectionBroken):
            return exc
        return broken(call, exc, route.host)

    async def _prepare(self, route: Route) -> None:
        """Prepare credentials that stay valid for at least a second."""
        try:
            found = await self._credentials.get()
        except botocore_errors() as exc:
            raise translate_botocore(exc, operation="sign", bucket=None) from exc
        if found is None:
            raise InvalidCredentials(
                f"there are no credentials for {route.host}",
                hint=Advice.GIVE_CREDENTIALS(),
            )
        self._frozen = found
        self._ready_until = time.monotonic() + READY_SECONDS

    async def _learn(self, bucket: str, region: str | None) -> Route | None:
        """Determine and cache the route of `bucket` in `region`."""
        plain = self._clients.plain
        try:
            route = None if plain is None else plain_route(plain, bucket, region)
            if route is None:
                route = await learn_route(await self._clients.get(region), bucket)
        except botocore_errors():
            # Let aiobotocore report the problem; the route is unknown, so it is not cached.
            return None
        if self._clients.settings.proxies_config:
            route = None
        if len(self.routes) >= MAX_ROUTES:
            self.routes.clear()
        self.routes[bucket] = route
        return route


def _exchange(response: Response, payload: Payload | None, body: bytes | None) -> Exchange:
    """Return the record of a request for the log."""
    sent = 0 if payload is None else payload.length if payload.data is None else len(payload.data)
    headers, received = response.headers, None if body is None else len(body)
    return Exchange(response.status, headers.get("x-amz-request-id"), sent, received, headers.get("x-amz-id-2"))


_TURNS = 8
"""Turns of the loop that the end of a body may take after its last bytes have left."""


async def _send(connection: Connection, response: Response, head: bytes, body: AsyncGenerator[Any, None]) -> None:
    """Send a request with a body in pieces, until it is sent, refused, or the connection is closed.

    The body has a task of its own, because three parties can end this at any await: the source (an error, or no piece
    for hours), the server (it refuses an upload long before its end, and may stop reading), and the caller (cancelled,
    or stalled). Whoever is first, the task is stopped and awaited before this returns, so nobody else ever sees a
    half-sent request on a connection: it is aborted here, or by `_exchange`, unless everything was sent.

    Raises:
        ConnectionBroken: a response that is not an error came before everything was sent.
    """

    sent = False

    async def send() -> None:
        nonlocal sent
        async with closing(body) as pieces:
            sent = await connection.write_body(head, pieces)

    sending = asyncio.create_task(send(), name="apm_s3 body")
    try:
        await response.wait_while(sending)
        # The response may arrive in the turn in which the last bytes leave, before the task has learned that.
        for _ in range(_TURNS):
            if sent or sending.done() or not 0 < response.status < 300:
                break
            await asyncio.sleep(0)
        if sending.done():
            sending.result()
    finally:
        try:
            await _stop(sending)
        finally:
            # Not after everything was sent: then, the end of the response has released the connection to others.
            if response.ended and not sent:
                connection.abort()
    if not sent and 0 < response.status < 300:
        raise ConnectionBroken("the server responded before the whole body was sent")


async def _stop(sending: asyncio.Task[None]) -> None:
    """Cancel sending, because the source may not return anything for a long time."""
    if not sending.done():
        sending.cancel()
        await asyncio.wait([sending])
    if not sending.cancelled():
        # Retrieve the exception, or asyncio logs it; the request's own error is more useful.
        sending.exception()


async def _watched(payload: Payload, stalls: Stalls, task: asyncio.Task[Any]) -> AsyncGenerator[Any, None]:
    """Yield the pieces of a body; each one counts as progress."""
    step = 0
    async with closing(payload.start()) as pieces:
        async for piece in pieces:
            yield piece
            stalls.moved(task)
            step += max(len(piece), _LEAST)
            if step >= PIECE:
                # If the connection never blocks, a whole part would be sent in one step of the event loop.
                await asyncio.sleep(0)
                step = 0
