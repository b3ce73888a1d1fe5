"""HTTP/1.1 for clients: request heads, response heads, and the end of response bodies. Pure.

https://www.rfc-editor.org/rfc/rfc9112
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from apm_s3._version import __version__

MAX_HEAD = 64 * 1024
"""Maximum size of a response head, and of a line between chunks. S3's are under 8 KiB."""

_PLAIN = f"accept: */*\r\naccept-encoding: identity\r\nuser-agent: apm_s3/{__version__}\r\n\r\n"
"""Sent with every request, but not signed, because proxies change them."""

_STATUS = re.compile(r"HTTP/1\.([01]) ([1-9]\d\d)(?: .*)?")
_LENGTH = re.compile(r"\d{1,19}", re.ASCII)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[\t -~\x80-\xff]*)?")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_FRAMING = frozenset({"content-length", "transfer-encoding"})
_CONTROLS = bytes([*range(32), 127])
"""Characters that a line of a head may not contain, except tabs."""
_MAX_NAME, _MAX_NAMES = 64, 1000
_BREAKS = re.compile("[\r\n\0]")


class MalformedResponse(Exception):
    """The response is not valid HTTP/1.1."""


class Head(NamedTuple):
    """The head of a response.

    Attributes:
        headers: names in lower case; values of repeated headers are joined by commas.
        length: bytes of the body; None if it is chunked, or ends with the connection.
        chunked: whether the body is chunked.
        keep: whether the connection can be reused after the body.
    """

    status: int
    headers: dict[str, str]
    length: int | None
    chunked: bool
    keep: bool


def request_head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """Format the head of a request.

    Raises:
        ValueError: a value has a line break, which would start another header.
    """
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers) or "\0" in lines:
        name = next(name for name, value in headers.items() if _BREAKS.search(f"{name}{value}"))
        raise ValueError(f"the value of the header {name!r} contains a line break")
    return f"{method} {target} HTTP/1.1\r\n{lines}{_PLAIN}".encode()


def parse_head(data: bytes, method: str) -> Head:
    """Parse the head of a response to `method`: everything before the empty line.

    Raises:
        MalformedResponse: it is not valid.
    """
    lines = data.decode("utf-8", "replace").split("\r\n")
    # A plain head has no control characters except line breaks.
    plain = len(data.translate(None, _CONTROLS)) + 2 * len(lines) - 2 == len(data) and data.isascii()
    if not plain:
        lines = _odd_lines(data)
    found = _STATUS.fullmatch(lines[0])
    if found is None:
        raise MalformedResponse("the response is not HTTP/1.1")
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
        # A length together with chunks, or chunks in HTTP/1.0, may be request smuggling: RFC 9112, 6.1 and 6.3.
        keep = keep and found[1] == "1" and "content-length" not in headers
    elif length is None:
        keep = False
    return Head(status, headers, length, chunked, keep)


def _odd_lines(data: bytes) -> list[str]:
    """Split a head with tabs or non-ASCII text into lines.

    Some parsers treat a bare CR or LF as a line break and others do not, so it could hide headers: RFC 9112, 2.2.
    """
    lines = data.split(b"\r\n")
    if any(len(line.translate(None, _CONTROLS)) + line.count(b"\t") != len(line) for line in lines):
        raise MalformedResponse("a line of the response's head contains a control character")
    return [_text(line) for line in lines]


def _plain_headers(lines: list[str]) -> dict[str, str]:
    """Parse header lines of plain ASCII; this is faster if the names are known and none is repeated."""
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
            raise MalformedResponse("a header of the response is malformed")
        name = _names.get(name) or _checked(name)
        value = value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _text(line: bytes) -> str:
    """Decode UTF-8, or else Latin-1 for older servers: RFC 9110, 5.5."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


_names: dict[str, str] = {}
"""Cache of lower-case header names: a server sends few different names, repeatedly."""


def _checked(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise MalformedResponse("a header name is malformed")
    lower = name.lower()
    if len(name) <= _MAX_NAME:
        if len(_names) >= _MAX_NAMES:
            _names.clear()
        _names[name] = lower
    return lower


def _framing(status: int, headers: dict[str, str], method: str) -> tuple[int | None, bool]:
    """Determine the end of the body: RFC 9112, 6.3. Repeated equal lengths are merged."""
    length = headers.get("content-length")
    if length is not None and "," in length:
        values = {value.strip() for value in length.split(",")}
        length = values.pop()
        if values:
            raise MalformedResponse("the response has more than one length")
        headers["content-length"] = length
    if length is not None and not _LENGTH.fullmatch(length):
        raise MalformedResponse("the response has a malformed length")
    coding = headers.get("transfer-encoding")
    if coding is not None and coding.lower() != "chunked":
        raise MalformedResponse("the response has a transfer encoding that was not requested")
    if method == "HEAD" or status in {204, 304} or status < 200 or (method == "CONNECT" and status < 300):
        return 0, False
    if coding is not None:
        return None, True
    return None if length is None else int(length), False


class Chunks:
    """Decodes a chunked body: RFC 9112, 7.1.

    Attributes:
        ended: whether the body is complete.
        rest: the bytes after the body.
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
        """Decode the next received bytes.

        Raises:
            MalformedResponse: they are not valid chunks.
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
                raise MalformedResponse("a line between chunks is too long")
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
            raise MalformedResponse("a line between chunks is malformed")
        line = line[:-2]
        if self._between:
            if line:
                raise MalformedResponse("a chunk is longer than its stated size")
            self._between = False
        elif self._trailing:
            if line and not _FRAMING.isdisjoint(_headers(_odd_lines(line))):
                raise MalformedResponse("the response's trailer has framing headers")
            self.ended = not line
            self._trailed += len(line)
            if self._trailed > MAX_HEAD:
                raise MalformedResponse("the response's trailer is too long")
        else:
            found = _CHUNK.fullmatch(line)
            if found is None:
                raise MalformedResponse("a chunk size is malformed")
            self._left = int(found[1], 16)
            self._trailing = not self._left


_MONTHS = {"JanFebMarAprMayJunJulAugSepOctNovDec"[3 * month : 3 * month + 3]: month + 1 for month in range(12)}
_SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)


@lru_cache(maxsize=4096)
def http_time(text: str) -> datetime | None:
    """Parse an HTTP date, in UTC; None if it is malformed: https://www.rfc-editor.org/rfc/rfc9110#http.date."""
    try:
        return datetime(
            int(text[12:16]), _MONTHS[text[8:11]], int(text[5:7]),
            int(text[17:19]), int(text[20:22]), int(text[23:25]), tzinfo=UTC,
        )  # fmt: skip
    except (ValueError, KeyError):
        pass
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - only for obsolete forms, and slow to import

    try:
        at = parsedate_to_datetime(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError, TypeError, IndexError):
        # The standard library's parser raises all of these.
        return None


@lru_cache(maxsize=64)
def unix_time(date: str | None) -> float | None:
    """Parse an HTTP date to Unix seconds; None if there is none, or it is malformed."""
    at = http_time(date) if date else None
    return at.timestamp() if at is not None else None


def retry_after(text: str | None) -> float | None:
    """Parse the seconds of a Retry-After header; None if there is none, or it is not a plain number."""
    return float(text) if text and _SECONDS.fullmatch(text) else None
