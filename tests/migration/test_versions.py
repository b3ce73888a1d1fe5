"""Whole histories: every version and delete marker arrives in order, even after interruptions."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from apm_s3 import S3Manager, UploadOptions
from apm_s3.errors import AccessDenied, InvalidOption, MigrationRefused
from apm_s3.migration import migrate, verify_migration
from apm_s3.models import FileVersion
from apm_s3.options import BucketOptions, DeleteOptions, Versioning
from tests.managers import make_manager
from tests.seams.migration import Row, already_there
from tests.seams.s3 import transport_of
from tests.servers import Server

History = dict[str, list[tuple[bool, bytes]]]


@pytest.fixture
async def managers(seaweedfs: Server) -> AsyncIterator[tuple[S3Manager, S3Manager]]:
    """Two managers of one server; moto lists delete markers out of order."""
    async with make_manager(seaweedfs) as one, make_manager(seaweedfs) as other:
        yield one, other


async def versioned(s3: S3Manager) -> str:
    bucket = f"apm-test-{uuid.uuid4().hex[:20]}"
    await s3.create_bucket(bucket, BucketOptions(versioning=Versioning(enabled=True)))
    return bucket


async def write_history(s3: S3Manager, bucket: str) -> None:
    for key in ("team/a", "team/folder/b", "team/folder-c"):
        for number in range(3):
            await s3.upload_file(bucket, key, f"{key} {number}".encode(), UploadOptions(metadata={"n": str(number)}))
    await s3.delete_file(bucket, "team/a")
    await s3.upload_file(bucket, "team/a", b"back again")
    await s3.delete_file(bucket, "team/folder/b")


async def history(s3: S3Manager, bucket: str, prefix: str) -> History:
    """Each key's versions, newest first: whether it is a marker, and the content."""
    found: History = {}
    async for version in s3.iter_versions(bucket, prefix):
        body = b""
        if not version.is_delete_marker:
            from apm_s3 import ReadOptions

            body = await s3.read_file(bucket, version.key, ReadOptions(version_id=version.version_id))
        found.setdefault(version.key.removeprefix(prefix), []).append((version.is_delete_marker, body))
    return found


@pytest.mark.parametrize("streamed", [True, False])
async def test_versions_and_delete_markers_arrive_in_order(
    managers: tuple[S3Manager, S3Manager], tmp_path: Path, streamed: bool
) -> None:
    one, other = managers
    source, target = await versioned(one), await versioned(one)
    await write_history(one, source)
    both = {"source_s3": one, "target_s3": other if streamed else one}

    report = await migrate(
        f"s3://{source}/team", f"s3://{target}/copy", **both, versions=True, journal=tmp_path / "journal"
    )

    assert report.failures == ()
    assert (report.objects, report.moved, report.verified) == (12, 12, 12)
    wanted = await history(one, source, "team/")
    assert await history(one, target, "copy/") == wanted
    assert [marker for marker, _ in wanted["a"]] == [False, True, False, False, False]
    again = await migrate(f"s3://{source}/team", f"s3://{target}/copy", **both, versions=True)
    assert (again.identical, again.moved, again.failures) == (12, 0, ())
    assert await history(one, target, "copy/") == wanted

    newest = [version async for version in one.iter_versions(target, "copy/folder/b") if version.is_latest]
    await one.delete_file(target, "copy/folder/b", DeleteOptions(version_id=newest[0].version_id))
    places = (f"s3://{source}/team", f"s3://{target}/copy")
    bad = await verify_migration(*places, **both, versions=True, journal=tmp_path / "journal")
    assert {failure.key for failure in bad.failures} == {"folder/b"}
    assert (bad.failed, bad.verified) == (4, 8)
    mended = await migrate(*places, **both, versions=True, journal=tmp_path / "journal")
    assert (mended.failed, mended.verified) == (0, 12)
    assert await history(one, target, "copy/") == wanted


async def test_a_partial_history_is_continued_and_a_different_one_left_alone(
    managers: tuple[S3Manager, S3Manager],
) -> None:
    one, _ = managers
    source, target = await versioned(one), await versioned(one)
    await write_history(one, source)
    await one.upload_file(target, "copy/a", b"team/a 0", UploadOptions(metadata={"n": "0"}))
    await one.upload_file(target, "copy/folder-c", b"something else")

    report = await migrate(f"s3://{source}/team", f"s3://{target}/copy", source_s3=one, versions=True)

    assert {failure.key for failure in report.failures} == {"folder-c"}
    assert "a different history" in report.failures[0].error
    found, wanted = await history(one, target, "copy/"), await history(one, source, "team/")
    assert (found["a"], found["folder/b"]) == (wanted["a"], wanted["folder/b"])
    assert found["folder-c"] == [(False, b"something else")]
    over = await migrate(
        f"s3://{source}/team", f"s3://{target}/copy", source_s3=one, versions=True, if_exists="overwrite",
        include="folder-c",
    )  # fmt: skip
    assert over.failures == ()
    assert (await history(one, target, "copy/"))["folder-c"] == [*wanted["folder-c"], (False, b"something else")]


