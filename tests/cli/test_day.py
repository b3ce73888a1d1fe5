"""A day at work with the command line, as one script: only commands, files and exit statuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.cli.kit import Shell
from tests.faults.server import FaultyS3

EXAMPLE = Path(__file__).parents[2] / "examples/configs/prometheus"


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def test_a_day_at_work(shell: Shell, memory: FaultyS3) -> None:
    bucket = shell.environ.pop("APM_S3_BUCKET")
    memory.s3.buckets["apm-backups"] = {}
    work = shell.directory / "prometheus"
    shutil.copytree(EXAMPLE, work)

    # Init: from here on, no command names the bucket.
    shell.ok("init", "--bucket", bucket, "--environment", "staging")
    assert (shell.directory / ".pre-commit-config.yaml").exists()

    # Validate, and push the first revision.
    assert shell("config", "validate", "prometheus").status == 0
    first = shell.json("config", "push", "prometheus", "--author", "ada", "-m", "Start with the example")
    assert first["revision"] == 1
    shell.ok("config", "good", "prometheus")

    # A typing mistake is refused with its line; a valid mistake is not.
    change(work / "prometheus.yml", "rule_files:", "rule_flies:")
    broken = shell("config", "push", "prometheus", "-m", "Tidy up")
    assert (broken.status, "prometheus.yml:" in broken.stderr, "rule_flies" in broken.stderr) == (3, True, True)
    change(work / "prometheus.yml", "rule_flies:", "rule_files:")
    change(work / "prometheus.yml", "scrape_interval: 30s", "scrape_interval: 5m")
    assert shell.json("config", "push", "prometheus", "--author", "bob", "-m", "Scrape less")["revision"] == 2

    # Roll back to the good revision, and see what differed.
    back = shell.json("config", "rollback", "prometheus", "--author", "ada", "-m", "Alerts fire too late")
    assert (back["revision"], back["origin"]["revision"]) == (3, 1)
    differences = shell("config", "diff", "prometheus", "--exit-code")
    assert differences.status == 6
    assert "+  scrape_interval: 5m" in differences.stdout
    shell.ok("config", "pull", "prometheus", "--replace", "--yes")
    assert shell("config", "diff", "prometheus", "--exit-code").status == 0

    # Plan the deploy to production, review the file, deploy.
    planned = shell.ok("config", "plan", "staging", "production", "--create", "--out", "deploy.plan")
    assert planned.startswith("Plan: 1 tool from staging to production; files: ")
    reviewed = json.loads((shell.directory / "deploy.plan").read_text())
    assert (list(reviewed["tools"]), reviewed["tools"]["prometheus"]["errors"]) == (["prometheus"], 0)
    deployed = shell.json("config", "deploy", "deploy.plan", "--yes", "--author", "ada", "-m", "Release 1")
    assert [(each["environment"], each["revision"]) for each in deployed["releases"]] == [("production", 1)]
    assert "was already carried out: prometheus as revision 1" in shell.ok("config", "deploy", "deploy.plan", "--yes")

    # Back up, lose the bucket's content, restore from the other bucket.
    there = ["--backup-bucket", "apm-backups"]
    (backup,) = shell.json("config", "backup", "-e", "production", *there)["backups"]
    stored = shell.ok("config", "show", "prometheus", "-e", "production")
    memory.s3.buckets[bucket].clear()
    assert shell("config", "show", "prometheus", "-e", "production").status == 1
    shell.ok("config", "verify", backup["key"], *there)
    restored = shell.json("config", "restore", backup["key"], *there, "--yes", "--author", "ada", "-m", "Lost bucket")
    assert [release["revision"] for release in restored["releases"]] == [1]
    assert shell.ok("config", "show", "prometheus", "-e", "production") == stored
    assert stored.encode() == (EXAMPLE / "prometheus.yml").read_bytes()

    # Read the log: who did what, when and why.
    entries = shell.json("config", "log", "-e", "production")["entries"]
    assert [(each["action"], each["author"], each["message"]) for each in entries][:1] == [
        ("restore", "ada", "Lost bucket")
    ]
    assert shell("config", "fsck", "-e", "production").status == 0
