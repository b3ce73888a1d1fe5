"""Commands that the other tests run in one way only: piped with JSON, and on a terminal."""

from __future__ import annotations

import json
import re

import pytest

from tests.cli.kit import Shell
from tests.cli.stores import on_store, three_revisions
from tests.seams.cli import show_progress_at_once


def test_buckets_and_objects_both_ways(shell: Shell) -> None:
    own = shell.environ["APM_S3_BUCKET"]
    place = f"s3://{own}"
    assert shell.json("bucket", "create", f"{own}-a")["create"] is True
    assert "Changed 1 setting" in shell.terminal("bucket", "ensure", own, "--versioning").plain
    shell.ok("object", "put", "-", f"{place}/a", typed="1")
    shell.ok("object", "put", "-", f"{place}/dir/a", typed="1")
    assert "copied" in shell.terminal("object", "cp", f"{place}/a", f"{place}/b").plain
    assert shell.json("object", "mv", f"{place}/b", f"{place}/c")["key"] == "c"
    assert shell.terminal("object", "presign", f"{place}/a").plain.startswith("http")
    assert "1 moved" in shell.terminal("migrate", f"{place}/dir", f"{place}/copy").plain


def test_configurations_both_ways(shell: Shell) -> None:
    on_store(shell, three_revisions)
    shell.environ["APM_S3_ENVIRONMENT"] = "staging"
    assert len(shell.json("config", "diff", "--tool", "prometheus", "--from", "1", "--to", "3")["files"]) == 1
    assert shell.json("config", "plan", "staging", "qa", "--create")["blocked"] == []
    (backup,) = shell.json("config", "backup")["backups"]
    assert "prometheus revision 3" in shell.terminal("config", "backup").plain
    assert shell.json("config", "verify", backup["key"])["ok"] is True
    assert "is intact" in shell.terminal("config", "verify", backup["key"]).plain
    assert "can be restored" in shell.terminal("config", "drill", backup["key"]).plain
    assert shell.json("config", "drill", backup["key"])["ok"] is True


def test_the_demo_both_ways(shell: Shell) -> None:
    endpoint = shell.environ["AWS_ENDPOINT_URL"]

    assert shell.json("demo", "--endpoint-url", endpoint) == {"ok": True}
    shown = shell.terminal("demo", "--endpoint-url", endpoint).plain
    assert "steps succeeded" in shown
    assert "\n1. Upload the configurations" in shown
    assert "groups[name=checkout].rules[alert=CheckoutErrors].expr:\n" in shown


@pytest.mark.parametrize("command", ["backup", "verify", "drill", "restore", "fsck", "gc"])
def test_long_work_shows_its_progress_and_only_results_go_to_standard_output(
    command: str, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_store(shell, three_revisions)
    shell.environ["APM_S3_ENVIRONMENT"] = "staging"
    (backup,) = shell.json("config", "backup")["backups"]
    key, phase = backup["key"], "verifying files, 1 of 1"
    arguments, phase = {
        "backup": ([], "copying files, 1 of 1"),
        "verify": ([key], phase),
        "drill": ([key], phase),
        "restore": ([key, "--yes", "-m", "Why"], phase),
        "fsck": ([], "checking documents of prometheus, 3 of 3"),
        "gc": (["--keep-revisions", "2", "--yes"], "listing objects, 6"),
    }[command]
    assert f"staging: {phase}" not in shell("config", command, *arguments).stderr
    show_progress_at_once(monkeypatch)

    piped = shell("config", command, *arguments, "--output", "json")

    assert f"staging: {phase}" in piped.stderr.splitlines()
    assert json.loads(piped.stdout)
    assert re.search(r"(staging|drill-\w+): \w+ing ", shell.terminal("config", command, *arguments).plain)
