"""The body of an upload on the wire: its hash for the signature, its checksum for S3, its pieces.

| body   | connection | signed as               | checksum that the server verifies             | else              |
|--------|------------|-------------------------|-----------------------------------------------|-------------------|
| bytes  | any        | its SHA-256             | the same SHA-256 (an object), CRC32 (a part)  | Content-MD5       |
| stream | TLS        | not                     | CRC32, in a trailer                           | Content-MD5 (1)   |
| stream | plain      | chunk by chunk          | CRC32, in a signed trailer                    | the signatures    |
| (2)    | any        | its known SHA-256       | the same SHA-256                              | Content-MD5 (3)   |
| (2)    | plain      | not, with a known MD5   | Content-MD5, and a known CRC or SHA-1         | Content-MD5       |

(1) for a stream that can be read twice; otherwise, the chunks are signed.
(2) a stream with `digests`, which is not hashed here. They come from another server, so over plain HTTP they are only
given if the caller trusts the network: they find damage there, and nobody who changes packets.
(3) if it is known.
Parts always have CRC32, because all parts of an upload must have the same checksum; this requires verified trailers.
https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
"""

from __future__ import annotations

import asyncio
import hashlib
from base64 import b64decode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from apm_s3._s3.transports.expectations import joined
from apm_s3._wire import checksums
from apm_s3._wire.sigv4 import (
    SIGNED_CHUNKS,
    SIGNED_CHUNKS_TRAILER,
    UNSIGNED_CHUNKS_TRAILER,
    UNSIGNED_PAYLOAD,
    ChunkSigner,
)
from apm_s3.errors import InvalidRequest
from apm_s3.models._objects import Stream

PIECE = 256 * 1024
"""Bytes that a connection gets at a time; larger pieces would block the event loop."""

CHUNK = PIECE
"""Size of a chunk of `aws-chunked`, except the last one; S3 requires at least 8 KiB."""

PART_CHECKSUM = "crc32"

_WITH_MD5 = ("crc32c", "crc32", "sha1")
"""Checksums that are passed on beside Content-MD5: those that every server with checksums knows."""

T = TypeVar("T")
Pieces = Callable[[ChunkSigner | None], AsyncIterator[bytes | memoryview]]


class Verified(NamedTuple):
    """What a server verifies: checksums in headers and in trailers."""

    headers: bool
    trailers: bool


@dataclass(slots=True)
class Payload:
    """A body that is ready to be signed and sent.

    Attributes:
        hash: the value of `x-amz-content-sha256`.
        headers: headers to send and sign.
        data: the body, if it is small enough to be sent in one piece.
        pieces: otherwise, yields the body in pieces.
        length: bytes on the wire.
        checksums: the checksums that S3 verifies.
        signer: signs the chunks, after the request is signed.
    """

    hash: str
    headers: dict[str, str]
    data: bytes | None = None
    pieces: Pieces | None = None
    length: int = 0
    checksums: dict[str, str] = field(default_factory=dict)
    signer: ChunkSigner | None = None

    def start(self) -> AsyncIterator[bytes | memoryview]:
        """Yield the pieces, from the first one."""
        if self.pieces is None:
            raise TypeError("this payload is sent in one piece")
        return self.pieces(self.signer)


def payload_of_bytes(data: bytes, *, part: bool, verified: Verified) -> Payload:
    """Return the payload of an object or part in memory. Hashes it, so call it in a thread for large data."""
    algorithm: str | None = None
    if part and verified.trailers:
        algorithm = PART_CHECKSUM
    elif not part and verified.headers:
        algorithm = "sha256"
    hashed, value = _digests(data, algorithm)
    if algorithm is None:
        payload = Payload(hashed, {"content-md5": value})
    else:
        payload = Payload(hashed, {f"x-amz-checksum-{algorithm}": value}, checksums={algorithm: value})
    payload.length = len(data)
    if len(data) <= PIECE:
        payload.data = data
    else:
        payload.pieces = lambda _signer: _slices(data)
    return payload


