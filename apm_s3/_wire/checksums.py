"""Checksums of bodies in S3's format. Pure.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from importlib import import_module
from typing import Any, NamedTuple, Protocol

try:
    # The extra `isal`: ten times as fast.
    from isal.isal_zlib import crc32
except ImportError:
    from zlib import crc32

OFF_LOOP = 256 * 1024
"""Size from which a body is hashed in a thread; below it, the thread costs more than the hash (about 1 ms per MiB)."""

Buffer = bytes | bytearray | memoryview


class _Kind(NamedTuple):
    """A cyclic redundancy check: its width, reflected polynomial, and the function that continues it."""

    bits: int
    polynomial: int
    compute: Callable[[Buffer, int], int]


_CRC32 = _Kind(32, 0xEDB88320, crc32)
_OF_CRT = {"crc32c": (32, 0x82F63B78), "crc64nvme": (64, 0x9A6C9329AC4BC9B5)}
_HASHES = {"sha256": hashlib.sha256, "sha1": hashlib.sha1, "md5": hashlib.md5}

_CHEAPEST_FIRST = ("crc64nvme", "crc32c", "crc32", "sha256", "sha1")
"""Checksums that can be computed fast (GB/s: 65, 50, 4 or with `isal` 60, 1.5, 1).

The first two need native code, of the extra `crt`.
"""


@cache
def _crt() -> Any:
    """Return the module of awscrt, or None without the extra `crt`."""
    try:
        return import_module("awscrt.checksums")
    except ImportError:
        return None


@cache
def _kind(algorithm: str) -> _Kind | None:
    """Return the CRC with this name, if it can be computed."""
    if algorithm not in _OF_CRT:
        return _CRC32 if algorithm == "crc32" else None
    crt = _crt()
    return None if crt is None else _Kind(*_OF_CRT[algorithm], getattr(crt, algorithm))


def needs_loading(checksums: Mapping[str, str]) -> bool:
    """Return whether to call `load`, in a thread, before any of `checksums` is computed."""
    return not _OF_CRT.keys().isdisjoint(checksums) and _crt.cache_info().currsize == 0


def load() -> None:
    """Load the extra `crt`, which takes a tenth of a second; call it only for an object whose checksum needs it."""
    _crt()


class Checksum(Protocol):
    """An incremental checksum."""

    def update(self, data: Buffer, /) -> None:
        """Add the next bytes."""

    def digest(self) -> bytes:
        """Return the checksum of all bytes so far."""


class Crc:
    """A CRC with hashlib's interface. Unlike a hash, it can be combined from the CRCs of ranges."""

    def __init__(self, algorithm: str) -> None:
        kind = _kind(algorithm)
        if kind is None:
            raise ValueError(f"{algorithm} cannot be computed")
        self._kind = kind
        self._compute = kind.compute
        self._value = 0

    def update(self, data: Buffer, /) -> None:
        """Add the next bytes."""
        self._value = self._compute(data, self._value)

    def add_range(self, crc: Crc, bytes_after: int) -> None:
        """Add a range by its CRC, given how many bytes follow it in the whole. Ranges may come in any order.

        Do not mix this with `update` on the same object.
        """
        shift = _power(8 * bytes_after, self._kind.bits, self._kind.polynomial)
        self._value ^= _product(shift, crc._value, self._kind.bits, self._kind.polynomial)

    def digest(self) -> bytes:
        """Return the checksum of all bytes so far, big-endian as S3 expects."""
        return self._value.to_bytes(self._kind.bits // 8, "big")


def is_crc(algorithm: str) -> bool:
    """Return whether `start` returns a `Crc`."""
    return _kind(algorithm) is not None


def start(algorithm: str) -> Checksum:
    """Start a checksum that `verifiable` named, or "md5"."""
    return Crc(algorithm) if is_crc(algorithm) else _HASHES[algorithm](usedforsecurity=False)


def encode(digest: bytes) -> str:
    """Encode the digest as in S3's headers and documents: base64."""
    return b64encode(digest).decode("ascii")


def checksum(algorithm: str, data: Buffer) -> str:
    """Return the checksum of `data` in S3's format."""
    kind = _kind(algorithm)
    if kind is not None:
        return encode(kind.compute(data, 0).to_bytes(kind.bits // 8, "big"))
    return encode(_HASHES[algorithm](data, usedforsecurity=False).digest())


def verifiable(checksums: Mapping[str, str]) -> tuple[str, str] | None:
    """Return (algorithm, value) of the cheapest checksum that S3 sent and that covers the whole object.

    A checksum of checksums ("abc=-3", of an object uploaded in parts) does not count.
    """
    for algorithm in _CHEAPEST_FIRST:
        value = checksums.get(algorithm)
        if value is not None and "-" not in value and (algorithm in _HASHES or _kind(algorithm) is not None):
            return algorithm, value
    return None


# Arithmetic of polynomials over GF(2), bits reflected, as in zlib's crc32_combine.


def _product(a: int, b: int, bits: int, polynomial: int) -> int:
    """Return a * b modulo the polynomial."""
    total = 0
    mask = 1 << bits - 1
    while mask:
        if a & mask:
            total ^= b
        b = b >> 1 ^ polynomial if b & 1 else b >> 1
        mask >>= 1
    return total


def _power(exponent: int, bits: int, polynomial: int) -> int:
    """Return x to the power of `exponent`, modulo the polynomial."""
    result = 1 << bits - 1
    place = 0
    while exponent >> place:
        if exponent >> place & 1:
            result = _product(_square(place, bits, polynomial), result, bits, polynomial)
        place += 1
    return result


@lru_cache(maxsize=256)
def _square(place: int, bits: int, polynomial: int) -> int:
    """Return x to the power of 2 ** `place`, modulo the polynomial."""
    if place == 0:
        return 1 << bits - 2
    half = _square(place - 1, bits, polynomial)
    return _product(half, half, bits, polynomial)
