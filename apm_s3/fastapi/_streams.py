"""Responses that are sent in pieces, and that end when their client goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send


class Stream(Response):
    """A response of pieces. It always notices a client that goes away, even while there is nothing to send.

    Starlette's `StreamingResponse` notices it only at the next piece if the server speaks ASGI 2.4.
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