async def payload_in_memory(body: bytes | Stream) -> Payload:
    """Return the payload for aiobotocore. Content-MD5 is the only checksum that every S3-compatible server verifies."""
    data = await joined([piece async for piece in body.open()]) if isinstance(body, Stream) else bytes(body)
    if len(data) < checksums.OFF_LOOP:
        md5 = checksums.checksum("md5", data)
    else:
        md5 = await asyncio.to_thread(checksums.checksum, "md5", data)
    return Payload("", {"content-md5": md5}, data=data, length=len(data))


async def payload_of_stream(stream: Stream, *, secure: bool, verified: Verified) -> Payload:
    """Return the payload of a stream of known size."""
    size = stream.size
    if size is None:
        raise InvalidRequest("a stream of unknown size must be sent in parts", hint="upload it with upload_file")
    payload = _known_payload(stream, size, secure=secure, verified=verified)
    if payload is not None:
        return payload
    if verified.trailers:
        kind = UNSIGNED_CHUNKS_TRAILER if secure else SIGNED_CHUNKS_TRAILER
        return chunked(stream, size, kind)
    if secure and stream.replayable:
        digest = hashlib.md5(usedforsecurity=False)
        async for piece in _exactly(stream, size):
            digest.update(piece)
        headers = {"content-md5": checksums.encode(digest.digest())}
        return Payload(UNSIGNED_PAYLOAD, headers, pieces=lambda _signer: _exactly(stream, size), length=size)
    return chunked(stream, size, SIGNED_CHUNKS)


def _known_payload(stream: Stream, size: int, *, secure: bool, verified: Verified) -> Payload | None:
    """Return the payload of a stream that its known digests authenticate; None if there are none of that kind."""
    md5, sha256 = stream.digests.get("md5"), stream.digests.get("sha256")
    if sha256 is not None:
        hashed, algorithm = b64decode(sha256).hex(), "sha256"
    elif md5 is not None and not secure:
        hashed, algorithm = UNSIGNED_PAYLOAD, next(filter(stream.digests.__contains__, _WITH_MD5), "")
    else:
        return None
    payload = Payload(hashed, {}, pieces=lambda _signer: _exactly(stream, size), length=size)
    if md5 is not None and (sha256 is None or not verified.headers):
        payload.headers["content-md5"] = md5
    if algorithm and verified.headers:
        payload.headers[f"x-amz-checksum-{algorithm}"] = payload.checksums[algorithm] = stream.digests[algorithm]
    return payload


def chunked(stream: Stream, size: int, kind: str, checksum: checksums.Checksum | None = None) -> Payload:
    """Return the payload of a stream in aws-chunked encoding.

    Args:
        kind: one of SIGNED_CHUNKS, SIGNED_CHUNKS_TRAILER, UNSIGNED_CHUNKS_TRAILER.
        checksum: a new `PART_CHECKSUM`; a used one gives a wrong trailer.
    """
    signed = kind != UNSIGNED_CHUNKS_TRAILER
    trailing = kind != SIGNED_CHUNKS
    payload = Payload(
        kind,
        {"x-amz-decoded-content-length": str(size)},
        length=_encoded_length(size, signed=signed, trailing=trailing),
    )
    if trailing:
        checksum = checksum or checksums.start(PART_CHECKSUM)
        payload.headers["x-amz-trailer"] = f"x-amz-checksum-{PART_CHECKSUM}"
    payload.pieces = lambda signer: _encode(stream, size, signer, payload, checksum)
    return payload


def _digests(data: bytes, algorithm: str | None) -> tuple[str, str]:
    """Return the hex SHA-256 for the signature, and the checksum (an MD5 without an algorithm)."""
    digest = hashlib.sha256(data)
    if algorithm == "sha256":
        return digest.hexdigest(), checksums.encode(digest.digest())
    return digest.hexdigest(), checksums.checksum(algorithm or "md5", data)


