"""A session token is not sent over plain HTTP to another machine, where whoever reads it could use it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from apm_s3 import Credentials, S3Manager, S3Settings
from apm_s3.errors import BucketNotFound, ConnectFailed, InvalidOption
from tests.faults.server import Exchange, FaultyS3

KEYS = Credentials("id", "secret", "token")
PATHS = [S3Settings(data_path="signed"), S3Settings(data_path="boto")]
VERBS: dict[str, Callable[[S3Manager], Awaitable[object]]] = {
    "write": lambda s3: s3.upload_file("bucket", "key", b""),
    "read": lambda s3: s3.read_file("bucket", "key"),
    "list": lambda s3: s3.list_files("bucket"),
    "settings": lambda s3: s3.list_buckets(),
    "presign": lambda s3: s3.presign_download("bucket", "key"),
}


def manager(url: str, settings: S3Settings, credentials: Credentials = KEYS) -> S3Manager:
    return S3Manager(region="us-east-1", endpoint_url=url, credentials=credentials, settings=settings)


@pytest.mark.parametrize("settings", PATHS, ids=["signed", "boto"])
@pytest.mark.parametrize("verb", VERBS)
async def test_a_token_is_not_sent_to_another_machine_over_plain_http(verb: str, settings: S3Settings) -> None:
    async with manager("http://s3.invalid:9000", settings) as s3:
        with pytest.raises(InvalidOption, match=r"session token .* plain HTTP to s3\.invalid") as refused:
            await VERBS[verb](s3)

    assert "token_over_http=True" in str(refused.value)
    assert not refused.value.may_have_happened


@pytest.mark.parametrize("settings", PATHS, ids=["signed", "boto"])
@pytest.mark.parametrize("url", ["http://127.0.0.2:1", "http://[::1]:1", "http://localhost:1", "https://s3.invalid"])
async def test_a_token_is_sent_to_this_machine_and_over_tls(url: str, settings: S3Settings) -> None:
    async with manager(url, replace(settings, retry=replace(settings.retry, attempts=1))) as s3:
        with pytest.raises(ConnectFailed):
            await s3.read_file("bucket", "key")
        assert "X-Amz-Security-Token=token" in await s3.presign_download("bucket", "key")


@pytest.mark.parametrize("settings", PATHS, ids=["signed", "boto"])
async def test_a_token_is_sent_over_plain_http_where_it_is_asked_for(settings: S3Settings) -> None:
    async with FaultyS3() as proxy:
        sent = []

        async def keep(exchange: Exchange) -> None:
            sent.append(exchange.request.headers["x-amz-security-token"])
            exchange.send(exchange.carry_out())

        proxy.will(keep, times=None)
        asked = replace(settings, token_over_http=True, proxies={"http": proxy.endpoint_url})
        async with manager("http://s3.invalid:9000", asked) as s3:
            assert "X-Amz-Security-Token=token" in await s3.presign_download("bucket", "key")
            await s3.bucket_exists("bucket")
            with pytest.raises(BucketNotFound):
                await s3.list_files("bucket")
    assert sent[:2] == ["token", "token"]


@pytest.mark.parametrize("settings", PATHS, ids=["signed", "boto"])
async def test_keys_without_a_token_are_sent_as_before(settings: S3Settings) -> None:
    once = replace(settings, retry=replace(settings.retry, attempts=1))
    async with manager("http://s3.invalid:9000", once, Credentials("id", "secret")) as s3:
        with pytest.raises(ConnectFailed):
            await s3.read_file("bucket", "key")


@pytest.mark.parametrize("settings", PATHS, ids=["signed", "boto"])
async def test_a_proxy_on_another_machine_gets_no_token_either(settings: S3Settings) -> None:
    async with manager("http://localhost:9000", replace(settings, proxies={"http": "http://proxy.invalid"})) as s3:
        with pytest.raises(InvalidOption, match=r"plain HTTP to proxy\.invalid"):
            await s3.read_file("bucket", "key")
