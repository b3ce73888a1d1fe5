"""Servers in memory with buckets to migrate between, and their contents."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apm_s3 import S3Manager, S3Settings
from apm_s3.settings import RetrySettings
from tests.faults.memory_s3 import StoredObject, _etag
from tests.faults.server import FaultyS3
from tests.managers import make_manager

SOURCE, TARGET = "s3://source/team", "s3://target/copy"


@dataclass
class Place:
    """A server, a manager of it, and its buckets "source" and "target"."""

    server: FaultyS3
    s3: S3Manager

    def put(self, key: str, body: bytes = b"body", bucket: str = "source", **headers: str) -> None:
        """Store an object behind the manager's back."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.server.s3.buckets[bucket][key] = StoredObject(body, {"content-type": "text/plain", **named}, _etag(body))

    def stored(self, bucket: str = "target", prefix: str = "copy/") -> dict[str, bytes]:
        """What is below a prefix."""
        objects = self.server.s3.buckets[bucket]
        return {key[len(prefix) :]: found.body for key, found in objects.items() if key.startswith(prefix)}

    def arrived(self, operation: str) -> int:
        """The number of requests of a kind."""
        return self.server.arrived.count(operation)


@asynccontextmanager
async def open_place(*, attempts: int = 1, settings: dict[str, Any] | None = None) -> AsyncIterator[Place]:
    """A server of its own, and a manager whose retries do not wait."""
    retry = RetrySettings(attempts=attempts, initial_delay=0.001, max_delay=0.001, budget=10_000)
    async with FaultyS3() as server:
        server.s3.buckets |= {"source": {}, "target": {}}
        manager = make_manager(server, S3Settings(retry=retry, **(settings or {})))
        async with manager as s3:
            yield Place(server, s3)


def files(root: Path) -> dict[str, bytes]:
    """What is below a directory."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def write(root: Path, contents: dict[str, bytes]) -> Path:
    """Files below a directory."""
    for name, body in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    return root
