"""A migration that is interrupted, and goes on where it was: bucket to bucket, every object verified.

Runs on AWS, or on the S3-compatible server that AWS_ENDPOINT_URL names.
"""

import asyncio
import os
import tempfile
import uuid
from pathlib import Path

from apm_s3 import S3Manager
from apm_s3.batch import UploadOp
from apm_s3.migration import MigrationProgress, migrate, plan_migration, verify_migration

OBJECTS = 200


async def main() -> None:
    """Fill a bucket, migrate half of it, resume, verify."""
    source, target = (f"apm-{side}-{uuid.uuid4().hex[:8]}" for side in ("old", "new"))
    places = f"s3://{source}/logs", f"s3://{target}/logs"
    async with S3Manager(region="us-east-1", endpoint_url=os.environ.get("AWS_ENDPOINT_URL")) as s3:
        with tempfile.TemporaryDirectory() as folder:
            journal = Path(folder, "logs.journal")
            try:
                await s3.create_bucket(source)
                await s3.create_bucket(target)
                uploads = (UploadOp(source, f"logs/{number:04}.txt", b"text") for number in range(OBJECTS))
                (await s3.batch(uploads)).raise_for_failures()

                print(await plan_migration(*places, source_s3=s3))  # writes nothing

                running = asyncio.create_task(
                    migrate(*places, source_s3=s3, journal=journal, concurrency=4, on_progress=half_way)
                )
                await asyncio.wait({running})
                print("interrupted:", running.cancelled())

                report = await migrate(*places, source_s3=s3, journal=journal)
                report.raise_for_failures()
                print(report)
                (await verify_migration(*places, source_s3=s3, journal=journal)).raise_for_failures()
            finally:
                for bucket in (source, target):
                    await s3.delete_bucket(bucket, force=True)


def half_way(progress: MigrationProgress) -> None:
    """Stop the first run when half of the objects are at the target: an impatient operator."""
    if progress.done >= OBJECTS // 2 and (task := asyncio.current_task()) is not None:
        task.cancel()


if __name__ == "__main__":
    asyncio.run(main())
