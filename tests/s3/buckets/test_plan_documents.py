"""Bucket plans as documents: approved elsewhere, and carried out only if they are still valid."""

import json

import pytest

from apm_s3.configs import DeployPlan
from apm_s3.errors import InvalidOption, PlanOutdated
from apm_s3.models import BucketPlan, PlanDocument
from apm_s3.options import BucketOptions, Tags, Versioning
from tests.managers import make_manager
from tests.servers import Server

OPTIONS = BucketOptions(versioning=Versioning(), tags=Tags({"team": "a-secret-name"}))


def sent(plan: BucketPlan) -> PlanDocument:
    return BucketPlan.from_dict(json.loads(json.dumps(plan.to_dict())))


async def test_a_saved_bucket_plan_is_applied_once(moto: Server, bucket_name: str) -> None:
    async with make_manager(moto) as s3:
        plan = await s3.plan_bucket(bucket_name, OPTIONS)
        back = sent(plan)

        done = await s3.ensure_bucket(bucket_name, OPTIONS, plan=back)

        assert (back.hash, done.create) == (plan.hash, True)
        with pytest.raises(PlanOutdated, match="create was true and is false"):
            await s3.ensure_bucket(bucket_name, OPTIONS, plan=plan)


async def test_an_outdated_bucket_plan_changes_nothing(moto: Server, bucket_name: str) -> None:
    async with make_manager(moto) as s3:
        await s3.create_bucket(bucket_name)
        back = sent(await s3.plan_bucket(bucket_name, OPTIONS))
        await s3.set_setting(bucket_name, Tags({"team": "b"}))

        with pytest.raises(PlanOutdated) as refused:
            await s3.ensure_bucket(bucket_name, OPTIONS, plan=back)

        assert len(refused.value.changes) == 1
        assert await s3.get_setting(bucket_name, Tags) == Tags({"team": "b"})


async def test_a_bucket_plan_for_other_options_is_refused(moto: Server, bucket_name: str) -> None:
    async with make_manager(moto) as s3:
        back = sent(await s3.plan_bucket(bucket_name, OPTIONS))

        with pytest.raises(PlanOutdated):
            await s3.ensure_bucket(bucket_name, BucketOptions(tags=Tags({"team": "c"})), plan=back)
        assert not await s3.bucket_exists(bucket_name)


async def test_a_saved_bucket_plan_contains_no_values_of_settings(moto: Server, bucket_name: str) -> None:
    async with make_manager(moto) as s3:
        plan = await s3.plan_bucket(bucket_name, OPTIONS)

    assert "a-secret-name" not in json.dumps(plan.to_dict())
    with pytest.raises(InvalidOption):
        DeployPlan.from_dict(plan.to_dict())
