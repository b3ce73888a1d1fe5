"""Lies that only a store can notice: each response is one that S3 could give, for another object or at another time."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

from tests.faults.faults import Case, Then, answer
from tests.faults.lies import told
from tests.faults.memory_s3 import Request, Response
from tests.faults.server import Exchange, Fault

FOREIGN = ("configs/staging/current.json", "live/staging/loki/loki.yaml", "unrelated/file")
"""Keys that lie outside of every prefix that a call for production lists, but in its bucket."""


async def another_key(exchange: Exchange) -> None:
    """The object that follows the requested one in the bucket."""
    asked = exchange.request
    keys = sorted(exchange.s3.buckets[asked.bucket])
    after = [key for key in keys if key > asked.key] or keys
    exchange.request = replace(asked, target=f"/{asked.bucket}/{after[0]}")
    exchange.send(exchange.carry_out())


async def another_environment(exchange: Exchange) -> None:
    """The object of staging instead of that of production."""
    asked = exchange.request
    exchange.request = replace(asked, target=asked.target.replace("/production/", "/staging/"))
    exchange.send(exchange.carry_out())


def existing(part: str) -> Fault:
    """The condition of new objects fails whose key contains `part`, and they are not there."""

    async def fault(exchange: Exchange) -> None:
        if exchange.request.headers.get("if-none-match") and part in exchange.request.key:
            await answer(412, "PreconditionFailed")(exchange)
        else:
            exchange.send(exchange.carry_out())

    return fault


def no_etag(_request: Request, response: Response) -> None:
    response.headers.pop("etag", None)


_etags = itertools.count()


def new_etag(_request: Request, response: Response) -> None:
    if "etag" in response.headers:
        response.headers["etag"] = f'"{next(_etags):032x}"'


def no_metadata(_request: Request, response: Response) -> None:
    for name in [name for name in response.headers if name.startswith("x-amz-meta-")]:
        del response.headers[name]


def foreign_keys(_request: Request, response: Response) -> None:
    """Objects that were not asked for, as old as time."""
    entries = b"".join(
        b"<Contents><Key>%b</Key><LastModified>2020-01-01T00:00:00.000Z</LastModified><ETag>&quot;a&quot;</ETag>"
        b"<Size>1</Size><StorageClass>STANDARD</StorageClass></Contents>" % key.encode()
        for key in FOREIGN
    )
    response.body = response.body.replace(b"</ListBucketResult>", entries + b"</ListBucketResult>")


def reversed_keys(_request: Request, response: Response) -> None:
    found = re.findall(rb"<Contents>.*?</Contents>", response.body)
    for old, new in zip(found, reversed(found), strict=True):
        response.body = response.body.replace(old, b"\0" + new[1:], 1)
    response.body = response.body.replace(b"\0", b"<")


def nothing_listed(_request: Request, response: Response) -> None:
    response.body = re.sub(rb"<(Contents|CommonPrefixes)>.*</\1>", b"", response.body)


def other_times(_request: Request, response: Response) -> None:
    """Everything was stored long ago."""
    response.body = re.sub(rb"<LastModified>.*?<", b"<LastModified>2020-01-01T00:00:00.000Z<", response.body)


_OF_OBJECTS = ("another key", "another key, once", "another environment")
_REPORTS = ("status", "fsck", "list backups", "prune backups", "HTTP list_backups", "HTTP list_all_backups")
REPORTED = {
    *((verb, case) for verb in _REPORTS for case in _OF_OBJECTS),
    ("outcome", "every write conflicts"),
    ("HTTP get_outcome", "every write conflicts"),
}
"""Calls that report as damaged, or as pending, what a lie makes so, and change nothing."""

BELIEVED = {"nothing is listed", "other times", "every key is missing"}
"""Lies that nobody can notice: what a call returns may be wrong, what it does may not."""

STORE_LIES = (
    Case("another key", another_key, Then.EITHER, times=None, on=("GetObject",)),
    Case("another key, once", another_key, Then.EITHER, times=1, on=("GetObject",)),
    Case("another environment", another_environment, Then.EITHER, times=None, on=("GetObject",)),
    Case("every key is missing", answer(404, "NoSuchKey"), Then.EITHER, times=None, on=("GetObject",)),
    Case("every condition fails", answer(412, "PreconditionFailed"), Then.EITHER, times=None, on=("PutObject",)),
    *(
        Case(
            f"every new object exists in {part}",
            existing(part),
            Then.EITHER,
            times=None,
            on=("PutObject", "CopyObject"),
        )
        for part in ("/blobs/", "/releases/", "backups/", "manifest.json")
    ),
    Case(
        "every write conflicts", answer(409, "ConditionalRequestConflict"), Then.EITHER, times=None, on=("PutObject",)
    ),
    Case(
        "done, and said to fail",
        answer(412, "PreconditionFailed", carried_out=True),
        Then.EITHER,
        times=None,
        on=("PutObject",),
    ),
    Case("no ETag of a read", told(no_etag), Then.EITHER, times=None, on=("GetObject",)),
    Case("no ETag of a write", told(no_etag), Then.EITHER, times=None, on=("PutObject",)),
    Case("new ETags of reads", told(new_etag), Then.EITHER, times=None, on=("GetObject",)),
    Case("new ETags of writes", told(new_etag), Then.EITHER, times=None, on=("PutObject",)),
    Case("no metadata", told(no_metadata), Then.EITHER, times=None, on=("HeadObject", "GetObject")),
    Case("foreign keys", told(foreign_keys), Then.EITHER, times=None, on=("ListObjectsV2",)),
    Case("reversed keys", told(reversed_keys), Then.EITHER, times=None, on=("ListObjectsV2",)),
    Case("nothing is listed", told(nothing_listed), Then.EITHER, times=None, on=("ListObjectsV2",)),
    Case("other times", told(other_times), Then.EITHER, times=None, on=("ListObjectsV2",)),
)
