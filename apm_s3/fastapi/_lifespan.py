"""Lifespans, which open an `S3Manager` for as long as an application runs, and the dependencies that return it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from starlette.requests import HTTPConnection

from apm_s3 import S3Manager
from apm_s3.configs import ConfigStore
from apm_s3.errors import UsageError

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[Mapping[str, Any] | None]]
"""What `FastAPI(lifespan=...)` takes."""

_KEY = "apm_s3"


@dataclass(frozen=True, slots=True)
class Resources:
    """What the lifespan opened for one application, in one process."""

    s3: S3Manager
    configs: ConfigStore | None


def s3_lifespan(
    bucket: str | None = None, prefix: str = "", *, make_s3: Callable[[], S3Manager] = S3Manager
) -> Callable[[FastAPI], AbstractAsyncContextManager[dict[str, Any]]]:
    """Return a lifespan that opens an `S3Manager` when the application starts, and closes it when it ends.

    Each process and each run of the application opens a manager of its own, so it works with several workers. In a
    lifespan of your own, use it as `async with s3_lifespan("bucket")(app): yield`. The lifespans of mounted
    applications never run: give it to the outermost one, and theirs find the manager too.

    Args:
        bucket: where the configurations are; None if the application only uses the manager.
        prefix: where they are in the bucket.
        make_s3: makes the manager; the lifespan opens it.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with make_s3() as s3:
            resources = Resources(s3, None if bucket is None else s3.configs(bucket, prefix))
            setattr(app.state, _KEY, resources)
            try:
                yield {_KEY: resources}
            finally:
                delattr(app.state, _KEY)

    return lifespan


def combine_lifespans(*lifespans: Lifespan) -> Callable[[FastAPI], AbstractAsyncContextManager[dict[str, Any]]]:
    """Return one lifespan that enters `lifespans` in order, leaves them in reverse order, and merges their states."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with AsyncExitStack() as stack:
            state: dict[str, Any] = {}
            for each in lifespans:
                given = await stack.enter_async_context(each(app))
                state = state if given is None else {**state, **given}
            yield state

    return lifespan


def resources_of(connection: HTTPConnection) -> Resources:
    """Return what the lifespan of the connection's application opened, or that of the application it is mounted in.

    Raises:
        UsageError: there is none.
    """
    found = connection.scope.get("state", {}).get(_KEY) or getattr(connection.scope["app"].state, _KEY, None)
    if not isinstance(found, Resources):
        raise UsageError(
            "the application was started without a manager",
            hint="create it with FastAPI(lifespan=s3_lifespan('bucket')); lifespans of mounted applications never run",
        )
    return found


async def get_s3(connection: HTTPConnection) -> S3Manager:
    """Return the manager that `s3_lifespan` opened.

    Raises:
        UsageError: the application runs without `s3_lifespan`.
    """
    return resources_of(connection).s3


async def get_configs(connection: HTTPConnection) -> ConfigStore:
    """Return the configurations in the bucket that was given to `s3_lifespan`.

    Raises:
        UsageError: the application runs without `s3_lifespan`, or it was given no bucket.
    """
    configs = resources_of(connection).configs
    if configs is None:
        raise UsageError("s3_lifespan was given no bucket", hint="use s3_lifespan('bucket')")
    return configs


S3Dep = Annotated[S3Manager, Depends(get_s3)]
ConfigsDep = Annotated[ConfigStore, Depends(get_configs)]
