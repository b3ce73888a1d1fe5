"""`apm-s3 bucket ...` and `apm-s3 health`, piped and on a terminal."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import boto3
import pytest

from tests.cli.kit import Shell
from tests.faults.memory_s3 import error_response
from tests.faults.server import Exchange, FaultyS3
from tests.servers import Server


@pytest.fixture
def bucket(shell: Shell) -> str:
    """A name for a bucket that does not exist yet."""
    return shell.environ["APM_S3_BUCKET"] + "-new"


PURPOSE = ["--purpose", "configs", "-e", "staging", "--tag", "team=apm"]


@pytest.fixture
def created(shell: Shell, bucket: str) -> str:
    """A bucket for configurations of staging."""
    shell.ok("bucket", "create", bucket, *PURPOSE)
    return bucket


def test_a_bucket_for_configurations_is_planned_and_created(shell: Shell, bucket: str) -> None:
    plan = shell.json("bucket", "plan", bucket, *PURPOSE, "--exit-code", status=6)
    assert (plan["create"], plan["empty"], plan["done"]) == (True, False, False)

    made = shell.terminal("bucket", "create", bucket, *PURPOSE)
    assert made.status == 0, made.plain
    assert f"Created bucket '{bucket}' with" in made.plain
    assert f"\x1b[32m+\x1b[0m bucket {bucket}" in made.screen
    assert shell.json("bucket", "plan", bucket, *PURPOSE, "--exit-code")["empty"] is True


def test_the_settings_of_a_bucket_are_shown(shell: Shell, created: str) -> None:
    settings = shell.json("bucket", "show", created)["settings"]

    assert (settings["tags"]["values"]["team"], settings["versioning"]["enabled"]) == ("apm", True)
    assert "versioning" in shell.terminal("bucket", "show", created).plain


def test_buckets_are_listed(shell: Shell, created: str) -> None:
    assert created in [each["name"] for each in shell.json("bucket", "ls", created)["buckets"]]
    assert "blocked" in shell.terminal("bucket", "ls", created, "--details").plain


def test_a_bucket_is_deleted_after_a_question(shell: Shell, created: str) -> None:
    removed = shell.terminal("bucket", "rm", created, typed="y\n")
    missing = shell("bucket", "show", created)

    assert (removed.status, f"deleted bucket '{created}'" in removed.plain) == (0, True)
    assert (missing.status, "hint: see apm-s3 bucket ls, or create it" in missing.stderr) == (1, True)


def test_a_bucket_is_changed_only_by_the_plan_that_was_reviewed(shell: Shell, bucket: str) -> None:
    shell.ok("bucket", "ensure", bucket, "--dry-run")
    assert shell("bucket", "show", bucket).status == 1
    shell.ok("bucket", "create", bucket)

    told = shell.terminal("bucket", "plan", bucket, "--versioning", "--out", "bucket.plan")
    assert "Would change 1 setting" in told.plain
    assert json.loads((shell.directory / "bucket.plan").read_text())["kind"] == "apm-s3/bucket-plan"
    done = shell.json("bucket", "ensure", bucket, "--versioning", "--plan", "bucket.plan")
    assert (done["done"], len(done["changes"])) == (True, 1)
    outdated = shell("bucket", "ensure", bucket, "--versioning", "--plan", "bucket.plan")
    assert (outdated.status, "outdated" in outdated.stderr) == (4, True)
    assert "No changes" in shell.ok("bucket", "ensure", bucket, "--versioning")
    (shell.directory / "bucket.plan").write_text("no JSON")
    assert shell("bucket", "ensure", bucket, "--plan", "bucket.plan").status == 2
    assert shell("bucket", "create", bucket).status == 4


def test_a_production_bucket_is_emptied_only_after_its_name_was_typed(shell: Shell, bucket: str) -> None:
    shell.ok("bucket", "create", bucket, "--versioning", "--tag", "apm:environment=production")
    (shell.directory / "a").write_bytes(b"1234")
    shell.ok("object", "put", "a", f"s3://{bucket}/")

    assert shell.json("bucket", "rm", bucket, "--force", "--dry-run")["contents"]["total"] == {"objects": 1, "bytes": 4}
    refused = shell.terminal("bucket", "rm", bucket, "--force", typed="y\n")
    assert (refused.status, f"Type '{bucket}' to go on" in refused.plain) == (1, True)
    assert shell("bucket", "rm", bucket, "--force").status == 2
    assert shell("bucket", "rm", bucket, "--yes").status == 4
    gone = shell.json("bucket", "rm", bucket, "--force", "--yes")
    assert gone["deleted"] == {"versions": 1, "markers": 0, "uploads": 0}


def test_usage_counts_objects_and_bytes(shell: Shell) -> None:
    own = shell.environ["APM_S3_BUCKET"]
    shell.ok("object", "put", "-", f"s3://{own}/configs/staging/x", typed="12345")

    assert shell.json("bucket", "usage", own)["total"] == {"objects": 1, "bytes": 5}
    assert "environment staging" in shell.terminal("bucket", "usage", own).plain


def test_replication_without_a_role_prints_its_policies(shell: Shell, bucket: str) -> None:
    own = shell.environ["APM_S3_BUCKET"]
    for name in (own, bucket):
        shell.ok("bucket", "ensure", name, "--versioning")

    assert shell.json("bucket", "replicate", own, bucket)["applied"] is False
    assert "permissions policy of the role" in shell.terminal("bucket", "replicate", own, bucket).plain
    role = "arn:aws:iam::123456789012:role/s3"
    assert f"'{own}' is replicated to '{bucket}'" in shell.ok("bucket", "replicate", own, bucket, "--role", role)


def test_options_that_make_no_sense_are_refused(shell: Shell, bucket: str) -> None:
    assert "is not NAME=VALUE" in shell("bucket", "create", bucket, "--tag", "x").stderr
    assert "needs --purpose" in shell("bucket", "create", bucket, "--retention", "3").stderr
    refused = shell("bucket", "create", bucket, "--purpose", "configs")
    assert (refused.status, "no environment is set" in refused.stderr) == (2, True)


def test_health_has_a_status_for_scripts(shell: Shell, tmp_path: Path) -> None:
    healthy = shell.json("health")
    assert healthy["status"] == "degraded"
    shown = shell.terminal("health", "--exit-code")
    assert (shown.status, "versioning" in shown.plain) == (6, True)
    down = shell("health", "no-such-bucket-at-all")
    assert (down.status, "down" in down.stdout) == (1, True)


def test_health_says_once_that_there_is_no_bucket_and_names_the_command(shell: Shell) -> None:
    shown = shell("health", "no-such-bucket-at-all")

    assert (shown.status, " ".join(shown.stdout.split()).count("there is no such bucket: ")) == (1, 1)
    assert "apm-s3 bucket create no-such-bucket-at-all" in " ".join(shown.stdout.split())
    assert "create_bucket" not in shown.stdout


def test_health_advises_no_policy_unseen(shell: Shell) -> None:
    bucket = shell.environ["APM_S3_BUCKET"]

    shown = " ".join(shell("health").stdout.split())

    assert f"apm-s3 bucket ensure {bucket} --versioning" in shown
    assert f"see apm-s3 bucket plan {bucket} --purpose configs" in shown
    assert f"ensure {bucket} --purpose" not in shown


@pytest.mark.parametrize(("command", "status"), [("create", 1), ("ensure", 1), ("plan", 0)])
def test_what_the_policy_denies_is_said_before_anything_is_changed(
    command: str, status: int, shell: Shell, memory: FaultyS3
) -> None:
    async def refuse(exchange: Exchange) -> None:
        reads = exchange.request.method in ("GET", "HEAD")
        exchange.send(exchange.carry_out() if reads else error_response(403, "AccessDenied"))

    memory.will(refuse, times=None)
    ran = shell("bucket", command, "another-bucket", "--purpose", "configs", "-e", "staging")

    assert ran.status == status
    assert "note: the endpoint is plain HTTP, so the policy does not deny it" in ran.stderr


def test_a_server_that_ignores_conditions_gets_no_policy_that_refuses_every_push(moto_shell: Shell) -> None:
    bucket = moto_shell.environ["APM_S3_BUCKET"]
    (moto_shell.directory / "prometheus").mkdir()
    (moto_shell.directory / "prometheus" / "prometheus.yml").write_text("global: {}\n")
    ensure = ["bucket", "ensure", bucket, "--purpose", "configs", "-e", "staging"]

    refused = moto_shell(*ensure)
    assert (refused.status, "uploads with Policy (403)" in refused.stderr) == (1, True)
    assert "add --skip-unsupported" in refused.stderr
    moto_shell.ok(*ensure, "--skip-unsupported")
    moto_shell.ok("config", "push", "prometheus", "-e", "staging", "-m", "Why")


def test_a_refused_upload_names_the_permission_and_the_policy(moto_shell: Shell, moto: Server) -> None:
    bucket = moto_shell.environ["APM_S3_BUCKET"]
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    with closing(boto3.client("s3", endpoint_url=moto.endpoint_url, region_name="us-east-1",
                              aws_access_key_id=moto.credentials.key_id,
                              aws_secret_access_key=moto.credentials.secret)) as client:  # fmt: skip
        client.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [deny]}))
    (moto_shell.directory / "prometheus").mkdir()
    (moto_shell.directory / "prometheus" / "prometheus.yml").write_text("global: {}\n")

    ran = moto_shell("config", "push", "prometheus", "-e", "staging", "-m", "Why")

    assert ran.status == 1
    assert "allows s3:PutObject and no bucket policy denies it (that of --purpose denies uploads" in ran.stderr
