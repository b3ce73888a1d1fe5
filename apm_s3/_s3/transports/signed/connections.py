"""The connections of the signed path: kept alive, with TLS, proxies and timeouts as in aiobotocore.

https://www.rfc-editor.org/rfc/rfc8305
asyncio's implementation leaks a socket if it is cancelled at the wrong time, and uvloop has none.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import os
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from aiohappyeyeballs import AddrInfoType, start_connection

from apm_s3._hints import Advice
from apm_s3._s3.transports.routes import names_no_proxy
from apm_s3._s3.transports.signed.connection import Connection, ConnectionBroken
from apm_s3._wire.http1 import request_head
from apm_s3.errors import InvalidOption
from apm_s3.settings import S3Settings, check_proxies

if TYPE_CHECKING:
    from apm_s3._s3.transports.routes import Origin


_DELAY = 0.25
"""Seconds after which the next address is tried as well."""

New = Callable[[], Connection]


async def dial(new: New, host: str, port: int) -> Connection:
    """Open a `new` connection to `host`.

    Raises:
        OSError: the host does not exist, or none of its addresses accepts a connection.
    """
    addresses = await _addresses(host, port)
    if not addresses:
        raise OSError(f"{host} has no address")
    sock = await start_connection(addresses, happy_eyeballs_delay=_DELAY, interleave=1)
    try:
        _, connection = await asyncio.get_running_loop().create_connection(new, sock=sock)
    except BaseException:
        sock.close()
        raise
    return connection


async def _addresses(host: str, port: int) -> list[AddrInfoType]:
    """Resolve the addresses of a host, in the system's order of preference."""
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        if address.version == 4:
            return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))]
        if not address.scope_id:
            return [(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port, 0, 0))]
    return list(await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM))


KEEPALIVE = 12.0
"""Seconds for which an idle connection is kept, as in aiobotocore."""

_GOODBYE = 5.0
"""Seconds that closing waits for connections to close, which takes one or two iterations of the event loop."""


class CannotConnect(Exception):
    """There is no connection, so nothing was sent."""


class Proxy(NamedTuple):
    """A proxy, and the headers that it needs."""

    host: str
    port: int
    secure: bool
    headers: dict[str, str]

    def __repr__(self) -> str:
        return f"Proxy(host={self.host!r}, port={self.port}, secure={self.secure})"


class Lane:
    """The connections to one origin.

    Attributes:
        idle: the idle connections, most recently used last.
        prefix, headers: the prefix and headers of requests through a proxy without a tunnel.
    """

    __slots__ = ("headers", "idle", "origin", "prefix", "proxy")

    def __init__(self, origin: Origin, proxy: Proxy | None, prefix: str, headers: dict[str, str]) -> None:
        self.origin = origin
        self.proxy = proxy
        self.prefix = prefix
        self.headers = headers
        self.idle: list[Connection] = []


