"""aiobotocore's session and clients, behind one typed edge: one client a region, made once, closed by us.

aiobotocore is untyped; nothing outside `transports/` touches it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, cast
from urllib.parse import urlsplit

from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioCredentials
from aiobotocore.session import AioSession, get_session
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from apm_s3._logs import EXCHANGES, Exchange
from apm_s3._s3.transports.boto.control import Endpoint
from apm_s3._s3.transports.boto.errors import UNREADABLE, translate
from apm_s3._s3.transports.boto.parameters import check_unicode
from apm_s3._s3.transports.boto.redaction import redact_logs
from apm_s3._s3.transports.boto.resigning import Resigner
from apm_s3._s3.transports.boto.send_once import SendOnceSession
from apm_s3._s3.transports.clock import Clock
from apm_s3._s3.transports.credentials import CredentialProvider
from apm_s3._s3_answers import s3_error
from apm_s3.errors import AccessDenied, ApmS3Error, ClockSkewed, ExpiredToken, UnsupportedByServer
from apm_s3.models import Credentials
from apm_s3.settings import S3Settings

MAX_REGIONS = 64
"""Clients of one manager. AWS has some 40 regions; a server that names more must not fill the memory with clients."""

_UNBOUNDED = 1_000_000
"""Connections of a client. The manager's pool bounds what is in flight; bodies that nobody reads hold theirs longer."""

_SOURCES = {
    "assume-role": "an assumed role",
    "assume-role-with-web-identity": "a web identity (service account)",
    "config-file": "AWS's configuration file",
    "container-role": "the container's role",
    "custom-process": "a credential process",
    "env": "the environment",
    "explicit": "the session",
    "iam-role": "the instance's role",
    "shared-credentials-file": "AWS's shared credentials file",
    "sso": "single sign-on",
}
"""botocore's names for the providers of its chain, in words."""


