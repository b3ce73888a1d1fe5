"""Signs a request, sends it on the aiohttp session, and reads its answer: what every verb of the lean path shares."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from aiohttp import ClientResponse, ClientSession
from botocore.exceptions import BotoCoreError, ClientError
from yarl import URL

from apm_s3.errors import ApmS3Error, InvalidCredentials, WrongRegion
from apm_s3.models import Credentials
from apm_s3.transports.aiohttp_errors import TRANSLATED, translate
from apm_s3.transports.bodies import read_whole
from apm_s3.transports.botocore_errors import translate as translate_botocore
from apm_s3.transports.clients import Clients
from apm_s3.transports.http_session import HttpSession
from apm_s3.transports.payloads import PIECE, Payload, closing
from apm_s3.transports.routes import Route, learn_route
from apm_s3.transports.signed_answers import SignedBody, refusal, server_time, stalled_error
from apm_s3.transports.signed_requests import Call, Headers
from apm_s3.transports.stalls import Stalls
from apm_s3.wire.sigv4 import EMPTY_SHA256, Signer, encode_path

MAX_ROUTES = 4096
"""Buckets whose routes are kept; botocore is asked again once there were more."""

READY_SECONDS = 1.0
"""How long one look at the credentials' expiry holds: botocore refreshes them minutes ahead of it."""

_LEAST = 4096
"""Bytes that a piece of a body counts for at least, so that many small ones hold the event loop no longer."""

_SKEWED = b"<Error><Code>RequestTimeTooSkewed</Code></Error>"
"""What S3 would say to a HEAD, whose answer has no body."""


