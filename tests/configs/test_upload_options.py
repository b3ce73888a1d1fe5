"""Files that an upload of a directory omits, and uploads that change nothing."""

from __future__ import annotations

import typing
from pathlib import Path

import pytest

from apm_s3.configs import ChangeOptions, ConfigStore, ReleaseKeywords, UploadKeywords, UploadOptions
from apm_s3.errors import InvalidOption, RevisionConflict
from apm_s3.testing import MemoryObjects
from tests.seams.content import OVERLAY, read_directory

MAIN = "scrape_configs: []\n"
RULES = "groups: []\n"


@pytest.fixture
def memory() -> MemoryObjects:
    return MemoryObjects()


@pytest.fixture
def store(memory: MemoryObjects) -> ConfigStore:
    return ConfigStore(memory)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    files = {
        "prometheus.yml": MAIN, "rules/a.yml": RULES, "README.md": "hello", "rules/a.yml.bak": "x", "rules/A.YML.ORIG": "x",
        "rules/__pycache__/x.pyc": "x", ".git/config": "x", "prometheus.yml~": "x", OVERLAY: "files: {}\n",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


async def test_notes_and_backup_files_of_a_directory_are_omitted_and_reported(
    store: ConfigStore, directory: Path
) -> None:
    release = await store.upload_dir("prometheus", "staging", directory)

    assert set(release.files) == {"prometheus.yml", "rules/a.yml", OVERLAY}
    assert release.warnings[0] == (
        "left out of the directory: .git/, README.md, prometheus.yml~, rules/A.YML.ORIG, rules/__pycache__/, rules/a.yml.bak"
    )
    assert not await store.diff("prometheus", "staging", directory=directory)


async def test_the_caller_chooses_what_is_omitted(store: ConfigStore, directory: Path) -> None:
    everything = await store.upload_dir("prometheus", "staging", directory, exclude=())
    some = await store.upload_dir(
        "prometheus", "staging", directory, exclude=["rules/*.BAK", "README.md", "*~", "*.orig", "__*/"]
    )

    assert set(everything.files) - set(some.files) == {
        "README.md", "rules/a.yml.bak", "rules/A.YML.ORIG", "rules/__pycache__/x.pyc", "prometheus.yml~"
    }  # fmt: skip
    assert not await store.diff("prometheus", "staging", 1, directory=directory, exclude=())


async def test_an_excluded_link_may_point_anywhere(directory: Path) -> None:
    (directory / "old.bak").symlink_to("/etc")

    assert "old.bak" in (await read_directory(directory)).left_out


@pytest.mark.parametrize("exclude", ["*.bak", [1], None])
async def test_invalid_patterns_are_refused(directory: Path, exclude: object) -> None:
    with pytest.raises(InvalidOption):
        await read_directory(directory, exclude)  # type: ignore[arg-type]


async def test_long_lists_of_omitted_names_are_counted(store: ConfigStore, tmp_path: Path) -> None:
    (tmp_path / "prometheus.yml").write_text(MAIN)
    for number in range(30):
        (tmp_path / f"{number:02}.bak").write_text("x")

    release = await store.upload_dir("prometheus", "staging", tmp_path)

    assert release.warnings == (
        f"left out of the directory: {', '.join(f'{number:02}.bak' for number in range(20))} and 10 more",
    )


async def test_an_unchanged_upload_creates_no_revision_if_requested(
    store: ConfigStore, memory: MemoryObjects, directory: Path
) -> None:
    first = await store.upload_dir("prometheus", "staging", directory)
    before = dict(memory.objects)

    assert await store.upload_dir("prometheus", "staging", directory, skip_unchanged=True) == first
    assert await store.upload("prometheus", "staging", MAIN, skip_unchanged=True) == first
    assert (
        await store.upload(
            "prometheus", "staging", files={"prometheus.yml": MAIN, "rules/a.yml": RULES}, skip_unchanged=True
        )
    ) == first
    assert memory.objects == before
    assert (await store.upload("prometheus", "staging", MAIN)).revision == 2


@pytest.mark.parametrize(
    "change",
    [
        {"source": "scrape_configs: [] \n"},
        {"source": RULES, "name": "rules/b.yml"},
        {"remove": ["rules/a.yml"]},
        {"files": {"prometheus.yml": MAIN}},
    ],
)
async def test_any_change_creates_a_revision(store: ConfigStore, change: dict) -> None:
    await store.upload("prometheus", "staging", files={"prometheus.yml": MAIN, "rules/a.yml": RULES})

    assert (await store.upload("prometheus", "staging", skip_unchanged=True, **change)).revision == 2


async def test_the_first_upload_and_one_after_a_removal_create_a_revision(store: ConfigStore) -> None:
    assert (await store.upload("prometheus", "staging", MAIN, skip_unchanged=True)).revision == 1
    await store.remove("prometheus", "staging")
    assert (await store.upload("prometheus", "staging", MAIN, skip_unchanged=True)).revision == 3


async def test_an_unchanged_upload_still_checks_the_expected_revision(store: ConfigStore) -> None:
    await store.upload("prometheus", "staging", MAIN)

    with pytest.raises(RevisionConflict):
        await store.upload("prometheus", "staging", MAIN, expect_revision=0, skip_unchanged=True)


async def test_a_diff_shows_the_overlay_and_uploading_a_directory_without_one_keeps_it(
    store: ConfigStore, directory: Path
) -> None:
    await store.upload_dir("prometheus", "staging", directory)
    await store.upload("prometheus", "staging", "files: {rules/a.yml: null}\n", name=OVERLAY)
    (directory / OVERLAY).unlink()

    assert [file.name for file in (await store.diff("prometheus", "staging")).files] == [OVERLAY]
    assert not await store.diff("prometheus", "staging", directory=directory)


@pytest.mark.parametrize(
    ("options", "keywords"),
    [(UploadOptions, UploadKeywords), (ChangeOptions, ReleaseKeywords)],
    ids=["uploads", "other changes"],
)
def test_the_fields_of_options_are_the_keywords_of_calls(options: type, keywords: type) -> None:
    assert typing.get_type_hints(options) == typing.get_type_hints(keywords)


async def test_options_are_given_as_one_object_of_which_keywords_replace_fields(store: ConfigStore) -> None:
    options = UploadOptions(author="alice", message="first", expect_revision=0)
    first = await store.upload("jaeger", "staging", {"service": {}}, force="a test", options=options)
    second = await store.upload(
        "jaeger", "staging", {"service": {"a": 1}}, force="a test", options=options, expect_revision=1
    )

    assert [(each.author, each.message, each.revision) for each in (first, second)] == [
        ("alice", "first", 1),
        ("alice", "first", 2),
    ]


async def test_options_that_a_change_has_not_are_refused(store: ConfigStore) -> None:
    await store.upload("jaeger", "staging", {"service": {}}, force="a test")

    with pytest.raises(InvalidOption, match="builds on no revision"):
        await store.thaw("staging", options=ChangeOptions(expect_revision=1))
    with pytest.raises(InvalidOption, match="options is a UploadOptions"):
        await store.remove("jaeger", "staging", options=UploadOptions(force="why"))
    with pytest.raises(TypeError, match="autor"):
        await store.remove("jaeger", "staging", autor="alice")  # type: ignore[call-arg]
    assert [each.action for each in await store.log("staging", limit=1)] == ["upload"]
