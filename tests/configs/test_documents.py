import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from apm_s3.configs import Damage, Deployed, FileEntry, Freeze, Origin, Release, ReleaseRef
from apm_s3.errors import FormatTooNew, InvalidKey, StoreDamaged
from tests.seams.store import (
    FORMAT,
    Current,
    Log,
    LogRef,
    ToolState,
    decode_current,
    decode_release,
    encode_current,
    encode_release,
    keys,
    know_features,
)

WRITE = "production." + "cc" * 10
FOLDER = "configs/production/loki/releases/"
REF = ReleaseRef(3, f"{FOLDER}00000003-production.{'11' * 10}.json", "ab" * 32)
KEY = f"{FOLDER}00000004-{WRITE}.json"
CURRENT = Current(
    sequence=7,
    earlier=("production." + "aa" * 10,),
    home="bucket",
    freeze=Freeze("incident", None, datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)),
    tools={"loki": ToolState(REF, None, REF, 2)},
    log=Log(
        (
            {"seq": 6, "id": "production." + "bb" * 10, "at": "2026-01-02T03:04:05Z", "action": "thaw", "prev": None},
            {"seq": 7, "id": WRITE, "at": "2026-01-02T03:04:06Z", "action": "freeze", "prev": "ee" * 32},
        ),
        LogRef(0, 5, f"configs/production/log/{5:016d}-production.{'22' * 10}.json", "ab" * 32),
    ),
)
DAMAGED_FILES = Damage(3, 3, "files")
RELEASE = Release(
    tool="loki",
    environment="production",
    revision=4,
    parent=REF,
    write_id=WRITE,
    author="Ada",
    message="Grüße",
    created_at=datetime(2026, 1, 2, tzinfo=UTC),
    origin=Origin("deploy", "staging", 9, bucket="other", backup="backups/staging/1/", plan="p1"),
    files={"loki.yaml": FileEntry(5, "cd" * 32, f"{'cd' * 32}-{WRITE}", "gzip")},
    warnings=("careful",),
    deployed=Deployed(4, "d1", "staging", 9, "d2"),
)


DAMAGED = replace(
    CURRENT, tools={"loki": ToolState(REF, None, REF, 2, (Damage(1, 2, "documents", None), DAMAGED_FILES))}
)
LOKI = json.loads(encode_current(DAMAGED))["tools"]["loki"]
DAMAGE = LOKI["damaged"][0]


@pytest.mark.parametrize("current", [CURRENT, DAMAGED])
def test_a_reference_document_round_trips(current: Current) -> None:
    assert decode_current(encode_current(current), environment="production", where="here") == current


def test_a_release_round_trips() -> None:
    decoded = decode_release(encode_release(RELEASE), key=KEY, where="here")

    assert decoded == RELEASE
    assert decoded.ref is not None
    assert decoded.ref.key == KEY


def test_a_release_of_the_time_when_only_sentences_were_stored_tells_which_are_about_secrets() -> None:
    sentences = ["a.yml:2: a problem (enum)", "a.yml:3: key: password in plain text", "... and 2 more"]
    old = {**json.loads(encode_release(RELEASE)), "warnings": sentences}

    decoded = decode_release(json.dumps(old).encode(), key=KEY, where="here")
    written = json.loads(encode_release(decoded))

    assert "secrets" not in old
    assert (written["warnings"], written["secrets"]) == (sentences, {"a.yml": [1]})


def test_which_warnings_are_about_secrets_is_read_from_their_places_and_not_their_words() -> None:
    new = {**json.loads(encode_release(RELEASE)), "warnings": ["one", "two", "three"], "secrets": {"a.yml": [0, 2]}}

    decoded = decode_release(json.dumps(new).encode(), key=KEY, where="here")

    assert json.loads(encode_release(decoded))["secrets"] == {"a.yml": [0, 2]}


def test_a_newer_format_is_refused_whatever_else_the_document_contains() -> None:
    body = json.dumps({"kind": "apm-s3/environment", "format": FORMAT + 1, "anything": []}).encode()

    with pytest.raises(FormatTooNew, match=f"format {FORMAT + 1}"):
        decode_current(body, environment="production", where="here")