class Sender:
    """Routes, credentials, clock and connections of the lean path."""

    _session: ClientSession
    _frozen: Credentials

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        settings = clients.settings
        self._http = HttpSession(settings, clients.session.get_config_variable("ca_bundle"))
        self._credentials = clients.provider
        self._clock = clients.clock
        self._signer = Signer()
        self._stalls = Stalls(settings.timeouts.read)
        self._routes: dict[str, Route | None] = {}
        self._ready_until = -math.inf

    async def route(self, bucket: str) -> Route | None:
        """The way to `bucket`; None where aiobotocore should go."""
        try:
            return self._routes[bucket]
        except KeyError:
            return await self._learn(bucket, None)

    async def exchange(self, call: Call, route: Route, payload: Payload | None = None) -> tuple[ClientResponse, bytes]:
        """Send one request; its answer and whole body.

        Raises:
            S3Error: the answer says no.
            TransportError: there is none.
        """
        now = time.monotonic()
        if now >= self._ready_until:
            await self._prepare(route)
        task = self._stalls.enter(now)
        pieces = None
        try:
            url, headers, data = self._signed(call, route, payload)
            if payload is not None and data is None:
                data = pieces = _watched(payload, self._stalls, task)
            response = await self._session.request(
                call.method, url, headers=headers, data=data, allow_redirects=False, **route.proxy
            )
            if response.content.is_eof():
                body = await response.read()
            else:
                self._stalls.reading(task, response.content)
                body = await read_whole(response)
        except BaseException as exc:
            failure = self._failure(exc, call, route, payload, task)
            if failure is exc:
                raise
            raise failure from exc
        finally:
            if pieces is not None:
                await _close(pieces)
        self._stalls.leave(task)
        if response.status >= 300:
            if not body and response.status == 403 and self._clock.is_off(server_time(response.headers.get("Date"))):
                body = _SKEWED
            raise refusal(call, response.status, response.headers, body)
        return response, body

    async def open_body(self, call: Call, route: Route) -> SignedBody:
        """Send one GET; its answer, whose body is still to be read, and closed.

        Raises:
            S3Error: the answer says no.
            TransportError: there is none.
        """
        now = time.monotonic()
        if now >= self._ready_until:
            await self._prepare(route)
        task = self._stalls.enter(now)
        try:
            url, headers, _ = self._signed(call, route, None)
            response = await self._session.request(
                call.method, url, headers=headers, allow_redirects=False, **route.proxy
            )
            if response.status >= 300:
                self._stalls.reading(task, response.content)
                raise refusal(call, response.status, response.headers, await response.read())  # noqa: TRY301
        except BaseException as exc:
            failure = self._failure(exc, call, route, None, task)
            if failure is exc:
                raise
            raise failure from exc
        self._stalls.leave(task)
        return SignedBody(call, response, self._stalls, route.host)

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
        return f"{route.base.scheme}://{route.host}{path}?{query}"

    async def recover(self, error: ApmS3Error) -> bool:
        """See `ObjectTransport.recover`."""
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
        await self._http.aclose()

    def _signed(self, call: Call, route: Route, payload: Payload | None) -> tuple[URL, Headers, Any]:
        """The URL, the headers and the body of a request; no body where it comes in pieces."""
        path = route.root if call.key is None else route.prefix + encode_path(call.key)
        url = route.base.with_path(path, encoded=True)
        if call.query:
            url = URL.build(
                scheme=url.scheme, authority=url.raw_authority, path=path, query_string=call.query, encoded=True
            )
        headers = call.headers
        headers["host"] = route.host
        content_hash, data = EMPTY_SHA256, None
        if payload is not None:
            headers.update(payload.headers)
            content_hash, data = payload.hash, payload.data
        signer = self._signer.sign(
            self._frozen, route.region, call.method, path, call.query, headers, content_hash, self._clock.now()
        )
        if payload is not None and data is None:
            headers["content-length"] = str(payload.length)
            payload.signer = signer
        return url, headers, data

    def _failure(
        self, exc: BaseException, call: Call, route: Route, payload: Payload | None, task: asyncio.Task[Any]
    ) -> BaseException:
        """The error to raise for `exc`, with which a request ended; itself where it is none of aiohttp's."""
        stalled = self._stalls.leave(task)
        if isinstance(exc, asyncio.CancelledError):
            return stalled_error(call, self._stalls.timeout, route.host) if stalled else exc
        if not isinstance(exc, TRANSLATED):
            return exc
        if payload is not None and payload.failure is not None:
            return payload.failure
        return translate(exc, operation=call.operation, bucket=call.bucket, key=call.key, endpoint=route.host)

    async def _prepare(self, route: Route) -> None:
        """Have a session, and credentials that are not about to expire, for a second."""
        self._session = await self._http.open()
        try:
            found = await self._credentials.get()
        except (BotoCoreError, ClientError) as exc:
            raise translate_botocore(exc, operation="sign", bucket=None) from exc
        if found is None:
            raise InvalidCredentials(
                f"there are no credentials for {route.host}",
                hint="pass credentials=Credentials(...), or configure the AWS chain (environment, profile, role)",
            )
        self._frozen = found
        self._ready_until = time.monotonic() + READY_SECONDS

    async def _learn(self, bucket: str, region: str | None) -> Route | None:
        """Ask botocore for the way to `bucket`, by its client of `region`; every caller may, the last one's is kept."""
        try:
            client = await self._clients.get(region)
            route = await learn_route(client, bucket)
        except (BotoCoreError, ClientError):
            # For aiobotocore to say what is wrong; nothing is known, so nothing is kept.
            return None
        if self._clients.settings.proxies_config:
            route = None
        elif route is not None:
            route = replace(route, proxy=self._http.proxy(str(route.base)))
        if len(self._routes) >= MAX_ROUTES:
            self._routes.clear()
        self._routes[bucket] = route
        return route


async def _close(pieces: AsyncGenerator[Any, None]) -> None:
    # Still running, it is being cancelled with the task of aiohttp that writes it, and closes itself.
    with suppress(RuntimeError):
        await pieces.aclose()


async def _watched(payload: Payload, stalls: Stalls, task: asyncio.Task[Any]) -> AsyncGenerator[Any, None]:
    """The pieces of a body: each one sent is progress, and what their source raises is kept."""
    step = 0
    async with closing(payload.start()) as pieces:
        try:
            async for piece in pieces:
                yield piece
                stalls.moved(task)
                step += max(len(piece), _LEAST)
                if step >= PIECE:
                    # A connection that takes all at once would let a whole part through in one step of the event loop.
                    await asyncio.sleep(0)
                    step = 0
        except Exception as exc:
            payload.failure = exc
            raise
