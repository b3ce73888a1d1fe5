"""Managers on the test servers."""

from __future__ import annotations

from typing import Any

from apm_s3 import S3Manager, S3Settings
from tests.servers import Server


def make_manager(server: Server, settings: S3Settings | None = None, **arguments: Any) -> S3Manager:
    """A manager of `server`, not opened yet."""
    arguments.setdefault("credentials", server.credentials)
    return S3Manager(region=server.region, endpoint_url=server.endpoint_url, settings=settings, **arguments)
