"""Checksums of bodies, as S3 writes them. Pure.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
"""

from __future__ import annotations

import hashlib
import zlib
from base64 import b64encode
from collections.abc import Mapping
from typing import Protocol

OFF_LOOP = 256 * 1024
"""Bytes from which a body is hashed in a thread: below it, the hop costs more than the hash (about 1 ms a MiB)."""

VERIFIABLE = ("crc32", "sha256", "sha1")
"""What the standard library computes at speed, cheapest first. CRC32C and CRC64NVME would need a dependency."""


class Checksum(Protocol):
    """A checksum in the making."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take in the next bytes."""

    def digest(self) -> bytes:
        """The checksum of all of them."""


class Crc32:
    """CRC32 with hashlib's interface."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take in the next bytes."""
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        """The checksum of all of them, big-endian as S3 wants it."""
        return self._value.to_bytes(4, "big")


_HASHES = {"sha256": hashlib.sha256, "sha1": hashlib.sha1, "md5": hashlib.md5}


def start(algorithm: str) -> Checksum:
    """A checksum of one of `VERIFIABLE`, or "md5"."""
    return Crc32() if algorithm == "crc32" else _HASHES[algorithm](usedforsecurity=False)


def encode(digest: bytes) -> str:
    """The digest as S3's headers and documents hold it: base64."""
    return b64encode(digest).decode("ascii")


def checksum(algorithm: str, data: bytes | bytearray | memoryview) -> str:
    """S3's form of `data`'s checksum."""
    if algorithm == "crc32":
        return encode(zlib.crc32(data).to_bytes(4, "big"))
    return encode(_HASHES[algorithm](data, usedforsecurity=False).digest())


def verifiable(checksums: Mapping[str, str]) -> tuple[str, str] | None:
    """(algorithm, value) of the cheapest checksum that covers a whole object, of those that S3 sent.

    A checksum of checksums ("abc=-3", of an object that was uploaded in parts) covers none.
    """
    for algorithm in VERIFIABLE:
        value = checksums.get(algorithm)
        if value is not None and "-" not in value:
            return algorithm, value
    return None
