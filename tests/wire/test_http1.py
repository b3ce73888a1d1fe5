"""HTTP/1.1 for a client: heads, and the ends of bodies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.seams.wire import MAX_HEAD, REMEMBERED_NAMES, Chunks, MalformedResponse, parse_head, request_head


def framing(lines: str, method: str = "GET", status: str = "HTTP/1.1 200 OK") -> tuple[int | None, bool, bool]:
    head = parse_head("\r\n".join([status, *lines.split("\n")] if lines else [status]).encode(), method)
    return head.length, head.chunked, head.keep


def test_a_request_head_starts_with_the_request_line_and_ends_with_an_empty_line() -> None:
    head = request_head("GET", "/b/k?a=b", {"host": "h", "x-amz-meta-name": "ä"})
    assert head.startswith("GET /b/k?a=b HTTP/1.1\r\nhost: h\r\nx-amz-meta-name: ä\r\n".encode())
    assert head.endswith(b"\r\n\r\n")
    assert head.count(b"\r\n\r\n") == 1


@pytest.mark.parametrize("value", ["a\r\nx: y", "a\nb", "a\rb", "a\0b"])
def test_a_header_value_cannot_inject_another_header(value: str) -> None:
    with pytest.raises(ValueError, match="x-amz-meta-name"):
        request_head("GET", "/", {"host": "h", "x-amz-meta-name": value})


def test_the_head_of_a_response_is_parsed() -> None:
    head = parse_head(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nX-Amz-Meta-A:  b c \r\nVary: a\r\nvary: b\r\nEmpty:', "GET")
    assert head.status == 200
    assert head.headers == {"etag": '"e"', "x-amz-meta-a": "b c", "vary": "a, b", "empty": ""}


@pytest.mark.parametrize("status", ["HTTP/1.1 204", "HTTP/1.0 204 No Content", "HTTP/1.1 204 "])
def test_a_status_line_needs_no_reason_phrase(status: str) -> None:
    assert parse_head(status.encode(), "GET").status == 204


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/2 200 OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000 OK",
        b"SSH-2.0-OpenSSH_9.2",
        b"HTTP/1.1 200 OK\r\nno colon",
        b"HTTP/1.1 200 OK\r\n: value",
        b"HTTP/1.1 200 OK\r\nname : value",
        b"HTTP/1.1 200 OK\r\na: b\r\n folded",
        b"HTTP/1.1 200 OK\r\na: b\nc: d",
        b"HTTP/1.1 200 OK\r\na: b\rc: d",
        b"HTTP/1.1 200 OK\r\na: \0",
        b"HTTP/1.1 200 OK\r\na: \x7f",
        "HTTP/1.1 200 OK\r\na: ü\x01".encode(),
        b"HTTP/1.1 200 OK\r\ncontent-length: -1",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1_0",
        b"HTTP/1.1 200 OK\r\ncontent-length: +1",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1, 2",
        "HTTP/1.1 200 OK\r\ncontent-length: ٣".encode(),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked",
    ],
)
def test_invalid_responses_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedResponse):
        parse_head(data, "GET")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("content-length: 5", (5, False, True)),
        ("content-length: 5, 5", (5, False, True)),
        ("content-length: 5\nconnection: close", (5, False, False)),
        ("content-length: 5\nconnection: x-mine", (5, False, True)),
        ("transfer-encoding: Chunked", (None, True, True)),
        ("transfer-encoding: chunked\ncontent-length: 5", (None, True, False)),
        ("", (None, False, False)),
    ],
)
def test_headers_decide_where_a_body_ends_and_whether_the_connection_is_reused(
    lines: str, expected: tuple[int | None, bool, bool]
) -> None:
    assert framing(lines) == expected


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", 200), ("GET", 199), ("GET", 204), ("GET", 304), ("CONNECT", 200), ("CONNECT", 299)]
)
def test_some_responses_never_have_a_body(method: str, status: int) -> None:
    assert framing("content-length: 5", method, f"HTTP/1.1 {status} x")[0] == 0


@pytest.mark.parametrize(
    ("method", "status"), [("GET", 200), ("GET", 203), ("GET", 303), ("CONNECT", 300), ("CONNECT", 407)]
)
def test_any_other_response_has_the_body_that_its_headers_promise(method: str, status: int) -> None:
    assert framing("content-length: 5", method, f"HTTP/1.1 {status} x")[0] == 5


def test_equal_lengths_become_one() -> None:
    assert parse_head(b"HTTP/1.1 200 OK\r\ncontent-length: 5, 5", "GET").headers == {"content-length": "5"}


@pytest.mark.parametrize("more", ["", "\r\nx-odd: \t"])
def test_only_spaces_and_tabs_around_a_value_are_not_part_of_it(more: str) -> None:
    data = f"HTTP/1.1 200 OK\r\nx-one: \t~a~\t \r\nx-two: \xa0b\xa0{more}".encode()

    # The names are known the second time.
    for _ in range(2):
        headers = parse_head(data, "GET").headers
        assert (headers["x-one"], headers["x-two"]) == ("~a~", "\xa0b\xa0")


def test_a_length_has_up_to_19_digits() -> None:
    assert framing("content-length: " + "9" * 19)[0] == 10**19 - 1
    with pytest.raises(MalformedResponse):
        framing("content-length: " + "9" * 20)


def test_a_thousand_names_of_up_to_64_characters_are_remembered() -> None:
    most = 0
    for number in range(2500):
        name, long = f"x-{number:062}", f"x-{number:063}"
        assert list(parse_head(f"HTTP/1.1 200 OK\r\n{name}: a\r\n{long}: b".encode(), "GET").headers) == [name, long]
        assert name in REMEMBERED_NAMES
        assert long not in REMEMBERED_NAMES
        most = max(most, len(REMEMBERED_NAMES))
    assert most == 1000


@pytest.mark.parametrize("value", [b"\xc3\xbc\tx", b"\xfc\tx"], ids=["UTF-8", "Latin-1"])
def test_headers_may_have_tabs_and_be_utf_8_or_latin_1(value: bytes) -> None:
    head = parse_head(b"HTTP/1.1 200 OK\r\nx-amz-meta-a:\t" + value, "GET")

    assert head.headers == {"x-amz-meta-a": "ü\tx"}


def test_an_http_1_0_connection_is_kept_alive_only_on_request() -> None:
    assert not framing("content-length: 5", status="HTTP/1.0 200 OK")[2]
    assert not framing("content-length: 5\nconnection: x-mine", status="HTTP/1.0 200 OK")[2]
    assert not framing("transfer-encoding: chunked\nconnection: keep-alive", status="HTTP/1.0 200 OK")[2]
    assert framing("content-length: 5\nconnection: Keep-Alive", status="HTTP/1.0 200 OK")[2]


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=20), max_size=5),
    extension=st.sampled_from([b"", b";name=value", b" ;chunk-signature=0\xff"]),
    trailer=st.sampled_from([b"", b"x-amz-checksum-crc32: AAAAAA==\r\n"]),
    rest=st.binary(max_size=5),
    data=st.data(),
)
def test_chunks_are_decoded_however_the_bytes_arrive(
    pieces: list[bytes], extension: bytes, trailer: bytes, rest: bytes, data: st.DataObject
) -> None:
    text = b"".join(b"%X%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces)
    text += b"0\r\n" + trailer + b"\r\n" + rest
    end = len(text) - len(rest)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    chunks, found, left = Chunks(), b"", b""
    for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True):
        assert chunks.ended == (start >= end)
        if chunks.ended:
            left += text[start:stop]
            continue
        found += b"".join(chunks.feed(text[start:stop]))
        left += chunks.rest
    assert found == b"".join(pieces)
    assert chunks.ended
    assert left == rest


def test_a_line_between_chunks_has_up_to_64_kib() -> None:
    line = b"1;" + b"a" * (64 * 1024 - 4) + b"\r\n"
    for pieces in ([line], [line[:-1], line[-1:]]):
        chunks = Chunks()
        for piece in pieces:
            chunks.feed(piece)
        assert chunks.feed(b"x\r\n0\r\n\r\n") == [b"x"]
    with pytest.raises(MalformedResponse):
        Chunks().feed(b"1;a" + line[2:])


def test_a_trailer_has_up_to_64_kib() -> None:
    half = b"a: " + b"b" * (32 * 1024 - 3)
    chunks = Chunks()
    chunks.feed(b"0\r\n" + half + b"\r\n" + half + b"\r\n\r\n")

    assert chunks.ended
    with pytest.raises(MalformedResponse):
        Chunks().feed(b"0\r\n" + half + b"\r\n" + half + b"b\r\n")


@pytest.mark.parametrize(
    "data",
    [
        b"x\r\n",
        b"\r\n",
        b"-1\r\n",
        b"0x5\r\n",
        b"5\n",
        b"1\r\nab\r\n",
        b"1\r\na\n",
        b"1" * 17 + b"\r\n",
        b"1" * (MAX_HEAD + 1),
        b"0\r\ncontent-length: 5\r\n\r\n",
        b"0\r\na: b\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"0\r\n" + b"a: b\r\n" * (MAX_HEAD // 4 + 1),
    ],
)
def test_invalid_chunks_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedResponse):
        Chunks().feed(data)
