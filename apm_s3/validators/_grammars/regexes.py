"""Regular expressions as Go's regexp (RE2 syntax) reads them; the one place that touches google-re2, an extra.

Python's own `re` accepts another language (look-around, back references) and refuses parts of this one, so that
without google-re2 nothing is checked.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Any

SKIPPED = "regular expressions were not checked: install apm-s3[validate] for google-re2"
MAX_LENGTH = 64 * 1024

try:
    _re2: Any = import_module("re2")
except ImportError:
    _re2 = None


def available() -> bool:
    """Whether regular expressions can be checked and run."""
    return _re2 is not None


@lru_cache(maxsize=4096)
def compile_regex(pattern: str) -> tuple[Any, str | None]:
    """The compiled `pattern` and None, or None and why it is no regular expression."""
    if len(pattern) > MAX_LENGTH:
        return None, f"longer than {MAX_LENGTH} characters"
    if _re2 is None or "\\C" in pattern.replace("\\\\", ""):
        return None, None if _re2 is None else r"invalid escape sequence: \C"
    options = _re2.Options()
    options.log_errors = False
    options.max_mem = 64 << 20
    try:
        return _re2.compile(pattern, options=options), None
    except _re2.error as exc:
        reason = exc.args[0] if exc.args else "not a regular expression"
        return None, reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)


def regex_problem(expression: str, template: str = "^(?s:{})$") -> str | None:
    """Why `expression`, put into `template` as the tool does it, is no regular expression; None when it is one."""
    return compile_regex(template.replace("{}", expression))[1]
