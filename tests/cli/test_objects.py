"""`apm-s3 object ...`, piped and on a terminal."""

from __future__ import annotations

import hashlib

import pytest

from tests.cli.kit import Shell


@pytest.fixture
def place(shell: Shell) -> str:
    """The shell's bucket."""
    return f"s3://{shell.environ['APM_S3_BUCKET']}"


@pytest.fixture
def filled(shell: Shell, place: str) -> str:
    """`place` with the objects "b" and "team/a.txt", and the file they were made from in the directory."""
    (shell.directory / "a.txt").write_bytes(b"hello\n")
    for target in ("b", "team/"):
        shell.ok("object", "put", "a.txt", f"{place}/{target}")
    return place


def test_an_object_is_put_under_a_key_or_into_a_folder(shell: Shell, place: str) -> None:
    (shell.directory / "a.txt").write_bytes(b"hello\n")

    put = shell.terminal("object", "put", "a.txt", f"{place}/team/", "--metadata", "by=me")

    assert (put.status, f"put {place}/team/a.txt (6 bytes)" in put.plain) == (0, True)
    assert shell.json("object", "put", "a.txt", f"{place}/b")["key"] == "b"


def test_objects_are_listed_by_folder_or_all(shell: Shell, filled: str) -> None:
    listed = shell.json("object", "ls", filled)

    assert ([each["key"] for each in listed["objects"]], listed["folders"]) == (["b"], ["team/"])
    assert "team/a.txt" in shell.terminal("object", "ls", f"{filled}/team", "--recursive").plain


def test_an_object_is_printed(shell: Shell, filled: str) -> None:
    there = f"{filled}/team/a.txt"

    assert shell.ok("object", "cat", there) == shell.terminal("object", "cat", there).plain == "hello\n"
    assert shell.json("object", "cat", there)["text"] == "hello\n"


def test_an_object_is_got_into_a_file(shell: Shell, filled: str) -> None:
    got = shell.terminal("object", "get", f"{filled}/team/a.txt", "copy.txt")

    assert (got.status, "got copy.txt (6 bytes)" in got.plain) == (0, True)
    assert (shell.directory / "copy.txt").read_bytes() == b"hello\n"
    assert shell.json("object", "get", f"{filled}/b")["path"] == "b"


def test_objects_are_deleted_after_a_question(shell: Shell, filled: str) -> None:
    removed = shell.terminal("object", "rm", f"{filled}/b", typed="y\n")

    assert (removed.status, f"deleted {filled}/b" in removed.plain) == (0, True)
    assert shell("object", "cat", f"{filled}/b").status == 1
    assert shell.json("object", "rm", f"{filled}/team/", "--recursive", "--yes")["deleted"] == 1


def test_binary_content_is_printed_byte_for_byte_and_as_base64_in_json(shell: Shell, place: str) -> None:
    (shell.directory / "a").write_bytes(b"\xff\x00")
    shell.ok("object", "put", "a", f"{place}/a")

    assert shell.json("object", "cat", f"{place}/a")["base64"] == "/wA="


def test_objects_are_copied_and_moved_in_s3_and_from_and_to_files(shell: Shell, place: str) -> None:
    (shell.directory / "a").write_bytes(b"1")

    shell.ok("object", "cp", "a", f"{place}/a")
    assert shell.json("object", "cp", f"{place}/a", f"{place}/b/")["key"] == "b/a"
    assert "moved" in shell.terminal("object", "mv", f"{place}/b/a", f"{place}/c").plain
    shell.ok("object", "cp", f"{place}/c", "back")
    assert (shell.directory / "back").read_bytes() == b"1"
    assert [each["key"] for each in shell.json("object", "ls", place)["objects"]] == ["a", "c"]
    assert shell("object", "cp", "a", "b").status == 2


def test_no_object_is_replaced_with_no_clobber(shell: Shell, place: str) -> None:
    shell.ok("object", "put", "-", f"{place}/a", typed="old")

    refused = shell("object", "put", "-", f"{place}/a", "--no-clobber", typed="new")

    assert refused.status == 4
    assert shell.ok("object", "cat", f"{place}/a") == "old"


@pytest.mark.parametrize(
    "arguments",
    [
        ["put", "a", "{place}/new"],
        ["get", "{place}/a", "new"],
        ["cp", "{place}/a", "{place}/new"],
        ["cp", "{place}/a", "new"],
        ["cp", "a", "{place}/new"],
        ["mv", "{place}/a", "{place}/new"],
        ["rm", "{place}/a"],
        ["rm", "{place}/a", "--recursive"],
        ["sync", ".", "{place}/new"],
    ],
)
def test_a_dry_run_changes_nothing(arguments: list[str], shell: Shell, place: str) -> None:
    (shell.directory / "a").write_bytes(b"1")
    shell.ok("object", "put", "a", f"{place}/a")
    arguments = [each.format(place=place) for each in arguments]

    shell.json("object", *arguments, "--dry-run")
    assert shell.ok("object", *arguments, "--dry-run")

    assert [each["key"] for each in shell.json("object", "ls", place, "-r")["objects"]] == ["a"]
    assert [path.name for path in shell.directory.iterdir()] == ["a"]


def test_old_versions_are_listed_read_and_deleted(moto_shell: Shell) -> None:
    shell, place = moto_shell, f"s3://{moto_shell.environ['APM_S3_BUCKET']}"
    shell.ok("bucket", "ensure", place.removeprefix("s3://"), "--versioning")
    for text in ("old", "new"):
        shell.ok("object", "put", "-", f"{place}/a", typed=text)

    new, old = shell.json("object", "ls", place, "--versions")["versions"]
    assert shell.ok("object", "cat", f"{place}/a", "--version-id", old["version_id"]) == "old"
    shell.ok("object", "rm", f"{place}/a", "--version-id", old["version_id"], "--yes")
    assert [each["version_id"] for each in shell.json("object", "ls", place, "--versions")["versions"]] == [
        new["version_id"]
    ]


def test_a_url_is_presigned(shell: Shell, place: str) -> None:
    url = shell.ok("object", "presign", f"{place}/a", "--expires-in", "60").strip()

    assert url.startswith("http")
    assert "Expires=60" in url
    assert shell.json("object", "presign", f"{place}/a", "--upload")["method"] == "PUT"


def test_a_directory_is_synced(shell: Shell, place: str) -> None:
    (shell.directory / "up").mkdir()
    (shell.directory / "up" / "a").write_bytes(b"1")

    assert shell.json("object", "sync", "up", f"{place}/up")["created"] == 1
    assert shell.terminal("object", "sync", f"{place}/up", "down").status == 0
    assert (shell.directory / "down" / "a").read_bytes() == b"1"


def test_a_large_file_is_put_and_got_with_a_bar(shell: Shell, place: str) -> None:
    content = bytes(range(256)) * 65536
    (shell.directory / "large").write_bytes(content)

    put = shell.terminal("object", "put", "large", f"{place}/large")
    got = shell.terminal("object", "get", f"{place}/large", "back")

    assert "100%" in put.plain
    assert "100%" in got.plain
    assert hashlib.sha256((shell.directory / "back").read_bytes()).digest() == hashlib.sha256(content).digest()


@pytest.mark.parametrize("text", ["team/a", "s3://", "s3://bucket", "/absolute"])
def test_a_place_that_is_no_object_is_refused(text: str, local: Shell) -> None:
    ran = local("object", "cat", text)

    assert (ran.status, ran.stdout) == (2, "")
    assert "hint: write s3://" in ran.stderr
