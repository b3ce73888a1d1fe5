"""Inside the validators: the secrets they find, their readers, and how many validations run beside the event loop."""

from __future__ import annotations

from contextlib import AbstractContextManager

import pytest

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
