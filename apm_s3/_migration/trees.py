"""What syncs and migrations copy: the files of a directory, and the objects under a prefix.

Their places, their entries in key order, the patterns that select some, and what makes two of them the same.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from fnmatch import translate
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar

from apm_s3._beneath import Below, no_file, scanned
from apm_s3._hints import Advice
from apm_s3._naming import as_folder, check_bucket, split_s3
from apm_s3._s3.endpoint import Verbs
from apm_s3._wire.parts import composite_etag, plan_parts
from apm_s3.errors import IntegrityError, InvalidKey, InvalidOption, InvalidRequest, ObjectTooLarge

Refusal = TypeVar("Refusal", bound=InvalidRequest)
Where = str | os.PathLike[str]
Globs = str | Sequence[str]

_MD5 = re.compile(r'"?([0-9a-f]{32})(?:-([0-9]{1,5}))?"?')
_PIECE = 1024**2
_SAME_TIME = 0.001
"""Tolerance in seconds, because file systems and S3 round times differently."""


class S3Place(NamedTuple):
    """The objects of a bucket below a prefix, which ends with "/" or is empty."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


@dataclass(frozen=True, slots=True)
class FolderPlace:
    """The files below a directory."""

    root: Path

    def __str__(self) -> str:
        return str(self.root)


Place: TypeAlias = S3Place | FolderPlace


def parse_place(place: Where) -> Place:
    """Parse "s3://bucket/prefix" or the path of a directory.

    Raises:
        InvalidBucketName: the bucket name is not valid.
        InvalidOption: the path is empty.
    """
    found = split_s3(place)
    if found is not None:
        check_bucket(found[0])
        return S3Place(found[0], as_folder(found[1]))
    if not os.fspath(place):
        raise InvalidOption("the path is empty", hint="give 's3://bucket/prefix' or a directory")
    return FolderPlace(Path(place))


def check_apart(source: S3Place, target: S3Place, operation: str) -> None:
    """Refuse places of one server that overlap.

    Raises:
        InvalidOption: they do.
    """
    overlap = source.prefix.startswith(target.prefix) or target.prefix.startswith(source.prefix)
    if source.bucket == target.bucket and overlap:
        raise InvalidOption(
            f"{source} and {target} overlap",
            operation=operation,
            hint="copy to a prefix that is neither inside nor around the other",
        )


def not_in_s3(source: object, target: object, operation: str) -> InvalidOption:
    """Return the error for two directories."""
    return InvalidOption(
        f"neither '{source}' nor '{target}' is in S3", operation=operation, hint="name one as 's3://bucket/prefix'"
    )


class Entry(NamedTuple):
    """A file or an object; `key` is its name relative to the root of its tree."""

    key: str
    size: int
    etag: str | None = None
    modified: float | None = None


class Patterns:
    """Selects names that match any pattern of `include` (all names without one) and none of `exclude`.

    Patterns are those of `fnmatch`, case-sensitive; "*" also matches "/".
    """

    def __init__(self, include: str | Sequence[str] | None, exclude: str | Sequence[str] | None) -> None:
        self._include = _compiled(include)
        self._exclude = _compiled(exclude)

    def keeps(self, key: str) -> bool:
        """Return whether `key` is selected."""
        if self._exclude is not None and self._exclude.match(key):
            return False
        return self._include is None or self._include.match(key) is not None


class Prefix:
    """The objects of a bucket whose keys begin with `prefix`.

    Args:
        as_files: omit keys that cannot be file names, and list them in `skipped`.
    """

    def __init__(self, verbs: Verbs, bucket: str, prefix: str, *, as_files: bool) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self.skipped: dict[str, str] = {}
        self._verbs = verbs
        self._as_files = as_files

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    async def entries(self) -> AsyncGenerator[Entry, None]:
        """Yield all objects, checking that they match the request, because they may be deleted."""
        async with aclosing(self._verbs.iter_files(self.bucket, self.prefix)) as files:
            async for info in files:
                if not info.key.startswith(self.prefix):
                    raise IntegrityError(
                        f"the server lists a key outside of the prefix '{self.prefix}'",
                        operation="sync",
                        bucket=self.bucket,
                        key=info.key,
                    )
                key = info.key[len(self.prefix) :]
                if self._as_files and (problem := no_file(key)):
                    # Consoles show an empty object "logs/" as a folder.
                    if info.size or key.strip("/"):
                        self.skipped[key] = problem
                    continue
                modified = None if info.last_modified is None else info.last_modified.timestamp()
                yield Entry(key, info.size, info.etag, modified)


class Folder:
    """The regular files below a directory.

    Args:
        missing_ok: treat a missing directory as empty; otherwise it is an error.
    """

    def __init__(self, root: Path, *, missing_ok: bool) -> None:
        self.root = root
        self.skipped: dict[str, str] = {}
        self._missing_ok = missing_ok

    def __str__(self) -> str:
        return str(self.root)

    async def entries(self) -> AsyncGenerator[Entry, None]:
        """Yield all files. Links are not followed.

        Raises:
            OSError: a directory cannot be read.
        """
        try:
            levels = [iter(await asyncio.to_thread(self._scan, ""))]
        except FileNotFoundError:
            if self._missing_ok:
                return
            raise
        while levels:
            found = next(levels[-1], None)
            if found is None:
                levels.pop()
            elif isinstance(found, Entry):
                yield found
            else:
                levels.append(iter(await asyncio.to_thread(self._scan, found)))

    def _scan(self, prefix: str) -> list[Entry | str]:
        """Return the files and subdirectories of one directory, in the order of their keys."""
        found: list[Entry | str] = []
        with scanned(self.root, prefix) as entries:
            for entry in entries:
                key = prefix + entry.name
                if (problem := _no_key(key)) or entry.is_symlink():
                    self.skipped[_shown(key)] = problem or "it is a symbolic link"
                elif entry.is_dir(follow_symlinks=False):
                    found.append(f"{key}/")
                elif (told := _regular(entry)) is not None:
                    found.append(Entry(key, told.st_size, None, told.st_mtime))
                else:
                    self.skipped[key] = "it is not a regular file"
        return sorted(found, key=lambda one: one if isinstance(one, str) else one.key)


