"""Regular expressions of the tools, which are Go's (RE2), anchored as each tool does it."""

from __future__ import annotations

from apm_s3.validators._decoding.struct import Mismatch
from apm_s3.validators._query.re2.errors import RegexError
from apm_s3.validators._query.re2.match import Program, program_of
from apm_s3.validators._query.re2.parser import Regex, check_re2, parse_re2

PREFIX, SUFFIX = "^(?s:", ")$"
"""How Prometheus and Alertmanager anchor a regular expression; before 3.0 without the `s`, which changes no verdict."""
_SHOWN = 300


def regex_error(expression: str) -> RegexError | None:
    """Why the tools take `expression` for no regular expression; None when it is one."""
    return check_re2(expression, PREFIX, SUFFIX)


def regex_message(error: RegexError) -> str:
    """`error` as a report says it."""
    reason = error.message if len(error.message) <= _SHOWN else f"{error.message[:_SHOWN]}..."
    return f"invalid regular expression: {reason}"


def parse_regex(text: str) -> str:
    """A regular expression that must match the whole value.

    Raises:
        Mismatch: not one of Go.
    """
    if error := regex_error(text):
        raise Mismatch("regex", regex_message(error), error.hint, error.offset)
    return text


def anchored_program(expression: str) -> Program | None:
    """What runs `expression` on whole values; None where it is wrong, or too large to be run here."""
    regex = parse_re2(PREFIX + expression + SUFFIX)
    return program_of(regex) if isinstance(regex, Regex) else None
