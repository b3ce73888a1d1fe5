"""Commands that the other tests run in one way only: piped with JSON, and on a terminal."""

from __future__ import annotations

from tests.cli.kit import Shell
from tests.cli.stores import on_store, three_revisions


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
    assert "steps succeeded" in shell.terminal("demo", "--endpoint-url", endpoint).plain
