"""`batch` and `batch_iter`: the results of many operations, as a list or as they come."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TypedDict, Unpack, cast

from apm_s3._s3.bulk.workers import Batch, Verbs
from apm_s3._s3.engine import Engine
from apm_s3._s3.engine import Operations as ManagerPart
from apm_s3.batch import BatchResult, OnProgress, OperationResult, Operations, UploadOp
from apm_s3.errors import DeadlineExceeded

_CHAIN = 20
"""Errors behind an error that are looked at: more than there ever are."""


class Limits(TypedDict):
    concurrency: int | None
    timeout: float | None
    operation_timeout: float | None


class BatchOperations(ManagerPart):
    """What the manager does with many operations at once."""

    async def batch(
        self,
        operations: Operations,
        *,
        concurrency: int | None = None,
        timeout: float | None = None,
        operation_timeout: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> BatchResult:
        """Carry out many operations, several at a time, in no set order; the results are in the order they were given.

        One that fails stops nothing: look at `ok` and `failed`, or call `raise_for_failures`. Operations are taken from
        an iterator as there is room for them, so that it may be of any length. Deletions are sent 1000 a request; one
        waits for others while operations come, a second at most. A cancelled batch has stopped when `CancelledError` is
        raised: what was under way was done, or was not.

        There is no batch size: nothing waits for a group of operations to end. `concurrency` bounds what is under way.

        Args:
            operations: of `apm_s3.batch`: a list, a generator or an async iterable, mixed as you like. A generator
                runs in the event loop: one that reads files or waits belongs into an async one. What it raises ends
                the batch, and is raised here.
            concurrency: operations under way at once; by default `max_concurrency` of the settings, which bounds the
                requests of all of them. A large stream holds `part_size * parallel_parts` bytes, so lower it for many.
            timeout: seconds for the whole. What is under way then is stopped; it and what was not begun has failed with
                `DeadlineExceeded`.
            operation_timeout: seconds for each operation, beside the `timeout` of its own options.
            on_progress: told whenever an operation ends.

        Raises:
            InvalidOption: a limit that makes no sense; nothing was sent.
            ManagerClosed: the manager was closed meanwhile.
        """
        return await run_batch(
            self._engine,
            cast("Verbs", self),
            operations,
            on_progress,
            concurrency=concurrency,
            timeout=timeout,
            operation_timeout=operation_timeout,
        )

    async def batch_iter(
        self,
        operations: Operations,
        *,
        concurrency: int | None = None,
        timeout: float | None = None,
        operation_timeout: float | None = None,
    ) -> AsyncGenerator[OperationResult, None]:
        """Carry out many operations, and give the result of each as it ends: in bounded memory, whatever their number.

        While nobody asks for results, few more operations are begun than `concurrency`. Leaving the loop early stops
        the rest once the generator is closed; use `contextlib.aclosing` to have that at once.

        Args: those of `batch`.

        Raises:
            DeadlineExceeded: after the last result, where `timeout` passed before all operations had been taken from an
                iterator. Those of a list have a result each.
            InvalidOption, ManagerClosed: as with `batch`.
        """
        results = iter_batch(
            self._engine,
            cast("Verbs", self),
            operations,
            None,
            concurrency=concurrency,
            timeout=timeout,
            operation_timeout=operation_timeout,
        )
        async with aclosing(results):
            async for result in results:
                yield result


async def run_batch(
    engine: Engine, s3: Verbs, operations: Operations, on_progress: OnProgress | None, **limits: Unpack[Limits]
) -> BatchResult:
    """See `BatchOperations.batch`."""
    began = time.monotonic()
    results: list[OperationResult | None] = []
    # A caller's own list holds its operations anyway.
    keep = isinstance(operations, Sequence)

    def put(result: OperationResult) -> None:
        while result.position >= len(results):
            results.append(None)
        plain = result.success and (keep or type(result.operation) is not UploadOp)
        results[result.position] = result if plain else _slim(result, keep=keep)

    batch = Batch(engine, s3, operations, put=put, on_progress=on_progress, **limits)
    async with batch:
        while not batch.ended:
            await batch.news.wait()
    batch.check()
    if batch.overdue:
        for result in batch.give_up_the_rest():
            put(result)
    return BatchResult(
        tuple(result for result in results if result is not None), time.monotonic() - began, batch.complete
    )


async def iter_batch(
    engine: Engine, s3: Verbs, operations: Operations, on_progress: OnProgress | None, **limits: Unpack[Limits]
) -> AsyncGenerator[OperationResult, None]:
    """See `BatchOperations.batch_iter`."""
    results: deque[OperationResult] = deque()
    limit = limits["concurrency"] or engine.settings.max_concurrency

    def put(result: OperationResult) -> None:
        results.append(result)
        batch.news.wake()

    batch = Batch(
        engine,
        s3,
        operations,
        put=put,
        room=lambda: len(results) < limit,
        bodies=True,
        on_progress=on_progress,
        **limits,
    )
    async with batch:
        while True:
            while results:
                result = results.popleft()
                if len(results) < limit:
                    batch.room.wake()
                yield result
            if batch.ended:
                break
            await batch.news.wait()
    batch.check()
    if batch.overdue:
        for result in batch.give_up_the_rest():
            yield result
        if not batch.complete:
            raise DeadlineExceeded(
                f"the time limit of {limits['timeout']:g} seconds passed before all operations were begun",
                operation="batch_iter",
                hint="raise the batch's timeout",
            )


def _slim(result: OperationResult, *, keep: bool) -> OperationResult:
    """The result without what would hold the memory of bodies: in the operation, and in the frames of a traceback."""
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