@pytest.mark.parametrize(("needs", "told"), [("0.9.1", "apm_s3 0.9.1 or later reads it"), ("x\n", "upgrade apm_s3")])
def test_the_refusal_of_a_newer_format_names_the_version_that_reads_it(needs: str, told: str) -> None:
    body = json.dumps({"kind": "apm-s3/environment", "format": FORMAT + 1, "needs": needs}).encode()

    with pytest.raises(FormatTooNew) as refused:
        decode_current(body, environment="production", where="here")

    assert told in (refused.value.hint or "")


def test_a_required_feature_that_is_not_supported_is_refused() -> None:
    document = {**json.loads(encode_current(CURRENT)), "features": {"sealed": "0.7.0", "split": "0.10.0"}}

    with pytest.raises(FormatTooNew, match="sealed, split") as refused:
        decode_current(json.dumps(document).encode(), environment="production", where="here")

    assert "apm_s3 0.10.0 or later reads it" in (refused.value.hint or "")


def test_a_supported_feature_is_written_back(monkeypatch: pytest.MonkeyPatch) -> None:
    know_features(monkeypatch, "sealed")
    document = {**json.loads(encode_current(CURRENT)), "features": {"sealed": "0.7.0"}}

    current = decode_current(json.dumps(document).encode(), environment="production", where="here")

    assert json.loads(encode_current(replace(current, sequence=8)))["features"] == {"sealed": "0.7.0"}


def test_unknown_fields_of_the_reference_document_are_written_back_at_every_depth() -> None:
    document = json.loads(encode_current(CURRENT))
    document["surprise"] = [1, {"a": None}]
    document["freeze"]["until"] = "2027-01-01"
    document["tools"]["loki"]["pinned"] = True
    document["tools"]["loki"]["release"]["size"] = 7

    current = decode_current(json.dumps(document).encode(), environment="production", where="here")

    assert json.loads(encode_current(current)) == document


def test_unknown_fields_that_cannot_be_written_back_count_as_damage() -> None:
    body = encode_current(CURRENT).replace(b'"sequence"', b'"odd":"\\ud800","sequence"')

    with pytest.raises(StoreDamaged):
        encode_current(decode_current(body, environment="production", where="here"))


@pytest.mark.parametrize("change", [
    {"format": None}, {"format": True}, {"format": "1"}, {"format": 0}, {"kind": "else"}, {"sequence": -1},
    {"sequence": True}, {"writers": "x"}, {"writers": [1]}, {"writers": ["x"] * 65}, {"home": None}, {"tools": []},
    {"tools": {"loki": {}}}, {"tools": {"loki": None}}, {"log": None}, {"log": {}}, {"log": {"oldest": 0, "entries": [{}]}},
    {"log": {"oldest": 0, "entries": [{"seq": 6, "id": "x"}]}}, {"log": {"oldest": 0, "entries": [{"seq": True}]}},
    {"log": {"oldest": 0, "entries": [], "stored": {"first": 0, "last": 3, "key": "elsewhere", "sha256": ""}}},
    {"features": []}, {"features": {"x": 1}}, {"freeze": {"reason": "x"}},
    {"tools": {"loki": {**LOKI, "damaged": [{**DAMAGE, "lost": "else"}]}}},
    {"tools": {"loki": {**LOKI, "damaged": [{**DAMAGE, "first": 0}]}}},
])  # fmt: skip
def test_a_malformed_reference_document_is_damage(change: dict[str, object]) -> None:
    body = json.dumps({**json.loads(encode_current(CURRENT)), **change}).encode()

    with pytest.raises(StoreDamaged):
        decode_current(body, environment="production", where="here")


