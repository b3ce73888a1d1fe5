"""A service that reads its configuration at each request: from memory, at most five seconds old, with metrics.

Runs on AWS, or on the S3-compatible server that AWS_ENDPOINT_URL names.
"""

import asyncio
import os
import time
import uuid

from apm_s3 import CacheSettings, S3Manager, S3Settings

SETTINGS = S3Settings(cache=CacheSettings(current_staleness=5, stale_if_error=600))
READS = 20_000


async def main() -> None:
    """Read one configuration very often."""
    bucket = f"apm-reader-{uuid.uuid4().hex[:8]}"
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    async with S3Manager(region="us-east-1", endpoint_url=endpoint, settings=SETTINGS) as s3:
        await s3.create_bucket(bucket)
        try:
            configs = s3.configs(bucket)
            await configs.upload("prometheus", "production", "scrape_configs: [{job_name: api}]\n")

            start = time.perf_counter()
            for _ in range(READS):
                file = await configs.download("prometheus", "production")
            print(f"{READS / (time.perf_counter() - start):,.0f} reads a second of revision {file.revision}")

            # Own writes are visible at once, whatever the staleness.
            await configs.upload("prometheus", "production", "scrape_configs: [{job_name: web}]\n")
            file = await configs.download("prometheus", "production")
            print("after an upload: revision", file.revision)

            cache, metrics = s3.cache.stats(), s3.metrics.snapshot()
            print(f"hit rate {cache.hit_rate:.3f}, {cache.entries} entries of {cache.bytes} bytes")
            print(f"{metrics.overall.total} operations on S3 in all")
        finally:
            await s3.delete_bucket(bucket, force=True)


if __name__ == "__main__":
    asyncio.run(main())
