"""The credentials of aiobotocore's session, shared with its clients and refreshed by its own machinery."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

from botocore.credentials import RefreshableCredentials
from botocore.exceptions import BotoCoreError, ClientError

from apm_s3.models import Credentials

_REFRESH_INTERVAL = 10.0
"""Seconds for which refreshed credentials are not refreshed again, whatever is said of them."""

_log = logging.getLogger(__name__)


class CredentialProvider:
    """The credentials of now, as values.

    Args:
        load: gives aiobotocore's credentials object, which its clients sign with; None where there is none.
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
        self._raw: Any = None
        self._refreshing = asyncio.Lock()
        self._renewed_at = -math.inf

    async def get(self) -> Credentials | None:
        """The credentials, refreshed if they are about to expire; None where there are none."""
        if self._source is None:
            self._source = await self._load()
            if self._source is None:
                return None
        return self._keep(await self._source.get_frozen_credentials())

    async def method(self) -> str | None:
        """How botocore found them ("env", "iam-role", ...); None where there are none."""
        if await self.get() is None:
            return None
        return str(getattr(self._source, "method", None) or "a custom provider")

    async def refresh(self) -> bool:
        """Get others than those that S3 refused as expired: whether there are any. One refresh at a time."""
        try:
            # Where only aiobotocore's clients have signed so far, nobody has asked here.
            refused = self._frozen or await self.get()
            async with self._refreshing:
                # Whoever waited here finds that those of the first are others already. And the requests that were under
                # way with the old ones, and are refused one by one, must not refresh the new ones away, one by one.
                if await self.get() != refused or self._is_fresh():
                    return True
                await self._refresh()
                renewed = await self.get() != refused
                if renewed:
                    self._renewed_at = time.monotonic()
                return renewed
        except (BotoCoreError, ClientError, OSError, RuntimeError) as exc:
            _log.warning("the expired credentials could not be refreshed: %s", type(exc).__name__)
            return False

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._renewed_at < _REFRESH_INTERVAL

    async def _refresh(self) -> None:
        if isinstance(self._source, RefreshableCredentials):
            # Without a public call for it: botocore trusts the expiry alone, and this machine's clock.
            async with self._source._refresh_lock:  # noqa: SLF001
                await self._source._protected_refresh(is_mandatory=True)  # noqa: SLF001
        elif self._reload is not None and (fresh := await self._reload()) is not None:
            # Rotated in the environment or in a file. Changed in place, since the clients hold this object.
            found = await fresh.get_frozen_credentials()
            self._source.access_key, self._source.secret_key = found.access_key, found.secret_key
            self._source.token = found.token

    def _keep(self, raw: Any) -> Credentials:
        if self._frozen is None or raw != self._raw:
            self._frozen = Credentials(raw.access_key, raw.secret_key, raw.token)
            self._raw = raw
        return self._frozen
