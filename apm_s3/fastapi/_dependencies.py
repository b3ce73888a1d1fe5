"""Dependencies: module-level functions, so that `app.dependency_overrides` can replace them."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from apm_s3 import S3Manager
from apm_s3.configs import ConfigStore
from apm_s3.errors import UsageError
from apm_s3.fastapi._lifespan import resources_of


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
