"""How Sphinx builds the documentation: `nox -s docs`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
_VERSION = (Path(__file__).resolve().parents[1] / "apm_s3" / "_version.py").read_text()
version = release = re.findall(r'^__version__ = "(.+)"', _VERSION, re.MULTILINE)[0]
project = "apm_s3"
author = "the authors of apm_s3"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = f"apm_s3 {version}"
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# Examples of mistakes are not valid YAML; many classes have attributes called size or environment.
suppress_warnings = ["misc.highlighting_failure", "ref.python"]
autodoc_default_options = {"members": True, "imported-members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True


def setup(app: Sphinx) -> None:
    """Register the functions below."""
    app.connect("autodoc-process-docstring", separate_attributes, priority=50)
    app.connect("autodoc-process-docstring", to_rst, priority=100)
    app.connect("source-read", add_reference)


def add_reference(_app: Sphinx, name: str, source: list[str]) -> None:
    """Put the help of every command into the page of the command line, and every route into that of the HTTP API."""
    if name == "cli":
        from tools.cli_reference import MARK, reference  # noqa: PLC0415 - only this page needs it
    elif name == "http-api":
        from tools.http_reference import MARK, reference  # noqa: PLC0415 - only this page needs it
    else:
        return
    source[0] = source[0].replace(MARK, reference())


def to_rst(_app: Sphinx, what: str, _name: str, _object: object, _options: object, lines: list[str]) -> None:
    """Turn the Markdown of a docstring, which is code in backticks and in fenced blocks, into reStructuredText."""
    turned, fence = [], None
    for line in lines:
        indent = re.match(" *", line)[0]  # type: ignore[index]
        if line.strip().startswith("```"):
            fence = indent if fence is None else None
            turned += ["", f"{indent}.. code-block:: {line.strip('` ') or 'text'}", ""] if fence is not None else [""]
        elif fence is not None:
            turned.append("    " + line)
        elif what == "module" and line.startswith("    "):
            turned += [line] if turned[-1][:4] == "    " else [".. code-block:: text", "", line]
        else:
            parts = re.split("(`[^`]+`)", line)
            turned.append("".join(f"`{part}`" if part.startswith("`") else escaped(part) for part in parts))
    lines[:] = turned


def separate_attributes(
    _app: Sphinx, _what: str, _name: str, _object: object, _options: object, lines: list[str]
) -> None:
    """Repeat the text of attributes that are described together: napoleon takes the first name for a type."""
    if "Attributes:" not in lines:
        return
    begin = lines.index("Attributes:") + 1
    turned = lines[:begin]
    together: list[str] = []
    text: list[str] = []
    for line in [*lines[begin:], ""]:
        if line.startswith("     ") and together:
            text.append(line)
            continue
        for name in together:
            turned += [f"    {name}: {text[0]}", *text[1:]]
        together = []
        if named := re.match(r"    (\w+(?:, \w+)+): (.*)", line):
            together, text = named[1].split(", "), [named[2]]
        else:
            turned.append(line)
    lines[:] = turned


def escaped(text: str) -> str:
    """Return prose in which nothing but a list's asterisk means anything in reStructuredText."""
    return re.sub(r"[|]|(?<=\w)_(?!\w)", r"\\\g<0>", text)
