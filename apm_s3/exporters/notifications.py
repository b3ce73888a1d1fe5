"""Sends a notification of each commit in an environment: signed webhooks and annotations in Grafana.

```python
targets = [
    Webhook("https://ops.example.com/hooks/apm", secret=os.environ["HOOK_SECRET"]),
    GrafanaAnnotations("https://grafana.example.com", token=os.environ["GRAFANA_TOKEN"]),
]
await notify(s3.configs("acme-apm-configs"), "production", targets)
```

Notifications contain no configuration content, only who changed which files, and how many lines.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeGuard, cast
from urllib.parse import urlsplit

import aiohttp

from apm_s3._backoff import Backoff
from apm_s3._tasks import run_all
from apm_s3.errors import ApmS3Error, InvalidOption
from apm_s3.validators._secrets.texts import mask_text

if TYPE_CHECKING:
    from apm_s3 import ConfigStore, Tool
    from apm_s3.configs import LogEntry

__all__ = [
    "GrafanaAnnotations",
    "Notification",
    "Target",
    "TargetRequest",
    "Webhook",
    "notify",
]

_log = logging.getLogger(__name__)

_TIMEOUT = 10.0
"""Most seconds that a target may take to respond."""

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 300.0
"""Seconds between two attempts."""


class Notification(NamedTuple):
    """A notification of one commit.

    Attributes:
        id: the hash of the log entry. It is the same for each attempt, so that a target can ignore repetitions.
        changes: the changed files of each tool: name, kind of change, lines added and removed. Tools whose revisions
            can no longer be read are omitted.
    """

    id: str
    bucket: str
    prefix: str
    environment: str
    entry: LogEntry
    changes: Mapping[str, Sequence[Mapping[str, Any]]]

    @property
    def summary(self) -> str:
        """Describe the commit in one line: "deploy in production by ana: prometheus 3→4, loki 1 (new)"."""
        entry = self.entry
        moved = ", ".join(f"{tool} {_moved(*move)}" for tool, move in sorted(entry.tools.items()))
        settings = f"settings {', '.join(entry.settings)}" if entry.settings else ""
        what = ", ".join(filter(None, (moved, settings)))
        return f"{entry.action} in {self.environment} by {entry.author or 'unknown'}{f': {what}' if what else ''}"

    def to_dict(self) -> dict[str, Any]:
        """Return the notification as JSON types. Text in the author's message that looks like a secret is masked."""
        entry = self.entry
        return {
            "type": "apm_s3.commit",
            "id": self.id,
            "timestamp": entry.at.isoformat(),
            "summary": self.summary,
            "bucket": self.bucket,
            "prefix": self.prefix,
            "environment": self.environment,
            "sequence": entry.sequence,
            "write_id": entry.write_id,
            "action": str(entry.action),
            "author": entry.author,
            "message": mask_text("message", entry.message),
            "forced": None if entry.forced is None else mask_text("message", entry.forced),
            "tools": {tool: list(move) for tool, move in entry.tools.items()},
            "settings": list(entry.settings),
            "source_environment": entry.source_environment,
            "changes": {tool: [dict(change) for change in changes] for tool, changes in self.changes.items()},
        }


def _moved(before: int, after: int) -> str:
    return f"{before}→{after}" if before else f"{after} (new)"


class TargetRequest(NamedTuple):
    """The POST request that notifies a target of one commit."""

    url: str
    headers: Mapping[str, str]
    body: bytes


class Target(Protocol):
    """A receiver of notifications."""

    @property
    def name(self) -> str:
        """The target's name in logs and callbacks; never a secret."""

    def request(self, notification: Notification) -> TargetRequest:
        """Return the request for a notification."""