@asynccontextmanager
async def closing(pieces: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Close an asynchronous generator at the end of the block, not when it is garbage collected."""
    try:
        yield pieces
    finally:
        aclose = getattr(pieces, "aclose", None)
        if aclose is not None:
            await aclose()


async def _slices(data: bytes) -> AsyncIterator[memoryview]:
    view = memoryview(data)
    for start in range(0, len(data), PIECE):
        yield view[start : start + PIECE]


async def _exactly(stream: Stream, size: int) -> AsyncIterator[bytes]:
    """Yield the stream's pieces, and check their size.

    Raises:
        InvalidRequest: it returns more or fewer bytes.
    """
    got = 0
    async with closing(stream.open()) as pieces:
        async for piece in pieces:
            got += len(piece)
            if got > size:
                break
            yield piece
    if got != size:
        raise InvalidRequest(
            f"the body has {'more' if got > size else 'only'} {min(got, size)} bytes, not {size}",
            hint="do not modify a file while it is uploaded",
        )


async def _encode(
    stream: Stream, size: int, signer: ChunkSigner | None, payload: Payload, checksum: checksums.Checksum | None
) -> AsyncIterator[bytes | memoryview]:
    """Encode the stream as aws-chunked; the checksum, if any, is sent at the end and stored in the payload."""
    end = b""
    async with closing(_chunks(stream, size)) as chunks:
        async for chunk in chunks:
            if checksum is not None:
                checksum.update(chunk)
            # Send the end of a chunk with the start of the next one, for fewer and larger writes.
            yield end + _chunk_line(chunk, signer)
            yield chunk
            end = b"\r\n"
    last = end + _chunk_line(b"", signer)
    if checksum is None:
        yield last + b"\r\n"
        return
    value = checksums.encode(checksum.digest())
    payload.checksums[PART_CHECKSUM] = value
    line = f"x-amz-checksum-{PART_CHECKSUM}:{value}"
    if signer is not None:
        signature = signer.trailer(f"{line}\n".encode())
        line += f"\r\nx-amz-trailer-signature:{signature}"
    yield last + f"{line}\r\n\r\n".encode()


async def _chunks(stream: Stream, size: int) -> AsyncIterator[bytes | memoryview]:
    """Yield the stream's bytes in chunks of `CHUNK`, copying only if its pieces do not fit."""
    held = bytearray()
    async with closing(_exactly(stream, size)) as pieces:
        async for piece in pieces:
            view = memoryview(piece)
            while view:
                if not held and len(view) >= CHUNK:
                    yield view[:CHUNK]
                    view = view[CHUNK:]
                    continue
                room = CHUNK - len(held)
                held += view[:room]
                view = view[room:]
                if len(held) == CHUNK:
                    yield bytes(held)
                    held.clear()
    if held:
        yield bytes(held)


def _chunk_line(chunk: bytes | memoryview, signer: ChunkSigner | None) -> bytes:
    if signer is None:
        return f"{len(chunk):x}\r\n".encode()
    return f"{len(chunk):x};chunk-signature={signer.chunk(chunk)}\r\n".encode()


def _encoded_length(size: int, *, signed: bool, trailing: bool) -> int:
    full, rest = divmod(size, CHUNK)
    mark = len(";chunk-signature=") + 64 if signed else 0
    total = full * (len(f"{CHUNK:x}") + mark + 4 + CHUNK)
    if rest:
        total += len(f"{rest:x}") + mark + 4 + rest
    total += 1 + mark + 2  # the last chunk, which is empty
    if trailing:
        total += len(f"x-amz-checksum-{PART_CHECKSUM}:") + 8 + 2
        total += len("x-amz-trailer-signature:") + 64 + 2 if signed else 0
    return total + 2
