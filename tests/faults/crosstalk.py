"""Many callers share few connections that break in every way, and no caller may get the response of another."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import AsyncIterator

from apm_s3 import ReadOptions, S3Manager, UploadOptions
from apm_s3.errors import ApmS3Error, ServiceUnavailable, TransportError
from tests.faults import faults
from tests.faults.memory_s3 import Request, Response, StoredObject, _etag, error_response
from tests.faults.server import Exchange, Fault, FaultyS3

BUCKET = "bucket"
KEYS = 97
WORKERS = 200
EXPECTED = (TransportError, ServiceUnavailable)
"""The errors that a broken connection and a 500 may cause. An `IntegrityError` would mean another caller's response."""

# No 503: the pool would let fewer calls through, and then hardly any is under way when it is cancelled.
FAULTS: tuple[tuple[Fault, int], ...] = (
    (faults.reset_before_headers, 3),
    (faults.closed_before_headers, 3),
    (faults.lost_response, 3),
    (faults.reset_after_headers, 3),
    (faults.reset_in_body, 3),
    (faults.truncated, 3),
    (faults.answer(500, "InternalError"), 3),
)
USUAL = 80
"""The weight of requests without a fault, relative to the weights of the faults above."""


def content(key: str) -> bytes:
    """That of `key`: no two are alike, and they fill from a part of a buffer to several."""
    digest = hashlib.sha256(key.encode()).digest()
    return digest * (1 + int(key[1:]) ** 2 % 4001)


class Crowd:
    """The callers.

    Attributes:
        ends: how many calls ended in which way.
        wrong: the calls that got what was not theirs.
    """

    def __init__(self, server: FaultyS3, s3: S3Manager, seed: int) -> None:
        self.ends: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._server = server
        self._s3 = s3
        self._random = random.Random(seed)
        objects = server.s3.buckets[BUCKET] = {}
        for number in range(KEYS):
            body = content(f"k{number}")
            objects[f"k{number}"] = StoredObject(body, {"x-amz-meta-name": f"k{number}"}, _etag(body))

    async def run(self, calls: int) -> None:
        """Let each worker make `calls` calls while the server misbehaves."""
        self._server.will(self._misbehave, times=None)
        self._server.early = self._early
        await asyncio.gather(*(self._work(worker, calls) for worker in range(WORKERS)))

    async def _misbehave(self, exchange: Exchange) -> None:
        fault = self._random.choices([None, *(f for f, _ in FAULTS)], [USUAL, *(weight for _, weight in FAULTS)])[0]
        if fault is None:
            # Delayed by some turns of the event loop, so that other requests come in between.
            for _ in range(self._random.choice((0, 0, 10, 100))):
                await asyncio.sleep(0)
            exchange.send(exchange.carry_out())
        else:
            await fault(exchange)

    def _early(self, _request: Request) -> Response | None:
        return error_response(500, "InternalError") if self._random.random() < 0.3 else None

    async def _work(self, worker: int, calls: int) -> None:
        for number in range(calls):
            call = asyncio.create_task(self._call(worker, number))
            if self._random.random() < 0.2:
                for _ in range(self._random.choice((4, 20, 100))):
                    await asyncio.sleep(0)
                call.cancel()
            await asyncio.wait({call})
            self._judge(call)

    def _judge(self, call: asyncio.Task[None]) -> None:
        error = None if call.cancelled() else call.exception()
        if call.cancelled() or error is None:
            self.ends["cancelled" if error is None and call.cancelled() else "right"] += 1
        elif isinstance(error, EXPECTED):
            self.ends[type(error).__name__] += 1
        elif isinstance(error, ApmS3Error | AssertionError):
            self.wrong.append(repr(error))
        else:
            raise error

    async def _call(self, worker: int, number: int) -> None:
        key = f"k{self._random.randrange(KEYS)}"
        timeout = self._random.uniform(0.001, 0.05) if self._random.random() < 0.1 else None
        verb = self._random.choice((self._read, self._range, self._stream, self._head, self._put, self._list))
        await verb(key, timeout, f"p{worker}-{number}")

    async def _read(self, key: str, timeout: float | None, _new: str) -> None:
        assert await self._s3.read_file(BUCKET, key, ReadOptions(timeout=timeout)) == content(key), f"read {key}"

    async def _range(self, key: str, timeout: float | None, _new: str) -> None:
        body = content(key)
        start = self._random.randrange(len(body))
        stop = self._random.randint(start + 1, len(body))
        options = ReadOptions(range=(start, stop), if_match=_etag(body), timeout=timeout)
        assert await self._s3.read_file(BUCKET, key, options) == body[start:stop], f"range of {key}"

    async def _stream(self, key: str, timeout: float | None, _new: str) -> None:
        body = content(key)
        async with self._s3.download_file(BUCKET, key, ReadOptions(timeout=timeout)) as download:
            assert (download.info.etag, download.info.size) == (_etag(body), len(body)), f"head of the stream of {key}"
            assert download.info.metadata == {"name": key}, f"metadata of the stream of {key}"
            got = b""
            async for piece in download:
                got += piece
                assert body.startswith(got), f"stream of {key}"
                if self._random.random() < 0.05:
                    return
        assert got == body, f"stream of {key}"

    async def _head(self, key: str, timeout: float | None, _new: str) -> None:
        info = await self._s3.head_file(BUCKET, key, ReadOptions(timeout=timeout))
        body = content(key)
        assert (info.etag, info.size, info.metadata) == (_etag(body), len(body), {"name": key}), f"head of {key}"

    async def _put(self, key: str, timeout: float | None, new: str) -> None:
        # Some are too large to be sent at once, so the server can respond early.
        body = content(key) * self._random.choice((1, 1, 40)) + new.encode()

        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(body), 10_000):
                yield body[start : start + 10_000]
                await asyncio.sleep(0)

        source = pieces() if self._random.random() < 0.5 else body
        info = await self._s3.upload_file(BUCKET, new, source, UploadOptions(timeout=timeout))
        assert info.etag == _etag(body), f"upload of {new}"
        assert self._server.s3.buckets[BUCKET][new].body == body, f"what is stored as {new}"

    async def _list(self, key: str, timeout: float | None, _new: str) -> None:
        page = await self._s3.list_files(BUCKET, key, timeout=timeout)
        assert all(info.key.startswith(key) for info in page.files), f"list of {key}"
        assert any((info.key, info.etag) == (key, _etag(content(key))) for info in page.files), f"list of {key}"
