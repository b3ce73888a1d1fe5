"""The forms of S3 in docs/forms-of-s3.md: which path objects take to each, and to which address. Nothing is sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiobotocore.awsrequest import AioAWSResponse
from aiobotocore.session import get_session

from apm_s3 import Credentials, S3Manager
from apm_s3.errors import InvalidBucketName
from tests.seams.s3 import transport_of

ACCOUNT = "123456789012"
ACCESS_POINT = f"arn:aws:s3:eu-west-1:{ACCOUNT}:accesspoint/point"
OBJECT_LAMBDA = f"arn:aws:s3-object-lambda:eu-west-1:{ACCOUNT}:accesspoint/point"
MULTI_REGION = f"arn:aws:s3::{ACCOUNT}:accesspoint/mfzwi23gnjvgw.mrap"
OUTPOST = f"arn:aws:s3-outposts:eu-west-1:{ACCOUNT}:outpost/op-01234567890123456/accesspoint/point"

SESSION = b"""<CreateSessionResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Credentials>
<SessionToken>token</SessionToken><SecretAccessKey>secret</SecretAccessKey><AccessKeyId>id</AccessKeyId>
<Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></CreateSessionResult>"""


@dataclass(frozen=True)
class Form:
    """A way to reach a bucket, and where its requests go.

    Attributes:
        signed: whether objects go over the signed path.
        store: whether configurations can be kept there.
        scope: the service that requests are signed for.
    """

    name: str
    bucket: str
    host: str
    signed: bool
    store: bool = True
    region: str = "eu-west-1"
    endpoint_url: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    configuration: str = ""
    scope: str = "s3"


VPC = "https://bucket.vpce-1a2b3c4d-5e6f.s3.eu-west-1.vpce.amazonaws.com"
FORMS = (
    Form("general purpose bucket", "bucket", "bucket.s3.eu-west-1.amazonaws.com", signed=True),
    Form("bucket with dots", "a.b", "s3.eu-west-1.amazonaws.com", signed=True),
    Form("China", "bucket", "bucket.s3.cn-north-1.amazonaws.com.cn", signed=True, region="cn-north-1"),
    Form("GovCloud", "bucket", "bucket.s3.us-gov-west-1.amazonaws.com", signed=True, region="us-gov-west-1"),
    Form(
        "dual-stack", "bucket", "bucket.s3.dualstack.eu-west-1.amazonaws.com", signed=True,
        environment={"AWS_USE_DUALSTACK_ENDPOINT": "true"},
    ),
    Form("IPv6", "bucket", "::1", signed=True, endpoint_url="http://[::1]:9000"),
    Form("IPv6 over TLS", "bucket", "2001:db8::1", signed=True, endpoint_url="https://[2001:db8::1]"),
    Form("S3-compatible server", "bucket", "minio.internal", signed=True, endpoint_url="http://minio.internal:9000"),
    Form(
        "FIPS", "bucket", "bucket.s3-fips.us-east-1.amazonaws.com", signed=False, region="us-east-1",
        environment={"AWS_USE_FIPS_ENDPOINT": "true"},
    ),
    Form(
        "acceleration", "bucket", "bucket.s3-accelerate.amazonaws.com", signed=False,
        configuration="[default]\ns3 =\n  use_accelerate_endpoint = true\n",
    ),
    Form("VPC endpoint", "bucket", "bucket.vpce-1a2b3c4d-5e6f.s3.eu-west-1.vpce.amazonaws.com", signed=False,
         endpoint_url=VPC),
    Form("access point", ACCESS_POINT, f"point-{ACCOUNT}.s3-accesspoint.eu-west-1.amazonaws.com", signed=False),
    Form(
        "access point, by its alias", "point-abcdefghijklmnop-s3alias",
        "point-abcdefghijklmnop-s3alias.s3.eu-west-1.amazonaws.com", signed=False,
    ),
    Form(
        "multi-Region access point", MULTI_REGION, "mfzwi23gnjvgw.mrap.accesspoint.s3-global.amazonaws.com",
        signed=False, store=False,
    ),
    Form(
        "directory bucket", "express--euw1-az1--x-s3",
        "express--euw1-az1--x-s3.s3express-euw1-az1.eu-west-1.amazonaws.com", signed=False, store=False,
        scope="s3express",
    ),
    Form(
        "access point to a directory bucket", "point--euw1-az1--xa-s3",
        "point--euw1-az1--xa-s3.s3express-euw1-az1.eu-west-1.amazonaws.com", signed=False, store=False,
        scope="s3express",
    ),
    Form(
        "Outposts", OUTPOST, f"point-{ACCOUNT}.op-01234567890123456.s3-outposts.eu-west-1.amazonaws.com",
        signed=False, store=False, scope="s3-outposts",
    ),
    Form(
        "Object Lambda", OBJECT_LAMBDA, f"point-{ACCOUNT}.s3-object-lambda.eu-west-1.amazonaws.com", signed=False,
        store=False, scope="s3-object-lambda",
    ),
)  # fmt: skip


DELETED = b"<DeleteResult><Deleted><Key>a</Key></Deleted></DeleteResult>"


class Stub:
    """Responds to the requests that aiobotocore is about to send."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    async def __call__(self, request: Any, **_: Any) -> AioAWSResponse:
        self.sent.append(request)
        body = SESSION if "?session" in request.url else DELETED if "?delete" in request.url else b""
        headers = {"content-length": str(len(body)) if body else "5", "etag": '"e"'}
        return AioAWSResponse(request.url, 200, headers, _Raw(body))


