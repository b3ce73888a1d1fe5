"""Mixed work for a long time on a server that fails every twentieth request: what is lost, or left, or miscounted?

`nox -s soak` runs it for ten minutes, a test for a moment. The driver keeps a model of what each object and configuration may be: after a call that failed or was cancelled, what it
was or what it should have become. Every read has to agree. It counts its calls itself, and the exporter has to agree too.
"""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from apm_s3 import ConfigStore, S3Manager, S3Settings
from apm_s3.batch import UploadOp
from apm_s3.errors import ApmS3Error, ObjectNotFound
from apm_s3.exporters.prometheus import PrometheusExporter
from apm_s3.settings import CacheSettings, RetrySettings, TransferSettings
from tests.configs.samples import LOKI
from tests.faults import faults
from tests.faults.server import Exchange, FaultyS3
from tests.managers import make_manager

BUCKET = "bucket-one"
FAULT_RATE = 0.05
CANCEL_RATE = 0.03
KEYS_OF_A_WORKER = 8
FAULTS = (
    faults.reset_before_headers, faults.closed_before_headers, faults.lost_response, faults.reset_after_headers,
    faults.reset_in_body, faults.truncated, faults.answer(500, "InternalError"), faults.answer(503, "SlowDown"),
)  # fmt: skip
MIB = 1024**2
ABSENT = b""
"""The model's value of an object that does not exist; none that exists is empty."""


