"""The one table from aiohttp's exceptions to ours."""

from __future__ import annotations

import asyncio

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from apm_s3.errors import ConnectFailed, ConnectionLost, InvalidOption, RequestTimedOut, TransportError
from apm_s3.transports.send_once import ConnectionBroken

TABLE: dict[type[Exception], type[TransportError | InvalidOption]] = {
    # nothing was sent
    aiohttp.ClientConnectorError: ConnectFailed,
    aiohttp.ClientConnectorCertificateError: ConnectFailed,
    aiohttp.ClientConnectorSSLError: ConnectFailed,
    aiohttp.ClientSSLError: ConnectFailed,
    aiohttp.ClientHttpProxyError: ConnectFailed,
    aiohttp.ConnectionTimeoutError: ConnectFailed,
    aiohttp.ServerFingerprintMismatch: ConnectFailed,
    # no answer in time
    aiohttp.ServerTimeoutError: RequestTimedOut,
    TimeoutError: RequestTimedOut,
    # no URL to send to: a wrong endpoint or proxy
    aiohttp.InvalidURL: InvalidOption,
    aiohttp.NonHttpUrlClientError: InvalidOption,
    # it may have arrived
    ConnectionBroken: ConnectionLost,
    HttpProcessingError: ConnectionLost,
    aiohttp.ClientError: ConnectionLost,
    OSError: ConnectionLost,
}
"""Looked up along the exception's MRO: see `kind_of`."""

TRANSLATED = (aiohttp.ClientError, ConnectionBroken, HttpProcessingError, OSError, asyncio.TimeoutError)
"""What a request of aiohttp can raise."""

_OUTCOME: dict[type[TransportError | InvalidOption], str] = {
    ConnectFailed: "could not connect",
    ConnectionLost: "the connection broke",
    RequestTimedOut: "no answer in time",
    InvalidOption: "there is no such address",
}


def kind_of(cls: type[BaseException]) -> type[TransportError | InvalidOption] | None:
    """The row of `TABLE` for an exception; None where there is none."""
    return next((TABLE[base] for base in cls.__mro__ if base in TABLE), None)


def translate(
    exc: BaseException, *, operation: str, bucket: str, key: str | None = None, endpoint: str
) -> TransportError | InvalidOption:
    """Our error for what aiohttp raised; to be raised `from` it."""
    kind = kind_of(type(exc)) or ConnectionLost
    problem = f"{_OUTCOME[kind]}: {_cause(exc)}".rstrip(". ")
    if issubclass(kind, TransportError):
        return kind(problem, endpoint=endpoint, operation=operation, bucket=bucket, key=key)
    return kind(
        problem, operation=operation, bucket=bucket, key=key, hint="check endpoint_url and the proxies of the settings"
    )


def _cause(exc: BaseException) -> str:
    # A URL in one of these can hold the password of a proxy.
    if isinstance(exc, aiohttp.InvalidURL | aiohttp.ClientHttpProxyError | aiohttp.ClientProxyConnectionError):
        return type(exc).__name__
    return str(exc) or type(exc).__name__
