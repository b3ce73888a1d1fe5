"""Results: tables and text for people, one JSON document for programs. Only results go to standard output."""

from __future__ import annotations

import base64
import json
import os
import shlex
import sys
import time
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from datetime import date, datetime, timedelta
from enum import Enum
from pathlib import PurePath
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from apm_s3.cli._statuses import HIDDEN, clean, in_colour

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text


def as_document(value: object) -> Any:
    """Return `value` as JSON has it.

    Dataclasses and named tuples become objects with the same names, times ISO 8601, durations seconds, errors their
    message, and bytes base64.
    """
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Enum):
        return as_document(value.value)
    if isinstance(value, str):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_document(getattr(value, field.name)) for field in fields(value) if field.repr}
    if hasattr(value, "_asdict"):
        return as_document(value._asdict())
    if isinstance(value, Mapping):
        return {str(name): as_document(each) for name, each in value.items()}
    return _plain(value)


def _plain(value: object) -> Any:
    """Return the JSON form of times, bytes, collections and everything else."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Set):
        return sorted((as_document(each) for each in value), key=str)
    if isinstance(value, Sequence | Iterable) and not isinstance(value, str):
        return [as_document(each) for each in value]
    return str(value)


def print_json(document: object) -> None:
    """Print one JSON document on standard output."""
    sys.stdout.write(json_text(document, indent=2) + "\n")


def json_text(document: object, indent: int | None = None) -> str:
    """Return one JSON document, in which hidden characters are escaped: it may be read on a terminal."""
    text = json.dumps(as_document(document), indent=indent, ensure_ascii=False)
    return HIDDEN.sub(lambda found: json.dumps(found[0])[1:-1], text)


_WIDE = 10_000
"""More columns than any table needs."""


def make_console(*, stderr: bool = False) -> Console:
    """Return a console; without colour if the stream is not a terminal, or NO_COLOR is set."""
    from rich.console import Console  # noqa: PLC0415 - JSON output and the help do without it

    stream = sys.stderr if stderr else sys.stdout
    terminal = stream.isatty()
    # Without a terminal there is no width to fit, and a program that reads the lines wants them whole.
    width = None if terminal or os.environ.get("COLUMNS") else _WIDE
    return Console(
        file=stream,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=not terminal,
        force_terminal=terminal,
        no_color=not in_colour(terminal),
        width=width,
    )


def print_text(renderables: Iterable[RenderableType], *, paged: bool = False) -> None:
    """Print a result for people on standard output.

    Args:
        paged: whether a pager shows it on a terminal if it is longer than the screen.
    """
    console = make_console()
    text = "".join(_rendered(console, each) for each in renderables)
    if not (paged and console.is_terminal) or text.count("\n") < console.size.height or not _page(text):
        sys.stdout.write(text)


def _rendered(console: Console, each: RenderableType) -> str:
    from rich.text import Text  # noqa: PLC0415 - JSON output and the help do without it

    # Lines are left to the terminal to wrap, so that what is copied from it has no line breaks of ours.
    if isinstance(each, Text):
        each = Text.assemble(*((clean(part.text), part.style or "") for part in each.render(console)))
    lines = isinstance(each, str | Text)
    if not lines:
        # On a screen that is too narrow, Rich would break words, down to single letters; the terminal breaks lines.
        needed = console.measure(each, options=console.options.update(width=_WIDE))
        if needed.minimum > console.width:
            console.width = needed.maximum
    with console.capture() as capture:
        console.print(clean(each) if isinstance(each, str) else each, soft_wrap=lines or None)
    if lines:
        return capture.get()
    # Rich fills each line of a table with spaces, up to the width of its longest one.
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def _page(text: str) -> bool:
    """Show `text` in the pager, as git does it, and return whether there is one."""
    import subprocess  # noqa: PLC0415 - only long results need it

    from apm_s3._processes import find_program, user_environment  # noqa: PLC0415 - only long results need it

    command = shlex.split(os.environ.get("PAGER", "less"))
    program = find_program(command[0]) if command else None
    if program is None:
        return False
    # As git does it: colours pass, short texts are printed, and the screen is kept.
    environ = {"LESS": "FRX", **user_environment()}
    subprocess.run(  # noqa: S603 - the user's own setting
        [program, *command[1:]], input=text, text=True, env=environ, check=False, stdout=sys.stdout.fileno()
    )
    return True


_COPIED = ("key", "file", "bucket", "version")


def make_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Return a table without frames, as kubectl prints them. Numbers are right-aligned, None is left empty."""
    from rich.table import Table  # noqa: PLC0415 - see above
    from rich.text import Text  # noqa: PLC0415 - see above

    body = [["" if cell is None else cell for cell in row] for row in rows]
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        numeric = bool(body) and all(isinstance(row[index], int | float) or row[index] == "" for row in body)
        # What is copied from a table must not be wrapped while another column can be.
        table.add_column(
            column.upper(), justify="right" if numeric else "left", overflow="fold", no_wrap=column in _COPIED
        )
    for row in body:
        table.add_row(
            *(
                cell if isinstance(cell, Text) and not HIDDEN.search(cell.plain) else clean(str(cell), line=True)
                for cell in row
            )
        )
    return table


SIGNS: Mapping[str, str] = {"+": "green", "~": "yellow", "-": "red"}
"""Terraform's signs for what is created, changed and removed, and their colours."""


def make_changes(summary: str, changes: Iterable[tuple[str, str]]) -> Text:
    """Return a plan as Terraform prints it: the summary, then a line for each change with its sign, coloured."""
    from rich.text import Text  # noqa: PLC0415 - see above

    text = Text.assemble((summary, "bold"))
    for sign, line in changes:
        text.append("\n  ")
        text.append(sign, style=SIGNS.get(sign, ""))
        text.append(f" {clean(line, line=True)}")
    return text


def in_age(age: timedelta) -> str:
    """Return a duration as kubectl does: the two largest units."""
    seconds = int(age.total_seconds())
    units = (("d", seconds // 86400), ("h", seconds // 3600 % 24), ("m", seconds // 60 % 60), ("s", seconds % 60))
    start = next((index for index, (_, count) in enumerate(units) if count), 3)
    return "".join(f"{count}{unit}" for unit, count in units[start : start + 2] if count) or "0s"


def in_local_time(when: datetime | None) -> str:
    """Return a time for people, in their time zone."""
    return "" if when is None else f"{when.astimezone():%Y-%m-%d %H:%M:%S}"


_SECONDS = 5.0
"""Time between two lines if the output is not a terminal."""
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


class ProgressLine:
    """Shows the latest text."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live  # noqa: PLC0415 - see above

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
        from rich.text import Text  # noqa: PLC0415 - see above

        text = clean(text, line=True)
        if self._live is not None:
            # Not before there is something to show: an error before that would follow an empty line.
            self._live.start()
            self._live.update(Text(text) if total is None else _bar(text, done, total))
        elif last or time.monotonic() >= self._next:
            self._next = time.monotonic() + _SECONDS
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def _bar(text: str, done: float, total: float) -> RenderableType:
    from rich.progress_bar import ProgressBar  # noqa: PLC0415 - see above
    from rich.table import Table  # noqa: PLC0415 - see above
    from rich.text import Text  # noqa: PLC0415 - see above

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
