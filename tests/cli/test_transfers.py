"""`apm-s3 migrate` and `apm-s3 sync`: plans, results and exit statuses, and what is left after Ctrl-C."""

from __future__ import annotations

import io
import sqlite3
import sys
from pathlib import Path

import pytest
from rich.console import Console

from apm_s3.migration import MigrationProgress
from tests.cli.kit import Shell
from tests.cli.memory import press_ctrl_c
from tests.faults.faults import reset_before_headers
from tests.faults.memory_s3 import StoredObject, error_response
from tests.faults.server import Exchange, FaultyS3
from tests.migration.places import files, write
from tests.seams.cli import Access, ProgressLine, in_bytes, in_time, migration_line
from tests.seams.migration import Store

BODIES = {"a": b"1", "b/c": b"22", "b/d.log": b"333"}


@pytest.fixture
def place(shell: Shell) -> str:
    """A prefix of the shell's bucket."""
    return f"s3://{shell.environ['APM_S3_BUCKET']}/team"


def test_a_directory_is_planned_migrated_verified_and_downloaded_again(
    shell: Shell, place: str, tmp_path: Path
) -> None:
    source, journal = write(tmp_path / "up", BODIES), tmp_path / "journal"

    plan = shell.json("migrate", source, place, "--dry-run")
    assert (plan["new"], plan["objects"], plan["ok"]) == (3, 3, True)
    moved = shell("migrate", source, place, "--journal", journal)
    assert moved.status == 0, moved.stderr
    assert "3 moved (6 bytes)" in moved.stdout
    assert "done: 3 of 3 objects, 6 B" in moved.stderr
    verified = shell.json("migrate", source, place, "--journal", journal, "--verify-only")
    assert (verified["verified"], verified["failed"], verified["resumed"]) == (3, 0, True)
    back = shell("migrate", place, tmp_path / "down", "--accept", "metadata", "--accept", "tags")
    assert back.status == 0, back.stderr
    assert files(tmp_path / "down") == BODIES


def test_a_sync_shows_its_plan_and_carries_it_out(shell: Shell, place: str, tmp_path: Path) -> None:
    source = write(tmp_path / "up", BODIES)

    plan = shell("sync", source, place, "--dry-run", "--exclude", "*.log")
    done = shell.json("sync", source, place, "--exclude", "*.log")

    assert "create b/c (2 bytes; the target lacks it)" in plan.stdout
    assert (done["created"], done["failures"], done["ok"]) == (2, {}, True)
    (source / "a").unlink()
    assert shell.json("sync", source, place, "--delete-extra", "--exclude", "*.log")["deleted"] == 1


def test_exit_statuses_tell_the_result(shell: Shell, place: str, memory: FaultyS3, tmp_path: Path) -> None:
    source = write(tmp_path / "up", BODIES)
    shell("migrate", source, place)
    write(source, {"a": b"changed"})

    failed = shell("migrate", source, place, "--if-exists", "fail")
    assert (failed.status, "failed: a (3 attempts)" in failed.stdout) == (1, True)
    refused = shell("migrate", place, tmp_path / "down")
    assert refused.status == 2
    assert "cannot keep everything: metadata" in refused.stderr
    assert shell("migrate", source, place, "--verify-only").status == 2
    assert shell("migrate", source, place, "--bandwidth", "fast").status == 2
    assert shell("migrate", source, "s3://no-such-bucket-at-all").status == 1
    assert shell("sync", tmp_path / "none", place).status == 1

    async def refused(exchange: Exchange) -> None:
        exchange.send(error_response(403, "AccessDenied"))

    memory.will(refused, "PutObject", times=None)
    assert shell("sync", source, place).status == 1


@pytest.mark.parametrize("command", ["migrate", "sync"])
def test_a_server_that_closes_connections_fails_a_transfer(
    shell: Shell, place: str, memory: FaultyS3, tmp_path: Path, command: str
) -> None:
    source = write(tmp_path / "up", BODIES)
    memory.will(reset_before_headers, "ListObjectsV2", times=None)

    ran = shell(command, source, place)

    assert ran.status == 1, ran.stderr


