"""Names that some systems cannot write are refused in every call; stored ones stay usable."""

from __future__ import annotations

import os
import sys
import threading
import tracemalloc
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apm_s3.configs import ConfigStore
from apm_s3.errors import ApmS3Error, ConfigInvalid, InvalidKey, InvalidOption
from apm_s3.testing import MemoryObjects
from tests.seams.content import (
    accept_names_as_before,
    apply_overlay,
    check_names,
    check_new_file_name,
    pretend_to_be_on_windows,
    write_directory,
)

MAIN = "scrape_configs: []\n"
RULES = "groups: []\n"
FOREIGN = [
    "C:/x", "C:x", "a:b", "rules/a.yml:stream", "con", "CON", "aux.yml", "rules/nul.txt", "Prn.a.b", "com1", "lpt9.yml", "com¹",
    "conin$", "nul .yml", "a.", "rules./a.yml", "a?.yml", "a*.yml", 'a".yml', "a|b", "<a>",
]  # fmt: skip
ALIKE = [("a.yml", "A.yml"), ("straße.yml", "STRASSE.yml"), ("é.yml", "e\u0301.yml"), ("rules/a.yml", "Rules/b.yml")]


@pytest.fixture
def store() -> ConfigStore:
    return ConfigStore(MemoryObjects())


@pytest.mark.parametrize("name", FOREIGN)
async def test_a_name_that_windows_cannot_write_is_refused_by_every_call(
    store: ConfigStore, tmp_path: Path, name: str
) -> None:
    await store.upload("prometheus", "staging", MAIN)

    with pytest.raises(InvalidKey):
        await store.upload("prometheus", "staging", "x", name=name)
    with pytest.raises(InvalidKey):
        await store.upload("prometheus", "staging", files={"prometheus.yml": MAIN, name: "x"})
    with pytest.raises(InvalidKey):
        await store.validate("prometheus", files={"prometheus.yml": MAIN, name: "x"})
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("x")
    with pytest.raises(InvalidKey):
        await store.upload_dir("prometheus", "staging", tmp_path)
    assert (await store.history("prometheus", "staging"))[0].revision == 1


@pytest.mark.parametrize(
    "name", ["console.yml", "auxiliary.yml", "com10", "a.b.c", "rules/é.yml", "a b.yml", "nul-1.yml"]
)
def test_a_name_that_only_resembles_a_device_is_accepted(name: str) -> None:
    assert check_new_file_name(name) == name


@pytest.mark.parametrize(("first", "second"), ALIKE)
async def test_names_that_differ_only_by_case_or_unicode_form_are_refused(
    store: ConfigStore, first: str, second: str
) -> None:
    with pytest.raises(InvalidKey, match="case or Unicode form"):
        await store.upload("prometheus", "staging", files={"prometheus.yml": MAIN, first: RULES, second: RULES})
    await store.upload("prometheus", "staging", files={"prometheus.yml": MAIN, first: RULES})
    with pytest.raises(InvalidKey, match="case or Unicode form"):
        await store.upload("prometheus", "staging", RULES, name=second)
    assert (await store.upload("prometheus", "staging", RULES, name=first)).revision == 2


async def test_many_names_are_checked_outside_the_event_loop(store: ConfigStore) -> None:
    threads: list[threading.Thread] = []

    class Noted(str):
        def split(self, *given: Any) -> Any:
            threads.append(threading.current_thread())
            return super().split(*given)

    with pytest.raises(InvalidKey, match="case or Unicode form"):
        await store.upload(
            "prometheus", "staging", files={Noted(f"{n // 2:03}{'aA'[n % 2]}.yml"): "" for n in range(200)}
        )

    assert threads
    assert threading.current_thread() not in threads


async def test_a_file_and_a_folder_whose_names_differ_only_by_case_are_refused(store: ConfigStore) -> None:
    with pytest.raises(InvalidKey):
        await store.upload("prometheus", "staging", files={"prometheus.yml": MAIN, "rules": "x", "Rules/a.yml": "x"})


