"""Shows the progress of a transfer: one changing line on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from apm_s3.cli._statuses import clean

_SECONDS = 5.0
"""Time between two lines if the output is not a terminal."""
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


class ProgressLine:
    """Shows the latest text."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        # A quick command prints nothing: its result is all that scripts and their logs want.
        self._next = time.monotonic() + _SECONDS

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, text: str, *, last: bool = False, done: float = 0, total: float | None = None) -> None:
        """Show `text`. Outside a terminal, print it only every few seconds, or if it is the last.

        Args:
            done, total: how much of all is done; a terminal then shows a bar.
        """
        text = clean(text, line=True)
        if self._live is not None:
            # Not before there is something to show: an error before that would follow an empty line.
            self._live.start()
            self._live.update(Text(text) if total is None else _bar(text, done, total))
        elif last or time.monotonic() >= self._next:
            self._next = time.monotonic() + _SECONDS
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def _bar(text: str, done: float, total: float) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    share = f"{min(done / total, 1):.0%}" if total > 0 else "100%"
    grid.add_row(ProgressBar(total=max(total, 1), completed=done, width=30), share, Text(text))
    return grid


def in_bytes(size: float) -> str:
    """Format a number of bytes for people."""
    unit = 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"


def in_time(seconds: float) -> str:
    """Format a duration for people."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, left = divmod(whole, 60)
    return f"{minutes} min {left:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
