"""Retries for users' own functions, and the policy's pauses and budget."""

from __future__ import annotations

import asyncio
import functools
import random

import aiohttp
import pytest
from botocore.exceptions import ClientError

from apm_s3 import retry_s3
from apm_s3.errors import (
    AccessDenied,
    ConnectionLost,
    DeadlineExceeded,
    ExpiredToken,
    InvalidOption,
    ObjectNotFound,
    ServiceUnavailable,
    Throttled,
)
from apm_s3.settings import RetrySettings
from tests.faults.virtual_time import VirtualTimeLoop, run_in_virtual_time
from tests.seams.s3 import (
    Backoff,
    RetryBudget,
    is_transient,
    pause_after,
    spread,
    stop_the_clock_of_retries,
    with_retries,
)

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


async def test_a_decorator_names_the_operation() -> None:
    @retry_s3(operation="restore")
    async def load() -> None:
        raise AccessDenied("no")

    with pytest.raises(AccessDenied) as caught:
        await load()
    assert caught.value.operation == "restore"


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

    with pytest.raises(ObjectNotFound) as caught:
        quickly(load)
    assert (caught.value.operation, caught.value.attempts) == ("load", 2)
    assert isinstance(caught.value.__cause__, ClientError)


async def test_aiohttp_errors_are_retried() -> None:
    errors = [aiohttp.ServerDisconnectedError()]

    async def load() -> str:
        if errors:
            raise errors.pop()
        return "done"

    assert await quickly(load) == "done"


def test_an_error_of_this_library_stays_the_same_object() -> None:
    late = DeadlineExceeded("too late")
    late.retryable = False

    def load() -> None:
        raise late

    with pytest.raises(DeadlineExceeded) as caught:
        quickly(load)
    assert caught.value is late
    assert isinstance(late, TimeoutError)


def test_a_missing_local_file_is_not_mistaken_for_a_lost_connection() -> None:
    flaky = Flaky(1, FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        quickly(flaky)
    assert flaky.calls == 1


def test_a_function_is_called_three_times_unless_told_otherwise() -> None:
    flaky = Flaky(9)
    with pytest.raises(ConnectionLost):
        quickly(flaky)
    assert flaky.calls == 3


def test_each_retry_leaves_a_warning_with_its_number_and_pause(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: high)

    quickly(Flaky(2))

    assert [(record.name, record.levelname) for record in caplog.records] == [("apm_s3", "WARNING")] * 2
    told = [record.args[1:3] for record in caplog.records if isinstance(record.args, tuple)]
    assert told == [(1, 0.0001), (2, 0.0002)]


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
        await with_retries(ServiceUnavailable("first"), attempt, RetrySettings(attempts=3, initial_delay=0.0001))
    assert attempts == 2


async def test_a_pause_that_would_reach_the_deadline_ends_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    async def attempt() -> None:
        raise AssertionError("not reached")

    # The pauses after the first one would be short enough.
    pauses = iter((0.5, 0.0, 0.0))
    stop_the_clock_of_retries(monkeypatch, 100.0)
    monkeypatch.setattr(random, "uniform", lambda low, high: next(pauses))
    with pytest.raises(ServiceUnavailable):
        await with_retries(ServiceUnavailable("x"), attempt, RetrySettings(attempts=4), ends_at=100.5)


def test_a_retry_is_announced_and_then_waits_for_its_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    first, told = ServiceUnavailable("x", retry_after=3.0), []
    monkeypatch.setattr(random, "uniform", lambda low, high: low)

    async def main(loop: VirtualTimeLoop) -> float:
        began = loop.time()

        async def attempt() -> float:
            return loop.time() - began

        return await with_retries(first, attempt, RetrySettings(), on_retry=lambda *retry: told.append(retry))

    assert run_in_virtual_time(main) >= 3.0
    assert told == [(first, 1, 3.0)]


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
    assert is_transient(ConnectionLost("x"))
    assert not is_transient(ExpiredToken("x"))
