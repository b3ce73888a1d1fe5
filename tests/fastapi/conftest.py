"""`store` has configurations in production and staging; `client` may do everything with it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from functools import cache

import httpx
import pytest
from fastapi import FastAPI

from apm_s3.configs import ConfigStore
from apm_s3.models import FileInfo
from tests.configs.samples import LOKI, PROMETHEUS
from tests.fastapi.applications import CountedObjects, client_of, serving

SECRET = "hunter2-is-secret"
ALERTMANAGER = f"""\
route: {{receiver: ops}}
receivers:
  - name: ops
    webhook_configs:
      - url: http://example.org/hook
        http_config:
          basic_auth: {{username: ops, password: {SECRET}}}
"""


@pytest.fixture
def objects() -> CountedObjects:
    return CountedObjects()


@cache
def filled() -> dict[str, tuple[FileInfo, bytes]]:
    """What a bucket holds after four uploads."""
    objects = CountedObjects()

    async def fill() -> None:
        store = ConfigStore(objects, "team-a/")
        await store.upload("prometheus", "production", PROMETHEUS, author="setup")
        await store.upload("prometheus", "staging", PROMETHEUS, author="setup")
        await store.upload("loki", "staging", LOKI, author="setup")
        await store.upload("alertmanager", "production", ALERTMANAGER, author="setup")

    thread = threading.Thread(target=asyncio.run, args=(fill(),))
    thread.start()
    thread.join()
    return objects.objects


@pytest.fixture
def store(objects: CountedObjects) -> ConfigStore:
    objects.objects.update(filled())
    return ConfigStore(objects, "team-a/")


@pytest.fixture
def app(store: ConfigStore) -> Iterator[FastAPI]:
    with serving(store) as app:
        yield app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app) as client:
        yield client
