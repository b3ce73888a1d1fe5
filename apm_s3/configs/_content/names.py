"""Checks that the names in a bundle are compatible. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from apm_s3._naming import check_new_file_name, folded_name
from apm_s3.errors import InvalidKey, InvalidOption

MAX_FILES = 10_000
"""Maximum number of files in a bundle, to keep its release document below a few megabytes."""


def check_names(names: Iterable[str], kept: Iterable[str] = ()) -> None:
    """Refuse new names that conflict with each other, or with the stored names that are `kept`.

    Raises:
        InvalidKey: a new name is not valid, is a file and a folder at once, or differs from another one only in case or
            Unicode form, so that some systems would treat both as one file.
        InvalidOption: there are too many files.
    """
    new = {check_new_file_name(name) for name in names}
    every = new.union(kept)
    if len(every) > MAX_FILES:
        raise InvalidOption(f"{len(every)} files are more than the {MAX_FILES} of a bundle", hint="omit some")
    paths: dict[str, tuple[str, bool]] = {}
    # Stored names come first, because conflicts among them are not caused by the new ones.
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
