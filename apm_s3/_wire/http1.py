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
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[\t -~\x80-\xff]*)?")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_FRAMING = frozenset({"content-length", "transfer-encoding"})
_CONTROLS = bytes([*range(32), 127])
"""What no line of a head may hold, but for tabs."""
_MAX_NAME, _MAX_NAMES = 64, 1000
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
    lines = data.decode("utf-8", "replace").split("\r\n")
    # The line breaks are all that a plain head has of control characters.
    plain = len(data.translate(None, _CONTROLS)) + 2 * len(lines) - 2 == len(data) and data.isascii()
    if not plain:
        lines = _odd_lines(data)
    found = _STATUS.fullmatch(lines[0])
    if found is None:
        raise MalformedAnswer("the answer is not HTTP/1.1")
    del lines[0]
    headers = _plain_headers(lines) if plain else _headers(lines)
    status = int(found[2])
    length, chunked = _framing(status, headers, method)
    connection = headers.get("connection")
    if connection is None:
        keep = found[1] == "1"
    else:
        options = {option.strip() for option in connection.lower().split(",")}
        keep = "close" not in options and (found[1] == "1" or "keep-alive" in options)
    if chunked:
        # A length beside chunks, or chunks in HTTP/1.0, may be an attempt to smuggle: RFC 9112, 6.1 and 6.3.
        keep = keep and found[1] == "1" and "content-length" not in headers
    elif length is None:
        keep = False
    return Head(status, headers, length, chunked, keep)


def _odd_lines(data: bytes) -> list[str]:
    """The lines of a head that has tabs, or text that is not ASCII.

    A bare CR or LF is a line break to some and not to others, and so hides headers: RFC 9112, 2.2.
    """
    lines = data.split(b"\r\n")
    if any(len(line.translate(None, _CONTROLS)) + line.count(b"\t") != len(line) for line in lines):
        raise MalformedAnswer("a line of the answer's head has a control character in it")
    return [_text(line) for line in lines]


def _plain_headers(lines: list[str]) -> dict[str, str]:
    """The headers of lines of plain ASCII, for less where their names are known, and none is repeated."""
    headers: dict[str, str] = {}
    try:
        for line in lines:
            name, value = line.split(":", 1)
            headers[_names[name]] = value.strip()
    except (KeyError, ValueError):
        return _headers(lines)
    return headers if len(headers) == len(lines) else _headers(lines)


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise MalformedAnswer("a header of the answer is malformed")
        name = _names.get(name) or _checked(name)
        value = value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _text(line: bytes) -> str:
    """UTF-8, or else what older servers mean: RFC 9110, 5.5."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


_names: dict[str, str] = {}
"""Names of headers as they came, to what they are in lower case: a server sends few, and those again and again."""


def _checked(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise MalformedAnswer("the name of a header is malformed")
    lower = name.lower()
    if len(name) <= _MAX_NAME:
        if len(_names) >= _MAX_NAMES:
            _names.clear()
        _names[name] = lower
    return lower


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
    coding = headers.get("transfer-encoding")
    if coding is not None and coding.lower() != "chunked":
        raise MalformedAnswer("the answer has a transfer encoding that was not asked for")
    if method == "HEAD" or status in {204, 304} or status < 200 or (method == "CONNECT" and status < 300):
        return 0, False
    if coding is not None:
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
        self._trailed = 0
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
            if line and not _FRAMING.isdisjoint(_headers(_odd_lines(line))):
                raise MalformedAnswer("the trailer of the answer says where it ends")
            self.ended = not line
            self._trailed += len(line)
            if self._trailed > MAX_HEAD:
                raise MalformedAnswer("the trailer of the answer is too long")
        else:
            found = _CHUNK.fullmatch(line)
            if found is None:
                raise MalformedAnswer("the size of a chunk is malformed")
            self._left = int(found[1], 16)
            self._trailing = not self._left
