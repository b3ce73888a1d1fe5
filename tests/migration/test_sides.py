"""What a copy keeps of its source, and what verification finds missing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from apm_s3.models import FileInfo
from tests.seams.migration import differences, kept_options

LOCKED = {
    "x-amz-object-lock-mode": "COMPLIANCE",
    "x-amz-object-lock-retain-until-date": "2100-01-01T00:00:00Z",
    "x-amz-object-lock-legal-hold": "ON",
}


def info(size: int = 5, headers: dict[str, str] | None = None, **fields: Any) -> FileInfo:
    return FileInfo(bucket="b", key="k", size=size, headers=headers or {}, **fields)


@pytest.mark.parametrize(
    ("source", "target", "wrong"),
    [
        (info(5), info(4), ["size (4 instead of 5 bytes)"]),
        (info(content_type="a/b"), info(content_type="c/d"), ["content type"]),
        (info(metadata={"a": "b"}), info(metadata={}), ["metadata"]),
        (info(headers={"cache-control": "no-store"}), info(), ["cache-control"]),
        (info(headers={"content-encoding": "gzip"}), info(headers={"content-encoding": "br"}), ["content-encoding"]),
        (
            info(headers={"expires": "Wed, 21 Oct 2015 07:28:00 GMT"}),
            info(headers={"expires": "Wed, 21 Oct 2015 07:28:01 GMT"}),
            ["expires"],
        ),
        (info(headers={"expires": "Wed, 21 Oct 2015 07:28:00 GMT"}), info(), ["expires"]),
        (info(headers={"x-amz-object-lock-legal-hold": "ON"}), info(), ["legal hold"]),
        (info(headers=LOCKED), info(headers={"x-amz-object-lock-legal-hold": "ON"}), ["retention"]),
        (info(headers=LOCKED), info(headers={**LOCKED, "x-amz-object-lock-mode": "GOVERNANCE"}), ["retention"]),
        (
            info(headers=LOCKED),
            info(headers={**LOCKED, "x-amz-object-lock-retain-until-date": "2099-01-01T00:00:00Z"}),
            ["retention"],
        ),
    ],
)
def test_a_copy_that_lacks_a_property_is_reported_by_its_name(
    source: FileInfo, target: FileInfo, wrong: list[str]
) -> None:
    assert list(differences(source, target, lock=True).values()) == wrong


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (info(content_type="a/b", metadata={"a": "b"}), info(content_type="a/b", metadata={"a": "b"})),
        (info(metadata=None), info(metadata={})),
        # Every server gives objects without a type one of its own.
        (info(), info(content_type="binary/octet-stream")),
        (
            info(headers={"expires": "Wed, 21 Oct 2015 07:28:00 GMT"}),
            info(headers={"expires": "Wednesday, 21-Oct-15 07:28:00 GMT"}),
        ),
        (info(headers={"x-amz-object-lock-legal-hold": "OFF"}), info()),
        (
            info(headers=LOCKED),
            info(headers={**LOCKED, "x-amz-object-lock-retain-until-date": "2100-01-01T00:00:00.000+00:00"}),
        ),
        (
            info(headers={**LOCKED, "x-amz-object-lock-retain-until-date": "2001-01-01T00:00:00Z"}),
            info(headers={"x-amz-object-lock-legal-hold": "ON"}),
        ),
    ],
)
def test_a_copy_with_the_same_properties_is_complete(source: FileInfo, target: FileInfo) -> None:
    assert differences(source, target, lock=True) == {}


def test_locks_count_only_where_they_are_kept() -> None:
    assert differences(info(headers=LOCKED), info(), lock=False) == {}
    assert kept_options(info(headers=LOCKED), {}, storage_class=False, lock=False) == {}


def test_a_copy_gets_the_lock_the_tags_and_the_storage_class_of_its_source() -> None:
    source = info(headers=LOCKED, storage_class="GLACIER_IR")

    assert kept_options(source, {"a": "b"}, storage_class=True, lock=True) == {
        "tags": {"a": "b"},
        "storage_class": "GLACIER_IR",
        "object_lock_mode": "COMPLIANCE",
        "retain_until": datetime(2100, 1, 1, tzinfo=UTC),
        "legal_hold": True,
    }
    assert "storage_class" not in kept_options(source, {}, storage_class=False, lock=True)


@pytest.mark.parametrize("until", ["2001-01-01T00:00:00Z", "some day", ""])
def test_a_retention_that_has_passed_or_cannot_be_read_is_left_out(until: str) -> None:
    headers = {**LOCKED, "x-amz-object-lock-retain-until-date": until, "x-amz-object-lock-legal-hold": "OFF"}

    assert kept_options(info(headers=headers), {}, storage_class=False, lock=True) == {}
