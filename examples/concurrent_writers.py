"""Ten concurrent writers each add a scrape job to one configuration, and no job is lost.

A writer that builds on an outdated revision gets a RevisionConflict, reads the configuration again and retries.
Runs on AWS, or on the S3-compatible server that AWS_ENDPOINT_URL names.
"""

import asyncio
import os
import uuid

from apm_s3 import ConfigStore, RevisionConflict, S3Manager

WRITERS = 10


async def add_job(configs: ConfigStore, name: str) -> int:
    """Add a scrape job while others do the same, and return the number of tries."""
    for tries in range(1, 10 * WRITERS):
        file = await configs.download("prometheus", "staging")
        text = f'{file.text}  - job_name: {name}\n    static_configs: [{{targets: ["{name}:8080"]}}]\n'
        try:
            await configs.upload("prometheus", "staging", text, author=name, expect_revision=file.revision)
        except RevisionConflict:
            continue
        return tries
    raise RuntimeError(f"{name} did not succeed")


async def main() -> None:
    """Run the writers, then count the jobs."""
    bucket = f"apm-writers-{uuid.uuid4().hex[:8]}"
    async with S3Manager(region="us-east-1", endpoint_url=os.environ.get("AWS_ENDPOINT_URL")) as s3:
        await s3.create_bucket(bucket)
        try:
            configs = s3.configs(bucket)
            await configs.upload("prometheus", "staging", "scrape_configs:\n  - job_name: prometheus\n")
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(add_job(configs, f"service-{number}")) for number in range(WRITERS)]
            print("tries:", [task.result() for task in tasks])

            file = await configs.download("prometheus", "staging")
            jobs = [job["job_name"] for job in file.data["scrape_configs"]]
            print(f"revision {file.revision}: {len(jobs)} jobs")
            if len(jobs) != WRITERS + 1:
                raise SystemExit("an update was lost")
        finally:
            await s3.delete_bucket(bucket, force=True)


if __name__ == "__main__":
    asyncio.run(main())
