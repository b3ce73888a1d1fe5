"""ensure_bucket and create_bucket while other processes change, make or remove the same bucket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from apm_s3.errors import BucketNotFound, UnsupportedByServer
from apm_s3.options import BucketOptions, Cors, CorsRule, Tags, Versioning
from tests.s3.buckets.conftest import FaultyControl, make_buckets

OPTIONS = BucketOptions(
    versioning=Versioning(), tags=Tags({"team": "apm"}), cors=Cors((CorsRule(methods=("GET",), origins=("*",)),))
)


def undo_cors(control: FaultyControl, *, times: int) -> None:
    """Another process, on a server that stores all settings as one document, undoes what was written."""
    left = [times]

    async def undone(called: str, **params: Any) -> Mapping[str, Any]:
        control.calls.append(called)
        response = await control.clients.call(called, **params)
        if called == "put_bucket_cors" and left[0]:
            left[0] -= 1
            await control.clients.call("delete_bucket_cors", Bucket=params["Bucket"])
        return response

    control.call = undone  # type: ignore[method-assign]


@pytest.mark.parametrize("verb", ["create_bucket", "ensure_bucket"])
async def test_a_setting_reverted_by_another_process_is_written_again(
    control: FaultyControl, bucket_name: str, verb: str
) -> None:
    undo_cors(control, times=2)
    buckets = make_buckets(control.clients, control)

    await getattr(buckets, verb)(bucket_name, OPTIONS)

    assert (await buckets.plan_bucket(bucket_name, OPTIONS)).empty


async def test_a_setting_that_never_persists_counts_as_unsupported(control: FaultyControl, bucket_name: str) -> None:
    undo_cors(control, times=1000)

    with pytest.raises(UnsupportedByServer, match="Cors"):
        await make_buckets(control.clients, control).create_bucket(bucket_name, OPTIONS)

    assert control.calls.count("put_bucket_cors") == 4
    assert not await make_buckets(control.clients).bucket_exists(bucket_name)


@pytest.mark.parametrize("method", ["get_bucket_versioning", "put_bucket_versioning"])
async def test_ensure_waits_until_a_new_bucket_is_visible_everywhere(
    control: FaultyControl, bucket_name: str, method: str
) -> None:
    await make_buckets(control.clients).create_bucket(bucket_name)
    missed: list[str] = []

    def not_yet(called: str, params: Mapping[str, Any]) -> BaseException | None:
        if called != method or len(missed) == 2:
            return None
        missed.append(called)
        return BucketNotFound("not yet", status=404, s3_code="NoSuchBucket")

    control.before = not_yet

    plan = await make_buckets(control.clients, control).ensure_bucket(bucket_name, OPTIONS)

    assert len(missed) == 2
    assert not plan.create
    assert (await make_buckets(control.clients).plan_bucket(bucket_name, OPTIONS)).empty


async def test_ensure_creates_a_bucket_that_its_creator_removed_meanwhile(
    control: FaultyControl, bucket_name: str
) -> None:
    await make_buckets(control.clients).create_bucket(bucket_name)
    removed: list[str] = []

    async def removing(called: str, **params: Any) -> Mapping[str, Any]:
        if called == "put_bucket_versioning" and not removed:
            removed.append(bucket_name)
            await control.clients.call("delete_bucket", Bucket=bucket_name)
        return await control.clients.call(called, **params)

    control.call = removing  # type: ignore[method-assign]
    buckets = make_buckets(control.clients, control)

    plan = await buckets.ensure_bucket(bucket_name, OPTIONS)

    assert removed
    assert plan.create
    assert (await buckets.plan_bucket(bucket_name, OPTIONS)).empty
