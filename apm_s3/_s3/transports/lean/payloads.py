"""The body of an upload as it goes over the wire: its hash for the signature, its checksum for S3, its pieces.

| body   | connection | signed as               | checksum that the server verifies             | else              |
|--------|------------|-------------------------|-----------------------------------------------|-------------------|
| bytes  | any        | its SHA-256             | the same SHA-256 (an object), CRC32 (a part)  | Content-MD5       |
| stream | TLS        | not                     | CRC32, in a trailer                           | Content-MD5 (1)   |
| stream | plain      | chunk by chunk          | CRC32, in a signed trailer                    | the signatures    |

(1) of a stream that can be read twice; of another one, the chunks are signed.
Parts have CRC32 however they come, since all parts of an upload have the same checksum; so only where trailers are
verified, too.
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from apm_s3._wire import checksums
from apm_s3._wire.sigv4 import (
    SIGNED_CHUNKS,
    SIGNED_CHUNKS_TRAILER,
    UNSIGNED_CHUNKS_TRAILER,
    UNSIGNED_PAYLOAD,
    ChunkSigner,
)
from apm_s3.errors import InvalidRequest
from apm_s3.models import Stream

PIECE = 256 * 1024
"""Bytes that are handed to a connection at once; larger bodies in one piece would hold up the event loop."""

CHUNK = PIECE
"""Bytes of a chunk of `aws-chunked`, all but the last; S3 wants at least 8 KiB."""

PART_CHECKSUM = "crc32"

T = TypeVar("T")
Pieces = Callable[[ChunkSigner | None], AsyncIterator[bytes | memoryview]]


@dataclass(frozen=True, slots=True)
class Verified:
    """What a server is known to verify: checksums in headers, and in trailers."""

    headers: bool
    trailers: bool


@dataclass(slots=True)
class Payload:
    """A body, ready to be signed and sent.

    Attributes:
        hash: the value of `x-amz-content-sha256`.
        headers: to be sent and signed.
        data: the body, where it is small enough to be sent at once.
        pieces: gives the body piece by piece, otherwise.
        length: bytes on the wire.
        checksums: those that S3 will have verified.
        signer: of its chunks, once the request is signed.
    """

    hash: str
    headers: dict[str, str]
    data: bytes | None = None
    pieces: Pieces | None = None
    length: int = 0
    checksums: dict[str, str] = field(default_factory=dict)
    signer: ChunkSigner | None = None

    def start(self) -> AsyncIterator[bytes | memoryview]:
        """The pieces, from the first."""
        if self.pieces is None:
            raise TypeError("this payload is sent at once")
        return self.pieces(self.signer)


def payload_of_bytes(data: bytes, *, part: bool, verified: Verified) -> Payload:
    """The payload of an object, or of a part, that is in memory. Hashes it: call it in a thread when it is large."""
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


async def payload_of_stream(stream: Stream, *, secure: bool, verified: Verified) -> Payload:
    """The payload of a stream of known size."""
    size = stream.size
    if size is None:
        raise InvalidRequest("a stream of unknown size goes in parts", hint="upload it with upload_file")
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


def chunked(stream: Stream, size: int, kind: str, checksum: checksums.Checksum | None = None) -> Payload:
    """The payload of a stream in aws-chunked encoding.

    Args:
        kind: one of SIGNED_CHUNKS, SIGNED_CHUNKS_TRAILER, UNSIGNED_CHUNKS_TRAILER.
        checksum: a new one of `PART_CHECKSUM`; a used one makes a trailer that is wrong.
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
    """The hex SHA-256 for the signature, and the checksum (an MD5 where there is no algorithm)."""
    digest = hashlib.sha256(data)
    if algorithm == "sha256":
        return digest.hexdigest(), checksums.encode(digest.digest())
    return digest.hexdigest(), checksums.checksum(algorithm or "md5", data)


@asynccontextmanager
async def closing(pieces: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Closes an asynchronous generator here and now, and not when it is collected."""
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
    """The stream's pieces, held to its size.

    Raises:
        InvalidRequest: it gives more or fewer bytes.
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
            hint="do not change a file while it is uploaded",
        )


async def _encode(
    stream: Stream, size: int, signer: ChunkSigner | None, payload: Payload, checksum: checksums.Checksum | None
) -> AsyncIterator[bytes | memoryview]:
    """The stream in aws-chunked encoding; the checksum, if there is one, ends it and is left in the payload."""
    end = b""
    async with closing(_chunks(stream, size)) as chunks:
        async for chunk in chunks:
            if checksum is not None:
                checksum.update(chunk)
            # The line that ends a chunk goes with the one that begins the next: fewer, larger writes.
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
    """The stream's bytes in chunks of `CHUNK`, copied only where its pieces do not fit."""
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
