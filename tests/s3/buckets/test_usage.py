"""The usage of a bucket."""

from __future__ import annotations

import pytest

from apm_s3 import S3Manager
from apm_s3.errors import BucketNotFound
from apm_s3.models import Usage
from apm_s3.options import BucketOptions, Versioning
from tests.seams.s3 import belongs_to
from tests.seams.transports import Clients


@pytest.mark.parametrize(
    ("key", "owner"),
    [
        ("configs/production/prometheus/blobs/abc", ("production", "prometheus")),
        ("configs/production/current.json", ("production", "")),
        ("live/staging/loki/loki.yaml", ("staging", "loki")),
        ("backups/staging/2030-x/manifest.json", ("staging", "")),
        ("team/configs/dev/grafana/blobs/x", ("dev", "grafana")),
        ("configs", ("", "")),
        ("configs/x", ("", "")),
        ("other/production/prometheus/x", ("", "")),
        ("temp/x", ("", "")),
    ],
)
def test_a_key_belongs_to_an_environment_and_a_tool(key: str, owner: tuple[str, str]) -> None:
    assert belongs_to(key, ("team/", "")) == owner


async def test_usage_counts_versions_by_class_environment_and_tool(
    buckets: S3Manager, clients: Clients, bucket_name: str
) -> None:
    await buckets.create_bucket(bucket_name, BucketOptions(versioning=Versioning()))
    for key, size in [
        ("configs/production/current.json", 5),
        ("configs/production/current.json", 7),
        ("configs/production/prometheus/blobs/a", 10),
        ("configs/staging/loki/blobs/b", 20),
        ("live/staging/loki/loki.yaml", 20),
        ("backups/staging/x/manifest.json", 3),
        ("readme", 1),
    ]:
        await clients.call("put_object", Bucket=bucket_name, Key=key, Body=b"x" * size)
    await clients.call("put_object", Bucket=bucket_name, Key="cold", Body=b"xx", StorageClass="STANDARD_IA")
    await clients.call("delete_object", Bucket=bucket_name, Key="readme")

    usage = await buckets.bucket_usage(bucket_name)

    assert usage.total == Usage(8, 68)
    assert usage.noncurrent == Usage(2, 6)
    assert usage.delete_markers == 1
    assert usage.by_storage_class == {"STANDARD": Usage(7, 66), "STANDARD_IA": Usage(1, 2)}
    assert usage.by_environment == {"": Usage(2, 3), "production": Usage(3, 22), "staging": Usage(3, 43)}
    assert usage.by_tool == {"": Usage(5, 18), "loki": Usage(2, 40), "prometheus": Usage(1, 10)}


async def test_usage_of_many_folders_counts_each_object_once(
    moto_buckets: S3Manager, moto_clients: Clients, bucket_name: str
) -> None:
    await moto_buckets.create_bucket(bucket_name)
    for number in range(40):
        await moto_clients.call("put_object", Bucket=bucket_name, Key=f"folder-{number}/x", Body=b"xx")

    assert (await moto_buckets.bucket_usage(bucket_name)).total == Usage(40, 80)


async def test_usage_of_a_missing_bucket_is_an_error(buckets: S3Manager, bucket_name: str) -> None:
    with pytest.raises(BucketNotFound, match=bucket_name):
        await buckets.bucket_usage(bucket_name)
