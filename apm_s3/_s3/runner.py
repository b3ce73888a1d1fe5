"""The one place that every request passes through: slot, deadline, retries and events."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from apm_s3._hints import Advice
from apm_s3._logs import EXCHANGES, OPERATIONS, REQUESTS, Exchanges, log_event, log_exchanges
from apm_s3._s3.retry import RECOVERABLE, RetryBudget, is_transient, with_retries
from apm_s3._tasks import Deadlines, Watch
from apm_s3.errors import (
    ApmS3Error,
    ConditionalConflict,
    DeadlineExceeded,
    IntegrityError,
    ManagerClosed,
    NotModified,
    PreconditionFailed,
    S3Error,
    ServiceUnavailable,
    Throttled,
)
from apm_s3.events import Hook, OperationEvent, Outcome, current_labels, emit, expected_errors

if TYPE_CHECKING:
    from apm_s3._s3.pool import S3ConnectionPool
    from apm_s3._tracing import RequestTrace, Tracer
    from apm_s3.metrics import S3Metrics
    from apm_s3.settings import S3Settings

T = TypeVar("T")
R = TypeVar("R")

POOL_HINT = Advice.POOL()

_CLOSED = "this S3Manager was closed during the call"

Attempt = Callable[[], Awaitable[T]]
Recover = Callable[[ApmS3Error], Awaitable[bool]]
Verdict = Callable[[S3Error, bool], Awaitable[T | None]]
Measure = Callable[[T], tuple[int, str | None]]
SlowDown = Callable[[str | None, str | None, float], bool]


class _Call(Watch, Generic[T]):
    """One call in progress, and the watch for its deadline."""

    __slots__ = (
        "attempt", "attempts", "bucket", "bytes_sent", "failure", "key", "limit", "operation", "queued",
        "recovered", "repeated", "replayable", "report", "sent_at", "started", "storage_class", "trace", "unresolved",
        "verdict", "waited",
    )  # fmt: skip

    attempt: Attempt[T]
    verdict: Verdict[T] | None
    waited: float
    """Seconds that it waited for a slot of the pool. Not set if it never waited."""
    repeated: bool
    """Whether its last two responses were malformed in the same way. Not set before the first failure."""

    def __init__(
        self, operation: str, bucket: str | None, key: str | None, limit: float, loop: asyncio.AbstractEventLoop | None
    ) -> None:
        self.operation: str = operation
        self.bucket: str | None = bucket
        self.key: str | None = key
        self.limit: float = limit
        self.started: float = time.monotonic()
        self.sent_at: float = self.started
        super().__init__(self.started + limit, loop)
        self.attempts: int = 0
        self.queued: bool = False
        self.report: StreamReport | None = None
        self.failure: ApmS3Error | None = None
        self.recovered: tuple[type[ApmS3Error], ...] = ()
        self.replayable: bool = True
        self.unresolved: bool = False
        self.bytes_sent: int = 0
        self.storage_class: str | None = None
        self.trace: RequestTrace | None = None


class StreamReport:
    """The result of a call whose body is read later: reported once, when the body has been read."""

    __slots__ = ("_call", "_opening", "_runner")

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._call: _Call[Any] | None = None
        self._opening = 0.0

    def begin(self, call: _Call[Any]) -> None:
        """Record that the call has started; from now on it is reported here."""
        self._call, self._opening = call, time.monotonic() - call.started

    def end(self, outcome: BaseException | Outcome, received: int, storage_class: str | None, waited: float) -> None:
        """Report the end of the body: its error, its bytes, and the seconds spent waiting for them.

        Harmless if it was already reported, or if the call never started.
        """
        call, self._call = self._call, None
        if call is not None:
            self._runner.stream_ended(call, outcome, received, storage_class, self._opening + waited)

    @property
    def trace(self) -> RequestTrace | None:
        """Return the trace of the call, while it is open and traced."""
        return None if self._call is None else self._call.trace

    def traced(self) -> AbstractContextManager[object]:
        """Run the block as a part of the call, for its trace."""
        trace = self.trace
        return nullcontext() if trace is None else trace.entered()


class Runner:
    """Runs attempts of a verb until one succeeds or the error is final.

    Args:
        metrics: counts each operation. Successes are reported to it without an event, which is cheaper.
        hooks: called after each operation, and for each retry.
        recover: learns from errors about clocks, redirects and expired credentials; returns whether to repeat now.
        region: the manager's region, for events.
        log: has a line for each operation.
        tracer: traces each call.

    Attributes:
        slow_downs: told the bucket, the key and the time of sending (`time.monotonic`) of each throttled request. One
            that returns True slows down by itself, and the pool does not: two loops would halve twice.
    """

    def __init__(
        self,
        settings: S3Settings,
        pool: S3ConnectionPool,
        metrics: S3Metrics | None = None,
        hooks: tuple[Hook, ...] = (),
        recover: Recover | None = None,
        *,
        region: str | None = None,
        log: logging.Logger | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.tracer: Tracer | None = tracer
        self._retry = settings.retry
        self._deadline = settings.timeouts.deadline
        self._pool = pool
        self._metrics = metrics
        self._hooks = hooks
        self._recover = recover
        self._region = region
        self._log = log or OPERATIONS
        self._request_log = log or REQUESTS
        self.budget: RetryBudget = RetryBudget(settings.retry.budget, settings.retry.refund)
        self._deadlines = Deadlines()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self.slow_downs: list[SlowDown] = []

    def close(self) -> None:
        """Send no more requests, and end the calls in progress with `ManagerClosed`.

        Closing their connections is not enough: aiohttp does not wake tasks that wait for the rest of a body.
        """
        self._closed = True
        self._deadlines.expire_all()

    @contextmanager
    def watched(self, when: float) -> Iterator[Watch]:
        """Run the block under a deadline, whose `when` can be moved later, and stop it if the manager is closed.

        Raises:
            TimeoutError: the deadline passed.
            ManagerClosed: the manager is closed, or was closed meanwhile.
        """
        if self._closed:
            raise ManagerClosed(_CLOSED)
        watch = self._deadlines.watch(when)
        try:
            yield watch
        except asyncio.CancelledError as exc:
            if not watch.overrun:
                raise
            raise self._overrun() from exc
        finally:
            self._deadlines.forget(watch)

    async def run(
        self,
        operation: str,
        bucket: str | None,
        key: str | None,
        attempt: Attempt[T],
        *,
        replayable: bool = True,
        timeout: float | None = None,
        verdict: Verdict[T] | None = None,
        measure: Measure[T] | None = None,
        bytes_sent: int = 0,
        storage_class: str | None = None,
        report: StreamReport | None = None,
    ) -> T:
        """Return the result of `attempt`, retried if its error is transient.

        Args:
            operation: the public method's name, for errors, logs and metrics.
            replayable: whether the request's body can be sent a second time.
            timeout: seconds for the whole call, instead of the manager's deadline.
            verdict: determines the outcome of a write by reading, given S3's error and whether an earlier attempt of
                this call may have been carried out. It returns the write's result, or None if the error is final, or
                raises another error. It is called after every 412 and 409 of a condition, and after any other final
                error of S3 if an earlier attempt is unresolved.
            measure: returns the bytes received with a result, and its storage class, for events.
            bytes_sent: size of the request's body, for events.
            report: reports the success later, when the body has been read.

        Raises:
            DeadlineExceeded: the deadline passed before there was a response.
            ApmS3Error: the error of the last attempt, with `attempts` set.
        """
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        call: _Call[T] = _Call(operation, bucket, key, self._deadline if timeout is None else timeout, self._loop)
        call.attempt, call.replayable, call.verdict = attempt, replayable, verdict
        call.bytes_sent, call.storage_class = bytes_sent, storage_class
        call.report = report
        if self.tracer is not None:
            call.trace = self.tracer.request(operation, bucket, key, self._region)
        self._deadlines.add(call)
        try:
            try:
                result = await self._once(call, attempt)
            except ApmS3Error as error:
                first = error
            else:
                return self._succeeded(call, result, measure)
            result = await self._recover_or_retry(call, first)
        except BaseException as error:
            failure = self._failed(call, error)
            if failure is error:
                raise
            raise failure from call.failure
        else:
            return self._succeeded(call, result, measure)
        finally:
            self._deadlines.forget(call)
            if call.trace is not None:
                call.trace.leave()

    def _overrun(self) -> Exception:
        return ManagerClosed(_CLOSED) if self._closed else TimeoutError()

    async def _once(self, call: _Call[T], attempt: Attempt[R]) -> R:
        pool = self._pool
        covered = pool.covers(call.task)
        if not (covered or pool.try_acquire()):
            call.queued = True
            began = time.monotonic()
            await pool.acquire()
            call.queued = False
            waited = time.monotonic() - began
            call.waited = getattr(call, "waited", 0.0) + waited
            if call.trace is not None:
                call.trace.waited(waited)
        try:
            if self._closed:
                raise _closed_under(call)
            call.attempts += 1
            call.sent_at = time.monotonic()
            if call.trace is not None or self._request_log.isEnabledFor(logging.DEBUG):
                return await self._observed(call, attempt)
            return await attempt()
        finally:
            if not covered:
                pool.release()

    async def _observed(self, call: _Call[T], attempt: Attempt[R]) -> R:
        """An attempt whose requests are logged one by one, or traced."""
        exchanges = Exchanges()
        failure: BaseException | None = None
        token = EXCHANGES.set(exchanges)
        try:
            if call.trace is None:
                return await attempt()
            with call.trace.sending(call.attempts, exchanges):
                return await attempt()
        except BaseException as exc:
            failure = exc
            raise
        finally:
            EXCHANGES.reset(token)
            if self._request_log.isEnabledFor(logging.DEBUG):
                seconds = time.monotonic() - call.sent_at
                log_exchanges(
                    self._request_log, call.operation, call.bucket, call.key, call.attempts, seconds, exchanges, failure
                )

    async def _recover_or_retry(self, call: _Call[T], first: ApmS3Error) -> T:
        """After a first failure, recover, get the verdict, or retry by the policy."""
        failure: ApmS3Error | None = first

        async def attempt_with_verdict() -> T:
            nonlocal failure
            error, failure = failure, None
            while True:
                if error is None:
                    try:
                        return await self._once(call, call.attempt)
                    except ApmS3Error as raised:
                        error = raised
                self._note(call, error)
                if not await self._recovered(call, error):
                    break
                error = None
            return await self._judged(call, error)

        try:
            return await attempt_with_verdict()
        except ApmS3Error as error:
            if not self._may_retry(call, error):
                raise
            first = error
        return await with_retries(
            first,
            attempt_with_verdict,
            self._retry,
            retry=lambda error: self._may_retry(call, error),
            budget=self.budget,
            ends_at=call.when,
            on_retry=lambda error, _attempt, pause: self._retrying(call, error, pause),
        )

    def _may_retry(self, call: _Call[T], error: ApmS3Error) -> bool:
        return call.replayable and is_transient(error) and not getattr(call, "repeated", False)

    def _note(self, call: _Call[T], error: ApmS3Error) -> None:
        # A response that is malformed in the same way twice was not damaged on its way: it will not change.
        damaged = isinstance(error, IntegrityError) and not isinstance(error, S3Error)
        call.repeated = damaged and call.failure is not None and call.failure.problem == error.problem
        call.failure = error
        throttled = isinstance(error, Throttled) or (isinstance(error, ServiceUnavailable) and error.status == 503)
        if throttled and not any(slows(call.bucket, call.key, call.sent_at) for slows in self.slow_downs):
            self._pool.slowed(call.sent_at)

    async def _recovered(self, call: _Call[T], error: ApmS3Error) -> bool:
        """Return whether `error` taught something, once per kind, so that the request can be repeated immediately."""
        if self._recover is None or not isinstance(error, RECOVERABLE) or type(error) in call.recovered:
            return False
        call.recovered += (type(error),)
        if not await self._recover(error) or not call.replayable:
            return False
        self._retrying(call, error, 0.0)
        return True

    async def _judged(self, call: _Call[T], error: ApmS3Error) -> T:
        """Return the result of a failed attempt if the verdict finds one, otherwise raise the error."""
        unresolved = call.unresolved
        call.unresolved = unresolved or error.may_have_happened
        if call.verdict is None or not isinstance(error, S3Error):
            raise error
        conditional = isinstance(error, PreconditionFailed | ConditionalConflict)
        if not conditional and (not unresolved or error.retryable):
            raise error
        verdict = call.verdict
        attempts = call.attempts
        try:
            result = await self._once(call, lambda: verdict(error, unresolved))
        finally:
            call.attempts = attempts
        if result is None:
            raise error
        return result

    def _retrying(self, call: _Call[T], error: BaseException, pause: float) -> None:
        self._log.info(
            "%s: attempt %d failed, again in %.3f s: %s", call.operation, call.attempts, pause, _complete(call, error)
        )
        self._tell(self._observers(), call, Outcome.RETRY, error)

    def _succeeded(self, call: _Call[T], result: T, measure: Measure[T] | None) -> T:
        self._pool.succeeded()
        self.budget.succeeded()
        if call.report is not None:
            call.report.begin(call)
            return result
        received, storage_class = (0, None) if measure is None else measure(result)
        if self._metrics is not None:
            duration = time.monotonic() - call.started
            self._metrics.succeeded(call.operation, duration, call.bytes_sent, received)
        if self._hooks or call.trace is not None or self._log.isEnabledFor(logging.INFO):
            self._tell(self._hooks, call, Outcome.SUCCESS, received=received, storage_class=storage_class)
        return result

    def _failed(self, call: _Call[T], error: BaseException) -> BaseException:
        """Complete `error` and report it to the hooks, and return the error to raise."""
        outcome = Outcome.FAILURE
        if isinstance(error, asyncio.CancelledError):
            if call.overrun:
                error = _closed_under(call) if self._closed else self._overdue(call)
            else:
                outcome = Outcome.CANCELLED
        elif self._closed and not isinstance(error, ApmS3Error):
            # The exceptions that aiobotocore raises when its session is closed during a request are in no table.
            call.failure, error = None, _closed_under(call)
        error = _complete(call, error)
        if isinstance(error, (NotModified, *expected_errors())):
            outcome = Outcome.SUCCESS
        self._tell(self._observers(), call, outcome, error)
        return error

    def stream_ended(
        self,
        call: _Call[Any],
        outcome: BaseException | Outcome,
        received: int,
        storage_class: str | None,
        duration: float,
    ) -> None:
        """Report a call whose body was read, completely or not: see `StreamReport`."""
        error = outcome if isinstance(outcome, BaseException) else None
        if isinstance(outcome, asyncio.CancelledError):
            outcome = Outcome.CANCELLED
        elif isinstance(outcome, BaseException):
            outcome = Outcome.FAILURE
        hooks = self._observers()
        self._tell(hooks, call, outcome, error, received, storage_class, duration=duration)

    def _overdue(self, call: _Call[T]) -> DeadlineExceeded:
        passed = f"the deadline of {call.limit:g} s passed"
        if call.queued:
            what = "nothing was sent" if not call.attempts else f"{call.attempts} attempts failed before"
            return DeadlineExceeded(
                f"{passed} while waiting for a slot of the pool ({self._pool.stats().max_concurrency} in all): {what}",
                hint=POOL_HINT,
                sent=False,
            )
        waited = getattr(call, "waited", 0.0)
        waiting = f" ({waited:.3g} s of it waiting for a slot of the pool)" if waited >= call.limit / 10 else ""
        hint = POOL_HINT if waited >= call.limit / 2 else None
        if call.failure is not None:
            return DeadlineExceeded(f"{passed}{waiting}; the last failure was {type(call.failure).__name__}", hint=hint)
        return DeadlineExceeded(f"no response within the deadline of {call.limit:g} s{waiting}", hint=hint)

    def _observers(self) -> tuple[Hook, ...]:
        return self._hooks if self._metrics is None else (self._metrics, *self._hooks)

    def _tell(
        self,
        hooks: tuple[Hook, ...],
        call: _Call[T],
        outcome: Outcome,
        error: BaseException | None = None,
        received: int = 0,
        storage_class: str | None = None,
        duration: float | None = None,
    ) -> None:
        if duration is None:
            duration = time.monotonic() - call.started
        tool, environment = current_labels()
        event = OperationEvent(
            call.operation,
            call.bucket,
            call.key,
            tool,
            environment,
            self._region,
            call.attempts,
            time.time() - duration,
            duration,
            outcome,
            error.code if isinstance(error, ApmS3Error) else None,
            error.request_id if isinstance(error, S3Error) else None,
            call.bytes_sent,
            received,
            storage_class or call.storage_class,
        )
        if call.trace is not None:
            call.trace.told(event)
        emit(hooks, event)
        if outcome is not Outcome.RETRY:  # `_retrying` has told it, with the pause that follows
            log_event(self._log, event)


def _closed_under(call: _Call[Any]) -> ManagerClosed:
    what = "the request may or may not have been carried out" if call.attempts else "nothing was sent"
    error = ManagerClosed(f"{_CLOSED}: {what}")
    error.unresolved = bool(call.attempts)
    return error


def _complete(call: _Call[Any], error: BaseException) -> BaseException:
    """Add the facts that were not known where `error` was raised."""
    if isinstance(error, ApmS3Error):
        error.attempts = max(call.attempts, 1)
        error.unresolved = error.unresolved or call.unresolved
        error.operation = call.operation
        if error.bucket is None:
            error.bucket, error.key = call.bucket, call.key
    return error
