"""Our signatures equal those of botocore, for every kind of request."""

from __future__ import annotations

import datetime as dt
import hashlib
import time
from collections.abc import Callable
from unittest import mock
from urllib.parse import parse_qsl, quote, urlsplit

import botocore.auth
import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import example, given
from hypothesis import strategies as st

from apm_s3.errors import InvalidRequest
from apm_s3.models import Credentials
from tests.seams.wire import (
    EMPTY_SHA256,
    MAX_PRESIGN_SECONDS,
    SIGNED_CHUNKS,
    SIGNED_CHUNKS_TRAILER,
    UNSIGNED_CHUNKS_TRAILER,
    UNSIGNED_PAYLOAD,
    Signer,
    canonical_request,
    encode_path,
    encode_query,
)

REGION = "eu-central-1"
NOW = 1_700_000_000.5

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
keys = st.one_of(
    st.text(st.sampled_from("aZ09 +%&?#~^/.-_=:;@!$'()*,ü日\\|\"<>\n"), min_size=1, max_size=40),
    st.lists(st.sampled_from(["..", ".", "", "a", "b c"]), min_size=1, max_size=6).map("/".join).filter(bool),
    text.filter(bool),
)
names = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz0123456789-"), min_size=1, max_size=20)
values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)
headers = st.dictionaries(names.map("x-amz-meta-{}".format), values, max_size=5)
queries = st.dictionaries(text.filter(bool), text, max_size=4)
credentials = st.builds(
    Credentials,
    st.text(st.sampled_from("ABC012/"), min_size=1, max_size=20),
    st.text(st.sampled_from("abc012/+="), min_size=1, max_size=40),
    st.one_of(st.none(), st.text(st.sampled_from("abc/+="), min_size=1, max_size=60)),
)
methods = st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE"])


@pytest.fixture(scope="module", autouse=True)
def _frozen_clock():
    at = dt.datetime.fromtimestamp(int(NOW), dt.UTC).replace(tzinfo=None)
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=at):
        yield


def theirs(credentials: Credentials) -> ReadOnlyCredentials:
    return ReadOnlyCredentials(credentials.key_id, credentials.secret, credentials.token)


@example(Credentials("A", "a"), "GET", "^", {"^": "^"}, {}, b"")
@example(Credentials("A", "a"), "GET", "a", {}, {"x-amz-meta-a": "b "}, b"")
@example(Credentials("A", "a"), "GET", "a", {}, {"x-amz-meta-a": "b ", "x-amz-meta-b": "c"}, b"")
@example(Credentials("A", "a"), "GET", "a", {}, {"x-amz-meta-a": " b  c"}, b"")
@example(Credentials("A", "a"), "GET", "a", {}, {"x-amz-meta-a": "b\tc"}, b"")
@example(Credentials("A", "a"), "GET", "a", {}, {"x-amz-meta-a": "b  c"}, b"")
@example(Credentials("A", "a"), "GET", "a", {}, {"x-amz-meta-a": "b\u202fc"}, b"")
@given(credentials, methods, keys, queries, headers, st.one_of(st.just(b""), st.binary(max_size=50)))
def test_the_canonical_request_and_the_signature_equal_those_of_botocore(
    credentials: Credentials, method: str, key: str, query: dict[str, str], extra: dict[str, str], body: bytes
) -> None:
    path, encoded = f"/bucket/{encode_path(key)}", encode_query(query.items())
    request = AWSRequest(
        method, f"http://s3.example:9000{path}" + (f"?{encoded}" if encoded else ""), headers=extra, data=body
    )
    signer = S3SigV4Auth(theirs(credentials), "s3", REGION)
    signer.add_auth(request)
    ours = {"host": "s3.example:9000", **extra}
    payload_hash = hashlib.sha256(body).hexdigest()

    Signer().sign(credentials, REGION, method, path, encoded, ours, payload_hash, NOW)

    assert ours.pop("authorization") == request.headers["Authorization"]
    del request.headers["Authorization"]
    assert canonical_request(method, path, encoded, ours, payload_hash)[0] == signer.canonical_request(request)


@given(credentials, st.sampled_from(["GET", "PUT", "HEAD"]), keys, headers, st.integers(1, 604_800))
def test_presigned_urls_have_the_signature_of_botocore(
    credentials: Credentials, method: str, key: str, extra: dict[str, str], expires_in: int
) -> None:
    path = f"/bucket/{encode_path(key)}"
    request = AWSRequest(method, f"http://s3.example:9000{path}?versionId=v%2B1", headers=extra)
    S3SigV4QueryAuth(theirs(credentials), "s3", REGION, expires=expires_in).add_auth(request)

    query = Signer().presign(
        credentials, REGION, method, path, [("versionId", "v+1")], {"host": "s3.example:9000", **extra}, expires_in, NOW
    )

    # The order in the URL is free; what is signed is sorted by both.
    assert sorted(parse_qsl(query)) == sorted(parse_qsl(urlsplit(request.url).query))


