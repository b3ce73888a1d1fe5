"""Routes as botocore's own requests show them. No server listens anywhere: learning sends nothing."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from tests.seams.transports import Route, learn_route, route_of

AUTHORIZATION = "AWS4-HMAC-SHA256 Credential=AKIA/20260101/eu-west-1/s3/aws4_request, SignedHeaders=host, Signature=0"


async def learned(bucket: str, **arguments: Any) -> Route | None:
    async with get_session().create_client(
        "s3",
        region_name=arguments.pop("region_name", "eu-west-1"),
        aws_access_key_id="id/with/slashes",
        aws_secret_access_key="secret",
        **arguments,
    ) as client:
        return await learn_route(client, bucket)


async def test_an_aws_bucket_has_its_own_host() -> None:
    route = await learned("bucket")
    assert route is not None
    assert route.origin == ("bucket.s3.eu-west-1.amazonaws.com", 443, True)
    assert route.host == "bucket.s3.eu-west-1.amazonaws.com"
    assert (route.prefix, route.root, route.region, route.aws, route.secure) == ("/", "/", "eu-west-1", True, True)


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "http://127.0.0.1:9/", "http://[::1]:9", "http://minio/s3"])
async def test_a_bucket_on_another_server_is_addressed_by_path(endpoint: str) -> None:
    route = await learned("bucket", endpoint_url=endpoint)
    assert route is not None
    assert route.root.endswith("/bucket")
    assert route.prefix == f"{route.root}/"
    assert route.host == urlsplit(endpoint).netloc
    assert route.origin[0] == urlsplit(endpoint).hostname
    assert not route.aws
    assert not route.secure


async def test_a_dotted_aws_bucket_is_addressed_by_path_because_no_certificate_covers_it() -> None:
    route = await learned("a.b.c")
    assert route is not None
    assert (route.host, route.prefix) == ("s3.eu-west-1.amazonaws.com", "/a.b.c/")


@pytest.mark.parametrize(
    "bucket",
    [
        "arn:aws:s3:eu-west-1:123456789012:accesspoint/point",
        "arn:aws:s3-outposts:eu-west-1:123456789012:outpost/op-1/accesspoint/point",
        "arn:aws:s3::123456789012:accesspoint/mrap.mrap",
        "express--euw1-az1--x-s3",
        "point-abcdefghijklmnop-s3alias",
    ],
)
async def test_unusual_forms_of_buckets_have_no_route(bucket: str) -> None:
    assert await learned(bucket) is None


@pytest.mark.parametrize(
    "config",
    [
        AioConfig(s3={"use_accelerate_endpoint": True}),
        AioConfig(use_fips_endpoint=True),
        AioConfig(signature_version="s3"),
    ],
    ids=["accelerate", "fips", "sigv2"],
)
async def test_unusual_endpoints_and_signatures_have_no_route(config: AioConfig) -> None:
    assert await learned("bucket", config=config) is None


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("https://bucket.s3.eu-west-1.amazonaws.com/k?x=y", {}),
        ("https://bucket.s3.eu-west-1.amazonaws.com/other/k", {}),
        ("https://bucket.s3.eu-west-1.amazonaws.com/", {}),
        ("https://bucket.s3.eu-west-1.amazonaws.com/k", {"x-amz-new-thing": "1"}),
        ("https://user:password@minio/bucket/k", {}),
        (
            "https://bucket.s3.eu-west-1.amazonaws.com/k",
            {"Authorization": AUTHORIZATION.replace("/s3/", "/s3express/")},
        ),
    ],
)
def test_requests_that_are_not_understood_are_left_to_botocore(url: str, headers: dict[str, str]) -> None:
    assert route_of(url, {"Authorization": AUTHORIZATION, **headers}, "bucket") is None


def test_a_plain_request_is_understood() -> None:
    url = "https://bucket.s3.eu-west-1.amazonaws.com/k"
    assert route_of(url, {"Authorization": AUTHORIZATION.encode()}, "bucket") is not None
