"""aiobotocore's session and clients, one per region, and what a signature needs: credentials, and S3's clock.

aiobotocore is untyped; nothing outside `transports/` uses it. Loading it takes most of a second, so it is loaded
(in a thread) on first use: a manager with a `PlainTarget` that only transfers objects never loads it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from apm_s3._hints import Advice
from apm_s3._s3.transports.base import Endpoint
from apm_s3._s3.transports.boto.errors import UNREADABLE, botocore_errors, loaded, redact_logs, translate
from apm_s3._s3.transports.routes import is_custom, plain_credentials, plain_endpoint, plain_target
from apm_s3._s3_responses import s3_error
from apm_s3._tasks import wait_shielded
from apm_s3.errors import AccessDenied, ApmS3Error, ClockSkewed, ExpiredToken, UnsupportedByServer
from apm_s3.models import Credentials

if TYPE_CHECKING:
    from apm_s3._s3.transports.boto.client import ClientMaking
    from apm_s3.settings import S3Settings


MAX_SKEW = 15 * 60
"""Seconds: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html."""


class Clock:
    """The time for signing requests: this machine's, until S3 corrects it.

    Attributes:
        offset: seconds by which S3's clock is ahead of this machine's.
    """

    def __init__(self) -> None:
        self.offset = 0.0

    def now(self) -> float:
        """Return the time in Unix seconds."""
        return time.time() + self.offset

    def correct(self, server_time: float) -> None:
        """Correct the clock after S3 refused a signature and sent its own time (Unix seconds)."""
        self.offset = server_time - time.time()

    def is_off(self, server_time: float | None) -> bool:
        """Return whether S3 would refuse a signature of this clock, given the time that it sent."""
        return server_time is not None and abs(server_time - self.now()) > MAX_SKEW


_REFRESH_INTERVAL = 10.0
"""Seconds for which refreshed credentials are not refreshed again, even if they are refused."""

_log = logging.getLogger(__name__)


class FixedCredentials:
    """Credentials that are known, in the form of botocore's.

    Attributes:
        method: where they come from, by botocore's name.
    """

    def __init__(self, credentials: Credentials, method: str) -> None:
        self.access_key = credentials.key_id
        self.secret_key = credentials.secret
        self.token = credentials.token
        self.method = method

    async def get_frozen_credentials(self) -> FixedCredentials:
        """Return the current values, as botocore's credentials do."""
        return FixedCredentials(Credentials(self.access_key, self.secret_key, self.token), self.method)


class CredentialProvider:
    """The current credentials, as values.

    Args:
        load: returns aiobotocore's credentials object, which its clients use for signing, or None.
        reload: runs the chain of providers again, for credentials that cannot refresh themselves.
    """

    def __init__(
        self,
        load: Callable[[], Awaitable[Any]],
        reload: Callable[[], Awaitable[Any]] | None = None,
    ) -> None:
        self._load = load
        self._reload = reload
        self._frozen: Credentials | None = None
        self._source: Any = None
        self._values: tuple[Any, ...] = ()
        self._refreshing = asyncio.Lock()
        self._renewed_at = -math.inf

    async def get(self) -> Credentials | None:
        """Return the credentials, refreshed if they are about to expire, or None."""
        source = await self._holder()
        return None if source is None else self._keep(await source.get_frozen_credentials())

    def forget(self) -> None:
        """Load the credentials again on next use, because another object holds them now."""
        self._source = None

    async def method(self) -> str | None:
        """Return how botocore found them ("env", "iam-role", ...), or None."""
        if await self.get() is None:
            return None
        return str(getattr(await self._holder(), "method", None) or "a custom provider")

    async def refresh(self) -> bool:
        """Replace credentials that S3 refused as expired, one refresh at a time; return whether there are new ones."""
        try:
            # If only aiobotocore's clients have signed so far, they were not loaded here.
            refused = self._frozen or await self.get()
            async with self._refreshing:
                # After waiting here, the credentials may already be new. And requests that were in flight with the old
                # ones, and are refused one by one, must not each refresh the new ones.
                if await self.get() != refused or self._is_fresh():
                    return True
                await self._refresh()
                renewed = await self.get() != refused
                if renewed:
                    self._renewed_at = time.monotonic()
                return renewed
        except botocore_errors(OSError, RuntimeError) as exc:
            _log.warning("the expired credentials could not be refreshed: %s", type(exc).__name__)
            return False

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._renewed_at < _REFRESH_INTERVAL

    async def _holder(self) -> Any:
        """Return aiobotocore's credentials object, or None."""
        if self._source is None:
            self._source = await self._load()
        return self._source

    async def _refresh(self) -> None:
        source = self._source
        if isinstance(source, loaded("botocore.credentials", "RefreshableCredentials")):
            # There is no public method for this: botocore only uses the expiry and this machine's clock.
            async with source._refresh_lock:  # noqa: SLF001
                await source._protected_refresh(is_mandatory=True)  # noqa: SLF001
        elif self._reload is not None and (fresh := await self._reload()) is not None:
            # Rotated in the environment or in a file. Changed in place, because the clients refer to this object.
            found = await fresh.get_frozen_credentials()
            source = await self._holder()  # a different object if the session was created only now
            source.access_key, source.secret_key = found.access_key, found.secret_key
            source.token = found.token

    def _keep(self, raw: Any) -> Credentials:
        values = (raw.access_key, raw.secret_key, raw.token)
        if self._frozen is None or values != self._values:
            self._frozen = Credentials(*values)
            self._values = values
        return self._frozen


MAX_REGIONS = 64
"""Maximum clients of a manager. AWS has about 40 regions; a server that names more must not exhaust memory."""

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
"""Descriptions of botocore's credential providers."""


