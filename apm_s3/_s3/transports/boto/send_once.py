"""Keeps aiohttp from sending a request twice.

On a connection that breaks, aiohttp repeats GET, HEAD, PUT and DELETE by itself. A conditional PUT can then be refused
by its own first delivery, and attempts cannot be counted. aiohttp repeats only on errors of its own tree, so this
middleware lets them leave it: https://docs.aiohttp.org/en/stable/client_middleware_cookbook.html.
"""

from __future__ import annotations

from aiohttp import (
    ClientConnectionResetError,
    ClientConnectorError,
    ClientHandlerType,
    ClientOSError,
    ClientRequest,
    ClientResponse,
    ServerDisconnectedError,
)

from apm_s3._s3.transports.lean.connection import ConnectionBroken


async def send_once(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """An aiohttp client middleware under which each request is sent at most once."""
    try:
        return await handler(request)
    except ClientConnectorError:
        raise
    except (ClientOSError, ServerDisconnectedError, ClientConnectionResetError) as exc:
        raise ConnectionBroken(str(exc) or type(exc).__name__) from exc
