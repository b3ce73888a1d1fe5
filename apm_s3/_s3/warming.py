"""Fills the cache in advance."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from apm_s3._tasks import run_all
from apm_s3.errors import ApmS3Error
from apm_s3.models import WarmupReport

AT_ONCE = 32
"""Maximum number of concurrent reads; the pool limits their requests."""


async def warm(work: Mapping[str, Callable[[], Awaitable[object]]]) -> WarmupReport:
    """Run all reads, and report failures. A failure does not stop the others."""

    async def one(name: str, read: Callable[[], Awaitable[object]]) -> tuple[str, ApmS3Error | None]:
        try:
            await read()
        except ApmS3Error as error:
            return name, error
        return name, None

    outcomes = await run_all((one(name, read) for name, read in work.items()), limit=AT_ONCE)
    return WarmupReport(
        tuple(name for name, error in outcomes if error is None),
        MappingProxyType({name: error for name, error in outcomes if error is not None}),
    )
