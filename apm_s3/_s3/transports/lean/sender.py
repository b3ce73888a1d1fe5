"""Signs a request, sends it, and reads its answer: what every verb of the lean path shares."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Iterable
from typing import Any

from apm_s3._logs import EXCHANGES, Exchange
from apm_s3._s3.transports.bodies import MAX_DOCUMENT
from apm_s3._s3.transports.boto.errors import botocore_errors
from apm_s3._s3.transports.boto.errors import translate as translate_botocore
from apm_s3._s3.transports.clients import Clients
from apm_s3._s3.transports.expectations import SUCCESS, check_status
from apm_s3._s3.transports.lean.answers import (
    SignedBody,
    broken,
    check_object,
    refusal,
    server_time,
    stalled_error,
)
from apm_s3._s3.transports.lean.connection import Answer, Connection, ConnectionBroken
from apm_s3._s3.transports.lean.connections import CannotConnect, Connections, Lane
from apm_s3._s3.transports.lean.payloads import PIECE, Payload, closing
from apm_s3._s3.transports.lean.requests import DEFAULT_TYPE, Call, Headers
from apm_s3._s3.transports.lean.stalls import Stalls
from apm_s3._s3.transports.plain import plain_route
from apm_s3._s3.transports.routes import Route, learn_route
from apm_s3._wire.http1 import request_head
from apm_s3._wire.sigv4 import EMPTY_SHA256, Signer, encode_path
from apm_s3.errors import ApmS3Error, IntegrityError, InvalidCredentials, InvalidRequest, WrongRegion
from apm_s3.models import Credentials
from apm_s3.options import ReadOptions

MAX_ROUTES = 4096
"""Buckets whose routes are kept; botocore is asked again once there were more."""

READY_SECONDS = 1.0
"""How long one look at the credentials' expiry holds: botocore refreshes them minutes ahead of it."""

_WITH_BODY = frozenset({"PUT", "POST"})
"""Methods whose requests say that they have no body: https://www.rfc-editor.org/rfc/rfc9110#field.content-length."""

_LEAST = 4096
"""Bytes that a piece of a body counts for at least, so that many small ones hold the event loop no longer."""

_SKEWED = b"<Error><Code>RequestTimeTooSkewed</Code></Error>"
"""What S3 would say to a HEAD, whose answer has no body."""


