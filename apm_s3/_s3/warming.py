"""Filling the cache before it is needed: what is to be read, and what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from apm_s3._tasks import run_all
from apm_s3.errors import ApmS3Error
from apm_s3.models import WarmupReport

AT_ONCE = 32
"""Reads under way at once; the pool bounds their requests."""


async def warm(work: Mapping[str, Callable[[], Awaitable[object]]]) -> WarmupReport:
    """Do all of it, and report what failed. No failure ends the others."""

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
