"""Operations of a batch, and what becomes of them: frozen, free of I/O. `S3Manager.batch` carries them out."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias, overload

from apm_s3.errors import BatchError
from apm_s3.models import DeleteOutcome, FileInfo, Source
from apm_s3.options import CopyOptions, DeleteOptions, ReadOptions, UploadOptions

__all__ = [
    "BatchProgress",
    "BatchResult",
    "CopyOp",
    "DeleteOp",
    "DownloadOp",
    "HeadOp",
    "MoveOp",
    "OnProgress",
    "Operation",
    "OperationResult",
    "Operations",
    "UploadOp",
]


@dataclass(frozen=True, slots=True)
class UploadOp:
    """Store an object, as `upload_file` does; the result is its `FileInfo`.

    Attributes:
        source: None in a list of results, where the batch took the operation from an iterator: bytes in memory are
            then let go, so that a list of results does not hold all that was uploaded.
    """

    bucket: str
    key: str
    source: Source | None = field(repr=False)
    options: UploadOptions | None = None


@dataclass(frozen=True, slots=True)
class DownloadOp:
    """Read an object.

    Attributes:
        to: the file that gets the content, as with `download_to`; the result is a `FileInfo`. Without it, the result is
            the content, as with `read_file`, which only `batch_iter` gives.
    """

    bucket: str
    key: str
    to: str | os.PathLike[str] | None = None
    options: ReadOptions | None = None


@dataclass(frozen=True, slots=True)
class CopyOp:
    """Copy an object inside S3, as `copy_file` does; the result is the copy's `FileInfo`."""

    source_bucket: str
    source_key: str
    bucket: str
    key: str
    options: CopyOptions | None = None


@dataclass(frozen=True, slots=True)
class MoveOp:
    """Move an object inside S3, as `move_file` does; the result is the `FileInfo` at its new place."""

    source_bucket: str
    source_key: str
    bucket: str
    key: str
    options: CopyOptions | None = None


@dataclass(frozen=True, slots=True)
class DeleteOp:
    """Delete an object, or a version of it; the result is a `DeleteOutcome`.

    Those of one bucket with the same options are sent 1000 a request. One with `if_match` is sent alone.
    """

    bucket: str
    key: str
    options: DeleteOptions | None = None


@dataclass(frozen=True, slots=True)
class HeadOp:
    """Look at an object, as `head_file` does; the result is its `FileInfo`."""

    bucket: str
    key: str
    options: ReadOptions | None = None


Operation: TypeAlias = UploadOp | DownloadOp | CopyOp | MoveOp | DeleteOp | HeadOp
Operations: TypeAlias = Iterable[Operation] | AsyncIterable[Operation]
"""What a batch takes: a list, a generator, an async generator: of any length."""


# A tuple, not a dataclass: it is made once for every operation, at a quarter of the cost.
class OperationResult(NamedTuple):
    """What became of one operation.

    Attributes:
        operation: as it was given.
        success: whether it was done.
        duration: seconds that it took, waiting for a slot of the pool and retries included. A deletion has that of the
            request that it shared.
        result: what the operation's verb returns; None for one that failed.
        error: why it failed: an `ApmS3Error`, an `OSError` of a local file, or what a source of the caller's raised.
        position: of the operation in what the batch was given, from 0.
    """

    operation: Operation
    success: bool
    duration: float
    result: FileInfo | DeleteOutcome | bytes | None = None
    error: Exception | None = None
    position: int = 0


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """How far a batch has come.

    Attributes:
        done: operations that have ended, failed ones included.
        bytes: of the contents that were uploaded and downloaded.
        total: operations in all; None where the batch was given an iterator.
    """

    done: int
    failed: int
    bytes: int
    total: int | None


OnProgress: TypeAlias = Callable[[BatchProgress], object]
"""Called in the event loop whenever an operation ends: quick, and never waiting. What it raises is logged, no more."""


@dataclass(frozen=True, slots=True)
class BatchResult(Sequence[OperationResult]):
    """The results of a batch, in the order of its operations.

    Attributes:
        results: one for each operation that the batch was given.
        duration: seconds in all.
        complete: False where the time limit passed before all operations had been taken from an iterator: those that
            were not taken have no result. Operations of a list always have one.
    """

    results: tuple[OperationResult, ...]
    duration: float = 0.0
    complete: bool = True

    def __len__(self) -> int:
        return len(self.results)

    @overload
    def __getitem__(self, index: int) -> OperationResult: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[OperationResult, ...]: ...
    def __getitem__(self, index: int | slice) -> OperationResult | tuple[OperationResult, ...]:
        return self.results[index]

    def __iter__(self) -> Iterator[OperationResult]:
        return iter(self.results)

    def __repr__(self) -> str:
        failed = len(self.failed)
        return f"<BatchResult of {len(self.results)} operations, {failed} failed, in {self.duration:.3g} s>"

    @property
    def succeeded(self) -> tuple[OperationResult, ...]:
        """The results of the operations that were done."""
        return tuple(result for result in self.results if result.success)

    @property
    def failed(self) -> tuple[OperationResult, ...]:
        """The results of the operations that were not."""
        return tuple(result for result in self.results if not result.success)

    @property
    def ok(self) -> bool:
        """Whether all operations were done."""
        return self.complete and all(result.success for result in self.results)

    def raise_for_failures(self) -> None:
        """Raise if anything was not done.

        Raises:
            BatchError: its `failures` has the error of each failed operation, by its position.
        """
        if self.ok:
            return
        failures = {str(result.position): result.error for result in self.failed if result.error is not None}
        problem = f"{len(failures)} of {len(self.results)} operations failed"
        if failures:
            first = self.failed[0]
            problem += f", the first is {_named(first.operation)}: {first.error}"
        if not self.complete:
            problem = f"the time limit passed before all operations were begun; {problem}"
        raise BatchError(
            problem, failures=failures, operation="batch", hint="'failures' has the error of each by its position"
        )


def _named(operation: Operation) -> str:
    name = type(operation).__name__
    bucket, key = getattr(operation, "bucket", None), getattr(operation, "key", None)
    return name if bucket is None else f"{name} of '{bucket}/{key}'"