class Sender:
    """Routes, credentials, clock and connections of the lean path.

    Attributes:
        routes: the ways to buckets that are known; None where aiobotocore should go.
    """

    _frozen: Credentials

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        settings = clients.settings
        self._connections = Connections(settings, clients.ca_bundle)
        self._credentials = clients.provider
        self._clock = clients.clock
        self._signer = Signer()
        self._stalls = Stalls(settings.timeouts.read)
        self.routes: dict[str, Route | None] = {}
        self._ready_until = -math.inf

    async def route(self, bucket: str) -> Route | None:
        """The way to `bucket`; None where aiobotocore should go."""
        return self.routes[bucket] if bucket in self.routes else await self._learn(bucket, None)

    async def exchange(
        self,
        call: Call,
        route: Route,
        payload: Payload | None = None,
        limit: int | None = MAX_DOCUMENT,
        *,
        whole: bool = True,
    ) -> tuple[Answer, bytes]:
        """Send one request; its answer and whole body. Whatever goes wrong closes the connection.

        Every request comes through here, and each coroutine more on the way would cost it a percent of its CPU.

        Args:
            limit: bytes of the answer after which it is no document; None for an object.
            whole: whether to read the body; False leaves that of a success to the caller, who has to close the answer.

        Raises:
            S3Error: the answer says no.
            IntegrityError: it is no answer to `call`.
            TransportError: there is none.
        """
        now = time.monotonic()
        if now >= self._ready_until:
            await self._prepare(route)
            now = time.monotonic()
        task = self._stalls.enter(now)
        answer = None
        try:
            lane = self._connections.lane(route.origin)
            request = self._signed(call, route, payload, lane)
            connection = self._connections.reuse(lane, now) or await self._connections.connect(lane)
            answer = connection.begin(call.method, whole=whole, limit=limit)
            if payload is None or payload.data is not None:
                connection.write(request)
            else:
                await _send(connection, answer, request, _watched(payload, self._stalls, task))
            if not answer.ended:
                self._stalls.reading(task, answer)
            body = await answer.read() if whole else await answer.opened()
            if (exchanges := EXCHANGES.get()) is not None:
                exchanges.append(_exchange(answer, payload, body if whole else None))
            if answer.status not in SUCCESS[call.method] or answer.cut:
                self._check(call, answer, body)
        except BaseException as exc:
            failure = self._failure(exc, call, route, task)
            if answer is not None:
                answer.close()
            if failure is exc:
                raise
            raise failure from exc
        self._stalls.leave(task)
        return answer, body

    async def open_body(self, call: Call, route: Route, options: ReadOptions) -> SignedBody:
        """Send one GET; its answer, whose body is still to be read, and closed.

        Raises:
            S3Error: the answer says no.
            TransportError: there is none.
        """
        answer, _ = await self.exchange(call, route, limit=None, whole=False)
        try:
            check_object(call, options, answer, answer.length)
            return SignedBody(call, answer, self._stalls, route.host)
        except BaseException:
            answer.close()
            raise

    async def presign(
        self,
        route: Route,
        method: str,
        key: str,
        parameters: Iterable[tuple[str, str]],
        headers: Headers,
        expires_in: int,
    ) -> str:
        """A URL with the signature in its query; its bearer has to send `headers` too."""
        await self._prepare(route)
        path = route.prefix + encode_path(key)
        try:
            query = self._signer.presign(
                self._frozen,
                route.region,
                method,
                path,
                parameters,
                {"host": route.host, **headers},
                expires_in,
                self._clock.now(),
            )
        except UnicodeEncodeError as exc:
            raise InvalidRequest("a header is no valid Unicode (a lone surrogate)", hint="use UTF-8 text") from exc
        return f"{route.origin.scheme}://{route.host}{path}?{query}"

    async def recover(self, error: ApmS3Error) -> bool:
        if isinstance(error, WrongRegion):
            if not (error.region and error.bucket):
                return False
            return await self._learn(error.bucket, error.region) is not None
        recovered = await self._clients.recover(error)
        # Only now: a request that began meanwhile has made the old credentials ready once more.
        self._ready_until = -math.inf
        return recovered

    async def aclose(self) -> None:
        """Close every connection."""
        self._stalls.close()
        await self._connections.aclose()

    def _signed(self, call: Call, route: Route, payload: Payload | None, lane: Lane) -> bytes:
        """A request: its head, and its body where that does not come in pieces."""
        path = route.root if call.key is None else route.prefix + encode_path(call.key)
        headers = call.headers
        headers["host"] = route.host
        content_hash, data = EMPTY_SHA256, None
        if payload is not None:
            headers.update(payload.headers)
            # Without a type, SeaweedFS takes the trailer of a part for a body that is cut short.
            headers.setdefault("content-type", DEFAULT_TYPE)
            content_hash, data = payload.hash, payload.data
        try:
            signer = self._signer.sign(
                self._frozen, route.region, call.method, path, call.query, headers, content_hash, self._clock.now()
            )
        except UnicodeEncodeError:
            # Without its cause, which holds what is signed.
            raise InvalidRequest("a header is no valid Unicode (a lone surrogate)", hint="use UTF-8 text") from None
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
            # Without its cause, which holds the signature.
            raise InvalidRequest(str(exc), hint="leave line breaks out of metadata and other headers") from None
        return head if data is None else head + data

    def _check(self, call: Call, answer: Answer, body: bytes) -> None:
        """Raise the error of an answer that says no, or that is no answer to `call`."""
        if answer.status >= 300:
            if not body and answer.status == 403 and self._clock.is_off(server_time(answer.headers.get("date"))):
                body = _SKEWED
            raise refusal(call, answer.status, answer.headers, body)
        if answer.cut:
            raise IntegrityError(
                f"the answer is longer than any document of S3: more than {MAX_DOCUMENT} bytes",
                operation=call.operation,
                bucket=call.bucket,
                key=call.key,
                hint="check that endpoint_url names an S3 server",
            )
        part = "range" in call.headers
        check_status(call.operation, call.method, answer.status, call.bucket, call.key, part=part)

    def _failure(self, exc: BaseException, call: Call, route: Route, task: asyncio.Task[Any]) -> BaseException:
        """The error to raise for `exc`, with which a request ended; itself where it is not the connection's."""
        stalled = self._stalls.leave(task)
        if isinstance(exc, asyncio.CancelledError):
            return stalled_error(call, self._stalls.timeout, route.host) if stalled else exc
        if not isinstance(exc, CannotConnect | ConnectionBroken):
            return exc
        return broken(call, exc, route.host)

    async def _prepare(self, route: Route) -> None:
        """Have credentials that are not about to expire, for a second."""
        try:
            found = await self._credentials.get()
        except botocore_errors() as exc:
            raise translate_botocore(exc, operation="sign", bucket=None) from exc
        if found is None:
            raise InvalidCredentials(
                f"there are no credentials for {route.host}",
                hint="pass credentials=Credentials(...), or configure the AWS chain (environment, profile, role)",
            )
        self._frozen = found
        self._ready_until = time.monotonic() + READY_SECONDS

    async def _learn(self, bucket: str, region: str | None) -> Route | None:
        """Find the way to `bucket`, as of `region`; every caller may, the last one's is kept."""
        plain = self._clients.plain
        try:
            route = None if plain is None else plain_route(plain, bucket, region)
            if route is None:
                route = await learn_route(await self._clients.get(region), bucket)
        except botocore_errors():
            # For aiobotocore to say what is wrong; nothing is known, so nothing is kept.
            return None
        if self._clients.settings.proxies_config:
            route = None
        if len(self.routes) >= MAX_ROUTES:
            self.routes.clear()
        self.routes[bucket] = route
        return route


