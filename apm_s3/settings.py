"""Settings of a manager: frozen, with their costs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal
from urllib.parse import unquote

from apm_s3._hints import Advice
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
"""Bytes per second. A transfer that is slower than this for longer than the deadline makes no progress."""

_PROXY = re.compile(
    r"(?!https?:(?!//))(?:(?:https?:)?//)?(?:[^\s/?#@\[\]\\]*@)?"
    r"(?:\[[0-9A-Fa-f:.]+\]|[^\s/?#@\[\]\\:]+)(?::(\d{1,5}))?/?",
    re.IGNORECASE,
)
"""What botocore accepts as a proxy's URL: without a scheme, "http:" is assumed."""

_MAX_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds.

    Attributes:
        connect: to establish a connection, including TLS.
        read: between two pieces of a response, for one attempt; also the wait for the first byte.
        deadline: for a whole call: waiting for the pool, connecting, all attempts and the pauses between, and the body.
            A body gets one more second per 64 KiB; for a streamed download, only the time that its reader waits
            for S3 counts. A `timeout` in a call's options has no such allowance.
    """

    connect: float = 5.0
    read: float = 30.0
    deadline: float = 60.0

    def __post_init__(self) -> None:
        if min(self.connect, self.read, self.deadline) <= 0:
            raise InvalidOption("timeouts must be more than 0 seconds", hint="omit a timeout to use its default")

    def for_bytes(self, size: int) -> float:
        """Return the deadline of a call that transfers `size` bytes."""
        return self.deadline + size / SLOWEST_RATE


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySettings:
    """When and how often a failed request is retried.

    Attributes:
        attempts: the maximum number of attempts, including the first.
        initial_delay, max_delay: seconds; full jitter between 0 and initial_delay * 2**n, capped.
        budget: tokens shared by all calls of a manager: a retry takes one, a success returns `refund`. Without a
            token there is no retry, so that retries do not make an outage worse.
    """

    attempts: int = 5
    initial_delay: float = 0.1
    max_delay: float = 10.0
    budget: float = 100.0
    refund: float = 0.2

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise InvalidOption("attempts must be at least 1", hint="1 means no retry")


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferSettings:
    """How large objects are transferred.

    Attributes:
        multipart_threshold: size in bytes from which an upload uses parts.
        part_size: preferred part size in bytes (5 MiB to 5 GiB); larger if 10 000 parts are not enough.
        parallel_parts: parts of one object in flight. A transfer from a stream holds at most
            part_size * parallel_parts bytes in memory; a transfer from a path holds far less.
        range_size: bytes of one ranged GET of `download_to`; up to eight times as much for large objects.
    """

    multipart_threshold: int = 64 * MIB
    part_size: int = 8 * MIB
    parallel_parts: int = 8
    range_size: int = 8 * MIB

    def __post_init__(self) -> None:
        if not 5 * MIB <= self.part_size <= 5 * 1024 * MIB:
            raise InvalidOption("part_size must be 5 MiB to 5 GiB", hint="S3 does not accept other sizes")
        if self.parallel_parts < 1 or self.range_size < 1 or self.multipart_threshold < 1:
            raise InvalidOption("transfer settings must be at least 1", hint="omit them to use the defaults")


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """What a manager caches, and for how long. Seconds and bytes.

    Releases and file contents never change, so they are always cached, within the limits. Bucket lists and details and,
    with `objects`, objects are cached only if `S3Settings.cache` is set.

    Attributes:
        max_entries, max_bytes: limits; the least recently used entries are evicted first. The bytes are an estimate
            that includes Python's objects. 0 entries turns the cache off.
        ttl: how long bucket lists, bucket details and objects are served without a request. After that, an object is
            confirmed by its ETag. Writes of this manager are visible immediately, other writes after the TTL.
        negative_ttl: how long the absence of a bucket or object is cached; 0 means not at all.
        current_staleness: the maximum age of an environment's state in `download`, `download_bundle` and
            `download_environment`. 0 means that each call confirms it by its ETag.
        stale_if_error: how much longer cached values are served while S3 cannot be reached; they have `stale_since`.
            `read_file` returns bytes, which cannot carry this mark, so it never returns stale data.
        objects: cache what `read_file` and `head_file` read, except reads with a range, a version, conditions or
            customer keys.
        max_object: the largest object that is cached.
        shared: an aiocache backend (Redis, Valkey, Memcached) as a second level for releases and file contents. It is
            opt-in because configurations may contain secrets. The manager never closes it.
        namespace: the prefix of the shared keys. Everyone who can write there under this name is trusted.
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
                raise InvalidOption(f"{name} is {number!r:.80}", hint="use a whole number of at least 0")
        for name in ("ttl", "negative_ttl", "current_staleness", "stale_if_error"):
            seconds = getattr(self, name)
            if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
                raise InvalidOption(f"{name} is {seconds!r:.80}", hint="use seconds, at least 0")
        if self.shared is not None and not (callable(getattr(self.shared, "get", None)) and self.namespace):
            raise InvalidOption(
                "shared must be an aiocache backend, with a namespace",
                hint="pass shared=aiocache.RedisCache(...) and a namespace= common to all who share it",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Settings:
    """Settings of an `S3Manager`.

    Attributes:
        max_concurrency: requests in flight, across all calls.
        cache: cache mutable data as well. By default, only immutable data is cached.
        data_path: "signed" for the signed path, "boto" to send objects through aiobotocore as well.
        addressing_style: how URLs name the bucket; "auto" lets botocore choose ("path" suits most custom endpoints).
        verify: False turns certificate checks off; a path names a CA bundle; None leaves it to botocore.
        client_cert: a path, or (certificate, key), as in botocore.
        proxies, proxies_config: as in botocore.
        token_over_http: send session tokens over plain HTTP to other machines too, where whoever reads one may use it
            until it expires. Otherwise such requests are refused before anything is sent (`InvalidOption`).
    """

    max_concurrency: int = 64
    timeouts: Timeouts = field(default_factory=Timeouts)
    retry: RetrySettings = field(default_factory=RetrySettings)
    transfer: TransferSettings = field(default_factory=TransferSettings)
    cache: CacheSettings | None = None
    data_path: Literal["signed", "boto"] = "signed"
    addressing_style: Literal["auto", "path", "virtual"] = "auto"
    verify: bool | str | None = None
    client_cert: str | tuple[str, str] | None = field(default=None, repr=False)
    proxies: Mapping[str, str] | None = field(default=None, repr=False)
    proxies_config: Mapping[str, object] | None = field(default=None, repr=False)
    token_over_http: bool = False

    # Tests have servers that verify checksums, but cannot be asked.
    _known_to_verify: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.max_concurrency < 1:
            raise InvalidOption("max_concurrency must be at least 1", hint="omit it to use 64")
        check_proxies(self.proxies or {})


def check_proxies(proxies: Mapping[str, str]) -> None:
    """Refuse invalid proxy URLs, without showing them, because they may contain a password.

    Raises:
        InvalidOption: the URL for "http" or "https" is not valid.
    """
    for scheme in ("http", "https"):
        url = proxies.get(scheme) or ""
        match = _PROXY.fullmatch(url)
        if url and (match is None or int(match[1] or 0) > _MAX_PORT or not unquote(url).isascii()):
            raise InvalidOption(
                f"the proxy for {scheme} is not a valid URL such as http://host:port",
                hint=Advice.PROXY_URL(),
            )
