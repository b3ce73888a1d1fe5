"""From staging to production: plan, look at the diff, deploy two tools in one commit, back up, restore.

Runs on AWS, or on the S3-compatible server that AWS_ENDPOINT_URL names.
"""

import asyncio
import os
import uuid
from pathlib import Path

from apm_s3 import S3Manager

CONFIGS = Path(__file__).parent / "configs"


def bundle(tool: str) -> dict[str, Path]:
    """Return the files of an example configuration by their names in the bundle."""
    folder = CONFIGS / tool
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


async def main() -> None:
    """Deploy, make a mistake, restore."""
    bucket = f"apm-promote-{uuid.uuid4().hex[:8]}"
    async with S3Manager(region="us-east-1", endpoint_url=os.environ.get("AWS_ENDPOINT_URL")) as s3:
        await s3.create_bucket(bucket)
        try:
            configs = s3.configs(bucket)
            for tool in ("prometheus", "alertmanager"):
                await configs.upload(tool, "staging", files=bundle(tool), author="ada", message="Ready")

            plan = await configs.plan_deploy("staging", "production", create=True)
            for each in plan.tools:
                print(f"{each.tool} revision {each.source.revision}:", "; ".join(each.blocked) or "ready")
            await configs.deploy(plan, author="ada", message="Release 1")
            backup = await configs.backup(None, "production", author="ada", message="After release 1")

            await configs.upload("prometheus", "production", "scrape_configs: []\n", author="bob", message="Oops")
            restored = await configs.restore(backup.key, tool="prometheus", author="ada", message="Undo")
            for release in await configs.history("prometheus", "production"):
                print(release.revision, release.origin.action, release.author, release.message)
            if restored.files.keys() != bundle("prometheus").keys():
                raise SystemExit("the restore did not bring back every file")
        finally:
            await s3.delete_bucket(bucket, force=True)


if __name__ == "__main__":
    asyncio.run(main())
