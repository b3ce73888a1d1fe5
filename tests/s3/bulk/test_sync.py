"""Syncs between directories and prefixes: only what differs moves, and nothing is deleted by mistake."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from apm_s3 import BucketNotFound, S3Settings, TransferSettings
from apm_s3.batch import BatchProgress
from apm_s3.errors import AccessDenied, BatchError, IntegrityError, InvalidOption
from apm_s3.sync import SyncAction
from tests.managers import SESSION, make_manager
from tests.memory_transport import MemoryManager
from tests.seams.s3 import (
    Entry,
    Folder,
    Patterns,
    S3Place,
    are_compared_in_order,
    compared,
    copying,
    remove_files,
)

MIB = 1024**2
FILES = {"a": b"1", "b/c": b"22", "b/d": b"333", "b.txt": b"4444", "é/x": b"", "z": b"5"}


@pytest.fixture
async def s3() -> AsyncIterator[MemoryManager]:
    """A manager whose objects are in memory."""
    settings = S3Settings(transfer=TransferSettings(part_size=5 * MIB, multipart_threshold=6 * MIB))
    async with MemoryManager(settings, session=SESSION, endpoint_url="http://127.0.0.1:1") as manager:
        yield manager


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with files."""
    return write(tmp_path / "folder", FILES)


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, body in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    return root


