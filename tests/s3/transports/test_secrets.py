"""No secret in an error, a pickle, a traceback or a DEBUG log, of ours or of the libraries below."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import pickle
import pkgutil
import traceback
import warnings
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import aiobotocore
import botocore
import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials

from apm_s3 import Credentials, S3Manager, S3Settings
from apm_s3.errors import ApmS3Error, InvalidOption
from apm_s3.options import DeleteOptions, ReadOptions, UploadOptions
from apm_s3.settings import RetrySettings
from tests.faults.faults import answer
from tests.faults.matrix import DATA_PATHS, verbs_of
from tests.faults.server import FaultyS3
from tests.faults.verbs import BUCKET, new_state
from tests.managers import SESSION
from tests.seams.transports import Redaction, redact_logs, redacted

SECRET, TOKEN, MFA, PASSWORD = "THE-SECRET-KEY", "THE-SESSION-TOKEN", "device 987654", "THE-PASSWORD"
CUSTOMER_KEY = b"0123456789abcdef" * 2
PROXY_ENDPOINTS = ["http://s3.invalid", "https://s3.invalid"]


def secrets_in(text: str) -> list[str]:
    """The secrets of the tests that `text` contains, in any encoding."""
    secrets = [SECRET, TOKEN, MFA, PASSWORD, CUSTOMER_KEY.decode(), b64encode(CUSTOMER_KEY).decode()[:40]]
    secrets += [b64encode(f"user:{PASSWORD}".encode()).decode().rstrip("="), TOKEN.encode().hex(" ")]
    return [secret for secret in secrets if secret in text]


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """All log lines, at any level."""
    found: list[str] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(f"{record.name}: {logging.Formatter().format(record)}")

    root, handler = logging.getLogger(), Keeping()
    level = root.level
    root.addHandler(handler)
    root.setLevel(1)
    yield found
    root.setLevel(level)
    root.removeHandler(handler)


async def _use(s3: S3Manager) -> None:
    """Calls that have all kinds of secrets."""
    for options in (ReadOptions(sse_customer_key=CUSTOMER_KEY), ReadOptions()):
        await s3.read_file(BUCKET, "a", options)
    await s3.upload_file(BUCKET, "b", b"new", UploadOptions(sse_customer_key=CUSTOMER_KEY))
    await s3.delete_file(BUCKET, "b", DeleteOptions(mfa=MFA))
    await s3.presign_download(BUCKET, "a")
    await s3.list_buckets()


@pytest.mark.parametrize("data_path", DATA_PATHS)
async def test_no_debug_log_contains_a_secret(data_path: str, lines: list[str]) -> None:
    async with (
        FaultyS3() as server,
        S3Manager(
            region="us-east-1",
            endpoint_url=server.endpoint_url,
            credentials=Credentials("key-id", SECRET, TOKEN),
            settings=S3Settings(data_path=data_path, retry=RetrySettings(initial_delay=0.001)),  # type: ignore[arg-type]
        ) as s3,
    ):
        server.s3 = new_state()
        await _use(s3)
        for verb in verbs_of(data_path):  # type: ignore[arg-type]
            server.s3 = verb.state()
            server.will(answer(403, "SignatureDoesNotMatch", f"x-amz-security-token:{TOKEN}"), times=1)
            with pytest.raises(ApmS3Error):
                await verb.call(s3)
                raise ApmS3Error("some calls can do without what failed")

    assert [line for line in lines if line.startswith("botocore")]
    assert [line for line in lines if secrets_in(line)] == []
    assert [line for line in lines if "Signature=" in line.replace("Signature=***", "")] == []


@pytest.mark.parametrize("data_path", DATA_PATHS)
async def test_no_log_or_error_shows_the_internal_exception_that_stops_a_request(
    data_path: str, lines: list[str]
) -> None:
    """Learning a route stops a request of botocore on its way: that is no failure."""
    async with S3Manager(
        region="us-east-1",
        endpoint_url="http://127.0.0.1:9",
        credentials=Credentials("key-id", SECRET, TOKEN),
        settings=S3Settings(data_path=data_path, retry=RetrySettings(attempts=1)),  # type: ignore[arg-type]
    ) as s3:
        with pytest.raises(ApmS3Error) as raised:
            await s3.read_file(BUCKET, "a")

    shown = "".join(traceback.format_exception(raised.value))
    assert [line for line in lines if "_Stopped" in line or "KeyError" in line] == []
    assert "_Stopped" not in shown
    assert "KeyError" not in shown


def test_a_request_that_botocore_signs_itself_is_masked_as_well(lines: list[str]) -> None:
    redact_logs()
    headers = {"X-Amz-Server-Side-Encryption-Customer-Key": b64encode(CUSTOMER_KEY).decode()}
    request = AWSRequest("PUT", "https://bucket.s3.amazonaws.com/key", headers, b"")
    botocore.auth.S3SigV4Auth(BotocoreCredentials("id", SECRET, TOKEN), "s3", "us-east-1").add_auth(request)
    signature = request.headers["Authorization"].rpartition("=")[2]

    assert any("CanonicalRequest" in line for line in lines)
    assert [line for line in lines if secrets_in(line) or signature in line] == []


@pytest.mark.parametrize(
    "text",
    [
        f"{{'X-Amz-Security-Token': b'{TOKEN}', 'b': 1}}",
        f'{{"Authorization": "AWS4-HMAC-SHA256 Credential=x, Signature={TOKEN}"}}',
        f'response {{"AccessKeyId":"id","SecretAccessKey":"{SECRET}","Token" : "{TOKEN}"}}',
        f"host:s3\nx-amz-date:2\nx-amz-security-token:{TOKEN}\n\nhost",
        f"b'<CanonicalRequest>PUT\\n/\\nx-amz-security-token:{TOKEN}\\n\\nhost</CanonicalRequest>'",
        f"<CanonicalRequestBytes>50 55 {TOKEN.encode().hex(' ')}</CanonicalRequestBytes>",
        f"https://b.s3.amazonaws.com/k?X-Amz-Security-Token={TOKEN}&X-Amz-Signature={SECRET}",
        f"Failed to connect to proxy URL: http://user:{PASSWORD}@proxy:80/",
        f"{{'Bucket': 'b', 'SSECustomerKey': b'{CUSTOMER_KEY.decode()}', 'MFA': '{MFA}'}}",
        f"<SessionToken>{TOKEN}</SessionToken><SecretAccessKey>{SECRET}</SecretAccessKey>",
    ],
)
def test_secrets_in_the_logs_of_botocore_are_masked(text: str) -> None:
    assert secrets_in(text)
    assert secrets_in(redacted(text)) == []
    assert "***" in redacted(text)


def test_every_logger_of_these_libraries_has_the_filter() -> None:
    modules = ["urllib3.connectionpool"]
    for package in (botocore, aiobotocore):
        modules += [found.name for found in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
    loggers = set()
    for name in modules:
        if not any(part in name for part in ("vendored", "botocore.docs", "_tee", "httpxsession", "botocore.crt")):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                module = importlib.import_module(name)
            loggers |= {found for _, found in inspect.getmembers(module) if isinstance(found, logging.Logger)}
    redact_logs()

    assert len(loggers) > 20
    assert {logger.name for logger in loggers if not any(isinstance(one, Redaction) for one in logger.filters)} == set()


@asynccontextmanager
async def a_proxy(reply: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A proxy that responds to every request with `reply`; its URL with a password, and the requests it received."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(reply)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://user:{PASSWORD}@127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
    finally:
        server.close()
        await server.wait_closed()


REPLIES = {
    "it wants a password": b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
    "it refuses": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
@pytest.mark.parametrize("endpoint", PROXY_ENDPOINTS)
@pytest.mark.parametrize("data_path", DATA_PATHS)
async def test_no_error_shows_the_password_of_a_proxy(
    data_path: str, endpoint: str, reply: bytes, lines: list[str]
) -> None:
    shown = ""
    async with a_proxy(reply) as (proxy, asked):
        settings = S3Settings(
            data_path=data_path,  # type: ignore[arg-type]
            proxies={"http": proxy, "https": proxy},
            retry=RetrySettings(attempts=1),
            token_over_http=True,
        )
        async with S3Manager(
            region="us-east-1",
            endpoint_url=endpoint,
            credentials=Credentials("key-id", SECRET, TOKEN),
            session=SESSION,
            settings=settings,
        ) as s3:
            for call in (s3.read_file(BUCKET, "a"), s3.list_buckets()):
                with pytest.raises(ApmS3Error) as raised:
                    await call
                shown += "".join(traceback.format_exception(raised.value)) + repr(pickle.dumps(raised.value))

    assert secrets_in(shown) == []
    assert [line for line in lines if secrets_in(line)] == []
    assert all(b"proxy-authorization: basic" in head.lower() for head in asked)
    assert asked


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{PASSWORD}@proxy:99999",
        f"http://user:{PASSWORD}/@proxy",
        f"http://user:{PASSWORD}#@proxy",
        f"http://user:{PASSWORD}@@proxy:port",
        f"http://user:{PASSWORD}@:1",
        f"http://user:{PASSWORD}\n@proxy",
        f"http://user:{PASSWORD}é@proxy",
        f"http://user:{PASSWORD}%C3%A9@proxy",
        f"socks5://user:{PASSWORD}@proxy",
        f"http:user:{PASSWORD}@proxy",
    ],
)
async def test_an_unusable_proxy_is_refused_without_showing_its_password(
    url: str, monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    with pytest.raises(InvalidOption, match="proxy for http") as refused:
        S3Settings(proxies={"http": url})
    shown = "".join(traceback.format_exception(refused.value)) + repr(pickle.dumps(refused.value))
    monkeypatch.setenv("http_proxy", url)
    for data_path in DATA_PATHS:
        async with S3Manager(
            region="us-east-1",
            endpoint_url="http://s3.invalid",
            credentials=Credentials("key-id", SECRET, TOKEN),
            session=SESSION,
            settings=S3Settings(data_path=data_path),
        ) as s3:
            for call in (s3.read_file(BUCKET, "a"), s3.list_buckets()):
                with pytest.raises(InvalidOption, match="proxy for http") as refused:
                    await call
                shown += "".join(traceback.format_exception(refused.value)) + repr(pickle.dumps(refused.value))

    assert secrets_in(shown) == []
    assert [line for line in lines if secrets_in(line)] == []
