"""Routes found without botocore equal those of botocore; unusual ones are left to it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.config import AioConfig
from botocore.credentials import EnvProvider
from botocore.exceptions import PartialCredentialsError
from botocore.httpsession import DEFAULT_CA_BUNDLE, get_cert_path
from hypothesis import given
from hypothesis import strategies as st

from apm_s3.models import Credentials
from apm_s3.settings import S3Settings
from tests.managers import SESSION
from tests.processes import unmeasured
from tests.seams.transports import (
    Clients,
    PlainTarget,
    Route,
    default_bundle,
    learn_route,
    plain_credentials,
    plain_endpoint,
    plain_route,
    plain_target,
)
from tests.servers import Server

KEYS = Credentials("id", "secret")
SERVER = "http://127.0.0.1:9000"
TARGETS = [
    ("us-east-1", None, "auto"),
    ("us-east-1", None, "path"),
    ("eu-west-1", None, "auto"),
    ("ap-southeast-2", None, "path"),
    ("me-central-1", None, "virtual"),
    ("us-east-1", SERVER, "auto"),
    ("garage", "https://s3.internal:3900/", "path"),
    ("eu-west-1", "https://minio.example.com", "auto"),
    ("eu-west-1", "http://minio.example.com:80", "auto"),
    ("a1", "https://10.0.0.1:443", "auto"),
]
LABELS = st.text("abcxyz0189-", min_size=1, max_size=20)
BUCKETS = st.one_of(
    st.lists(LABELS, min_size=1, max_size=4).map(".".join),
    st.text("abz09-", min_size=60, max_size=65),
    st.text("aBZ9_.-", min_size=1, max_size=10),
    st.sampled_from(["127.0.0.1", "xn--abc", "a..b", "a.-b", "sthree-a", "amzn-s3-demo-b", "dots.in.name"]),
    st.builds("{}{}".format, LABELS, st.sampled_from(["--x-s3", "--xa-s3", "--ol-s3", "--op-s3", "-s3alias", ".mrap"])),
    st.just("arn:aws:s3:eu-west-1:123456789012:accesspoint/point"),
)


@pytest.fixture
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An environment with nothing that botocore reads, except credentials and a region."""
    for name in list(os.environ):
        if name.upper().startswith(("AWS_", "BOTO")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setattr(sys, "platform", "linux")


def target_of(region: str | None, endpoint: str | None, style: Any = "auto", **environment: str) -> PlainTarget | None:
    settings = S3Settings(addressing_style=style)
    return plain_target(region, endpoint, settings, environment, configured=False)


class Botocore:
    """A client for each target, made once."""

    def __init__(self) -> None:
        self._clients: dict[tuple[str, str | None, str], Any] = {}
        self._opened: list[Any] = []

    async def route(self, region: str, endpoint: str | None, style: str, bucket: str) -> Route | None:
        wanted = (region, endpoint, style)
        if wanted not in self._clients:
            config = AioConfig(s3={} if style == "auto" else {"addressing_style": style})
            context = SESSION.create_client(
                "s3",
                region_name=region,
                endpoint_url=endpoint,
                aws_access_key_id="id",
                aws_secret_access_key="secret",
                config=config,
            )
            self._clients[wanted] = await context.__aenter__()
            self._opened.append(context)
        return await learn_route(self._clients[wanted], bucket)

    def url(self, region: str, endpoint: str | None, style: str) -> str:
        """The endpoint of a client that `route` has made."""
        return str(self._clients[region, endpoint, style].meta.endpoint_url)

    async def aclose(self) -> None:
        for context in self._opened:
            await context.__aexit__(None, None, None)


@pytest.fixture
async def botocore() -> AsyncIterator[Botocore]:
    made = Botocore()
    yield made
    await made.aclose()


async def test_a_plain_route_equals_that_of_botocore_for_every_bucket(
    plain_environment: None, botocore: Botocore
) -> None:
    loop = asyncio.get_running_loop()
    found: list[tuple[tuple[str, str | None, str], str, Route]] = []

    @given(st.sampled_from(TARGETS), BUCKETS)
    def collect(wanted: tuple[str, str | None, str], bucket: str) -> None:
        target = target_of(*wanted)
        assert target is not None
        route = plain_route(target, bucket)
        if route is not None:
            found.append((wanted, bucket, route))

    await loop.run_in_executor(None, collect)

    assert found
    for wanted, bucket, route in found:
        assert route == await botocore.route(*wanted, bucket), (wanted, bucket)
        target = target_of(*wanted)
        assert target is not None
        assert plain_endpoint(target, wanted[1]).url == botocore.url(*wanted)


async def test_a_plain_route_equals_that_of_botocore_in_every_region(
    plain_environment: None, botocore: Botocore
) -> None:
    regions = await SESSION.get_available_regions("s3", "aws")
    plain = [region for region in regions if target_of(region, None) is not None]

    assert len(plain) > 25
    for region in plain:
        target = target_of(region, None)
        assert target is not None
        assert plain_route(target, "bucket") == await botocore.route(region, None, "auto", "bucket"), region
        assert plain_endpoint(target, None).url == botocore.url(region, None, "auto")
        assert plain_endpoint(target, None).is_aws


@pytest.mark.parametrize("partition", ["aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b"])
async def test_regions_of_other_partitions_are_left_to_botocore(partition: str) -> None:
    for region in await SESSION.get_available_regions("s3", partition, allow_non_regional=True):
        assert target_of(region, None) is None, region


@pytest.mark.parametrize(
    "bucket",
    [
        "arn:aws:s3:eu-west-1:123456789012:accesspoint/point",
        "express--euw1-az1--x-s3",
        "point-abcdefghijklmnop-s3alias",
        "UPPER",
        "under_score",
        "ab",
        "a" * 64,
    ],
)
def test_buckets_of_other_forms_are_left_to_botocore(bucket: str) -> None:
    for wanted in TARGETS:
        target = target_of(*wanted)
        assert target is not None
        assert plain_route(target, bucket) is None


def test_a_newly_learned_region_gives_a_plain_route_unless_it_is_unusual() -> None:
    target = target_of("us-east-1", None)
    assert target is not None
    moved = plain_route(target, "bucket", "eu-west-1")
    assert moved is not None
    assert (moved.host, moved.region) == ("bucket.s3.eu-west-1.amazonaws.com", "eu-west-1")
    assert plain_route(target, "bucket", "cn-north-1") is None
    assert plain_route(target, "bucket", "evil.example/") is None


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://s3.eu-west-1.amazonaws.com",
        "https://s3-accelerate.amazonaws.com",
        "https://bucket.vpce-1a2b.s3.eu-west-1.vpce.amazonaws.com",
        "http://minio/path",
        "http://user:password@minio",
        "http://[::1]:9000",
        "http://MINIO",
        "http://minio:99999",
        "http://a..b",
        "minio:9000",
        "http://minio?query",
    ],
)
def test_unusual_endpoints_are_left_to_botocore(endpoint: str) -> None:
    assert target_of("eu-west-1", endpoint) is None


