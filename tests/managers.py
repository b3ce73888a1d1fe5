"""Managers on the test servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiobotocore.session import get_session

from apm_s3 import S3Manager, S3Settings
from tests.servers import Server

if TYPE_CHECKING:
    from tests.faults.server import FaultyS3

SESSION = get_session()
"""Shared by all tests: it keeps the megabytes of JSON that a client is made from."""


def make_manager(server: Server | FaultyS3, settings: S3Settings | None = None, **arguments: Any) -> S3Manager:
    """A manager of `server`, not opened yet."""
    arguments.setdefault("credentials", server.credentials)
    arguments.setdefault("session", SESSION)
    return S3Manager(region=server.region, endpoint_url=server.endpoint_url, settings=settings, **arguments)
