"""Directories as bundles: nothing outside of them is read, and nothing is left half-written."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from apm_s3.errors import InvalidKey, InvalidOption, ObjectTooLarge
from tests.seams.content import forbid_exchanges_of_directories, limit_directories, read_directory, write_directory

FILES = {"prometheus.yml": b"global: {}\n", "rules/a.yml": b"groups: []\n", "rules/deep/b.yml": b"\x00\xff"}


def put(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def everything(parent: Path) -> list[str]:
    return [entry.name for entry in parent.iterdir()]


def leftovers(parent: Path) -> list[str]:
    return [name for name in everything(parent) if name.startswith(".")]


# ------------------------------------------------------------------------------------------------ reading


async def test_a_written_directory_is_read_back(tmp_path: Path) -> None:
    await write_directory(tmp_path / "out", FILES)

    assert (await read_directory(tmp_path / "out")).files == FILES


async def test_hidden_files_are_ignored_except_the_overlay(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            **FILES,
            ".git/config": b"x",
            ".swp": b"x",
            "rules/.hidden": b"x",
            ".apm/overlay.yml": b"files: {}\n",
            ".apm/base/x": b"x",
        },
    )

    assert (await read_directory(tmp_path)).files == {**FILES, ".apm/overlay.yml": b"files: {}\n"}


async def test_a_link_to_a_file_inside_the_directory_is_read_as_that_file(tmp_path: Path) -> None:
    put(tmp_path, {"..data/prometheus.yml": b"a: 1\n"})
    (tmp_path / "prometheus.yml").symlink_to("..data/prometheus.yml")

    assert (await read_directory(tmp_path)).files == {"prometheus.yml": b"a: 1\n"}


@pytest.mark.parametrize("leads_to", ["/etc/passwd", "../outside.yml"])
async def test_a_link_out_of_the_directory_is_refused(tmp_path: Path, leads_to: str) -> None:
    put(tmp_path, {"outside.yml": b"secret", "in/a.yml": b"a"})
    (tmp_path / "in" / "b.yml").symlink_to(leads_to)

    with pytest.raises(InvalidOption, match="leads out"):
        await read_directory(tmp_path / "in")


async def test_a_linked_folder_is_refused(tmp_path: Path) -> None:
    put(tmp_path, {"in/a.yml": b"a", "in/rules/b.yml": b"b"})
    (tmp_path / "in" / "more").symlink_to("rules")

    with pytest.raises(InvalidOption, match="not a regular file"):
        await read_directory(tmp_path / "in")


async def test_a_broken_link_is_refused(tmp_path: Path) -> None:
    put(tmp_path, {"a.yml": b"a"})
    (tmp_path / "b.yml").symlink_to("gone.yml")

    with pytest.raises(InvalidOption, match="cannot be read"):
        await read_directory(tmp_path)


async def test_a_fifo_is_refused_without_blocking(tmp_path: Path) -> None:
    put(tmp_path, {"a.yml": b"a"})
    os.mkfifo(tmp_path / "b.yml")

    with pytest.raises(InvalidOption, match="not a regular file"):
        await read_directory(tmp_path)


@pytest.mark.parametrize("made", ["missing", "empty", "file"])
async def test_a_path_that_is_not_a_directory_with_files_is_refused(tmp_path: Path, made: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_bytes(b"x")

    with pytest.raises(InvalidOption):
        await read_directory(tmp_path / made)


async def test_too_many_bytes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_directories(monkeypatch, size=10)
    put(tmp_path, {"a.yml": b"x" * 6, "b.yml": b"x" * 5})

    with pytest.raises(ObjectTooLarge):
        await read_directory(tmp_path)


async def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_directories(monkeypatch, files=2)
    put(tmp_path, FILES)

    with pytest.raises(InvalidOption, match="more than 2 files"):
        await read_directory(tmp_path)


async def test_an_invalid_name_is_refused(tmp_path: Path) -> None:
    put(tmp_path, {"a\\b.yml": b"a"})

    with pytest.raises(InvalidKey):
        await read_directory(tmp_path)


# ------------------------------------------------------------------------------------------------ writing


async def test_writing_into_an_empty_directory_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()

    await write_directory(tmp_path / "out", FILES)

    assert (await read_directory(tmp_path / "out")).files == FILES
    assert leftovers(tmp_path) == []


async def test_a_directory_with_files_is_replaced_only_on_request(tmp_path: Path) -> None:
    put(tmp_path / "out", {"mine.txt": b"x"})

    with pytest.raises(InvalidOption, match="is not empty"):
        await write_directory(tmp_path / "out", FILES)
    assert (tmp_path / "out" / "mine.txt").read_bytes() == b"x"

    await write_directory(tmp_path / "out", FILES, replace=True)
    assert (await read_directory(tmp_path / "out")).files == FILES
    assert leftovers(tmp_path) == []


async def test_a_link_is_switched_and_the_old_directory_removed(tmp_path: Path) -> None:
    link = tmp_path / "out"
    link.symlink_to("nowhere-yet")

    first = await write_directory(link, FILES)
    second = await write_directory(link, {"a.yml": b"2"})

    assert link.is_symlink()
    assert (link / "a.yml").read_bytes() == b"2"
    assert not first.exists()
    assert leftovers(tmp_path) == [second.name]


async def test_a_link_that_cannot_be_switched_stays_and_leaves_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").symlink_to("v1")
    put(tmp_path / "v1", {"a.yml": b"1"})

    def full(self: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space"):
        await write_directory(tmp_path / "out", FILES)

    assert sorted(everything(tmp_path)) == ["out", "v1"]
    assert (tmp_path / "out" / "a.yml").read_bytes() == b"1"


async def test_a_full_directory_that_cannot_be_exchanged_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "out", {"mine.txt": b"x"})
    # As on a file system without renameat2(2), or on another system.
    forbid_exchanges_of_directories(monkeypatch)

    with pytest.raises(InvalidOption, match="cannot be replaced atomically here"):
        await write_directory(tmp_path / "out", FILES, replace=True)

    assert everything(tmp_path) == ["out"]
    assert (await read_directory(tmp_path / "out")).files == {"mine.txt": b"x"}


async def test_a_foreign_directory_behind_a_link_is_left_alone(tmp_path: Path) -> None:
    put(tmp_path / "v1", {"a.yml": b"1"})
    (tmp_path / "out").symlink_to("v1")

    await write_directory(tmp_path / "out", FILES)

    assert (tmp_path / "v1" / "a.yml").read_bytes() == b"1"


async def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"x")

    with pytest.raises(InvalidOption, match="is a file"):
        await write_directory(tmp_path / "out", FILES, replace=True)


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a//b", "a/./b", ""])
async def test_a_name_that_leads_out_of_the_directory_is_refused_before_anything_is_written(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(InvalidKey):
        await write_directory(tmp_path / "out", {"a.yml": b"", name: b"x"})

    assert everything(tmp_path) == []


async def test_a_name_that_is_both_file_and_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="a file and a folder at once"):
        await write_directory(tmp_path / "out", {"rules": b"x", "rules/a.yml": b"x"})


class Unwritable(bytes):
    """Content at which writing fails half-way, as on a full disk."""

    def __getitem__(self, key: object) -> bytes:
        raise OSError("no space left")


async def test_a_failure_leaves_the_old_directory_and_nothing_else(tmp_path: Path) -> None:
    put(tmp_path / "out", {"a.yml": b"old"})

    with pytest.raises(OSError, match="no space left"):
        await write_directory(tmp_path / "out", {"a.yml": b"new", "b.yml": Unwritable(b"x")}, replace=True)

    assert (tmp_path / "out" / "a.yml").read_bytes() == b"old"
    assert leftovers(tmp_path) == []


async def test_a_cancelled_write_leaves_nothing_behind(tmp_path: Path) -> None:
    files = {f"{n}.yml": b"x" * 100 for n in range(5_000)}
    task = asyncio.create_task(write_directory(tmp_path / "out", files))
    while not leftovers(tmp_path):  # noqa: ASYNC110 - a thread makes it
        await asyncio.sleep(0)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert everything(tmp_path) == []


KILLED = """
import asyncio, sys
from pathlib import Path
from apm_s3.configs._content.files import write_directory