@dataclass
class Report:
    """What came of it.

    Attributes:
        wrong: reads that gave what the model does not allow, and figures of the exporter that are not the driver's.
        blocks: blocks of memory in use, sampled; the model, the server and the client together.
        left: tasks, connections and multipart uploads that were left.
    """

    calls: int = 0
    failed: int = 0
    cancelled: int = 0
    faults: int = 0
    wrong: list[str] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def growth(self) -> float:
        """How much more memory the last quarter of the samples has than the second."""
        quarter = len(self.blocks) // 4
        early, late = sorted(self.blocks[quarter : 2 * quarter]), sorted(self.blocks[-quarter:])
        return late[quarter // 2] / early[quarter // 2] - 1 if quarter else 0.0


class Driver:
    """Calls, counts and compares."""

    def __init__(self, server: FaultyS3, seconds: float, seed: int) -> None:
        self.report = Report()
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.random = random.Random(seed)
        self.faulty = True
        self._server = server
        self._ends_at = time.monotonic() + seconds

    @property
    def goes_on(self) -> bool:
        return time.monotonic() < self._ends_at

    async def fault(self, exchange: Exchange) -> None:
        """Let a request fail, or not."""
        if self.faulty and self.random.random() < FAULT_RATE:
            self.report.faults += 1
            await self.random.choice(FAULTS)(exchange)
        else:
            exchange.send(exchange.carry_out())

    async def call(self, operation: str, work: Coroutine[Any, Any, Any], *, sent: int = 0) -> tuple[bool, Any]:
        """Make a call that is one operation for the metrics: whether it succeeded, and its result.

        Some are cancelled once they have begun.
        """
        task = asyncio.create_task(work)
        if self.faulty and self.random.random() < CANCEL_RATE:
            for _ in range(self.random.randrange(1, 8)):
                await asyncio.sleep(0)
            task.cancel()
        await asyncio.wait([task])
        self.report.calls += 1
        self.counts["bytes_sent", operation] += sent
        if task.cancelled():
            self.report.cancelled += 1
            self.counts[operation, "cancelled"] += 1
            return False, None
        error = task.exception()
        if error is None:
            self.counts[operation, "success"] += 1
            return True, task.result()
        if not isinstance(error, ApmS3Error):
            raise error
        self.report.failed += 1
        self.counts[operation, "failure"] += 1
        self.counts["code", operation, str(error.code.value)] += 1
        return isinstance(error, ObjectNotFound), ABSENT

    def check(self, what: str, found: bytes, possible: set[bytes]) -> None:
        if found not in possible:
            told = ", ".join(repr(value[:30]) for value in possible)
            self.report.wrong.append(f"{what} is {found[:30]!r}, not one of {told}")
        possible.clear()
        possible.add(found)


class Objects:
    """One worker's objects."""

    def __init__(self, driver: Driver, s3: S3Manager, number: int) -> None:
        self._driver, self._s3 = driver, s3
        self._random = driver.random
        self._number = number
        self._turn = 0
        self.model: dict[str, set[bytes]] = {f"w{number}/{key}": {ABSENT} for key in range(KEYS_OF_A_WORKER)}

    async def run(self) -> None:
        ways = (self._upload, self._upload, self._read, self._read, self._delete, self._stream, self._batch)
        while self._driver.goes_on:
            self._turn += 1
            way = self._upload_parts if self._turn % 400 == 399 else self._random.choice(ways)
            await way(self._random.choice(list(self.model)))

    def _body(self) -> bytes:
        return f"{self._number}:{self._turn}:".encode() * self._random.randrange(1, 2000)

    async def _upload(self, key: str) -> None:
        body = self._body()
        possible = self.model[key]
        done, _ = await self._driver.call("upload_file", self._s3.upload_file(BUCKET, key, body), sent=len(body))
        if done:
            possible.clear()
        possible.add(body)

    async def _read(self, key: str) -> None:
        done, body = await self._driver.call("read_file", self._s3.read_file(BUCKET, key))
        if done:
            self._driver.check(key, body, self.model[key])
            self._driver.counts["bytes_received", "read_file"] += len(body)

    async def _delete(self, key: str) -> None:
        done, _ = await self._driver.call("delete_file", self._s3.delete_file(BUCKET, key))
        if done:
            self.model[key].clear()
        self.model[key].add(ABSENT)

    async def _stream(self, key: str) -> None:
        """A body of which sometimes only a part is read."""
        whole = self._random.random() < 0.7
        with suppress(ApmS3Error):
            async with self._s3.download_file(BUCKET, key) as download:
                body = await download.read() if whole else await download.read(10)
            if whole:
                self._driver.check(key, body, self.model[key])

    async def _batch(self, key: str) -> None:
        keys = self._random.sample(list(self.model), 3)
        bodies = [self._body() for _ in keys]
        result = await self._s3.batch([UploadOp(BUCKET, *each) for each in zip(keys, bodies, strict=True)])
        for name, body, one in zip(keys, bodies, result, strict=True):
            self._driver.report.calls += 1
            self._driver.counts["bytes_sent", "upload_file"] += len(body)
            self._driver.counts["upload_file", "success" if one.error is None else "failure"] += 1
            if one.error is None:
                self.model[name].clear()
            elif isinstance(one.error, ApmS3Error):
                self._driver.counts["code", "upload_file", str(one.error.code.value)] += 1
            self.model[name].add(body)

    async def _upload_parts(self, key: str) -> None:
        """In parts, and gone again: bodies of megabytes would fill the server."""
        with suppress(ApmS3Error):
            await self._s3.upload_file(BUCKET, f"large/{self._number}", bytes(6 * MIB))
        with suppress(ApmS3Error):
            await self._s3.delete_files(BUCKET, [f"large/{self._number}"])


class Configs:
    """One worker's environment."""

    def __init__(self, driver: Driver, s3: S3Manager, number: int) -> None:
        self._driver = driver
        self._s3 = s3
        self._prefix = f"team-{number}/"
        self.store: ConfigStore = s3.configs(BUCKET, self._prefix)
        self.possible: set[bytes] = {ABSENT}

    async def run(self) -> None:
        turn = 0
        while self._driver.goes_on:
            turn += 1
            text = f"# {self._prefix} {turn}\n{LOKI}"
            await self._try(self.store.upload("loki", "staging", text), text.encode())
            await self._read()
            if turn % 3 == 0:
                with suppress(ApmS3Error):
                    plan = await self.store.plan_deploy("staging", "production", create=True)
                    await self.store.deploy(plan, allow_drift=True)
            if turn % 20 == 0:
                await self._start_over()

    async def _try(self, work: Awaitable[Any], body: bytes) -> None:
        self._driver.report.calls += 1
        try:
            await work
        except ApmS3Error:
            self._driver.report.failed += 1
        else:
            self.possible.clear()
        self.possible.add(body)

    async def _read(self) -> None:
        self._driver.report.calls += 1
        try:
            file = await self.store.download("loki", "staging")
        except ApmS3Error:
            self._driver.report.failed += 1
        else:
            self._driver.check(f"{self._prefix} loki", file.raw, self.possible)

    async def _start_over(self) -> None:
        """Remove everything: releases stay for a day, and would fill the server."""
        await self.store.finish()
        left = True
        while left and self._driver.goes_on:
            with suppress(ApmS3Error):
                await self._s3.delete_prefix(BUCKET, self._prefix)
            left = any(key.startswith(self._prefix) for key in self._driver._server.s3.buckets[BUCKET])
        self.possible = {ABSENT}


async def sample(driver: Driver, seconds: float) -> None:
    """Measure the memory sixty times, but not more often than once a second."""
    while driver.goes_on:
        await asyncio.sleep(max(seconds / 60, 1.0))
        driver._server.arrived.clear()
        gc.collect()
        driver.report.blocks.append(sys.getallocatedblocks())


async def soak(seconds: float, seed: int = 1, workers: int = 12) -> Report:
    """Work for some time, then look what is left."""
    before = asyncio.all_tasks()
    async with FaultyS3() as server:
        server.s3.buckets[BUCKET] = {}
        driver = Driver(server, seconds, seed)
        server.will(driver.fault, times=None)
        registry = CollectorRegistry()
        exporter = PrometheusExporter(registry)
        async with manager(server) as plain, manager(server) as configured:
            exporter.add(plain, "objects")
            exporter.add(configured, "configs")
            crowd = [Objects(driver, plain, number) for number in range(workers)]
            teams = [Configs(driver, configured, number) for number in range(2)]
            work: list[Callable[[], Awaitable[None]]] = [one.run for one in (*crowd, *teams)]
            async with asyncio.TaskGroup() as group:
                for run in work:
                    group.create_task(run())
                group.create_task(sample(driver, seconds))
            driver.faulty = False
            await verify(driver, server, plain, crowd, teams)
            compare(driver, registry)
        driver.report.left += [repr(task) for task in asyncio.all_tasks() - before if "_Connection" not in repr(task)]
        await server.until_disconnected()
    return driver.report


def manager(server: FaultyS3) -> S3Manager:
    settings = S3Settings(
        max_concurrency=8,
        retry=RetrySettings(initial_delay=0.001, max_delay=0.01),
        transfer=TransferSettings(multipart_threshold=5 * MIB, part_size=5 * MIB),
        # Small, so that it is soon full: until then it grows, as it should.
        cache=CacheSettings(max_entries=100, ttl=0.05),
    )
    return make_manager(server, settings)


async def verify(driver: Driver, server: FaultyS3, s3: S3Manager, crowd: list[Objects], teams: list[Configs]) -> None:
    """Compare everything that is stored with the model."""
    await server.until_idle()
    stored = server.s3.buckets[BUCKET]
    for worker in crowd:
        for key, possible in worker.model.items():
            driver.check(key, stored[key].body if key in stored else ABSENT, possible)
    for team in teams:
        await team.store.finish()
        if ABSENT not in team.possible:
            file = await team.store.download("loki", "staging", refresh=True)
            driver.check("a configuration", file.raw, team.possible)
        for environment in await team.store.environments():
            found = await team.store.fsck(environment)
            driver.report.wrong += [str(each) for each in found.lost]
    # An abort fails as anything else may; then this is what clears up.
    await s3.cleanup_uploads(BUCKET, timedelta(0))
    driver.report.left += [f"upload {upload}" for upload in server.s3.uploads]


COUNTED = ("upload_file", "read_file", "delete_file")
"""Operations that the driver counts itself: those that nothing but its own calls makes."""


def compare(driver: Driver, registry: CollectorRegistry) -> None:
    """Hold the exporter's figures against the driver's."""
    shown: Counter[tuple[str, ...]] = Counter()
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for metric in family.samples:
            name = counted(metric.name, metric.labels)
            if name is not None:
                shown[name] += int(metric.value)
    for operation in COUNTED:
        driver.counts["ended", operation] = driver.counts[operation, "success"] + driver.counts[operation, "failure"]
    for name in sorted(shown.keys() | driver.counts.keys()):
        if shown[name] != driver.counts[name]:
            driver.report.wrong.append(f"the exporter says {shown[name]} of {name}, the driver {driver.counts[name]}")


def counted(metric: str, labels: dict[str, str]) -> tuple[str, ...] | None:
    """What the driver calls this figure, if it counts it too."""
    operation = labels.get("operation", "")
    if labels.get("manager") != "objects" or operation not in COUNTED:
        return None
    return {
        "apm_s3_operations_total": (operation, labels.get("outcome", "")),
        "apm_s3_operation_errors_total": ("code", operation, labels.get("code", "")),
        "apm_s3_sent_bytes_total": ("bytes_sent", operation),
        "apm_s3_received_bytes_total": ("bytes_received", operation),
        "apm_s3_operation_duration_seconds_count": ("ended", operation),
    }.get(metric)
