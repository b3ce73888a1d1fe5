"""Starts programs: by an absolute path, in an environment of its own, and never from the working directory.

The working directory is often a checkout, whose files anybody may have written who can open a pull request. So its
programs, its modules and its libraries are never run: entries of search paths that are relative or empty do not count,
and an interpreter is isolated. Every process of this package is started with what this module returns.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

if sys.platform != "win32":
    import resource

ROOT = Path(Path(sys.executable or os.sep).anchor)
"""The working directory of a process that needs none: only root writes to it."""

_KEPT = ("LANG", "LC_ALL", "LC_CTYPE", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR")
_SEARCHED = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_ISOLATED = "import sys; sys.path[:] = sys.argv[1:]; {}"


def find_program(name: str) -> str | None:
    """Return the absolute path of a program on the search path; None if there is none.

    A `name` with folders is found only if it is an absolute path itself.
    """
    if Path(name).is_absolute():
        return shutil.which(name)
    if Path(name).name != name:
        return None
    places = (str(Path(folder, name)) for folder in _absolute("PATH"))
    return next((found for place in places if (found := shutil.which(place))), None)


def clean_environment(*names: str) -> dict[str, str]:
    """Return the environment of a program that works on input: language, search paths, and `names`."""
    kept = {name: os.environ[name] for name in (*_KEPT, *names) if name in os.environ}
    return kept | _search_paths()


def user_environment() -> dict[str, str]:
    """Return the whole environment, with safe search paths, for a program that the user has chosen."""
    return {**os.environ, **_search_paths()}


def isolated_python(code: str) -> Sequence[str] | None:
    """Return the command that runs `code` in this interpreter, isolated; None if its path is not known.

    It imports from where this process does, without the working directory, which is on the path of `python -m`.
    """
    if not Path(sys.executable or "").is_absolute() or getattr(sys, "frozen", False):
        return None
    try:
        here = Path.cwd().resolve()
    except FileNotFoundError:
        return None
    paths = [entry for entry in sys.path if Path(entry).is_absolute() and Path(entry).resolve() != here]
    # The place of this package comes last, because it may be the working directory.
    return sys.executable, "-I", "-c", _ISOLATED.format(code), *paths, str(Path(__file__).resolve().parents[1])


def limit_process(pid: int, *, memory: int, seconds: int, written: int) -> None:
    """Limit a child process to bytes of memory, seconds of processor time, and bytes written to a file, on Linux.

    Memory is what it writes to: programs in Go reserve more address space than they use, and git maps whole packs.
    """
    if sys.platform == "linux":
        bounds = {
            resource.RLIMIT_DATA: memory,
            resource.RLIMIT_CPU: seconds,
            resource.RLIMIT_FSIZE: written,
            resource.RLIMIT_CORE: 0,  # its memory has secrets
        }
        # It may have ended already.
        with suppress(OSError):
            for which, bound in bounds.items():
                resource.prlimit(pid, which, (bound, bound))


def _absolute(name: str) -> list[str]:
    entries = os.environ.get(name, os.defpath if name == "PATH" else "").split(os.pathsep)
    return [entry for entry in entries if Path(entry).is_absolute()]


def _search_paths() -> dict[str, str]:
    # With an empty list, some programs search the working directory.
    return {name: os.pathsep.join(_absolute(name)) or str(ROOT) for name in _SEARCHED if name in os.environ}