class _Raw:
    def __init__(self, body: bytes) -> None:
        self._body = body

    async def read(self) -> bytes:
        return self._body


@pytest.fixture(params=FORMS, ids=lambda form: form.name)
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Form:
    """Each form, its part of the AWS configuration set."""
    found: Form = request.param
    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)
    configuration = tmp_path / "config"
    configuration.write_text(found.configuration)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(configuration))
    return found


async def test_each_bucket_form_uses_the_documented_path_and_address(form: Form) -> None:
    session, stub = get_session(), Stub()
    session.register("before-send.s3", stub)
    async with S3Manager(
        region=form.region,
        endpoint_url=form.endpoint_url,
        credentials=Credentials("key-id", "secret"),
        session=session,
    ) as s3:
        route = await transport_of(s3)._sender.route(form.bucket)
        if form.signed:
            assert route is not None
            assert route.origin.host == form.host
            return
        assert route is None
        info = await s3.head_file(form.bucket, "key")

    assert (info.size, info.etag) == (5, '"e"')
    assert urlsplit(stub.sent[-1].url).hostname == form.host
    assert f"/{form.scope}/aws4_request" in str(stub.sent[-1].headers["Authorization"])


async def test_the_session_of_a_directory_bucket_is_requested_without_the_body_of_the_deletion() -> None:
    session, stub = get_session(), Stub()
    session.register("before-send.s3", stub)
    async with S3Manager(region="eu-west-1", credentials=Credentials("key-id", "secret"), session=session) as s3:
        report = await s3.delete_files("express--euw1-az1--x-s3", ["a"])

    creation, deletion = stub.sent
    assert [outcome.key for outcome in report.deleted] == ["a"]
    assert "?session" in creation.url
    assert not creation.body
    assert b"<Key>a</Key>" in deletion.body
    assert "x-amz-checksum-crc32" in deletion.headers


async def test_a_store_refuses_bucket_forms_that_cannot_guarantee_consistency(form: Form) -> None:
    s3 = S3Manager(region=form.region, credentials=Credentials("key-id", "secret"))
    if form.store:
        s3.configs(form.bucket)
    else:
        with pytest.raises(InvalidBucketName, match="general purpose bucket"):
            s3.configs(form.bucket)


@pytest.mark.parametrize("bucket", ["point-ola--ol-s3", "point-op--op-s3"])
def test_a_store_also_refuses_aliases_of_such_buckets(bucket: str) -> None:
    with pytest.raises(InvalidBucketName, match="general purpose bucket"):
        S3Manager(region="eu-west-1").configs(bucket)