class Connections:
    """Every connection of a manager's signed path.

    Their number is not limited here, because the pool limits the requests in flight.

    Args:
        ca_bundle: returns the CA bundle of the AWS configuration, or None.
    """

    def __init__(self, settings: S3Settings, ca_bundle: Callable[[], Awaitable[str | None]]) -> None:
        self._settings = settings
        self._ca_bundle = ca_bundle
        self._lanes: dict[Origin, Lane] = {}
        self._open: set[Connection] = set()
        self._context: ssl.SSLContext | None = None
        self._opening = asyncio.Lock()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False
        self._all_lost: asyncio.Future[None] | None = None

    def lane(self, origin: Origin) -> Lane:
        """Return the connections to `origin`.

        Raises:
            InvalidOption: a proxy in the settings or the environment is not valid.
        """
        lane = self._lanes.get(origin)
        if lane is None:
            proxy = self._proxy(origin)
            absolute = proxy is not None and not origin.secure
            prefix = f"http://{origin.authority}" if absolute else ""
            lane = self._lanes[origin] = Lane(origin, proxy, prefix, proxy.headers if proxy and absolute else {})
        return lane

    def reuse(self, lane: Lane, now: float) -> Connection | None:
        """Return an idle connection for one request; it returns itself to the pool at the end of the response.

        No data may have arrived since its last response, because it would be read as the next one. The event loop may
        not have seen such data yet, so the socket is checked.
        """
        idle = lane.idle
        while idle:
            connection = idle.pop()
            if connection.usable and now - connection.idle_since < KEEPALIVE and not connection.arrived():
                return connection
            connection.abort()
        return None

    async def aclose(self) -> None:
        """Close every connection."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        if self._open:
            self._all_lost = asyncio.get_running_loop().create_future()
            for connection in self._open:
                connection.abort()
            await asyncio.wait([self._all_lost], timeout=_GOODBYE)
        self._lanes.clear()

    async def connect(self, lane: Lane) -> Connection:
        """Open a new connection for one request, as in `reuse`.

        Raises:
            CannotConnect: it cannot be established.
        """
        origin, proxy = lane.origin, lane.proxy
        server = origin if proxy is None else proxy
        context = await self._ssl_context() if origin.secure or server.secure else None
        connection: Connection | None = None
        limit = asyncio.timeout(self._settings.timeouts.connect)
        try:
            async with limit:
                connection = await dial(lambda: Connection(self._lost), server.host, server.port)
                if context is not None and server.secure:
                    await connection.start_tls(context, server.host)
                if context is not None and proxy is not None and origin.secure:
                    await _tunnel(connection, origin, proxy)
                    await connection.start_tls(context, origin.host)
        except (OSError, UnicodeError, ConnectionBroken) as exc:
            _drop(connection)
            seconds = self._settings.timeouts.connect
            problem = f"no connection within {seconds:g} seconds" if limit.expired() else str(exc) or type(exc).__name__
            raise CannotConnect(problem) from exc
        except BaseException:
            _drop(connection)
            raise
        if self._closed:
            connection.abort()
            raise CannotConnect("the manager was closed")
        if not connection.usable:
            raise CannotConnect("the server closed the connection immediately")
        self._open.add(connection)
        connection.released = functools.partial(self._released, lane)
        return connection

    def _released(self, lane: Lane, connection: Connection, usable: bool) -> None:
        if not usable or self._closed:
            connection.abort()
            return
        connection.idle_since = time.monotonic()
        lane.idle.append(connection)
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(KEEPALIVE, self._sweep)

    def _lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        if self._all_lost is not None and not self._open and not self._all_lost.done():
            self._all_lost.set_result(None)

    def _sweep(self) -> None:
        """Close connections that have been idle for too long, and remove closed ones."""
        oldest = time.monotonic() - KEEPALIVE
        self._sweeper = None
        for lane in self._lanes.values():
            kept = [connection for connection in lane.idle if connection.usable and connection.idle_since > oldest]
            for connection in set(lane.idle).difference(kept):
                connection.abort()
            lane.idle[:] = kept
            if kept and self._sweeper is None:
                self._sweeper = asyncio.get_running_loop().call_later(KEEPALIVE / 2, self._sweep)

    def _proxy(self, origin: Origin) -> Proxy | None:
        configured = self._settings.proxies
        if names_no_proxy(configured, os.environ):
            return None
        # Loaded already: a `PlainTarget` has no proxy.
        from botocore.httpsession import ProxyConfiguration  # noqa: PLC0415 - see above
        from botocore.utils import get_environ_proxies  # noqa: PLC0415 - see above

        scheme = "https" if origin.secure else "http"
        url = f"{scheme}://{origin.authority}"
        choice = ProxyConfiguration(proxies=dict(configured) if configured is not None else get_environ_proxies(url))
        address = choice.proxy_url_for(url)
        if not address:
            return None
        check_proxies({scheme: address})
        parts = urlsplit(address)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        headers = dict(choice.proxy_headers_for(address))
        return Proxy(parts.hostname or "", port, parts.scheme == "https", headers)

    async def _ssl_context(self) -> ssl.SSLContext:
        async with self._opening:
            if self._context is None:
                # Reading the certificates takes 20 ms and more.
                try:
                    self._context = await asyncio.to_thread(self._new_context, await self._verify())
                except OSError as exc:
                    raise InvalidOption(
                        f"the certificates cannot be read: {exc}", hint=Advice.CHECK_CERTIFICATES()
                    ) from exc
        return self._context

    def _new_context(self, verify: bool | str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if verify is False:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        else:
            bundle = default_bundle() if verify is True else verify
            if bundle:
                context.load_verify_locations(bundle)
        certificate = self._settings.client_cert
        if isinstance(certificate, str):
            context.load_cert_chain(certificate)
        elif certificate is not None:
            context.load_cert_chain(*certificate)
        return context

    async def _verify(self) -> bool | str:
        """Find the setting in botocore's order: the argument, the AWS configuration, the environment."""
        if self._settings.verify is not None:
            return self._settings.verify
        return await self._ca_bundle() or os.environ.get("REQUESTS_CA_BUNDLE") or True


def default_bundle() -> str:
    """Return botocore's default CA bundle: certifi's, or else its own, found without importing botocore."""
    try:
        from certifi import where  # noqa: PLC0415 - optional
    except ImportError:
        found = find_spec("botocore")
        return str(Path((found and found.origin) or "").with_name("cacert.pem"))
    return where()


async def _tunnel(connection: Connection, origin: Origin, proxy: Proxy) -> None:
    """Request a tunnel from the proxy: https://www.rfc-editor.org/rfc/rfc9110#name-connect."""
    target = f"[{origin.host}]:{origin.port}" if ":" in origin.host else f"{origin.host}:{origin.port}"
    response = connection.begin("CONNECT", whole=False)
    connection.write(request_head("CONNECT", target, {"host": target, **proxy.headers}))
    await response.wait()
    if not 200 <= response.status < 300:
        raise ConnectionRefusedError(f"the proxy returned {response.status}")


def _drop(connection: Connection | None) -> None:
    if connection is not None:
        connection.abort()