async def main(root):
    for n in range(1000):
        await write_directory(root / "out", {f"{i}.yml": str(n).encode() for i in range(20)}, replace=True)
        print(n, flush=True)

asyncio.run(main(Path(sys.argv[1])))
"""


def test_a_reader_always_finds_the_directory_while_it_is_replaced(tmp_path: Path) -> None:
    asyncio.run(write_directory(tmp_path / "out", {f"{n}.yml": b"" for n in range(20)}))
    writer = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    lines: list[str] = []
    reader = threading.Thread(target=lines.extend, args=(writer.stdout,))
    reader.start()

    try:
        while len(lines) < 75:
            assert (tmp_path / "out" / "19.yml").exists()
    finally:
        writer.kill()
        writer.wait()
        reader.join()
        writer.stdout.close()


@pytest.mark.parametrize("lines", [1, 3, 7])
def test_a_killed_writer_leaves_one_complete_directory(tmp_path: Path, lines: int) -> None:
    writer = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    for _ in range(lines):
        writer.stdout.readline()
    writer.kill()
    writer.stdout.close()
    writer.wait()

    files = asyncio.run(read_directory(tmp_path / "out")).files

    assert len(files) == 20
    assert len(set(files.values())) == 1


async def test_a_directory_whose_name_starts_with_a_dot_is_read(tmp_path: Path) -> None:
    put(tmp_path / ".apm", {"a.yml": b"a"})

    assert (await read_directory(tmp_path / ".apm")).files == {"a.yml": b"a"}


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("place", ["/", "home", "above home", "work", "link to home"])
async def test_a_root_or_a_parent_of_the_home_or_working_directory_is_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, replace: bool
) -> None:
    home, work, link = tmp_path / "users" / "me", tmp_path / "work", tmp_path / "link"
    home.mkdir(parents=True)
    work.mkdir()
    link.symlink_to(home)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(work)
    path = {"/": Path("/"), "home": home, "above home": home.parent, "work": Path(), "link to home": link}[place]

    with pytest.raises(InvalidOption, match="root, or contains"):
        await write_directory(path, {"a.yml": b"a"}, replace=replace)

    assert home.is_dir()
    assert link.resolve() == home
    assert leftovers(tmp_path) == []


async def test_a_link_to_the_working_directory_is_switched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, link = tmp_path / "work", tmp_path / "link"
    work.mkdir()
    link.symlink_to(work)
    monkeypatch.chdir(work)

    await write_directory(link, {"a.yml": b"a"})

    assert (link / "a.yml").read_bytes() == b"a"
    assert work.is_dir()
