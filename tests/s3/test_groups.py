"""The three groups of the manager's methods work alone, over the engine that they are given."""

from __future__ import annotations

from typing import cast

from apm_s3 import S3ConnectionPool, S3Settings
from apm_s3._manager import make_cache
from apm_s3._s3.bulk.verbs import Bulk
from apm_s3._s3.engine import Engine
from apm_s3._s3.objects.verbs import Objects
from apm_s3._s3.runner import Runner
from apm_s3._s3.transports.base import ObjectTransport
from apm_s3._s3.transports.boto.control import ControlPlane
from apm_s3.batch import DeleteOp, UploadOp
from tests.memory_transport import MemoryTransport


def make_engine() -> Engine:
    settings, pool = S3Settings(), S3ConnectionPool(4)
    transport = cast("ObjectTransport", MemoryTransport())
    return Engine(transport, cast("ControlPlane", None), Runner(settings, pool), pool, settings, make_cache())


async def test_objects_work_without_a_manager() -> None:
    engine = make_engine()
    objects = Objects(lambda: engine)

    await objects.upload_file("bucket", "key", b"content")

    assert await objects.read_file("bucket", "key") == b"content"


async def test_bulk_methods_work_without_a_manager() -> None:
    engine = make_engine()
    bulk = Bulk(lambda: engine)

    result = await bulk.batch([UploadOp("bucket", f"key-{number}", b"content") for number in range(3)])
    report = await bulk.delete_files("bucket", ["key-0"])
    removed = await bulk.batch([DeleteOp("bucket", "key-1")])

    assert result.ok
    assert [outcome.key for outcome in report.deleted] == ["key-0"]
    assert removed.ok
    assert await bulk.read_file("bucket", "key-2") == b"content"
