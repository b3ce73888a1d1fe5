"""How to test code that uses a store: `pytest examples/test_my_service.py`. The fixtures come with apm_s3.

Needs the extra `testing`, pytest and pytest-asyncio.
"""

import pytest

from apm_s3 import ConfigStore, RevisionConflict, S3Manager
from apm_s3.errors import AccessDenied, ConnectionLost
from apm_s3.testing import EmbeddedServer, MemoryObjects

pytestmark = pytest.mark.asyncio
TEXT = "scrape_configs: [{job_name: api}]\n"


async def add_job(configs: ConfigStore, name: str) -> int:
    """The code under test: add a job to staging, whoever else writes at the same time."""
    while True:
        file = await configs.download("prometheus", "staging")
        file.data["scrape_configs"].append({"job_name": name})
        try:
            release = await configs.upload("prometheus", "staging", file.data, expect_revision=file.revision)
        except RevisionConflict:
            continue
        return release.revision


async def test_a_job_is_added(apm_s3_objects: MemoryObjects) -> None:
    configs = ConfigStore(apm_s3_objects)
    await configs.upload("prometheus", "staging", TEXT)

    assert await add_job(configs, "web") == 2
    assert len((await configs.download("prometheus", "staging")).data["scrape_configs"]) == 2


async def test_a_lost_response_adds_the_job_once(apm_s3_objects: MemoryObjects) -> None:
    configs = ConfigStore(apm_s3_objects)
    await configs.upload("prometheus", "staging", TEXT)
    apm_s3_objects.will_fail("put", ConnectionLost("reset"), key="current.json", carried_out=True)

    assert await add_job(configs, "web") == 2


async def test_without_permission_nothing_is_written(apm_s3_objects: MemoryObjects) -> None:
    configs = ConfigStore(apm_s3_objects)
    await configs.upload("prometheus", "staging", TEXT)
    apm_s3_objects.will_fail("put", AccessDenied("no", status=403), key="current.json")

    with pytest.raises(AccessDenied):
        await add_job(configs, "web")
    assert (await configs.download("prometheus", "staging")).revision == 1


async def test_it_works_with_a_server(apm_s3_server: EmbeddedServer) -> None:
    server = apm_s3_server
    async with S3Manager(endpoint_url=server.endpoint_url, credentials=server.credentials) as s3:
        await s3.create_bucket("bucket")
        configs = s3.configs("bucket")
        await configs.upload("prometheus", "staging", TEXT)

        assert await add_job(configs, "web") == 2
