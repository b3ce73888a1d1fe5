"""Regular expressions of the tools: Go's syntax (RE2), anchored as in each tool."""

from __future__ import annotations

from apm_s3.validators._decoding.struct import Mismatch
from apm_s3.validators._query.re2.errors import RegexError
from apm_s3.validators._query.re2.match import Program, program_of
from apm_s3.validators._query.re2.parser import Regex, check_re2, parse_re2

PREFIX, SUFFIX = "^(?s:", ")$"
"""How Prometheus and Alertmanager anchor expressions; before 3.0 without `s`, which does not affect validity."""
_SHOWN = 300


def regex_error(expression: str) -> RegexError | None:
    """Return why the tools refuse `expression`, or None."""
    return check_re2(expression, PREFIX, SUFFIX)


def regex_message(error: RegexError) -> str:
    """Format `error` for a report."""
    reason = error.message if len(error.message) <= _SHOWN else f"{error.message[:_SHOWN]}..."
    return f"invalid regular expression: {reason}"


def parse_regex(text: str) -> str:
    """Parse a regular expression that must match the whole value.

    Raises:
        Mismatch: it is not valid in Go.
    """
    if error := regex_error(text):
        raise Mismatch("regex", regex_message(error), error.hint, error.offset)
    return text


def anchored_program(expression: str) -> Program | None:
    """Return the program that matches `expression` on whole values; None if it is invalid or too large."""
    regex = parse_re2(PREFIX + expression + SUFFIX)
    return program_of(regex) if isinstance(regex, Regex) else None
