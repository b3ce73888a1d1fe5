"""Options of calls that read: frozen, keyword-only, checked on creation."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TypedDict

from apm_s3.errors import InvalidOption

_MAX_PLACE = 2**63
"""Far larger than any object; servers use 64-bit integers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """How to read an object (GET, HEAD).

    Attributes:
        range: first byte and one past the last byte; None as the second means to the end.
        if_match, if_none_match: ETags, quotes included, as S3 returned them.
        sse_customer_key: the 32 bytes of an SSE-C key.
        max_size: bytes; a longer body is refused (`ObjectTooLarge`) before it is read. Without it, an object of any
            size is read, but a response without a length, which S3 never sends, is given up at 32 MiB.
        timeout: seconds for the whole call, instead of the manager's deadline.
    """

    range: tuple[int, int | None] | None = None
    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: datetime | None = None
    if_unmodified_since: datetime | None = None
    version_id: str | None = None
    sse_customer_key: bytes | None = field(default=None, repr=False)
    requester_pays: bool = False
    expected_bucket_owner: str | None = None
    max_size: int | None = None
    timeout: float | None = None

    def __post_init__(self) -> None:
        if self.max_size is not None and self.max_size < 0:
            raise InvalidOption(f"max_size is {self.max_size}", hint="use 0 or more, or omit it for no limit")
        if self.range is not None:
            start, stop = self.range
            if not 0 <= start < _MAX_PLACE or (stop is not None and not start < stop <= _MAX_PLACE):
                raise InvalidOption(
                    f"range ({_shown(start)}, {_shown(stop)}) is empty, negative or too large",
                    hint="pass (first, one past the last)",
                )
        check_customer_key(self.sse_customer_key)


class ListKeywords(TypedDict, total=False):
    """The fields of `ListOptions` that every listing takes as keyword arguments."""

    requester_pays: bool
    expected_bucket_owner: str | None
    timeout: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """What to list.

    Attributes:
        max_keys: keys per page, 1 to 1000.
        start_after: list the keys after this one.
    """

    prefix: str = ""
    delimiter: str | None = None
    max_keys: int = 1000
    start_after: str | None = None
    token: str | None = None
    requester_pays: bool = False
    expected_bucket_owner: str | None = None
    timeout: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.max_keys <= 1000:
            raise InvalidOption(
                f"max_keys {self.max_keys} is not between 1 and 1000", hint="iter_files reads further pages"
            )


def check_customer_key(key: bytes | None) -> None:
    """Refuse an SSE-C key of the wrong length."""
    if key is not None and len(key) != 32:
        raise InvalidOption(f"an SSE-C key has 32 bytes, not {len(key)}", hint="pass the raw key, not base64")


def _shown(place: int | None) -> str:
    # Python refuses to format numbers with thousands of digits.
    return str(place) if place is None or abs(place) <= _MAX_PLACE else "..."
