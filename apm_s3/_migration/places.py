"""Source and target of a migration: prefixes and directories. Pure."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from apm_s3._s3.engine import check_bucket
from apm_s3.errors import InvalidOption

_S3 = "s3://"


@dataclass(frozen=True, slots=True)
class S3Place:
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


def parse_place(place: str | os.PathLike[str]) -> Place:
    """Parse "s3://bucket/prefix" or the path of a directory.

    Raises:
        InvalidBucketName: the bucket name is not valid.
        InvalidOption: the path is empty.
    """
    if isinstance(place, str) and place.startswith(_S3):
        bucket, _, prefix = place[len(_S3) :].partition("/")
        check_bucket(bucket)
        return S3Place(bucket, prefix if not prefix or prefix.endswith("/") else f"{prefix}/")
    if not os.fspath(place):
        raise InvalidOption("the path is empty", hint="give 's3://bucket/prefix' or a directory")
    # Absolute, as a journal may be resumed from another working directory.
    return FolderPlace(Path(place).absolute())


def check_apart(source: Place, target: Place, *, same_account: bool) -> None:
    """Refuse places that overlap, and migrations between two directories.

    Raises:
        InvalidOption: the places overlap, or neither is in S3.
    """
    if isinstance(source, FolderPlace) and isinstance(target, FolderPlace):
        raise InvalidOption(f"neither '{source}' nor '{target}' is in S3", hint="name one as 's3://bucket/prefix'")
    if not isinstance(source, S3Place) or not isinstance(target, S3Place) or not same_account:
        return
    overlap = source.prefix.startswith(target.prefix) or target.prefix.startswith(source.prefix)
    if source.bucket == target.bucket and overlap:
        raise InvalidOption(f"{source} and {target} overlap", hint="use prefixes of which neither contains the other")
