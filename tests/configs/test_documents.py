import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from apm_s3.configs._models import Current, Deployed, FileEntry, Freeze, Origin, Release, ReleaseRef, ToolState
from apm_s3.configs._protocol.documents import decode_current, decode_release, encode_current, encode_release
from apm_s3.errors import FormatTooNew, StoreDamaged

REF = ReleaseRef(3, "configs/production/loki/releases/00000003-production.0011.json", "ab" * 32)
CURRENT = Current(
    sequence=7,
    writers=("production.aa", "production.bb"),
    home="bucket",
    freeze=Freeze("incident", None, datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)),
    tools={"loki": ToolState(REF, None, REF, 2)},
)
RELEASE = Release(
    tool="loki",
    environment="production",
    revision=4,
    parent=REF,
    write_id="production.cc",
    author="Ada",
    message="Grüße",
    created_at=datetime(2026, 1, 2, tzinfo=UTC),
    origin=Origin("deploy", "staging", 9),
    files={"loki.yaml": FileEntry(5, "cd" * 32, f"{'cd' * 32}-production.cc", "gzip")},
    warnings=("careful",),
    deployed=Deployed(4, "d1", "staging", 9, "d2"),
)


def test_current_comes_back_from_its_bytes() -> None:
    assert decode_current(encode_current(CURRENT), where="here") == CURRENT


def test_a_release_comes_back_from_its_bytes() -> None:
    decoded = decode_release(encode_release(RELEASE), key="k", where="here")

    assert decoded == RELEASE
    assert decoded.ref is not None
    assert decoded.ref.key == "k"


def test_a_newer_format_is_refused_whatever_else_it_holds() -> None:
    body = json.dumps({"kind": "apm-s3/environment", "format": 2, "anything": []}).encode()

    with pytest.raises(FormatTooNew, match="format 2"):
        decode_current(body, where="here")


@pytest.mark.parametrize("change", [
    {"format": None}, {"format": True}, {"format": "1"}, {"format": 0}, {"kind": "else"}, {"sequence": -1},
    {"sequence": True}, {"writers": "x"}, {"writers": [1]}, {"writers": ["x"] * 65}, {"home": None}, {"tools": []},
    {"tools": {"loki": {}}}, {"tools": {"loki": None}}, {"surprise": 1}, {"freeze": {"reason": "x"}},
])  # fmt: skip
def test_a_reference_document_of_another_shape_is_damage(change: dict[str, object]) -> None:
    body = json.dumps({**json.loads(encode_current(CURRENT)), **change}).encode()

    with pytest.raises(StoreDamaged):
        decode_current(body, where="here")


@pytest.mark.parametrize("change", [
    {"revision": 0}, {"revision": "4"}, {"created_at": "yesterday"}, {"created_at": "2026-01-02T00:00:00"},
    {"files": {"../x": {"size": 1, "sha256": "", "blob": "", "encoding": "identity"}}},
    {"files": {"x": {"size": 1, "sha256": "", "blob": "../../secret", "encoding": "identity"}}},
    {"files": {"x": {"size": 1, "sha256": "", "blob": f"{'cd' * 32}-a", "encoding": "lzma"}}},
    {"origin": {}}, {"deployed": {}}, {"parent": {"revision": 1}},
])  # fmt: skip
def test_a_release_of_another_shape_is_damage(change: dict[str, object]) -> None:
    body = json.dumps({**json.loads(encode_release(RELEASE)), **change}).encode()

    with pytest.raises(StoreDamaged):
        decode_release(body, key="k", where="here")


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"[" * 100_000, b"null"])
def test_what_is_no_json_object_is_damage(body: bytes) -> None:
    with pytest.raises(StoreDamaged):
        decode_current(body, where="here")


def test_equal_files_have_equal_digests() -> None:
    other = replace(RELEASE, revision=9, message="")

    assert other.digest == RELEASE.digest
    assert replace(other, files={}).digest != RELEASE.digest
