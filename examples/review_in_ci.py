"""A deploy in two jobs of a pipeline: one plans and prints for review, the other carries out exactly that plan.

Runs on AWS, or on the S3-compatible server that AWS_ENDPOINT_URL names. On the command line, the same is `apm-s3 config
plan --out FILE` and `apm-s3 config deploy FILE`.
"""

import asyncio
import json
import os
import tempfile
import uuid
from pathlib import Path

from apm_s3 import ConfigStore, S3Manager
from apm_s3.configs import DeployPlan
from apm_s3.errors import PlanOutdated


async def plan_job(configs: ConfigStore, file: Path) -> None:
    """Plan, print what would change, and keep the plan: an artefact of the pipeline, without secrets."""
    plan = await configs.plan_deploy("staging", "production", create=True)
    for each in plan.tools:
        print(each.tool, "; ".join(each.blocked) or "ready")
        print(each.diff or "")
    file.write_text(json.dumps(plan.to_dict()))


async def deploy_job(configs: ConfigStore, file: Path) -> None:
    """Carry out what was reviewed. If either side has changed since, nothing happens."""
    plan = DeployPlan.from_dict(json.loads(file.read_text()))
    result = await configs.deploy(plan, author="pipeline", message=f"Reviewed plan {plan.hash[:12]}")
    print("deployed", [(release.tool, release.revision) for release in result.releases])


async def main() -> None:
    """Run both jobs, then try to use a plan that is out of date."""
    bucket = f"apm-review-{uuid.uuid4().hex[:8]}"
    async with S3Manager(region="us-east-1", endpoint_url=os.environ.get("AWS_ENDPOINT_URL")) as s3:
        await s3.create_bucket(bucket)
        try:
            configs = s3.configs(bucket)
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder, "deploy.plan")
                await configs.upload("prometheus", "staging", "scrape_configs: [{job_name: api}]\n")
                await plan_job(configs, file)
                await deploy_job(configs, file)

                await configs.upload("prometheus", "staging", "scrape_configs: [{job_name: web}]\n")
                await plan_job(configs, file)
                await configs.upload("prometheus", "staging", "scrape_configs: [{job_name: later}]\n")
                try:
                    await deploy_job(configs, file)
                except PlanOutdated as error:
                    print("refused:", error.problem)
        finally:
            await s3.delete_bucket(bucket, force=True)


if __name__ == "__main__":
    asyncio.run(main())
