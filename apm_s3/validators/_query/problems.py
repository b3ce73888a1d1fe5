"""What is wrong with a query, and where."""

from __future__ import annotations


class QueryProblem(Exception):
    """A query that is refused. Never leaves the validators.

    `start` and `end` are offsets in characters: of the token that does not fit, or of the part that is wrong.
    """

    def __init__(self, message: str, start: int, end: int, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.start = start
        self.end = end
        self.hint = hint
