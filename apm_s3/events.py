"""Events: each operation passes one frozen event to every hook. Without hooks, no event is created."""

from __future__ import annotations

import traceback
from asyncio import CancelledError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from typing import NamedTuple, TypeVar

from apm_s3._logs import LOGGER
from apm_s3._redaction import redacted
from apm_s3.errors import ApmS3Error, ErrorCode

__all__ = [
    "Hook",
    "OperationEvent",
    "Outcome",
    "labels",
]

T = TypeVar("T")


class Outcome(StrEnum):
    """The outcome of an operation, or of one attempt."""

    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLED = "cancelled"
    RETRY = "retry"
    """The attempt failed and another follows: the operation is still in progress."""


# A tuple, because it is created in 0.4 µs, while a frozen dataclass with these fields takes 1.9 µs.
class OperationEvent(NamedTuple):
    """One finished operation or, for `Outcome.RETRY`, one failed attempt that is retried.

    Attributes:
        operation: the public method's name ("read_file").
        tool, environment: as set by `labels`, for calls of a configuration store.
        attempt: the number of attempts so far.
        started_at: Unix time of the call.
        duration: seconds since then, including waiting for the pool and pauses.
        request_id: S3's id of a failed request.
        bytes_sent, bytes_received: sizes of the bodies.
        storage_class: of the object, if known.
    """

    operation: str
    bucket: str | None
    key: str | None
    tool: str | None
    environment: str | None
    region: str | None
    attempt: int
    started_at: float
    duration: float
    outcome: Outcome
    error_code: ErrorCode | None = None
    request_id: str | None = None
    bytes_sent: int = 0
    bytes_received: int = 0
    storage_class: str | None = None


Hook = Callable[[OperationEvent], object]
"""Called in the event loop right after the operation; it must be quick and must not block. Exceptions are logged."""


_RAISED_BY_CALLBACKS = (Exception, CancelledError)
"""What is logged when foreign code raises it. No `CancelledError` from a plain call is a cancellation of the caller:
that one arrives at an `await`. Ctrl-C and `SystemExit` are passed on."""


def emit(hooks: tuple[Hook, ...], event: OperationEvent) -> None:
    """Pass `event` to every hook; a failing hook affects neither the operation nor the other hooks."""
    for hook in hooks:
        try:
            hook(event)
        except _RAISED_BY_CALLBACKS as exc:
            _log_failure(f"a hook failed on {event.operation}", exc)


def report_progress(on_progress: Callable[[T], object], progress: T) -> None:
    """Call `on_progress`; if it fails, the work goes on."""
    try:
        on_progress(progress)
    except _RAISED_BY_CALLBACKS as exc:
        _log_failure("on_progress failed", exc)


def _log_failure(what: str, error: BaseException) -> None:
    # As a text, because a formatter would find in the exception what is masked here.
    LOGGER.error("%s\n%s", what, redacted("".join(traceback.format_exception(error))))


_LABELS: ContextVar[tuple[str | None, str | None]] = ContextVar("apm_s3_labels", default=(None, None))
current_labels: Callable[[], tuple[str | None, str | None]] = _LABELS.get


@contextmanager
def labels(*, tool: str | None = None, environment: str | None = None) -> Iterator[None]:
    """Set the tool and the environment of all events inside the block."""
    token = _LABELS.set((tool, environment))
    try:
        yield
    finally:
        _LABELS.reset(token)


_EXPECTED: ContextVar[tuple[type[ApmS3Error], ...]] = ContextVar("apm_s3_expected", default=())
expected_errors: Callable[[], tuple[type[ApmS3Error], ...]] = _EXPECTED.get


@contextmanager
def expecting(*errors: type[ApmS3Error]) -> Iterator[None]:
    """Report requests inside the block that fail with one of `errors` as successful: the caller asks just that.

    A probe wants to be refused, and a first write finds nothing. The errors are raised all the same.
    """
    token = _EXPECTED.set((*_EXPECTED.get(), *errors))
    try:
        yield
    finally:
        _EXPECTED.reset(token)
