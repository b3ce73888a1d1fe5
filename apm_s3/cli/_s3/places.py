"""Places on the command line: s3://bucket/key, files and directories."""

from __future__ import annotations

from typing import NamedTuple

from apm_s3._naming import split_s3
from apm_s3.cli._statuses import UsageFailed


class Place(NamedTuple):
    """A bucket and a key or prefix, which may be empty."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def is_s3(text: str) -> bool:
    """Return whether `text` is a place in S3."""
    return split_s3(text) is not None


def parse_place(text: str) -> Place:
    """Parse "s3://bucket" or "s3://bucket/key".

    Raises:
        UsageFailed: it is not one.
    """
    found = split_s3(text)
    if found is None or not found[0]:
        such = "" if found else f", such as s3://{text.lstrip('/')}"
        raise UsageFailed(f"'{text}' is not a place in S3", f"write s3://BUCKET/KEY{such}")
    return Place(*found)


def parse_object(text: str) -> Place:
    """Parse "s3://bucket/key".

    Raises:
        UsageFailed: it is not one, or has no key.
    """
    place = parse_place(text)
    if not place.key:
        raise UsageFailed(f"'{text}' names a bucket, not an object", f"write s3://{place.bucket}/KEY")
    return place


def parse_target(text: str, name: str) -> Place:
    """Parse "s3://bucket/key"; after a "/" at the end, or for a bucket alone, `name` is added.

    Raises:
        UsageFailed: it is not one.
    """
    place = parse_place(text)
    return place._replace(key=place.key + name) if not place.key or place.key.endswith("/") else place
