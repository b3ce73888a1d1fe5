"""Part plans respect the limits of S3 and lose no byte."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apm_s3.errors import ObjectTooLarge
from tests.seams.wire import (
    MAX_PART,
    MAX_PARTS,
    MIB,
    MIN_PART,
    composite_etag,
    content_type,
    cut_range,
    plan_parts,
    stream_part_size,
)


def test_the_limits_are_those_of_s3() -> None:
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
    assert (MIN_PART, MAX_PART, MAX_PARTS) == (5_242_880, 5_368_709_120, 10_000)


@given(size=st.integers(0, 10 * 1024 * MIB), preferred=st.integers(MIN_PART, 1024 * MIB))
def test_parts_cover_the_whole_object_once_within_the_limits(size: int, preferred: int) -> None:
    parts = plan_parts(size, preferred)

    assert [part.number for part in parts] == list(range(1, len(parts) + 1))
    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])][: len(parts)]
    assert sum(part.size for part in parts) == size
    assert all(MIN_PART <= part.size <= MAX_PART for part in parts[:-1])


@pytest.mark.parametrize("size", [MAX_PARTS * MIN_PART + 1, 5 * 1024**4, MAX_PARTS * MAX_PART])
def test_parts_grow_when_ten_thousand_are_not_enough(size: int) -> None:
    parts = plan_parts(size, MIN_PART)

    assert len(parts) <= MAX_PARTS
    assert parts[-1].stop == size


def test_an_object_too_large_for_s3_is_refused() -> None:
    with pytest.raises(ObjectTooLarge) as caught:
        plan_parts(MAX_PARTS * MAX_PART + 1, MIN_PART)
    assert (caught.value.size, caught.value.limit) == (MAX_PARTS * MAX_PART + 1, MAX_PARTS * MAX_PART)


def test_the_smallest_parts_of_a_stream_can_hold_nearly_five_tebibytes() -> None:
    sizes = [stream_part_size(number, MIN_PART) for number in range(1, MAX_PARTS + 1)]

    assert sizes == sorted(sizes)
    assert sizes[:2000] == [MIN_PART] * 1000 + [2 * MIN_PART] * 1000
    assert sizes[-1] <= MAX_PART
    assert sum(sizes) >= 4.8 * 1024**4


@given(start=st.integers(0, 100), size=st.integers(0, 100), step=st.integers(1, 30))
def test_ranges_are_consecutive(start: int, size: int, step: int) -> None:
    covered = [index for first, stop in cut_range(start, start + size, step) for index in range(first, stop)]

    assert covered == list(range(start, start + size))


def test_the_etag_of_a_multipart_object_is_the_md5_of_its_parts_md5s() -> None:
    digests = [hashlib.md5(part).digest() for part in (b"a", b"b")]

    etag = composite_etag([f'"{digest.hex()}"' for digest in digests])

    assert etag == f'"{hashlib.md5(b"".join(digests)).hexdigest()}-2"'


@pytest.mark.parametrize("opaque", ['"opaque"', '"0123~"', "~0123~"])
def test_parts_without_an_md5_have_no_combined_etag(opaque: str) -> None:
    assert composite_etag(['"0123"', opaque]) is None


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("prometheus.yml", "application/yaml"),
        ("a/dashboard.JSON", "application/json"),
        ("grafana.ini", "text/plain"),
        ("logs.tar.gz", "application/gzip"),
        ("page.html", "text/html"),
        ("v1.2/binary", "application/octet-stream"),
        ("noextension", "application/octet-stream"),
        ("trailing.", "application/octet-stream"),
    ],
)
def test_the_content_type_is_guessed_from_the_file_name(key: str, expected: str) -> None:
    assert content_type(key) == expected
