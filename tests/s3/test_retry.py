"""Retries for users' own functions, and the policy's pauses and budget."""

from __future__ import annotations

import asyncio
import functools
import random
from types import SimpleNamespace

import aiohttp
import pytest
from botocore.exceptions import ClientError

from apm_s3._backoff import Backoff, spread
from apm_s3._s3 import retry
from apm_s3._s3.retry import RetryBudget, go_on, may_pass, pause_after, retry_s3
from apm_s3.errors import (
    AccessDenied,
    ConnectionLost,
    ExpiredToken,
    InvalidOption,
    ObjectNotFound,
    ServiceUnavailable,
    Throttled,
)
from apm_s3.settings import RetrySettings

quickly = functools.partial(retry_s3, initial_delay=0.0001)


class Flaky:
    def __init__(self, failures: int, error: type[Exception] = ConnectionLost) -> None:
        self.failures, self.error, self.calls = failures, error, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error(f"failure {self.calls}")
        return "done"

    async def later(self) -> str:
        await asyncio.sleep(0)
        return self()


async def test_an_async_function_is_retried() -> None:
    flaky = Flaky(2)
    assert await quickly(flaky.later, operation="load") == "done"
    assert flaky.calls == 3


def test_a_sync_function_is_retried() -> None:
    flaky = Flaky(2)
    assert quickly(flaky, operation="load") == "done"
    assert flaky.calls == 3


async def test_a_lambda_that_returns_an_awaitable_is_retried() -> None:
    flaky = Flaky(2)
    assert await quickly(lambda: asyncio.ensure_future(flaky.later())) == "done"
    assert flaky.calls == 3


async def test_a_decorated_async_function_is_retried_with_its_arguments() -> None:
    flaky = Flaky(2)

    @retry_s3(attempts=3, initial_delay=0.0001)
    async def load(name: str, *, suffix: str) -> str:
        return name + suffix + await flaky.later()

    assert await load("a", suffix="b") == "abdone"
    assert flaky.calls == 3
    assert load.__name__ == "load"


def test_a_decorated_sync_function_is_retried_with_its_arguments() -> None:
    flaky = Flaky(1)

    @retry_s3(initial_delay=0.0001)
    def load(name: str) -> str:
        return name + flaky()

    assert load("a") == "adone"


async def test_the_last_error_names_the_operation_and_counts_the_attempts() -> None:
    flaky = Flaky(9)
    with pytest.raises(ConnectionLost, match=r"^load: failure 4 \(after 4 attempts\)") as caught:
        await quickly(flaky.later, attempts=4, operation="load")
    assert flaky.calls == caught.value.attempts == 4


def test_the_last_error_of_a_sync_function_counts_the_attempts() -> None:
    flaky = Flaky(9)
    with pytest.raises(ConnectionLost) as caught:
        quickly(flaky, attempts=2, operation="load")
    assert (flaky.calls, caught.value.attempts, caught.value.operation) == (2, 2, "load")


async def test_the_name_of_a_nested_operation_is_kept() -> None:
    async def inner() -> None:
        raise AccessDenied("no", operation="read_file")

    with pytest.raises(AccessDenied) as caught:
        await retry_s3(inner, operation="load")
    assert caught.value.operation == "load: read_file"


@pytest.mark.parametrize("error", [AccessDenied, ExpiredToken, ValueError, KeyboardInterrupt])
async def test_permanent_errors_are_not_retried(error: type[BaseException]) -> None:
    flaky = Flaky(1, error)  # type: ignore[arg-type]
    with pytest.raises(error):
        quickly(flaky)
    assert flaky.calls == 1


async def test_a_cancellation_is_not_retried() -> None:
    flaky = Flaky(1, asyncio.CancelledError)  # type: ignore[arg-type]
    with pytest.raises(asyncio.CancelledError):
        await quickly(flaky.later)
    assert flaky.calls == 1


async def test_a_cancellation_ends_a_pause() -> None:
    flaky = Flaky(9)
    task = asyncio.create_task(retry_s3(flaky.later, initial_delay=3600.0))
    await asyncio.wait({task}, timeout=0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert flaky.calls == 1


def boto_error(status: int, code: str) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetObject")  # type: ignore[typeddict-item]


def test_boto3_errors_are_retried_and_translated() -> None:
    errors = [boto_error(503, "SlowDown"), boto_error(404, "NoSuchKey")]

    def load() -> None:
        raise errors.pop(0)

    with pytest.raises(ObjectNotFound, match=r"^load: ") as caught:
        quickly(load)
    assert caught.value.attempts == 2
    assert isinstance(caught.value.__cause__, ClientError)


async def test_aiohttp_errors_are_retried() -> None:
    errors = [aiohttp.ServerDisconnectedError()]

    async def load() -> str:
        if errors:
            raise errors.pop()
        return "done"

    assert await quickly(load) == "done"


def test_a_missing_local_file_is_not_mistaken_for_a_lost_connection() -> None:
    flaky = Flaky(1, FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        quickly(flaky)
    assert flaky.calls == 1


def test_fewer_than_one_attempt_is_refused() -> None:
    with pytest.raises(InvalidOption):
        retry_s3(Flaky(0), attempts=0)


# The policy


def test_pauses_have_full_jitter_under_a_doubling_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: (low, high))
    backoff = Backoff(0.1, 0.5)
    assert [next(backoff) for _ in range(5)] == [(0, 0.1), (0, 0.2), (0, 0.4), (0, 0.5), (0, 0.5)]


def test_an_interval_is_spread_by_up_to_a_fifth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: low)
    assert spread(10.0) == 10.0
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    assert spread(10.0) == pytest.approx(12.0)


def test_a_pause_is_at_least_what_s3_asks_for() -> None:
    assert 7.0 <= pause_after(Throttled("x", retry_after=7.0), Backoff(0.1, 1.0)) <= 7.1


async def test_attempts_include_the_first() -> None:
    attempts = 0

    async def attempt() -> None:
        nonlocal attempts
        attempts += 1
        raise ServiceUnavailable("again")

    with pytest.raises(ServiceUnavailable, match="again"):
        await go_on(ServiceUnavailable("first"), attempt, RetrySettings(attempts=3, initial_delay=0.0001))
    assert attempts == 2


async def test_a_pause_that_would_reach_the_deadline_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    async def attempt() -> None:
        raise AssertionError("not reached")

    monkeypatch.setattr(retry, "time", SimpleNamespace(monotonic=lambda: 100.0))
    monkeypatch.setattr(random, "uniform", lambda low, high: low)
    error = ServiceUnavailable("x", retry_after=0.5)
    for ends_at in (100.0, 100.5):
        with pytest.raises(ServiceUnavailable):
            await go_on(error, attempt, RetrySettings(), ends_at=ends_at)


def test_a_budget_is_refilled_up_to_its_capacity() -> None:
    budget = RetryBudget(1.0, 0.6)
    assert budget.take() is True
    assert budget.take() is False
    budget.succeeded()
    assert budget.take() is False
    budget.succeeded()
    assert budget.take() is True
    for _ in range(9):
        budget.succeeded()
    assert budget.tokens == 1.0


def test_recoverable_errors_are_not_cured_by_waiting() -> None:
    assert may_pass(ConnectionLost("x"))
    assert not may_pass(ExpiredToken("x"))