def read(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def stored(s3: MemoryManager, prefix: str = "") -> dict[str, bytes]:
    return {key[len(prefix) :]: found.body for key, found in s3.transport.objects.items() if key.startswith(prefix)}


async def test_a_directory_round_trips(s3: MemoryManager, folder: Path, tmp_path: Path) -> None:
    up = await s3.sync(folder, "s3://bucket/team")
    down = await s3.sync("s3://bucket/team/", str(tmp_path / "new" / "place"))

    assert stored(s3, "team/") == FILES == read(tmp_path / "new" / "place")
    assert (up.created, up.updated, up.deleted, up.unchanged, up.bytes) == (6, 0, 0, 0, 11)
    assert (down.created, down.bytes, down.ok) == (6, 11, True)


def test_nothing_is_removed_through_a_symbolic_link(tmp_path: Path) -> None:
    outside, root = write(tmp_path / "outside", {"x": b"1"}), write(tmp_path / "root", {"a/b/c": b"1", "a/d": b"1"})
    (root / "link").symlink_to(outside)

    outcomes = dict(remove_files(root, ["link/x", "a/b/c", "a"]))

    assert "behind a symbolic link" in str(outcomes["link/x"])
    assert read(outside) == {"x": b"1"}
    # An empty directory goes, one with other files stays.
    assert outcomes["a/b/c"] is None
    assert not (root / "a/b").exists()
    assert isinstance(outcomes["a"], OSError)
    assert read(root / "a") == {"d": b"1"}


async def test_a_copy_of_an_object_in_parts_is_the_same_if_it_is_newer() -> None:
    def entry(etag: str | None, modified: float | None) -> Entry:
        return Entry("a", 5, etag, modified)

    endpoint: Any = SimpleNamespace(verbs=None)
    same = copying(endpoint, S3Place("bucket", "a/"), S3Place("other", "b/")).is_same
    in_parts, whole = f'"{"0" * 32}-2"', f'"{"0" * 32}"'
    assert await same(entry(whole, 9.0), entry(whole, 1.0))
    assert not await same(entry(whole, 1.0), entry(in_parts, 9.0))
    assert await same(entry(in_parts, 1.0), entry(whole, 9.0))
    assert not await same(entry(in_parts, 9.0), entry(whole, 1.0))
    assert not await same(entry(in_parts, None), entry(whole, 9.0))
    assert not await same(entry(in_parts, 1.0), entry(whole, None))
    assert not await same(entry(None, 1.0), entry(None, 9.0))


async def test_only_differences_are_transferred(s3: MemoryManager, folder: Path, tmp_path: Path) -> None:
    await s3.sync(folder, "s3://bucket")
    (folder / "a").write_bytes(b"9")
    (folder / "z").write_bytes(b"99")
    write(folder, {"new": b"new"})
    before = s3.transport.requests["put"]

    report = await s3.sync(folder, "s3://bucket")

    assert (report.created, report.updated, report.unchanged) == (1, 2, 4)
    assert s3.transport.requests["put"] - before == 3
    assert stored(s3) == read(folder)
    target = tmp_path / "down"
    await s3.sync("s3://bucket", target)
    (target / "a").write_bytes(b"8")
    again = await s3.sync("s3://bucket", target)
    assert (again.created, again.updated, again.unchanged) == (0, 1, 6)
    assert read(target) == read(folder)


async def test_a_multipart_object_is_recognized_by_its_parts(s3: MemoryManager, tmp_path: Path) -> None:
    folder = write(tmp_path, {"large": b"a" * 7 * MIB})
    await s3.sync(folder, "s3://bucket")

    assert (await s3.sync(folder, "s3://bucket")).unchanged == 1
    (folder / "large").write_bytes(b"b" * 7 * MIB)
    assert (await s3.sync(folder, "s3://bucket")).updated == 1


async def test_a_downloaded_file_has_the_modification_time_of_its_object(s3: MemoryManager, tmp_path: Path) -> None:
    await s3.upload_file("bucket", "key", b"content")
    body, info = s3.transport.objects["key"].body, (await s3.head_file("bucket", "key"))
    # As an object that is encrypted with KMS has it: no sum of the content.
    s3.transport.objects["key"] = s3.transport.objects["key"]._replace(info=info._replace(etag='"opaque"'), body=body)
    await s3.sync("s3://bucket", tmp_path)
    before = s3.transport.requests["open"]

    assert (await s3.sync("s3://bucket", tmp_path)).unchanged == 1
    assert s3.transport.requests["open"] == before
    os.utime(tmp_path / "key", (1, 1))
    assert (await s3.sync("s3://bucket", tmp_path)).updated == 1


async def test_extra_files_and_objects_are_deleted_only_on_request(
    s3: MemoryManager, folder: Path, tmp_path: Path
) -> None:
    await s3.upload_file("bucket", "team/extra", b"")
    await s3.upload_file("bucket", "teammate", b"")
    kept = await s3.sync(folder, "s3://bucket/team")
    assert (kept.deleted, "extra" in stored(s3, "team/")) == (0, True)

    gone = await s3.sync(folder, "s3://bucket/team", delete_extra=True)

    assert gone.deleted == 1
    assert stored(s3) == {**{f"team/{name}": body for name, body in FILES.items()}, "teammate": b""}
    target = write(tmp_path / "target", {"extra/deep/file": b"", "a": b"1"})
    assert (await s3.sync("s3://bucket/team", target, delete_extra=True)).deleted == 1
    assert read(target) == FILES
    assert not (target / "extra").exists()


@pytest.mark.parametrize("dry_run", [False, True])
async def test_an_empty_source_deletes_nothing(s3: MemoryManager, tmp_path: Path, dry_run: bool) -> None:
    await s3.upload_file("bucket", "team/a", b"")
    empty, full = tmp_path / "empty", write(tmp_path / "full", {"file": b""})
    empty.mkdir()

    for source, target in ((empty, "s3://bucket/team"), ("s3://bucket/none", full)):
        with pytest.raises(InvalidOption, match="is empty: delete_extra would delete everything in"):
            await s3.sync(source, target, delete_extra=True, dry_run=dry_run)  # type: ignore[call-overload]
    with pytest.raises(InvalidOption, match="is empty"):
        await s3.sync(full, "s3://bucket/team", delete_extra=True, exclude="f*")
    assert stored(s3)
    assert read(full) == {"file": b""}


async def test_an_unreadable_source_deletes_nothing(
    s3: MemoryManager, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await s3.upload_file("bucket", "a-extra", b"")
    scan = Folder._scan

    def denied(self: Folder, prefix: str) -> Any:
        if prefix == "b/":
            raise PermissionError(13, "denied", prefix)
        return scan(self, prefix)

    monkeypatch.setattr(Folder, "_scan", denied)
    with pytest.raises(PermissionError):
        await s3.sync(folder, "s3://bucket", delete_extra=True)
    assert "a-extra" in stored(s3)
    with pytest.raises(FileNotFoundError):
        await s3.sync(tmp_path / "missing", "s3://bucket", delete_extra=True)
    with pytest.raises(NotADirectoryError):
        await s3.sync(folder / "a", "s3://bucket", delete_extra=True)
    with pytest.raises(BucketNotFound):
        await s3.sync("s3://missing-bucket", folder, delete_extra=True)
    assert "a-extra" in stored(s3)
    assert read(folder) == FILES


async def test_what_both_sides_got_meanwhile_is_not_deleted(s3: MemoryManager, folder: Path) -> None:
    await s3.upload_file("bucket", "extra", b"")

    def written_to_both(verb: str, count: int) -> None:
        # The first listing finds out the order; by the second one, the directory has been read.
        if (verb, count) == ("list_files", 2):
            write(folder, {"new": b"1"})
            s3.transport.bucket.put("new", b"1")

    s3.transport.before = written_to_both
    report = await s3.sync(folder, "s3://bucket", delete_extra=True)

    assert report.deleted == 1
    assert stored(s3) == FILES | {"new": b"1"}


async def test_a_source_that_was_emptied_meanwhile_deletes_nothing(s3: MemoryManager, tmp_path: Path) -> None:
    await s3.upload_file("bucket", "extra", b"")
    source = write(tmp_path / "source", {"a": b"1"})

    def emptied(verb: str, count: int) -> None:
        if verb == "put":
            (source / "a").unlink()

    s3.transport.before = emptied
    with pytest.raises(InvalidOption, match="has become empty, what was moved stays") as caught:
        await s3.sync(source, "s3://bucket", delete_extra=True)
    assert caught.value.may_have_happened
    assert "extra" in stored(s3)


async def test_nothing_is_deleted_after_a_failure(s3: MemoryManager, folder: Path) -> None:
    await s3.upload_file("bucket", "extra", b"")

    def failing(verb: str, count: int) -> None:
        if verb == "put" and count == 3:
            raise s3.transport.bucket.error("put", "b", 403, "AccessDenied")

    s3.transport.before = failing
    report = await s3.sync(folder, "s3://bucket", delete_extra=True)

    assert (report.created, len(report.failures), report.deleted, report.kept) == (5, 1, 0, 1)
    assert isinstance(next(iter(report.failures.values())), AccessDenied)
    assert "extra" in stored(s3)
    with pytest.raises(BatchError, match="1 could not be synced from"):
        report.raise_for_failures()
    assert not report.ok
    assert (await s3.sync(folder, "s3://bucket", delete_extra=True)).deleted == 1


async def test_a_plan_lists_everything_and_writes_nothing(s3: MemoryManager, folder: Path, tmp_path: Path) -> None:
    await s3.upload_file("bucket", "a", b"1")
    await s3.upload_file("bucket", "extra", b"xx")
    await s3.upload_file("bucket", "z", b"9")

    plan = await s3.sync(folder, "s3://bucket", delete_extra=True, exclude="b*", dry_run=True)

    assert plan.actions == (
        SyncAction("update", "z", 1, "the content differs"),
        SyncAction("create", "é/x", 0, "the target lacks it"),
        SyncAction("delete", "extra", 2, "the source lacks it"),
    )
    assert (plan.unchanged, plan.bytes, plan.empty) == (1, 1, False)
    assert f"{folder} -> s3://bucket/\n  update z (1 byte; the content differs)" in str(plan)
    assert set(stored(s3)) == {"a", "extra", "z"}
    assert not (await s3.sync("s3://bucket", tmp_path / "none", dry_run=True)).empty
    assert not (tmp_path / "none").exists()


async def test_excluded_names_are_neither_transferred_nor_deleted(s3: MemoryManager, folder: Path) -> None:
    await s3.upload_file("bucket", "b/old", b"")
    await s3.upload_file("bucket", "old", b"")

    await s3.sync(folder, "s3://bucket", include=["b/*", "z"], exclude="*/d", delete_extra=True)

    assert set(stored(s3)) == {"b/c", "z", "old"}


def test_patterns_match_as_in_fnmatch() -> None:
    assert [key for key in ("a.txt", "A.txt", "b/a.txt", "a[1]") if Patterns("*.txt", ["A*"]).keeps(key)] == [
        "a.txt",
        "b/a.txt",
    ]
    assert Patterns(None, None).keeps("anything")
    assert Patterns([], "").keeps("anything")


HOSTILE = ("../out", "b/../../out", "/etc/passwd", "a//b", ".", "b/./c", "nul\0")


async def test_no_key_escapes_the_directory(s3: MemoryManager, tmp_path: Path) -> None:
    for key in (*HOSTILE, "good", "folder/", "~/x"):
        s3.transport.bucket.put(f"team/{key}", b"x" if key != "folder/" else b"")
    target = tmp_path / "deep" / "target"

    report = await s3.sync("s3://bucket/team", target)

    assert set(report.skipped) == {*HOSTILE, "folder/"}
    assert read(tmp_path) == {"deep/target/good": b"x", "deep/target/~/x": b"x"}


async def test_no_link_escapes_the_directory(s3: MemoryManager, tmp_path: Path) -> None:
    outside, target = write(tmp_path / "outside", {"kept": b"1"}), tmp_path / "target"
    target.mkdir()
    (target / "link").symlink_to(outside)
    (target / "file").symlink_to(outside / "kept")
    for key in ("file", "link/kept", "link/new"):
        await s3.upload_file("bucket", key, b"x")

    report = await s3.sync("s3://bucket", target, delete_extra=True)

    assert read(outside) == {"kept": b"1"}
    assert set(report.failures) == {"link/kept", "link/new"}
    assert (target / "file").read_bytes() == b"x"


async def test_links_and_devices_are_skipped_and_reported(s3: MemoryManager, folder: Path) -> None:
    (folder / "link").symlink_to(folder / "a")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe")

    report = await s3.sync(folder, "s3://bucket")

    assert stored(s3) == FILES
    assert report.skipped == {
        "link": "it is a symbolic link",
        "loop": "it is a symbolic link",
        "pipe": "it is not a regular file",
    }


async def test_a_file_in_the_place_of_a_directory_fails_only_its_own_objects(s3: MemoryManager, tmp_path: Path) -> None:
    for key in ("a", "a/b", "c"):
        await s3.upload_file("bucket", key, b"x")
    write(tmp_path, {"a": b"x"})

    report = await s3.sync("s3://bucket", tmp_path)

    assert list(report.failures) == ["a/b"]
    assert read(tmp_path) == {"a": b"x", "c": b"x"}


async def test_a_file_of_another_size_is_fetched_again_whatever_its_time_is(s3: MemoryManager, tmp_path: Path) -> None:
    await s3.upload_file("bucket", "key", b"content")
    await s3.sync("s3://bucket", tmp_path)
    told = (tmp_path / "key").stat()
    (tmp_path / "key").write_bytes(b"short")
    os.utime(tmp_path / "key", ns=(told.st_atime_ns, told.st_mtime_ns))

    report = await s3.sync("s3://bucket", tmp_path)

    assert (report.updated, read(tmp_path)) == (1, {"key": b"content"})


async def test_directory_buckets_are_not_compared_in_the_order_of_their_listings(s3: MemoryManager) -> None:
    async def identify() -> tuple[str, bool]:
        return "https://s3.amazonaws.com", True

    endpoint: Any = SimpleNamespace(identify=identify, verbs=s3)
    for bucket, ordered in (("bucket", True), ("bucket--use1-az4--x-s3", False)):
        way = copying(endpoint, S3Place(bucket, "a/"), S3Place("other", "b/"))
        assert await are_compared_in_order(way) is ordered


async def test_a_prefix_is_copied_inside_s3(s3: MemoryManager) -> None:
    for key in ("logs/1", "logs/2", "logs-old/1"):
        await s3.upload_file("bucket", key, key.encode())

    report = await s3.sync("s3://bucket/logs", "s3://bucket/kept")
    again = await s3.sync("s3://bucket/logs", "s3://bucket/kept")
    await s3.upload_file("bucket", "logs/1", b"LOGS/1")
    changed = await s3.sync("s3://bucket/logs", "s3://bucket/kept")

    assert (changed.updated, changed.unchanged) == (1, 1)
    assert stored(s3, "kept/") == {"1": b"LOGS/1", "2": b"logs/2"}
    assert ((report.created, report.bytes), again.unchanged) == ((2, 12), 2)
    assert (await s3.copy_prefix("bucket", "logs", "bucket", "all/logs", dry_run=True)).bytes == 22
    copied = await s3.copy_prefix("bucket", "logs", "bucket", "all/logs", exclude="/1")
    assert (copied.created, stored(s3, "all/")) == (2, {"logs/2": b"logs/2", "logs-old/1": b"logs-old/1"})


async def test_a_prefix_is_deleted(s3: MemoryManager) -> None:
    for key in ("logs/1", "logs/2", "logs-old/1", "other"):
        await s3.upload_file("bucket", key, b"x")

    plan = await s3.delete_prefix("bucket", "logs/", dry_run=True)
    assert [action.key for action in plan.actions] == ["1", "2"]
    assert len(s3.transport.objects) == 4
    assert (await s3.delete_prefix("bucket", "logs", exclude="*2")).deleted == 2
    assert set(stored(s3)) == {"logs/2", "other"}
    with pytest.raises(InvalidOption, match="whole bucket"):
        await s3.delete_prefix("bucket", "")


async def test_failed_deletions_are_reported(s3: MemoryManager) -> None:
    for key in ("locked/a", "locked/b"):
        await s3.upload_file("bucket", key, b"x")

    report = await s3.delete_prefix("bucket", "locked/")

    assert (report.deleted, set(report.failures)) == (0, {"a", "b"})


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("s3://bucket/a", "s3://bucket/a/b"),
        ("s3://bucket/a/b", "s3://bucket/a"),
        ("s3://bucket", "s3://bucket/a"),
        ("here", "there"),
        (Path("s3://bucket"), "there"),
        ("s3://", "there"),
        ("s3:///key", "there"),
        ("s3://no bucket/", "there"),
    ],
)
async def test_invalid_places_are_refused(s3: MemoryManager, source: Any, target: Any) -> None:
    with pytest.raises(ValueError, match=r"overlap|neither|bucket"):
        await s3.sync(source, target)
    assert s3.transport.requests.total() == 0


