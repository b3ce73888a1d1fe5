"""The example configurations that the demo uploads: one bundle per tool."""

from __future__ import annotations

from pathlib import Path

_PACKAGED = Path(__file__).parents[1] / "configs"
_CHECKOUT = Path(__file__).parents[3] / "examples" / "configs"
"""In a clone they are among the examples; the wheel includes a copy."""


def sample_bundle(tool: str) -> dict[str, bytes]:
    """Return the files of a tool's example configuration by their names in the bundle."""
    folder = (_PACKAGED if _PACKAGED.is_dir() else _CHECKOUT) / tool
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
