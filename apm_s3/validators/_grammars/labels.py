"""Names of labels and metrics: UTF-8 since Prometheus 3, the legacy alphabet before."""

from __future__ import annotations

import re

_LEGACY_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_LEGACY_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LEGACY_TEMPLATE = re.compile(r"(?:(?:[a-zA-Z_]|\$(?:\{\w+\}|\w+))+\w*)+", re.ASCII)


def is_utf8(text: str) -> bool:
    """Return whether `text` is UTF-8; text from `!!binary` may not be."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_label_name(name: str, *, legacy: bool = False) -> bool:
    """Return whether `name` is a valid label name."""
    return bool(_LEGACY_LABEL.fullmatch(name)) if legacy else bool(name) and is_utf8(name)


def is_metric_name(name: str, *, legacy: bool) -> bool:
    """Return whether `name` is a valid metric name."""
    return bool(_LEGACY_METRIC.fullmatch(name)) if legacy else bool(name) and is_utf8(name)


def is_label_template(name: str, *, legacy: bool) -> bool:
    """Return whether `name`, which may refer to groups of a regular expression (`$1`), can become a label name."""
    if not legacy:
        return is_label_name(name)
    # The expression backtracks excessively on long names that do not match.
    return len(name) <= 256 and bool(_LEGACY_TEMPLATE.fullmatch(name))
