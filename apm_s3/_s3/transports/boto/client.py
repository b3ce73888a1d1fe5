"""Creates aiobotocore's clients. Importing this module loads aiobotocore, botocore and aiohttp.

Bodies that it reads completely are limited in size, and a connection with unread data is not used for the next request,
because the data would be read as the response. Bytes past the Content-Length of a response are ignored.

If a connection breaks, aiohttp repeats GET, HEAD, PUT and DELETE. Then a conditional PUT can fail because of its own
first delivery, and attempts cannot be counted. aiohttp only repeats on its own exceptions, so this middleware replaces
them: https://docs.aiohttp.org/en/stable/client_middleware_cookbook.html.

aiohttp also follows redirects to any host, with the session token and the SSE-C key in the headers, and returns that
host's bytes as the object. Here botocore sees the redirect instead, and signs for the region that S3 names.

Requests for credentials carry a proof: a web identity token, an SSO token, a token of the container or the instance.
aiohttp sends most of that along to any host that a redirect names, and botocore takes that host's response for
credentials.

Each document is checked by its root: behind a captive portal, or a proxy that answers by itself, a bucket would
otherwise have no tags, no policy and no public access block.
"""

from __future__ import annotations

import asyncio
import functools
import json
import math
import os
import re
import select
from collections.abc import Mapping, MutableMapping
from contextlib import AsyncExitStack
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import SplitResult, urlsplit
from weakref import WeakSet

from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession, get_session
from aiohttp import (
    BaseConnector,
    ClientConnectionResetError,
    ClientConnectorError,
    ClientHandlerType,
    ClientOSError,
    ClientRequest,
    ClientResponse,
    ClientSession,
    ServerDisconnectedError,
)
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from botocore.exceptions import ClientError
from botocore.httpsession import ProxyConfiguration
from botocore.utils import get_environ_proxies

from apm_s3._hints import Advice
from apm_s3._logs import EXCHANGES, Exchange
from apm_s3._s3.transports.boto.errors import redact_logs
from apm_s3._s3.transports.boto.sender import ADDED, RECEIVED
from apm_s3._s3.transports.expectations import MAX_DOCUMENT, MAX_ERROR
from apm_s3._s3.transports.routes import header_text, is_custom, refuse_exposed_token
from apm_s3._s3.transports.signed.connection import ConnectionBroken
from apm_s3._typing import override
from apm_s3._wire import xml
from apm_s3._wire.checksums import OFF_LOOP
from apm_s3._wire.http1 import MAX_HEAD, MalformedResponse, parse_head
from apm_s3._wire.sigv4 import SERVICE, UNSIGNED_PAYLOAD, Signer
from apm_s3.errors import IntegrityError, UnsupportedByServer
from apm_s3.settings import check_proxies

if TYPE_CHECKING:
    from apm_s3._s3.transports.clients import Clock, CredentialProvider
    from apm_s3.models import Credentials
    from apm_s3.settings import S3Settings


class BoundedResponse(ClientResponse):
    """A response whose `read` has a limit, for errors or documents. Objects are read as streams."""

    async def read(self) -> bytes:
        """Return the body; only the beginning of an error that is too long.

        Raises:
            ConnectionBroken: it is longer than any document of S3.
        """
        if self._body is None:
            try:
                self._body = await self._bounded(MAX_ERROR if self.status >= 300 else MAX_DOCUMENT)
            except BaseException:
                self.close()
                raise
        return self._body

    async def _bounded(self, limit: int) -> bytes:
        pieces = bytearray()
        while len(pieces) <= limit:
            piece = await self.content.readany()
            if not piece:
                return bytes(pieces)
            pieces += piece
        self.close()
        if self.status < 300:
            raise ConnectionBroken(f"the response is longer than {limit} bytes")
        return bytes(pieces)


class _Measured(ResponseHandler):
    """A connection that passes on no bytes past the Content-Length of a response, and is not used after them.

    aiohttp reads such bytes as the head of the next response, and loses the complete one that arrived with them. Ceph's
    gateway sends 243 of them after the error for a bucket without a public access block.
    """

    _start = b""
    _left: float | None = None

    @override
    def set_response_params(self, **params: Any) -> None:
        self._start, self._left = b"", None
        super().set_response_params(**params)

    @override
    def data_received(self, data: bytes) -> None:
        if not data:
            # aiohttp calls itself without data to go on with what it held back while reading was paused.
            super().data_received(data)
            return
        if self._left is None:
            before = len(self._start)
            self._start += data
            size = _size(self._start, bodiless=self._skip_payload)
            if size is None:
                super().data_received(data)
                return
            self._start, self._left = b"", size - before
        if len(data) > self._left:
            self.force_close()
            data = data[: int(self._left)]
        self._left -= len(data)
        if data:
            super().data_received(data)