@dataclass(frozen=True)
class Webhook:
    """An HTTP endpoint that accepts signed JSON as defined by https://www.standardwebhooks.com.

    Requests have the headers `webhook-id`, `webhook-timestamp` and `webhook-signature`. The signature is HMAC-SHA256
    over "id.timestamp.body"; `verify` checks it.

    Attributes:
        url: http or https, without user name or password. It is never shown, since it may contain a token.
        secret: the key that the receiver knows: "whsec_" and base64, or any text of at least 24 bytes.
        name: the name in logs; by default the host.

    Raises:
        InvalidOption: the URL or the secret is not valid.
    """

    url: str = field(repr=False)
    secret: str = field(repr=False)
    name: str = ""

    def __post_init__(self) -> None:
        host = _check_url(self.url)
        _key(self.secret)
        if not self.name:
            object.__setattr__(self, "name", host)

    def request(self, notification: Notification) -> TargetRequest:
        """Return the signed POST request."""
        body = json.dumps(notification.to_dict(), ensure_ascii=False, separators=(",", ":")).encode()
        timestamp = str(int(time.time()))
        headers = {
            "content-type": "application/json",
            "webhook-id": notification.id,
            "webhook-timestamp": timestamp,
            "webhook-signature": f"v1,{_sign(self.secret, notification.id, timestamp, body)}",
        }
        return TargetRequest(self.url, headers, body)

    @staticmethod
    def verify(secret: str, headers: Mapping[str, str], body: bytes, *, tolerance: float = 300.0) -> bool:
        """Return whether a received request was signed with `secret` at most `tolerance` seconds ago.

        It raises nothing, whatever the request has; with a secret that `Webhook` refuses, no request is valid.

        Args:
            headers: the request's headers, with names in lower case.
        """
        identifier, timestamp, signatures = (
            headers.get(f"webhook-{name}") for name in ("id", "timestamp", "signature")
        )
        if not (_is_ascii(identifier) and _is_ascii(timestamp) and _is_ascii(signatures)):
            return False
        if not _TIMESTAMP.fullmatch(timestamp) or not abs(time.time() - int(timestamp)) <= tolerance:
            return False
        try:
            wanted = f"v1,{_sign(secret, identifier, timestamp, body)}"
        except InvalidOption:
            return False
        return any(hmac.compare_digest(wanted, each) for each in signatures.split())


_TIMESTAMP = re.compile(r"[0-9]{1,12}")


def _is_ascii(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and value.isascii()


def _key(secret: str) -> bytes:
    try:
        coded = secret.startswith("whsec_")
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True) if coded else secret.encode()
    except ValueError:
        raise InvalidOption("the secret is not base64 after 'whsec_', or not Unicode", hint="copy it whole") from None
    if len(key) < 24:
        raise InvalidOption("the secret has fewer than 24 bytes", hint="make one with secrets.token_urlsafe(32)")
    return key


def _sign(secret: str, identifier: str, timestamp: str, body: bytes) -> str:
    signed = f"{identifier}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256)).decode()


@dataclass(frozen=True)
class GrafanaAnnotations:
    """A Grafana that shows each commit on its dashboards (https://grafana.com/docs/grafana/latest/developers/http_api/annotations/).

    Grafana cannot recognise repetitions: after a lost response, an annotation may appear twice.

    Attributes:
        url: Grafana's URL as its users open it.
        token: the token of a service account that may create annotations.
        dashboard: the UID of the dashboard to annotate; by default all dashboards of the organisation can show them.
        tags: additional tags besides "apm_s3", the environment, the action and the tools.

    Raises:
        InvalidOption: the URL or the token is not valid.
    """

    url: str
    token: str = field(repr=False)
    dashboard: str | None = None
    tags: tuple[str, ...] = ()
    name: str = ""

    def __post_init__(self) -> None:
        host = _check_url(self.url)
        if not self.token or not self.token.isascii() or not self.token.isprintable():
            raise InvalidOption("the token is empty, or not printable ASCII", hint="copy the whole token")
        if not self.name:
            object.__setattr__(self, "name", host)

    def request(self, notification: Notification) -> TargetRequest:
        """Return the POST request that creates the annotation at the time of the commit."""
        entry = notification.entry
        message = mask_text("message", entry.message)
        annotation: dict[str, Any] = {
            "time": int(entry.at.timestamp() * 1000),
            "tags": ["apm_s3", notification.environment, str(entry.action), *sorted(entry.tools), *self.tags],
            "text": f"{notification.summary}{f' ({message})' if message else ''}",
        }
        if self.dashboard is not None:
            annotation["dashboardUID"] = self.dashboard
        headers = {"content-type": "application/json", "authorization": f"Bearer {self.token}"}
        return TargetRequest(f"{self.url.rstrip('/')}/api/annotations", headers, json.dumps(annotation).encode())


def _check_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    if host is None or parts.scheme not in {"http", "https"} or "@" in parts.netloc:
        raise InvalidOption(
            "the URL of a target is not http(s)://host/..., or contains a user name", hint="give the whole URL"
        )
    return host


