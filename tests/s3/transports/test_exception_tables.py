"""Every exception of botocore, and of aiohttp below it, has a row in our table, or a reason why it needs none."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import warnings
from types import ModuleType

import aiobotocore
import aiohttp
import botocore
import pytest

from apm_s3.errors import ApmS3Error, InvalidOption
from tests.seams.transports import botocore_errors

NOT_OURS = {
    "aiohttp._websocket": "no websockets here",
    "aiohttp.client_exceptions.WSMessageTypeError": "no websockets here",
    "aiohttp.web": "the server's side",
    "aiohttp.payload.LookupError": "caught inside aiohttp",
    "aiohttp.streams.EofStream": "caught inside aiohttp",
    "aiohttp.compression_utils.TooManyMembersError": "aiohttp turns it into a ContentEncodingError",
    "botocore.discovery": "S3 has no endpoint discovery",
    "botocore.eventstream": "no operation used here answers with an event stream",
    "botocore.exceptions.BotoCoreError": "the abstract root: its children have rows",
    "botocore.exceptions.ClientError": "an answer of S3: mapped by its code and status",
    "botocore.exceptions.EventStreamError": "an answer of S3, of an operation that is not used here",
    "botocore.exceptions.MissingServiceIdError": "a broken model of botocore's own",
    "botocore.exceptions.UndefinedModelAttributeError": "a broken model of botocore's own",
    "botocore.model": "a broken model of botocore's own",
    "botocore.utils.BadIMDSRequestError": "caught inside botocore",
    "botocore.utils.InvalidArnException": "caught inside botocore",
    "botocore.utils._RetriesExceededError": "caught inside botocore",
}
SKIPPED = ("pytest", "gunicorn", "worker", "vendored", "botocore.docs", "botocore.crt", "aiobotocore._tee")


def exceptions_of(package: ModuleType) -> list[type[BaseException]]:
    """All exception classes that a package defines."""
    found: set[type[BaseException]] = set()
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if any(name in module.name for name in SKIPPED):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = importlib.import_module(module.name)
        for _, cls in inspect.getmembers(loaded, inspect.isclass):
            if (
                issubclass(cls, Exception)
                and not issubclass(cls, Warning)
                and cls.__module__.startswith(package.__name__)
            ):
                found.add(cls)
    return sorted(found, key=_name)


def _name(cls: type[BaseException]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def ours(*packages: ModuleType) -> list[type[BaseException]]:
    """Those that can reach this library."""
    found = [cls for package in packages for cls in exceptions_of(package)]
    return [cls for cls in found if not _name(cls).startswith(tuple(NOT_OURS))]


def botocore_row(cls: type[BaseException]) -> type[ApmS3Error] | None:
    rows = botocore_errors.TABLE
    return next((rows[base.__name__] for base in cls.__mro__ if base.__name__ in rows), None)


@pytest.mark.parametrize(
    "package",
    [aiohttp, botocore, aiobotocore],
    ids=["aiohttp", "botocore", "aiobotocore"],
)
def test_no_exception_is_left_unmapped(package: ModuleType) -> None:
    unmapped = [_name(cls) for cls in ours(package) if botocore_row(cls) is None]
    assert not unmapped


@pytest.mark.parametrize("cls", [cls for cls in ours(botocore, aiohttp) if botocore_row(cls)], ids=_name)
def test_each_exception_that_a_library_raises_is_caught_by_its_transport(cls: type[BaseException]) -> None:
    assert issubclass(cls, botocore_errors.translated())


def test_a_wrong_region_is_not_taken_for_an_unreadable_response() -> None:
    from botocore.exceptions import InvalidRegionError

    error = botocore_errors.translate(InvalidRegionError(region_name="bad region"), operation="list_buckets")

    assert isinstance(error, InvalidOption)
    assert "bad region" in str(error)