def _size(start: bytes, *, bodiless: bool) -> float | None:
    """Return how many bytes a response takes with its head, inf if it does not say so; None: the head is incomplete."""
    begin = 0
    while (end := start.find(b"\r\n\r\n", begin)) >= 0:
        try:
            head = parse_head(start[begin:end], "HEAD" if bodiless else "GET")
        except MalformedResponse:
            return math.inf  # for aiohttp to refuse
        begin = end + 4
        if head.status >= 200:
            return math.inf if head.length is None else begin + head.length
    return math.inf if len(start) > MAX_HEAD else None


def look_before_reuse(connector: BaseConnector | None) -> None:
    """Make `connector` drop connections on which data has arrived since their last response, and measure responses."""
    if connector is None or getattr(connector, "_apm_s3_looks", False):
        return
    connect = connector.connect
    used: WeakSet[Any] = WeakSet()

    async def connect_quiet(*arguments: Any, **named: Any) -> Connection:
        while True:
            connection = await connect(*arguments, **named)
            protocol = connection.protocol
            if protocol not in used:
                # A new connection: data that TLS sends after the handshake is not a response.
                used.add(protocol)
                return connection
            if protocol is not None and not protocol.should_close and not _has_arrivals(connection):
                return connection
            connection.close()

    # aiohttp offers no other way to choose the class of its connections.
    connector._factory = functools.partial(_Measured, loop=connector._loop)  # type: ignore[assignment] # noqa: SLF001 - see above
    connector.connect = connect_quiet  # type: ignore[method-assign]
    connector._apm_s3_looks = True  # type: ignore[attr-defined] # noqa: SLF001 - a mark of our own


def _has_arrivals(connection: Connection) -> bool:
    sock = connection.transport.get_extra_info("socket") if connection.transport is not None else None
    if sock is None:
        return False
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([sock.fileno()], [], [], 0)[0])
    poller = select.poll()
    poller.register(sock.fileno(), select.POLLIN)
    return bool(poller.poll(0))


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


_MARK = "_apm_s3_kept"


class _KeptConfig(AioConfig):  # type: ignore[misc]
    """A configuration that keeps its HTTP session when that of a client is merged into it.

    That of aiobotocore 2.25 forgets it: its clients for credentials would follow redirects.
    """

    @override
    def merge(self, other_config: Any) -> AioConfig:
        merged = super().merge(other_config)
        merged.http_session_cls = self.http_session_cls
        return merged


def keep_from_redirects(session: AioSession) -> None:
    """Have `session`, which must be our own, get credentials without following any redirect.

    Reads the AWS configuration files, as botocore does when it looks for credentials.
    """
    if getattr(session, _MARK, False):
        return
    # STS, SSO and whatever else it asks through clients of its own.
    session.set_default_client_config(_KeptConfig(http_session_cls=SendOnceSession))
    # Containers and instances, which it asks without a client.
    for provider in session.get_component("credential_provider").providers:
        fetcher: Any = getattr(provider, "_role_fetcher", None) or getattr(provider, "_fetcher", None)
        kind = type(getattr(fetcher, "_session", None))
        if not issubclass(kind, AIOHTTPSession):
            continue
        kept = type(f"Kept{kind.__name__}", (kind, SendOnceSession), {})
        if hasattr(fetcher, "_base_url"):
            fetcher._session = kept(  # noqa: SLF001
                timeout=fetcher._timeout,  # noqa: SLF001
                proxies=get_environ_proxies(fetcher._base_url),  # noqa: SLF001
            )
        else:
            fetcher._session = kept(timeout=fetcher.TIMEOUT_SECONDS)  # noqa: SLF001
    setattr(session, _MARK, True)


_AUTHORIZATION = re.compile(
    rf"AWS4-HMAC-SHA256 Credential=(.+)/\d{{8}}/([^/]+)/{SERVICE}/aws4_request, SignedHeaders=([^,]+), Signature=.+"
)
_REPLACED = ("x-amz-content-sha256", "x-amz-date", "x-amz-security-token", "authorization")


