"""The Python code of the documentation runs, block after block, and prints what the page says."""

from __future__ import annotations

import ast
import inspect
import io
import re
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from apm_s3 import ConfigStore
from apm_s3.testing import MemoryObjects
from tests.managers import make_manager
from tests.servers import Server

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```\n)?", re.MULTILINE | re.DOTALL)
PROMETHEUS = "scrape_configs: [{job_name: api}]\n"
MAIN = "scrape_configs: [{job_name: prometheus}]\n"
RULES = "groups: [{name: node, rules: [{record: up:sum, expr: sum(up)}]}]\n"
Names = dict[str, Any]


class Buckets:
    """Stands for a manager whose stores are in memory."""

    def __init__(self, **buckets: MemoryObjects) -> None:
        self._buckets = buckets

    def configs(self, bucket: str, *, failover: bool = False) -> ConfigStore:
        name = bucket.rpartition("-")[2]
        return ConfigStore(self._buckets.setdefault(name, MemoryObjects(bucket)), failover=failover)


async def nothing(_: AsyncExitStack, __: Server) -> Names:
    return {}


async def a_store(_: AsyncExitStack, __: Server) -> Names:
    configs = ConfigStore(MemoryObjects())
    await configs.upload("prometheus", "production", PROMETHEUS)
    return {"configs": configs}


async def two_regions(_: AsyncExitStack, __: Server) -> Names:
    production = MemoryObjects("apm-production-configs")
    await ConfigStore(production).upload("prometheus", "production", PROMETHEUS)
    return {"s3": Buckets(configs=production), "s3_elsewhere": Buckets(replica=production)}


async def two_servers(stack: AsyncExitStack, server: Server) -> Names:
    source = await stack.enter_async_context(make_manager(server))
    target = await stack.enter_async_context(make_manager(server))
    for bucket in ("apm-configs", "apm-configs-new"):
        await source.create_bucket(bucket)
        stack.push_async_callback(source.delete_bucket, bucket, force=True)
    await source.configs("apm-configs").upload("prometheus", "production", PROMETHEUS)
    return {"source": source, "target": target}


async def two_servers_with_logs(stack: AsyncExitStack, server: Server) -> Names:
    old = await stack.enter_async_context(make_manager(server))
    new = await stack.enter_async_context(make_manager(server))
    for bucket, bodies in (("apm-logs", (b"text",) * 3), ("apm-archive", (b"text", b"old text"))):
        await old.create_bucket(bucket)
        stack.push_async_callback(old.delete_bucket, bucket, force=True)
        folder = "2024" if bucket == "apm-logs" else "logs"
        for number, body in enumerate(bodies):
            await old.upload_file(bucket, f"{folder}/{number}.txt", body)
    return {"old": old, "new": new}


async def a_bucket(stack: AsyncExitStack, server: Server) -> Names:
    Path("examples").symlink_to(DOCS.parent / "examples")
    bucket = f"apm-docs-{uuid.uuid4().hex[:12]}"
    s3 = await stack.enter_async_context(make_manager(server))
    await s3.create_bucket(bucket)
    stack.push_async_callback(s3.delete_bucket, bucket, force=True)
    return {"s3": s3, "bucket": bucket, "configs": s3.configs(bucket), "PROMETHEUS": MAIN, "RULES": RULES}


async def a_bucket_with_releases(stack: AsyncExitStack, server: Server) -> Names:
    names = await a_bucket(stack, server)
    await names["configs"].upload("prometheus", "production", MAIN)
    return names


PAGES: dict[str, Callable[[AsyncExitStack, Server], Awaitable[Names]]] = {
    "buckets-and-objects.md": a_bucket,
    "caching.md": a_bucket_with_releases,
    "configurations.md": a_bucket,
    "fastapi.md": nothing,
    "leaving-minio.md": two_servers,
    "migration.md": two_servers_with_logs,
    "regions.md": two_regions,
    "secrets.md": a_store,
    "testing.md": nothing,
    "tutorial.md": nothing,
    "validation.md": nothing,
}


@pytest.mark.parametrize("page", PAGES)
async def test_the_code_of_a_page_runs_and_prints_what_the_page_says(
    page: str, seaweedfs: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (DOCS / page).read_text()
    async with AsyncExitStack() as stack:
        names = await PAGES[page](stack, seaweedfs)
        for block in BLOCK.finditer(text):
            await run_block(block, f"{page}:{text.count(chr(10), 0, block.start())}", names)


async def run_block(block: re.Match[str], place: str, names: Names) -> None:
    """Run a block as at a prompt; `...` in its output stands for anything."""
    code = compile(block["code"], place, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    printed = io.StringIO()
    with redirect_stdout(printed):
        if inspect.isawaitable(running := eval(code, names)):
            await running
    if block["output"] is not None:
        pattern = re.escape(block["output"]).replace(r"\.\.\.", ".*")
        assert re.fullmatch(pattern, printed.getvalue(), re.DOTALL), f"{place} prints:\n{printed.getvalue()}"
