"""The clients, each with the same few verbs over objects of one bucket. Libraries are imported where they are used."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from apm_s3 import S3Settings

KEY_ID, SECRET, REGION = "test", "testsecret", "us-east-1"
CONCURRENCY = 32


class Client:
    """A client under measurement: `open`, then any of `put`, `get`, `head`, `copy`, `delete` and `list`."""

    def __init__(self, endpoint: str, bucket: str) -> None:
        self.endpoint = endpoint
        self.bucket = bucket
        self.stack = AsyncExitStack()

    async def open(self) -> None:
        """Connect, or do whatever the library needs first."""

    async def close(self) -> None:
        """Close what `open` opened."""
        await self.stack.aclose()

    put: Callable[[str, bytes], Awaitable[Any]]
    get: Callable[[str], Awaitable[bytes]]
    head: Callable[[str], Awaitable[Any]]
    copy: Callable[[str, str], Awaitable[Any]]
    delete: Callable[[str], Awaitable[Any]]
    list: Callable[[str], Awaitable[int]]


def verifying_settings(**settings: Any) -> S3Settings:
    """Settings for servers that cannot be asked whether they verify checksums: nginx has no multipart uploads."""
    from apm_s3 import S3Settings

    class Verifying(S3Settings):
        _known_to_verify = True

    return Verifying(**settings)


class ApmS3(Client):
    """This library, through its public methods, metrics on."""

    data_path = "signed"

    async def open(self) -> None:
        from apm_s3 import Credentials, S3Manager

        settings = verifying_settings(data_path=self.data_path)
        self.s3 = await self.stack.enter_async_context(
            S3Manager(
                region=REGION, endpoint_url=self.endpoint, credentials=Credentials(KEY_ID, SECRET), settings=settings
            )
        )

    async def put(self, key: str, data: bytes) -> None:
        await self.s3.upload_file(self.bucket, key, data)

    async def get(self, key: str) -> bytes:
        return await self.s3.read_file(self.bucket, key)

    async def head(self, key: str) -> None:
        await self.s3.head_file(self.bucket, key)

    async def copy(self, key: str, target: str) -> None:
        await self.s3.copy_file(self.bucket, key, self.bucket, target)

    async def delete(self, key: str) -> None:
        await self.s3.delete_file(self.bucket, key)

    async def list(self, prefix: str) -> int:
        return len([info async for info in self.s3.iter_files(self.bucket, prefix)])


class ApmS3Boto(ApmS3):
    """This library over aiobotocore."""

    data_path = "boto"


class Aiobotocore(Client):
    """aiobotocore as it comes, but for the size of its pool."""

    async def open(self) -> None:
        from aiobotocore.config import AioConfig
        from aiobotocore.session import get_session

        self.s3 = await self.stack.enter_async_context(
            get_session().create_client(
                "s3",
                region_name=REGION,
                endpoint_url=self.endpoint,
                aws_access_key_id=KEY_ID,
                aws_secret_access_key=SECRET,
                config=AioConfig(max_pool_connections=64),
            )
        )

    async def put(self, key: str, data: bytes) -> None:
        await self.s3.put_object(Bucket=self.bucket, Key=key, Body=data)

    async def get(self, key: str) -> bytes:
        response = await self.s3.get_object(Bucket=self.bucket, Key=key)
        return await response["Body"].read()

    async def head(self, key: str) -> None:
        await self.s3.head_object(Bucket=self.bucket, Key=key)

    async def copy(self, key: str, target: str) -> None:
        source = {"Bucket": self.bucket, "Key": key}
        await self.s3.copy_object(Bucket=self.bucket, Key=target, CopySource=source)

    async def delete(self, key: str) -> None:
        await self.s3.delete_object(Bucket=self.bucket, Key=key)

    async def list(self, prefix: str) -> int:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return sum([len(page["Contents"]) async for page in pages])


class Boto3(Client):
    """boto3 in threads."""

    async def open(self) -> None:
        from concurrent.futures import ThreadPoolExecutor

        import boto3
        from botocore.config import Config

        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(CONCURRENCY))
        self.s3 = boto3.client(
            "s3",
            region_name=REGION,
            endpoint_url=self.endpoint,
            aws_access_key_id=KEY_ID,
            aws_secret_access_key=SECRET,
            config=Config(max_pool_connections=64),
        )

    async def put(self, key: str, data: bytes) -> None:
        await asyncio.to_thread(self.s3.put_object, Bucket=self.bucket, Key=key, Body=data)

    async def get(self, key: str) -> bytes:
        return await asyncio.to_thread(lambda: self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())

    async def head(self, key: str) -> None:
        await asyncio.to_thread(self.s3.head_object, Bucket=self.bucket, Key=key)

    async def copy(self, key: str, target: str) -> None:
        source = {"Bucket": self.bucket, "Key": key}
        await asyncio.to_thread(self.s3.copy_object, Bucket=self.bucket, Key=target, CopySource=source)

    async def delete(self, key: str) -> None:
        await asyncio.to_thread(self.s3.delete_object, Bucket=self.bucket, Key=key)

    async def list(self, prefix: str) -> int:
        def pages() -> int:
            found = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
            return sum(len(page["Contents"]) for page in found)

        return await asyncio.to_thread(pages)


class S3fs(Client):
    """s3fs, its caches out of the way."""

    async def open(self) -> None:
        import s3fs

        self.s3 = s3fs.S3FileSystem(
            key=KEY_ID,
            secret=SECRET,
            endpoint_url=self.endpoint,
            asynchronous=True,
            use_listings_cache=False,
            skip_instance_cache=True,
            client_kwargs={"region_name": REGION},
            config_kwargs={"max_pool_connections": 64},
        )
        session = await self.s3.set_session()
        self.stack.push_async_callback(session.close)

    async def put(self, key: str, data: bytes) -> None:
        await self.s3._pipe_file(f"{self.bucket}/{key}", data)

    async def get(self, key: str) -> bytes:
        return await self.s3._cat_file(f"{self.bucket}/{key}")

    async def head(self, key: str) -> None:
        await self.s3._info(f"{self.bucket}/{key}", refresh=True)

    async def copy(self, key: str, target: str) -> None:
        await self.s3._cp_file(f"{self.bucket}/{key}", f"{self.bucket}/{target}")

    async def delete(self, key: str) -> None:
        await self.s3._rm_file(f"{self.bucket}/{key}")

    async def list(self, prefix: str) -> int:
        return len(await self.s3._find(f"{self.bucket}/{prefix}"))


class Miniopy(Client):
    """miniopy-async."""

    async def open(self) -> None:
        import miniopy_async

        host = self.endpoint.removeprefix("http://")
        self.s3 = miniopy_async.Minio(host, KEY_ID, SECRET, secure=False, region=REGION)
        self.stack.push_async_callback(self.s3.close_session)

    async def put(self, key: str, data: bytes) -> None:
        import io

        await self.s3.put_object(self.bucket, key, io.BytesIO(data), len(data))

    async def get(self, key: str) -> bytes:
        async with await self.s3.get_object(self.bucket, key) as response:
            return await response.read()

    async def head(self, key: str) -> None:
        await self.s3.stat_object(self.bucket, key)

    async def copy(self, key: str, target: str) -> None:
        from miniopy_async.commonconfig import CopySource

        await self.s3.copy_object(self.bucket, target, CopySource(self.bucket, key))

    async def delete(self, key: str) -> None:
        await self.s3.remove_object(self.bucket, key)

    async def list(self, prefix: str) -> int:
        return len([entry async for entry in self.s3.list_objects(self.bucket, prefix=prefix, recursive=True)])


class Obstore(Client):
    """obstore: Rust's object_store."""

    async def open(self) -> None:
        from obstore.store import S3Store

        self.s3 = S3Store(
            self.bucket,
            endpoint=self.endpoint,
            region=REGION,
            access_key_id=KEY_ID,
            secret_access_key=SECRET,
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
        )

    async def put(self, key: str, data: bytes) -> None:
        await self.s3.put_async(key, data, use_multipart=False)

    async def get(self, key: str) -> bytes:
        response = await self.s3.get_async(key)
        return bytes(await response.bytes_async())

    async def head(self, key: str) -> None:
        await self.s3.head_async(key)

    async def copy(self, key: str, target: str) -> None:
        await self.s3.copy_async(key, target)

    async def delete(self, key: str) -> None:
        await self.s3.delete_async(key)

    async def list(self, prefix: str) -> int:
        return sum([len(page) async for page in self.s3.list(prefix)])


