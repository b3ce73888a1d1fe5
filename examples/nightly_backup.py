"""A nightly job: back up every environment into another bucket, prune old backups, and practise a restore.

Runs on AWS, or on the S3-compatible server that AWS_ENDPOINT_URL names. In production, `away` would be a manager in
another region, and the job would be started by a timer.
"""

import asyncio
import os
import uuid
from datetime import timedelta

from apm_s3 import ConfigStore, S3Manager


async def nightly(configs: ConfigStore, away: ConfigStore) -> None:
    """Back up, prune, and restore the newest backup of each environment into a place of its own."""
    for backup in await configs.backup_all(target=away, author="nightly", message="nightly"):
        print("backed up", backup.environment, sorted(backup.tools))
        await away.prune_backups(backup.environment, keep=14, older_than=timedelta(days=90))
    for environment in sorted({backup.environment for backup in await away.list_backups()}):
        newest = next(backup for backup in await away.list_backups(environment) if backup.damage is None)
        await away.restore_environment(newest.key, drill=True)
        print("drill passed for", environment)


async def main() -> None:
    """Run the job on two environments."""
    name = uuid.uuid4().hex[:8]
    main_bucket, backup_bucket = f"apm-configs-{name}", f"apm-backups-{name}"
    async with S3Manager(region="us-east-1", endpoint_url=os.environ.get("AWS_ENDPOINT_URL")) as s3:
        try:
            await s3.create_bucket(main_bucket)
            await s3.create_bucket(backup_bucket)
            configs = s3.configs(main_bucket)
            for environment in ("staging", "production"):
                await configs.upload("prometheus", environment, "scrape_configs: [{job_name: api}]\n")
            await nightly(configs, s3.configs(backup_bucket))
        finally:
            for bucket in (main_bucket, backup_bucket):
                await s3.delete_bucket(bucket, force=True)


if __name__ == "__main__":
    asyncio.run(main())