@pytest.mark.parametrize(
    "name",
    [
        "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT", "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE", "AWS_CA_BUNDLE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_DATA_PATH",
        "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT", "AWS_S3_USE_ARN_REGION", "AWS_DEFAULTS_MODE", "AWS_RETRY_MODE",
        "AWS_MAX_ATTEMPTS", "AWS_SECURITY_TOKEN", "AWS_CREDENTIAL_EXPIRATION", "AWS_REQUEST_CHECKSUM_CALCULATION",
        "AWS_AUTH_SCHEME_PREFERENCE", "AWS_LAMBDA_FUNCTION_NAME", "AWS_SOMETHING_NEW", "BOTO_CONFIG", "_X_AMZN_TRACE_ID",
        "HTTPS_PROXY", "http_proxy", "ALL_PROXY", "no_proxy",
    ],
)  # fmt: skip
async def test_an_environment_variable_that_may_matter_leaves_routing_to_botocore(
    plain_environment: None, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert Clients(credentials=KEYS, settings=S3Settings()).plain is not None
    monkeypatch.setenv(name, "x")
    assert Clients(credentials=KEYS, settings=S3Settings()).plain is None


@pytest.mark.parametrize(
    "arguments",
    [
        {"session": SESSION},
        {"settings": S3Settings(proxies={"http": "http://127.0.0.1:1"})},
        {"settings": S3Settings(proxies_config={})},
        {"settings": S3Settings(addressing_style="virtual"), "endpoint_url": SERVER},
        {"region": "cn-north-1"},
        {"region": "us-gov-west-1"},
        {"region": "fips-us-east-1", "endpoint_url": SERVER},
        {"region": "aws-global", "endpoint_url": SERVER},
    ],
    ids=["session", "proxies", "proxies_config", "virtual", "cn", "gov", "fips", "global"],
)
async def test_an_argument_that_may_matter_leaves_routing_to_botocore(
    plain_environment: None, arguments: dict[str, Any]
) -> None:
    assert Clients(**{"settings": S3Settings(), **arguments}).plain is None


async def test_aws_configuration_files_leave_routing_to_botocore(plain_environment: None, tmp_path: Path) -> None:
    assert Clients(settings=S3Settings()).plain is not None
    (tmp_path / ".aws").mkdir()
    assert Clients(settings=S3Settings()).plain is None


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"])
async def test_missing_credentials_and_regions_are_left_to_botocore(
    plain_environment: None, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv(name)
    assert Clients(settings=S3Settings()).plain is None


@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"],
            st.sampled_from(["", "x", "y"]),
        ),
    )
)
def test_credentials_from_the_environment_equal_those_of_botocore(environment: dict[str, str]) -> None:
    try:
        found = EnvProvider(environment).load()
    except PartialCredentialsError:
        found = None
    known = plain_credentials(environment)
    if known is not None:
        assert found is not None
        assert known == Credentials(found.access_key, found.secret_key, found.token)
    elif found is not None:
        assert "AWS_SECURITY_TOKEN" in environment


