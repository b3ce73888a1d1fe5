"""Checksums as S3 writes them."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import subprocess
import sys
import zlib

import pytest

from tests.seams.wire import checksums

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
def test_a_checksum_of_pieces_equals_that_of_the_whole(algorithm: str, digest: bytes) -> None:
    expected = base64.b64encode(digest).decode()
    pieces = checksums.start(algorithm)
    for start in range(0, len(DATA), 7):
        pieces.update(DATA[start : start + 7])

    assert checksums.checksum(algorithm, DATA) == expected
    assert checksums.encode(pieces.digest()) == expected


ADDED = pytest.mark.skipif(importlib.util.find_spec("awscrt") is None, reason="the extra crt is not installed")
CRCS = ["crc32", pytest.param("crc32c", marks=ADDED), pytest.param("crc64nvme", marks=ADDED)]


@ADDED
@pytest.mark.parametrize(("algorithm", "check"), [("crc32c", 0xE3069283), ("crc64nvme", 0xAE8B14860A799888)])
def test_crcs_match_the_check_values_of_the_crc_catalogue(algorithm: str, check: int) -> None:
    # https://reveng.sourceforge.io/crc-catalogue/all.htm
    digest = base64.b64decode(checksums.checksum(algorithm, b"123456789"))

    assert int.from_bytes(digest, "big") == check


@pytest.mark.parametrize("algorithm", CRCS)
def test_crcs_of_ranges_combine_in_any_order(algorithm: str) -> None:
    data = bytes(range(256)) * 40
    whole = checksums.Crc(algorithm)
    for start, stop in ((9000, 10_240), (0, 1), (4097, 9000), (1, 4097), (4097, 4097)):
        part = checksums.Crc(algorithm)
        part.update(data[start:stop])
        whole.add_range(part, len(data) - stop)

    assert checksums.encode(whole.digest()) == checksums.checksum(algorithm, data)


def test_the_cheapest_checksum_of_the_whole_object_is_chosen() -> None:
    assert checksums.verifiable({"sha256": "x", "crc32": "y"}) == ("crc32", "y")


def test_composite_checksums_and_unknown_algorithms_verify_nothing() -> None:
    assert checksums.verifiable({"crc32": "abc=-3", "xxhash64": "x"}) is None


def test_the_extra_is_loaded_only_for_a_checksum_that_needs_it() -> None:
    program = """
import sys
from tests.seams.wire import checksums
checksums.checksum("crc32", b"x"), checksums.checksum("sha256", b"x"), checksums.verifiable({"crc32": "x", "sha1": "x"})
before = "awscrt" in sys.modules, checksums.needs_loading({"crc32": "x"}), checksums.needs_loading({"crc32c": "x"})
checksums.load()
print(before, checksums.needs_loading({"crc32c": "x"}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "(False, False, True) False\n"


def test_without_the_extra_its_checksums_verify_nothing() -> None:
    program = """
import sys
sys.modules["awscrt"] = None
from tests.seams.wire import checksums
print(checksums.verifiable({"crc64nvme": "x", "sha1": "y"}), checksums.is_crc("crc32c"))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "('sha1', 'y') False\n"
