"""Inside the validators: the secrets they find, their readers, and how many validations run beside the event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager

import pytest

from apm_s3.configs import _deploy
from apm_s3.validators._reading.documents import Format, read_document
from apm_s3.validators._reading.nodes import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_EXPANSION,
    MAX_NODES,
    Steps,
    Trace,
    Unreadable,
    scalars_below,
)
from apm_s3.validators._secrets.forms import BY_ENDING, MASK
from apm_s3.validators._secrets.known import mask_value
from apm_s3.validators._secrets.texts import find_secrets, mask_text
from apm_s3.validators._validation import offload as _offload
from apm_s3.validators._validation.offload import THREAD_BYTES, run_beside


def limit_validations_at_once(
    monkeypatch: pytest.MonkeyPatch, count: int | None = None, *, size: int | None = None
) -> None:
    """Refuse validations beyond `count`, or `size` bytes, at the same time."""
    if count is not None:
        monkeypatch.setattr(_offload, "MAX_ADMITTED", count)
    if size is not None:
        monkeypatch.setattr(_offload, "MAX_ADMITTED_BYTES", size)


def admitted(size: int) -> AbstractContextManager[None]:
    """Let a validation of `size` bytes run inside the block."""
    return _offload.gate().admit(size)


def kill_validations(monkeypatch: pytest.MonkeyPatch) -> None:
    """End the process of every validation, as a system without memory does."""

    async def killed(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(_offload, "_in_process", killed)


def wait_for_a_processor(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Refuse work of a service that waits for a processor for longer."""
    monkeypatch.setattr(_offload, "PATIENCE", seconds)


def refuse_behind_whoever_waits(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Refuse work of a service at once while the first in the queue has waited for as long."""
    monkeypatch.setattr(_offload, "STALLED", seconds)


@asynccontextmanager
async def processors_taken(*, only_quick: bool = False) -> AsyncIterator[Callable[[], int]]:
    """Work on all processors inside the block, or only those of quick work; yields how much other work waits for one."""
    both = _offload._both()
    async with AsyncExitStack() as stack:
        for gate in both[only_quick:]:
            for _ in range(_offload._processors()):
                await stack.enter_async_context(gate.slot(0))
        yield lambda: sum(len(gate._waiting) for gate in both)


def watch_overlays(monkeypatch: pytest.MonkeyPatch, told: Callable[[], object]) -> None:
    """Call `told` when a plan of a deploy applies an overlay."""
    apply = _deploy.apply_overlay
    monkeypatch.setattr(_deploy, "apply_overlay", lambda *given: (told(), apply(*given))[1])
