"""Which names can stand side by side in a bundle. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from apm_s3._naming import check_new_file_name, folded_name
from apm_s3.errors import InvalidKey, InvalidOption

MAX_FILES = 10_000
"""Files of one bundle, so that its release document stays below a few megabytes."""


def check_names(names: Iterable[str], kept: Iterable[str] = ()) -> None:
    """Refuse new names that cannot stand side by side in a bundle, or beside the stored ones that are `kept`.

    Raises:
        InvalidKey: one cannot be a new name, is a file and a folder at once, or differs from another one in case or
            Unicode form only, so that some systems would take both for one file.
        InvalidOption: they are too many.
    """
    new = {check_new_file_name(name) for name in names}
    every = new.union(kept)
    if len(every) > MAX_FILES:
        raise InvalidOption(f"{len(every)} files are more than the {MAX_FILES} of a bundle", hint="leave some out")
    paths: dict[str, tuple[str, bool]] = {}
    # Stored names come first: what they are among themselves is no fault of the new ones.
    for name in sorted(every, key=lambda each: (each in new, each)):
        parts = name.split("/")
        for depth in range(1, len(parts) + 1):
            path, is_file = "/".join(parts[:depth]), depth == len(parts)
            before, was_file = paths.setdefault(folded_name(path), (path, is_file))
            if name in new:
                _check_beside(path, before, name, clash=is_file is not was_file)


def _check_beside(path: str, before: str, name: str, *, clash: bool) -> None:
    if path != before:
        hint = "macOS and Windows take both for one: rename one of them"
        raise InvalidKey(f"'{path}' differs from '{before}' in case or Unicode form only", hint=hint)
    if clash:
        raise InvalidKey(f"'{path}' is a file and, for '{name}' or another one, a folder", hint="rename one of them")
