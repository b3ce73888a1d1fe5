"""`-config.expand-env`: `${VAR}` and `${VAR:default}` are replaced before the YAML is read.

What the environment will hold is not known here: a variable stands for its default, else for nothing.
https://grafana.com/docs/loki/latest/configure/#use-environment-variables-in-the-configuration.
"""

from __future__ import annotations

import re

_VARIABLE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*(?::[-=]?(?P<default>[^{}\n]*))?\}")


def expand(text: str) -> str:
    """`text` as Loki reads it with an empty environment. Lines keep their numbers."""
    return _VARIABLE.sub(lambda match: match["default"] or "", text)
