"""The ways in which a server's response can be wrong. Each request is carried out."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace

from apm_s3.errors import ConnectionLost, IntegrityError, ServiceUnavailable, TransportError, UnsupportedByServer
from tests.faults.faults import Case, Then
from tests.faults.memory_s3 import Request, Response
from tests.faults.server import Exchange, Fault, head_of

BUCKET_WRITES = ("CreateBucket", "PutBucket:tagging", "PutBucket:policy", "DeleteBucket:tagging", "DeleteBucket")
LISTINGS = ("ListObjectsV2", "ListObjectVersions", "ListMultipartUploads", "ListParts")
CONTROL = ("ListBuckets", "GetBucket:tagging", "GetBucket:versioning", "GetBucket:policy")
PAGED = (*LISTINGS, "ListBuckets")
DOCUMENTS = (*LISTINGS, "CopyObject", "CompleteMultipartUpload", "CreateMultipartUpload", "UploadPartCopy",
             "DeleteObjects", "GetObjectTagging", *CONTROL)  # fmt: skip


def told(lie: Callable[[Request, Response], None]) -> Fault:
    """A successful response changed by `lie`; error responses are not changed."""

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
    """The whole object, whatever range was requested."""
    asked = exchange.request
    headers = {name: value for name, value in asked.headers.items() if name != "range"}
    exchange.request = replace(asked, headers=headers)
    exchange.send(exchange.carry_out())


def half_of_it(_request: Request, response: Response) -> None:
    """The first half with status 206, even if the whole object was requested."""
    half = len(response.body) // 2
    response.status, response.body = 206, response.body[:half]
    response.headers["content-range"] = f"bytes 0-{half - 1}/{half * 2}"


def content_range(change: Callable[[int, int, int], str]) -> Fault:
    """A wrong Content-Range, if the response has one."""

    def lie(_request: Request, response: Response) -> None:
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("content-range", ""))
        if found:
            response.headers["content-range"] = change(int(found[1]), int(found[2]), int(found[3]))

    return told(lie)


def short_range(_request: Request, response: Response) -> None:
    """A range that ends early, with a matching header."""
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
    """A DeleteResult without the second key."""
    response.body = re.sub(rb"(</Deleted>).*(</DeleteResult>)", rb"\1\2", response.body)


def other_deletions(_request: Request, response: Response) -> None:
    """A DeleteResult about keys that were not requested."""
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
            body = re.sub(rb"<(Contents|Version|Upload|Part|Bucket)>.*</\1>", b"", body)
        names = (b"NextContinuationToken", b"NextKeyMarker", b"NextUploadIdMarker", b"NextPartNumberMarker")
        names = (b"ContinuationToken",) if b"<ListAllMyBucketsResult" in body else names
        marks = b"".join(b"<%b>%b</%b>" % (name, mark, name) for name in names) if marked else b""
        end = body.rindex(b"</")
        response.body = body[:end] + b"<IsTruncated>true</IsTruncated>" + marks + body[end:]

    return told(lie)


def web_page(_request: Request, response: Response) -> None:
    """The response of a captive portal to every request."""
    response.status, response.headers = 200, {"content-type": "text/html"}
    response.body = b"<html><head><title>Welcome</title></head><body>Please log in.</body></html>"


def another_document(request: Request, response: Response) -> None:
    asks_for_tags = "tagging" in request.query
    response.body = b"<VersioningConfiguration/>" if asks_for_tags else b"<Tagging><TagSet></TagSet></Tagging>"


ENDLESS = 40 * 1024**2
"""Bytes after which an endless response waits for the client to leave."""


def endless(number: int, start: bytes = b"<Error><Code>InternalError</Code><Message>") -> Fault:
    """A response with an endless series of chunks."""

    async def fault(exchange: Exchange) -> None:
        exchange.transport.write(b"HTTP/1.1 %d x\r\ntransfer-encoding: chunked\r\n\r\n" % number)
        exchange.transport.write(b"%x\r\n%b\r\n" % (len(start), start))
        sent = 0
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        while not exchange.lost.done() and sent < ENDLESS:
            if exchange.transport.get_write_buffer_size() < 1024**2:
                exchange.transport.write(chunk)
                sent += len(chunk)
            await asyncio.sleep(0)
        await exchange.hang()

    return fault


SURPLUS = b'HTTP/1.1 200 OK\r\netag: "surplus"\r\ncontent-length: 7\r\n\r\nsurplus'
"""Bytes that a lying server sends after a response, so that they are mistaken for the next one."""


async def surplus(exchange: Exchange) -> None:
    """A response, followed by another one that was not requested."""
    response = exchange.carry_out()
    exchange.transport.write(head_of(response) + response.body + SURPLUS)


async def provisional(exchange: Exchange) -> None:
    """Provisional responses, but never the final one."""
    while not exchange.lost.done():
        exchange.transport.write(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * 100)
        await asyncio.sleep(0.001)


def head_lines(lines: bytes) -> Fault:
    """Invalid header lines before the real ones."""

    async def fault(exchange: Exchange) -> None:
        response = exchange.carry_out()
        first, rest = head_of(response).split(b"\r\n", 1)
        exchange.transport.write(first + b"\r\n" + lines + b"\r\n" + rest + response.body)

    return fault


def hostile_numbers(_request: Request, response: Response) -> None:
    """Sizes, dates and pauses that no S3 sends."""
    response.headers |= {
        "date": "Fri, 31 Dec 9999 23:59:59 -9999",
        "last-modified": "Mon, 00 Foo 0000 99:99:99 +99999999999",
        "expires": "Thu, 01 Jan 0001 00:00:00 -0000",
        "retry-after": "9" * 5000,
    }
    response.body = re.sub(rb"<Size>.*?</Size>", b"<Size>-\xd9\xa3_0</Size>", response.body)
    response.body = re.sub(rb"(<LastModified>|<Initiated>).*?<", rb"\g<1>9999-12-31T23:59:59-23:59<", response.body)
    response.body = re.sub(rb"<PartNumber>.*?<", b"<PartNumber>" + b"9" * 5000 + b"<", response.body)


SMUGGLED = (b"a: b\rc: d", b"a: b\nc: d", b"a: b\0", b"a b: c", b": c", b"no colon", b" folded: x", b"a\x7f: b",
            b"transfer-encoding: chunked\r\ntransfer-encoding: identity", b"content-length: +1",
            b"content-length: 1\r\ncontent-length: 2")  # fmt: skip
WITH_BODY = ("GetObject", *DOCUMENTS, "PutObject", "DeleteObject")

SOME = ("GetObject", "PutObject", "ListObjectsV2", "DeleteObjects")
"""A sample of the requests, for lies that affect all of them alike."""

LIES = (
    Case("endless 500", endless(500), Then.EXHAUSTED, ServiceUnavailable, None, on=WITH_BODY),
    Case("surplus", surplus, Then.EITHER, ConnectionLost, None),
    Case("provisional for ever", provisional, Then.EITHER, TransportError, None, on=("GetObject", "PutObject")),
    *(
        Case(f"head with {lines!r}", head_lines(lines), Then.EITHER, TransportError, None, on=SOME)
        for lines in SMUGGLED
    ),
    Case("text that is not UTF-8", head_lines(b"x-amz-meta-a: \xff\xfe"), Then.EITHER, TransportError, None, on=SOME),
    Case("hostile numbers", told(hostile_numbers), Then.EITHER, IntegrityError, None),
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
    Case("no name", without(rb"<Name>.*?</Name>"), Then.EITHER, IntegrityError, None, on=("ListBuckets",)),
    Case("no upload id", without(rb"<UploadId>.*?</UploadId>"), Then.EITHER, IntegrityError, None, on=DOCUMENTS),
    Case("the same page for ever", going_on(empty=False), Then.EITHER, IntegrityError, None, on=PAGED),
    Case("new marks for ever", going_on(empty=False, same=False), Then.EITHER, IntegrityError, None, on=PAGED),
    Case("empty pages for ever", going_on(empty=True, same=False), Then.EITHER, IntegrityError, None, on=PAGED),
    Case("truncated, no mark", going_on(empty=False, marked=False), Then.EITHER, IntegrityError, None, on=LISTINGS),
    Case("a web page", told(web_page), Then.EITHER, IntegrityError, None, on=(*DOCUMENTS, *BUCKET_WRITES)),
    Case("another document", told(another_document), Then.EITHER, IntegrityError, None, on=DOCUMENTS),
)  # fmt: skip