async def test_given_credentials_override_those_of_the_environment(plain_environment: None) -> None:
    given_ones = Clients(credentials=Credentials("mine", "secret"), settings=S3Settings())
    assert await given_ones.provider.get() == Credentials("mine", "secret")
    assert await Clients(settings=S3Settings()).provider.get() == KEYS


async def test_a_refresh_finds_rotated_credentials_in_the_environment(
    plain_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = Clients(endpoint_url=SERVER, settings=S3Settings())
    assert await clients.provider.get() == KEYS
    assert await clients.credentials_source() == "the environment"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "rotated")

    assert await clients.provider.refresh()

    assert await clients.provider.get() == Credentials("rotated", "secret")


async def test_later_clients_share_the_refreshed_credentials(
    plain_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = Clients(endpoint_url=SERVER, settings=S3Settings())
    assert await clients.provider.get() == KEYS
    client = await clients.get()
    assert await clients.provider.get() == KEYS
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "rotated")

    assert await clients.provider.refresh()

    assert client._request_signer._credentials.access_key == "rotated"
    await clients.aclose()


def test_the_trusted_certificates_equal_those_of_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_bundle() == get_cert_path(verify=True)
    monkeypatch.setitem(sys.modules, "certifi", None)
    assert default_bundle() == DEFAULT_CA_BUNDLE
    assert Path(default_bundle()).is_file()


PROGRAM = """
import asyncio, sys
from apm_s3 import Credentials, S3Manager

async def main():
    endpoint, bucket = sys.argv[1:]
    async with S3Manager(region="us-east-1", endpoint_url=endpoint, credentials=Credentials("test", "test")) as s3:
        assert await s3.read_file(bucket, "first") == b"content"
        print(*sys.modules)
        import apm_s3.cli._app
        from apm_s3.migration import migrate
        await s3.upload_file(bucket, "key", b"content")
        assert await s3.read_file(bucket, "key") == b"content"
        assert [info.key async for info in s3.iter_files(bucket)] == ["first", "key"]
        await s3.delete_file(bucket, "key")
        await s3.upload_file(bucket, "from/key", b"content")
        report = await migrate(f"s3://{bucket}/from", f"s3://{bucket}/to", source_s3=s3)
        assert (report.moved, report.failed) == (1, 0)

asyncio.run(main())
print(sorted({name.partition(".")[0] for name in sys.modules} & {"botocore", "aiobotocore", "aiohttp", "tenacity"}))
"""


NOT_FOR_A_READ = (
    "apm_s3._s3.buckets.plans", "apm_s3._s3.batch", "apm_s3._s3.objects.uploads", "apm_s3._s3.warming",
    "apm_s3.batch", "apm_s3.configs", "apm_s3.models._buckets",
    "apm_s3.options._writes", "apm_s3.options._buckets", "apm_s3.sync", "apm_s3.validators", "email", "http", "json",
    "random", "tempfile", "urllib.request", "uuid", "xml", "yaml",
)  # fmt: skip
"""A start pays for each module that it loads; these are for other calls, or stand for many that are."""

OWN_MODULES = 55
"""How many modules of the library the first read loads. One more is a decision."""


async def test_a_read_from_a_plain_server_loads_neither_botocore_nor_what_other_calls_need(
    plain_environment: None, moto: Server, bucket_name: str
) -> None:
    clients = Clients(
        session=SESSION,
        region=moto.region,
        endpoint_url=moto.endpoint_url,
        credentials=moto.credentials,
        settings=S3Settings(),
    )
    await clients.call("create_bucket", Bucket=bucket_name)
    await clients.call("put_object", Bucket=bucket_name, Key="first", Body=b"content")
    await clients.aclose()

    command = [sys.executable, "-W", "error", "-c", PROGRAM, moto.endpoint_url, bucket_name]
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, env=unmeasured())
    out, _ = await child.communicate()

    first, whole = out.decode().splitlines()
    loaded = first.split()
    assert whole == "[]"
    assert [name for name in NOT_FOR_A_READ if name in loaded] == []
    assert sum(name.partition(".")[0] == "apm_s3" for name in loaded) <= OWN_MODULES


async def test_what_sends_over_aiobotocore_is_imported_without_it_because_that_is_done_on_the_event_loop() -> None:
    program = "import sys, apm_s3._s3.transports.boto.sender; print({'aiobotocore', 'aiohttp'} & sys.modules.keys())"
    command = [sys.executable, "-c", program]
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, env=unmeasured())
    out, _ = await child.communicate()

    assert (child.returncode, out) == (0, b"set()\n")
