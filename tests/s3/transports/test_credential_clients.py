"""The clients that fetch credentials send their proofs of identity only to the configured host."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from pathlib import Path

import pytest
from botocore.credentials import SSOProvider
from botocore.exceptions import BotoCoreError, ClientError

from apm_s3.settings import S3Settings
from tests.seams.transports import Clients

SECRET = "proof-of-identity-7"


class Host:
    """Answers every request with a redirect to `target`, or with nothing that helps; notes what came."""

    def __init__(self, status: int = 404, target: str = "") -> None:
        self.requests: list[bytes] = []
        self._answer = f"HTTP/1.1 {status} x\r\nlocation: {target}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        self.requests.append(head + await reader.readexactly(length))
        writer.write(self._answer.encode())
        writer.close()


@asynccontextmanager
async def serving(host: Host) -> AsyncIterator[Host]:
    server = await asyncio.start_server(host.serve, "127.0.0.1", 0)
    async with server:
        host.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield host


def _of_sso(home: Path, url: str) -> dict[str, str]:
    cache = home / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    start = "https://example.awsapps.com/start"
    expires = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    token = {"accessToken": SECRET, "expiresAt": expires, "startUrl": start, "region": "us-east-1"}
    (cache / f"{sha1(start.encode()).hexdigest()}.json").write_text(json.dumps(token))
    config = home / "config"
    config.write_text(
        f"[default]\nsso_start_url = {start}\nsso_region = us-east-1\nsso_account_id = 123456789012\nsso_role_name = r\n"
    )
    return {"AWS_CONFIG_FILE": str(config), "AWS_ENDPOINT_URL_SSO": url}


def _of_web_identity(home: Path, url: str) -> dict[str, str]:
    file = home / "token"
    file.write_text(SECRET)
    return {
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(file),
        "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/r",
        "AWS_ENDPOINT_URL_STS": url,
    }


def _of_container(_: Path, url: str) -> dict[str, str]:
    return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/x", "AWS_CONTAINER_AUTHORIZATION_TOKEN": SECRET}


def _of_instance(_: Path, url: str) -> dict[str, str]:
    return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": url, "AWS_EC2_METADATA_DISABLED": "false"}


SOURCES = {"sso": _of_sso, "web identity": _of_web_identity, "container": _of_container, "instance": _of_instance}


@pytest.mark.parametrize("status", [301, 308])
@pytest.mark.parametrize("source", SOURCES)
async def test_no_client_for_credentials_follows_a_redirect(
    source: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SSOProvider, "_SSO_TOKEN_CACHE_DIR", str(tmp_path / ".aws" / "sso" / "cache"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    async with serving(Host()) as elsewhere, serving(Host(status, f"{elsewhere.url}/latest")) as asked:
        for name, value in SOURCES[source](tmp_path, asked.url).items():
            monkeypatch.setenv(name, value)
        clients = Clients(region="us-east-1", settings=S3Settings())
        with suppress(BotoCoreError, ClientError):
            await clients.provider.get()
        await clients.aclose()

        assert asked.requests
        assert elsewhere.requests == []
