"""Checks that the names in a bundle are compatible. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

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
    # In this order, names in one folder are neighbours. To keep all folders would take millions of them for deep names.
    ordered = sorted(every, key=lambda name: folded_name(name).replace("/", "\0"))
    for pair in pairwise(ordered):
        if not new.isdisjoint(pair):
            # The new one is told, as the stored one was there before.
            _check_beside(*sorted(pair, key=lambda name: (name in new, name)))


def _check_beside(before: str, name: str) -> None:
    others, parts = before.split("/"), name.split("/")
    for depth, (other, part) in enumerate(zip(others, parts, strict=False), start=1):
        if other == part:
            continue
        if folded_name(other) != folded_name(part):
            return
        path, known = "/".join(parts[:depth]), "/".join(others[:depth])
        hint = "macOS and Windows take both for one: rename one of them"
        raise InvalidKey(f"'{path}' differs from '{known}' in case or Unicode form only", hint=hint)
    path = min(before, name, key=len)
    raise InvalidKey(f"'{path}' is a file and, for '{name}' or another one, a folder", hint="rename one of them")
