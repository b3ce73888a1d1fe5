"""Changes of the reference document, applied to a document that others may have changed meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from apm_s3.configs import EnvironmentSettings, Freeze, Origin, Release, ReleaseRef
from apm_s3.errors import ConfigNotFound, EnvironmentFrozen, InvalidOption, InvalidRequest, RevisionConflict
from tests.seams.store import (
    Current,
    MarkGood,
    NewReleases,
    RemoveEnvironment,
    SetFreeze,
    SetSettings,
    ToolState,
    check_base,
    check_expected,
)

FREEZE = Freeze("incident", "ada", datetime(2026, 1, 2, 3, 4, tzinfo=UTC))


def ref(revision: int) -> ReleaseRef:
    return ReleaseRef(revision, f"releases/{revision:08d}.json", "ab" * 32)


def release(revision: int, *, tool: str = "loki", parent: ReleaseRef | None) -> Release:
    created = datetime(2026, 1, 2, tzinfo=UTC)
    origin = Origin("upload")
    return Release(tool, "production", revision, parent, "w", None, "", created, origin, {}, ref=ref(revision))


LOKI = ToolState(ref(5), ref(4), good=ref(2), oldest=4)
CURRENT = Current(7, (), "bucket", tools={"loki": LOKI})


def test_a_new_release_keeps_its_tools_mark_and_the_other_tools() -> None:
    new = (release(6, parent=ref(5)), release(3, tool="jaeger", parent=None))

    changed = NewReleases("production", new, {})(CURRENT)

    assert changed.tools == {
        "loki": replace(LOKI, release=ref(6), parent=ref(5)),
        "jaeger": ToolState(ref(3), oldest=3),
    }
    assert replace(changed, tools=CURRENT.tools) == CURRENT


@pytest.mark.parametrize(
    "change", [NewReleases("production", (), {}), SetSettings("production", EnvironmentSettings())]
)
def test_a_frozen_environment_refuses_changes(change: NewReleases | SetSettings) -> None:
    with pytest.raises(EnvironmentFrozen, match="'production' has been frozen by ada since 2026-01-02 03:04 UTC"):
        change(SetFreeze("production", FREEZE)(CURRENT))

    assert change(SetFreeze("production", None)(SetFreeze("production", FREEZE)(CURRENT))) == CURRENT


def test_a_removed_environment_is_frozen_until_it_is_thawed() -> None:
    remove = RemoveEnvironment("production", replace(FREEZE, removed=True), frozenset([LOKI.release.key]))
    removed = remove(CURRENT)

    for change in (remove, SetFreeze("production", FREEZE), NewReleases("production", (), {})):
        with pytest.raises(EnvironmentFrozen, match="'production' was removed by ada at 2026-01-02 03:04 UTC"):
            change(removed)
    assert SetFreeze("production", None)(removed) == CURRENT


def test_an_environment_with_a_release_that_was_not_looked_at_is_not_removed() -> None:
    with pytest.raises(InvalidOption, match="still has a configuration of loki"):
        RemoveEnvironment("production", replace(FREEZE, removed=True), frozenset())(CURRENT)


def test_a_new_release_on_an_older_one_is_a_conflict() -> None:
    both = (release(1, tool="jaeger", parent=None), release(5, parent=ref(4)))

    with pytest.raises(RevisionConflict) as conflict:
        NewReleases("production", both, {"loki": 3})(CURRENT)

    assert (conflict.value.expected_revision, conflict.value.current_revision) == (3, 5)


def test_a_freeze_without_an_author_names_nobody() -> None:
    with pytest.raises(EnvironmentFrozen, match="has been frozen since"):
        NewReleases("production", (), {})(replace(CURRENT, freeze=replace(FREEZE, by=None)))


@pytest.mark.parametrize(
    ("state", "base", "expected", "figures"),
    [
        (LOKI, ref(4), None, (4, 5)),
        (LOKI, ref(4), 3, (3, 5)),
        (LOKI, None, None, (0, 5)),
        (LOKI, ref(4), 0, (0, 5)),
        (None, ref(4), None, (4, 0)),
        (LOKI, replace(ref(5), key="another"), None, (5, 5)),
    ],
)
def test_a_tool_that_has_another_release_is_a_conflict(
    state: ToolState | None, base: ReleaseRef | None, expected: int | None, figures: tuple[int, int]
) -> None:
    with pytest.raises(RevisionConflict) as conflict:
        check_base("loki", "production", state, base, expected)

    assert (conflict.value.expected_revision, conflict.value.current_revision) == figures
    assert (conflict.value.tool, conflict.value.environment) == ("loki", "production")


def test_a_release_on_the_current_one_is_no_conflict() -> None:
    check_base("loki", "production", LOKI, ref(5), None)
    check_base("loki", "production", None, None, None)


@pytest.mark.parametrize(("state", "expected"), [(LOKI, 4), (LOKI, 0), (None, 1)])
def test_another_revision_than_the_expected_one_is_a_conflict(state: ToolState | None, expected: int) -> None:
    with pytest.raises(RevisionConflict) as conflict:
        check_expected("loki", "production", state, expected)

    assert conflict.value.expected_revision == expected
    assert conflict.value.current_revision == (5 if state else 0)
    check_expected("loki", "production", state, 5 if state else 0)
    check_expected("loki", "production", state, None)


def test_settings_are_checked_and_keep_fields_of_a_newer_version() -> None:
    current = replace(CURRENT, settings=EnvironmentSettings(extra={"newer": 1}))

    changed = SetSettings("production", lambda settings: replace(settings, keep_revisions=50, extra={}))(current)

    assert changed.settings == EnvironmentSettings(keep_revisions=50, extra={"newer": 1})
    assert changed.settings.extra == {"newer": 1}
    with pytest.raises(InvalidRequest):
        SetSettings("production", EnvironmentSettings(matchers="nonsense"))(current)
    with pytest.raises(InvalidOption, match="returned a dict"):
        SetSettings("production", lambda _settings: {})(current)


@pytest.mark.parametrize("revision", [2, 4, 5])
def test_a_kept_or_already_marked_release_can_be_marked_good(revision: int) -> None:
    current = replace(CURRENT, tools={**CURRENT.tools, "jaeger": ToolState(ref(1))})

    changed = MarkGood("production", "loki", ref(revision))(current)

    assert changed.tools == {"loki": replace(LOKI, good=ref(revision)), "jaeger": ToolState(ref(1))}


@pytest.mark.parametrize(("tool", "revision"), [("loki", 1), ("loki", 3), ("loki", 6), ("jaeger", 4)])
def test_a_pruned_or_unknown_release_cannot_be_marked_good(tool: str, revision: int) -> None:
    with pytest.raises(ConfigNotFound) as missing:
        MarkGood("production", tool, ref(revision))(CURRENT)

    assert (missing.value.tool, missing.value.environment) == (tool, "production")
