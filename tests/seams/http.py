"""Inside the HTTP service: its routes, the statuses of errors, and limits that tests lower."""

from __future__ import annotations

import pytest

from apm_s3.fastapi import _environments, _feed, _routers, _routes, _supervision
from apm_s3.fastapi._bodies import MAX_DEPTH as MAX_JSON_DEPTH
from apm_s3.fastapi._bodies import MAX_TOKENS as MAX_JSON_TOKENS
from apm_s3.fastapi._problems import STATUSES, problem_name, problem_of_error, status_of
from apm_s3.fastapi._routes import Endpoint, problem_response

API_ROUTES, FEED_ROUTES, HEALTH_ROUTES = _routers.ENDPOINTS, _feed.ENDPOINTS, _routers.PROBES
"""Every route that the routers add."""


def limit_queries(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Refuse longer query strings."""
    monkeypatch.setattr(_routes, "MAX_QUERY", size)


def limit_bodies_at_once(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Hold at most `size` bytes of bodies at a time."""
    monkeypatch.setattr(_supervision, "MAX_BODIES", size)


def cancel_abandoned_calls_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look from the beginning of a request for a client that goes away."""
    monkeypatch.setattr(_supervision, "PATIENCE", 0)


def check_health_at_every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remember no result of a check of the store."""
    monkeypatch.setattr(_routers, "READ_EVERY", 0.0)


def wait_briefly_for_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a check of readiness give up on the store at once."""
    monkeypatch.setattr(_routers, "PATIENCE", 0.01)


def keep_watches_alive_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send comments while nothing happens, without a pause."""
    monkeypatch.setattr(_environments, "KEEP_ALIVE", 0.001)


def end_watches_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clients of a watch connect again at once."""
    monkeypatch.setattr(_environments, "MAX_SECONDS", 0.001)