class Resigner:
    """A handler of botocore's `before-send.s3` event. Requests with other signatures (SigV4a, S3 Express) are
    unchanged.

    Over plain HTTP, the body's hash must be signed. botocore would compute it in the event loop (1.5 ms per MiB), so
    this is turned off (`payload_signing_enabled`), and the hash is computed here, in a thread.
    """

    def __init__(self, clock: Clock, credentials: CredentialProvider) -> None:
        self._clock = clock
        self._credentials = credentials
        self._signer = Signer()

    async def __call__(self, request: Any, **_: Any) -> None:
        """Sign the request again, if needed."""
        headers = request.headers
        # botocore passes a file instead of the bytes of an object.
        body = request.body.getvalue() if isinstance(request.body, BytesIO) else request.body
        unhashed = isinstance(body, bytes) and body and request.url.startswith("http:")
        if not (unhashed or self._clock.offset):
            return
        signed = _AUTHORIZATION.fullmatch(header_text(headers.get("Authorization", "")))
        credentials = await self._credentials.get()
        if signed is None or credentials is None or signed[1] != credentials.key_id:
            return
        payload_hash = header_text(headers["X-Amz-Content-SHA256"])
        if unhashed and payload_hash == UNSIGNED_PAYLOAD:
            payload_hash = await _hash(body)
        parts = urlsplit(request.url)
        host = _host(parts)
        values = {name: header_text(headers.get(name, host if name == "host" else "")) for name in signed[3].split(";")}
        self._signer.sign(
            credentials,
            signed[2],
            request.method,
            parts.path or "/",
            _sorted(parts.query),
            values,
            payload_hash,
            self._clock.now(),
        )
        for name in _REPLACED:
            if name in values:
                del headers[name]
                headers[name] = values[name]


def _host(parts: SplitResult) -> str:
    """Return the Host header, which aiohttp adds."""
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return name if parts.port in (None, default) else f"{name}:{parts.port}"


async def _hash(body: bytes) -> str:
    if len(body) < OFF_LOOP:
        return sha256(body).hexdigest()
    return (await asyncio.to_thread(sha256, body)).hexdigest()


def _sorted(query: str) -> str:
    pairs = sorted(pair.partition("=") for pair in query.split("&") if pair)
    return "&".join(f"{name}={value}" for name, _, value in pairs)


_UNBOUNDED = 1_000_000
"""Maximum connections of a client. The pool limits requests in flight, but unread bodies keep their connections."""


