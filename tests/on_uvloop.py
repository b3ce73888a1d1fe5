"""A pytest plugin (`-p tests.on_uvloop`): every test runs on uvloop, as programs under `uvicorn[standard]` do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import uvloop


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Callable[[], uvloop.Loop]]:
    """See pytest-asyncio."""
    return {"uvloop": uvloop.new_event_loop}
