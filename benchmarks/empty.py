"""How long `delete_bucket(force=True)` takes: 5 000 versions, 500 delete markers and 20 open uploads.

nox -s benchmarks -- empty [moto|seaweedfs]
"""

from __future__ import annotations

import asyncio
import sys
import time

from apm_s3 import BucketOptions, DeleteOptions, S3Manager
from apm_s3._tasks import run_all
from apm_s3.options import Versioning
from benchmarks.report import Table, show
from tests.servers import Server, moto_server, seaweedfs_server

BUCKET = "benchmark-empty"
KEYS, VERSIONS, MARKERS, UPLOADS = 1000, 5, 500, 20


async def fill(s3: S3Manager) -> None:
    await s3.create_bucket(BUCKET, BucketOptions(versioning=Versioning()))
    for _ in range(VERSIONS):
        await run_all([s3.upload_file(BUCKET, f"folder-{n % 10}/{n:04}", b"x") for n in range(KEYS)], limit=32)
    for n in range(MARKERS):
        await s3.delete_file(BUCKET, f"folder-{n % 10}/{n:04}", DeleteOptions())
    client = s3._engine().control
    for n in range(UPLOADS):
        await client.call("create_multipart_upload", Bucket=BUCKET, Key=f"upload-{n}")


async def measure(server: Server) -> None:
    async with S3Manager(endpoint_url=server.endpoint_url, region=server.region, credentials=server.credentials) as s3:
        await fill(s3)
        started, cpu = time.perf_counter(), time.process_time()
        report = await s3.delete_bucket(BUCKET, force=True)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        what = f"{KEYS * VERSIONS} versions, {MARKERS} delete markers, {UPLOADS} open uploads on {server.kind}"
        rows = {"delete_bucket(force=True)": (seconds, cpu)}
        show(Table("Emptying a bucket", what, ("seconds", "seconds of CPU"), rows, note=f"{report}."))


if __name__ == "__main__":
    kind = sys.argv[1] if len(sys.argv) > 1 else "seaweedfs"
    with {"moto": moto_server, "seaweedfs": seaweedfs_server}[kind]() as server:
        asyncio.run(measure(server))
