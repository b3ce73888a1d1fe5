"""`apm-s3 config ...`: reading, rolling back, marks, settings, watching; piped and on a terminal."""

from __future__ import annotations

import json

import pytest

from apm_s3.configs import ConfigStore
from tests.cli.kit import Shell
from tests.cli.stores import PROMETHEUS, on_store, three_revisions


@pytest.fixture
def staging(shell: Shell) -> Shell:
    """A shell on an environment "staging" with three revisions of Prometheus."""
    on_store(shell, three_revisions)
    shell.environ["APM_S3_ENVIRONMENT"] = "staging"
    return shell


def test_the_latest_releases_are_listed(staging: Shell) -> None:
    (release,) = staging.json("config", "ls")["releases"]

    assert (release["tool"], release["revision"], release["author"]) == ("prometheus", 3, "ada")
    assert "Version 3" in staging.terminal("config", "ls", "--all").plain


def test_the_text_of_any_revision_is_shown(staging: Shell) -> None:
    assert staging.ok("config", "show", "prometheus") == PROMETHEUS[2]
    assert staging.json("config", "show", "prometheus", "-r", "2")["text"] == PROMETHEUS[1]
    assert staging.terminal("config", "show", "prometheus", "-r", "1").plain == PROMETHEUS[0]


def test_the_files_of_a_release_are_listed(staging: Shell) -> None:
    assert list(staging.json("config", "show", "prometheus", "--list")["release"]["files"]) == ["prometheus.yml"]
    assert "prometheus.yml" in staging.terminal("config", "show", "prometheus", "--list").plain


def test_the_history_is_told_from_its_end(staging: Shell) -> None:
    history = staging.json("config", "history", "prometheus", "-n", "2")["releases"]

    assert [each["revision"] for each in history] == [3, 2]
    assert "Version 1" in staging.terminal("config", "history", "prometheus").plain


def test_the_log_is_told_from_its_end_or_since_a_moment(staging: Shell) -> None:
    entries = staging.json("config", "log", "--tool", "prometheus")["entries"]

    assert [each["action"] for each in entries] == ["mark_good", "upload", "upload", "upload"]
    assert staging.json("config", "log", "--since", "2999-01-01")["entries"] == []
    assert "prometheus 2→3" in staging.terminal("config", "log", "--since", "2").plain


def test_the_status_has_the_revision_and_the_good_one(staging: Shell) -> None:
    (status,) = staging.json("config", "status", "--exit-code")["tools"]

    assert (status["revision"], status["good_revision"], status["drifted"]) == (3, 1, None)
    assert "revision 1" in staging.terminal("config", "status").plain


def test_a_store_with_other_environments_says_so(staging: Shell) -> None:
    (staging.directory / "prometheus.yml").write_text(PROMETHEUS[0])
    for command in ("ls", "status"):
        staging.ok("config", "push", staging.directory, "--tool", "prometheus", "-e", f"new-{command}", "--create")
        others = {"ls": "1 other environment", "status": "2 other environments"}[command]
        assert staging("config", command).stderr == f"note: the store has {others}; --all shows all\n"
        assert staging("config", command, "--all").stderr == ""


def test_an_empty_store_says_how_to_begin(shell: Shell) -> None:
    ran = shell("config", "ls")
    assert (ran.status, "apm-s3 config push stores one" in ran.stderr) == (0, True)


def test_a_rollback_returns_to_the_good_revision(staging: Shell) -> None:
    command = ["config", "rollback", "prometheus"]

    assert "Would return prometheus in staging to revision 1" in staging.ok(*command, "--dry-run")
    release = staging.json(*command, "--author", "me", "-m", "Back")
    assert (release["revision"], release["author"], release["origin"]["revision"]) == (4, "me", 1)


def test_a_rollback_returns_to_the_revision_that_is_named(staging: Shell) -> None:
    told = staging.terminal("config", "rollback", "prometheus", "--to", "2", "-m", "Forth")

    assert "prometheus in staging is at revision 4, with the files of revision 2" in told.plain
    assert staging("config", "rollback", "prometheus", "--to", "99").status == 1


def test_a_rollback_of_another_revision_than_expected_has_status_4(staging: Shell) -> None:
    conflict = staging("config", "rollback", "prometheus", "--to", "2", "--expect-revision", "1")

    assert (conflict.status, "hint: get the current revision" in conflict.stderr) == (4, True)


