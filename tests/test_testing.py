"""What users get for their own tests: a bucket in memory that fails to order, an embedded server, pytest fixtures."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from apm_s3 import ConfigStore, S3Manager
from apm_s3.errors import AccessDenied, ConnectionLost, Throttled
from apm_s3.testing import EmbeddedServer, MemoryObjects, embedded_server
from tests.configs.samples import LOKI, OTHER_LOKI


@pytest.fixture
def objects() -> MemoryObjects:
    return MemoryObjects()


@pytest.fixture(scope="module")
def embedded() -> EmbeddedServer:
    with embedded_server() as server:
        yield server


async def test_a_request_fails_as_often_as_configured(objects: MemoryObjects) -> None:
    objects.will_fail("put", Throttled("slow down", status=503), times=2)

    for _ in range(2):
        with pytest.raises(Throttled):
            await objects.put("key", b"text")
    await objects.put("key", b"text")

    assert (await objects.read("key"))[1] == b"text"


async def test_an_injected_failure_applies_to_its_keys_and_kind_of_request(objects: MemoryObjects) -> None:
    objects.will_fail("read", AccessDenied("no", status=403), key="secret", times=None)
    await objects.put("a/secret", b"")
    await objects.put("a/public", b"")

    assert await objects.read("a/public")
    assert await objects.head("a/secret")
    for _ in range(2):
        with pytest.raises(AccessDenied):
            await objects.read("a/secret")


async def test_a_request_that_was_carried_out_took_effect_even_if_the_response_is_lost(objects: MemoryObjects) -> None:
    objects.will_fail("put", ConnectionLost("no answer"), carried_out=True)
    objects.will_fail("delete", ConnectionLost("no answer"), key="key", carried_out=True)

    with pytest.raises(ConnectionLost):
        await objects.put("key", b"text")
    assert (await objects.read("key"))[1] == b"text"
    with pytest.raises(ConnectionLost):
        await objects.delete(["key"])

    assert objects.objects == {}


async def test_a_store_finds_out_that_a_commit_with_a_lost_response_has_won(objects: MemoryObjects) -> None:
    store = ConfigStore(objects)
    await store.upload("loki", "staging", LOKI)
    objects.will_fail("put", ConnectionLost("no answer"), key="current.json", carried_out=True)

    release = await store.upload("loki", "staging", OTHER_LOKI)

    assert release.revision == 2
    assert (await store.download("loki", "staging")).text == OTHER_LOKI


async def test_an_embedded_server_can_be_emptied(embedded: EmbeddedServer) -> None:
    async with S3Manager(
        region=embedded.region, endpoint_url=embedded.endpoint_url, credentials=embedded.credentials
    ) as s3:
        await s3.create_bucket("bucket")
        embedded.reset()

        assert not await s3.bucket_exists("bucket")


def test_a_response_of_the_embedded_server_has_no_header_twice(embedded: EmbeddedServer) -> None:
    # With `python -X dev`, aiohttp refuses a second Server header.
    with urllib.request.urlopen(embedded.endpoint_url) as response:
        names = [name.lower() for name in response.headers]

    assert {"server", "date"} <= set(names)
    assert len(names) == len(set(names))


def test_pytest_offers_the_fixtures(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        "from apm_s3 import ConfigStore\n"
        "def test_server(apm_s3_server):\n"
        "    assert apm_s3_server.endpoint_url.startswith('http://127.0.0.1:')\n"
        "def test_store(apm_s3_objects):\n"
        "    assert ConfigStore(apm_s3_objects).bucket == 'memory'\n"
    )

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "apm_s3.testing._pytest_plugin", tmp_path],
        cwd=tmp_path, env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PATH": ""}, capture_output=True, text=True,
    )  # fmt: skip

    assert "2 passed" in done.stdout, done.stdout + done.stderr
