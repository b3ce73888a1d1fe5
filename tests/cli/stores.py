"""Configurations for the commands to work on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from apm_s3.configs import ConfigStore
from tests.cli.kit import Shell
from tests.managers import make_manager
from tests.servers import Server

PROMETHEUS = ["scrape_configs: []\n", "# second\nscrape_configs: []\n", "# third\nscrape_configs: []\n"]


def on_store(shell: Shell, work: Callable[[ConfigStore], Awaitable[Any]]) -> Any:
    """Do something with the store of a shell, behind the commands' back."""

    async def opened() -> Any:
        server = Server("memory", shell.environ["AWS_ENDPOINT_URL"])
        async with make_manager(server) as s3:
            return await work(s3.configs(shell.environ["APM_S3_BUCKET"]))

    return asyncio.run(opened())


async def three_revisions(store: ConfigStore) -> None:
    """Three revisions of Prometheus in staging; the first is marked good."""
    for number, text in enumerate(PROMETHEUS, start=1):
        await store.upload("prometheus", "staging", text, author="ada", message=f"Version {number}\nmore")
    await store.mark_good("prometheus", "staging", 1)
