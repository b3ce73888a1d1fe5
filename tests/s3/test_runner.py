"""The runner: exact attempts, one deadline for all, one recovery each, and verdicts on ambiguous writes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

import pytest

from apm_s3 import S3ConnectionPool
from apm_s3.errors import (
    AccessDenied,
    ApmS3Error,
    ClockSkewed,
    ConditionalConflict,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    DigestRejected,
    ErrorCode,
    ExpiredToken,
    IntegrityError,
    ObjectNotFound,
    PreconditionFailed,
    S3Error,
    ServiceUnavailable,
    Throttled,
)
from apm_s3.events import OperationEvent, Outcome, labels
from apm_s3.settings import RetrySettings, S3Settings, Timeouts
from tests.faults.virtual_time import VirtualTimeLoop, run_in_virtual_time
from tests.seams.s3 import Runner

QUICK = RetrySettings(attempts=3, initial_delay=0.0001)


class Script:
    """An attempt that raises the given errors in order, and then returns its result."""

    def __init__(self, *errors: BaseException, result: str = "done") -> None:
        self.errors = list(errors)
        self.result = result
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.result


class World:
    def __init__(self, retry: RetrySettings = QUICK, deadline: float = 5.0, size: int = 2, learns: bool = True) -> None:
        self.pool = S3ConnectionPool(size)
        self.events: list[OperationEvent] = []
        self.learned: list[ApmS3Error] = []
        self.learns = learns
        settings = S3Settings(retry=retry, timeouts=Timeouts(deadline=deadline))
        self.runner = Runner(settings, self.pool, None, (self.events.append,), self.recover, region="eu-west-1")

    async def recover(self, error: ApmS3Error) -> bool:
        self.learned.append(error)
        return self.learns

    async def run(self, attempt: Callable[[], Awaitable[str]], **options: object) -> str:
        return await self.runner.run("read_file", "bucket", "key", attempt, **options)  # type: ignore[arg-type]


async def never() -> str:
    await asyncio.get_running_loop().create_future()
    raise AssertionError


def answer(kind: type[S3Error], status: int) -> S3Error:
    return kind("no", status=status)


async def test_a_success_is_sent_once() -> None:
    world, script = World(), Script()
    assert await world.run(script) == "done"
    assert script.calls == 1


async def test_a_transient_error_is_retried_until_it_passes() -> None:
    world, script = World(), Script(ServiceUnavailable("x", status=500), ConnectionLost("x"))
    assert await world.run(script) == "done"
    assert script.calls == 3


async def test_attempts_include_the_first_and_are_in_the_error() -> None:
    world, script = World(), Script(*(ServiceUnavailable(f"{n}", status=500) for n in range(9)))
    with pytest.raises(ServiceUnavailable, match="after 3 attempts") as caught:
        await world.run(script)
    assert script.calls == caught.value.attempts == 3
    assert (caught.value.problem, caught.value.operation, caught.value.bucket) == ("2", "read_file", "bucket")


async def test_a_permanent_error_is_raised_immediately() -> None:
    world, script = World(), Script(AccessDenied("x", status=403))
    with pytest.raises(AccessDenied) as caught:
        await world.run(script)
    assert script.calls == caught.value.attempts == 1


async def test_a_body_that_cannot_be_replayed_is_sent_once() -> None:
    world, script = World(), Script(ConnectionLost("x"))
    with pytest.raises(ConnectionLost):
        await world.run(script, replayable=False)
    assert script.calls == 1


async def test_damaged_bytes_are_requested_again() -> None:
    world, script = World(), Script(IntegrityError("x"))
    assert await world.run(script) == "done"


async def test_a_foreign_exception_is_raised_unchanged() -> None:
    world, script = World(), Script(KeyError("theirs"))
    with pytest.raises(KeyError):
        await world.run(script)
    assert script.calls == 1
    assert [(event.outcome, event.error_code) for event in world.events] == [(Outcome.FAILURE, None)]


# Recoveries


async def test_a_recovery_repeats_the_request_without_counting_as_a_retry() -> None:
    world, script = World(RetrySettings(attempts=1)), Script(ClockSkewed("x", status=403))
    assert await world.run(script) == "done"
    assert script.calls == 2
    assert len(world.learned) == 1


async def test_each_kind_of_recovery_happens_once_per_call() -> None:
    world = World()
    script = Script(ClockSkewed("1"), ExpiredToken("2"), ClockSkewed("3"), result="never")
    with pytest.raises(ClockSkewed, match="3"):
        await world.run(script)
    assert [type(error) for error in world.learned] == [ClockSkewed, ExpiredToken]
    assert script.calls == 3


async def test_a_recoverable_error_without_a_correction_is_raised() -> None:
    world, script = World(learns=False), Script(ExpiredToken("x"))
    with pytest.raises(ExpiredToken):
        await world.run(script)
    assert script.calls == 1


async def test_a_body_that_cannot_be_replayed_is_not_repeated_after_a_recovery() -> None:
    world, script = World(), Script(ExpiredToken("x"))
    with pytest.raises(ExpiredToken):
        await world.run(script, replayable=False)
    assert (script.calls, len(world.learned)) == (1, 1)


async def test_an_error_after_a_recovery_is_retried() -> None:
    world, script = World(), Script(ExpiredToken("x"), ServiceUnavailable("x", status=503))
    assert await world.run(script) == "done"
    assert script.calls == 3


# Verdicts


class Judge:
    def __init__(self, result: str | None = None, error: ApmS3Error | None = None) -> None:
        self.result, self.error = result, error
        self.asked: list[tuple[type[S3Error], bool]] = []

    async def __call__(self, error: S3Error, unresolved: bool) -> str | None:
        self.asked.append((type(error), unresolved))
        if self.error is not None:
            raise self.error
        return self.result


async def test_a_412_after_a_lost_response_is_decided_by_a_read() -> None:
    world, judge = World(), Judge("mine")
    assert await world.run(Script(ConnectionLost("x"), answer(PreconditionFailed, 412)), verdict=judge) == "mine"
    assert judge.asked == [(PreconditionFailed, True)]


async def test_a_412_without_an_earlier_attempt_is_raised() -> None:
    world, judge = World(), Judge()
    with pytest.raises(PreconditionFailed):
        await world.run(Script(answer(PreconditionFailed, 412)), verdict=judge)
    assert judge.asked == [(PreconditionFailed, False)]


async def test_an_error_reports_an_earlier_attempt_that_may_have_been_carried_out() -> None:
    world = World()
    with pytest.raises(AccessDenied) as after_a_loss:
        await world.run(Script(ConnectionLost("x"), answer(AccessDenied, 403)))
    with pytest.raises(AccessDenied) as alone:
        await world.run(Script(answer(AccessDenied, 403)))
    assert after_a_loss.value.may_have_happened
    assert not alone.value.may_have_happened


async def test_after_a_refused_connection_nothing_is_uncertain() -> None:
    world, judge = World(), Judge()
    with pytest.raises(PreconditionFailed):
        await world.run(Script(ConnectFailed("x"), answer(PreconditionFailed, 412)), verdict=judge)
    assert judge.asked == [(PreconditionFailed, False)]


async def test_a_409_conflict_is_examined_and_then_retried() -> None:
    world, judge, script = World(), Judge(), Script(answer(ConditionalConflict, 409))
    assert await world.run(script, verdict=judge) == "done"
    assert judge.asked == [(ConditionalConflict, False)]
    assert script.calls == 2


async def test_a_verdict_can_raise_another_error() -> None:
    world, judge, script = (
        World(),
        Judge(error=answer(PreconditionFailed, 412)),
        Script(answer(ConditionalConflict, 409)),
    )
    with pytest.raises(PreconditionFailed):
        await world.run(script, verdict=judge)
    assert script.calls == 1


async def test_any_final_response_after_an_uncertain_attempt_is_examined() -> None:
    world, judge = World(), Judge("gone, as asked")
    script = Script(ServiceUnavailable("x", status=500), answer(ObjectNotFound, 404))
    assert await world.run(script, verdict=judge) == "gone, as asked"


async def test_a_final_response_to_the_only_attempt_is_not_examined() -> None:
    world, judge = World(), Judge("wrong")
    with pytest.raises(ObjectNotFound):
        await world.run(Script(answer(ObjectNotFound, 404)), verdict=judge)
    assert judge.asked == []


# Deadline and cancellation


async def test_the_deadline_ends_an_attempt_without_a_response() -> None:
    world = World()
    with pytest.raises(DeadlineExceeded, match=r"0\.01 s") as caught:
        await world.run(never, timeout=0.01)
    assert isinstance(caught.value, TimeoutError)
    assert world.pool.stats().in_use == 0


async def test_the_deadline_includes_the_wait_for_the_pool() -> None:
    world = World(size=1)
    async with world.pool.slot():
        waiting = asyncio.create_task(world.run(Script(), timeout=0.01))
        with pytest.raises(DeadlineExceeded, match="nothing was sent") as caught:
            await waiting
        assert caught.value.retryable
        assert not caught.value.may_have_happened
    assert world.pool.stats().waiting == world.pool.stats().in_use == 0


def test_the_deadline_tells_the_wait_for_the_pool_from_that_for_the_server() -> None:
    async def main(_loop: VirtualTimeLoop) -> list[DeadlineExceeded]:
        world, errors = World(size=1), []
        for held in (6, 1, 0.1):
            await world.pool.acquire()
            asyncio.get_running_loop().call_later(held, world.pool.release)
            with pytest.raises(DeadlineExceeded) as caught:
                await world.run(never, timeout=8)
            errors.append(caught.value)
        return errors

    most, some, little = run_in_virtual_time(main)
    said = r"no response within the deadline of 8 s \({}(\.\d+)? s of it waiting for a slot of the pool\)"
    assert re.fullmatch(said.format(6), most.problem)
    assert "max_concurrency" in str(most)
    assert re.fullmatch(said.format(1), some.problem)
    assert little.problem == "no response within the deadline of 8 s"
    assert "max_concurrency" not in f"{some} {little}"
    assert all(error.retryable and error.may_have_happened for error in (most, some, little))


async def test_a_pause_that_would_reach_the_deadline_is_not_started() -> None:
    world = World()
    error = Throttled("x", status=503, retry_after=3600)
    with pytest.raises(Throttled):
        await world.run(Script(error), timeout=60)
    assert world.events[-1].duration < 30


def test_the_last_failure_is_the_cause_of_a_deadline_error() -> None:
    lost = ConnectionLost("x")

    async def main(_loop: VirtualTimeLoop) -> DeadlineExceeded:
        script = Script(lost)

        async def attempt() -> str:
            return await (script() if script.errors else never())

        with pytest.raises(DeadlineExceeded, match="ConnectionLost") as caught:
            await World().run(attempt, timeout=5)
        return caught.value

    error = run_in_virtual_time(main)
    assert error.__cause__ is lost
    assert error.attempts == 2


async def test_a_cancellation_by_the_caller_is_not_a_deadline() -> None:
    world = World()
    task = asyncio.create_task(world.run(never))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.pool.stats().in_use == 0
    assert [event.outcome for event in world.events] == [Outcome.CANCELLED]


async def test_a_cancellation_at_the_deadline_remains_a_cancellation() -> None:
    world = World()
    task = asyncio.create_task(world.run(never, timeout=0.01))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0, lambda: None)
    sweep = world.runner._deadlines._sweep
    world.runner._deadlines._watches.copy().pop().when = 0.0
    sweep()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_task_is_not_left_cancelled_after_its_deadline() -> None:
    world = World()

    async def overrun_then_work() -> str:
        with pytest.raises(DeadlineExceeded):
            await world.run(never, timeout=0.01)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        async with asyncio.timeout(5):
            return await world.run(Script())

    assert await asyncio.create_task(overrun_then_work()) == "done"


async def test_a_cancellation_is_never_retried() -> None:
    world, script = World(), Script(asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await world.run(script)
    assert script.calls == 1


# Budget, pool and events


async def test_an_empty_budget_means_no_retry() -> None:
    world = World(RetrySettings(attempts=3, initial_delay=0.0001, budget=1.0, refund=0.0))
    first, second = Script(*[ConnectionLost("x")] * 9), Script(ConnectionLost("x"))
    with pytest.raises(ConnectionLost):
        await world.run(first)
    with pytest.raises(ConnectionLost):
        await world.run(second)
    assert (first.calls, second.calls) == (2, 1)


async def test_successes_refill_the_budget() -> None:
    world = World(RetrySettings(attempts=2, initial_delay=0.0001, budget=1.0, refund=0.5))
    for script in (Script(ConnectionLost("x")), Script(), Script(ConnectionLost("x"))):
        assert await world.run(script) == "done"


async def test_a_throttled_response_halves_the_pool() -> None:
    world = World(size=8)
    await world.run(Script(Throttled("x", status=503)))
    stats = world.pool.stats()
    assert (stats.limit, stats.slowdowns) == (4, 1)


@pytest.mark.parametrize(("handled", "limit"), [(True, 8), (False, 4)])
async def test_the_pool_slows_down_only_if_nobody_else_does(handled: bool, limit: int) -> None:
    world = World(size=8)
    asked: list[tuple[str | None, str | None]] = []
    world.runner.slow_downs.append(lambda bucket, key, _: asked.append((bucket, key)) or handled)  # type: ignore[func-returns-value]
    await world.run(Script(Throttled("x", status=503)))

    assert world.pool.stats().limit == limit
    assert asked == [("bucket", "key")]


async def test_the_slot_is_free_during_a_pause() -> None:
    world = World(RetrySettings(attempts=2, initial_delay=0.0001), size=1)
    in_pause: list[int] = []

    def hook(event: OperationEvent) -> None:
        if event.outcome is Outcome.RETRY:
            in_pause.append(world.pool.stats().in_use)

    world.runner._hooks = (hook,)
    await world.run(Script(ConnectionLost("x")))
    assert in_pause == [0]


async def test_calls_inside_a_section_use_its_slot() -> None:
    world = World(size=1)
    async with world.pool.slot():
        assert await world.run(Script(), timeout=5) == "done"
        assert world.pool.stats().in_use == 1


async def test_an_event_describes_the_operation() -> None:
    world = World()
    with labels(tool="loki", environment="staging"):
        await world.run(
            Script(ServiceUnavailable("x", status=500, request_id="R1")),
            measure=lambda result: (len(result), "GLACIER"),
            bytes_sent=7,
        )
    retry, success = world.events
    assert (retry.outcome, retry.attempt, retry.error_code, retry.request_id) == (
        Outcome.RETRY,
        1,
        ErrorCode.SERVICE_UNAVAILABLE,
        "R1",
    )
    assert success[:7] == ("read_file", "bucket", "key", "loki", "staging", "eu-west-1", 2)
    assert (success.outcome, success.bytes_sent, success.bytes_received, success.storage_class) == (
        Outcome.SUCCESS,
        7,
        4,
        "GLACIER",
    )


async def test_a_failing_hook_affects_nothing_else() -> None:
    world = World()

    def broken(event: OperationEvent) -> None:
        raise ValueError(event.operation)

    world.runner._hooks = (broken, world.events.append)
    assert await world.run(Script()) == "done"
    assert len(world.events) == 1


async def test_a_response_that_is_malformed_in_the_same_way_twice_is_not_requested_again() -> None:
    world, script = World(), Script(IntegrityError("not XML"), IntegrityError("not XML"))
    with pytest.raises(IntegrityError):
        await world.run(script)
    assert script.calls == 2
    assert await world.run(Script(IntegrityError("byte 1"), IntegrityError("byte 2"))) == "done"
    assert await world.run(Script(DigestRejected("x", status=400), DigestRejected("x", status=400))) == "done"
