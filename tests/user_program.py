"""A program of a user: `nox -s packages` checks its types, and runs it with warnings as errors, on the installed package."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI

from apm_s3 import (
    BucketOptions,
    ConfigInvalid,
    Credentials,
    ObjectNotFound,
    Release,
    RevisionConflict,
    S3Manager,
    S3Settings,
    Timeouts,
    UploadOptions,
    validate_config,
)
from apm_s3.fastapi import Action, Permission, Principal, config_router, s3_lifespan
from apm_s3.options import Encryption, Lifecycle, LifecycleRule, Tags, Versioning
from apm_s3.testing import embedded_server

BUCKET = "user-program"
GOOD, WRONG = "scrape_configs: []\n", "scrape_config: []\n"


def authorize() -> Principal:
    """Let everybody read."""
    return Principal.granted("ada", Permission(Action.READ))


def service() -> FastAPI:
    """Build a service; nothing serves it."""
    app = FastAPI(lifespan=s3_lifespan(BUCKET))
    app.include_router(config_router(authorize=authorize), prefix="/configs")
    return app


async def objects(s3: S3Manager) -> bytes:
    """Store an object, and look for one that is not there."""
    await s3.upload_file(BUCKET, "notes/a.txt", b"text", UploadOptions(content_type="text/plain"))
    try:
        await s3.head_file(BUCKET, "notes/b.txt")
    except ObjectNotFound as missing:
        print(missing.code, missing.key)
    return await s3.read_file(BUCKET, "notes/a.txt")


async def configurations(s3: S3Manager) -> tuple[Release, ...]:
    """Upload, be refused twice, and go back."""
    configs = s3.configs(BUCKET)
    first = await configs.upload("prometheus", "staging", GOOD, author="ada", message="First")
    try:
        await configs.upload("prometheus", "staging", WRONG)
    except ConfigInvalid as refused:
        print([issue.rule for issue in refused.report.issues])
    await configs.upload("prometheus", "staging", GOOD + "# more\n", expect_revision=first.revision)
    try:
        await configs.upload("prometheus", "staging", GOOD, expect_revision=first.revision)
    except RevisionConflict as lost:
        print(lost.current_revision)
    await configs.rollback("prometheus", "staging", to_revision=first.revision, author="ada", message="Undo")
    plan = await configs.plan_deploy("staging", "production", create=True)
    await configs.deploy(plan, author="ada", message="Release")
    return await configs.history("prometheus", "staging")


async def main() -> None:
    """Do all of it on an embedded server."""
    with embedded_server() as server:
        settings = S3Settings(max_concurrency=8, timeouts=Timeouts(connect=5))
        async with S3Manager(
            region="us-east-1",
            endpoint_url=server.endpoint_url,
            credentials=Credentials("key", "secret"),
            settings=settings,
        ) as s3:
            expiry = Lifecycle(rules=(LifecycleRule(id="old", expire_days=30),))
            options = BucketOptions(
                versioning=Versioning(), encryption=Encryption(), lifecycle=expiry, tags=Tags({"team": "sre"})
            )
            await s3.create_bucket(BUCKET, options)
            print((await objects(s3)).decode(), [release.revision for release in await configurations(s3)])
            await s3.delete_bucket(BUCKET, force=True)
    print(validate_config("prometheus", WRONG).ok, len(service().routes) > 0)


if __name__ == "__main__":
    asyncio.run(main())
