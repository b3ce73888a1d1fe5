"""Callbacks that fail: hooks, and `on_progress` of every long call."""

from __future__ import annotations

import asyncio
import logging

import pytest

from apm_s3.errors import NotFound
from apm_s3.events import emit, report_progress
from tests.test_metrics import event

SECRET = "wJalrXUtnFEMI"


def failing(error: BaseException):
    def callback(news: object) -> None:
        raise error

    return callback


def via_hook(callback) -> None:
    emit((callback,), event())


def via_progress(callback) -> None:
    report_progress(callback, "progress")


both_ways = pytest.mark.parametrize("call", [via_hook, via_progress])


@both_ways
@pytest.mark.parametrize("error", [ValueError("too much"), NotFound("too much"), asyncio.CancelledError("too much")])
def test_an_error_of_a_callback_is_logged_with_its_place(call, error, caplog: pytest.LogCaptureFixture) -> None:
    call(failing(error))

    [record] = caplog.records
    assert (record.name, record.levelno) == ("apm_s3", logging.ERROR)
    assert "failed" in record.message
    assert "in callback" in record.message
    assert "too much" in record.message


@both_ways
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_ctrl_c_in_a_callback_ends_the_program(call, error, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(error):
        call(failing(error()))
    assert not caplog.records


@both_ways
def test_a_secret_in_the_error_of_a_callback_is_not_logged(call, caplog: pytest.LogCaptureFixture) -> None:
    call(failing(ValueError(f"https://user:{SECRET}@example.com")))

    assert "example.com" in caplog.text
    assert SECRET not in caplog.text


def test_a_failing_hook_does_not_keep_the_event_from_the_next_one() -> None:
    seen = []
    emit((failing(ValueError()), seen.append), event())
    assert len(seen) == 1


async def test_a_cancelled_future_that_a_callback_reads_does_not_cancel_the_work() -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()

    report_progress(lambda progress: future.result(), "progress")

    await asyncio.sleep(0)
