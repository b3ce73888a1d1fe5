"""Problems in queries, with their positions."""

from __future__ import annotations


class QueryProblem(Exception):
    """The query is invalid. Never leaves the validators.

    `start` and `end` are the offsets, in characters, of the unexpected token or the invalid part.
    """

    def __init__(self, message: str, start: int, end: int, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.start = start
        self.end = end
        self.hint = hint
