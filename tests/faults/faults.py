"""The ways in which S3, or the network in front of it, can fail a request."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from email.utils import formatdate
from enum import Enum
from time import time

from apm_s3.errors import (
    AccessDenied,
    ApmS3Error,
    ConnectionLost,
    DeadlineExceeded,
    ExpiredToken,
    NotFound,
    RequestTimedOut,
    ServiceUnavailable,
    Throttled,
    WrongRegion,
)
from tests.faults.memory_s3 import Response, error_response
from tests.faults.server import Exchange, Fault, head_of

TRICKLE = 0.2
"""Seconds between two bytes."""


def answer(status: int, code: str, message: str = "no", *, carried_out: bool = False, **headers: str) -> Fault:
    """Respond with an error document, and carry the request out or not."""

    async def fault(exchange: Exchange) -> None:
        if carried_out:
            exchange.carry_out()
        response = error_response(status, code, message, **headers)
        if exchange.request.method == "HEAD":
            response.length, response.body = len(response.body), b""
        exchange.send(response)

    return fault


async def reset_before_headers(exchange: Exchange) -> None:
    """The request arrives, nothing is done, and the connection is reset."""
    await exchange.reset()


async def closed_before_headers(exchange: Exchange) -> None:
    """The connection is closed without a response, like an idle one that the server has just abandoned."""
    exchange.close()


async def lost_response(exchange: Exchange) -> None:
    """The request is carried out, and the connection is reset before the response."""
    exchange.carry_out()
    await exchange.reset()


async def reset_after_headers(exchange: Exchange) -> None:
    """The request is carried out; the headers announce a body, then the connection is reset."""
    exchange.send(exchange.carry_out(), upto=0)
    await exchange.reset()


async def reset_in_body(exchange: Exchange) -> None:
    """The request is carried out; half of the body arrives, then the connection is reset."""
    response = exchange.carry_out()
    exchange.send(response, upto=len(response.body) // 2)
    await exchange.reset()


async def truncated(exchange: Exchange) -> None:
    """The request is carried out; half of the body arrives, then the connection is closed."""
    response = exchange.carry_out()
    exchange.send(response, upto=len(response.body) // 2)
    exchange.close()


async def corrupted(exchange: Exchange) -> None:
    """One bit of an object's body is flipped on its way to the client, and of a document nothing parses any more."""
    response = exchange.carry_out()
    body = bytearray(response.body)
    if body and exchange.request.operation == "GetObject":
        body[len(body) // 2] ^= 1
    else:
        body = bytearray(len(body))
    response.body = bytes(body)
    exchange.send(response)


async def corrupted_upload(exchange: Exchange) -> None:
    """One bit of the body is flipped on its way to S3."""
    body = bytearray(exchange.request.body)
    if body:
        body[len(body) // 2] ^= 1
    exchange.request = replace(exchange.request, body=bytes(body))
    exchange.send(exchange.carry_out())


async def silent(exchange: Exchange) -> None:
    """The request is not carried out, and no response comes."""
    await exchange.hang()


async def silent_after_doing(exchange: Exchange) -> None:
    """The request is carried out, and no response comes."""
    exchange.carry_out()
    await exchange.hang()


async def trickling(exchange: Exchange) -> None:
    """The response arrives one byte at a time."""
    response = exchange.carry_out()
    await _trickle(exchange, head_of(response) + response.body)


async def trickling_body(exchange: Exchange) -> None:
    """The headers arrive immediately, the body one byte at a time."""
    response = exchange.carry_out()
    exchange.send(response, upto=0)
    await _trickle(exchange, response.body)


async def _trickle(exchange: Exchange, data: bytes) -> None:
    for index in range(len(data)):
        await asyncio.wait({exchange.lost}, timeout=TRICKLE)
        if exchange.lost.done():
            return
        exchange.transport.write(data[index : index + 1])


async def delivered_twice(exchange: Exchange) -> None:
    """The network delivers the request twice; the second response reaches the client."""
    exchange.carry_out()
    exchange.send(exchange.carry_out())


async def error_in_200(exchange: Exchange) -> None:
    """A 200 with an error document, as CopyObject and CompleteMultipartUpload can return; nothing is carried out."""
    exchange.send(Response(200, {"content-type": "application/xml"}, error_response(500, "InternalError").body))


async def skewed(exchange: Exchange) -> None:
    """The server says that this machine's clock is an hour behind."""
    await answer(403, "RequestTimeTooSkewed", date=formatdate(time() + 3600, usegmt=True))(exchange)


async def garbage(exchange: Exchange) -> None:
    """The response is not HTTP."""
    exchange.transport.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    exchange.close()


async def proxy_error(exchange: Exchange) -> None:
    """The load balancer itself responds with a 502 in HTML."""
    body = b"" if exchange.request.method == "HEAD" else b"<html><body>Bad Gateway</body></html>"
    exchange.send(Response(502, {"content-type": "text/html"}, body))


async def redirected(exchange: Exchange) -> None:
    """A temporary redirect to the same server, as S3 sends while a new bucket's name spreads."""
    host = exchange.request.headers["host"]
    location = f"http://{host}{exchange.request.target}"
    await answer(307, "TemporaryRedirect", location=location, x_amz_bucket_region="us-east-1")(exchange)


elsewhere = answer(301, "PermanentRedirect", x_amz_bucket_region="eu-west-1")


class Then(Enum):
    """The required outcome of a call that meets a fault, if its request can be repeated."""

    PASSES = "the right result at the first attempt"
    RETRIED = "the right result at the second attempt"
    FAILS_AT_ONCE = "the error named, at the first attempt"
    EXHAUSTED = "the error named, when all attempts are used up"
    EITHER = "the right result, or the error named"


@dataclass(frozen=True)
class Case:
    """A fault by its name in the table.

    Attributes:
        times: how many requests it hits; None: all.
        error: what the call raises, where it fails.
        on: the requests that it means anything for; all where it is empty.
    """

    name: str
    fault: Fault | None
    then: Then = Then.RETRIED
    error: type[ApmS3Error] = ApmS3Error
    times: int | None = 1
    on: tuple[str, ...] = ()


UPLOADS = ("PutObject", "UploadPart", "DeleteObjects", "PutBucket:tagging", "PutBucket:policy")
WRITES = ("PutObject", "CopyObject", "CompleteMultipartUpload")
BUCKET_WRITES = ("CreateBucket", "PutBucket:tagging", "PutBucket:policy", "DeleteBucket:tagging", "DeleteBucket")
NO_ANSWER_BODY = ("PutObject", "UploadPart", "HeadObject", "HeadBucket", "DeleteObject", "AbortMultipartUpload",
                  *BUCKET_WRITES)  # fmt: skip
DOCUMENTS = ("CopyObject", "CompleteMultipartUpload", "CreateMultipartUpload", "UploadPartCopy", "DeleteObjects",
             "ListObjectsV2", "ListObjectVersions", "ListBuckets", "GetBucket:tagging", "ListMultipartUploads",
             "ListParts")  # fmt: skip
CASES = (
    Case("no fault", None, Then.PASSES),
    Case("500", answer(500, "InternalError")),
    Case("500, yet carried out", answer(500, "InternalError", carried_out=True)),
    Case("500 for ever", answer(500, "InternalError"), Then.EXHAUSTED, ServiceUnavailable, None),
    Case("502 of a proxy", proxy_error),
    Case("503 SlowDown", answer(503, "SlowDown")),
    Case("503 with Retry-After", answer(503, "SlowDown", retry_after="0.02")),
    Case("503 SlowDown for ever", answer(503, "SlowDown"), Then.EXHAUSTED, Throttled, None),
    Case("Retry-After past the deadline", answer(503, "SlowDown", retry_after="60"), Then.FAILS_AT_ONCE, Throttled),
    Case("429", answer(429, "TooManyRequests")),
    Case("400 RequestTimeout", answer(400, "RequestTimeout"), on=(*UPLOADS, "CompleteMultipartUpload")),
    Case("403 ExpiredToken once", answer(403, "ExpiredToken"), Then.RETRIED, ExpiredToken),
    Case("403 ExpiredToken for ever", answer(403, "ExpiredToken"), Then.EITHER, ExpiredToken, None),
    Case("403 AccessDenied", answer(403, "AccessDenied"), Then.FAILS_AT_ONCE, AccessDenied, None),
    Case("clock skew", skewed),
    Case("reset before headers", reset_before_headers),
    Case("closed before headers", closed_before_headers),
    Case("reset after headers", reset_after_headers, on=("GetObject", *DOCUMENTS)),
    Case("reset in body", reset_in_body, on=("GetObject", *DOCUMENTS)),
    Case("reset after the answer", reset_in_body, Then.PASSES, on=NO_ANSWER_BODY),
    Case("reset for ever", reset_before_headers, Then.EXHAUSTED, ConnectionLost, None),
    Case("truncated body", truncated, on=("GetObject", *DOCUMENTS)),
    Case("corrupted object", corrupted, on=("GetObject",)),
    Case("garbled document", corrupted, on=DOCUMENTS),
    Case("corrupted upload", corrupted_upload, on=UPLOADS),
    Case("no answer", silent),
    Case("no answer, for ever", silent, Then.EXHAUSTED, RequestTimedOut, None),
    Case("carried out, no answer", silent_after_doing),
    Case("answer lost", lost_response),
    Case("trickle", trickling, Then.EITHER, RequestTimedOut, None),
    Case("trickle in body", trickling_body, Then.FAILS_AT_ONCE, DeadlineExceeded, None, on=("GetObject", *DOCUMENTS)),
    Case("delivered twice", delivered_twice, Then.PASSES),
    Case("200 with an error", error_in_200, on=("CopyObject", "CompleteMultipartUpload", "UploadPartCopy")),
    Case("409 of a condition", answer(409, "ConditionalRequestConflict"), on=WRITES),
    Case("409 OperationAborted", answer(409, "OperationAborted"), on=BUCKET_WRITES),
    Case("404 NoSuchBucket", answer(404, "NoSuchBucket"), Then.EITHER, NotFound, None),
    Case("not HTTP", garbage),
    Case("307 redirect", redirected, Then.EITHER, WrongRegion),
    Case("301 to another region", elsewhere, Then.EITHER, WrongRegion),
)
