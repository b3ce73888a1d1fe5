"""Options and settings that S3, or this library, cannot honour are refused when they are made."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from apm_s3.errors import InvalidOption
from apm_s3.options import CopyOptions, ReadOptions, UploadOptions
from apm_s3.settings import MIB, RetrySettings, S3Settings, Timeouts, TransferSettings

KEY = b"k" * 32
FAR = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"sse_customer_key": KEY[1:]}, "has 32 bytes, not 31"),
        ({"sse_customer_key": KEY, "encryption": "AES256"}, "sse_customer_key and encryption"),
        ({"kms_key_id": "key"}, "kms_key_id needs encryption"),
        ({"kms_key_id": "key", "encryption": "AES256"}, "kms_key_id needs encryption"),
        ({"if_match": '"e"', "if_none_match": "*"}, "if_match and if_none_match"),
        ({"object_lock_mode": "GOVERNANCE"}, "need each other"),
        ({"retain_until": FAR}, "need each other"),
        ({"tags": {str(number): "" for number in range(11)}}, "11 tags"),
        ({"tags": {"a": "\ud800"}}, "a tag is not valid Unicode"),
        ({"metadata": {"a": "é"}}, "metadata 'a' is not printable ASCII"),
        ({"metadata": {"a": "\x7f"}}, "metadata 'a' is not printable ASCII"),
        ({"metadata": {"": "a"}}, "metadata '' is not printable ASCII"),
        ({"metadata": {"ab": "c" * 2047}}, "2049 bytes"),
    ],
)
def test_an_upload_that_s3_would_refuse_is_refused(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidOption, match=problem):
        UploadOptions(**given)


@pytest.mark.parametrize(
    "given",
    [
        {"sse_customer_key": KEY},
        {"kms_key_id": "key", "encryption": "aws:kms"},
        {"kms_key_id": "key", "encryption": "aws:kms:dsse"},
        {"object_lock_mode": "GOVERNANCE", "retain_until": FAR},
        {"tags": {f"{number}é": "" for number in range(10)}},
        {"metadata": {"ab": "c" * 2046}},
    ],
)
def test_an_upload_at_the_limits_of_s3_is_accepted(given: dict[str, Any]) -> None:
    UploadOptions(**given)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"range": (5, 5)}, r"range \(5, 5\)"),
        ({"range": (-1, None)}, r"range \(-1, None\)"),
        ({"range": (2**63, None)}, "too large"),
        ({"range": (0, 2**63 + 1)}, "too large"),
        ({"range": (0, 10**5000)}, r"range \(0, \.\.\.\)"),
        ({"max_size": -1}, "max_size is -1"),
        ({"sse_customer_key": b""}, "has 32 bytes, not 0"),
    ],
)
def test_a_read_that_cannot_be_requested_is_refused(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidOption, match=problem):
        ReadOptions(**given)


def test_a_range_may_end_where_numbers_of_63_bits_do() -> None:
    assert ReadOptions(range=(2**63 - 1, 2**63)).range == (2**63 - 1, 2**63)


def test_a_copy_needs_keys_of_the_right_length_too() -> None:
    with pytest.raises(InvalidOption, match="has 32 bytes"):
        CopyOptions(source_sse_customer_key=b"short")
    with pytest.raises(InvalidOption, match="has 32 bytes"):
        CopyOptions(sse_customer_key=b"short")


@pytest.mark.parametrize("name", ["connect", "read", "deadline"])
@pytest.mark.parametrize("seconds", [0, -1.0])
def test_a_timeout_takes_time(name: str, seconds: float) -> None:
    with pytest.raises(InvalidOption, match="more than 0 seconds"):
        Timeouts(**{name: seconds})


@pytest.mark.parametrize(
    "given",
    [
        {"part_size": 5 * MIB - 1},
        {"part_size": 5 * 1024 * MIB + 1},
        {"parallel_parts": 0},
        {"range_size": 0},
        {"multipart_threshold": 0},
    ],
)
def test_a_transfer_uses_parts_that_s3_accepts(given: dict[str, int]) -> None:
    with pytest.raises(InvalidOption):
        TransferSettings(**given)


def test_nothing_works_without_attempts_and_slots() -> None:
    with pytest.raises(InvalidOption, match="attempts"):
        RetrySettings(attempts=0)
    with pytest.raises(InvalidOption, match="max_concurrency"):
        S3Settings(max_concurrency=0)
