"""The aiohttp session of the lean path: TLS, proxies and timeouts as aiobotocore has them, and nothing automatic."""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import Any

import aiohttp
from botocore.httpsession import ProxyConfiguration, get_cert_path
from botocore.utils import get_environ_proxies
from yarl import URL

from apm_s3._version import __version__
from apm_s3.settings import S3Settings
from apm_s3.transports.send_once import send_once

READ_BUFFER = 256 * 1024
"""Bytes; aiohttp stops reading from a connection at twice as many that nobody has taken yet."""

KEEPALIVE = 12.0
"""Seconds that an idle connection is kept, as aiobotocore does."""


_PLAIN = {"accept": "*/*", "accept-encoding": "identity", "user-agent": f"apm_s3/{__version__}"}
"""Given in full, lest aiohttp adds its own. Not signed: proxies change them."""


class HttpSession:
    """One aiohttp session, made at the first request on the loop that makes it.

    The number of connections is not bounded here: it is that of the requests in flight, which the pool bounds.
    """

    def __init__(self, settings: S3Settings, ca_bundle: str | None) -> None:
        self._settings = settings
        self._ca_bundle = ca_bundle
        self._session: aiohttp.ClientSession | None = None
        self._opening = asyncio.Lock()

    async def open(self) -> aiohttp.ClientSession:
        """The session."""
        async with self._opening:
            if self._session is None:
                context = await asyncio.to_thread(self._ssl_context)
                self._session = aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(limit=0, ssl=context, keepalive_timeout=KEEPALIVE),
                    headers=_PLAIN,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._settings.timeouts.connect),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    auto_decompress=False,
                    read_bufsize=READ_BUFFER,
                    middlewares=(send_once,),
                    trust_env=False,
                )
        return self._session

    async def aclose(self) -> None:
        """Close every connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def proxy(self, url: str) -> dict[str, Any]:
        """The arguments of a request to `url` that send it through a proxy; none where it goes straight."""
        configured = self._settings.proxies
        proxies = dict(configured) if configured is not None else get_environ_proxies(url)
        choice = ProxyConfiguration(proxies=proxies)
        proxy = choice.proxy_url_for(url)
        if not proxy:
            return {}
        if url.startswith("http:"):
            # aiohttp takes the password out of the URL, and sends it with each request.
            return {"proxy": URL(proxy)}
        # For CONNECT. Its errors show the proxy's URL, so the password is kept out of that.
        return {"proxy": URL(proxy).with_user(None), "proxy_headers": choice.proxy_headers_for(proxy)}

    def _ssl_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        verify = self._verify()
        if verify is False:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        else:
            bundle = get_cert_path(verify)
            if bundle:
                context.load_verify_locations(bundle)
        certificate = self._settings.client_cert
        if isinstance(certificate, str):
            context.load_cert_chain(certificate)
        elif certificate is not None:
            context.load_cert_chain(*certificate)
        return context

    def _verify(self) -> bool | str:
        """In botocore's order: the argument, the AWS configuration, the environment."""
        if self._settings.verify is not None:
            return self._settings.verify
        return self._ca_bundle or os.environ.get("REQUESTS_CA_BUNDLE") or True
