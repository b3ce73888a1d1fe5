"""An event loop in virtual time: nothing waits, the clock jumps to the next timer. Threads run inline."""

from __future__ import annotations

import asyncio
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from heapq import heappop, heappush
from typing import Any


class _Timer:
    __slots__ = ("_when", "args", "callback", "context")

    def __init__(
        self, when: float, callback: Callable[..., object] | None, args: tuple[Any, ...], context: Context | None
    ) -> None:
        self._when, self.callback, self.args = when, callback, args
        self.context = copy_context() if context is None else context

    def cancel(self) -> None:
        self.callback = None

    def cancelled(self) -> bool:
        return self.callback is None

    def when(self) -> float:
        return self._when


class VirtualLoop(asyncio.AbstractEventLoop):
    """Just what coroutines need that do no real I/O."""

    def __init__(self) -> None:
        self.now = 0.0
        self._ready: deque[_Timer] = deque()
        self._timers: list[tuple[float, int, _Timer]] = []
        self._count = 0

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
        handle = _Timer(self.now, callback, args, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
        handle = _Timer(when, callback, args, context)
        self._count += 1
        heappush(self._timers, (when, self._count, handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: Any = None, **_: Any
    ) -> Any:
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as exc:
            future.set_exception(exc)
        return future

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """What happens to the abandoned tasks of a dead process is nobody's business."""

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        """Run `main` to its end; fails when everything waits for something that never comes."""
        events._set_running_loop(self)
        try:
            task = self.create_task(main)
            ready, timers = self._ready, self._timers
            while not task.done():
                while ready:
                    handle = ready.popleft()
                    if handle.callback is not None:
                        handle.context.run(handle.callback, *handle.args)
                    if task.done():
                        break
                else:
                    if not timers:
                        raise AssertionError("deadlock: nothing is left to happen")
                    when, _, handle = heappop(timers)
                    if handle.callback is not None:
                        self.now = max(self.now, when)
                        ready.append(handle)
            return task.result()
        finally:
            events._set_running_loop(None)
