"""Operations of a batch and their results: frozen, without I/O. `S3Manager.batch` carries them out."""

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
        source: None in a list of results if the operation came from an iterator: bytes in memory are released, so that
            a list of results does not hold everything that was uploaded.
        size: the size of a stream, if it is known, as with `upload_file`.
    """

    bucket: str
    key: str
    source: Source | None = field(repr=False)
    options: UploadOptions | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class DownloadOp:
    """Read an object.

    Attributes:
        to: the file to write, as with `download_to`; the result is a `FileInfo`. Without it, the result is the content,
            as with `read_file`; only `batch_iter` supports this.
    """

    bucket: str
    key: str
    to: str | os.PathLike[str] | None = None
    options: ReadOptions | None = None


@dataclass(frozen=True, slots=True)
class CopyOp:
    """Copy an object within S3, as `copy_file` does; the result is the copy's `FileInfo`."""

    source_bucket: str
    source_key: str
    bucket: str
    key: str
    options: CopyOptions | None = None


@dataclass(frozen=True, slots=True)
class MoveOp:
    """Move an object within S3, as `move_file` does; the result is the `FileInfo` of the moved object.

    Attributes:
        mfa, bypass_governance: to delete a version of the source, as with `move_file`.
    """

    source_bucket: str
    source_key: str
    bucket: str
    key: str
    options: CopyOptions | None = None
    mfa: str | None = field(default=None, repr=False)
    bypass_governance: bool = False


@dataclass(frozen=True, slots=True)
class DeleteOp:
    """Delete an object, or a version of it; the result is a `DeleteOutcome`.

    Deletions in one bucket with the same options are sent 1000 per request. One with `if_match` is sent alone.
    """

    bucket: str
    key: str
    options: DeleteOptions | None = None


@dataclass(frozen=True, slots=True)
class HeadOp:
    """Get information about an object, as `head_file` does; the result is its `FileInfo`."""

    bucket: str
    key: str
    options: ReadOptions | None = None


Operation: TypeAlias = UploadOp | DownloadOp | CopyOp | MoveOp | DeleteOp | HeadOp
Operations: TypeAlias = Iterable[Operation] | AsyncIterable[Operation]
"""What a batch accepts: a list, a generator or an async generator of any length."""


# A tuple, because it is created for every operation, at a quarter of the cost of a dataclass.
class OperationResult(NamedTuple):
    """The result of one operation.

    Attributes:
        operation: the operation that was passed.
        success: whether it succeeded.
        duration: seconds, including waiting for a slot of the pool and retries. A deletion has the duration of the
            request that it shared.
        result: the return value of the operation's method; None if it failed.
        error: why it failed: an `ApmS3Error`, an `OSError` of a local file, or an exception of the caller's source.
        position: the index of the operation in the batch, from 0.
    """

    operation: Operation
    success: bool
    duration: float
    result: FileInfo | DeleteOutcome | bytes | None = None
    error: Exception | None = None
    position: int = 0


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """The progress of a batch.

    Attributes:
        done: finished operations, including failed ones.
        bytes: uploaded and downloaded content.
        total: the number of operations; None if they come from an iterator.
    """

    done: int
    failed: int
    bytes: int
    total: int | None


OnProgress: TypeAlias = Callable[[BatchProgress], object]
"""Called in the event loop after each operation; it must be quick and must not block. Exceptions are logged."""


@dataclass(frozen=True, slots=True)
class BatchResult(Sequence[OperationResult]):
    """The results of a batch, in the order of its operations.

    Attributes:
        results: one per operation.
        duration: seconds in total.
        complete: False if the time limit passed before all operations were taken from an iterator; the rest have no
            result. Operations of a list always have one.
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
        """Return the results of the operations that succeeded."""
        return tuple(result for result in self.results if result.success)

    @property
    def failed(self) -> tuple[OperationResult, ...]:
        """Return the results of the operations that failed."""
        return tuple(result for result in self.results if not result.success)

    @property
    def ok(self) -> bool:
        """Return whether all operations succeeded."""
        return self.complete and all(result.success for result in self.results)

    def raise_for_failures(self) -> None:
        """Raise if any operation failed, or was not started.

        Raises:
            BatchError: `failures` has the error of each failed operation, by its position.
        """
        if self.ok:
            return
        failures = {str(result.position): result.error for result in self.failed if result.error is not None}
        problem = f"{len(failures)} of {len(self.results)} operations failed"
        if failures:
            first = self.failed[0]
            problem += f", the first is {_named(first.operation)}: {str(first.error).removesuffix('.')}"
        if not self.complete:
            problem = f"the time limit passed before all operations were started; {problem}"
        raise BatchError(
            problem, failures=failures, operation="batch", hint="see 'failures' for each error, by position"
        )


def _named(operation: Operation) -> str:
    name = type(operation).__name__
    bucket, key = getattr(operation, "bucket", None), getattr(operation, "key", None)
    return name if bucket is None else f"{name} of '{bucket}/{key}'"
