"""What hooks are told of the requests of a store."""

from __future__ import annotations

from apm_s3.events import OperationEvent
from tests.managers import make_manager
from tests.servers import Server

LOKI = "schema_config: {configs: [{from: 2024-01-01, store: tsdb, object_store: s3, schema: v13}]}\n"


async def test_events_name_the_environment_and_the_tool(moto: Server, bucket_name: str) -> None:
    seen: list[OperationEvent] = []
    async with make_manager(moto, hooks=(seen.append,)) as s3:
        await s3.create_bucket(bucket_name)
        store = s3.configs(bucket_name, prefix="team/")
        await store.upload("loki", "staging", LOKI)
        await store.download("loki", "staging")

    named = {(event.operation, event.environment, event.tool) for event in seen}
    assert ("upload_file", "staging", None) in named  # the reference document is of all tools
    assert ("upload_file", "staging", "loki") in named
    assert ("download_file", "staging", "loki") in named
    assert {event.environment for event in seen if event.operation == "create_bucket"} == {None}
