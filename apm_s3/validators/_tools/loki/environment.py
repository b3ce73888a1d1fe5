"""Loki's `-config.expand-env`: `${VAR}` and `${VAR:default}` are replaced before the YAML is read.

The environment is not known here: a variable is replaced by its default, or by nothing.
https://grafana.com/docs/loki/latest/configure/#use-environment-variables-in-the-configuration.
"""

from __future__ import annotations

import re

_VARIABLE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*(?::[-=]?(?P<default>[^{}\n]*))?\}")


def expand(text: str) -> str:
    """Return `text` as Loki reads it with an empty environment. Line numbers do not change."""
    return _VARIABLE.sub(lambda match: match["default"] or "", text)