@given(keys)
def test_paths_are_encoded_once_and_never_normalised(key: str) -> None:
    assert encode_path(key) == quote(key, safe="/~")


def test_everything_but_unreserved_characters_is_encoded() -> None:
    assert encode_path("/b/a^ ~*") == "/b/a%5E%20~%2A"
    assert encode_query([("a^/", "~ *^")]) == "a%5E%2F=~%20%2A%5E"


def test_cached_signing_keys_of_other_days_regions_and_secrets_are_not_mixed_up() -> None:
    signer = Signer()

    def signature(secret: str, region: str, now: float) -> str:
        signed = {"host": "h"}
        signer.sign(Credentials("k", secret), region, "GET", "/", "", signed, EMPTY_SHA256, now)
        return signed["authorization"]

    cases = [("a", "r", NOW), ("b", "r", NOW), ("a", "s", NOW), ("a", "r", NOW + 86_400)]
    assert len({signature(*case) for case in cases}) == 4
    assert [signature(*case) for case in cases] == [signature(*case) for case in cases]


def test_no_more_than_64_signing_keys_are_cached() -> None:
    signer, most = Signer(), 0
    for number in range(200):
        signer.sign(Credentials("k", "s"), f"r{number}", "GET", "/", "", {"host": "h"}, EMPTY_SHA256, NOW)
        most = max(most, len(signer._keys))

    assert most == 64


def test_the_date_is_formatted_once_a_second() -> None:
    signer = Signer()
    with mock.patch.object(time, "strftime", wraps=time.strftime) as formatted:
        for now in (NOW, NOW + 0.4, NOW + 0.5):
            signer.sign(AWS_EXAMPLE, REGION, "GET", "/", "", {"host": "h"}, EMPTY_SHA256, now)

    assert formatted.call_count == 2


AWS_EXAMPLE = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
AWS_EXAMPLE_TIME = dt.datetime(2013, 5, 24, tzinfo=dt.UTC).timestamp()


def test_chunks_are_signed_as_in_the_example_of_the_s3_documentation() -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html"""
    signed = {
        "host": "s3.amazonaws.com",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
        "content-encoding": "aws-chunked",
        "x-amz-decoded-content-length": "66560",
        "content-length": "66824",
    }
    path = "/examplebucket/chunkObject.txt"
    chunks = Signer().sign(AWS_EXAMPLE, "us-east-1", "PUT", path, "", signed, SIGNED_CHUNKS, AWS_EXAMPLE_TIME)

    assert chunks is not None
    assert signed["authorization"].endswith("4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9")
    assert chunks.chunk(b"a" * 65_536) == "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"
    assert chunks.chunk(b"a" * 1024) == "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"
    assert chunks.chunk(b"") == "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"


def test_trailers_are_signed_as_in_the_example_of_the_s3_documentation() -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html"""
    signed = {
        "host": "s3.amazonaws.com",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
        "content-encoding": "aws-chunked",
        "x-amz-decoded-content-length": "66560",
        "x-amz-trailer": "x-amz-checksum-crc32c",
    }
    path = "/examplebucket/chunkObject.txt"
    chunks = Signer().sign(AWS_EXAMPLE, "us-east-1", "PUT", path, "", signed, SIGNED_CHUNKS_TRAILER, AWS_EXAMPLE_TIME)

    assert chunks is not None
    assert signed["authorization"].endswith("106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e")
    assert chunks.chunk(b"a" * 65_536) == "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2"
    assert chunks.chunk(b"a" * 1024) == "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7"
    assert chunks.chunk(b"") == "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992"
    trailer = chunks.trailer(b"x-amz-checksum-crc32c:sOO8/Q==\n")
    assert trailer == "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"


@pytest.mark.parametrize("encode", [encode_path, lambda text: encode_query([("a", text)])])
def test_text_that_is_not_unicode_is_refused(encode: Callable[[str], str]) -> None:
    with pytest.raises(InvalidRequest, match="not valid Unicode"):
        encode("a\ud800")


def test_a_body_without_a_known_hash_is_signed_under_the_names_of_the_s3_documentation() -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html"""
    assert UNSIGNED_PAYLOAD == "UNSIGNED-PAYLOAD"
    assert UNSIGNED_CHUNKS_TRAILER == "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    assert SIGNED_CHUNKS == "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    assert SIGNED_CHUNKS_TRAILER == "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"


def test_presigned_urls_are_valid_for_a_week_at_most() -> None:
    assert MAX_PRESIGN_SECONDS == 604_800


def test_only_streams_with_signed_chunks_get_a_chunk_signer() -> None:
    assert Signer().sign(AWS_EXAMPLE, REGION, "PUT", "/", "", {"host": "h"}, UNSIGNED_PAYLOAD, NOW) is None


def test_no_repr_shows_a_secret() -> None:
    assert "wJalr" not in repr(AWS_EXAMPLE)