async def compared(
    source: AsyncIterator[Entry], target: AsyncIterator[Entry]
) -> AsyncGenerator[tuple[Entry | None, Entry | None], None]:
    """Yield each name of two trees with its entry on either side.

    Raises:
        IntegrityError: a server lists keys out of order, or twice, so that missing keys cannot be determined.
    """
    mine, theirs = await _next(source, None), await _next(target, None)
    while mine is not None or theirs is not None:
        if theirs is None or (mine is not None and mine.key < theirs.key):
            yield mine, None
            mine = await _next(source, mine)
        elif mine is None or theirs.key < mine.key:
            yield None, theirs
            theirs = await _next(target, theirs)
        else:
            yield mine, theirs
            mine, theirs = await _next(source, mine), await _next(target, theirs)


async def is_ordered(entries: AsyncGenerator[Entry, None]) -> bool:
    """Return whether all entries are in key order."""
    before = None
    async with aclosing(entries):
        async for entry in entries:
            if before is not None and entry.key < before:
                return False
            before = entry.key
    return True


async def sorted_entries(entries: AsyncIterator[Entry]) -> AsyncGenerator[Entry, None]:
    """Sort the entries of a server that lists them out of order, holding all of them in memory."""
    for entry in sorted([entry async for entry in entries], key=lambda one: one.key):
        yield entry


async def _next(entries: AsyncIterator[Entry], before: Entry | None) -> Entry | None:
    found = await anext(entries, None)
    if found is not None and before is not None and found.key <= before.key:
        raise IntegrityError(f"the server lists '{found.key}' after '{before.key}', out of order", operation="sync")
    return found


def is_same_time(one: float | None, other: float | None) -> bool:
    """Return whether two times are known, and the same."""
    return one is not None and other is not None and abs(one - other) < _SAME_TIME


def has_content(path: Below, size: int, etag: str | None, part_size: int) -> bool:
    """Return whether `etag` is the hash of a file, in parts of `part_size` if it was uploaded in parts.

    False if this cannot be determined: the ETag of an encrypted object (KMS, SSE-C) is not a hash of its content.
    Blocks.

    Raises:
        OSError: the file cannot be read.
    """
    match = _MD5.fullmatch(etag or "")
    if match is None:
        return False
    if match[2] is None:
        return _md5s(path, [(0, size)])[0] == match[1]
    try:
        parts = plan_parts(size, part_size)
    except ObjectTooLarge:
        return False
    if len(parts) != int(match[2]):
        return False
    told = composite_etag(_md5s(path, [(part.start, part.stop) for part in parts]))
    return told is not None and told.strip('"') == f"{match[1]}-{match[2]}"


def _md5s(path: Below, ranges: Sequence[tuple[int, int]]) -> list[str]:
    sums: list[str] = []
    with path.read() as file:
        for start, stop in ranges:
            digest = hashlib.md5(usedforsecurity=False)
            left = stop - start
            while left and (piece := file.read(min(_PIECE, left))):
                digest.update(piece)
                left -= len(piece)
            sums.append(digest.hexdigest())
    return sums


def empty_source(kind: type[Refusal], operation: str, source: object, target: object, *, late: bool) -> Refusal:
    """Return the error of `delete_extra` for an empty source.

    Args:
        late: the source became empty during the call, after something was moved.
    """
    empty = "has become empty, what was moved stays, and nothing was deleted" if late else "is empty"
    refused = kind(
        f"{source} {empty}: delete_extra would delete everything{' else' if late else ''} in {target}",
        operation=operation,
        hint=Advice.DELETE_ALL(),
    )
    refused.unresolved = late
    return refused


def remove_files(root: Path, keys: Iterable[str]) -> list[tuple[str, Exception | None]]:
    """Remove files below `root`, and directories that become empty; return the error of each file. Blocks."""
    return [(key, _removed(root, key)) for key in keys]


def _removed(root: Path, key: str) -> Exception | None:
    try:
        Below(root, key).remove()
    except (OSError, InvalidKey) as error:
        return error
    return None


def _compiled(patterns: str | Sequence[str] | None) -> re.Pattern[str] | None:
    if not patterns:
        return None
    # A single str is one pattern.
    return re.compile("|".join(translate(one) for one in ([patterns] if isinstance(patterns, str) else patterns)))


def _regular(entry: os.DirEntry[str]) -> os.stat_result | None:
    told = entry.stat(follow_symlinks=False)
    return told if stat.S_ISREG(told.st_mode) else None


def _no_key(key: str) -> str | None:
    try:
        return "S3 keys have at most 1024 bytes" if len(key.encode()) > 1024 else None
    except UnicodeEncodeError:
        return "its name is not UTF-8"


def _shown(name: str) -> str:
    return name.encode(errors="backslashreplace").decode()
