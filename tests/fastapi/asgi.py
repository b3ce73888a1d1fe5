"""A client below HTTP: it reads what an application sends as it comes, and goes away when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message

from tests.fastapi.applications import bearer


class Visit:
    """One request.

    Attributes:
        task: the application's.
        start: the message with status and headers; None before it was sent.
    """

    def __init__(
        self, app: ASGIApp, method: str, url: str, token: str, headers: dict[str, str], body: bytes | None
    ) -> None:
        parts = urlsplit(url)
        named = {**bearer(token), **headers}
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": parts.path,
            "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in named.items()],
            "client": ("127.0.0.1", 1),
            "server": ("api.test", 80),
        }
        self._sent: asyncio.Queue[bytes] = asyncio.Queue()
        self._gone = asyncio.Event()
        self._given: list[Message] = [{"type": "http.request", "body": body or b"", "more_body": body is not None}]
        self.start: Message | None = None
        self.text = ""
        self.task = asyncio.create_task(app(self._scope, self._receive, self._send))  # type: ignore[arg-type]

    async def _receive(self) -> Message:
        if self._given:
            return self._given.pop(0)
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = message
        elif message.get("body"):
            self._sent.put_nowait(message["body"])

    @property
    def status(self) -> int | None:
        """The status of the answer."""
        return None if self.start is None else self.start["status"]

    async def read_until(self, wanted: str) -> str:
        """Read until `wanted` has come, and return everything since the last call."""
        while wanted not in self.text:
            self.text += (await self._sent.get()).decode()
        found, _, self.text = self.text.partition(wanted)
        return found + wanted

    def leave(self) -> None:
        """Close the connection."""
        self._gone.set()


@asynccontextmanager
async def visiting(
    app: ASGIApp,
    url: str,
    *,
    method: str = "GET",
    token: str = "admin-token",
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
) -> AsyncIterator[Visit]:
    """A request whose client goes away at the end. `body`: the beginning of a body whose rest never comes."""
    visit = Visit(app, method, url, token, headers or {}, body)
    try:
        yield visit
    finally:
        visit.leave()
        await visit.task
