"""`batch` and `batch_iter`: the results of many operations, as a list or one by one."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import TypedDict, Unpack

from apm_s3._s3.bulk.workers import Batch
from apm_s3._s3.engine import Engine
from apm_s3._s3.objects.verbs import Objects
from apm_s3.batch import BatchResult, OnProgress, OperationResult, Operations, UploadOp
from apm_s3.errors import DeadlineExceeded

_CHAIN = 20
"""Maximum length of a chain of causes; real chains are shorter."""


class Limits(TypedDict):
    """Limits of a batch, as in `S3Manager.batch`."""

    concurrency: int | None
    timeout: float | None
    operation_timeout: float | None


async def run_batch(
    engine: Engine, objects: Objects, operations: Operations, on_progress: OnProgress | None, **limits: Unpack[Limits]
) -> BatchResult:
    """Carry out `operations`, and give the results in their order."""
    began = time.monotonic()
    results: list[OperationResult | None] = []
    # A caller's list keeps its operations in memory anyway.
    keep = isinstance(operations, Sequence)

    def put(result: OperationResult) -> None:
        while result.position >= len(results):
            results.append(None)
        plain = result.success and (keep or type(result.operation) is not UploadOp)
        results[result.position] = result if plain else _slim(result, keep=keep)

    batch = Batch(engine, objects, operations, put=put, on_progress=on_progress, **limits)
    async with batch:
        while not batch.ended:
            await batch.results.wait()
    batch.check()
    if batch.overdue:
        for result in batch.cancel_rest():
            put(result)
    return BatchResult(
        tuple(result for result in results if result is not None), time.monotonic() - began, batch.complete
    )


async def iter_batch(
    engine: Engine, objects: Objects, operations: Operations, on_progress: OnProgress | None, **limits: Unpack[Limits]
) -> AsyncGenerator[OperationResult, None]:
    """Run `operations`, and yield each result as soon as it is available."""
    results: deque[OperationResult] = deque()
    limit = limits["concurrency"] or engine.settings.max_concurrency

    def put(result: OperationResult) -> None:
        results.append(result)
        batch.results.wake()

    batch = Batch(
        engine,
        objects,
        operations,
        put=put,
        can_receive=lambda: len(results) < limit,
        bodies=True,
        on_progress=on_progress,
        **limits,
    )
    async with batch:
        while True:
            while results:
                result = results.popleft()
                if len(results) < limit:
                    batch.free_slots.wake()
                yield result
            if batch.ended:
                break
            await batch.results.wait()
    batch.check()
    if batch.overdue:
        for result in batch.cancel_rest():
            yield result
        if not batch.complete:
            raise DeadlineExceeded(
                f"the time limit of {limits['timeout']:g} seconds passed before all operations were started",
                operation="batch_iter",
                hint="raise the batch's timeout",
            )


def _slim(result: OperationResult, *, keep: bool) -> OperationResult:
    """Return the result without references to bodies, in the operation and in the frames of a traceback."""
    error: BaseException | None = result.error
    for _ in range(_CHAIN):
        if error is None:
            break
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
    operation = result.operation
    if keep or not isinstance(operation, UploadOp) or not isinstance(operation.source, bytes | bytearray | memoryview):
        return result
    return result._replace(operation=replace(operation, source=None))
