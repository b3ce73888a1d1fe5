"""What a signature needs: the session's credentials, and S3's clock if this machine's is wrong."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

from apm_s3._s3.transports.boto.errors import botocore_errors, loaded
from apm_s3.models import Credentials

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