def _exchange(answer: Answer, payload: Payload | None, body: bytes | None) -> Exchange:
    """What the log tells of a request."""
    sent = 0 if payload is None else payload.length if payload.data is None else len(payload.data)
    return Exchange(answer.status, answer.headers.get("x-amz-request-id"), sent, None if body is None else len(body))


async def _send(connection: Connection, answer: Answer, head: bytes, body: AsyncGenerator[Any, None]) -> None:
    """Send a request whose body comes in pieces, until it is sent, refused, or the connection at its end.

    Raises:
        ConnectionBroken: the answer, which is no refusal, came before all was sent.
    """

    async def send() -> bool:
        async with closing(body) as pieces:
            return await connection.write_body(head, pieces)

    sending = asyncio.create_task(send(), name="apm_s3 body")
    try:
        await answer.wait_while(sending)
    except BaseException:
        await _stop(sending)
        raise
    if sending.done():
        sent = sending.result()
    else:
        await _stop(sending)
        sent = False
    if not sent and 0 < answer.status < 300:
        raise ConnectionBroken("the server answered before all of the body was sent")


async def _stop(sending: asyncio.Task[bool]) -> None:
    """End a sending that nobody waits for any more: its source may have nothing to give for long."""
    sending.cancel()
    await asyncio.wait([sending])
    if not sending.cancelled():
        # Looked at, or asyncio logs it: what ended the request says more.
        sending.exception()


async def _watched(payload: Payload, stalls: Stalls, task: asyncio.Task[Any]) -> AsyncGenerator[Any, None]:
    """The pieces of a body, each one of which is progress."""
    step = 0
    async with closing(payload.start()) as pieces:
        async for piece in pieces:
            yield piece
            stalls.moved(task)
            step += max(len(piece), _LEAST)
            if step >= PIECE:
                # A connection that takes all at once would let a whole part through in one step of the event loop.
                await asyncio.sleep(0)
                step = 0