async def test_progress_is_reported(s3: MemoryManager, folder: Path) -> None:
    told: list[BatchProgress] = []

    await s3.sync(folder, "s3://bucket", on_progress=told.append)

    assert told[-1] == BatchProgress(6, 0, 11, None)


async def test_nothing_is_deleted_if_a_server_lists_unrelated_keys(s3: MemoryManager, tmp_path: Path) -> None:
    for key in ("other", "team/b", "team/a"):
        await s3.upload_file("bucket", key, b"x")
    folder = write(tmp_path, {"z": b""})
    objects = s3.transport.objects

    for lie in (list(objects), ["team/a", "team/a"]):
        infos = [objects[key].info for key in lie]
        s3.transport.bucket.listed = lambda *_, infos=infos: infos  # type: ignore[method-assign, misc]
        with pytest.raises(IntegrityError, match=r"outside of the prefix|out of order"):
            await s3.sync(folder, "s3://bucket/team", delete_extra=True)
    with pytest.raises(IntegrityError, match="outside of the prefix"):
        s3.transport.bucket.listed = lambda *_: [objects["other"].info]  # type: ignore[method-assign]
        await s3.delete_prefix("bucket", "team/")
    assert {"other", "team/a", "team/b"} <= set(objects)


async def test_a_server_that_lists_folder_by_folder_is_synced_completely(s3: MemoryManager, tmp_path: Path) -> None:
    files = {f"{name}/{number}": b"x" for name in ("a", "b") for number in range(20)} | {"a.txt": b"x", "b.txt": b"x"}
    folder = write(tmp_path / "folder", files)
    await s3.upload_file("bucket", "b!extra", b"")
    listed = s3.transport.bucket.listed
    s3.transport.bucket.listed = lambda *request: sorted(  # type: ignore[method-assign]
        listed(*request), key=lambda info: info.key.split("/")
    )

    first = await s3.sync(folder, "s3://bucket", delete_extra=True)
    again = await s3.sync(folder, "s3://bucket", delete_extra=True)
    down = await s3.sync("s3://bucket", tmp_path / "down")

    assert (first.ok, first.created, first.deleted) == (True, 42, 1)
    assert (again.created, again.deleted, again.unchanged) == (0, 0, 42)
    assert read(tmp_path / "down") == files
    assert (down.ok, down.created) == (True, 42)
    plan = await s3.sync(folder, "s3://bucket", delete_extra=True, dry_run=True)
    assert (plan.empty, plan.unchanged) == (True, 42)