class ClientMaking:
    """Creates the clients of a manager from a session and settings.

    Args:
        session: an `AioSession` or an `aioboto3.Session` to share; None for a new one.
        credentials: static credentials; None uses those of the session.
    """

    def __init__(self, session: Any, settings: S3Settings, credentials: Credentials | None) -> None:
        redact_logs()
        self.session: AioSession = _core_session(session)
        if session is None and credentials is None:
            # A session that was handed in belongs to its owner, whose other clients would change with it.
            keep_from_redirects(self.session)
        self._settings = settings
        self._credentials = credentials

    def ca_bundle(self) -> str | None:
        """Return the CA bundle of the AWS configuration, or None."""
        bundle: str | None = self.session.get_config_variable("ca_bundle")
        return bundle

    async def make(
        self,
        stack: AsyncExitStack,
        region: str | None,
        endpoint_url: str | None,
        clock: Clock,
        provider: CredentialProvider,
    ) -> Any:
        """Return a client of `region`, closed by `stack`; `clock` and `provider` are for signing its requests."""
        await asyncio.to_thread(self._load_models)
        client = await stack.enter_async_context(self._context(region, endpoint_url, endpoint_url))
        if endpoint_url is None and is_custom(client.meta.endpoint_url):
            # It came from the environment or the AWS configuration, so dependent settings must follow it.
            found = client.meta.endpoint_url
            client = await stack.enter_async_context(self._context(region, endpoint_url, found))
        redact_logs()  # also for loggers of modules that were just loaded
        client.meta.events.register_first("choose-signer.s3", _presign_with_sigv4)
        client.meta.events.register_last("before-send.s3", Resigner(clock, provider))
        client.meta.events.register_first("before-send.s3", _note_request)
        if not self._settings.token_over_http:
            client.meta.events.register_first("before-send.s3", self._refuse_exposed_token)
        client.meta.events.register_last("before-call.s3", _add_to_request)
        client.meta.events.register_first("response-received.s3", _note_exchange)
        client.meta.events.register_last("response-received.s3", check_document)
        return client

    def _refuse_exposed_token(self, request: Any, **_: Any) -> None:
        """Refuse a session token over plain HTTP to another machine, a proxy included."""
        if request.url.startswith("http:") and "x-amz-security-token" in request.headers:
            proxies = self._settings.proxies
            choice = ProxyConfiguration(dict(proxies) if proxies is not None else get_environ_proxies(request.url))
            servers = (request.url, choice.proxy_url_for(request.url))
            refuse_exposed_token(*(urlsplit(url).hostname or "" for url in servers if url is not None))

    def _context(self, region: str | None, endpoint_url: str | None, fitting: str | None) -> Any:
        """Return a context manager that opens a client configured for the endpoint `fitting`."""
        static = self._credentials
        return self.session.create_client(
            "s3",
            region_name=region,
            endpoint_url=endpoint_url,
            verify=self._settings.verify,
            aws_access_key_id=static.key_id if static else None,
            aws_secret_access_key=static.secret if static else None,
            aws_session_token=static.token if static else None,
            config=self._config(fitting),
        )

    def _config(self, endpoint_url: str | None) -> AioConfig:
        settings = self._settings
        options: dict[str, Any] = dict(self._checksums(endpoint_url))
        if settings.proxies is not None:
            options["proxies"] = dict(settings.proxies)
        if settings.proxies_config is not None:
            options["proxies_config"] = dict(settings.proxies_config)
        if settings.client_cert is not None:
            options["client_cert"] = settings.client_cert
        s3: dict[str, Any] = {}
        if settings.addressing_style != "auto":
            s3["addressing_style"] = settings.addressing_style
        if endpoint_url is not None and endpoint_url.startswith("http:"):
            s3["payload_signing_enabled"] = False  # the Resigner does it
        if s3:
            options["s3"] = s3
        return AioConfig(
            connect_timeout=settings.timeouts.connect,
            read_timeout=settings.timeouts.read,
            max_pool_connections=_UNBOUNDED,
            retries={"mode": "standard", "total_max_attempts": 1},
            http_session_cls=SendOnceSession,
            user_agent_extra="apm_s3",
            **options,
        )

    def _checksums(self, endpoint_url: str | None) -> dict[str, str]:
        """Return options for servers that refuse the checksums which botocore sends by default."""
        if self._settings._known_to_verify or not (endpoint_url and is_custom(endpoint_url)):  # noqa: SLF001 - see there
            return {}
        names = ("request_checksum_calculation", "response_checksum_validation")
        return {name: "when_required" for name in names if f"AWS_{name.upper()}" not in os.environ}

    def _load_models(self) -> None:
        # Megabytes of JSON: loaded here, in a thread, they are cached when the client is made on the event loop.
        loader = self.session.get_component("data_loader")
        for name in ("service-2", "endpoint-rule-set-1", "paginators-1", "waiters-2"):
            loader.load_service_model("s3", name)
        loader.load_data("partitions")
        loader.load_data("endpoints")


def _core_session(session: Any) -> AioSession:
    if session is None:
        return get_session()
    # An aioboto3.Session wraps the AioSession that holds its credentials and configuration.
    return getattr(session, "_session", session)


def _add_to_request(params: dict[str, Any], model: Any, **_: Any) -> None:
    """Add `ADDED`, before botocore computes checksums and signs: a handler of `before-call`."""
    # botocore may send others inside of the request: CreateSession, or HeadBucket after a redirect.
    if (added := ADDED.get()) is not None and added[0] == model.name:
        headers, body = added[1:]
        params["headers"].update(headers)
        if body is not None:
            params["body"] = body


def _note_request(request: Any, event_name: str, **_: Any) -> None:
    """Note a request before it is sent, for traces."""
    exchanges = EXCHANGES.get()
    if exchanges is not None:
        url = urlsplit(request.url)
        api, copy_source = event_name.rpartition(".")[2], request.headers.get("x-amz-copy-source")
        if isinstance(copy_source, bytes):
            copy_source = copy_source.decode()
        exchanges.began(api, url.hostname or "", url.port, url.query, copy_source)


