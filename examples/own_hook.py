"""A hook of your own: called after each operation, for whatever the exporters do not cover.

This one keeps the slowest operations and counts bytes by tool. Runs on AWS, or on the S3-compatible server that
AWS_ENDPOINT_URL names.
"""

import asyncio
import heapq
import os
import uuid
from collections import Counter

from apm_s3 import S3Manager
from apm_s3.events import OperationEvent, Outcome


class Slowest:
    """Remembers the slowest operations. It runs in the event loop, so it must be quick and must not block."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.found: list[tuple[float, str, str | None]] = []
        self.bytes_by_tool: Counter[str] = Counter()

    def __call__(self, event: OperationEvent) -> None:
        """Take one event; an attempt that is repeated is an event too."""
        if event.outcome is Outcome.RETRY:
            return
        self.bytes_by_tool[event.tool or "-"] += event.bytes_sent + event.bytes_received
        heapq.heappush(self.found, (event.duration, event.operation, event.key))
        if len(self.found) > self._size:
            heapq.heappop(self.found)


async def main() -> None:
    """Work a little, then show what the hook saw."""
    bucket, hook = f"apm-hook-{uuid.uuid4().hex[:8]}", Slowest(5)
    async with S3Manager(region="us-east-1", endpoint_url=os.environ.get("AWS_ENDPOINT_URL"), hooks=[hook]) as s3:
        await s3.create_bucket(bucket)
        try:
            configs = s3.configs(bucket)
            for number in range(5):
                await configs.upload("prometheus", "staging", f"scrape_configs: [{{job_name: job-{number}}}]\n")
            await configs.download_bundle("prometheus", "staging", revision=1)
        finally:
            await s3.delete_bucket(bucket, force=True)
    for duration, operation, key in sorted(hook.found, reverse=True):
        print(f"{duration * 1000:8.1f} ms  {operation}  {key or ''}")
    print(dict(hook.bytes_by_tool))


if __name__ == "__main__":
    asyncio.run(main())
