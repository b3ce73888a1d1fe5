"""The observability tools whose configurations are kept, and the name of each one's main file."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

Tool = Literal["alertmanager", "grafana", "jaeger", "loki", "prometheus"]
"""A tool's name."""

MAIN_FILES: Mapping[str, str] = MappingProxyType(
    {
        "alertmanager": "alertmanager.yml",
        "grafana": "grafana.ini",
        "jaeger": "config.yaml",
        "loki": "loki.yaml",
        "prometheus": "prometheus.yml",
    }
)
"""The file a tool reads first, by the name its own documentation and packages give it."""

TOOLS: tuple[Tool, ...] = get_args(Tool)
