"""A response is held against its request: status, range, length, version and ETag."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from apm_s3.errors import IntegrityError, PreconditionFailed, UnsupportedByServer
from apm_s3.options import ReadOptions
from tests.seams.transports import Request, check_object, check_status


class ResponseTo(NamedTuple):
    """The head of a response."""

    status: int
    headers: dict[str, str]


RANGE = ReadOptions(range=(10, 20))
OPEN_RANGE = ReadOptions(range=(10, None))


def check(
    options: ReadOptions, status: int, content_range: str | None = None, method: str = "GET", **told: Any
) -> None:
    """Check a response, without version, ETag and known length unless `told`."""
    headers = {"content-range": content_range, "etag": told.get("etag"), "x-amz-version-id": told.get("version_id")}
    response = ResponseTo(status, {name: value for name, value in headers.items() if value is not None})
    check_object(Request("read", method, "b", "k", "", {}), options, response, told.get("length"))


@pytest.mark.parametrize(
    ("options", "status", "content_range", "told"),
    [
        (ReadOptions(), 206, "bytes 0-9/10", {}),
        (ReadOptions(), 206, None, {}),
        (ReadOptions(), 200, "bytes 0-9/10", {}),
        (RANGE, 206, None, {}),
        (RANGE, 206, "bytes 10-19", {}),
        (RANGE, 206, "bytes 9-19/100", {}),
        (RANGE, 206, "bytes 10-18/100", {}),
        (RANGE, 206, "bytes 10-20/100", {}),
        (RANGE, 206, "bytes 10-9/100", {}),
        (RANGE, 206, "bytes 10-19/100", {"length": 9}),
        (RANGE, 206, "bytes 10-19/100", {"length": 11}),
        (OPEN_RANGE, 206, "bytes 10-98/100", {}),
        (ReadOptions(version_id="v1"), 200, None, {"version_id": "v2"}),
    ],
)
def test_a_response_to_another_request_is_refused(
    options: ReadOptions, status: int, content_range: str | None, told: dict[str, Any]
) -> None:
    with pytest.raises(IntegrityError):
        check(options, status, content_range, **told)


@pytest.mark.parametrize(
    ("options", "status", "content_range", "told"),
    [
        (ReadOptions(), 200, None, {"length": 5}),
        (RANGE, 206, "bytes 10-19/100", {"length": 10}),
        (RANGE, 206, "bytes 10-14/15", {"length": 5}),
        (OPEN_RANGE, 206, "bytes 10-99/100", {}),
        (RANGE, 200, None, {"method": "HEAD"}),
        (ReadOptions(version_id="v1"), 200, None, {"version_id": "v1"}),
        (ReadOptions(version_id="v1"), 200, None, {}),
        (ReadOptions(if_match="*"), 200, None, {"etag": '"a"'}),
        (ReadOptions(if_match='"a"'), 200, None, {"etag": '"a"'}),
        (ReadOptions(if_match="a"), 200, None, {"etag": '"a"'}),
        (ReadOptions(if_match='"b", "a"'), 200, None, {"etag": '"a"'}),
    ],
)
def test_the_response_to_the_request_is_accepted(
    options: ReadOptions, status: int, content_range: str | None, told: dict[str, Any]
) -> None:
    check(options, status, content_range, **told)


def test_a_server_that_ignores_ranges_is_named_as_such() -> None:
    with pytest.raises(UnsupportedByServer, match="ignored the requested range"):
        check(RANGE, 200)


def test_another_etag_than_the_requested_one_fails_the_condition() -> None:
    with pytest.raises(PreconditionFailed):
        check(ReadOptions(if_match='"a"'), 200, etag='"b"')


@pytest.mark.parametrize(
    ("method", "status", "part"), [("GET", 202, False), ("GET", 206, False), ("DELETE", 201, False), ("PUT", 202, True)]
)
def test_a_success_that_leaves_open_what_was_done_is_refused(method: str, status: int, part: bool) -> None:
    with pytest.raises(IntegrityError, match=f"returned {status} for {method}"):
        check_status(Request("read", method, "b", "k", "", {"range": "bytes=0-1"} if part else {}), status)


def test_a_part_is_a_success_for_a_range() -> None:
    check_status(Request("read", "GET", "b", "k", "", {"range": "bytes=0-1"}), 206)
