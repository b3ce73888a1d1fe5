"""A process that migrates, to be killed: `python -m tests.migration.child ENDPOINT JOURNAL [streamed]`."""

from __future__ import annotations

import asyncio
import sys

from apm_s3 import Credentials, S3Manager
from apm_s3.migration import migrate
from tests.migration.places import SOURCE, TARGET


async def main(endpoint: str, journal: str, streamed: bool) -> None:
    def manager() -> S3Manager:
        return S3Manager(region="us-east-1", endpoint_url=endpoint, credentials=Credentials("id", "secret"))

    async with manager() as one, manager() as other:
        report = await migrate(
            SOURCE, TARGET, source_s3=one, target_s3=other if streamed else one, journal=journal, concurrency=8
        )
    sys.stdout.write(f"{report}\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], len(sys.argv) > 3))