def test_the_outcome_of_a_commit_is_known_by_its_write_id(staging: Shell) -> None:
    write_id = staging.json("config", "rollback", "prometheus")["write_id"]

    assert staging.json("config", "outcome", write_id)["outcome"] == "won"
    assert "won: it was committed" in staging.terminal("config", "outcome", write_id).plain
    assert staging("config", "outcome", ConfigStore.new_write_id("staging")).status == 5


def test_a_rollback_to_an_invalid_revision_is_refused_unless_it_is_forced(staging: Shell) -> None:
    on_store(staging, lambda store: store.upload("prometheus", "staging", "scrape_configs: 3\n", force="imported"))
    on_store(staging, lambda store: store.upload("prometheus", "staging", PROMETHEUS[0]))
    command = ["config", "rollback", "prometheus", "--to", "4", "-m", "Back"]

    tried, refused = staging(*command, "--dry-run"), staging(*command)
    assert (tried.status, "prometheus.yml:1:17: error:" in tried.stderr) == (3, True)
    assert (refused.status, "or use --force REASON" in refused.stderr) == (3, True)
    assert staging(*command, "--dry-run", "--force", "an incident").status == 0
    forced = staging(*command, "--force", "an incident")
    assert (forced.status, "warning: prometheus.yml:1:17: error:" in forced.stderr) == (0, True)
    assert staging.ok("config", "history", "prometheus").count("forced") == 2


def test_a_rollback_of_a_removed_configuration_is_planned(staging: Shell) -> None:
    staging.ok("config", "rm", "prometheus", "--yes")

    assert "+ prometheus.yml" in staging.ok("config", "rollback", "prometheus", "--to", "2", "--dry-run")


def test_a_removed_configuration_comes_back_by_a_rollback(staging: Shell) -> None:
    assert "- prometheus.yml" in staging.ok("config", "rm", "prometheus", "--dry-run")
    assert staging("config", "rm", "prometheus", "-m", "off").status == 2
    gone = staging.terminal("config", "rm", "prometheus", "-m", "off", typed="y\n")
    assert "removed prometheus from staging with revision 4" in gone.plain
    assert staging("config", "show", "prometheus").status == 1
    assert staging.json("config", "rollback", "prometheus", "--to", "3", "-m", "on")["revision"] == 5
    assert staging.json("config", "rm", "prometheus", "--yes")["revision"] == 6


def test_production_asks_for_its_name_before_a_rollback(shell: Shell) -> None:
    async def seed(store: ConfigStore) -> None:
        for text in PROMETHEUS[:2]:
            await store.upload("prometheus", "production", text)

    on_store(shell, seed)
    command = ["config", "rollback", "prometheus", "--to", "1", "-e", "production", "-m", "Back"]

    refused = shell.terminal(*command, typed="y\n")
    assert (refused.status, "Type 'production' to go on" in refused.plain) == (1, True)
    assert shell(*command).status == 2
    assert shell.terminal(*command, typed="production\n").status == 0


def test_an_environment_is_frozen_and_thawed(staging: Shell) -> None:
    assert staging("config", "freeze").status == 2
    assert "would freeze" in staging.ok("config", "freeze", "-m", "Christmas", "--dry-run")
    staging.json("config", "freeze", "-m", "Christmas", "--author", "ada")
    refused = staging("config", "rollback", "prometheus", "-m", "Back")
    assert (refused.status, "hint: thaw it (apm-s3 config thaw -e staging)" in refused.stderr) == (4, True)
    assert "staging is frozen by ada" in staging.terminal("config", "status").plain
    assert "would thaw" in staging.ok("config", "thaw", "--dry-run")
    assert "thawed staging" in staging.terminal("config", "thaw").plain
    staging.ok("config", "rollback", "prometheus", "-m", "Back")
    assert "froze staging: again" in staging.terminal("config", "freeze", "-m", "again").plain
    staging.json("config", "thaw")


def test_a_revision_is_marked_good(staging: Shell) -> None:
    assert "would mark revision 3" in staging.ok("config", "good", "prometheus", "--dry-run")
    assert staging.json("config", "good", "prometheus")["revision"] == 3
    assert (
        "revision 2 of prometheus in staging is marked good"
        in staging.terminal("config", "good", "prometheus", "-r", "2").plain
    )


