"""A complete setup: a protected bucket, configurations of two tools given as mappings, a backup of each, and metrics.

Runs on AWS, or on the S3-compatible server that AWS_ENDPOINT_URL names. moto, which ignores the conditions of the
bucket's policy, refuses its uploads.
"""

import asyncio
import os
import uuid
from typing import Any

from apm_s3 import S3Manager, Tool, apm_bucket_name, validate_config

CONFIGURATIONS: dict[Tool, dict[str, Any]] = {
    "prometheus": {
        "global": {"scrape_interval": "15s"},
        "scrape_configs": [{"job_name": "prometheus", "static_configs": [{"targets": ["localhost:9090"]}]}],
    },
    "grafana": {
        "server": {"http_port": 3000},
        "database": {"type": "sqlite3"},
    },
}


async def main() -> None:
    """Upload both configurations, read them back and back them up."""
    bucket = f"{apm_bucket_name('staging', 'configs')}-{uuid.uuid4().hex[:8]}"
    async with S3Manager(region="us-east-1", endpoint_url=os.environ.get("AWS_ENDPOINT_URL")) as s3:
        plan = await s3.create_apm_bucket(bucket, "staging", "all", "configs", unsupported="warn")
        for warning in plan.warnings:
            print("warning:", warning)
        try:
            configs = s3.configs(bucket)
            for tool, configuration in CONFIGURATIONS.items():
                report = validate_config(tool, configuration)
                if not report.ok:
                    print(report)
                    continue
                release = await configs.upload(tool, "staging", configuration, author="setup", message="First version")
                file = await configs.download(tool, "staging")
                print(f"{tool}: revision {release.revision}, {file.name}, {file.size} bytes")
                print(file.text)
                backup = await configs.backup(tool, "staging")
                print(f"backup: {backup.key}")
            print(f"{s3.metrics.snapshot().overall.total} operations on S3 in all")
        finally:
            await s3.delete_bucket(bucket, force=True)


if __name__ == "__main__":
    asyncio.run(main())
