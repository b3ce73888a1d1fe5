"""`apm-s3 config push|pull|diff|import|plan|deploy|backup...|fsck|repair|gc`; piped and on a terminal."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.cli.kit import Shell
from tests.cli.memory import press_ctrl_c
from tests.cli.stores import on_store, three_revisions
from tests.faults.server import Exchange, FaultyS3

GOOD = "scrape_configs:\n- job_name: node\n"
BETTER = "scrape_configs:\n- job_name: node\n- job_name: api\n"
BAD = "scrape_configs: 3\n"
SECRET = "hunter2-is-a-secret"
LEAKY = f"scrape_configs:\n- job_name: node\n  basic_auth: {{username: me, password: {SECRET}}}\n"


def put(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return folder


HIDDEN = "scrape_configs:\n- job_name: node # \u202eedon\u2066 \u200b\n"


def test_a_diff_shows_characters_that_would_hide_a_change(staging: Shell) -> None:
    staging.ok("config", "push", "prometheus")
    put(staging.directory / "prometheus", {"prometheus.yml": HIDDEN})

    shown = staging.terminal("config", "diff", "prometheus").screen
    document = staging("config", "diff", "prometheus", "-o", "json").stdout

    for printed in (shown, document):
        assert not set("\u202e\u2066\u200b") & set(printed)
        assert "\\u202eedon\\u2066 \\u200b" in printed
    assert "\u202eedon" in json.loads(document)["files"][0]["text"]


def files_in(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def staging(shell: Shell) -> Shell:
    """A shell with a bundle in `prometheus/`, on an environment "staging" that does not exist yet."""
    put(shell.directory / "prometheus", {"prometheus.yml": GOOD})
    shell.environ["APM_S3_ENVIRONMENT"] = "staging"
    return shell


def test_a_push_is_planned_and_done(staging: Shell) -> None:
    would = staging.terminal("config", "push", "prometheus", "--dry-run").plain
    assert "Would change prometheus in staging: 1 to add, 0 to change, 0 to remove" in would
    assert "+ prometheus.yml" in would

    first = staging.json("config", "push", "prometheus", "--author", "ada", "-m", "Begin")
    assert (first["revision"], first["author"], first["message"]) == (1, "ada", "Begin")


@pytest.fixture
def changed(staging: Shell) -> Shell:
    """`staging`, whose bundle was pushed, and then changed in its directory."""
    staging.ok("config", "push", "prometheus")
    put(staging.directory / "prometheus", {"prometheus.yml": BETTER, "rules/a.yml": "groups: []\n"})
    return staging


def test_a_diff_shows_what_a_push_would_change(changed: Shell) -> None:
    shown = changed.terminal("config", "diff", "prometheus")

    assert "\x1b[32m+- job_name: api" in shown.screen
    assert "~ prometheus.yml" in shown.plain
    assert "+ rules/a.yml" in shown.plain


def test_a_diff_with_differences_has_status_6(changed: Shell) -> None:
    differing = changed("config", "diff", "prometheus", "--exit-code", "-o", "json")

    assert differing.status == 6
    assert [each["kind"] for each in json.loads(differing.stdout)["files"]] == ["changed", "added"]


def test_after_a_push_there_are_no_differences_but_to_earlier_revisions(changed: Shell) -> None:
    pushed = changed.terminal("config", "push", "prometheus", "-m", "More")

    assert "prometheus in staging is at revision 2" in pushed.plain
    assert changed("config", "diff", "prometheus", "--exit-code").status == 0
    assert "no differences" in changed.ok("config", "diff", "prometheus")
    assert changed("config", "diff", "--tool", "prometheus", "--from", "1", "--to", "2", "--exit-code").status == 6


def test_a_revision_is_pulled_into_a_new_directory(changed: Shell) -> None:
    changed.ok("config", "push", "prometheus", "-m", "More")

    pulled = changed.json("config", "pull", "copy", "--tool", "prometheus", "-r", "1")

    assert (pulled["revision"], files_in(changed.directory / "copy")) == (1, {"prometheus.yml": GOOD})


def test_a_pull_replaces_a_directory_only_if_it_may(changed: Shell) -> None:
    changed.ok("config", "push", "prometheus", "-m", "More")
    changed.ok("config", "pull", "copy", "--tool", "prometheus", "-r", "1")
    command = ["copy", "--tool", "prometheus"]

    assert changed("config", "pull", *command).status == 2
    assert "+ rules/a.yml" in changed.ok("config", "pull", *command, "--dry-run")
    assert changed.terminal("config", "pull", *command, "--replace", typed="n\n").status == 1
    assert files_in(changed.directory / "copy") == {"prometheus.yml": GOOD}
    changed.ok("config", "pull", *command, "--replace", "--yes")
    assert files_in(changed.directory / "copy") == files_in(changed.directory / "prometheus")


def test_an_invalid_bundle_is_not_pushed(staging: Shell) -> None:
    put(staging.directory / "prometheus", {"prometheus.yml": BAD})

    tried = staging("config", "push", "prometheus", "--dry-run")
    refused = staging("config", "push", "prometheus", "-m", "x")

    assert (tried.status, refused.status, refused.stdout) == (3, 3, "")
    assert "prometheus/prometheus.yml:1:17: error:" in tried.stderr
    assert "prometheus.yml:1:17: error:" in refused.stderr
    assert staging.json("config", "ls", "--all")["releases"] == []
    assert staging.json("config", "push", "prometheus", "--force", "as it was")["forced"] == "as it was"


def test_a_dry_push_judges_by_the_settings_of_the_environment(staging: Shell) -> None:
    staging.ok("config", "push", "prometheus")
    staging.ok("config", "settings", "--set", "warnings-as-errors=plain-text-secret", "-m", "x")
    put(staging.directory / "prometheus", {"prometheus.yml": LEAKY})

    tried = staging("config", "push", "prometheus", "--dry-run")
    refused = staging("config", "push", "prometheus", "-m", "x")

    assert (tried.status, refused.status) == (3, 3)
    assert "error: " in tried.stderr
    assert staging("config", "push", "prometheus", "--dry-run", "--force", "an incident").status == 0


def test_differences_never_show_a_secret(staging: Shell) -> None:
    staging.ok("config", "push", "prometheus")
    put(staging.directory / "prometheus", {"prometheus.yml": LEAKY})

    for command in (["config", "diff", "prometheus"], ["config", "push", "prometheus", "--dry-run"]):
        for ran in (staging(*command), staging(*command, "-o", "json"), staging.terminal(*command)):
            assert ran.status == 0
            assert SECRET not in ran.stdout + ran.stderr + ran.screen


def test_a_repeated_push_with_a_write_id_commits_once(staging: Shell) -> None:
    write_id = "staging." + "0" * 20

    first = staging.json("config", "push", "prometheus", "--write-id", write_id)
    second = staging.json("config", "push", "prometheus", "--write-id", write_id)

    assert first["revision"] == second["revision"] == 1


def test_a_lost_race_has_status_4_and_production_asks_for_its_name(staging: Shell) -> None:
    staging.ok("config", "push", "prometheus")
    assert staging("config", "push", "prometheus", "--expect-revision", "0").status == 4

    command = ["config", "push", "prometheus", "-e", "production", "--create", "-m", "x"]
    assert staging(*command).status == 2
    assert staging.terminal(*command, typed="yes\n").status == 1
    assert staging.terminal(*command, typed="production\n").status == 0


def test_a_misspelt_environment_is_created_only_after_a_question_or_with_create(staging: Shell) -> None:
    staging.ok("config", "push", "prometheus")
    command = ["config", "push", "prometheus", "-e", "stagign", "-m", "x"]

    for extra in ([], ["--dry-run"], ["--yes"]):
        refused = staging(*command, *extra)
        assert (refused.status, "did you mean 'staging'? --create allows a new one" in refused.stderr) == (1, True)
    asked = staging.terminal(*command, typed="n\n")
    assert (asked.status, "no environment 'stagign' (did you mean 'staging'?). Create it? [y/N]" in asked.plain) == (
        1,
        True,
    )
    for planned in (
        ["config", "plan", "staging", "stagign"],
        ["config", "settings", "-e", "stagign", "--set", "level="],
    ):
        assert "--create allows a new one" in staging(*planned).stderr
    assert {each["environment"] for each in staging.json("config", "ls", "--all")["releases"]} == {"staging"}

    assert staging.terminal(*command, typed="y\n").status == 0
    assert staging(*command[:-3], "new", "--create", "-m", "x").status == 0


def test_an_environment_is_taken_away_and_comes_back(staging: Shell) -> None:
    staging.ok("config", "push", "prometheus")
    staging.ok("config", "push", "prometheus", "-e", "stagign", "--create")
    command = ["config", "rm", "--all", "-e", "stagign"]

    assert staging(*command[:3]).status == staging("config", "rm", "prometheus", "--all").status == 2
    assert "- prometheus" in staging.ok(*command, "--dry-run")
    assert staging.terminal(*command, "-m", "x", typed="n\n").status == 1
    gone = staging.json(*command, "--yes", "-m", "a typing error")
    assert (gone["removed"], gone["tools"]) == (True, ["prometheus"])
    assert [each["environment"] for each in staging.json("config", "status", "--all")["tools"]] == ["staging"]
    refused = staging("config", "push", "prometheus", "-e", "stagign", "--create")
    assert (refused.status, "was removed by" in refused.stderr, "config thaw" in refused.stderr) == (4, True, True)
    staging.ok("config", "thaw", "-e", "stagign")
    staging.ok("config", "rollback", "prometheus", "--to", "1", "-e", "stagign")


def test_the_tool_of_a_directory_must_be_known(staging: Shell) -> None:
    put(staging.directory / "unknown", {"a.yml": "a: 1\n"})

    for command in ("push unknown", "pull unknown", "diff unknown", "diff"):
        ran = staging("config", *command.split())
        assert (ran.status, "use --tool" in ran.stderr) == (2, True)


# Plans


@pytest.fixture
def promoted(staging: Shell) -> Shell:
    """Staging is ahead of qa by one revision."""
    staging.ok("config", "push", "prometheus", "-m", "one")
    staging.ok("config", "plan", "staging", "qa", "--create", "--out", "first.plan")
    staging.ok("config", "deploy", "first.plan", "--yes")
    put(staging.directory / "prometheus", {"prometheus.yml": BETTER})
    staging.ok("config", "push", "prometheus", "-m", "two")
    return staging


def test_a_plan_shows_what_a_deploy_would_change(promoted: Shell) -> None:
    shown = promoted.terminal("config", "plan", "staging", "qa").plain

    assert "Plan: 1 tool from staging to qa; files: 0 to add, 1 to change, 0 to remove" in shown
    assert "~ prometheus: revision 1 -> 2, from revision 2" in shown
    assert "+- job_name: api" in shown


def test_a_plan_is_a_file_with_the_hash_of_what_is_planned(promoted: Shell) -> None:
    promoted.ok("config", "plan", "staging", "qa", "--out", "deploy.plan")
    reviewed = json.loads((promoted.directory / "deploy.plan").read_text())
    planned = promoted("config", "plan", "staging", "qa", "--exit-code", "-o", "json")

    assert (reviewed["kind"], reviewed["target"]["environment"]) == ("apm-s3/deploy-plan", "qa")
    assert (planned.status, json.loads(planned.stdout)["plan"]["hash"]) == (6, reviewed["hash"])
    assert promoted.json("config", "deploy", "deploy.plan", "--dry-run")["plan"]["hash"] == reviewed["hash"]


def test_a_plan_is_carried_out_after_a_question(promoted: Shell) -> None:
    promoted.ok("config", "plan", "staging", "qa", "--out", "deploy.plan")

    assert promoted("config", "deploy", "deploy.plan").status == 2
    assert promoted.terminal("config", "deploy", "deploy.plan", "-m", "go", typed="n\n").status == 1
    done = promoted.terminal("config", "deploy", "deploy.plan", "-m", "go", typed="y\n").plain
    assert "deployed staging to qa: prometheus is at revision 2" in done
    assert promoted("config", "plan", "staging", "qa", "--exit-code").status == 0


def test_a_stale_plan_is_refused_with_status_4(promoted: Shell) -> None:
    promoted.ok("config", "plan", "staging", "qa", "--out", "deploy.plan")
    put(promoted.directory / "prometheus", {"prometheus.yml": GOOD})
    promoted.ok("config", "push", "prometheus")

    for extra in (["--yes"], ["--dry-run"]):
        ran = promoted("config", "deploy", "deploy.plan", *extra)
        assert (ran.status, ran.stdout) == (4, "")
        assert "is outdated" in ran.stderr


def test_a_plan_that_was_carried_out_is_no_failure_until_the_target_has_moved_on(promoted: Shell) -> None:
    promoted.ok("config", "plan", "staging", "qa", "--out", "deploy.plan")
    promoted.ok("config", "deploy", "deploy.plan", "--yes")

    again = promoted.json("config", "deploy", "deploy.plan", "--yes")
    assert (again["releases"], again["carried_out"]) == ([], {"prometheus": 2})
    assert len(promoted.json("config", "history", "prometheus", "-e", "qa")["releases"]) == 2

    promoted.ok("config", "rollback", "prometheus", "-e", "qa", "--to", "1", "-m", "back")
    moved = promoted("config", "deploy", "deploy.plan", "--yes")
    assert moved.status == 4
    assert "was already carried out: prometheus as revision 2; since then, 'qa' has changed" in moved.stderr
    assert "prometheus at revision 3" in moved.stderr


def test_the_names_of_environments_in_place_of_a_plan_get_the_command_that_makes_one(promoted: Shell) -> None:
    for arguments in (["staging", "qa"], ["staging", "nowhere"], ["staging"]):
        refused = promoted("config", "deploy", *arguments)
        assert refused.status == 2
        assert "apm-s3 config plan SOURCE TARGET --out FILE writes a plan" in refused.stderr
        assert "--create" not in refused.stderr


def test_a_deploy_whose_target_has_gone_names_no_option_that_it_does_not_have(promoted: Shell) -> None:
    promoted.ok("config", "plan", "staging", "qa", "--out", "deploy.plan")
    promoted.ok("object", "rm", f"s3://{promoted.environ['APM_S3_BUCKET']}/configs/qa/", "--recursive", "--yes")

    gone = promoted("config", "deploy", "deploy.plan", "--yes")

    assert (gone.status, "there is no environment 'qa'" in gone.stderr) == (1, True)
    assert "hint: to create it, make a new plan: apm-s3 config plan staging qa --create --out FILE\n" in gone.stderr


def test_a_blocked_plan_has_status_4_and_says_with_which_options_a_deploy_accepts_it(promoted: Shell) -> None:
    put(promoted.directory / "qa", {"prometheus.yml": GOOD + "# by hand\n"})
    promoted.ok("config", "push", "qa", "--tool", "prometheus", "-e", "qa")

    planned = promoted("config", "plan", "staging", "qa", "--out", "deploy.plan", "--exit-code")
    assert (planned.status, "changed by hand" in planned.stdout) == (4, True)
    assert "unless with: apm-s3 config deploy deploy.plan --allow-drift\n" in planned.stderr
    refused = promoted("config", "deploy", "deploy.plan", "--yes")
    assert (refused.status, refused.stderr.count("--allow-drift"), "allow_drift" in refused.stderr) == (4, 1, False)
    assert promoted("config", "deploy", "deploy.plan", "--dry-run").status == 4
    assert promoted.json("config", "deploy", "deploy.plan", "--dry-run", "--allow-drift")["blocked"] == []

    put(promoted.directory / "prometheus", {"prometheus.yml": BAD})
    promoted.ok("config", "push", "prometheus", "--force", "an incident")
    both = promoted("config", "plan", "staging", "qa", "--out", "deploy.plan")
    assert (both.status, "deploy.plan --allow-drift --force REASON" in both.stderr) == (4, True)
    promoted.ok("config", "freeze", "-e", "qa", "-m", "holidays")
    frozen = promoted("config", "plan", "staging", "qa", "--out", "deploy.plan")
    assert (frozen.status, "resolve the reasons, and make a new plan" in frozen.stderr) == (4, True)


def test_a_plan_that_changes_nothing_is_not_blocked(promoted: Shell) -> None:
    promoted.ok("config", "push", "prometheus", "-e", "qa")  # by hand, and the same as in staging

    assert promoted.json("config", "plan", "staging", "qa")["blocked"] == []


def test_a_dry_run_of_a_restore_to_a_frozen_environment_has_status_4(staging: Shell) -> None:
    staging.ok("config", "push", "prometheus")
    [backup] = staging.json("config", "backup", "--tool", "prometheus")["backups"]
    staging.ok("config", "freeze", "-m", "holidays")

    assert "Blocked" in staging("config", "restore", backup["key"], "--dry-run").stdout
    assert staging("config", "restore", backup["key"], "--dry-run").status == 4


def test_an_edited_or_foreign_plan_is_refused_with_status_2(promoted: Shell, memory: FaultyS3) -> None:
    promoted.ok("config", "plan", "staging", "qa", "--out", "deploy.plan")
    path = promoted.directory / "deploy.plan"
    plan = json.loads(path.read_text())
    memory.s3.buckets["another-bucket"] = {}

    foreign = promoted("config", "deploy", "deploy.plan", "--yes", "--bucket", "another-bucket")
    path.write_text(json.dumps({**plan, "create": True}))
    edited = promoted("config", "deploy", "deploy.plan", "--yes")
    path.write_text("not JSON")
    broken = promoted("config", "deploy", "deploy.plan", "--yes")

    assert (foreign.status, "another-bucket" in foreign.stderr) == (2, True)
    assert (edited.status, "its hash does not match" in edited.stderr) == (2, True)
    assert (broken.status, "it is not JSON" in broken.stderr) == (2, True)


def test_a_plan_file_has_no_values_of_variables_and_no_contents(staging: Shell) -> None:
    put(staging.directory / "prometheus", {"prometheus.yml": LEAKY.replace("node", "${JOB}")})
    staging.ok("config", "push", "prometheus", "--force", "a template")
    put(staging.directory / "qa", {"prometheus.yml": GOOD, ".apm/overlay.yml": "variables: {JOB: null}\n"})
    staging.ok("config", "push", "qa", "--tool", "prometheus", "-e", "qa", "--create")

    staging.ok("config", "plan", "staging", "qa", "--var", f"JOB={SECRET}-job", "--out", "deploy.plan")

    text = (staging.directory / "deploy.plan").read_text()
    assert SECRET not in text
    assert json.loads(text)["variables"] == ["JOB"]
    assert staging("config", "deploy", "deploy.plan", "--yes").status == 2
    assert staging("config", "deploy", "deploy.plan", "--yes", "--var", f"JOB={SECRET}-job").status == 0


# Imports


def test_a_directory_and_a_history_are_imported(shell: Shell) -> None:
    put(shell.directory / "configs", {"staging/prometheus/prometheus.yml": GOOD, "Makefile": "all:\n"})
    tried = shell.terminal("config", "import", "configs", "--dry-run").plain
    assert "Import of configs: 1 revision to commit" in tried
    assert "+ staging/prometheus: 1 revision" in tried
    assert "Left out: Makefile" in tried
    done = shell.json("config", "import", "configs", "--author", "ada")
    assert [each["author"] for each in done["releases"]] == ["ada"]
    assert "0 revisions to commit" in shell.ok("config", "import", "configs")

    git = ["git", "-c", "user.name=Eve", "-c", "user.email=e@example.org"]
    root = shell.directory / "configs"
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "First"]):
        subprocess.run([*git, *arguments], cwd=root, check=True, timeout=60)
    history = shell.terminal("config", "import", "configs/staging", "--history", "-e", "qa", "--create").plain
    assert "imported 1 revision of configs/staging" in history
    (release,) = shell.json("config", "history", "prometheus", "-e", "qa")["releases"]
    assert (release["author"], release["message"].startswith("First (commit ")) == ("Eve <e@example.org>", True)


def test_an_import_says_which_revisions_are_invalid_and_its_dry_run_ends_as_it_would(shell: Shell) -> None:
    git = ["git", "-c", "user.name=Eve", "-c", "user.email=e@example.org"]
    root = put(shell.directory / "configs", {"prometheus/prometheus.yml": BAD})
    subprocess.run([*git, "init", "-q"], cwd=root, check=True, timeout=60)
    for text in (BAD, GOOD):
        put(root, {"prometheus/prometheus.yml": text})
        subprocess.run([*git, "add", "."], cwd=root, check=True, timeout=60)
        subprocess.run([*git, "commit", "-qm", "x"], cwd=root, check=True, timeout=60)

    done = shell("config", "import", "configs", "--history", "-e", "qa")
    assert (done.status, done.stderr.count("is invalid")) == (0, 1)
    assert "warning: revision 1 of prometheus in qa is invalid: prometheus.yml:1:17: error:" in done.stderr

    put(shell.directory / "bad", {"prometheus/prometheus.yml": BAD})
    command = ["config", "import", "bad", "--dry-run", "--create", "-e"]
    assert [shell(*command, "new").status, shell(*command, "new", "--force", "x").status] == [3, 0]
    assert shell(*command, "qa").status == 4


def test_a_prefix_in_s3_is_imported(shell: Shell) -> None:
    put(shell.directory / "old", {"staging/prometheus/prometheus.yml": GOOD})
    bucket = shell.environ["APM_S3_BUCKET"]
    shell.ok("sync", "old", f"s3://{bucket}/legacy")

    shell.ok("config", "import", f"s3://{bucket}/legacy")

    assert shell.ok("config", "show", "prometheus", "-e", "staging") == GOOD


# Backups and care


ELSEWHERE = ["--backup-bucket", "apm-backups"]


@pytest.fixture
def third(shell: Shell, memory: FaultyS3) -> Shell:
    """A shell on an environment "staging" at its third revision, and a bucket for backups."""
    on_store(shell, three_revisions)
    shell.environ["APM_S3_ENVIRONMENT"] = "staging"
    memory.s3.buckets["apm-backups"] = {}
    return shell


@pytest.fixture
def backup(third: Shell) -> str:
    """The key of a backup of it in that bucket."""
    key: str = third.json("config", "backup", *ELSEWHERE)["backups"][0]["key"]
    return key


def test_a_backup_is_planned_made_and_listed_where_it_is(third: Shell) -> None:
    assert "+ staging/prometheus: revision 3" in third.ok("config", "backup", "--dry-run")
    made = third.json("config", "backup", *ELSEWHERE, "-m", "Tonight")["backups"][0]["key"]

    assert third.json("config", "backups")["backups"] == []
    assert made in third.terminal("config", "backups", *ELSEWHERE, columns=200).plain.replace("\n", "")
    assert made[:19] in third.terminal("config", "backup", *ELSEWHERE, columns=200).plain


def test_a_backup_is_verified(third: Shell, backup: str) -> None:
    assert "is intact: 1 file" in third.terminal("config", "verify", backup, *ELSEWHERE).plain
    assert third.json("config", "verify", backup, *ELSEWHERE)["ok"] is True


def test_a_drill_restores_a_backup_aside(third: Shell, backup: str) -> None:
    assert "Would restore and remove" in third.ok("config", "drill", backup, "--dry-run", *ELSEWHERE)
    assert third.json("config", "drill", backup, *ELSEWHERE)["ok"] is True
    assert "every byte of prometheus came back" in third.terminal("config", "drill", backup, *ELSEWHERE).plain


def test_a_lost_environment_is_restored_after_a_question(third: Shell, backup: str, memory: FaultyS3) -> None:
    memory.s3.buckets[third.environ["APM_S3_BUCKET"]].clear()
    command = [backup, *ELSEWHERE]

    would = third.terminal("config", "restore", *command, "--dry-run").plain
    assert "files: 1 to add, 0 to change, 0 to remove" in would
    assert third("config", "restore", *command).status == 2
    back = third.terminal("config", "restore", *command, "-m", "Lost", typed="y\n").plain
    assert "restored staging: prometheus is at revision 1" in back
    assert third.ok("config", "show", "prometheus") == "# third\nscrape_configs: []\n"


def test_a_restore_and_an_import_create_no_environment_by_a_typing_error(staging: Shell) -> None:
    staging.ok("config", "push", "prometheus", "-m", "First")
    (made,) = staging.json("config", "backup")["backups"]
    put(staging.directory / "more", {"prometheus/prometheus.yml": GOOD})

    for command in (["restore", made["key"], "--yes", "-m", "x"], ["import", "more"]):
        for more in ([], ["--dry-run"]):
            refused = staging("config", *command, *more, "-e", "stagign")
            assert (refused.status, "did you mean 'staging'? --create allows a new one" in refused.stderr) == (1, True)
        assert staging("config", "status", "-e", "stagign").status == 1
        staging.ok("config", *command, "-e", f"new-{command[0]}", "--create")


def test_an_intact_environment_is_said_to_be_so(third: Shell) -> None:
    checked = "staging: 3 releases, 3 blobs, 1 live copy, 5 log entries: all intact\n"
    assert third.ok("config", "fsck") == checked
    assert third.json("config", "fsck")["ok"] is True
    assert third.ok("config", "repair", "--dry-run") == f"{checked}a repair of staging would change nothing\n"
    assert third.json("config", "repair", "--dry-run")["actions"] == []


def test_damage_is_found_and_repaired(third: Shell, memory: FaultyS3) -> None:
    del memory.s3.buckets[third.environ["APM_S3_BUCKET"]]["live/staging/prometheus/prometheus.yml"]

    broken = third("config", "fsck", "-o", "json")
    assert (broken.status, json.loads(broken.stdout)["findings"][0]["severity"]) == (1, "behind")
    assert "live/staging/prometheus/prometheus.yml" in third.ok("config", "repair", "--dry-run")
    would = third.json("config", "repair", "--dry-run")["actions"]
    assert would == ["live copies of prometheus would be compared and refreshed"]
    assert "repaired staging" in third.terminal("config", "repair").plain
    assert third.json("config", "repair")["ok"] is True


def test_a_dry_repair_tells_what_would_be_done_and_not_what_was(third: Shell, memory: FaultyS3) -> None:
    bucket = memory.s3.buckets[third.environ["APM_S3_BUCKET"]]
    sha256 = hashlib.sha256(b"# third\nscrape_configs: []\n").hexdigest()
    [blob] = [key for key in bucket if f"/blobs/{sha256}" in key]
    third.ok("object", "rm", f"s3://{third.environ['APM_S3_BUCKET']}/{blob}", "--yes")

    would = third.json("config", "repair", "--dry-run")["actions"]
    did = third.json("config", "repair")["actions"]

    assert [action.replace("would be", "was") for action in would] == did[:-1]
    assert did[-1] == "live copies of prometheus were compared and refreshed"
    assert not [action for action in would if " was " in action or " were " in action]


def test_a_repair_of_production_without_a_terminal_says_what_it_found_and_the_command(shell: Shell) -> None:
    put(shell.directory / "prometheus", {"prometheus.yml": GOOD})
    shell.ok("config", "push", "prometheus", "-e", "production", "--yes")
    assert "all intact" in shell.ok("config", "repair", "-e", "production")
    live = f"s3://{shell.environ['APM_S3_BUCKET']}/live/production/prometheus/prometheus.yml"
    shell.ok("object", "rm", live, "--yes")

    refused = shell("config", "repair", "-e", "production")

    assert refused.status == 2
    assert "production has 1 problem, the first: 'live/production/prometheus/prometheus.yml'" in refused.stderr
    assert "carry it out: apm-s3 config repair -e production --yes\n" in refused.stderr
    assert shell("object", "cat", live).status == 1


def test_old_revisions_are_collected_after_a_question(third: Shell) -> None:
    planned = third.json("config", "gc", "--keep-revisions", "1", "--older-than", "24h", "--dry-run")

    assert planned["dry_run"] is True
    assert third("config", "gc", "--keep-revisions", "1").status == 2
    assert "deleted" in third.terminal("config", "gc", "--keep-revisions", "1", typed="y\n").plain
    assert third("config", "gc", "--older-than", "soon", "--dry-run").status == 2


# Ctrl-C


def test_a_repair_that_needs_a_choice_prints_the_command_to_paste(staging: Shell, memory: FaultyS3) -> None:
    for text in (GOOD, BETTER):
        put(staging.directory / "prometheus", {"prometheus.yml": text})
        staging.ok("config", "push", "prometheus", "-m", "x")
    bucket = memory.s3.buckets[staging.environ["APM_S3_BUCKET"]]
    [newest] = [key for key in bucket if "/releases/00000002-" in key]
    staging.ok("object", "rm", f"s3://{staging.environ['APM_S3_BUCKET']}/{newest}", "--yes")

    found = staging("config", "status", "--exit-code")
    assert (found.status, "damaged" in found.stdout, staging("config", "status").status) == (6, True, 0)
    assert "see how to repair it: apm-s3 config repair -e staging --dry-run\n" in found.stdout
    shown = staging.json("config", "history", "prometheus")
    assert ([each["revision"] for each in shown["releases"]], list(shown["damaged"])) == ([1], ["2"])
    for command in (
        ["fsck"],
        ["repair", "--yes"],
        ["fsck"],
        ["push", "prometheus"],
        ["rollback", "prometheus", "--to", "1"],
    ):
        assert staging("config", *command).status == 1
    asked = staging("config", "repair", "--yes")
    [hint] = [line for line in asked.stderr.splitlines() if line.startswith("hint: ")]
    assert hint.endswith(": apm-s3 config repair -e staging --choose prometheus=1")
    staging.ok(*hint.rpartition("apm-s3 ")[2].split())
    assert staging.ok("config", "show", "prometheus") == GOOD
    staging.ok("config", "fsck")
    staging.ok("config", "push", "prometheus", "-m", "x")


@pytest.mark.parametrize(
    ("command", "request_", "told"),
    [
        ("config pull copy --tool prometheus", "GetObject", "copy was not changed."),
        ("config diff prometheus", "GetObject", "Nothing was changed."),
        ("config plan staging qa --create --out new.plan", "GetObject", "Nothing was changed."),
        ("config backup", "PutObject", "An unfinished backup is not listed; run it again."),
        ("config verify {key}", "GetObject", "Nothing was changed."),
        ("config drill {key}", "PutObject", "Run it again: a drill removes what an interrupted one has left."),
        ("config restore {key} --dry-run", "GetObject", "Nothing was changed."),
        ("config fsck", "ListObjectsV2", "Nothing was changed."),
        (
            "config gc --keep-revisions 1 --yes",
            "ListObjectsV2",
            "See whether it was committed: apm-s3 config outcome staging.",
        ),
        ("config push prometheus -m x", "PutObject", "See whether it was committed: apm-s3 config outcome staging."),
        ("config import configs", "PutObject", "Revisions that were committed stay. Continue with the same command:"),
    ],
)
def test_ctrl_c_leaves_nothing_half_done(
    command: str, request_: str, told: str, staging: Shell, memory: FaultyS3
) -> None:
    on_store(staging, three_revisions)
    put(staging.directory / "configs", {"qa/prometheus/prometheus.yml": GOOD})
    before = sorted(path.name for path in staging.directory.iterdir())
    backups = staging.json("config", "backup")["backups"]
    memory.will(press_ctrl_c, request_)

    ran = staging(*command.format(key=backups[0]["key"]).split())
    memory.rules.clear()

    assert (ran.status, ran.stdout) == (130, "")
    assert ran.stderr.splitlines()[-1].startswith(f"Interrupted. {told}")
    assert "Traceback" not in ran.stderr
    assert sorted(path.name for path in staging.directory.iterdir()) == before
    assert [each["revision"] for each in staging.json("config", "ls", "--all")["releases"]] == [3]
    assert staging.json("config", "backups", "--all")["backups"] == backups
    assert staging.json("config", "fsck")["findings"] == []


@pytest.mark.parametrize("name", ["deploy", "restore", "repair"])
def test_ctrl_c_in_a_commit_names_the_command_that_tells_its_outcome(
    name: str, promoted: Shell, memory: FaultyS3
) -> None:
    promoted.ok("config", "plan", "staging", "qa", "--out", "deploy.plan")
    (made,) = promoted.json("config", "backup")["backups"]
    command = {"deploy": ["deploy.plan", "--yes"], "restore": [made["key"], "--yes", "-e", "qa"], "repair": []}[name]

    async def interrupted(exchange: Exchange) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        exchange.send(exchange.carry_out())

    if name == "repair":
        del memory.s3.buckets[promoted.environ["APM_S3_BUCKET"]]["live/staging/prometheus/prometheus.yml"]
    memory.will(interrupted, "PutObject")
    ran = promoted("config", name, *command)
    memory.rules.clear()

    assert (ran.status, ran.stdout) == (130, "")
    assert "See whether it was committed: apm-s3 config outcome " in ran.stderr
    assert "all intact" in promoted.ok("config", "fsck")
