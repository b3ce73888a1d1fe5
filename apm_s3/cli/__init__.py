"""The command line. Needs the extra `cli`; the demo needs `demo` as well."""

from __future__ import annotations

import gc
import io
import os
import sys

HINT = "the command line needs more packages: python -m pip install 'apm-s3[cli]' (for the demo: 'apm-s3[demo]')"

_ALLOCATIONS = 50_000
"""New objects between two collections of garbage; Python's default is 700."""


def main() -> None:
    """Run the command line, or say which extra to install for it."""
    # While modules load, nothing becomes garbage; looking for it takes a tenth of the start.
    gc.set_threshold(_ALLOCATIONS)
    open_standard_streams()
    try:
        from apm_s3.cli._app import run  # noqa: PLC0415 - it needs packages that may be missing

        status = run(sys.argv[1:])
    except ModuleNotFoundError as exc:
        if exc.name not in ("click", "rich"):
            raise
        sys.stderr.write(f"apm-s3: {exc}; {HINT}\n")
        status = 2
    except KeyboardInterrupt:
        # Before the command began: modules take most of a second to load.
        sys.stderr.write("\nInterrupted. Nothing was changed.\n")
        status = 130
    sys.exit(status)


def open_standard_streams() -> None:
    """Open on the null device what the shell closed (`>&-`), which Python leaves None; and let any text be printed."""
    # Each open takes the lowest free number, so that no file or connection gets the number of a closed stream.
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115 - for the whole process
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - as above
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - as above
    # A locale without a character of a configuration, or a file name that is not UTF-8, must not end a command. The
    # escapes are those of JSON as well.
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")
