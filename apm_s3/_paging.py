"""Detects listings that would never end. Pure."""

from __future__ import annotations

from apm_s3.errors import IntegrityError

MAX_EMPTY = 32
"""Consecutive pages that may be empty; S3 itself sends very few."""


class ListingProgress:
    """Checks that each page of a listing makes progress.

    A mark (token, key) or a first entry that repeats means a cycle. It is found by comparing each page with one
    remembered page, which is replaced after 1, 2, 4, 8 ... pages (Brent's algorithm), so that pages need not be kept.
    """

    def __init__(self, operation: str, bucket: str | None) -> None:
        self._operation = operation
        self._bucket = bucket
        self._mark: object = None
        self._first: object = None
        self._pages = 0
        self._replaced_at = 1
        self._empty = 0

    def check(self, mark: object, first: object) -> None:
        """Check the next page.

        Args:
            mark: where the page after it starts; None if it is the last one.
            first: the first entry of the page; None if it is empty.

        Raises:
            IntegrityError: the listing repeats, or its pages are empty.
        """
        self._empty = self._empty + 1 if first is None else 0
        repeats = (mark is not None and mark == self._mark) or (first is not None and first == self._first)
        if repeats or self._empty > MAX_EMPTY:
            error = IntegrityError(
                "the listing does not end: its pages repeat, or are empty",
                operation=self._operation,
                bucket=self._bucket,
                hint="the server, or a proxy in front of it, does not paginate as S3 does",
            )
            error.retryable = False
            raise error
        self._pages += 1
        if self._pages == self._replaced_at:
            self._mark, self._first = mark, first
            self._replaced_at *= 2
