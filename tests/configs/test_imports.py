"""Imports of directories, prefixes in S3 and Git histories: byte for byte, and nothing twice."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from apm_s3.configs import ConfigStore, StoreProgress
from apm_s3.errors import ConfigInvalid, InvalidKey, InvalidOption, ObjectTooLarge, RevisionConflict, Throttled
from apm_s3.testing import MemoryObjects
from tests.cancellation import cancelled_everywhere
from tests.configs.samples import LOKI
from tests.seams.content import Commit, Layout, hold_few_bytes_of_an_import, let_git_fetch, limit_git, message_of

ONE = b"scrape_configs: []\r\n# caf\xc3\xa9\n"
TWO = b"scrape_configs: []\n"
BAD = b"scrape_configs: 3\n"
RULES = b"groups: []\n"


def put(root: Path, files: Mapping[str, bytes]) -> Path:
    for name, raw in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
    return root


@pytest.fixture
def objects() -> MemoryObjects:
    return MemoryObjects()


@pytest.fixture
def store(objects: MemoryObjects) -> ConfigStore:
    return ConfigStore(objects)


LAYOUT = {
    "production/prometheus/prometheus.yml": ONE,
    "production/prometheus/rules/a.yml": RULES,
    "production/prometheus/README.md": b"notes",
    "production/prometheus/.apm/overlay.yml": b"files: {}\n",
    "staging/loki/loki.yaml": LOKI.encode(),
    "scripts/deploy.sh": b"#!/bin/sh\n",
    "Makefile": b"all:\n",
}
BUNDLE = {"prometheus.yml": ONE, "rules/a.yml": RULES, ".apm/overlay.yml": b"files: {}\n"}


async def raw_files(store: ConfigStore, tool: Any, environment: str, revision: int | None = None) -> dict[str, bytes]:
    bundle = await store.download_bundle(tool, environment, revision=revision)
    return {name: file.raw for name, file in bundle.files.items()}


async def test_a_directory_is_imported_byte_for_byte_and_only_once(store: ConfigStore, tmp_path: Path) -> None:
    source = put(tmp_path, LAYOUT)

    plan = await store.plan_import(source)
    assert [(each.environment, each.tool, each.found, each.done) for each in plan.bundles] == [
        ("production", "prometheus", 1, 0), ("staging", "loki", 1, 0),
    ]  # fmt: skip
    assert plan.left_out == ("Makefile", "scripts/", "production/prometheus/README.md")
    releases = await store.import_configs(plan, author="me")
    again = await store.plan_import(source)

    assert await raw_files(store, "prometheus", "production") == BUNDLE
    assert [release.author for release in releases] == ["me", "me"]
    assert (again.changes, [each.done for each in again.bundles]) == (False, [1, 1])
    assert await store.import_configs(again) == ()


async def test_a_prefix_in_s3_is_imported(store: ConfigStore) -> None:
    old = MemoryObjects("old")
    for name, raw in LAYOUT.items():
        await old.put(f"legacy/{name}", raw)

    plan = await store.plan_import(ConfigStore(old, "legacy/"))
    await store.import_configs(plan)

    assert plan.source == "s3://old/legacy/"
    assert "production/prometheus/README.md" in plan.left_out
    assert await raw_files(store, "prometheus", "production") == BUNDLE
    assert not (await store.plan_import(ConfigStore(old, "legacy/"))).changes


async def test_the_environment_and_the_tool_can_be_given(store: ConfigStore, tmp_path: Path) -> None:
    put(tmp_path, LAYOUT)

    of_tools = await store.plan_import(tmp_path / "production", "qa")
    of_one = await store.plan_import(tmp_path / "production/prometheus", "qa", tool="prometheus")

    assert [(each.environment, each.tool) for each in of_tools.bundles] == [("qa", "prometheus")]
    assert of_tools.revisions[0].files == of_one.revisions[0].files
    with pytest.raises(InvalidOption, match="without an environment"):
        await store.plan_import(tmp_path, tool="prometheus")


async def test_a_directory_that_changed_since_is_not_imported_over_its_release(
    store: ConfigStore, tmp_path: Path
) -> None:
    source = put(tmp_path, LAYOUT)
    await store.import_configs(await store.plan_import(source))
    put(source, {"production/prometheus/prometheus.yml": TWO})

    plan = await store.plan_import(source)

    assert plan.blocked == ("prometheus in 'production': revision 1 was created and was not imported from here",)
    with pytest.raises(RevisionConflict):
        await store.import_configs(plan)


async def test_the_same_content_counts_as_imported(store: ConfigStore, tmp_path: Path) -> None:
    put(tmp_path, {"prometheus.yml": ONE})
    await store.upload("prometheus", "production", ONE)

    plan = await store.plan_import(tmp_path, "production", tool="prometheus")

    assert not plan.changes
    assert plan.blocked == ()


async def test_errors_block_an_import_unless_it_is_forced(store: ConfigStore, tmp_path: Path) -> None:
    put(tmp_path, {"prometheus.yml": BAD})
    plan = await store.plan_import(tmp_path, "production", tool="prometheus")

    assert "prometheus.yml:1:" in plan.blocked[0]
    with pytest.raises(ConfigInvalid, match="Nothing was imported"):
        await store.import_configs(plan)
    (release,) = await store.import_configs(plan, force="as it was")

    assert release.forced == "as it was"


async def test_names_that_cannot_be_stored_are_refused_before_anything_is(
    store: ConfigStore, objects: MemoryObjects, tmp_path: Path
) -> None:
    put(tmp_path, {"prometheus.yml": ONE, "rules/a:b.yml": RULES})

    with pytest.raises(InvalidKey):
        await store.plan_import(tmp_path, "production", tool="prometheus")
    assert not objects.objects


# Git


class Checkout:
    """A repository with commits by several people."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str, **environ: str) -> str:
        known = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "PATH": "/usr/bin:/bin", **environ}
        return subprocess.run(
            ["git", *arguments], cwd=self.path, env=known, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    def commit(
        self, message: str, files: Mapping[str, bytes], *, author: str = "Ada", time: int = 1_700_000_000
    ) -> str:
        put(self.path, files)
        self.git("add", "-A")
        at = f"{time} +0200"
        self.git(
            "commit", "-qm", message,
            GIT_AUTHOR_NAME=author, GIT_AUTHOR_EMAIL="a@example.org", GIT_AUTHOR_DATE="1600000000 +0000",
            GIT_COMMITTER_NAME="C", GIT_COMMITTER_EMAIL="c@example.org", GIT_COMMITTER_DATE=at,
        )  # fmt: skip
        return self.git("rev-parse", "HEAD").strip()

    def feed(self, given: bytes, *arguments: str) -> str:
        """Run git with something to read, and return the id that it prints."""
        done = subprocess.run(["git", *arguments], cwd=self.path, input=given, capture_output=True, check=True)
        return done.stdout.decode().strip()

    def tree_of(self, folders: Mapping[str, str]) -> str:
        """Store a tree of trees, and return its id."""
        return self.feed("".join(f"040000 tree {each}\t{name}\n" for name, each in folders.items()).encode(), "mktree")


PEOPLE = {
    f"GIT_{role}_{what}": text
    for role in ("AUTHOR", "COMMITTER")
    for what, text in (("NAME", "Ada"), ("EMAIL", "a@example.org"), ("DATE", "1600000000 +0000"))
}


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    path = tmp_path / "checkout"
    path.mkdir()
    return Checkout(path)


MAIN = "production/prometheus/prometheus.yml"


async def test_a_history_becomes_revisions_with_its_authors_messages_and_times(
    store: ConfigStore, checkout: Checkout
) -> None:
    first = checkout.commit("Begin\n\nBecause.", {MAIN: ONE})
    checkout.commit("Notes only", {"README.md": b"notes"}, time=1_700_000_050)
    checkout.commit("Break it", {MAIN: BAD}, author="Eve", time=1_700_000_100)
    checkout.commit("Mend it", {MAIN: TWO, "staging/loki/loki.yaml": LOKI.encode()}, time=1_700_000_200)
    (checkout.path / MAIN).write_bytes(b"not committed")

    releases = await store.import_configs(await store.plan_import(checkout.path, history=True))

    told = [(each.environment, each.tool, each.revision, each.author) for each in releases]
    assert told == [
        ("production", "prometheus", 1, "Ada <a@example.org>"),
        ("production", "prometheus", 2, "Eve <a@example.org>"),
        ("production", "prometheus", 3, "Ada <a@example.org>"),
        ("staging", "loki", 1, "Ada <a@example.org>"),
    ]
    assert releases[0].message == f"Begin (commit {first[:12]}, 2023-11-15T00:13:20+02:00)\n\nBecause."
    assert [release.forced for release in releases] == [None, "an old revision of an imported history", None, None]
    for revision, raw in enumerate((ONE, BAD, TWO), start=1):
        assert await raw_files(store, "prometheus", "production", revision) == {"prometheus.yml": raw}
    entry = (await store.log("production", tool="prometheus"))[-1]
    assert entry.message == f"Begin (commit {first[:12]}, 2023-11-15T00:13:20+02:00)"


async def test_new_commits_are_imported_on_top_and_old_ones_not_again(store: ConfigStore, checkout: Checkout) -> None:
    checkout.commit("One", {MAIN: ONE})
    await store.import_configs(await store.plan_import(checkout.path, history=True))
    checkout.commit("Two", {MAIN: TWO})

    plan = await store.plan_import(checkout.path, history=True)
    releases = await store.import_configs(plan)

    assert [(each.found, each.done, each.current_revision) for each in plan.bundles] == [(2, 1, 1)]
    assert [release.revision for release in releases] == [2]
    assert not (await store.plan_import(checkout.path, history=True)).changes


async def test_an_interrupted_import_goes_on_where_it_stopped(
    store: ConfigStore, objects: MemoryObjects, checkout: Checkout
) -> None:
    for number in range(4):
        checkout.commit(f"Number {number}", {MAIN: ONE + b"#" * number})
    plan = await store.plan_import(checkout.path, history=True)
    seen: list[StoreProgress] = []

    def told(progress: StoreProgress) -> None:
        seen.append(progress)
        if progress.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await store.import_configs(plan, on_progress=told)
    rest = await store.import_configs(await store.plan_import(checkout.path, history=True))

    assert seen == [StoreProgress("", "committing revisions", done, 4) for done in range(3)]
    assert [release.revision for release in rest] == [3, 4]
    assert [each.revision for each in await store.history("prometheus", "production")] == [4, 3, 2, 1]


async def test_a_plan_that_is_carried_out_twice_commits_nothing_twice(store: ConfigStore, checkout: Checkout) -> None:
    checkout.commit("One", {MAIN: ONE})
    checkout.commit("Two", {MAIN: TWO})
    plan = await store.plan_import(checkout.path, history=True)

    first = await store.import_configs(plan)
    second = await store.import_configs(plan)

    assert first == second
    assert len(await store.history("prometheus", "production")) == 2


async def test_a_change_by_hand_after_an_import_is_never_overwritten(store: ConfigStore, checkout: Checkout) -> None:
    checkout.commit("One", {MAIN: ONE})
    plan = await store.plan_import(checkout.path, history=True)
    await store.import_configs(plan)
    await store.upload("prometheus", "production", b"scrape_configs: [] # by hand\n")
    checkout.commit("Two", {MAIN: TWO})

    fresh = await store.plan_import(checkout.path, history=True)

    assert fresh.blocked == ("prometheus in 'production': revision 2 was created after an earlier import",)
    with pytest.raises(RevisionConflict):
        await store.import_configs(fresh)
    assert len(await store.history("prometheus", "production")) == 2


async def test_a_writer_between_two_revisions_stops_the_import(store: ConfigStore, checkout: Checkout) -> None:
    for number in range(3):
        checkout.commit(f"Number {number}", {MAIN: ONE + b"#" * number})
    plan = await store.plan_import(checkout.path, history=True)
    other: list[asyncio.Task[Any]] = []

    def told(progress: StoreProgress) -> None:
        if progress.done == 1:
            other.append(asyncio.create_task(store.upload("prometheus", "production", TWO)))

    with pytest.raises(RevisionConflict):
        await store.import_configs(plan, on_progress=told)
    await other[0]
    assert len(await store.history("prometheus", "production")) == 2


async def test_a_removed_bundle_is_removed_and_comes_back(store: ConfigStore, checkout: Checkout) -> None:
    checkout.commit("One", {MAIN: ONE})
    (checkout.path / MAIN).unlink()
    checkout.commit("Off", {"README.md": b"off"})
    checkout.commit("On", {MAIN: TWO})

    releases = await store.import_configs(await store.plan_import(checkout.path, history=True))

    assert [(release.origin.action, release.removed) for release in releases] == [
        ("upload", False), ("remove", True), ("upload", False),
    ]  # fmt: skip
    assert not (await store.plan_import(checkout.path, history=True)).changes


async def test_merges_count_as_the_commits_of_the_first_parent(store: ConfigStore, checkout: Checkout) -> None:
    checkout.commit("One", {MAIN: ONE})
    checkout.git("checkout", "-qb", "topic")
    checkout.commit("Half a change", {MAIN: BAD})
    checkout.commit("The other half", {MAIN: TWO})
    checkout.git("checkout", "-q", "main")
    checkout.git(
        "-c", "user.name=M", "-c", "user.email=m@example.org", "merge", "-q", "--no-ff", "topic", "-m", "Merge topic"
    )

    releases = await store.import_configs(await store.plan_import(checkout.path, history=True))

    assert [release.message.partition(" (")[0] for release in releases] == ["One", "Merge topic"]


async def test_a_folder_of_a_checkout_and_another_branch_can_be_imported(
    store: ConfigStore, checkout: Checkout
) -> None:
    checkout.commit("One", {f"ops/configs/{MAIN}": ONE, MAIN: TWO})
    checkout.git("checkout", "-qb", "old")
    checkout.commit("Two", {f"ops/configs/{MAIN}": TWO})
    checkout.git("checkout", "-q", "main")

    plan = await store.plan_import(checkout.path / "ops/configs", history=True, ref="old")
    await store.import_configs(plan)

    assert await raw_files(store, "prometheus", "production", 1) == {"prometheus.yml": ONE}
    assert await raw_files(store, "prometheus", "production", 2) == {"prometheus.yml": TWO}


async def test_links_and_submodules_are_left_out_and_lfs_is_refused(store: ConfigStore, checkout: Checkout) -> None:
    put(checkout.path, {MAIN: ONE})
    (checkout.path / "production/prometheus/link.yml").symlink_to("/etc/passwd")
    checkout.commit("One", {})
    plan = await store.plan_import(checkout.path, history=True)
    assert list(plan.revisions[0].files) == ["prometheus.yml"]

    checkout.commit("LFS", {MAIN: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"})
    with pytest.raises(InvalidOption, match="Git LFS"):
        await store.plan_import(checkout.path, history=True)


async def test_a_file_whose_name_is_not_utf_8_is_refused(store: ConfigStore, checkout: Checkout) -> None:
    put(checkout.path, {MAIN: ONE})
    (checkout.path / os.fsdecode(b"production/prometheus/\xff.yml")).write_bytes(b"x")
    checkout.commit("One", {})

    with pytest.raises(InvalidOption, match="name is not UTF-8"):
        await store.plan_import(checkout.path, history=True)


async def test_a_history_that_lacks_objects_is_refused(store: ConfigStore, checkout: Checkout) -> None:
    checkout.commit("One", {MAIN: ONE})
    blob = checkout.git("rev-parse", f"HEAD:{MAIN}").strip()
    (checkout.path / ".git/objects" / blob[:2] / blob[2:]).unlink()

    with pytest.raises(InvalidOption, match=f"lacks the object {blob[:12]}"):
        await store.plan_import(checkout.path, history=True)


async def test_the_names_of_an_import_are_checked_outside_the_event_loop(
    store: ConfigStore, checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout.commit("One", {MAIN: ONE})
    seen = []
    where = "apm_s3.configs._imports.importing.check_names"
    monkeypatch.setattr(where, lambda names: seen.append(threading.current_thread() is threading.main_thread()))

    await store.plan_import(checkout.path, history=True)

    assert seen == [False]


async def test_a_bundle_of_a_history_has_a_limited_size(
    store: ConfigStore, checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout.commit("One", {MAIN: ONE})
    limit_git(monkeypatch, MAX_BYTES=len(ONE) - 1)

    with pytest.raises(ObjectTooLarge):
        await store.plan_import(checkout.path, history=True)


@pytest.mark.parametrize("leaf", ["a file", "nothing"])
async def test_a_bomb_of_trees_is_refused(leaf: str, store: ConfigStore, checkout: Checkout) -> None:
    blob = checkout.feed(b"groups: []", "hash-object", "-w", "--stdin")
    tree = checkout.feed(f"100644 blob {blob}\ta.yml\n".encode() if leaf == "a file" else b"", "mktree")
    for _ in range(12):
        tree = checkout.tree_of(dict.fromkeys("abcdefghij", tree))
    for name in ("prometheus", "production"):
        tree = checkout.tree_of({name: tree})
    checkout.git("update-ref", "refs/heads/main", checkout.git("commit-tree", tree, "-m", "Bomb", **PEOPLE).strip())

    with pytest.raises(InvalidOption, match="too many files and folders"):
        await store.plan_import(checkout.path, history=True)


async def test_a_tree_whose_last_id_is_cut_off_is_refused(store: ConfigStore, checkout: Checkout) -> None:
    blob = checkout.feed(ONE, "hash-object", "-w", "--stdin")
    entry = f"100644 {MAIN}\0".encode() + bytes.fromhex(blob)[:4]
    tree = checkout.feed(entry, "hash-object", "-t", "tree", "-w", "--literally", "--stdin")
    text = f"tree {tree}\nauthor A <a@b> 1 +0000\ncommitter B <b@c> 1 +0000\n\nCut\n"
    commit = checkout.feed(text.encode(), "hash-object", "-t", "commit", "-w", "--stdin", "--literally")
    checkout.git("update-ref", "refs/heads/main", commit)

    with pytest.raises(InvalidOption, match="is damaged"):
        await store.plan_import(checkout.path, environment="production", tool="prometheus", history=True)


async def test_a_folder_that_is_no_bundle_is_not_walked(store: ConfigStore, checkout: Checkout) -> None:
    checkout.commit("One", {MAIN: ONE, "src/deep/a.py": b"", "src/prometheus.py": b"", "Makefile": b""})
    deep = checkout.git("rev-parse", "HEAD:src/deep").strip()
    (checkout.path / ".git/objects" / deep[:2] / deep[2:]).unlink()

    plan = await store.plan_import(checkout.path, history=True)

    assert [(each.environment, each.tool) for each in plan.bundles] == [("production", "prometheus")]
    assert plan.left_out == ("Makefile", "src/")


async def test_a_history_may_not_hold_more_files_than_memory_is_meant_for(
    store: ConfigStore, checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        checkout.commit(f"Number {number}", {MAIN: ONE + b"#" * number, f"production/loki/{number}.yaml": ONE})
    assert (await store.plan_import(checkout.path, history=True)).changes
    hold_few_bytes_of_an_import(monkeypatch, 1_000)

    with pytest.raises(InvalidOption, match="too many files and folders for one import"):
        await store.plan_import(checkout.path, history=True)


@pytest.mark.parametrize("what", ["blob", "tree", "commit"])
async def test_a_large_object_is_refused_before_it_is_read(
    what: str, store: ConfigStore, checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    read_exactly = asyncio.StreamReader.readexactly

    async def reading(self: asyncio.StreamReader, size: int) -> bytes:
        read.append(size)
        return await read_exactly(self, size)

    monkeypatch.setattr(asyncio.StreamReader, "readexactly", reading)
    limit_git(monkeypatch, MAX_OBJECT=100_000)
    many = {f"production/prometheus/rules/{number:05}.yml": RULES for number in range(3_000)} if what == "tree" else {}
    main = b"#" * 17_000_000 if what == "blob" else ONE
    checkout.commit("word " * 24_000 if what == "commit" else "One", {MAIN: main, **many})

    with pytest.raises(InvalidOption if what == "commit" else ObjectTooLarge) as refused:
        await store.plan_import(checkout.path, history=True)

    assert "100000" in str(refused.value) or "16777216" in str(refused.value)
    assert all(size < 1_000 for size in read)


async def test_a_history_with_too_many_commits_is_refused(
    store: ConfigStore, checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_git(monkeypatch, MAX_COMMITS=2)
    for number in range(2):
        checkout.commit(f"Number {number}", {MAIN: ONE + b"#" * number})
    assert (await store.plan_import(checkout.path, history=True)).changes
    checkout.commit("Number 3", {MAIN: TWO})

    with pytest.raises(InvalidOption, match="more than 2 commits"):
        await store.plan_import(checkout.path, history=True)


async def test_no_protocol_of_a_repository_is_used_by_a_git_that_fetches_what_is_missing(
    store: ConfigStore, checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = checkout.path / "trap"
    checkout.commit("One", {MAIN: ONE})
    blob = checkout.git("rev-parse", f"HEAD:{MAIN}").strip()
    (checkout.path / ".git/objects" / blob[:2] / blob[2:]).unlink()
    for name, value in (
        ("core.repositoryFormatVersion", "1"), ("extensions.partialClone", "evil"), ("remote.evil.promisor", "true"),
        ("remote.evil.url", f"ext::sh -c touch% {trap}"), ("protocol.ext.allow", "always"), ("protocol.allow", "always"),
    ):  # fmt: skip
        checkout.git("config", name, value)
    # As versions do that do not know this variable.
    let_git_fetch(monkeypatch)

    with pytest.raises(InvalidOption):
        await store.plan_import(checkout.path, history=True)
    assert not trap.exists()
    # It is a trap for whoever lets git have all protocols.
    with pytest.raises(subprocess.CalledProcessError):
        checkout.git("cat-file", "-p", blob)
    assert trap.exists()


async def test_the_variables_of_a_hook_do_not_lead_to_another_repository(
    store: ConfigStore, checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout.commit("One", {MAIN: ONE})
    (tmp_path / "other").mkdir()
    other = Checkout(tmp_path / "other")
    other.commit("Other", {"staging/loki/loki.yaml": ONE})
    monkeypatch.setenv("GIT_DIR", str(other.path / ".git"))

    plan = await store.plan_import(checkout.path, history=True)

    assert [each.tool for each in plan.bundles] == ["prometheus"]


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo git version 2.33.9", r"git is older than 2\.34"),
        ("echo git of another kind", r"git is older than 2\.34"),
        ("exec sleep 3600", r"git --version took more than 0\.1 seconds"),
        ("echo broken >&2; exit 3", "cannot be read with git: broken"),
    ],
)
async def test_a_git_that_is_too_old_or_broken_is_refused(
    script: str, told: str, store: ConfigStore, checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, {"bin/git": f"#!/bin/sh\n{script}\n".encode()})
    (tmp_path / "bin/git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    if "sleep" in script:
        limit_git(monkeypatch, DEADLINE=0.1)

    with pytest.raises(InvalidOption, match=told):
        await store.plan_import(checkout.path, history=True)


async def test_without_git_a_history_is_refused(
    store: ConfigStore, checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout.commit("One", {MAIN: ONE})
    monkeypatch.setenv("PATH", str(checkout.path))

    with pytest.raises(InvalidOption, match="git is not installed"):
        await store.plan_import(checkout.path, history=True)


async def test_a_cancelled_import_kills_git(
    store: ConfigStore, checkout: Checkout, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started, git = tmp_path / "started", tmp_path / "bin/git"
    script = f"#!/bin/sh\necho $$ > '{started}.new'\nmv '{started}.new' '{started}'\nexec sleep 3600\n"
    put(tmp_path, {"bin/git": script.encode()})
    git.chmod(0o755)
    monkeypatch.setenv("PATH", str(git.parent), prepend=os.pathsep)

    importing = asyncio.create_task(store.plan_import(checkout.path, history=True))
    while not started.exists():  # noqa: ASYNC110 - only the file tells
        await asyncio.sleep(0.01)
    importing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await importing

    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


@pytest.mark.parametrize("made", ["nothing", "empty"])
async def test_what_is_no_history_is_refused(made: str, store: ConfigStore, tmp_path: Path) -> None:
    path = tmp_path / made
    path.mkdir()
    if made == "empty":
        Checkout(path)

    with pytest.raises(InvalidOption, match="git"):
        await store.plan_import(path, history=True)
    with pytest.raises(InvalidOption):
        await store.plan_import(path, history=True, ref="--output=/tmp/x")
    with pytest.raises(InvalidOption, match="has no history"):
        await store.plan_import(ConfigStore(MemoryObjects()), history=True)


async def test_programs_that_a_checkout_names_are_not_run(store: ConfigStore, checkout: Checkout) -> None:
    trap = checkout.path / "trap"
    checkout.commit("One", {MAIN: ONE})
    put(checkout.path, {"run.sh": f"#!/bin/sh\ntouch {trap}\n".encode()})
    (checkout.path / "run.sh").chmod(0o755)
    for name in ("core.fsmonitor", "gpg.program", "core.pager", "diff.external", "core.sshCommand"):
        checkout.git("config", name, str(checkout.path / "run.sh"))
    checkout.git("config", "log.showSignature", "true")

    await store.import_configs(await store.plan_import(checkout.path, history=True))

    assert not trap.exists()


async def test_a_failing_bucket_fails_the_plan(objects: MemoryObjects, store: ConfigStore) -> None:
    old = MemoryObjects("old")
    await old.put(MAIN, ONE)
    old.will_fail("read", Throttled("slow down", status=503))

    with pytest.raises(Throttled):
        await store.plan_import(ConfigStore(old))
    assert not objects.objects


# Decisions


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("qa/loki/loki.yaml", ("qa", "loki", "loki.yaml")),
        ("qa/loki/rules/a/b.yml", ("qa", "loki", "rules/a/b.yml")),
        ("qa/loki/.apm/overlay.yml", ("qa", "loki", ".apm/overlay.yml")),
        ("qa/loki/.git/config", None),
        ("qa/loki/a.bak", None),
        ("qa/loki", None),
        ("qa/nginx/nginx.conf", None),
        ("QA/loki/loki.yaml", None),
        ("loki/loki.yaml", None),
    ],
)
def test_the_place_of_a_file(path: str, place: tuple[str, str, str] | None) -> None:
    assert Layout(exclude=("*.bak",)).place_of(path) == place


def test_a_long_subject_is_shortened_for_the_log_and_kept_below() -> None:
    commit = Commit("a" * 40, "A", "a@example.org", datetime(2024, 1, 1, tzinfo=UTC), "x" * 200 + "\n\nbody")

    first, _, rest = message_of(commit).partition("\n\n")

    assert len(first) == 120
    assert first.endswith("… (commit aaaaaaaaaaaa, 2024-01-01T00:00:00+00:00)")
    assert rest == "x" * 200 + "\n\nbody"


# Interruptions, and several at once


async def test_an_import_that_is_cancelled_anywhere_is_finished_by_the_next(store: ConfigStore) -> None:
    old = MemoryObjects("old")
    for environment in ("production", "staging"):
        await old.put(f"{environment}/prometheus/prometheus.yml", ONE)

    async def imported(store: ConfigStore) -> None:
        await store.import_configs(await store.plan_import(ConfigStore(old)))

    @asynccontextmanager
    async def world() -> AsyncIterator[ConfigStore]:
        yield ConfigStore(MemoryObjects())

    turns = 0
    async for turn, here in cancelled_everywhere(world, imported):
        turns = turn
        await here.finish()
        await imported(here)
        for environment in ("production", "staging"):
            assert [each.revision for each in await here.history("prometheus", environment)] == [1]
            assert (await here.fsck(environment)).ok
    assert turns > 5


async def test_two_imports_of_one_history_at_once_commit_each_revision_once(
    objects: MemoryObjects, checkout: Checkout
) -> None:
    for number in range(3):
        checkout.commit(f"Number {number}", {MAIN: ONE + b"#" * number})
    stores = [ConfigStore(objects), ConfigStore(objects)]
    plans = [await each.plan_import(checkout.path, history=True) for each in stores]

    done = await asyncio.gather(
        *(each.import_configs(plan) for each, plan in zip(stores, plans, strict=True)), return_exceptions=True
    )

    assert any(isinstance(each, tuple) for each in done), done
    assert all(isinstance(each, tuple | RevisionConflict) for each in done), done
    history = await stores[0].history("prometheus", "production")
    assert [each.revision for each in history] == [3, 2, 1]
    assert len({each.write_id for each in history}) == 3
