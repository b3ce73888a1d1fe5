"""An application that uses aioboto3 already: its session is shared, and never closed by this library.

Needs the extra `aioboto3`. Runs on AWS, or on the S3-compatible server that AWS_ENDPOINT_URL names.
"""

import asyncio
import os
import uuid

import aioboto3

from apm_s3 import S3Manager


async def main() -> None:
    """Use one session for both."""
    bucket, endpoint = f"apm-shared-{uuid.uuid4().hex[:8]}", os.environ.get("AWS_ENDPOINT_URL")
    session = aioboto3.Session(region_name="us-east-1")  # its profile, credentials and assumed roles apply to both
    async with session.client("s3", endpoint_url=endpoint) as client:
        async with S3Manager(session=session, endpoint_url=endpoint) as s3:
            await s3.create_bucket(bucket)
            release = await s3.configs(bucket).upload("prometheus", "staging", "scrape_configs: []\n")
            print("revision", release.revision)
        page = await client.list_objects_v2(Bucket=bucket, Prefix="live/")
        print([item["Key"] for item in page["Contents"]])
    async with S3Manager(session=session, endpoint_url=endpoint) as s3:
        await s3.delete_bucket(bucket, force=True)


if __name__ == "__main__":
    asyncio.run(main())
