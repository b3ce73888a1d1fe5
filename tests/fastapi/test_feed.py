"""The feed for tools and sidecars, and the metrics."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from apm_s3 import Credentials, S3Manager
from apm_s3.configs import ConfigStore
from apm_s3.fastapi import get_s3, metrics_router
from tests.configs.samples import OTHER_PROMETHEUS, PROMETHEUS
from tests.fastapi.applications import client_of
from tests.managers import SESSION

FEED = "/feed/production/prometheus"
TARGETS = '- targets: ["10.0.0.1:9100", "10.0.0.2:9100"]\n  labels: {job: node}\n- targets: []\n'


@pytest.fixture
async def feed(app: FastAPI, store: ConfigStore) -> AsyncIterator[httpx.AsyncClient]:
    """A tool, with a token for the feed only."""
    files = {"prometheus.yml": PROMETHEUS, "targets/node.yml": TARGETS, ".apm/overlay.yml": "{}\n"}
    await store.upload("prometheus", "production", files=files)
    async with client_of(app, "feed-token") as client:
        yield client


async def test_a_sidecar_reads_the_index_and_then_the_files_of_that_moment(
    feed: httpx.AsyncClient, store: ConfigStore
) -> None:
    index = await feed.get(f"{FEED}/")
    revision = index.json()["revision"]
    await store.upload("prometheus", "production", OTHER_PROMETHEUS)

    for entry in index.json()["files"]:
        url = index.url.join(f"files/{entry['name']}")
        file = await feed.get(url, params={"revision": revision})
        assert hashlib.sha256(file.content).hexdigest() == entry["sha256"]
        assert (len(file.content), file.headers["x-config-revision"]) == (entry["size"], str(revision))
    assert [entry["name"] for entry in index.json()["files"]] == ["prometheus.yml", "targets/node.yml"]


async def test_nothing_is_sent_twice(feed: httpx.AsyncClient) -> None:
    for path in ("", "files/prometheus.yml", "bundle.tar", "http_sd/targets/node.yml"):
        etag = (await feed.get(f"{FEED}/{path}")).headers["etag"]
        again = await feed.get(f"{FEED}/{path}", headers={"If-None-Match": etag})
        assert (path, again.status_code, again.content) == (path, 304, b"")
        assert again.headers["x-config-revision"] == "2"


async def test_a_bundle_is_of_one_moment(feed: httpx.AsyncClient) -> None:
    answer = await feed.get(f"{FEED}/bundle.tar")

    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        assert archive.getnames() == ["prometheus.yml", "targets/node.yml"]


async def test_prometheus_discovers_targets(feed: httpx.AsyncClient) -> None:
    answer = await feed.get(f"{FEED}/http_sd/targets/node.yml")

    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == [
        {"targets": ["10.0.0.1:9100", "10.0.0.2:9100"], "labels": {"job": "node"}},
        {"targets": [], "labels": {}},
    ]
    wrong = await feed.get(f"{FEED}/http_sd/prometheus.yml")
    assert (wrong.status_code, wrong.json()["type"]) == (409, "urn:apm-s3:problem:no-targets")


async def test_files_that_tools_do_not_read_are_not_fed(feed: httpx.AsyncClient) -> None:
    assert (await feed.get(f"{FEED}/files/.apm/overlay.yml")).status_code == 404
    assert (await feed.get(f"{FEED}/http_sd/.apm/overlay.yml")).status_code == 404


async def test_a_token_of_the_feed_opens_nothing_else(feed: httpx.AsyncClient) -> None:
    assert (await feed.get("/feed/production/alertmanager/")).status_code == 403
    assert (await feed.get("/api/environments/production/tools/prometheus")).status_code == 403


async def test_metrics_are_those_of_the_applications_manager() -> None:
    s3 = S3Manager(region="us-east-1", credentials=Credentials("key", "secret"), session=SESSION)
    app = FastAPI()
    app.include_router(metrics_router())
    app.dependency_overrides[get_s3] = lambda: s3
    async with client_of(app, None) as client:
        plain = await client.get("/metrics")
        open_metrics = await client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})

    names = {family.name for family in text_string_to_metric_families(plain.text)}
    assert "apm_s3_pool_in_use" in names
    assert all(name.startswith("apm_s3_") for name in names)
    assert plain.headers["content-type"].startswith("text/plain")
    assert open_metrics.headers["content-type"].startswith("application/openmetrics-text")