async def test_a_history_with_other_metadata_is_a_different_one(managers: tuple[S3Manager, S3Manager]) -> None:
    one, _ = managers
    source, target = await versioned(one), await versioned(one)
    await one.upload_file(source, "team/a", b"1", UploadOptions(metadata={"n": "0"}))
    await one.upload_file(target, "copy/a", b"1")
    call: dict[str, Any] = {"source_s3": one, "versions": True}

    content = await migrate(f"s3://{source}/team", f"s3://{target}/copy", **call, compare="content")
    report = await migrate(f"s3://{source}/team", f"s3://{target}/copy", **call)

    assert (content.identical, report.identical) == (1, 0)
    assert "a different history" in report.failures[0].error


async def test_no_version_is_moved_before_those_that_are_older(
    managers: tuple[S3Manager, S3Manager], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = managers
    source, target = await versioned(one), await versioned(one)
    await write_history(one, source)
    second = [version.version_id async for version in one.iter_versions(source, "team/folder-c")][1]
    transport = transport_of(one)
    copy = transport.copy

    async def failing(*arguments: Any) -> Any:
        if arguments[4].source_version_id == second:
            raise AccessDenied("not this one", status=403)
        return await copy(*arguments)

    monkeypatch.setattr(transport, "copy", failing)
    report = await migrate(f"s3://{source}/team", f"s3://{target}/copy", source_s3=one, versions=True)

    # The check at the end finds that the history is not complete.
    assert [failure.key for failure in report.failures] == ["folder-c"] * 3
    assert (await history(one, target, "copy/"))["folder-c"] == [(False, b"team/folder-c 0")]
    monkeypatch.undo()
    assert (await migrate(f"s3://{source}/team", f"s3://{target}/copy", source_s3=one, versions=True)).ok
    assert await history(one, target, "copy/") == await history(one, source, "team/")


async def test_a_target_without_versioning_is_refused(managers: tuple[S3Manager, S3Manager], tmp_path: Path) -> None:
    one, _ = managers
    source, target = await versioned(one), f"apm-test-{uuid.uuid4().hex[:20]}"
    await one.create_bucket(target)
    with pytest.raises(MigrationRefused, match="versions: versioning is not enabled"):
        await migrate(f"s3://{source}", f"s3://{target}", source_s3=one, versions=True)
    with pytest.raises(InvalidOption, match="files have no versions"):
        await migrate(f"s3://{source}", tmp_path, source_s3=one, versions=True)


@pytest.mark.parametrize(
    ("there", "count"),
    [
        ([], 0),
        ([("a", False)], 1),
        ([("a", False), ("", True)], 2),
        ([("a", False), ("b", False)], None),
        ([("b", False)], None),
        ([("a", False), ("", True), ("c", False), ("d", False)], None),
    ],
)
def test_a_target_has_the_start_of_a_history_or_a_different_one(
    there: list[tuple[str, bool]], count: int | None
) -> None:
    def row(etag: str, marker: bool) -> Row:
        return Row(1, "key", "v", "key", 1, etag * 32, None, None, marker, 0)

    def version(etag: str, marker: bool) -> FileVersion:
        return FileVersion("key", "v", False, marker, 1, etag * 32, None)  # noqa: FBT003 - as S3 has it

    rows = [row("a", False), row("", True), row("c", False)]  # noqa: FBT003 - a version, a marker, a version
    assert already_there(rows, [version(*one) for one in there]) == count


async def test_an_object_that_would_have_no_name_is_skipped(moto: Server) -> None:
    async with make_manager(moto) as one, make_manager(moto) as other:
        source, target = await versioned(one), await versioned(one)
        for key in ("team/", "team/a"):
            await one.upload_file(source, key, b"content")

        report = await migrate(f"s3://{source}/team", f"s3://{target}", source_s3=one, target_s3=other, versions=True)

        assert (report.moved, report.failures) == (1, ())
        assert "is the prefix itself" in report.skipped[""]