@pytest.mark.parametrize("change", [
    {"revision": 0}, {"revision": "4"}, {"created_at": "yesterday"}, {"created_at": "2026-01-02T00:00:00"},
    {"files": {"../x": {"size": 1, "sha256": "", "blob": "", "encoding": "identity"}}},
    {"files": {"x": {"size": 1, "sha256": "", "blob": "../../secret", "encoding": "identity"}}},
    {"files": {"x": {"size": 1, "sha256": "", "blob": f"{'cd' * 32}-a", "encoding": "lzma"}}},
    {"origin": {}}, {"deployed": {}}, {"parent": {"revision": 1}},
    {"secrets": {"x": [1]}}, {"secrets": {"x": [-1]}}, {"secrets": {"x": ["0"]}}, {"secrets": {"x": 0}}, {"secrets": [0]},
])  # fmt: skip
def test_a_malformed_release_is_damage(change: dict[str, object]) -> None:
    body = json.dumps({**json.loads(encode_release(RELEASE)), **change}).encode()

    with pytest.raises(StoreDamaged):
        decode_release(body, key=KEY, where="here")


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"[" * 100_000, b"null"])
def test_a_document_that_is_not_a_json_object_is_damage(body: bytes) -> None:
    with pytest.raises(StoreDamaged):
        decode_current(body, environment="production", where="here")


def test_equal_files_have_equal_digests() -> None:
    other = replace(RELEASE, revision=9, message="")

    assert other.digest == RELEASE.digest
    assert replace(other, files={}).digest != RELEASE.digest


@pytest.mark.parametrize("prefix", ["", "team-a/", "a/b/"])
def test_a_prefix_is_empty_or_a_folder(prefix: str) -> None:
    assert keys.check_prefix(prefix) == prefix


@pytest.mark.parametrize("prefix", ["a", "/", "/a/", "../", "a//", "a/../b/", "a\\b/", "a\n/"])
def test_a_prefix_that_leads_elsewhere_is_refused(prefix: str) -> None:
    with pytest.raises(InvalidKey):
        keys.check_prefix(prefix)


def test_a_prefix_leaves_room_for_the_keys_below_it() -> None:
    longest = "a/" * (keys.MAX_PREFIX // 2)

    assert keys.check_prefix(longest) == longest
    with pytest.raises(InvalidKey, match=f"more than {keys.MAX_PREFIX} bytes"):
        keys.check_prefix(longest + "a/")


RELEASE_NAME, BLOB_NAME, PART_NAME = f"00000004-{WRITE}.json", f"{'ab' * 32}-{WRITE}", f"{5:016d}-{WRITE}.json"


@pytest.mark.parametrize(
    ("key", "own"),
    [
        (f"configs/production/loki/releases/{RELEASE_NAME}", True),
        (f"configs/production/loki/blobs/{BLOB_NAME}", True),
        (f"configs/production/log/{PART_NAME}", True),
        (f"configs/production/loki/releases/{BLOB_NAME}", False),
        (f"configs/production/loki/blobs/{RELEASE_NAME}", False),
        (f"configs/production/loki/mine/{BLOB_NAME}", False),
        (f"configs/production/loki/mine/{RELEASE_NAME}", False),
        (f"configs/production/loki/blobs/deep/{BLOB_NAME}", False),
        (f"configs/production/blobs/{BLOB_NAME}", False),
        (f"configs/production/log/{RELEASE_NAME}", False),
        (f"configs/production/mine/{PART_NAME}", False),
        ("configs/production/loki/releases/notes.txt", False),
        ("configs/production/loki/blobs/notes.txt", False),
        ("configs/production/current.json", False),
    ],
)
def test_only_what_a_store_writes_is_its_own(key: str, own: bool) -> None:
    assert keys.is_own(key) is own


def test_the_key_of_a_release_says_what_it_is_of() -> None:
    parsed = ("production", "loki", 4, WRITE)
    assert keys.parse_release_key(f"configs/production/loki/releases/{RELEASE_NAME}") == parsed
    for other in ("live/production/loki/releases", "configs/production/loki/blobs", "configs/production/releases"):
        assert keys.parse_release_key(f"{other}/{RELEASE_NAME}") is None
    assert keys.parse_release_key("configs/production/loki/releases/notes.txt") is None
