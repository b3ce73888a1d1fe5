"""What bounds a request: its deadline, the size of its body, and a client that goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from typing import ClassVar

from starlette.exceptions import HTTPException  # FastAPI raises the base class of its own too
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from apm_s3.errors import ApmS3Error
from apm_s3.fastapi._problems import LATER, problem

MAX_BODIES = 256 * 1024**2
"""Maximum bytes of the bodies of all requests at the same time, in this process."""

PATIENCE = 0.05
"""Seconds after which a request is watched for a client that goes away."""

GONE = 499
"""The status in access logs for a client that went away (nginx's)."""

Handler = Callable[[Request], Awaitable[Response]]


async def supervised(handle: Handler, request: Request, limit: int, deadline: float) -> Response:
    """Handle a request; stop the work when the deadline passes or the client goes away.

    Args:
        limit: maximum bytes of the body; 0 if the route reads none.
        deadline: seconds.
    """
    if not limit:
        return await _watched(handle, request, None, deadline)
    body = _Body(request, limit)
    try:
        return await _watched(handle, Request(request.scope, body.receive), body, deadline)
    finally:
        body.release()


async def _watched(handle: Handler, request: Request, body: _Body | None, deadline: float) -> Response:
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + deadline
    watching: asyncio.Task[None] | None = None
    gone = False

    def start() -> None:
        nonlocal watching
        scope.reschedule(ends_at)
        watching = loop.create_task(watch())

    async def watch() -> None:
        nonlocal gone
        if body is not None:
            await body.ended.wait()
        # This discards a body that no route has asked for.
        await _wait_for_disconnect(request.receive)
        gone = True
        # The scope's own way of cancelling keeps cancellations of the server apart from this one.
        scope.reschedule(loop.time())

    # Most requests are answered before that: a watch from the beginning would cost a cached read a quarter of its time.
    timer = loop.call_later(min(PATIENCE, deadline), start)
    try:
        async with asyncio.timeout(None) as scope:
            try:
                return await handle(request)
            finally:
                timer.cancel()
                if watching is not None:
                    watching.cancel()
                    await asyncio.gather(watching, return_exceptions=True)
    except TimeoutError as exc:
        if not scope.expired() or isinstance(exc, ApmS3Error):
            raise
        if gone:
            return Response(status_code=GONE)
        return problem(504, "deadline-exceeded", f"The request took longer than {deadline:g} seconds.")


class _Body:
    """The body of a request: whole, of limited size, and without an encoding.

    Attributes:
        held: the bytes of all bodies in this process.
        ended: set when the whole body was read.
    """

    held: ClassVar[int] = 0

    def __init__(self, request: Request, limit: int) -> None:
        self._receive = request.receive
        self._limit = limit
        self._left = limit
        self._held = 0
        self._refusal = self._refused(request)
        self.ended = asyncio.Event()
        self._gone = False

    async def receive(self) -> Message:
        """Return the next message of the body.

        Raises:
            HTTPException: it is refused. FastAPI lets only this exception through.
        """
        if self._gone:
            return {"type": "http.disconnect"}
        if self._refusal is not None:
            raise self._refusal
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._gone = True
            self.ended.set()
            return message
        size = len(message.get("body", b""))
        self._left -= size
        if self._left < 0:
            raise self._too_large()
        if _Body.held + size > MAX_BODIES:
            raise HTTPException(429, "The bodies of too many requests are waiting. Try again later.", LATER)
        self._held += size
        _Body.held += size
        if not message.get("more_body", False):
            self.ended.set()
        return message

    def release(self) -> None:
        """Stop counting its bytes."""
        _Body.held -= self._held

    def _refused(self, request: Request) -> HTTPException | None:
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self._limit:
            return self._too_large()
        encodings = ",".join(request.headers.getlist("content-encoding")).lower().split(",")
        if any(each.strip() not in ("", "identity") for each in encodings):
            # RFC 9110, section 15.5.16.
            return HTTPException(415, "Send the body without Content-Encoding.", {"Accept-Encoding": "identity"})
        if request.method == "PUT" and "content-range" in request.headers:
            # RFC 9110, section 14.4: a part would replace everything else.
            return HTTPException(400, "Send the whole body, without Content-Range.")
        return None

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"The body has more than {self._limit} bytes.")


class Stream(Response):
    """A response of pieces. It always notices a client that goes away, even while there is nothing to send.

    Starlette's `StreamingResponse` notices it only at the next piece if the server speaks ASGI 2.4. Before that,
    anyio cancels again at every await, so that an iterator cannot clean up.
    """

    def __init__(self, pieces: AsyncIterator[bytes], *, media_type: str, headers: Mapping[str, str]) -> None:
        self.status_code = 200
        self.media_type = media_type
        self.background = None
        self.body_iterator = pieces
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's
        """Send the pieces until they end, or the client goes away."""
        sending = asyncio.create_task(self._send_all(send))
        listening = asyncio.create_task(_wait_for_disconnect(receive))
        try:
            await asyncio.wait({sending, listening}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            finished = sending.done()
            for task in (sending, listening):
                task.cancel()
            await asyncio.gather(sending, listening, return_exceptions=True)
        if finished:
            sending.result()

    async def _send_all(self, send: Send) -> None:
        pieces = self.body_iterator
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except OSError:
            # ASGI 2.4: the client went away.
            return
        finally:
            if isinstance(pieces, AsyncGenerator):
                await pieces.aclose()


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