async def test_trees_are_compared_in_the_order_of_their_keys(tmp_path: Path) -> None:
    names = ["a", "a!", "a-b", "a.txt", "a/b", "a/b.c", "a/b/c", "a0", "é", "\U0001f600", "\ufffd"]
    usable = [name for name in names if name not in {"a", "a/b"}]
    write(tmp_path, dict.fromkeys(usable, b""))

    found = [entry.key async for entry in Folder(tmp_path, missing_ok=False).entries()]

    assert found == sorted(usable, key=str.encode)

    async def entries(*keys: str) -> AsyncIterator[Entry]:
        for key in keys:
            yield Entry(key, 0)

    pairs = [
        (mine and mine.key, theirs and theirs.key)
        async for mine, theirs in compared(entries("a", "c"), entries("b", "c", "d"))
    ]
    assert pairs == [("a", None), (None, "b"), ("c", "c"), (None, "d")]


async def test_a_sync_round_trips_on_every_server(server: Any, bucket: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "folder", FILES)
    async with make_manager(server) as s3:
        await s3.upload_file(bucket, "team/extra", b"")
        report = await s3.sync(folder, f"s3://{bucket}/team", delete_extra=True)
        assert (report.created, report.deleted, report.ok) == (6, 1, True)
        assert (await s3.sync(folder, f"s3://{bucket}/team")).unchanged == 6
        await s3.copy_prefix(bucket, "team/", bucket, "copy/")
        await s3.sync(f"s3://{bucket}/copy", tmp_path / "down")
        assert read(tmp_path / "down") == FILES
        assert (await s3.sync(f"s3://{bucket}/copy", tmp_path / "down")).unchanged == 6
        assert (await s3.delete_prefix(bucket, "team/")).deleted == 6
        assert (await s3.list_files(bucket, "team/")).files == ()


@pytest.mark.parametrize("places", [("", "s3://bucket/team"), ("s3://bucket/team", "")])
async def test_an_empty_path_is_not_the_working_directory(s3: MemoryManager, places: tuple[str, str]) -> None:
    with pytest.raises(InvalidOption, match="path is empty"):
        await s3.sync(*places, delete_extra=True)
