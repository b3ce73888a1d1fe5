"""Reads the sections and keys of Grafana's `conf/defaults.ini`."""

from __future__ import annotations

import re
from pathlib import Path

_SECTION = re.compile(r"\[([^\]]+)\]")
_KEY = re.compile(r";?([A-Za-z0-9_.]+)\s*=")


def read_defaults(path: Path) -> dict[str, list[str]]:
    """The keys of each section, sorted; keys before the first section are in "DEFAULT".

    A key behind a semicolon is one that has no default.
    """
    found: dict[str, set[str]] = {}
    section = "DEFAULT"
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if header := _SECTION.fullmatch(text):
            section = header[1]
        elif key := _KEY.match(text):
            found.setdefault(section, set()).add(key[1])
    return {name: sorted(keys) for name, keys in sorted(found.items())}
