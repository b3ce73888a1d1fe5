"""Routes of the HTTP service as calls that are tested against a server that lies."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from apm_s3.configs import ConfigStore
from apm_s3.errors import ApmS3Error
from apm_s3.fastapi import get_configs
from tests.fastapi.applications import client_of, shared_app
from tests.fastapi.asgi import visiting
from tests.fastapi.routes import GUARDED, SAMPLES
from tests.faults.store_verbs import LOST, StoreVerb, stored
from tests.faults.verbs import BUCKET

_STORE: ContextVar[ConfigStore] = ContextVar("store")
"""The store of a request: the calls of a matrix share the application, and run concurrently."""


class ProblemAnswered(ApmS3Error):
    """The response is a problem; it may have happened if the status says that the service, or S3, failed."""

    def __init__(self, status: int, document: dict[str, Any]) -> None:
        super().__init__(f"{status} {document.get('title')}: {document.get('detail')}")
        self.status = status

    @property
    def may_have_happened(self) -> bool:
        return self.status >= 500


async def _store_of_the_call() -> ConfigStore:
    return _STORE.get()


@contextmanager
def serving_the_calls() -> Iterator[None]:
    """Let the application serve the store of each call."""
    app = shared_app()
    app.dependency_overrides[get_configs] = _store_of_the_call
    try:
        yield
    finally:
        app.dependency_overrides.clear()


def _requesting(name: str) -> Callable[[ConfigStore], Awaitable[Any]]:
    prefix, endpoint = next((prefix, each) for prefix, each in GUARDED if each.call.__name__ == name)
    sample = SAMPLES[name]
    found = {"write_id": LOST, "backup": stored().backup.strip("/").rpartition("/")[2]}
    path = {key: found.get(key, value) for key, value in sample.path.items()}
    environment = "retired" if name == "remove_environment" else "production"
    values = {"environment": environment, "tool": "loki" if name == "get_outcome" else "prometheus", **path}
    url = prefix + endpoint.path.replace(":path}", "}").format(**values)

    async def call(store: ConfigStore) -> Any:
        return await _answer(store, endpoint.method, url, **sample.arguments)

    return call


async def _answer(store: ConfigStore, method: str, url: str, **arguments: Any) -> Any:
    _STORE.set(store)
    async with client_of(shared_app()) as client:
        response = await client.request(method, url, **arguments)
    assert BUCKET.encode() not in response.content, "the bucket's name is nobody's business"
    if response.status_code >= 400:
        assert response.headers["content-type"] == "application/problem+json", response.text
        raise ProblemAnswered(response.status_code, response.json())
    if method != "GET":
        return response.status_code  # the document has a new write id, and the time
    return response.status_code, re.sub(rb'"age_seconds":[^,}]*', b"", response.content)


async def _deploy(store: ConfigStore) -> Any:
    plan = await store.plan_deploy("staging", "production")
    url = f"/api/environments/production/deploys/{plan.hash[:16]}"
    return await _answer(store, "POST", url, json={"hash": plan.hash}, params={"source": "staging"})


async def _watch(store: ConfigStore) -> Any:
    _STORE.set(store)
    url = "/api/environments/production/watch?interval=1"
    async with visiting(shared_app(), url, headers={"Last-Event-ID": "0"}) as visit:
        waiting = asyncio.ensure_future(visit.read_until("\n\nid: 1\n"))
        await asyncio.wait({waiting, visit.task}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            waiting.cancel()
            raise ProblemAnswered(visit.status or 0, {"detail": "no stream"})
        text = await visit.read_until("\n\n")
        document = json.loads(text.partition("data: ")[2])
        return document["sequence"], document["action"]


_CHANGING = {
    "put_settings", "freeze", "thaw", "get_outcome", "roll_back", "mark_good", "put_file", "put_bundle", "remove_bundle",
    "remove_environment", "back_up", "drill_backup", "restore_backup",
}  # fmt: skip
_IN_STEPS = {"drill_backup", "restore_backup"}
_NOTHING_READ = {"validate_file", "validate_bundle", "new_write_id", "delete_file", "http_sd", "watch", "deploy"}
"""Routes that send nothing to S3, or have a call of their own here, or read files as another route does."""


def http_verbs() -> tuple[StoreVerb, ...]:
    """A call for each route that reads or writes."""
    names = [each.call.__name__ for _, each in GUARDED if each.call.__name__ not in _NOTHING_READ]
    return (
        *(
            StoreVerb(f"HTTP {name}", _requesting(name), changes=name in _CHANGING, in_steps=name in _IN_STEPS)
            for name in names
        ),
        StoreVerb("HTTP deploy", _deploy, changes=True),
        StoreVerb("HTTP watch", _watch, endures=True),
    )