@given(
    st.sets(st.lists(st.sampled_from(("a", "A", "a!", "b")), min_size=1, max_size=3).map("/".join), max_size=6),
    st.sets(st.sampled_from(("a", "A/b", "b/a", "a!/b")), max_size=2),
)
def test_names_are_refused_exactly_if_a_new_one_conflicts_with_another(new: set[str], stored: set[str]) -> None:
    kept = {each for each in stored if not any(conflicting(each, other) for other in stored - {each})}
    every = new | kept
    conflict = any(conflicting(one, other) for one, other in combinations(every, 2) if {one, other} & new)

    try:
        check_names(new, kept)
    except InvalidKey:
        assert conflict
    else:
        assert not conflict


def conflicting(one: str, other: str) -> bool:
    """Whether a path of one name is a path of the other on some systems, but not the same file or folder here."""
    paths = [{tuple(each.split("/")[:depth]) for depth in range(1, each.count("/") + 2)} for each in (one, other)]
    alike = any(a != b and "/".join(a).lower() == "/".join(b).lower() for a in paths[0] for b in paths[1])
    return alike or other.startswith(f"{one}/") or one.startswith(f"{other}/")


def test_deep_names_take_no_memory_for_each_of_their_folders() -> None:
    names = [f"{number}/{'a/' * 200}x" for number in range(500)]
    tracemalloc.start()
    try:
        check_names(names)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 5 * sum(map(len, names))


@pytest.mark.parametrize("name", ["aux.yml", "Prometheus.yml", "a:b.yml"])
def test_an_overlay_cannot_create_a_file_with_such_a_name_but_can_change_a_stored_one(name: str) -> None:
    overlay = f"files:\n  '{name}': {{a: 1}}\n".encode()

    with pytest.raises(ConfigInvalid):
        apply_overlay({"prometheus.yml": b"{}"}, overlay)
    assert apply_overlay({name: b"{}\n"}, overlay).files[name] == b"a: 1\n"


async def test_a_stored_bundle_with_such_names_can_be_read_changed_rolled_back_and_repaired(
    store: ConfigStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = {"prometheus.yml": MAIN, "aux.yml": RULES, "a:b": "2", "x": "3", "X": "4"}
    with monkeypatch.context() as patch:
        accept_names_as_before(patch)
        await store.upload("prometheus", "staging", files=old)

    bundle = await store.download_bundle("prometheus", "staging")
    changed = await store.upload("prometheus", "staging", "global: {}\n")
    removed = await store.upload("prometheus", "staging", remove=["aux.yml"])
    back = await store.rollback("prometheus", "staging", to_revision=1)
    backup = await store.backup("prometheus", "staging")
    restored = await store.restore(backup.key)
    await store.repair("staging")
    await store.download_dir("prometheus", "staging", tmp_path / "out")

    assert {name: file.text for name, file in bundle.files.items()} == old
    assert changed.files.keys() == back.files.keys() == restored.files.keys() == old.keys()
    assert removed.files.keys() == old.keys() - {"aux.yml"}
    assert (await store.download("prometheus", "staging", name="aux.yml")).text == RULES
    assert {path.name: path.read_text() for path in (tmp_path / "out").iterdir()} == old
    with pytest.raises(InvalidKey):
        await store.upload("prometheus", "staging", "5", name="aux.yml")


async def test_a_directory_on_windows_is_not_written_with_such_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_to_be_on_windows(monkeypatch)

    with pytest.raises(InvalidKey):
        await write_directory(tmp_path / "out", {"a.yml": b"x", "C:x": b"x"})

    assert list(tmp_path.iterdir()) == []


async def test_names_that_the_file_system_does_not_distinguish_never_overwrite_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def folding(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        """Open as a file system does that does not tell cases apart."""
        return opened("x" if path == "X" else path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", folding)

    with pytest.raises(InvalidOption, match="treats"):
        await write_directory(tmp_path / "out", {"x": b"1", "X": b"2"})

    assert list(tmp_path.iterdir()) == []


@given(st.text(max_size=20))
def test_on_windows_too_every_accepted_name_is_a_path_below_its_folder(name: str) -> None:
    from pathlib import PureWindowsPath

    try:
        check_new_file_name(name)
    except ApmS3Error:
        return
    path = PureWindowsPath(name)
    assert not path.drive
    assert not path.root
    assert path.as_posix() == name
    if sys.version_info >= (3, 13):
        import ntpath

        assert not ntpath.isreserved(name)
