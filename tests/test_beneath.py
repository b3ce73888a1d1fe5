"""Nothing is read or written through a directory that was replaced by a link after it was checked."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from apm_s3.errors import InvalidOption, JournalRefused
from apm_s3.migration import migrate, verify_migration
from tests.faults.server import Exchange
from tests.migration.places import SOURCE, TARGET, Place, files, open_place, write
from tests.seams.content import read_files, write_directory

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")

LOSS = ("metadata", "tags")
LARGE = bytes(2 * 1024**2)


@pytest.fixture
async def one() -> AsyncIterator[Place]:
    async with open_place() as place:
        yield place


def swap(folder: Path, outside: Path) -> None:
    """Replace a directory by a link to another one."""
    if not folder.is_symlink():
        folder.rename(folder.with_name("moved away"))
        folder.symlink_to(outside)


def swapping(folder: Path, outside: Path, key: str) -> Callable[[Exchange], Any]:
    """A fault that replaces a directory when a key is asked for."""

    async def fault(exchange: Exchange) -> None:
        if exchange.request.key == key:
            swap(folder, outside)
        exchange.send(exchange.carry_out())

    return fault


async def transfer(verb: str, source: str | Path, target: str | Path, place: Place) -> None:
    if verb == "sync":
        await place.s3.sync(source, target, concurrency=1)
    else:
        await migrate(source, target, source_s3=place.s3, accept=LOSS, concurrency=1)


@pytest.mark.parametrize("verb", ["sync", "migrate"])
@pytest.mark.parametrize("body", [b"body", LARGE], ids=["small", "large"])
async def test_a_download_writes_nothing_through_a_folder_that_became_a_link(
    one: Place, tmp_path: Path, verb: str, body: bytes
) -> None:
    down, outside = tmp_path / "down", tmp_path / "outside"
    outside.mkdir()
    for number in range(3):
        one.put(f"team/b/{number}", body)
    one.server.will(swapping(down / "b", outside, "team/b/1"), "GetObject", times=None)

    await transfer(verb, SOURCE, down, one)

    assert files(outside) == {}
    assert (down / "b").is_symlink()


@pytest.mark.parametrize("verb", ["sync", "migrate"])
@pytest.mark.parametrize("body", [b"secret", LARGE * 5], ids=["small", "large"])
async def test_an_upload_reads_nothing_through_a_folder_that_became_a_link(
    one: Place, tmp_path: Path, verb: str, body: bytes
) -> None:
    up = write(tmp_path / "up", {f"b/{number}": bytes(len(body)) for number in range(3)})
    outside = write(tmp_path / "outside", {f"{number}": body[:-1] + b"!" for number in range(3)})
    one.server.will(swapping(up / "b", outside, "copy/b/0"), times=None)

    await transfer(verb, up, TARGET, one)

    assert not any(found.endswith(b"!") for found in one.stored().values())
    assert (up / "b").is_symlink()


async def test_nothing_is_deleted_through_a_folder_that_became_a_link(one: Place, tmp_path: Path) -> None:
    down, outside = write(tmp_path / "down", {"b/extra": b"1"}), write(tmp_path / "outside", {"extra": b"2"})
    one.put("team/a")
    one.server.will(swapping(down / "b", outside, "team/a"), "GetObject")

    await one.s3.sync(SOURCE, down, delete_extra=True)

    assert files(outside) == {"extra": b"2"}
    assert (down / "b").is_symlink()


async def test_a_migration_reports_extra_files_that_it_could_not_delete(one: Place, tmp_path: Path) -> None:
    down, outside = write(tmp_path / "down", {"b/extra": b"1"}), write(tmp_path / "outside", {"extra": b"2"})
    one.put("team/a")

    async def fault(exchange: Exchange) -> None:
        # The source is listed by two requests, and again before anything is deleted.
        if one.arrived("ListObjectsV2") == 4:
            swap(down / "b", outside)
        exchange.send(exchange.carry_out())

    one.server.will(fault, "ListObjectsV2", times=None)
    report = await migrate(SOURCE, down, source_s3=one.s3, accept=LOSS, delete_extra=True)

    assert (report.deleted, report.kept, report.ok) == (0, 1, False)
    assert files(outside) == {"extra": b"2"}


async def test_a_bundle_is_not_written_through_a_link_that_replaced_its_new_directory(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()

    class Swapping(dict[str, bytes]):
        def items(self) -> Any:
            return self._swapped()

        def _swapped(self) -> Iterator[tuple[str, bytes]]:
            for number, item in enumerate(dict.items(self)):
                if number:
                    swap(next(tmp_path.glob(".bundle.*.new")), outside)
                yield item

    with pytest.raises(FileNotFoundError):
        await write_directory(tmp_path / "bundle", Swapping({"a": b"1", "b/c": b"2", "d": b"3"}))

    assert files(outside) == {}


def test_a_bundle_below_an_imported_directory_is_not_read_through_a_link(tmp_path: Path) -> None:
    write(tmp_path / "outside", {"prometheus.yml": b"secret"})
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "prometheus").symlink_to(tmp_path / "outside")

    with pytest.raises(InvalidOption, match="leads out of"):
        read_files(tmp_path / "root" / "prometheus", within=tmp_path / "root")


def change(journal: Path, *statements: str) -> None:
    with closing(sqlite3.connect(journal)) as db, db:
        for statement in statements:
            db.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE objects SET state = 0, target_key = '../outside'",
        "UPDATE objects SET state = 0, target_key = 'other'",
        "UPDATE objects SET state = 0, key = X'2e2e', target_key = X'2e2e'",
        "CREATE TRIGGER later AFTER UPDATE ON meta BEGIN UPDATE objects SET target_key = '../outside'; END",
        "CREATE VIEW another AS SELECT 1",
        "UPDATE objects SET state = 0, size = 'many'",
        "UPDATE objects SET state = 0, size = 0.5",
        "UPDATE objects SET state = 0, attempts = -1",
        "UPDATE objects SET state = 0, attempts = 9223372036854775807",
    ],
)
async def test_a_journal_with_forged_names_writes_nothing(one: Place, tmp_path: Path, statement: str) -> None:
    one.put("team/a")
    call: dict[str, Any] = {"source_s3": one.s3, "accept": LOSS, "journal": tmp_path / "journal"}
    await migrate(SOURCE, tmp_path / "down", **call)
    (tmp_path / "down" / "a").unlink()
    change(tmp_path / "journal", statement)

    with pytest.raises(JournalRefused):
        await migrate(SOURCE, tmp_path / "down", **call)
    with pytest.raises(JournalRefused):
        await verify_migration(SOURCE, tmp_path / "down", **call)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["down", "journal"]
    assert files(tmp_path / "down") == {}


async def test_a_journal_with_forged_names_uploads_no_other_file(one: Place, tmp_path: Path) -> None:
    up, _ = write(tmp_path / "up", {"a": b"1"}), write(tmp_path, {"secret": b"2"})
    await migrate(up, TARGET, target_s3=one.s3, journal=tmp_path / "journal")
    change(tmp_path / "journal", "UPDATE objects SET state = 0, key = '../secret', target_key = '../secret'")

    with pytest.raises(JournalRefused, match=r"changed by others.*'\.\./secret'"):
        await migrate(up, TARGET, target_s3=one.s3, journal=tmp_path / "journal")

    assert one.stored() == {"a": b"1"}


async def test_a_journal_does_not_choose_the_object_that_a_probe_overwrites(one: Place, tmp_path: Path) -> None:
    one.put("team/a")
    one.put("copy/precious", b"of others", bucket="target")
    await migrate(SOURCE, TARGET, source_s3=one.s3, journal=tmp_path / "journal")
    change(
        tmp_path / "journal",
        "UPDATE meta SET value = 'precious' WHERE name = 'probe'",
        "DELETE FROM meta WHERE name = 'target_checked'",
    )

    with pytest.raises(JournalRefused, match="its probe object"):
        await migrate(SOURCE, TARGET, source_s3=one.s3, journal=tmp_path / "journal")

    assert one.stored()["precious"] == b"of others"


@pytest.mark.parametrize("suffix", ["", "-wal", "-journal"])
async def test_a_journal_that_others_can_write_is_refused(one: Place, tmp_path: Path, suffix: str) -> None:
    one.put("team/a")
    await migrate(SOURCE, TARGET, source_s3=one.s3, journal=tmp_path / "journal")
    writable = tmp_path / f"journal{suffix}"
    writable.touch()
    writable.chmod(0o664)

    with pytest.raises(JournalRefused, match="others can write"):
        await migrate(SOURCE, TARGET, source_s3=one.s3, journal=tmp_path / "journal")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("mode", [0o755, 0o1777])
async def test_a_journal_in_a_directory_of_another_user_is_refused(one: Place, tmp_path: Path, mode: int) -> None:
    one.put("team/a")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs").chmod(mode)
    os.chown(tmp_path / "theirs", 12345, 12345)

    with pytest.raises(JournalRefused, match=r"others can replace files in .*its owner 12345"):
        await migrate(SOURCE, TARGET, source_s3=one.s3, journal=tmp_path / "theirs" / "journal")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
async def test_a_journal_of_another_user_is_refused(one: Place, tmp_path: Path) -> None:
    one.put("team/a")
    await migrate(SOURCE, TARGET, source_s3=one.s3, journal=tmp_path / "journal")
    os.chown(tmp_path / "journal", 12345, 12345)

    with pytest.raises(JournalRefused, match="its owner 12345"):
        await migrate(SOURCE, TARGET, source_s3=one.s3, journal=tmp_path / "journal")


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o775])
async def test_a_journal_in_a_directory_where_others_can_replace_it_is_refused(
    one: Place, tmp_path: Path, mode: int
) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(mode)

    with pytest.raises(JournalRefused, match="others can replace"):
        await migrate(SOURCE, TARGET, source_s3=one.s3, journal=tmp_path / "open" / "journal")


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW seen AS SELECT 1",
        "CREATE TRIGGER t AFTER UPDATE ON objects BEGIN DELETE FROM target; END",
        "CREATE INDEX big ON objects (length(zeroblob(1000000000)) + id)",
        "ALTER TABLE objects ADD COLUMN more AS (upper(key))",
    ],
)
async def test_a_journal_with_more_than_its_tables_is_refused(one: Place, tmp_path: Path, statement: str) -> None:
    await migrate(SOURCE, TARGET, source_s3=one.s3, journal=tmp_path / "journal")
    change(tmp_path / "journal", statement)

    with pytest.raises(JournalRefused, match="that no journal has"):
        await migrate(SOURCE, TARGET, source_s3=one.s3, journal=tmp_path / "journal")


@pytest.mark.parametrize("rules", ["''", "x'ff00'", "'[1]'", "'null'"])
async def test_a_journal_whose_rules_cannot_be_read_is_refused(one: Place, tmp_path: Path, rules: str) -> None:
    await migrate(SOURCE, TARGET, source_s3=one.s3, journal=tmp_path / "journal")
    change(tmp_path / "journal", f"UPDATE meta SET value = {rules} WHERE name = 'rules'")

    with pytest.raises(JournalRefused, match="other rules, which cannot be read"):
        await migrate(SOURCE, TARGET, source_s3=one.s3, journal=tmp_path / "journal")
