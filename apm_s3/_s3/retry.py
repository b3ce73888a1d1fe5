"""The only place that decides whether and when a failed request is retried.

Requests of the manager use `with_retries`, a plain loop. Functions of users run under tenacity, which handles both
synchronous and asynchronous functions.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

from apm_s3._backoff import Backoff
from apm_s3._logs import LOGGER
from apm_s3._s3.transports.boto.errors import botocore_errors, loaded, translate
from apm_s3.errors import ApmS3Error, ClockSkewed, ExpiredToken, S3Error, WrongRegion
from apm_s3.settings import RetrySettings

if TYPE_CHECKING:
    from tenacity import RetryCallState

T = TypeVar("T")
P = ParamSpec("P")

RECOVERABLE = (ClockSkewed, ExpiredToken, WrongRegion)
"""Errors that are resolved by learning from them (clock, credentials, route), not by waiting."""

OnRetry = Callable[[ApmS3Error, int, float], None]
"""Called before the pause of each retry: the error, the number of attempts so far, the pause in seconds."""


class RetryBudget:
    """A token bucket shared by all calls of a manager, so that retries do not make an outage worse.

    A retry takes one token, a success returns `refund`; there is no retry without a token.
    """

    __slots__ = ("_capacity", "_refund", "tokens")

    def __init__(self, capacity: float, refund: float) -> None:
        self._capacity, self._refund = capacity, refund
        self.tokens: float = capacity

    def take(self) -> bool:
        """Take a token for a retry; return False if there is none."""
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def succeeded(self) -> None:
        """Record a successful call."""
        if self.tokens < self._capacity:
            self.tokens = min(self._capacity, self.tokens + self._refund)


def is_transient(error: BaseException) -> bool:
    """Return whether repeating the request after a pause may succeed. Never True for a cancellation."""
    return isinstance(error, ApmS3Error) and error.retryable and not isinstance(error, RECOVERABLE)


def pause_after(error: BaseException, backoff: Backoff) -> float:
    """Return the pause in seconds: what S3 requested, plus jitter, so that not all calls return together."""
    asked = error.retry_after if isinstance(error, S3Error) else None
    return next(backoff) + (asked or 0.0)


async def with_retries(
    first: ApmS3Error,
    attempt: Callable[[], Awaitable[T]],
    settings: RetrySettings,
    *,
    retry: Callable[[ApmS3Error], bool] = is_transient,
    budget: RetryBudget | None = None,
    ends_at: float = math.inf,
    on_retry: OnRetry | None = None,
) -> T:
    """Continue a call whose first attempt failed with `first`: return the result of a retry, or raise the last error.

    Args:
        retry: returns whether an error is transient.
        ends_at: the deadline (`time.monotonic`); a pause that would reach it is not started.
    """
    error = first
    backoff = Backoff(settings.initial_delay, settings.max_delay)
    for count in range(1, settings.attempts):
        pause = pause_after(error, backoff)
        if not retry(error) or time.monotonic() + pause >= ends_at or not (budget is None or budget.take()):
            break
        if on_retry is not None:
            on_retry(error, count, pause)
        await asyncio.sleep(pause)
        try:
            return await attempt()
        except ApmS3Error as again:
            error = again
    raise error


# --------------------------------------------------------------------------------------------------------------
# For users' code


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
    """Call `fn` until it succeeds, fails with a permanent error, or was called `attempts` times.

    Use `await retry_s3(lambda: load(s3), attempts=5, operation="load")` for a function that returns an awaitable,
    `retry_s3(load_sync)` for any other function (it blocks its thread), and `@retry_s3(attempts=5)` as a decorator of
    either. The pauses have full jitter: 0 to initial_delay * 2**n seconds, at most 10, plus what S3 requests
    (`Retry-After`). The methods of `S3Manager` retry by themselves: this is for code that combines several of them, or
    that uses boto3 or aiobotocore, whose errors are translated.

    Args:
        operation: a name for logs and errors; by default the function's name.

    Raises:
        ApmS3Error: the last error, with `attempts` set and `operation` at the front.
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
    """Call `fn`; its result shows whether it is asynchronous."""
    count = 0

    def counted() -> Any:
        nonlocal count
        count += 1
        with _ours():
            return fn()

    from tenacity import Retrying  # noqa: PLC0415 - a manager needs none of it: see `with_retries`

    try:
        result = Retrying(sleep=time.sleep, **_policy(settings, operation))(counted)
    except ApmS3Error as error:
        _name(error, operation, count)
        raise
    if inspect.isawaitable(result):
        return _waiting(result, fn, settings, operation)
    return result


async def _waiting(begun: Awaitable[T], fn: Callable[[], Awaitable[T]], settings: RetrySettings, operation: str) -> T:
    count = 0

    async def counted() -> T:
        nonlocal count
        count += 1
        with _ours():
            return await (begun if count == 1 else fn())

    from tenacity import AsyncRetrying  # noqa: PLC0415 - see `_call`

    try:
        return cast("T", await AsyncRetrying(sleep=asyncio.sleep, **_policy(settings, operation))(counted))
    except ApmS3Error as error:
        _name(error, operation, count)
        raise


def _policy(settings: RetrySettings, operation: str) -> dict[str, Any]:
    """Return tenacity's arguments."""
    from tenacity import retry_if_exception, stop_after_attempt  # noqa: PLC0415 - see `_call`

    backoff = Backoff(settings.initial_delay, settings.max_delay)

    def wait(state: RetryCallState) -> float:
        error = _error(state)
        return 0.0 if error is None else pause_after(error, backoff)

    def log(state: RetryCallState) -> None:
        pause = state.next_action.sleep if state.next_action is not None else 0.0
        LOGGER.warning(
            "%s: attempt %d failed, again in %.3f s: %s", operation, state.attempt_number, pause, _error(state)
        )

    return {
        "retry": retry_if_exception(is_transient),
        "stop": stop_after_attempt(settings.attempts),
        "wait": wait,
        "before_sleep": log,
        "reraise": True,
    }


def _error(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None


@contextmanager
def _ours() -> Iterator[None]:
    """Translate errors of botocore and aiohttp, so that functions based on them can be retried as well."""
    try:
        yield
    except botocore_errors(*loaded("aiohttp", "ClientError"), ConnectionError, TimeoutError) as exc:
        if isinstance(exc, ApmS3Error):
            raise
        error = translate(exc, operation="")
        error.operation = None
        raise error from exc


def _name_of(fn: Callable[..., Any]) -> str:
    return str(getattr(fn, "__name__", type(fn).__name__))


def _name(error: ApmS3Error, operation: str, attempts: int) -> None:
    error.operation = operation if error.operation is None else f"{operation}: {error.operation}"
    error.attempts = attempts
