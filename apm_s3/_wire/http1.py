"""HTTP/1.1 as a client speaks it: the head of a request, the head of an answer, and where its body ends. Pure.

https://www.rfc-editor.org/rfc/rfc9112
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from apm_s3._version import __version__

MAX_HEAD = 64 * 1024
"""Bytes of the head of an answer, and of a line between chunks. S3's own are under 8 KiB."""

_PLAIN = f"accept: */*\r\naccept-encoding: identity\r\nuser-agent: apm_s3/{__version__}\r\n\r\n"
"""Sent with every request, and not signed: proxies change them."""

_STATUS = re.compile(r"HTTP/1\.([01]) ([1-9]\d\d)(?: .*)?")
_LENGTH = re.compile(r"\d{1,19}", re.ASCII)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;.*)?", re.DOTALL)
_BREAKS = re.compile("[\r\n\0]")


class MalformedAnswer(Exception):
    """What came is not HTTP/1.1."""


class Head(NamedTuple):
    """The head of an answer.

    Attributes:
        headers: names in lower case; values of a repeated one are joined by commas.
        length: bytes of the body; None where its end shows in it, or is that of the connection.
        chunked: whether the body comes in chunks.
        keep: whether the connection can be used again after the body.
    """

    status: int
    headers: dict[str, str]
    length: int | None
    chunked: bool
    keep: bool


def request_head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """The head of a request.

    Raises:
        ValueError: a value has a line break, and would be read as more than one header.
    """
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers) or "\0" in lines:
        name = next(name for name, value in headers.items() if _BREAKS.search(f"{name}{value}"))
        raise ValueError(f"the value of the header {name!r} has a line break in it")
    return f"{method} {target} HTTP/1.1\r\n{lines}{_PLAIN}".encode()


def parse_head(data: bytes, method: str) -> Head:
    """The head of an answer to `method`: all before the empty line.

    Raises:
        MalformedAnswer: it is none.
    """
    first, *lines = data.decode("utf-8", "surrogateescape").split("\r\n")
    found = _STATUS.fullmatch(first)
    if found is None:
        raise MalformedAnswer("the answer is not HTTP/1.1")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name[-1] in " \t" or name[0] in " \t":
            raise MalformedAnswer("a header of the answer is malformed")
        name, value = name.lower(), value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    status = int(found[2])
    length, chunked = _framing(status, headers, method)
    connection = headers.get("connection")
    if connection is None:
        keep = found[1] == "1"
    else:
        options = connection.lower()
        keep = "close" not in options and (found[1] == "1" or "keep-alive" in options)
    # A length beside chunks may be an attempt to smuggle: RFC 9112, 6.3.
    keep = keep and (chunked or length is not None) and not (chunked and "content-length" in headers)
    return Head(status, headers, length, chunked, keep)


def _framing(status: int, headers: dict[str, str], method: str) -> tuple[int | None, bool]:
    """Where the body ends: RFC 9112, 6.3. A length that is given more than once is put in order."""
    length = headers.get("content-length")
    if length is not None and "," in length:
        values = {value.strip() for value in length.split(",")}
        length = values.pop()
        if values:
            raise MalformedAnswer("the answer has more than one length")
        headers["content-length"] = length
    if length is not None and not _LENGTH.fullmatch(length):
        raise MalformedAnswer("the answer has a malformed length")
    if method == "HEAD" or status in {204, 304} or status < 200 or (method == "CONNECT" and status < 300):
        return 0, False
    coding = headers.get("transfer-encoding")
    if coding is not None:
        if coding.lower() != "chunked":
            raise MalformedAnswer("the answer has a transfer encoding that was not asked for")
        return None, True
    return None if length is None else int(length), False


class Chunks:
    """Takes a body out of its chunks: RFC 9112, 7.1.

    Attributes:
        ended: whether all of it has come.
        rest: what came behind it.
    """

    def __init__(self) -> None:
        self.ended = False
        self.rest = b""
        self._left = 0
        self._line = b""
        self._between = False
        self._trailing = False

    def feed(self, data: bytes) -> list[bytes]:
        """The pieces of the body in the next bytes that came.

        Raises:
            MalformedAnswer: they are no chunks.
        """
        pieces: list[bytes] = []
        at = 0
        while at < len(data) and not self.ended:
            if self._left:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                self._between = not self._left
                continue
            end = data.find(b"\n", at)
            line = self._line + (data[at:] if end < 0 else data[at : end + 1])
            if len(line) > MAX_HEAD:
                raise MalformedAnswer("a line between two chunks does not end")
            if end < 0:
                self._line = line
                break
            self._line = b""
            at = end + 1
            self._take_line(line)
        if self.ended:
            self.rest = data[at:]
        return pieces

    def _take_line(self, line: bytes) -> None:
        if not line.endswith(b"\r\n"):
            raise MalformedAnswer("a line between two chunks is malformed")
        line = line[:-2]
        if self._between:
            if line:
                raise MalformedAnswer("a chunk is longer than it says")
            self._between = False
        elif self._trailing:
            self.ended = not line
        else:
            found = _CHUNK.fullmatch(line)
            if found is None:
                raise MalformedAnswer("the size of a chunk is malformed")
            self._left = int(found[1], 16)
            self._trailing = not self._left
