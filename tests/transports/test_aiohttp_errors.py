"""Every exception that aiohttp can raise has a row in our table."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp import client_exceptions, http_exceptions

from apm_s3.errors import ApmS3Error, ConnectFailed, ConnectionLost, InvalidOption, RequestTimedOut
from apm_s3.transports.aiohttp_errors import TRANSLATED, kind_of, translate
from apm_s3.transports.send_once import ConnectionBroken


def subclasses(*roots: type[Exception]) -> list[type[Exception]]:
    found: list[type[Exception]] = []
    left = list(roots)
    while left:
        cls = left.pop()
        if cls not in found:
            found.append(cls)
            left += cls.__subclasses__()
    return sorted(found, key=lambda cls: cls.__name__)


OF_AIOHTTP = [
    cls
    for cls in subclasses(aiohttp.ClientError, http_exceptions.HttpProcessingError)
    if cls.__module__ in {client_exceptions.__name__, http_exceptions.__name__}
]


def test_the_list_of_aiohttps_exceptions_is_not_empty() -> None:
    assert {aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, aiohttp.InvalidURL} < set(OF_AIOHTTP)


@pytest.mark.parametrize("cls", OF_AIOHTTP, ids=lambda cls: cls.__name__)
def test_each_exception_of_aiohttp_is_caught_and_has_a_row(cls: type[Exception]) -> None:
    assert issubclass(cls, TRANSLATED)
    assert kind_of(cls) is not None


@pytest.mark.parametrize(
    "name", [name for name in aiohttp.client.__all__ if name.endswith(("Error", "URL", "Redirects"))]
)
def test_each_exception_that_aiohttp_exports_is_one_of_those(name: str) -> None:
    cls = getattr(aiohttp, name)
    assert cls in OF_AIOHTTP or issubclass(cls, TypeError)


@pytest.mark.parametrize(
    ("cls", "kind"),
    [
        (aiohttp.ClientConnectorError, ConnectFailed),
        (aiohttp.ClientConnectorDNSError, ConnectFailed),
        (aiohttp.ClientConnectorCertificateError, ConnectFailed),
        (aiohttp.ClientConnectorSSLError, ConnectFailed),
        (aiohttp.ClientProxyConnectionError, ConnectFailed),
        (aiohttp.ClientHttpProxyError, ConnectFailed),
        (aiohttp.ConnectionTimeoutError, ConnectFailed),
        (aiohttp.ServerFingerprintMismatch, ConnectFailed),
        (aiohttp.SocketTimeoutError, RequestTimedOut),
        (TimeoutError, RequestTimedOut),
        (aiohttp.ServerDisconnectedError, ConnectionLost),
        (aiohttp.ClientPayloadError, ConnectionLost),
        (aiohttp.ClientConnectionResetError, ConnectionLost),
        (ConnectionBroken, ConnectionLost),
        (ConnectionResetError, ConnectionLost),
        (aiohttp.InvalidURL, InvalidOption),
    ],
)
def test_what_became_of_the_request_decides_the_error(cls: type[Exception], kind: type[ApmS3Error]) -> None:
    assert kind_of(cls) is kind


def test_an_error_says_where_it_happened() -> None:
    error = translate(
        aiohttp.ServerDisconnectedError(), operation="read_file", bucket="b", key="k", endpoint="s3.example"
    )
    assert (error.operation, error.bucket, error.key) == ("read_file", "b", "k")
    assert type(error) is ConnectionLost


def test_the_password_of_a_proxy_is_in_no_message() -> None:
    error = translate(aiohttp.InvalidURL("http://user:hunter2@proxy"), operation="x", bucket="b", endpoint="s3.example")
    assert "hunter2" not in f"{error} {error!r}"