def _note_exchange(response_dict: Mapping[str, Any] | None, **_: Any) -> None:
    """Note a response for the request log. The bytes sent, and the size of a streamed body, are not known here."""
    if response_dict is None:
        return
    headers, body = response_dict["headers"], response_dict.get("body")
    if isinstance(body, bytes) and (bodies := RECEIVED.get()) is not None:
        bodies.append(body)
    exchanges = EXCHANGES.get()
    if exchanges is None:
        return
    received = len(body) if isinstance(body, bytes) else None
    request_id, extended = headers.get("x-amz-request-id"), headers.get("x-amz-id-2")
    exchanges.append(Exchange(response_dict["status_code"], request_id, 0, received, extended))


def _presign_with_sigv4(signature_version: str, **_: Any) -> str | None:
    """Presign with SigV4: botocore uses SigV2 in older regions and on custom endpoints, and many servers refuse it."""
    if signature_version.startswith(("v4a", "v4-s3express")):
        return None
    for suffix in ("-query", "-presign-post"):
        if signature_version.endswith(suffix):
            return f"s3v4{suffix}"
    return None


def session_of_profile(profile: str) -> AioSession:
    """Return a session of a profile of the AWS configuration. A missing profile fails on first use."""
    session = get_session()
    session.set_config_variable("profile", profile)
    return session


_ROOTS = {
    "GetBucketCors": "CORSConfiguration",
    "GetBucketEncryption": "ServerSideEncryptionConfiguration",
    "GetBucketLifecycleConfiguration": "LifecycleConfiguration",
    "GetBucketLocation": "LocationConstraint",
    "GetBucketLogging": "BucketLoggingStatus",
    "GetBucketNotificationConfiguration": "NotificationConfiguration",
    "GetBucketOwnershipControls": "OwnershipControls",
    "GetBucketReplication": "ReplicationConfiguration",
    "GetBucketTagging": "Tagging",
    "GetBucketVersioning": "VersioningConfiguration",
    "GetObjectLockConfiguration": "ObjectLockConfiguration",
    "GetPublicAccessBlock": "PublicAccessBlockConfiguration",
    "ListBuckets": "ListAllMyBucketsResult",
}
"""https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html: root elements.

Servers have other names for some of them: "CreateBucketConfiguration" for a location, "GetBucketVersioningResponse".
"""

_LISTING, _NO_SETTINGS = "ListBucketResult", ("GetBucketLocation", "ListBuckets")
"""What a server sends that does not know the setting, and so takes the request for ListObjects."""

_OTHERS = {api: {*_ROOTS.values(), "html", "HTML"} - {root} for api, root in _ROOTS.items()}
"""Roots that tell of another document, by API."""

_PAGES = (b"<html", b"<!doctype html")
_HINT = Advice.CHECK_ENDPOINT(more=", and that no proxy answers in its place")


def check_document(response_dict: Mapping[str, Any] | None, event_name: str, **_: Any) -> None:
    """Refuse a successful response with another document: a handler of `response-received`.

    Raises:
        UnsupportedByServer: the server has taken the request for a listing, because it does not know the setting.
        IntegrityError: it is not the document of S3, so it is not known what was done.
    """
    if response_dict is None or response_dict["status_code"] >= 300:
        return
    body = response_dict.get("body")
    if not isinstance(body, bytes):
        return
    api = event_name.rpartition(".")[2]
    if body.lstrip()[:15].lower().startswith(_PAGES):
        raise IntegrityError("the response is not a document of S3: it is a web page", hint=_HINT)
    try:
        if api in _ROOTS:
            root = xml.document(body)
            name = root.tag[xml.skip_of(root) :]
            if name == _LISTING and api not in _NO_SETTINGS:
                raise UnsupportedByServer("the server does not know this setting: it answered with a list of objects")
            if name in _OTHERS[api]:
                _refuse(f"its root is '{name}' instead of '{_ROOTS[api]}'")
        elif api == "GetBucketPolicy":
            _check_policy(body)
    except xml.ErrorInstead as exc:
        raise IntegrityError("the response is an error with the status of a success", hint=_HINT) from exc
    except (xml.MalformedDocument, ValueError) as exc:
        raise IntegrityError(f"the response is not a document of S3: {exc}", hint=_HINT) from exc


def _check_policy(body: bytes) -> None:
    if not isinstance(json.loads(body), dict):
        _refuse("it is not a JSON object")


def _refuse(why: str) -> NoReturn:
    raise xml.MalformedDocument(why)