def test_a_journal_that_becomes_full_after_something_moved_is_a_failure(
    shell: Shell, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(store: Store, outcomes: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    source = write(tmp_path / "up", BODIES)
    shell("migrate", source, place, "--journal", tmp_path / "another's")
    monkeypatch.setattr(Store, "note", full)

    assert shell("migrate", place, f"{place}-copy", "--journal", tmp_path / "journal").status == 1
    assert shell("migrate", place, f"{place}-copy", "--journal", tmp_path / "another's").status == 2


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT for this process")
def test_ctrl_c_leaves_a_journal_and_explains_how_to_resume(shell: Shell, place: str, memory: FaultyS3) -> None:
    bucket = memory.s3.buckets[shell.environ["APM_S3_BUCKET"]]
    for number in range(40):
        bucket[f"team/{number}"] = StoredObject(str(number).encode(), {"content-type": "text/plain"}, '"etag"')
    left = iter(range(20))

    async def fault(exchange: Exchange) -> None:
        if next(left, None) is None:
            await press_ctrl_c(exchange)
        exchange.send(exchange.carry_out())

    memory.will(fault, "CopyObject", times=None)
    copy = place.replace("team", "copy")
    command = ["migrate", place, copy, "--journal", shell.directory / "my journal", "--concurrency", "4"]
    ran = shell(*command)
    memory.rules.clear()

    assert ran.status == 130, ran
    again = f"apm-s3 migrate {place} {copy} --journal '{shell.directory}/my journal' --concurrency 4"
    assert f"Interrupted. Resume with the same command: {again}" in ran.stderr
    assert "40 verified, 0 failed" in shell.ok(*command)
    assert len([key for key in bucket if key.startswith("copy/")]) == 40


def test_piped_progress_is_a_line_every_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    printed = io.StringIO()
    with ProgressLine(Console(file=printed)) as line:
        for number in range(12):
            line.show(f"step {number}")
            now += 1
        line.show("the last", last=True)
    assert printed.getvalue().splitlines() == ["step 5", "step 10", "the last"]


def test_progress_on_a_terminal_updates_one_line() -> None:
    printed = io.StringIO()
    with ProgressLine(Console(file=printed, force_terminal=True)) as line:
        line.show("moving [all]")
    assert "moving [all]" in printed.getvalue()


def progress(
    done: int, failed: int, size: int, listed: int, *, complete: bool = False, elapsed: float = 2.0, before: int = 0
) -> MigrationProgress:
    return MigrationProgress("moving", done, failed, size, listed, 4096, complete, elapsed, before)


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (progress(5, 1, 2048, 10, complete=True), "moving: 5 of 10 objects, 2.0 KiB, 1.0 KiB/s, 1 s left, 1 error"),
        (progress(90, 0, 5, 100, complete=True, before=85), "moving: 90 of 100 objects, 5 B, 2 B/s, 4 s left, 0 errors"),
        (progress(85, 0, 0, 100, complete=True, before=85), "moving: 85 of 100 objects, 0 B, 0 B/s, 0 errors"),
        (progress(5, 0, 5, 10), "moving: 5 of 10 objects so far, 5 B, 2 B/s, 0 errors"),
        (progress(0, 0, 0, 0, elapsed=0.0), "moving: 0 of 0 objects so far, 0 B, 0 B/s, 0 errors"),
    ],
)  # fmt: skip
def test_a_progress_line_has_objects_bytes_rate_time_and_errors(told: MigrationProgress, text: str) -> None:
    assert migration_line(told) == text


def test_sizes_and_times_are_readable() -> None:
    assert [in_bytes(size) for size in (0, 1023, 1024, 1024**3 * 1.5, 1024**6)] == [
        "0 B", "1023 B", "1.0 KiB", "1.5 GiB", "1048576.0 TiB"
    ]  # fmt: skip
    assert [in_time(seconds) for seconds in (0.4, 59, 61, 3725)] == ["0 s", "59 s", "1 min 01 s", "1 h 02 min"]


def test_a_profile_is_chosen() -> None:
    assert Access(profile="other").manager()._session.get_config_variable("profile") == "other"
