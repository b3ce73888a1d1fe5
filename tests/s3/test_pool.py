"""The pool: bounded, fair, cancellable, lending the slots of unread bodies, slowing down and recovering."""

from __future__ import annotations

import asyncio
import time

import pytest

from apm_s3 import S3ConnectionPool
from tests.seams.s3 import StreamSlot


async def waiters(pool: S3ConnectionPool, count: int, served: list[int]) -> list[asyncio.Task[None]]:
    async def wait(number: int) -> None:
        await pool.acquire()
        served.append(number)

    tasks = [asyncio.create_task(wait(number)) for number in range(count)]
    await turns()
    return tasks


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_no_more_slots_are_granted_than_the_bound_allows() -> None:
    pool = S3ConnectionPool(3)
    most = now = 0

    async def work() -> None:
        nonlocal most, now
        async with pool.slot():
            now += 1
            most = max(most, now)
            await asyncio.sleep(0)
            now -= 1

    await asyncio.gather(*(work() for _ in range(50)))
    assert most == 3
    assert pool.stats().in_use == 0


async def test_waiting_calls_are_served_in_order_of_arrival() -> None:
    pool, served = S3ConnectionPool(1), []
    await pool.acquire()
    tasks = await waiters(pool, 5, served)
    for _ in range(5):
        pool.release()
        await turns()
    await asyncio.gather(*tasks)
    assert served == [0, 1, 2, 3, 4]


async def test_a_new_call_does_not_overtake_waiting_ones() -> None:
    pool, served = S3ConnectionPool(1), []
    await pool.acquire()
    tasks = await waiters(pool, 1, served)
    pool.release()
    assert not pool.try_acquire()
    await asyncio.gather(*tasks)


async def test_a_cancelled_waiter_leaves_the_queue() -> None:
    pool, served = S3ConnectionPool(1), []
    await pool.acquire()
    tasks = await waiters(pool, 3, served)
    tasks[0].cancel()
    await turns()
    assert pool.stats().waiting == 2
    pool.release()
    await turns()
    assert served == [1]
    pool.release()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert served == [1, 2]


async def test_a_slot_granted_to_a_cancelled_waiter_goes_to_the_next() -> None:
    pool, served = S3ConnectionPool(1), []
    await pool.acquire()
    tasks = await waiters(pool, 2, served)
    pool.release()
    tasks[0].cancel()
    await turns()
    assert served == [1]
    pool.release()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert pool.stats().in_use == 0


async def test_cancelling_all_waiters_leaves_the_pool_unchanged() -> None:
    pool, served = S3ConnectionPool(1), []
    await pool.acquire()
    tasks = await waiters(pool, 20, served)
    for task in tasks[::2]:
        task.cancel()
    pool.release()
    for task in tasks[1::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    stats = pool.stats()
    assert (stats.waiting, stats.in_use, served) == (0, 0, [])


async def test_the_wait_for_a_slot_is_measured() -> None:
    pool, served = S3ConnectionPool(1), []
    await pool.acquire()
    tasks = await waiters(pool, 1, served)
    assert pool.stats().waiting == 1
    pool.release()
    await asyncio.gather(*tasks)
    stats = pool.stats()
    assert (stats.acquired, stats.waited, stats.waiting) == (2, 1, 0)
    assert stats.wait_seconds == stats.longest_wait > 0


async def test_nested_sections_take_one_slot() -> None:
    pool = S3ConnectionPool(1)
    async with pool.slot(), pool.slot():
        assert pool.stats().in_use == 1
    assert pool.stats().in_use == 0


async def test_a_failing_section_returns_its_slot() -> None:
    pool = S3ConnectionPool(1)
    with pytest.raises(KeyError):
        async with pool.slot():
            raise KeyError
    assert pool.stats().in_use == 0
    assert not pool.covers(asyncio.current_task())


# Loans


async def test_a_lent_slot_goes_to_a_waiting_task() -> None:
    pool, served = S3ConnectionPool(1), []
    slot = StreamSlot(pool)
    await slot.take()
    tasks = await waiters(pool, 1, served)
    assert served == []
    slot.lend()
    await asyncio.gather(*tasks)
    assert not slot.held
    assert pool.stats().in_use == 1


async def test_a_lent_slot_goes_to_a_new_call() -> None:
    pool = S3ConnectionPool(1)
    slot = StreamSlot(pool)
    await slot.take()
    slot.lend()
    assert pool.stats().lent == 1
    assert pool.try_acquire()
    assert not pool.try_acquire()


async def test_a_lent_slot_that_nobody_took_is_reclaimed_immediately() -> None:
    pool = S3ConnectionPool(1)
    slot = StreamSlot(pool)
    await slot.take()
    slot.lend()
    await slot.take()
    assert not pool.try_acquire()
    slot.release()
    assert pool.stats().in_use == 0


async def test_a_reader_whose_slot_was_taken_queues_for_another() -> None:
    pool = S3ConnectionPool(1)
    slot = StreamSlot(pool)
    await slot.take()
    slot.lend()
    assert pool.try_acquire()
    reading = asyncio.create_task(slot.take())
    await turns()
    assert not reading.done()
    pool.release()
    await reading
    assert slot.held


async def test_releasing_a_slot_that_was_taken_over_changes_nothing() -> None:
    pool = S3ConnectionPool(1)
    slot = StreamSlot(pool)
    await slot.take()
    slot.lend()
    assert pool.try_acquire()
    slot.release()
    slot.release()
    assert pool.stats().in_use == 1


async def test_a_body_read_inside_a_section_takes_no_second_slot() -> None:
    pool = S3ConnectionPool(1)
    async with pool.slot():
        slot = StreamSlot(pool)
        await slot.take()
        slot.lend()
        slot.release()
        assert pool.stats().in_use == 1


async def test_unread_bodies_cannot_starve_a_pool_that_slowed_down() -> None:
    pool = S3ConnectionPool(4)
    slots = [StreamSlot(pool) for _ in range(4)]
    for slot in slots:
        await slot.take()
        slot.lend()
    pool.slowed(time.monotonic())
    assert pool.try_acquire()
    assert pool.stats().in_use <= 2


# Slowing down


async def test_a_throttled_response_halves_the_bound() -> None:
    pool = S3ConnectionPool(8)
    pool.slowed(time.monotonic())
    assert pool.stats().limit == 4
    assert sum(pool.try_acquire() for _ in range(8)) == 4


async def test_requests_in_flight_together_halve_the_bound_once() -> None:
    pool = S3ConnectionPool(8)
    sent_at = time.monotonic()
    for _ in range(8):
        pool.slowed(sent_at)
    assert pool.stats().limit == 4
    pool.slowed(time.monotonic())
    assert pool.stats().limit == 2


async def test_the_bound_never_falls_below_one() -> None:
    pool = S3ConnectionPool(2)
    for _ in range(5):
        pool.slowed(time.monotonic())
    assert pool.stats().limit == 1
    assert pool.try_acquire()


async def test_each_round_of_successes_raises_the_bound_by_one() -> None:
    pool = S3ConnectionPool(8)
    pool.slowed(time.monotonic())
    for _ in range(5):
        pool.succeeded()
    assert pool.stats().limit == 5
    for _ in range(100):
        pool.succeeded()
    assert pool.stats().limit == 8


async def test_recovery_serves_waiting_calls() -> None:
    pool, served = S3ConnectionPool(2), []
    pool.slowed(time.monotonic())
    await pool.acquire()
    tasks = await waiters(pool, 1, served)
    pool.succeeded()
    await asyncio.gather(*tasks)
    assert served == [0]
