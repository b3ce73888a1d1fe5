"""Credentials that expire and can be refreshed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from aiobotocore.credentials import AioRefreshableCredentials
from aiobotocore.session import AioSession, get_session


class Role:
    """Credentials of a role, whose tokens are numbered."""

    def __init__(self) -> None:
        self.refreshes = 0

    def session(self) -> AioSession:
        session = get_session()
        session._credentials = AioRefreshableCredentials.create_from_metadata(
            metadata=self._metadata(), refresh_using=self._refresh, method="a test's"
        )
        return session

    async def _refresh(self) -> dict[str, str]:
        await asyncio.sleep(0)
        self.refreshes += 1
        return self._metadata()

    def _metadata(self) -> dict[str, str]:
        expiry = datetime.now(UTC) + timedelta(hours=5)
        return {
            "access_key": "key",
            "secret_key": "secret",
            "token": f"token-{self.refreshes}",
            "expiry_time": expiry.isoformat(),
        }