async def notify(
    store: ConfigStore,
    environment: str,
    targets: Iterable[Target],
    *,
    since: int | Mapping[str, int] | None = None,
    on_delivered: Callable[[str, LogEntry], Awaitable[object]] | None = None,
    interval: float = 10.0,
) -> None:
    """Notify each target of each commit in `environment`, in order and at least once, until cancelled.

    If a target does not respond with 2xx within 10 seconds, the request is repeated after 1 second to 5 minutes until
    it does; other targets do not wait for it. Redirects are not followed. To continue after this ends, call it again
    with `since` set to the sequence of the last entry that `on_delivered` received.

    Args:
        targets: targets with different names.
        since: the sequence of the last delivered entry, for all targets or by target name; None delivers only entries
            from now on.
        on_delivered: awaited after each delivery, with the target's name and the entry. Store the entry's sequence. Its
            exceptions end this call.
        interval: seconds between two reads of the log (see `ConfigStore.watch_log`).

    Raises:
        InvalidOption: there are no targets, or two have the same name.
        StoreDamaged: a log entry is missing or was modified.
        ApmS3Error: the log cannot be read.
    """
    by_name: dict[str, Target] = {}
    for target in targets:
        if by_name.setdefault(target.name, target) is not target:
            raise InvalidOption(f"two targets are called {target.name!r}", hint="give name= to one of them")
    if not by_name:
        raise InvalidOption("no targets were given", hint="give at least one Webhook or GrafanaAnnotations")
    # Proxies from the environment (HTTPS_PROXY) are used, as other webhook senders do.
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=_TIMEOUT), cookie_jar=aiohttp.DummyCookieJar(), trust_env=True
    ) as session:
        notifier = _Notifier(store, environment, session, on_delivered, interval)
        begin = since if isinstance(since, Mapping) else dict.fromkeys(by_name, since)
        await run_all([notifier.serve(target, begin.get(name)) for name, target in by_name.items()])


class _Notifier:
    """Reads the log of one environment and notifies targets."""

    def __init__(
        self,
        store: ConfigStore,
        environment: str,
        session: aiohttp.ClientSession,
        on_delivered: Callable[[str, LogEntry], Awaitable[object]] | None,
        interval: float,
    ) -> None:
        self._store = store
        self._environment = environment
        self._session = session
        self._on_delivered = on_delivered
        self._interval = interval

    async def serve(self, target: Target, since: int | None) -> None:
        entries = self._store.watch_log(self._environment, since=since, interval=self._interval)
        try:
            async for entry in entries:
                await self._deliver(target, await self._describe(entry))
                if self._on_delivered is not None:
                    await self._on_delivered(target.name, entry)
        finally:
            await entries.aclose()

    async def _describe(self, entry: LogEntry) -> Notification:
        changes = {}
        for tool, (before, after) in sorted(entry.tools.items()):
            if before and (found := await self._changes(cast("Tool", tool), before, after)):
                changes[tool] = found
        store = self._store
        return Notification(entry.hash, store.bucket, store.prefix, self._environment, entry, changes)

    async def _changes(self, tool: Tool, before: int, after: int) -> list[dict[str, Any]]:
        try:
            diff = await self._store.diff(tool, self._environment, before, after)
        except ApmS3Error as exc:
            _log.info("the changes of %s could not be read: %s", tool, exc)
            return []
        return [
            {
                "file": each.name,
                "change": each.kind,
                "added": _lines(each.text, "+"),
                "removed": _lines(each.text, "-"),
            }
            for each in diff.files
        ]

    async def _deliver(self, target: Target, notification: Notification) -> None:
        pauses = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while (problem := await self._attempt(target, notification)) is not None:
            pause = next(pauses)
            _log.warning(
                "%s was not notified of entry %d of %s, next attempt in %.1f s: %s",
                target.name, notification.entry.sequence, self._environment, pause, problem,
            )  # fmt: skip
            await asyncio.sleep(pause)

    async def _attempt(self, target: Target, notification: Notification) -> str | None:
        """Send one request. Return what went wrong, or None if the target accepted it."""
        request = target.request(notification)
        try:
            async with self._session.post(
                request.url, headers=request.headers, data=request.body, allow_redirects=False
            ) as response:
                return None if 200 <= response.status < 300 else f"it responded with {response.status}"
        except TimeoutError:
            return f"no response within {_TIMEOUT:g} s"
        except aiohttp.ClientError as exc:
            return type(exc).__name__  # its text may hold the URL, and the URL a token


def _lines(text: str, sign: str) -> int:
    return sum(1 for line in text.splitlines() if line.startswith(sign) and not line.startswith(sign * 3))