class Bare(Client):
    """The limit: aiohttp with a signature and nothing else. It checks a status, and keeps no headers."""

    async def open(self) -> None:
        import aiohttp
        from yarl import URL

        connector = aiohttp.TCPConnector(limit=0)
        self.http = await self.stack.enter_async_context(
            aiohttp.ClientSession(connector=connector, auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None))
        )
        self.base = URL(self.endpoint)
        self.host = self.endpoint.removeprefix("http://")
        self.day = time.strftime("%Y%m%d", time.gmtime())
        signing_key = f"AWS4{SECRET}".encode()
        for part in (self.day, REGION, "s3", "aws4_request"):
            signing_key = hmac.digest(signing_key, part.encode(), "sha256")
        self.signing_key = signing_key

    async def send(self, method: str, key: str, data: bytes | None = None, query: str = "", **extra: str) -> bytes:
        path = f"/{self.bucket}/{key}" if key else f"/{self.bucket}"
        content = hashlib.sha256(data or b"").hexdigest()
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        headers = {"host": self.host, "x-amz-content-sha256": content, "x-amz-date": stamp, **extra}
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        request = f"{method}\n{path}\n{query}\n{lines}\n{names}\n{content}"
        scope = f"{self.day}/{REGION}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        signature = hmac.digest(self.signing_key, text.encode(), "sha256").hex()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={KEY_ID}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        headers["accept"] = "*/*"
        headers["accept-encoding"] = "identity"
        headers["user-agent"] = "bare"
        url = self.base.with_path(path, encoded=True)
        if query:
            url = url.with_query(query) if "%" not in query else type(url)(f"{url}?{query}", encoded=True)
        response = await self.http.request(method, url, headers=headers, data=data)
        body = await response.read()
        if response.status >= 300:
            raise RuntimeError(f"{response.status} {body!r}")
        return body

    async def put(self, key: str, data: bytes) -> None:
        extra = {"content-type": "binary/octet-stream"}
        await self.send("PUT", key, data, **extra)

    async def get(self, key: str) -> bytes:
        return await self.send("GET", key)

    async def head(self, key: str) -> None:
        await self.send("HEAD", key)

    async def copy(self, key: str, target: str) -> None:
        await self.send("PUT", target, **{"x-amz-copy-source": f"{self.bucket}/{key}"})

    async def delete(self, key: str) -> None:
        await self.send("DELETE", key)

    async def list(self, prefix: str) -> int:
        found, token = 0, ""
        while True:
            start = f"continuation-token={quote(token, safe='')}&" if token else ""
            page = await self.send("GET", "", query=f"{start}list-type=2&prefix={quote(prefix, safe='')}")
            found += page.count(b"<Key>")
            _, more, rest = page.partition(b"<NextContinuationToken>")
            if not more:
                return found
            token = rest.partition(b"<")[0].decode()


CLIENTS: dict[str, type[Client]] = {
    "apm_s3": ApmS3,
    "apm_s3 (boto)": ApmS3Boto,
    "aiobotocore": Aiobotocore,
    "boto3 threads": Boto3,
    "s3fs": S3fs,
    "miniopy-async": Miniopy,
    "obstore": Obstore,
    "bare aiohttp": Bare,
}
