"""All validations of an event loop share its processors, and its memory, in the order in which they came."""

from __future__ import annotations

import asyncio
import signal
import threading
from functools import partial

import pytest

from apm_s3.reports import Severity
from apm_s3.validators import ValidationOptions, validate_bundle
from apm_s3.validators._secrets.texts import mask_text, traced
from apm_s3.validators._validation import offload
from apm_s3.validators._validation.offload import (
    BOUNDED,
    MAX_BYTES_AT_ONCE,
    THREAD_BYTES,
    Busy,
    Gate,
    gate,
    run_beside,
)
from apm_s3.validators._validation.validate import MAX_KEPT, check_files


class Works:
    """Works on a gate of two processors that go on until they are told to end."""

    def __init__(self) -> None:
        self.gate = Gate(2)
        self.running: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def begin(self, name: str, size: int = 1, *, begun: bool = False) -> None:
        self._ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._work(name, size, begun=begun))
        await asyncio.sleep(0)

    async def _work(self, name: str, size: int, *, begun: bool) -> None:
        async with self.gate.slot(size, begun=begun):
            self.running.append(name)
            try:
                await self._ends[name].wait()
            finally:
                self.running.remove(name)

    def may_end(self, name: str) -> None:
        self._ends[name].set()

    async def end(self, name: str) -> None:
        self.may_end(name)
        await self.tasks[name]
        await asyncio.sleep(0)


async def test_as_many_run_as_there_are_processors_in_their_order() -> None:
    works = Works()
    for name in "abcd":
        await works.begin(name)

    assert works.running == ["a", "b"]
    await works.end("b")
    assert works.running == ["a", "c"]
    await works.end("a")
    await works.end("c")
    assert works.running == ["d"]
    await works.end("d")


async def test_work_that_ends_what_has_begun_goes_first_and_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offload, "PATIENCE", 0)
    works = Works()
    for name in "abc":
        await works.begin(name)
    token = BOUNDED.set(True)
    await works.begin("refused")
    await works.begin("last part", begun=True)
    BOUNDED.reset(token)
    with pytest.raises(Busy):
        await works.tasks["refused"]

    await works.end("a")
    assert works.running == ["b", "last part"]
    await works.end("b")
    assert works.running == ["last part", "c"]
    await works.end("last part")
    await works.end("c")


async def test_large_ones_run_alone_and_are_not_overtaken() -> None:
    works = Works()
    await works.begin("small")
    await works.begin("huge", 2 * MAX_BYTES_AT_ONCE)
    await works.begin("late")

    assert works.running == ["small"]
    await works.end("small")
    assert works.running == ["huge"]
    await works.end("huge")
    assert works.running == ["late"]
    await works.end("late")


async def test_two_whose_bytes_are_too_many_together_run_one_after_the_other() -> None:
    works = Works()
    await works.begin("a", MAX_BYTES_AT_ONCE - 1)
    await works.begin("b", 1)
    await works.end("a")
    await works.begin("c", MAX_BYTES_AT_ONCE)

    assert works.running == ["b"]
    await works.end("b")
    assert works.running == ["c"]
    await works.end("c")


@pytest.mark.parametrize("name", ["running", "waiting", "given"])
async def test_a_cancelled_one_leaves_its_place_to_the_next(name: str) -> None:
    works = Works()
    await works.begin("other")
    await works.begin("running")
    if name != "running":
        await works.begin(name)
    await works.begin("next")

    if name == "given":
        # It has been given its turn, and is cancelled before it can take it.
        works.may_end("running")
        await asyncio.sleep(0)
        assert works.running == ["other"]
    works.tasks[name].cancel()
    await asyncio.wait({works.tasks[name]})
    if name == "waiting":
        await works.end("running")
    await asyncio.sleep(0)

    assert sorted(works.running) == ["next", "other"]
    for each in ("other", "next"):
        await works.end(each)
    for each in "xy":
        await works.begin(each)
    assert works.running == ["x", "y"]
    for each in "xy":
        await works.end(each)


async def test_a_thread_that_goes_on_after_a_cancellation_keeps_its_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Gate(1)
    monkeypatch.setattr(offload, "gate", lambda: one)
    began, may_end, order = threading.Event(), threading.Event(), list[str]()

    def first() -> None:
        began.set()
        may_end.wait()
        order.append("first")

    cancelled = asyncio.create_task(run_beside(first, 1))
    await asyncio.to_thread(began.wait)
    cancelled.cancel()
    await asyncio.wait({cancelled})
    second = asyncio.create_task(run_beside(partial(order.append, "second"), 1))
    await asyncio.to_thread(lambda: None)
    assert order == []
    may_end.set()
    await second

    assert cancelled.cancelled()
    assert order == ["first", "second"]


async def test_each_event_loop_has_one_gate() -> None:
    async def own() -> Gate:
        return gate()

    assert gate() is gate()
    assert await asyncio.to_thread(asyncio.run, own()) is not gate()


async def test_work_whose_process_was_killed_is_not_repeated_in_this_one() -> None:
    # In this process, the signal would end all tests.
    with pytest.raises(MemoryError, match="killed by signal 9"):
        await run_beside(partial(signal.raise_signal, signal.SIGKILL), THREAD_BYTES + 1)


def test_a_bundle_of_mistakes_keeps_few_of_them_and_no_wrong_verdict() -> None:
    wrong = b"".join(b"unknown%d: 1\n" % number for number in range(100))
    files = {f"rules/{number}.yml": b"groups: []\n" + wrong for number in range(150)}

    found = check_files("prometheus", files, ValidationOptions())

    assert sum(len(each.issues) for each in found.values()) <= MAX_KEPT + len(files)
    assert all(any(issue.severity is Severity.ERROR for issue in each.issues) for each in found.values())
    assert len(validate_bundle("prometheus", files).errors) == 1_000


def test_a_list_of_aliases_is_not_read_to_its_end_to_find_secrets() -> None:
    text = "a: &a x\nb:\n" + "- *a\n" * 210_000 + "password: hunter2\n"

    trace, whole = traced(text, "yaml")

    assert not whole
    assert [node.line for _, node in trace.scalars] == [1]
    assert "hunter2" not in mask_text("prometheus.yml", text)
