"""Keeps the clients that get credentials from following redirects.

They prove who they are: by a web identity token, an SSO token, a token of the container or the instance. aiohttp sends
most of that along to any host that a redirect names, and botocore takes that host's response for credentials.
"""

from __future__ import annotations

from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession
from botocore.utils import get_environ_proxies

from apm_s3._s3.transports.boto.send_once import SendOnceSession
from apm_s3._typing import override

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
