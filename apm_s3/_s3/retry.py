"""When a failed request is made again, and after what pause: the only place that decides it. Built on tenacity.

tenacity is entered after a first failure only: around a first attempt it would cost more than the request itself.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar, cast, overload

import aiohttp
from botocore.exceptions import BotoCoreError, ClientError
from tenacity import AsyncRetrying, RetryCallState, Retrying

from apm_s3._logs import LOGGER
from apm_s3._s3.transports.boto.errors import translate
from apm_s3.errors import ApmS3Error, ClockSkewed, ExpiredToken, S3Error, WrongRegion
from apm_s3.settings import RetrySettings

T = TypeVar("T")
P = ParamSpec("P")

RECOVERABLE = (ClockSkewed, ExpiredToken, WrongRegion)
"""Errors that pass once something is learned from them (clock, credentials, route), not by waiting."""

OnRetry = Callable[[BaseException, int, float], None]
"""Told of each retry before its pause: the error, how many attempts there were, the pause in seconds."""


class RetryBudget:
    """A token bucket that all calls of a manager share, so that an outage is not multiplied by retries.

    A retry takes one token, a success brings `refund` back; an empty bucket means no retry.
    """

    __slots__ = ("_capacity", "_refund", "tokens")

    def __init__(self, capacity: float, refund: float) -> None:
        self._capacity, self._refund = capacity, refund
        self.tokens = capacity

    def take(self) -> bool:
        """Take a token for a retry; False where there is none."""
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def succeeded(self) -> None:
        """A call succeeded."""
        if self.tokens < self._capacity:
            self.tokens = min(self._capacity, self.tokens + self._refund)


def may_pass(error: BaseException) -> bool:
    """Whether the same request may succeed if it is made again after a pause. Never so for a cancellation."""
    return isinstance(error, ApmS3Error) and error.retryable and not isinstance(error, RECOVERABLE)


class _Policy:
    """Attempts, deadline, budget and pauses of one call that has failed once.

    tenacity asks for `stop` and `wait` in an order that depends on its version, so a pause is drawn once and kept.
    """

    def __init__(
        self, settings: RetrySettings, budget: RetryBudget | None, ends_at: float, on_retry: OnRetry | None
    ) -> None:
        self._settings = settings
        self._budget = budget
        self._ends_at = ends_at
        self._on_retry = on_retry
        self._drawn_for = 0
        self._pause = 0.0

    def arguments(self, retry: Callable[[BaseException], bool]) -> dict[str, Any]:
        def may_retry(state: RetryCallState) -> bool:
            error = _error(state)
            return error is not None and retry(error)

        return {
            "retry": may_retry,
            "stop": self._stop,
            "wait": self._wait,
            "before_sleep": self._before_sleep,
            "reraise": True,
        }

    def _wait(self, state: RetryCallState) -> float:
        """Full jitter, or what S3 asked for and the jitter on top, lest all come back at the same moment."""
        if self._drawn_for != state.attempt_number:
            self._drawn_for = state.attempt_number
            ceiling = self._settings.initial_delay * 2 ** min(state.attempt_number - 1, 32)
            self._pause = random.uniform(0, min(self._settings.max_delay, ceiling))  # noqa: S311 - no secret
            error = _error(state)
            if isinstance(error, S3Error) and error.retry_after is not None:
                self._pause += error.retry_after
        return self._pause

    def _stop(self, state: RetryCallState) -> bool:
        if state.attempt_number >= self._settings.attempts:
            return True
        if time.monotonic() + self._wait(state) >= self._ends_at:
            return True
        return self._budget is not None and not self._budget.take()

    def _before_sleep(self, state: RetryCallState) -> None:
        error = _error(state)
        if self._on_retry is not None and error is not None:
            self._on_retry(error, state.attempt_number, self._pause)


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None


async def go_on(
    first: BaseException,
    attempt: Callable[[], Awaitable[T]],
    settings: RetrySettings,
    *,
    retry: Callable[[BaseException], bool] = may_pass,
    budget: RetryBudget | None = None,
    ends_at: float = math.inf,
    on_retry: OnRetry | None = None,
) -> T:
    """What becomes of a call whose first attempt failed with `first`: the result of a later attempt, or the last error.

    Args:
        retry: which errors may pass.
        ends_at: the deadline (`time.monotonic`); a pause that would reach it is not begun.
    """
    failure: BaseException | None = first

    async def again() -> T:
        nonlocal failure
        if failure is not None:
            error, failure = failure, None
            raise error
        return await attempt()

    policy = _Policy(settings, budget, ends_at, on_retry)
    return cast("T", await AsyncRetrying(sleep=asyncio.sleep, **policy.arguments(retry))(again))


# --------------------------------------------------------------------------------------------------------------
# For the code of users


@overload
def retry_s3(
    fn: Callable[[], Awaitable[T]], *, attempts: int = 3, initial_delay: float = 0.1, operation: str | None = None
) -> Coroutine[Any, Any, T]: ...


@overload
def retry_s3(
    fn: Callable[[], T], *, attempts: int = 3, initial_delay: float = 0.1, operation: str | None = None
) -> T: ...


@overload
def retry_s3(
    fn: None = None, *, attempts: int = 3, initial_delay: float = 0.1, operation: str | None = None
) -> Callable[[Callable[P, T]], Callable[P, T]]: ...


def retry_s3(
    fn: Callable[[], Any] | None = None,
    *,
    attempts: int = 3,
    initial_delay: float = 0.1,
    operation: str | None = None,
) -> Any:
    """Call `fn` until it succeeds, its error cannot pass, or `attempts` calls were made.

    `await retry_s3(lambda: load(s3), attempts=5, operation="load")` for a function that gives an awaitable;
    `retry_s3(load_sync)` for any other (it pauses its thread); `@retry_s3(attempts=5)` as a decorator of either.
    The pauses have full jitter: 0 to initial_delay * 2**n seconds, at most 10, and what S3 asks for (`Retry-After`)
    on top. The methods of `S3Manager` retry by themselves: this is for what is built of several of them, or of boto3
    or aiobotocore, whose errors are translated.

    Args:
        operation: a name for logs and errors; the function's own where it is None.

    Raises:
        ApmS3Error: the last error, with `attempts` set and `operation` in front.
        InvalidOption: `attempts` is less than 1.
    """
    settings = RetrySettings(attempts=attempts, initial_delay=initial_delay)
    if fn is None:
        return functools.partial(_decorated, settings=settings, operation=operation)
    name = operation or _name_of(fn)
    return _call(fn, settings, name)


def _decorated(fn: Callable[..., Any], *, settings: RetrySettings, operation: str | None) -> Callable[..., Any]:
    name = operation or _name_of(fn)
    if inspect.iscoroutinefunction(fn):

        @functools.wraps(fn)
        async def waiting(*args: Any, **kwargs: Any) -> Any:
            return await _waiting(fn(*args, **kwargs), functools.partial(fn, *args, **kwargs), settings, name)

        return waiting

    @functools.wraps(fn)
    def blocking(*args: Any, **kwargs: Any) -> Any:
        return _call(functools.partial(fn, *args, **kwargs), settings, name)

    return blocking


def _call(fn: Callable[[], Any], settings: RetrySettings, operation: str) -> Any:
    """Whether `fn` is asynchronous shows by what it gives."""
    count = 0

    def counted() -> Any:
        nonlocal count
        count += 1
        with _ours():
            return fn()

    policy = _Policy(settings, None, math.inf, functools.partial(_log_retry, operation))
    try:
        result = Retrying(sleep=time.sleep, **policy.arguments(may_pass))(counted)
    except ApmS3Error as error:
        _name(error, operation, count)
        raise
    if inspect.isawaitable(result):
        return _waiting(result, fn, settings, operation)
    return result


async def _waiting(begun: Awaitable[T], fn: Callable[[], Awaitable[T]], settings: RetrySettings, operation: str) -> T:
    count = 1

    async def counted() -> T:
        nonlocal count
        count += 1
        with _ours():
            return await fn()

    try:
        try:
            with _ours():
                return await begun
        except ApmS3Error as error:
            first = error
        return await go_on(first, counted, settings, on_retry=functools.partial(_log_retry, operation))
    except ApmS3Error as error:
        _name(error, operation, count)
        raise


@contextmanager
def _ours() -> Iterator[None]:
    """Errors of botocore and aiohttp as ours, so that functions built on those can be retried, too."""
    try:
        yield
    except (BotoCoreError, ClientError, aiohttp.ClientError, ConnectionError, TimeoutError) as exc:
        if isinstance(exc, ApmS3Error):
            raise
        error = translate(exc, operation="")
        error.operation = None
        raise error from exc


def _log_retry(operation: str, error: BaseException, attempt: int, pause: float) -> None:
    LOGGER.warning("%s: attempt %d failed, again in %.3f s: %s", operation, attempt, pause, error)


def _name_of(fn: Callable[..., Any]) -> str:
    return str(getattr(fn, "__name__", type(fn).__name__))


def _name(error: ApmS3Error, operation: str, attempts: int) -> None:
    error.operation = operation if error.operation is None else f"{operation}: {error.operation}"
    error.attempts = attempts
