"""Reading and writing the documents of S3."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.seams.transports import PartInfo
from tests.seams.wire import keys_to_delete, listings, xml

NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><Error><Code>&b;</Code></Error>'


def listing(inner: str, *, encoded: bool = True, namespace: str = NAMESPACE) -> bytes:
    encoding = "<EncodingType>url</EncodingType>" if encoded else ""
    return f"<ListBucketResult {namespace}>{encoding}{inner}</ListBucketResult>".encode()


def contents(key: str, extra: str = "") -> str:
    return f"<Contents><Key>{key}</Key><Size>3</Size><ETag>&quot;e&quot;</ETag>{extra}</Contents>"


def test_an_error_document_is_parsed() -> None:
    error = xml.parse_error(
        b'<?xml version="1.0"?><Error><Code>AuthorizationHeaderMalformed</Code><Message>m</Message>'
        b"<Region>eu-west-1</Region><RequestId>r</RequestId></Error>"
    )
    assert error == ("AuthorizationHeaderMalformed", "m", "r", "eu-west-1")


@pytest.mark.parametrize(
    "body", [b"", b"<html><body>Bad Gateway</html>", b"\x00\xff", BOMB, BOMB.decode().encode("utf-16")]
)
def test_a_body_that_is_no_error_document_yields_an_empty_error(body: bytes) -> None:
    assert xml.parse_error(body) == xml.ErrorDocument()


def test_a_document_with_a_dtd_is_refused() -> None:
    with pytest.raises(xml.MalformedDocument):
        listings.parse_list(BOMB, "b")


@pytest.mark.parametrize("namespace", [NAMESPACE, ""])
def test_a_listing_is_parsed_with_and_without_a_namespace(namespace: str) -> None:
    body = listing(
        contents("a%2Bb", "<LastModified>2024-05-01T12:00:00.000Z</LastModified><StorageClass>GLACIER</StorageClass>")
        + contents("c")
        + "<CommonPrefixes><Prefix>d+e%2F</Prefix></CommonPrefixes>"
        + "<IsTruncated>true</IsTruncated><NextContinuationToken>t&amp;1</NextContinuationToken>",
        namespace=namespace,
    )
    page = listings.parse_list(body, "bucket")

    assert [(file.bucket, file.key, file.size, file.etag) for file in page.files] == [
        ("bucket", "a+b", 3, '"e"'),
        ("bucket", "c", 3, '"e"'),
    ]
    assert page.files[0].last_modified == datetime(2024, 5, 1, 12, tzinfo=UTC)
    assert [file.storage_class for file in page.files] == ["GLACIER", "STANDARD"]
    assert page.prefixes == ("d e/",)
    assert page.next_token == "t&1"


ENTRIES = st.lists(
    st.tuples(
        st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), min_size=1),
        st.sampled_from(
            [
                "",
                "",
                "",
                "<StorageClass>GLACIER</StorageClass>",
                "<Owner><ID>o</ID></Owner>",
                "<ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumAlgorithm>SHA1</ChecksumAlgorithm>",
                "<Owner/>",
                "<CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>",
                "</Contents>\n<Contents><Key>more</Key><Size>4</Size><ETag>e</ETag>",
                "<!-- </Contents> -->",
            ]
        ),
    ),
    max_size=6,
)


@given(ENTRIES, st.booleans(), st.sampled_from(["", "<IsTruncated>false</IsTruncated>", "<CommonPrefixes/>", "\n"]))
def test_the_fast_path_for_uniform_entries_reads_what_a_parser_reads(
    entries: list[tuple[str, str]], encoded: bool, end: str
) -> None:
    body = listing("".join(contents(escape(key), extra) for key, extra in entries) + end, encoded=encoded)
    page = listings.parse_list(body, "b")

    assert page == listings.parse_list(body.replace(b"<Contents>", b"<Contents >"), "b")
    assert len(page.files) == len(entries) + sum("more" in extra for _, extra in entries)


def test_keys_that_xml_cannot_hold_are_decoded() -> None:
    page = listings.parse_list(listing(contents("%01%02%EF%BF%BE") + contents("%E6%97%A5")), "b")
    assert [file.key for file in page.files] == ["\x01\x02\ufffe", "日"]


def test_keys_that_the_server_did_not_encode_are_not_decoded() -> None:
    page = listings.parse_list(listing(contents("100%25+x"), encoded=False), "b")
    assert page.files[0].key == "100%25+x"


def test_the_last_page_has_no_token() -> None:
    body = listing("<IsTruncated>false</IsTruncated><NextContinuationToken>x</NextContinuationToken>")
    assert listings.parse_list(body, "b").next_token is None


@pytest.mark.parametrize(
    ("inner", "whole"),
    [
        ("<IsTruncated>false</IsTruncated>", True),
        ("<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>", True),
        ("<IsTruncated>true</IsTruncated><NextContinuationToken>a&amp;b</NextContinuationToken>", False),
        ("", False),
    ],
)
def test_a_token_is_found_before_parsing_only_if_it_is_certain(inner: str, whole: bool) -> None:
    assert listings.is_whole_list(listing(inner)) is whole
    assert not listings.is_whole_list(listing(inner)[:-5])


def test_versions_and_markers_are_sorted_newest_first() -> None:
    def entry(kind: str, version: str, at: int, latest: str) -> str:
        return (
            f"<{kind}><Key>k</Key><VersionId>{version}</VersionId><IsLatest>{latest}</IsLatest>"
            f"<LastModified>2024-05-01T12:00:0{at}Z</LastModified></{kind}>"
        )

    body = (
        f"<ListVersionsResult {NAMESPACE}>{entry('Version', 'old', 1, 'false')}{entry('Version', 'mid', 2, 'false')}"
        f"{entry('DeleteMarker', 'new', 3, 'true')}<IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker>"
        "<NextVersionIdMarker>old</NextVersionIdMarker></ListVersionsResult>"
    )
    page = listings.parse_versions(body.encode())

    assert [(v.version_id, v.is_delete_marker) for v in page.versions] == [
        ("new", True),
        ("mid", False),
        ("old", False),
    ]
    assert (page.next_key, page.next_version) == ("k", "old")


@pytest.mark.parametrize(
    "parse", [xml.parse_written, xml.parse_deleted, listings.parse_versions, xml.parse_parts, xml.parse_uploads,
              xml.parse_upload_id, lambda body: listings.parse_list(body, "b")],
)  # fmt: skip
def test_an_error_in_a_200_is_found_after_leading_white_space(parse: Callable[[bytes], object]) -> None:
    with pytest.raises(xml.ErrorInstead):
        parse(b'\n\n   <?xml version="1.0"?>\n<Error><Code>InternalError</Code></Error>')


def test_the_error_of_one_key_does_not_fail_the_call() -> None:
    report = xml.parse_deleted(
        b"<DeleteResult><Deleted><Key>a</Key></Deleted>"
        b"<Error><Key>b</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>"
    )
    assert [outcome.key for outcome in report.deleted] == ["a"]
    assert [(failure.key, failure.s3_code) for failure in report.failed] == [("b", "AccessDenied")]


@pytest.mark.parametrize(
    "body",
    [
        b"<ListVersionsResult><IsTruncated>true</IsTruncated></ListVersionsResult>",
        b"<ListVersionsResult><Version><Key>k</Key><Size>-1</Size></Version></ListVersionsResult>",
        b"<html><body/></html>",
    ],
)
def test_an_inconsistent_document_is_refused(body: bytes) -> None:
    with pytest.raises(xml.MalformedDocument):
        listings.parse_versions(body)


@pytest.mark.parametrize("size", ["-1", "+1", "1_0", "\u0661", "1" * 20, " 1", "1e3", "NaN"])
@pytest.mark.parametrize("plain", [True, False])
def test_an_invalid_size_from_s3_is_refused(size: str, plain: bool) -> None:
    entry = f"<Contents><Key>k</Key><Size>{size}</Size>{'' if plain else '<Owner/>'}</Contents>"
    with pytest.raises(xml.MalformedDocument):
        listings.parse_list(listing(entry), "b")


def test_a_hostile_listing_is_scanned_once() -> None:
    # Quadratic work on this takes hours, linear work less than a second: the test's own timeout tells them apart.
    fields = "".join(f"<f{number}></f{number}>" for number in range(40_000))
    for body in (
        listing(f"<Contents><Key>k</Key>{fields}</Contents>"),
        listing("<Contents><Key>k</Key></Contents>" + "<Contents>" * 40_000 + "</Contents>" * 40_000),
        listing("<Contents>" + " " * 400_000 + "<Key>k</Key></Contents>"),
    ):
        with suppress(xml.MalformedDocument, KeyError):
            listings.parse_list(body, "b")
    xml.parse_written(b"<CopyObjectResult><ETag>e</ETag>" + b" " * 4_000_000 + b"<A>b</A></CopyObjectResult>")
    with pytest.raises(xml.MalformedDocument):
        xml.parse_written(b" " * 4_000_000 + b"<" + b"a" * 4_000_000)


def test_a_result_is_parsed_after_keep_alive_white_space() -> None:
    written = xml.parse_written(
        b'  \n<?xml version="1.0"?><CompleteMultipartUploadResult><ETag>e-2</ETag></CompleteMultipartUploadResult>'
    )
    assert written.etag == '"e-2"'


@pytest.mark.parametrize("etag", ["&quot;e&quot;", "&#34;e&#34;", '"e"', "&#x22;e&#x22;"])
@pytest.mark.parametrize("between", ["", "\n  "])
@pytest.mark.parametrize("start", ["", '<?xml version="1.0" encoding="UTF-8"?>\n'])
def test_the_result_of_a_copy_is_parsed_in_every_notation(start: str, between: str, etag: str) -> None:
    fields = (f"<LastModified>2024-05-01T12:00:00Z</LastModified>{between}", f"<ETag>{etag}</ETag>{between}")
    body = f"{start}<CopyObjectResult {NAMESPACE}>{between}{''.join(fields)}</CopyObjectResult>"

    written = xml.parse_written(body.encode())

    assert (written.etag, written.last_modified) == ('"e"', datetime(2024, 5, 1, 12, tzinfo=UTC))


@pytest.mark.parametrize(
    "body",
    [
        b"<R><ETag>e</ETag>",
        b"<R><ETag>e</Etag></R>",
        b"<R><ETag>e</ETag></S>",
        b"<R><ETag>\0</ETag></R>",
        b"<R><ETag>\xff</ETag></R>",
        b"<!DOCTYPE R><R><ETag>e</ETag></R>",
    ],
)
def test_a_result_that_is_not_xml_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        xml.parse_written(body)


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), min_size=1),
            st.none() | st.just("v<&>"),
        )
    )
)
def test_keys_to_delete_round_trip_through_xml(keys: list[tuple[str, str | None]]) -> None:
    assert keys_to_delete(xml.build_delete(keys)) == keys


def test_line_breaks_in_keys_survive() -> None:
    odd: list[tuple[str, str | None]] = [("a\rb\nc\td", None)]
    assert keys_to_delete(xml.build_delete(odd)) == odd


def test_an_upload_is_completed_with_checksums_if_every_part_has_one() -> None:
    parts = [PartInfo(1, '"a"', 5, {"crc32": "AAAA"}), PartInfo(2, '"b"', 5, {"crc32": "BBBB"})]
    with_checksums = xml.build_complete(parts, "crc32").decode()
    assert '<PartNumber>1</PartNumber><ETag>"a"</ETag><ChecksumCRC32>AAAA</ChecksumCRC32>' in with_checksums
    assert "Checksum" not in xml.build_complete(parts, None).decode()
