"""Checksums as S3 writes them."""

from __future__ import annotations

import base64
import hashlib
import zlib

import pytest

from apm_s3.wire import checksums

DATA = b"The quick brown fox jumps over the lazy dog"


@pytest.mark.parametrize(
    ("algorithm", "digest"),
    [
        ("crc32", zlib.crc32(DATA).to_bytes(4, "big")),
        ("sha1", hashlib.sha1(DATA).digest()),
        ("sha256", hashlib.sha256(DATA).digest()),
        ("md5", hashlib.md5(DATA).digest()),
    ],
)
def test_in_one_go_and_piece_by_piece_it_is_the_same_base64(algorithm: str, digest: bytes) -> None:
    expected = base64.b64encode(digest).decode()
    pieces = checksums.start(algorithm)
    for start in range(0, len(DATA), 7):
        pieces.update(DATA[start : start + 7])

    assert checksums.checksum(algorithm, DATA) == expected
    assert checksums.encode(pieces.digest()) == expected


def test_the_cheapest_checksum_of_the_whole_object_is_chosen() -> None:
    assert checksums.verifiable({"sha256": "x", "crc32": "y"}) == ("crc32", "y")


def test_a_checksum_of_checksums_and_an_unknown_algorithm_cover_nothing() -> None:
    assert checksums.verifiable({"crc32": "abc=-3", "crc64nvme": "x"}) is None
