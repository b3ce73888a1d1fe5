"""Creates aiobotocore's clients. Importing this module loads aiobotocore, botocore and aiohttp, so `Clients` waits."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from botocore.httpsession import ProxyConfiguration
from botocore.utils import get_environ_proxies

from apm_s3._logs import EXCHANGES, Exchange
from apm_s3._s3.transports.boto.credential_clients import keep_from_redirects
from apm_s3._s3.transports.boto.documents import check_document
from apm_s3._s3.transports.boto.redaction import redact_logs
from apm_s3._s3.transports.boto.resigning import Resigner
from apm_s3._s3.transports.boto.send_once import SendOnceSession
from apm_s3._s3.transports.routes import is_custom, refuse_exposed_token

if TYPE_CHECKING:
    from apm_s3._s3.transports.clock import Clock
    from apm_s3._s3.transports.credentials import CredentialProvider
    from apm_s3.models import Credentials
    from apm_s3.settings import S3Settings

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
        default = "when_required" if endpoint_url and is_custom(endpoint_url) else None
        chosen = {
            "request_checksum_calculation": self._settings.request_checksums
            or (None if "AWS_REQUEST_CHECKSUM_CALCULATION" in os.environ else default),
            "response_checksum_validation": self._settings.response_checksums
            or (None if "AWS_RESPONSE_CHECKSUM_VALIDATION" in os.environ else default),
        }
        return {name: value for name, value in chosen.items() if value}

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
    exchanges = EXCHANGES.get()
    if exchanges is None or response_dict is None:
        return
    headers, body = response_dict["headers"], response_dict.get("body")
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