class Clients:
    """The S3 clients of one manager. No I/O before the first `get`.

    Attributes:
        provider: the credentials that all requests of the manager are signed with.
        clock: the time that they are signed by.
    """

    def __init__(
        self,
        *,
        session: Any = None,
        region: str | None = None,
        endpoint_url: str | None = None,
        credentials: Credentials | None = None,
        settings: S3Settings,
    ) -> None:
        redact_logs()
        self.session: AioSession = _core_session(session)
        self.region = region
        self.endpoint_url = endpoint_url
        self.credentials = credentials
        self.settings = settings
        self.provider = CredentialProvider(self._load_credentials, self._reload_credentials)
        self.clock = Clock()
        self._stack = AsyncExitStack()
        self._making: dict[str | None, asyncio.Task[Any]] = {}

    async def get(self, region: str | None = None) -> Any:
        """The aiobotocore client of `region` (the manager's own where it is None).

        Raises:
            UnsupportedByServer: there is none for it, and there are `MAX_REGIONS` others.
        """
        region = region or self.region
        making = self._making.get(region)
        if making is None and len(self._making) >= MAX_REGIONS:
            raise UnsupportedByServer(
                f"the server has named more than {MAX_REGIONS} regions",
                hint="check that endpoint_url names an S3 server",
            )
        if making is None or (making.done() and (making.cancelled() or making.exception() is not None)):
            making = asyncio.create_task(self._make(region), name=f"apm_s3 client {region or 'default'}")
            self._making[region] = making
        # Shielded: one caller's cancellation must not take the client from the others that wait for it.
        return await asyncio.shield(making)

    async def call(self, method: str, *, region: str | None = None, **params: Any) -> Mapping[str, Any]:
        try:
            check_unicode(params)
            client = await self.get(region)
            return cast("Mapping[str, Any]", await getattr(client, method)(**params))
        except ApmS3Error:
            raise
        except (BotoCoreError, ClientError, ResponseParserError, *UNREADABLE) as exc:
            error = translate(exc, operation=method, bucket=params.get("Bucket"), key=params.get("Key"))
            raise self._seen(error) from exc

    async def recover(self, error: ApmS3Error) -> bool:
        """Take in what `error` teaches about clock and credentials: whether to repeat the request at once."""
        if isinstance(error, ClockSkewed) and error.server_time is not None:
            self.clock.correct(error.server_time)
            return True
        return isinstance(error, ExpiredToken) and await self.provider.refresh()

    async def endpoint(self, region: str | None = None) -> Endpoint:
        try:
            meta = (await self.get(region)).meta
        except BotoCoreError as exc:
            raise translate(exc, operation="endpoint") from exc
        # botocore's name for the endpoint of us-east-1 where no region is configured.
        name = "us-east-1" if meta.region_name == "aws-global" else meta.region_name
        return Endpoint(url=meta.endpoint_url, region=name, is_aws=not is_custom(meta.endpoint_url))

    async def credentials_source(self) -> str | None:
        """Where the credentials come from, in words; None where there are none."""
        if self.credentials is not None:
            return "the arguments of S3Manager"
        try:
            method = await self.provider.method()
        except BotoCoreError as exc:
            raise translate(exc, operation="credentials_source") from exc
        return None if method is None else _SOURCES.get(method, method)

    async def aclose(self) -> None:
        """Close every client, those being made too."""
        making = list(self._making.values())
        self._making.clear()
        for task in making:
            task.cancel()
        if making:
            await asyncio.wait(making)
        await self._stack.aclose()

    def _seen(self, error: ApmS3Error) -> ApmS3Error:
        """The error with what its date tells: the answer to a HEAD has no body that says "skewed"."""
        # The type itself: every other refusal says what it is.
        if type(error) is not AccessDenied or error.s3_code or not self.clock.is_off(error.server_time):
            return error
        return s3_error(
            operation=error.operation or "",
            status=error.status,
            s3_code="RequestTimeTooSkewed",
            bucket=error.bucket,
            key=error.key,
            request_id=error.request_id,
            server_time=error.server_time,
        )

    async def _load_credentials(self) -> Any:
        static = self.credentials
        if static is not None:
            return AioCredentials(static.key_id, static.secret, static.token)
        return await self.session.get_credentials()

    async def _reload_credentials(self) -> Any:
        if self.credentials is not None:
            return None
        return await self.session.get_component("credential_provider").load_credentials()

    async def _make(self, region: str | None) -> Any:
        await asyncio.to_thread(self._load_models)
        client = await self._enter(region, self.endpoint_url)
        if self.endpoint_url is None and is_custom(client.meta.endpoint_url):
            # It came from the environment or the AWS configuration: what depends on it has to fit it, too.
            return await self._enter(region, client.meta.endpoint_url)
        return client

    async def _enter(self, region: str | None, endpoint_url: str | None) -> Any:
        static = self.credentials
        context = self.session.create_client(
            "s3",
            region_name=region,
            endpoint_url=self.endpoint_url,
            verify=self.settings.verify,
            aws_access_key_id=static.key_id if static else None,
            aws_secret_access_key=static.secret if static else None,
            aws_session_token=static.token if static else None,
            config=self._config(endpoint_url),
        )
        client = await self._stack.enter_async_context(context)
        redact_logs()  # on the loggers of what was loaded for it, too
        client.meta.events.register_first("choose-signer.s3", _presign_with_sigv4)
        client.meta.events.register_last("before-send.s3", Resigner(self.clock, self.provider))
        client.meta.events.register_last("response-received.s3", _note_exchange)
        return client

    def _config(self, endpoint_url: str | None) -> AioConfig:
        settings = self.settings
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
            "request_checksum_calculation": self.settings.request_checksums
            or (None if "AWS_REQUEST_CHECKSUM_CALCULATION" in os.environ else default),
            "response_checksum_validation": self.settings.response_checksums
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


def is_custom(endpoint_url: str) -> bool:
    """Whether the endpoint is an S3-compatible server rather than AWS."""
    host = urlsplit(endpoint_url).hostname or ""
    return not host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws"))


def _core_session(session: Any) -> AioSession:
    if session is None:
        return get_session()
    # An aioboto3.Session wraps the AioSession that holds its credentials and configuration.
    return getattr(session, "_session", session)


def _note_exchange(response_dict: Mapping[str, Any] | None, **_: Any) -> None:
    """Note an answer for the log of requests; what was sent, and a body that is a stream, is not known here."""
    exchanges = EXCHANGES.get()
    if exchanges is None or response_dict is None:
        return
    headers, body = response_dict["headers"], response_dict.get("body")
    received = len(body) if isinstance(body, bytes) else None
    exchanges.append(Exchange(response_dict["status_code"], headers.get("x-amz-request-id"), 0, received))


def _presign_with_sigv4(signature_version: str, **_: Any) -> str | None:
    """botocore presigns with SigV2 in the older regions and on custom endpoints, which many servers refuse."""
    if signature_version.startswith(("v4a", "v4-s3express")):
        return None
    for suffix in ("-query", "-presign-post"):
        if signature_version.endswith(suffix):
            return f"s3v4{suffix}"
    return None


def session_of_profile(profile: str) -> AioSession:
    """A session of one profile of AWS's configuration files. Whether there is one is seen when it is used."""
    session = get_session()
    session.set_config_variable("profile", profile)
    return session