class Clients:
    """The S3 clients of one manager. No I/O before the first `get`.

    Attributes:
        provider: the credentials for signing all requests of the manager.
        clock: the clock for signing.
        plain: where the requests go, if that is known without botocore.
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
        self._given_session = session
        self._making: ClientMaking | None = None
        self.region = region
        self.endpoint_url = endpoint_url
        self.credentials = credentials
        self.settings = settings
        known = session is None and (credentials is not None or plain_credentials(os.environ) is not None)
        self.plain = (
            plain_target(region, endpoint_url, settings, os.environ, configured=_is_configured()) if known else None
        )
        self.provider = CredentialProvider(self._load_credentials, self._reload_credentials)
        self.clock = Clock()
        self._stack = AsyncExitStack()
        self._made: dict[str | None, asyncio.Task[Any]] = {}

    async def get(self, region: str | None = None) -> Any:
        """Return the aiobotocore client of `region` (None means the manager's region).

        Raises:
            UnsupportedByServer: there are already `MAX_REGIONS` other clients.
        """
        region = region or self.region
        making = self._made.get(region)
        if making is None and len(self._made) >= MAX_REGIONS:
            raise UnsupportedByServer(
                f"the server has named more than {MAX_REGIONS} regions",
                hint=Advice.CHECK_ENDPOINT(more=""),
            )
        if making is None or (making.done() and (making.cancelled() or making.exception() is not None)):
            making = asyncio.create_task(self._make(region), name=f"apm_s3 client {region or 'default'}")
            self._made[region] = making
        # Shielded, because cancelling one caller must not affect others that wait for the client.
        return await wait_shielded(making)

    async def call(self, method: str, *, region: str | None = None, **params: Any) -> Mapping[str, Any]:
        try:
            _check_unicode(params)
            client = await self.get(region)
            return cast("Mapping[str, Any]", await getattr(client, method)(**params))
        except ApmS3Error:
            raise
        except botocore_errors(*loaded("botocore.parsers", "ResponseParserError"), *UNREADABLE) as exc:
            error = translate(exc, operation=method, bucket=params.get("Bucket"), key=params.get("Key"))
            raise self._seen(error) from exc

    async def recover(self, error: ApmS3Error) -> bool:
        """Learn from `error` about clock and credentials, and return whether to repeat the request immediately."""
        if isinstance(error, ClockSkewed) and error.server_time is not None:
            self.clock.correct(error.server_time)
            return True
        return isinstance(error, ExpiredToken) and await self.provider.refresh()

    async def endpoint(self, region: str | None = None) -> Endpoint:
        if self.plain is not None and region in {None, self.plain.region}:
            return plain_endpoint(self.plain, self.endpoint_url)
        try:
            meta = (await self.get(region)).meta
        except loaded("botocore.exceptions", "BotoCoreError") as exc:
            raise translate(exc, operation="endpoint") from exc
        # botocore's name for the endpoint of us-east-1 if no region is configured.
        name = "us-east-1" if meta.region_name == "aws-global" else meta.region_name
        return Endpoint(url=meta.endpoint_url, region=name, is_aws=not is_custom(meta.endpoint_url))

    async def credentials_source(self) -> str | None:
        """Return a description of where the credentials come from; None without credentials."""
        if self.credentials is not None:
            return "the arguments of S3Manager"
        try:
            method = await self.provider.method()
        except loaded("botocore.exceptions", "BotoCoreError") as exc:
            raise translate(exc, operation="credentials_source") from exc
        return None if method is None else _SOURCES.get(method, method)

    async def aclose(self) -> None:
        """Close every client, including those being created."""
        making = list(self._made.values())
        self._made.clear()
        for task in making:
            task.cancel()
        if making:
            await asyncio.wait(making)
        await self._stack.aclose()

    def _seen(self, error: ApmS3Error) -> ApmS3Error:
        """Check the error's date for a skewed clock, because the response to a HEAD has no body that says so."""
        # Exactly this type: every other refusal names its reason.
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

    async def ca_bundle(self) -> str | None:
        """Return the CA bundle of the AWS configuration, or None."""
        return None if self.plain is not None else (await self._loaded()).ca_bundle()

    async def _loaded(self) -> ClientMaking:
        """Return what makes clients; its module and the session are loaded on first use."""
        if self._making is None:
            module = await asyncio.to_thread(import_module, "apm_s3._s3.transports.boto.client")
            if self._making is None:
                self._making = module.ClientMaking(self._given_session, self.settings, self.credentials)
                # The session holds those of the environment from now on.
                self.provider.forget()
        return self._making

    async def _load_credentials(self) -> Any:
        if self.credentials is not None:
            return FixedCredentials(self.credentials, "explicit")
        known = plain_credentials(os.environ) if self._making is None and self.plain is not None else None
        if known is not None:
            return FixedCredentials(known, "env")
        return await (await self._loaded()).session.get_credentials()

    async def _reload_credentials(self) -> Any:
        if self.credentials is not None:
            return None
        return await (await self._loaded()).session.get_component("credential_provider").load_credentials()

    async def _make(self, region: str | None) -> Any:
        making = await self._loaded()
        return await making.make(self._stack, region, self.endpoint_url, self.clock, self.provider)


def _check_unicode(value: Any) -> None:
    """Check parameters for lone surrogates, with which the layers of botocore fail in different ways.

    Raises:
        UnicodeEncodeError: there is a lone surrogate.
    """
    if isinstance(value, str):
        if not value.isascii():
            value.encode()
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            _check_unicode(name)
            _check_unicode(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check_unicode(inner)


def _is_configured() -> bool:
    """Return whether there may be AWS configuration files, or the user's service models next to them."""
    return Path("~/.aws").expanduser().exists()
