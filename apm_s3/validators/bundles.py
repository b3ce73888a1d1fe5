"""What checks across the files of a bundle work with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from apm_s3.validators.context import Context, Source
from apm_s3.validators.parsing.nodes import Node, Path, render_path


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """One file of a bundle: what it is, what was read of it, and where to report to."""

    name: str
    kind: str
    source: Source
    context: Context

    @property
    def root(self) -> Node | None:
        """Its nodes; None where it is empty or could not be read."""
        return self.source.root


def report_repeated(what: str, found: Iterable[tuple[str, Member, Node, Path]]) -> None:
    """Report each text that was met before: (text, file, node, path)."""
    first: dict[str, str] = {}
    for text, member, node, path in found:
        if text in first:
            member.context.error(node, path, "duplicate", f"{what} {text[:80]!r} stands in {first[text]} already")
        else:
            first[text] = f"{member.name}, {render_path(path)}"
