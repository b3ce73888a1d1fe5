"""Groups that raise the first error unchanged, shields that outlast cancellations, deadlines that know who cancelled."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator

import pytest

from tests.seams.tasks import Deadlines, Line, run_all, shielded, stop_all, wait_shielded


async def give(value: int) -> int:
    await asyncio.sleep(0)
    return value


async def fail(error: Exception) -> int:
    await asyncio.sleep(0)
    raise error


async def never() -> int:
    await asyncio.get_running_loop().create_future()
    raise AssertionError


async def test_results_come_in_order() -> None:
    assert await run_all(give(number) for number in range(5)) == [0, 1, 2, 3, 4]


async def test_the_first_failure_is_raised_unchanged_and_the_others_are_cancelled() -> None:
    before = asyncio.all_tasks()
    with pytest.raises(KeyError):
        await run_all([never(), fail(KeyError()), never()])
    assert asyncio.all_tasks() == before


async def test_a_failure_in_a_nested_group_is_raised_unchanged() -> None:
    with pytest.raises(KeyError):
        await run_all([run_all([fail(KeyError())])])  # type: ignore[list-item]


async def test_at_most_limit_run_at_a_time() -> None:
    now = most = 0

    async def work() -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1

    await run_all((work() for _ in range(20)), limit=3)
    assert most == 3


async def test_cancelling_a_group_cancels_all_its_tasks() -> None:
    before = asyncio.all_tasks()
    task = asyncio.create_task(run_all([never(), never()], limit=1))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == before


# Shields


async def test_the_error_of_a_task_is_raised_to_those_who_still_wait_and_reported_to_nobody_else() -> None:
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    for moment, count in (("before", 2), ("before", 1), ("with the error", 1)):
        work: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        waiters = [asyncio.ensure_future(wait_shielded(work)) for _ in range(count)]
        await asyncio.sleep(0)
        if moment == "before":
            waiters[0].cancel()
            await asyncio.wait(waiters[:1])
            assert not work.done()
        work.set_exception(ValueError("no"))
        waiters[0].cancel()
        await asyncio.wait(waiters)
        assert waiters[0].cancelled()
        assert all(isinstance(waiter.exception(), ValueError) for waiter in waiters[1:])
        del work, waiters
        gc.collect()
        await asyncio.sleep(0)
    assert reported == []


async def test_shielded_work_finishes_before_the_cancellation_is_raised() -> None:
    go, done = asyncio.Event(), []

    async def work() -> None:
        await go.wait()
        done.append(True)

    task = asyncio.create_task(shielded(work()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == [True]


async def test_the_result_of_cancelled_work_is_undone() -> None:
    go, undone = asyncio.Event(), []

    async def work() -> str:
        await go.wait()
        return "upload"

    async def undo(result: str) -> None:
        undone.append(result)

    task = asyncio.create_task(shielded(work(), on_cancel=undo))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert undone == ["upload"]


async def test_a_cancelled_caller_waits_for_shielded_work_no_longer_than_its_timeout() -> None:
    before = asyncio.all_tasks()
    task = asyncio.create_task(shielded(never(), timeout=0.01))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == before


async def test_shielded_work_that_fails_raises_its_error() -> None:
    with pytest.raises(KeyError):
        await shielded(fail(KeyError()))


# Deadlines


@pytest.fixture
async def deadlines() -> AsyncIterator[Deadlines]:
    made = Deadlines()
    yield made
    made.expire_all()


async def overrun(deadlines: Deadlines, seconds: float) -> bool:
    watch = deadlines.watch(time.monotonic() + seconds)
    try:
        await never()
    except asyncio.CancelledError:
        return watch.overrun
    finally:
        deadlines.forget(watch)
    raise AssertionError


async def test_a_call_is_cancelled_at_its_deadline(deadlines: Deadlines) -> None:
    assert await overrun(deadlines, 0.01)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_shorter_deadline_set_later_is_respected(deadlines: Deadlines) -> None:
    long = asyncio.create_task(overrun(deadlines, 3600))
    await asyncio.sleep(0)
    assert await overrun(deadlines, 0.01)
    assert not long.done()
    long.cancel()
    assert await long is False


async def test_one_timer_serves_many_deadlines(deadlines: Deadlines) -> None:
    outcomes = await asyncio.gather(*(overrun(deadlines, 0.001 * number) for number in range(20)))
    assert outcomes == [True] * 20
    assert deadlines._timer is None


async def test_a_finished_call_is_not_cancelled(deadlines: Deadlines) -> None:
    deadlines.forget(deadlines.watch(time.monotonic() + 0.005))
    assert await overrun(deadlines, 0.01)


async def test_an_already_passed_deadline_ends_the_call_at_its_first_await(deadlines: Deadlines) -> None:
    assert await overrun(deadlines, -1)


def test_a_deadline_needs_a_task() -> None:
    loop = asyncio.new_event_loop()
    raised: list[BaseException] = []

    def outside() -> None:
        try:
            Deadlines().watch(0)
        except RuntimeError as error:
            raised.append(error)
        loop.stop()

    loop.call_soon(outside)
    loop.run_forever()
    loop.close()
    assert len(raised) == 1


async def test_a_queue_wakes_the_first_task_that_still_waits() -> None:
    line = Line()
    woken = []

    async def wait(name: str) -> None:
        await line.wait()
        woken.append(name)

    tasks = [asyncio.create_task(wait(name)) for name in "abc"]
    await asyncio.sleep(0)
    tasks[0].cancel()
    line.wake()
    await asyncio.wait(tasks[:2])
    assert woken == ["b"]
    line.wake_all()
    await tasks[2]
    line.wake()


async def test_tasks_are_stopped_however_often_the_caller_is_cancelled() -> None:
    released = asyncio.Event()

    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await released.wait()

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    stopping = asyncio.create_task(stop_all([task]))
    for _ in range(3):
        await asyncio.sleep(0)
        stopping.cancel()
    assert not stopping.done()
    released.set()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert task.cancelled()