def test_settings_are_shown_and_changed(staging: Shell) -> None:
    change = ["--set", "require-message=true", "--set", "keep-for=30d", "--set", "target-versions=prometheus:2.53"]

    planned = staging.terminal("config", "settings", *change, "--dry-run")
    assert "~ keep-for: not set -> 30d" in planned.plain
    assert staging.json("config", "settings")["require_message"] is False
    after = staging.json("config", "settings", *change, "--set", "deploy-from=dev")["after"]
    assert (after["require_message"], after["keep_for"], after["deploy_from"]) == (True, 30 * 86400, ["dev"])
    assert "prometheus:2.53" in staging.terminal("config", "settings").plain
    assert "does not accept changes without message" in staging("config", "rollback", "prometheus").stderr
    assert "No changes" in staging.ok("config", "settings", *change)
    assert staging.json("config", "settings", "--set", "deploy-from=", "-m", "why")["after"]["deploy_from"] is None
    created = staging.json("config", "settings", "-e", "new", "--set", "level=external", "--create")
    assert created["after"]["level"] == "external"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("levle=full", "did you mean 'level'?"),
        ("keep-for=30", "is not a period"),
        ("require-author=maybe", "neither true nor false"),
        ("keep-revisions=many", "is not a number"),
        ("level=sloppy", "unknown level"),
    ],
)
def test_settings_that_are_not_valid_are_refused(change: str, told: str, local: Shell) -> None:
    ran = local("config", "settings", "--set", change, "-b", "bucket-x", "-e", "staging")

    assert (ran.status, told in ran.stderr) == (2, True), ran.stderr


def test_a_watch_prints_releases_and_entries(staging: Shell) -> None:
    ran = staging("config", "watch", "--count", "1", "--output", "json")
    assert [json.loads(line)["revision"] for line in ran.stdout.splitlines()] == [3]
    shown = staging.terminal("config", "watch", "--count", "1", "--tool", "prometheus")
    assert "staging/prometheus revision 3 by ada: Version 3" in shown.plain


def test_a_mistyped_tool_or_environment_gets_a_suggestion(staging: Shell) -> None:
    assert "'promtheus' is not a tool; did you mean 'prometheus'?" in staging("config", "history", "promtheus").stderr
    ran = staging("config", "history", "prometheus", "-e", "stagin")
    assert (ran.status, "did you mean 'staging'?" in ran.stderr) == (1, True)


def test_foreign_text_cannot_control_the_terminal(shell: Shell) -> None:
    shell.ok("object", "put", "-", f"s3://{shell.environ['APM_S3_BUCKET']}/\x1b[2Jgone", typed="1")

    shown = shell.terminal("object", "ls", f"s3://{shell.environ['APM_S3_BUCKET']}")

    assert "\x1b[2J" not in shown.screen
    assert "\\x1b[2Jgone" in shown.plain


def test_an_outcome_that_cannot_be_read_is_not_known(staging: Shell) -> None:
    write_id = staging.json("config", "rollback", "prometheus")["write_id"]

    asked = staging("config", "outcome", write_id, "--bucket", "a-bucket-that-is-missing")

    assert asked.status == 5
    assert f"apm-s3 config outcome {write_id}" in asked.stderr


def test_a_write_that_lost_has_status_1(staging: Shell) -> None:
    write_id = ConfigStore.new_write_id("staging")
    document = staging.directory / "document"
    document.write_text("{}")
    bucket = staging.environ["APM_S3_BUCKET"]
    key = f"configs/staging/prometheus/releases/00000002-{write_id}.json"
    staging.ok("object", "cp", document, f"s3://{bucket}/{key}")

    assert staging.json("config", "outcome", write_id, status=1)["outcome"] == "lost"


def test_a_repair_that_leaves_damage_has_status_1(staging: Shell) -> None:
    key = f"s3://{staging.environ['APM_S3_BUCKET']}/configs/staging/current.json"
    document = json.loads(staging.ok("object", "cat", key))
    document["log"]["entries"][-1]["at"] = "never"
    (staging.directory / "forged.json").write_text(json.dumps(document))
    staging.ok("object", "cp", "forged.json", key)

    assert staging.json("config", "repair", "--yes", status=1)["ok"] is False
