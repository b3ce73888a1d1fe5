"""Notifications: their content, signatures, failing targets, repetitions and order."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from apm_s3 import ConfigStore
from apm_s3.configs import LogEntry
from apm_s3.errors import InvalidOption
from apm_s3.exporters.notifications import GrafanaAnnotations, Target, Webhook, notify
from apm_s3.testing import MemoryObjects
from tests.configs.samples import LOKI, PROMETHEUS
from tests.seams.exporters import pause_briefly, sign

SECRET = "a secret of more than 24 bytes"
PASSWORD = "correct-horse-battery-staple"
SECRETIVE = f"{PROMETHEUS}remote_write:\n  - url: https://h/w\n    basic_auth: {{username: u, password: {PASSWORD}}}\n"


class Receiver:
    """A server that takes notifications.

    Attributes:
        got: the requests that came, in order: path, headers, body.
        answers: the statuses of the first answers; then 200.
    """

    def __init__(self) -> None:
        self.url = ""
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[int] = []
        self.arrived = asyncio.Condition()

    async def handle(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.got.append((request.path_qs, headers, await request.read()))
        async with self.arrived:
            self.arrived.notify_all()
        status = self.answers.pop(0) if self.answers else 200
        return web.Response(status=status, headers={"location": "/elsewhere"} if status == 307 else {})

    async def until(self, count: int) -> None:
        async with self.arrived:
            await self.arrived.wait_for(lambda: len(self.got) >= count)

    def documents(self) -> list[Any]:
        return [json.loads(body) for _, _, body in self.got]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = web.Server(receiver.handle)
    runner = web.ServerRunner(server)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield receiver
    await runner.cleanup()


@pytest.fixture
def store() -> ConfigStore:
    return ConfigStore(MemoryObjects())


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    pause_briefly(monkeypatch)


@contextlib.asynccontextmanager
async def notifying(store: ConfigStore, *targets: Target, **arguments: Any) -> AsyncIterator[None]:
    """Notify of everything in production from the beginning, unless `since` says otherwise."""
    arguments = {"since": 0, "interval": 0.01, **arguments}
    task = asyncio.create_task(notify(store, "production", targets, **arguments))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_each_commit_is_yielded_in_order_with_its_changes(store: ConfigStore, receiver: Receiver) -> None:
    await store.upload("prometheus", "production", PROMETHEUS, author="ana", message="first")
    await store.upload("prometheus", "production", PROMETHEUS.replace("15s", "30s"), author="bob")
    async with notifying(store, Webhook(receiver.url, SECRET)):
        await receiver.until(2)
        await store.freeze("production", reason="release week", author="ana")
        await receiver.until(3)

    first, second, third = receiver.documents()
    assert (first["sequence"], second["sequence"], third["sequence"]) == (1, 2, 3)
    assert first["summary"] == "upload in production by ana: prometheus 1 (new)"
    assert first["message"] == "first"
    assert second["summary"] == "upload in production by bob: prometheus 1→2"
    assert second["changes"] == {
        "prometheus": [{"file": "prometheus.yml", "change": "changed", "added": 1, "removed": 1}]
    }
    assert third["action"] == "freeze"


async def test_a_webhook_is_signed_and_tampering_is_detected(store: ConfigStore, receiver: Receiver) -> None:
    await store.upload("loki", "production", LOKI)
    async with notifying(store, Webhook(f"{receiver.url}/hook?token=1", SECRET)):
        await receiver.until(1)

    path, headers, body = receiver.got[0]
    assert path == "/hook?token=1"
    assert headers["content-type"] == "application/json"
    assert Webhook.verify(SECRET, headers, body)
    assert not Webhook.verify("another secret of 24 bytes or more", headers, body)
    assert not Webhook.verify(SECRET, headers, body + b" ")
    assert not Webhook.verify(SECRET, {**headers, "webhook-id": "x"}, body)
    assert not Webhook.verify(SECRET, {**headers, "webhook-timestamp": "1"}, body)
    assert not Webhook.verify(SECRET, {}, body)


def signed(key: bytes) -> dict[str, str]:
    """The headers of a request without a body, signed now."""
    now = str(int(time.time()))
    signature = base64.b64encode(hmac.digest(key, f"x.{now}.".encode(), "sha256")).decode()
    return {"webhook-id": "x", "webhook-timestamp": now, "webhook-signature": f"v1,{signature}"}


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize(
    "value", ["", "-1", "\u0661\u0662", "9" * 5000, "1e999", "nan", "\ud800", "v1,\ud800", "v1,é", b"v1,x", None, 7]
)
def test_a_hostile_header_is_not_valid_and_raises_nothing(name: str, value: Any) -> None:
    headers = signed(SECRET.encode())

    assert Webhook.verify(SECRET, headers, b"")
    assert not Webhook.verify(SECRET, {**headers, name: value}, b"")


@pytest.mark.parametrize(
    ("secret", "key"),
    [("", b""), ("short", b"short"), ("whsec_c2hvcnQ=", b"short"), ("whsec_**", b""), ("\ud800", b"")],
)
def test_nothing_is_valid_with_a_secret_that_a_webhook_refuses(secret: str, key: bytes) -> None:
    assert not Webhook.verify(secret, signed(key), b"")


def test_a_signature_follows_the_standard() -> None:
    # The example of https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
    signature = sign(
        "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
        "1649367553",
        b'{"email":"test@example.com","username":"test_user"}',
    )

    assert signature == "tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="


@pytest.mark.parametrize("status", [301, 307, 401, 404, 429, 500, 503])
async def test_a_refused_delivery_is_repeated_with_the_same_id(
    store: ConfigStore, receiver: Receiver, status: int
) -> None:
    receiver.answers = [status, status]
    await store.upload("loki", "production", LOKI)
    await store.upload("loki", "production", LOKI.replace("false", "true"))
    async with notifying(store, Webhook(receiver.url, SECRET)):
        await receiver.until(4)

    assert [document["sequence"] for document in receiver.documents()] == [1, 1, 1, 2]
    ids = [headers["webhook-id"] for _, headers, _ in receiver.got]
    assert len(set(ids[:3])) == 1
    assert ids[3] != ids[0]


async def test_a_target_that_is_down_does_not_delay_the_others(store: ConfigStore, receiver: Receiver) -> None:
    delivered: list[tuple[str, int]] = []

    async def note(name: str, entry: LogEntry) -> None:
        delivered.append((name, entry.sequence))

    await store.upload("loki", "production", LOKI)
    await store.upload("loki", "production", LOKI.replace("false", "true"))
    targets = Webhook("http://127.0.0.1:1/", SECRET, "down"), Webhook(receiver.url, SECRET, "up")
    async with notifying(store, *targets, on_delivered=note):
        await receiver.until(2)

    assert {name for name, _ in delivered} <= {"up"}


async def test_the_next_call_continues_after_the_last_delivery(store: ConfigStore, receiver: Receiver) -> None:
    await store.upload("loki", "production", LOKI)
    await store.upload("loki", "production", LOKI.replace("false", "true"))
    hook = Webhook(receiver.url, SECRET, "hook")
    async with notifying(store, hook, since={"hook": 1}):
        await receiver.until(1)

    assert [document["sequence"] for document in receiver.documents()] == [2]


async def test_grafana_gets_an_annotation_at_the_time_of_the_commit(store: ConfigStore, receiver: Receiver) -> None:
    release = await store.upload("loki", "production", LOKI, author="ana", message="why")
    target = GrafanaAnnotations(receiver.url, "glsa_token", dashboard="apm", tags=("team-a",))
    async with notifying(store, target):
        await receiver.until(1)

    path, headers, body = receiver.got[0]
    assert path == "/api/annotations"
    assert headers["authorization"] == "Bearer glsa_token"
    annotation = json.loads(body)
    assert annotation["tags"] == ["apm_s3", "production", "upload", "loki", "team-a"]
    assert annotation["text"] == "upload in production by ana: loki 1 (new) (why)"
    assert annotation["dashboardUID"] == "apm"
    assert abs(annotation["time"] / 1000 - release.created_at.timestamp()) < 5


async def test_no_secret_leaves_the_store_or_is_logged(
    store: ConfigStore, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="apm_s3")
    receiver.answers = [500]
    await store.upload("prometheus", "production", PROMETHEUS)
    await store.upload("prometheus", "production", SECRETIVE, message=f"password: {PASSWORD}")
    hook = Webhook(f"{receiver.url}/hook/url-token", SECRET)
    grafana = GrafanaAnnotations(receiver.url, "glsa_token", name="grafana")
    down = Webhook("http://127.0.0.1:1/url-token", SECRET, "down")
    async with notifying(store, hook, grafana, down):
        await receiver.until(5)

    sent = b"".join(body for _, _, body in receiver.got).decode()
    assert PASSWORD not in sent
    assert '"added":3' in sent
    shown = "".join((caplog.text, repr(hook), repr(grafana), repr(down)))
    assert "was not notified" in caplog.text
    assert not any(secret in shown for secret in (PASSWORD, SECRET, "url-token", "glsa_token"))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Webhook("ftp://h/", SECRET),
        lambda: Webhook("http://user:password@h/", SECRET),
        lambda: Webhook("/path", SECRET),
        lambda: Webhook("http://[/", SECRET),
        lambda: Webhook("http://h/", "short"),
        lambda: Webhook("http://h/", "whsec_!"),
        lambda: GrafanaAnnotations("http://h", ""),
        lambda: GrafanaAnnotations("http://h", "line\nbreak"),
    ],
)
def test_invalid_targets_are_refused_without_showing_a_secret(make: Callable[[], Target]) -> None:
    with pytest.raises(InvalidOption) as refused:
        make()

    assert "password" not in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "targets", [[], [Webhook("http://h/a", SECRET), Webhook("http://h/b", SECRET)]], ids=["none", "one name"]
)
async def test_targets_have_distinct_names(store: ConfigStore, targets: list[Target]) -> None:
    with pytest.raises(InvalidOption):
        await notify(store, "production", targets)


async def test_an_exception_of_on_delivered_ends_the_call(store: ConfigStore, receiver: Receiver) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("the disk is full")

    await store.upload("loki", "production", LOKI)
    on_delivered: Callable[[str, LogEntry], Awaitable[object]] = fail
    with pytest.raises(RuntimeError, match="the disk is full"):
        await notify(
            store, "production", [Webhook(receiver.url, SECRET)], since=0, on_delivered=on_delivered, interval=0.01
        )
