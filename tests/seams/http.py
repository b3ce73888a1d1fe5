"""Inside the HTTP service: its routes, the statuses of errors, and limits that tests lower."""

from __future__ import annotations

import pytest

from apm_s3.fastapi import _calls, _router, _routes
from apm_s3.fastapi._bodies import MAX_DEPTH as MAX_JSON_DEPTH
from apm_s3.fastapi._bodies import MAX_TOKENS as MAX_JSON_TOKENS
from apm_s3.fastapi._problems import STATUSES, problem_name, problem_of_error, status_of
from apm_s3.fastapi._routers import feed as _feed
from apm_s3.fastapi._routers import health as _health
from apm_s3.fastapi._routers import watch as _watch
from apm_s3.fastapi._routes import Endpoint, problem_response

API_ROUTES, FEED_ROUTES, HEALTH_ROUTES = _router.ENDPOINTS, _feed.ENDPOINTS, _health.ENDPOINTS
"""Every route that the routers add."""


def limit_queries(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Refuse longer query strings."""
    monkeypatch.setattr(_calls, "MAX_QUERY", size)


def limit_bodies_at_once(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Hold at most `size` bytes of bodies at a time."""
    monkeypatch.setattr(_routes, "MAX_BODIES", size)


def cancel_abandoned_calls_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a call whose client has gone no time to end."""
    monkeypatch.setattr(_routes, "_PATIENCE", 0)


def check_health_at_every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remember no result of a check of the store."""
    monkeypatch.setattr(_health, "READ_EVERY", 0.0)


def wait_briefly_for_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a check of readiness give up on the store at once."""
    monkeypatch.setattr(_health, "PATIENCE", 0.01)


def keep_watches_alive_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send comments while nothing happens, without a pause."""
    monkeypatch.setattr(_watch, "KEEP_ALIVE", 0.001)


def end_watches_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clients of a watch connect again at once."""
    monkeypatch.setattr(_watch, "MAX_SECONDS", 0.001)
