"""aiobotocore's HTTP session, kept from sending a request twice, or to another host.

On a connection that breaks, aiohttp repeats GET, HEAD, PUT and DELETE by itself. A conditional PUT can then be refused
by its own first delivery, and attempts cannot be counted. aiohttp repeats only on errors of its own tree, so this
middleware lets them leave it: https://docs.aiohttp.org/en/stable/client_middleware_cookbook.html.

aiohttp also follows redirects to any host, with the session token and the SSE-C key in the headers, and takes that
host's bytes for the object. Here botocore sees the redirect instead, and signs anew for the region that S3 names.
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
    """An aiohttp client middleware under which each request is sent at most once."""
    request.response_class = BoundedResponse
    try:
        return await handler(request)
    except ClientConnectorError:
        raise
    except (ClientOSError, ServerDisconnectedError, ClientConnectionResetError) as exc:
        raise ConnectionBroken(str(exc) or type(exc).__name__) from exc


class _OneRequest:
    """An aiohttp session whose requests are sent at most once, and only where they are addressed to."""

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
            # aiohttp's errors show the proxy's URL, so the password that is in it goes as a header.
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
        InvalidOption: the settings, or the environment, name no proxy that can be used. Errors of URLs show them.
    """

    def __init__(self, *arguments: Any, proxies: dict[str, str] | None = None, **more: Any) -> None:
        check_proxies(proxies or {})
        super().__init__(*arguments, proxies=proxies, **more)

    async def send(self, request: Any) -> Any:
        """Send `request`.

        Raises:
            ClientError: the answer is a redirect that names no region. botocore would ask for it with a HEAD of the
                bucket: without end where that is redirected too, and with a TypeError where there is no bucket.
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
