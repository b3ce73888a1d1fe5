"""aiobotocore's HTTP session, without repeated requests and without redirects to other hosts.

If a connection breaks, aiohttp repeats GET, HEAD, PUT and DELETE. Then a conditional PUT can fail because of its own
first delivery, and attempts cannot be counted. aiohttp only repeats on its own exceptions, so this middleware replaces
them: https://docs.aiohttp.org/en/stable/client_middleware_cookbook.html.

aiohttp also follows redirects to any host, with the session token and the SSE-C key in the headers, and returns that
host's bytes as the object. Here botocore sees the redirect instead, and signs for the region that S3 names.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from aiobotocore.httpsession import AIOHTTPSession
from aiohttp import (
    ClientConnectionResetError,
    ClientConnectorError,
    ClientHandlerType,
    ClientOSError,
    ClientRequest,
    ClientResponse,
    ClientSession,
    ServerDisconnectedError,
)
from botocore.exceptions import ClientError
from botocore.httpsession import ProxyConfiguration

from apm_s3._s3.transports.boto.guards import BoundedResponse, look_before_reuse
from apm_s3._s3.transports.lean.connection import ConnectionBroken
from apm_s3.settings import check_proxies

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


async def send_once(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """An aiohttp client middleware that sends each request at most once."""
    request.response_class = BoundedResponse
    try:
        return await handler(request)
    except ClientConnectorError:
        raise
    except (ClientOSError, ServerDisconnectedError, ClientConnectionResetError) as exc:
        raise ConnectionBroken(str(exc) or type(exc).__name__) from exc


class _OneRequest:
    """An aiohttp session that sends each request at most once, and only to its own host."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    async def request(
        self,
        method: str,
        *,
        url: Any,
        headers: MutableMapping[str, str],
        proxy: str | None,
        proxy_headers: Mapping[str, str],
        **arguments: Any,
    ) -> ClientResponse:
        if proxy is not None:
            # aiohttp's errors show the proxy's URL, so its password is sent as a header.
            authorization = ProxyConfiguration().proxy_headers_for(proxy)
            if url.scheme == "http":
                headers.update(authorization)
            else:
                proxy_headers = {**proxy_headers, **authorization}
            parts = urlsplit(proxy)
            proxy = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        return await self._session.request(
            method,
            url=url,
            headers=headers,
            proxy=proxy,
            proxy_headers=proxy_headers,
            middlewares=(send_once,),
            allow_redirects=False,
            **arguments,
        )


class SendOnceSession(AIOHTTPSession):  # type: ignore[misc]
    """aiobotocore's HTTP session without aiohttp's own repeats and redirects.

    Raises:
        InvalidOption: a proxy in the settings or the environment is not valid.
    """

    def __init__(self, *arguments: Any, proxies: dict[str, str] | None = None, **more: Any) -> None:
        check_proxies(proxies or {})
        super().__init__(*arguments, proxies=proxies, **more)

    async def send(self, request: Any) -> Any:
        """Send `request`.

        Raises:
            ClientError: the response is a redirect without a region. botocore would send a HEAD for the bucket, which
                could loop forever if it is redirected as well, and fails with a TypeError without a bucket.
        """
        response = await super().send(request)
        if response.status_code in _REDIRECTS and "x-amz-bucket-region" not in response.headers:
            response.raw.close()
            metadata = {"HTTPStatusCode": response.status_code, "HTTPHeaders": dict(response.headers)}
            error = {"Code": str(response.status_code)}
            raise ClientError({"Error": error, "ResponseMetadata": metadata}, request.method)
        return response

    async def _get_session(self, proxy_url: str | None) -> _OneRequest:
        session = await super()._get_session(proxy_url)
        look_before_reuse(session.connector)
        return _OneRequest(session)
