"""Answers, mutated at random, as our parser, h11 and llhttp (httptools) read them.

Where ours takes an answer, so does h11, and both find the same one in it: what two parsers read in two ways is how
answers are smuggled. llhttp is laxer than both; where it takes the answer, too, it finds the same body.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import h11
import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.seams.wire import MAX_HEAD, Chunks, MalformedResponse, parse_head


@dataclass
class Read:
    """What a parser found.

    Attributes:
        keep: whether the connection can be used again.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    keep: bool = False
    whole: bool = False


def ours(data: bytes, method: str) -> Read | None:
    """What `Connection` makes of `data`, with which the connection ends; None where it refuses it."""
    try:
        while True:
            head, end, rest = data.partition(b"\r\n\r\n")
            if not end:
                return Read()
            found = parse_head(head, method)
            if found.status >= 200:
                break
            data = rest
        read = Read(found.status, found.headers, keep=found.keep)
        if found.chunked:
            chunks = Chunks()
            read.body = b"".join(chunks.feed(rest))
            read.whole = chunks.ended
            read.keep &= not chunks.rest
        elif found.length is None:
            read.body, read.whole = rest, True
        else:
            read.body, read.whole = rest[: found.length], len(rest) >= found.length
            read.keep &= len(rest) <= found.length
    except MalformedResponse:
        return None
    return read


def by_h11(data: bytes, method: str) -> Read | None:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
    connection.send(h11.Request(method=method, target="/", headers=[("host", "h")]))
    connection.send(h11.EndOfMessage())
    read = Read()
    try:
        connection.receive_data(data)
        connection_ended = False
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                read.status = event.status_code
                for name, value in event.headers:
                    text = _text(value)
                    key = name.decode()
                    read.headers[key] = f"{read.headers[key]}, {text}" if key in read.headers else text
            elif isinstance(event, h11.Data):
                read.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                read.whole = True
                read.keep = connection.their_state is h11.DONE and not connection.trailing_data[0]
                return read
            elif event is h11.NEED_DATA and not connection_ended:
                connection.receive_data(b"")
                connection_ended = True
            elif not isinstance(event, h11.InformationalResponse):
                return read
    except h11.RemoteProtocolError:
        # A body cut short by the end of the connection is not malformed.
        return read if read.status and connection_ended else None


class _Callbacks:
    def __init__(self) -> None:
        self.read = Read()
        self.parser: httptools.HttpResponseParser | None = None

    def on_body(self, body: bytes) -> None:
        if not self.read.whole:
            self.read.body += body

    def on_message_complete(self) -> None:
        if not self.read.whole and self.parser is not None and self.parser.get_status_code() >= 200:
            self.read.status = self.parser.get_status_code()
            self.read.whole = True


def by_llhttp(data: bytes) -> Read | None:
    callbacks = _Callbacks()
    callbacks.parser = httptools.HttpResponseParser(callbacks)
    try:
        callbacks.parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        return None
    except httptools.HttpParserError:
        return callbacks.read if callbacks.read.whole else None
    return callbacks.read


HEADERS = st.lists(
    st.sampled_from(
        [
            b"ETag: \"e\"", b"x-amz-meta-a:  b c ", b"Server: AmazonS3", b"Empty:", b"Vary: a", b"vary: b",
            b"Content-Type: text/plain;charset=utf-8", b"Connection: close", b"Connection: keep-alive", b"x: \xc3\xa4",
        ]
    ),
    max_size=4,
)  # fmt: skip
BODIES = st.binary(max_size=12)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """A well-formed response."""
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.1", b"1.0"]))
    status = draw(st.sampled_from([b"200 OK", b"206 Partial Content", b"404 Not Found", b"204 No Content", b"304 x"]))
    lines = draw(HEADERS)
    body = draw(BODIES)
    match draw(st.sampled_from(["length", "chunks", "end"])):
        case "length":
            lines.append(b"Content-Length: %d" % len(body))
        case "chunks":
            lines.append(b"Transfer-Encoding: chunked")
            cut = draw(st.integers(0, len(body)))
            trailer = draw(st.sampled_from([b"", b"x-amz-checksum-crc32: AAAAAA==\r\n"]))
            extension = draw(st.sampled_from([b"", b";a=b"]))
            chunks = [chunk for chunk in (body[:cut], body[cut:]) if chunk]
            framed = b"".join(b"%x%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
            body = framed + b"0\r\n" + trailer + b"\r\n"
    lines = list(draw(st.permutations(lines)))
    provisional = draw(st.sampled_from([b"", b"", b"HTTP/1.1 100 Continue\r\n\r\n"]))
    return provisional + b"\r\n".join([b"HTTP/%b %b" % (version, status), *lines, b"", body])


PIECES = st.sampled_from(
    [
        b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\0", b" ", b"\t", b":", b",", b";", b"0", b"1", b"-", b"+", b"\x0b", b"\x7f",
        b"\x80", b"\xff", b"a", b"x: y\r\n", b"Content-Length: 1\r\n", b"Content-Length: 0x1\r\n", b" folded\r\n",
        b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n", b"transfer-encoding: identity\r\n",
        b"Connection: x, close\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.0", b"f", b"00", b"_",
    ]
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A response with some bytes removed, inserted and replaced."""
    data = draw(answers())
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        if draw(st.booleans()):
            line = data.rfind(b"\r\n", 0, start)
            start = line + 2 if line >= 0 else start
        stop = min(len(data), start + draw(st.sampled_from([0, 0, 0, 1, 1, 2, 8])))
        data = data[:start] + draw(st.one_of(PIECES, st.just(b""))) + data[stop:]
    return data


def check(data: bytes, method: str) -> None:
    read = ours(data, method)
    if read is None or not read.whole:
        return
    theirs = by_h11(data, method)
    assert theirs is not None, "h11 refuses what we take"
    assert (read.status, read.body, read.whole) == (theirs.status, theirs.body, theirs.whole)
    # h11 never goes on with HTTP/1.0, whatever the server says.
    assert not read.keep or theirs.keep or b"HTTP/1.0" in data, "h11 would not use the connection again"
    for name in read.headers.keys() | theirs.headers.keys():
        assert name in _FRAMING or read.headers.get(name) == theirs.headers.get(name), name
    if method == "GET" and read.keep:
        llhttp = by_llhttp(data)
        if llhttp is not None and llhttp.whole:
            assert (llhttp.status, llhttp.body) == (read.status, read.body)


_FRAMING = {"content-length", "transfer-encoding"}
"""Each of them normalises these in its own way."""


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


@given(answers())
def test_well_formed_responses_are_accepted(data: bytes) -> None:
    read = ours(data, "GET")
    assert read is not None
    assert read.whole
    check(data, "GET")


@given(mutated(), st.sampled_from(["GET", "GET", "HEAD", "PUT"]))
def test_h11_reads_accepted_responses_in_the_same_way(data: bytes, method: str) -> None:
    check(data, method)


@pytest.mark.long
@pytest.mark.timeout(7200)
@settings(max_examples=200_000)
@given(mutated(), st.sampled_from(["GET", "GET", "HEAD", "PUT"]))
def test_h11_reads_many_accepted_responses_in_the_same_way(data: bytes, method: str) -> None:
    check(data, method)
