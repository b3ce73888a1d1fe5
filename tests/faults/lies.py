"""The ways in which a server can give answers that are not to what was asked. Each request is carried out."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from apm_s3.errors import IntegrityError, UnsupportedByServer
from tests.faults.faults import Case, Then
from tests.faults.memory_s3 import Request, Response
from tests.faults.server import Exchange, Fault

LISTINGS = ("ListObjectsV2", "ListObjectVersions", "ListMultipartUploads", "ListParts")
DOCUMENTS = (*LISTINGS, "CopyObject", "CompleteMultipartUpload", "CreateMultipartUpload", "UploadPartCopy",
             "DeleteObjects")  # fmt: skip


def told(lie: Callable[[Request, Response], None]) -> Fault:
    """A success that `lie` has changed; a refusal goes through as it is."""

    async def fault(exchange: Exchange) -> None:
        response = exchange.carry_out()
        if response.status < 300:
            lie(exchange.request, response)
        exchange.send(response)

    return fault


def status(number: int) -> Fault:
    def lie(_request: Request, response: Response) -> None:
        response.status = number
        if number == 204:
            response.body = b""

    return told(lie)


async def ignoring_ranges(exchange: Exchange) -> None:
    """The whole object, whatever was asked for."""
    asked = exchange.request
    headers = {name: value for name, value in asked.headers.items() if name != "range"}
    exchange.request = replace(asked, headers=headers)
    exchange.send(exchange.carry_out())


def half_of_it(_request: Request, response: Response) -> None:
    """The first half as 206, to a request for all of it too."""
    half = len(response.body) // 2
    response.status, response.body = 206, response.body[:half]
    response.headers["content-range"] = f"bytes 0-{half - 1}/{half * 2}"


def content_range(change: Callable[[int, int, int], str]) -> Fault:
    """Another Content-Range on an answer that has one."""

    def lie(_request: Request, response: Response) -> None:
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("content-range", ""))
        if found:
            response.headers["content-range"] = change(int(found[1]), int(found[2]), int(found[3]))

    return told(lie)


def short_range(_request: Request, response: Response) -> None:
    """A range that ends early, and says so."""
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("content-range", ""))
    if found:
        response.body = response.body[:-1]
        response.headers["content-range"] = f"bytes {found[1]}-{int(found[2]) - 1}/{found[3]}"


def no_content_range(_request: Request, response: Response) -> None:
    response.headers.pop("content-range", None)


def another_object(request: Request, response: Response) -> None:
    """Ranges of another object of the same length."""
    if "range" in request.headers:
        response.headers["etag"] = '"another"'
        response.body = b"#" * len(response.body)


def without(pattern: bytes) -> Fault:
    """A document that lacks what `pattern` matches."""

    def lie(_request: Request, response: Response) -> None:
        response.body = re.sub(pattern, b"", response.body)

    return told(lie)


def first_deletion_only(_request: Request, response: Response) -> None:
    """A DeleteResult that says nothing of the second key."""
    response.body = re.sub(rb"(</Deleted>).*(</DeleteResult>)", rb"\1\2", response.body)


def other_deletions(_request: Request, response: Response) -> None:
    """A DeleteResult about keys that nobody has named."""
    response.body = response.body.replace(b"<Key>", b"<Key>not-")


def going_on(*, empty: bool, marked: bool = True, same: bool = True) -> Fault:
    """A listing that never ends."""
    pages = 0

    def lie(_request: Request, response: Response) -> None:
        nonlocal pages
        pages += 1
        mark = b"%d" % (1 if same else pages)
        body = response.body.replace(b"<IsTruncated>false</IsTruncated>", b"")
        if empty:
            body = re.sub(rb"<(Contents|Version|Upload|Part)>.*</\1>", b"", body)
        names = (b"NextContinuationToken", b"NextKeyMarker", b"NextUploadIdMarker", b"NextPartNumberMarker")
        marks = b"".join(b"<%b>%b</%b>" % (name, mark, name) for name in names) if marked else b""
        end = body.rindex(b"</")
        response.body = body[:end] + b"<IsTruncated>true</IsTruncated>" + marks + body[end:]

    return told(lie)


def web_page(_request: Request, response: Response) -> None:
    """What a captive portal says to everything."""
    response.status, response.headers = 200, {"content-type": "text/html"}
    response.body = b"<html><head><title>Welcome</title></head><body>Please log in.</body></html>"


def another_document(_request: Request, response: Response) -> None:
    response.body = b"<Tagging><TagSet></TagSet></Tagging>"


LIES = (
    Case("ranges ignored", ignoring_ranges, Then.EITHER, UnsupportedByServer, None, on=("GetObject",)),
    Case("half of it as 206", told(half_of_it), Then.EITHER, IntegrityError, None, on=("GetObject",)),
    Case("206", status(206), Then.EITHER, IntegrityError, None),
    Case("202", status(202), Then.EITHER, IntegrityError, None),
    Case("204", status(204), Then.EITHER, IntegrityError, None, on=("GetObject", "HeadObject", *DOCUMENTS)),
    Case(
        "range shifted", content_range(lambda first, last, size: f"bytes {first + 1}-{last + 1}/{size + 1}"),
        Then.EITHER, IntegrityError, None, on=("GetObject",),
    ),
    Case(
        "another size", content_range(lambda first, last, size: f"bytes {first}-{last}/{size * 2}"),
        Then.EITHER, IntegrityError, None, on=("GetObject",),
    ),
    Case(
        "size untold", content_range(lambda first, last, _size: f"bytes {first}-{last}/*"),
        Then.EITHER, IntegrityError, None, on=("GetObject",),
    ),
    Case(
        "range in no digits", content_range(lambda first, last, size: f"bytes {first}-{last}/{size}\N{SUPERSCRIPT TWO}"),
        Then.EITHER, IntegrityError, None, on=("GetObject",),
    ),
    Case("short range", told(short_range), Then.EITHER, IntegrityError, None, on=("GetObject",)),
    Case("no Content-Range", told(no_content_range), Then.EITHER, IntegrityError, None, on=("GetObject",)),
    Case("another object's ranges", told(another_object), Then.EITHER, IntegrityError, None, on=("GetObject",)),
    Case("one deletion untold", told(first_deletion_only), Then.EITHER, times=None, on=("DeleteObjects",)),
    Case("other keys deleted", told(other_deletions), Then.EITHER, times=None, on=("DeleteObjects",)),
    Case("no ETag", without(rb"<ETag>.*?</ETag>"), Then.EITHER, IntegrityError, None, on=DOCUMENTS),
    Case("no key", without(rb"<Key>.*?</Key>"), Then.EITHER, IntegrityError, None, on=DOCUMENTS),
    Case("no upload id", without(rb"<UploadId>.*?</UploadId>"), Then.EITHER, IntegrityError, None, on=DOCUMENTS),
    Case("the same page for ever", going_on(empty=False), Then.EITHER, IntegrityError, None, on=LISTINGS),
    Case("new marks for ever", going_on(empty=False, same=False), Then.EITHER, IntegrityError, None, on=LISTINGS),
    Case("empty pages for ever", going_on(empty=True, same=False), Then.EITHER, IntegrityError, None, on=LISTINGS),
    Case("truncated, no mark", going_on(empty=False, marked=False), Then.EITHER, IntegrityError, None, on=LISTINGS),
    Case("a web page", told(web_page), Then.EITHER, IntegrityError, None, on=DOCUMENTS),
    Case("another document", told(another_document), Then.EITHER, IntegrityError, None, on=DOCUMENTS),
)  # fmt: skip
