"""Settings of a manager: frozen, with the cost of each where it has one."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import unquote

from apm_s3.errors import InvalidOption

__all__ = [
    "CacheSettings",
    "RetrySettings",
    "S3Settings",
    "Timeouts",
    "TransferSettings",
]

MIB = 1024**2

SLOWEST_RATE = 64 * 1024
"""Bytes a second. A transfer that stays slower than this for longer than the deadline has not moved on."""

_PROXY = re.compile(
    r"(?!https?:(?!//))(?:(?:https?:)?//)?(?:[^\s/?#@\[\]\\]*@)?"
    r"(?:\[[0-9A-Fa-f:.]+\]|[^\s/?#@\[\]\\:]+)(?::(\d{1,5}))?/?",
    re.IGNORECASE,
)
"""What botocore takes for a proxy's URL: without a scheme, it is "http:"."""

_MAX_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds.

    Attributes:
        connect: to get a connection, TLS included.
        read: between two pieces of an answer, for one attempt; also the wait for its first byte.
        deadline: for a whole call: waiting for the pool, connecting, every attempt, the pauses between, and the body.
            A body may take a second more for each 64 KiB of it; for a download as a stream only the time is counted
            that its reader waits for S3. A `timeout` in a call's options is a bound without such extras.
    """

    connect: float = 5.0
    read: float = 30.0
    deadline: float = 60.0

    def __post_init__(self) -> None:
        if min(self.connect, self.read, self.deadline) <= 0:
            raise InvalidOption("timeouts are more than 0 seconds", hint="leave out those that should be the default")

    def for_bytes(self, size: int) -> float:
        """The deadline of a call that moves `size` bytes."""
        return self.deadline + size / SLOWEST_RATE


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySettings:
    """When and how often a failed request is sent again.

    Attributes:
        attempts: at most this many sends of one request, the first included.
        initial_delay, max_delay: seconds; full jitter between 0 and initial_delay * 2**n, capped.
        budget: tokens in the bucket that all calls of a manager share: a retry takes one, a success gives `refund`
            back; an empty bucket means no retry, so that an outage is not multiplied.
    """

    attempts: int = 5
    initial_delay: float = 0.1
    max_delay: float = 10.0
    budget: float = 100.0
    refund: float = 0.2

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise InvalidOption("attempts is at least 1", hint="1 means no retry")


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferSettings:
    """How large objects move.

    Attributes:
        multipart_threshold: bytes from which an upload goes in parts.
        part_size: preferred bytes of a part (5 MiB to 5 GiB); grows where 10 000 parts would not do.
        parallel_parts: parts of one object in flight. A transfer from a stream holds at most
            part_size * parallel_parts bytes in memory; from a path, far less.
        range_size: bytes of one ranged GET of `download_to`; up to eight times as many for large objects.
    """

    multipart_threshold: int = 64 * MIB
    part_size: int = 8 * MIB
    parallel_parts: int = 8
    range_size: int = 8 * MIB

    def __post_init__(self) -> None:
        if not 5 * MIB <= self.part_size <= 5 * 1024 * MIB:
            raise InvalidOption("part_size is 5 MiB to 5 GiB", hint="S3 takes no other parts")
        if self.parallel_parts < 1 or self.range_size < 1 or self.multipart_threshold < 1:
            raise InvalidOption("transfer settings are at least 1", hint="leave them at their defaults")


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """What a manager remembers, and for how long. Seconds and bytes.

    Releases and the contents of their files never change: they are remembered in any case, within the limits. What
    ages is remembered only where `S3Settings.cache` is given: bucket lists and details and, with `objects`, objects.

    Attributes:
        max_entries, max_bytes: limits; what was used least recently goes first. The bytes are an estimate that counts
            Python's objects too. 0 entries: nothing is remembered.
        ttl: how long a bucket list, a bucket's details and an object are given without a request. Afterwards an object
            is confirmed by its ETag. Writes of this manager count at once, those of others after the TTL.
        negative_ttl: how long it is remembered that there is no such bucket, or object; 0: not at all.
        current_staleness: how old the state of an environment may be that `download`, `download_bundle` and
            `download_environment` give. 0: it is confirmed by its ETag at each call.
        stale_if_error: how long after that what is remembered is still given while S3 cannot be reached; `stale_since`
            on it says so. `read_file` gives bytes that could not say it, and nothing stale.
        objects: remember what `read_file` and `head_file` read, for reads without a range, a version, conditions and
            keys of the caller's.
        max_object: the largest object that is remembered.
        shared: an aiocache backend (Redis, Valkey, Memcached) as a second level for releases and contents of files:
            opt-in, since configurations hold secrets. It is never closed here, and each process can have its own.
        namespace: names what shares it: whoever can write there under this name.
    """

    max_entries: int = 10_000
    max_bytes: int = 64 * MIB
    ttl: float = 60.0
    negative_ttl: float = 5.0
    current_staleness: float = 0.0
    stale_if_error: float = 0.0
    objects: bool = False
    max_object: int = MIB
    shared: Any = field(default=None, repr=False)
    namespace: str = ""

    def __post_init__(self) -> None:
        for name in ("max_entries", "max_bytes", "max_object"):
            number = getattr(self, name)
            if type(number) is not int or number < 0:
                raise InvalidOption(f"{name} is {number!r:.80}", hint="give a whole number from 0 on")
        for name in ("ttl", "negative_ttl", "current_staleness", "stale_if_error"):
            seconds = getattr(self, name)
            if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
                raise InvalidOption(f"{name} is {seconds!r:.80}", hint="give seconds, from 0 on")
        if self.shared is not None and not (callable(getattr(self.shared, "get", None)) and self.namespace):
            raise InvalidOption(
                "shared is no aiocache backend with a namespace",
                hint="give shared=aiocache.RedisCache(...) and namespace= of whoever shares it",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Settings:
    """Settings of an `S3Manager`.

    Attributes:
        max_concurrency: requests in flight over all calls.
        cache: remember what ages, too. By default only what never changes is remembered.
        data_path: "signed" for the lean path of our own, "boto" to send objects through aiobotocore too.
        addressing_style: how buckets stand in URLs; "auto" lets botocore choose ("path" suits most custom endpoints).
        request_checksums, response_checksums: botocore's `request_checksum_calculation` and
            `response_checksum_validation`; None means "when_required" on a custom endpoint, botocore's default on AWS.
        verify: False turns certificate checks off; a path names a CA bundle; None leaves it to botocore.
        client_cert: a path, or (certificate, key), as botocore takes it.
        proxies, proxies_config: as botocore takes them.
    """

    max_concurrency: int = 64
    timeouts: Timeouts = field(default_factory=Timeouts)
    retry: RetrySettings = field(default_factory=RetrySettings)
    transfer: TransferSettings = field(default_factory=TransferSettings)
    cache: CacheSettings | None = None
    data_path: Literal["signed", "boto"] = "signed"
    addressing_style: Literal["auto", "path", "virtual"] = "auto"
    request_checksums: Literal["when_supported", "when_required"] | None = None
    response_checksums: Literal["when_supported", "when_required"] | None = None
    verify: bool | str | None = None
    client_cert: str | tuple[str, str] | None = field(default=None, repr=False)
    proxies: Mapping[str, str] | None = field(default=None, repr=False)
    proxies_config: Mapping[str, object] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.max_concurrency < 1:
            raise InvalidOption("max_concurrency is at least 1", hint="leave it at 64")
        check_proxies(self.proxies or {})


def check_proxies(proxies: Mapping[str, str]) -> None:
    """Refuse what is no proxy's URL, without showing it: it can hold a password.

    Raises:
        InvalidOption: the URL for "http" or "https" is none.
    """
    for scheme in ("http", "https"):
        url = proxies.get(scheme) or ""
        match = _PROXY.fullmatch(url)
        if url and (match is None or int(match[1] or 0) > _MAX_PORT or not unquote(url).isascii()):
            raise InvalidOption(
                f"the proxy for {scheme} has no URL like http://host:port",
                hint="correct it in S3Settings.proxies, or in the environment (HTTPS_PROXY, HTTP_PROXY); its user name "
                "and password are ASCII, and percent-encoded",
            )
