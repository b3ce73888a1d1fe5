"""`apm-s3 init`: the project file, and the entry for pre-commit."""

from __future__ import annotations

import tomllib

import pytest
import yaml

from apm_s3.cli._init import HOOK, HOOK_ID, add_hook
from tests.cli.kit import Shell


def test_init_writes_settings_that_the_other_commands_use(local: Shell) -> None:
    ran = local.terminal("init", "--bucket", "apm-configs", "-e", "staging", "--region", 'eu-"1')

    assert ran.status == 0, ran.plain
    written = tomllib.loads((local.directory / "apm-s3.toml").read_text())
    assert written == {"bucket": "apm-configs", "environment": "staging", "region": 'eu-"1'}
    hooks = yaml.safe_load((local.directory / ".pre-commit-config.yaml").read_text())
    assert hooks["repos"][0]["hooks"][0]["id"] == HOOK_ID
    assert "bucket: 'apm-configs' from" in local("sync", "a", "b", "--debug").stderr


def test_init_replaces_no_project_file(local: Shell) -> None:
    local.ok("init")
    ran = local("init")
    assert (ran.status, "exists" in ran.stderr) == (2, True)


def test_a_dry_run_of_init_writes_nothing(local: Shell) -> None:
    assert local.json("init", "--dry-run") == {"written": ["apm-s3.toml", ".pre-commit-config.yaml"], "dry_run": True}
    assert list(local.directory.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "repos:\n  - repo: local\n    hooks: []\n",
        "repos:\n- repo: local\n  hooks: []",
        "# comments stay\nrepos:\n    - repo: local\n      hooks: []\n",
        "fail_fast: true\nrepos:\n  - repo: local\n    hooks: []\n\n",
    ],
)
def test_the_hook_is_added_to_an_existing_file(text: str) -> None:
    added = add_hook(text)

    assert added is not None
    assert added.startswith(text)
    assert yaml.safe_load(added)["repos"] == [*yaml.safe_load(text)["repos"], *yaml.safe_load(HOOK)]
    assert add_hook(added) == added


@pytest.mark.parametrize("text", ["repos: [{repo: local, hooks: []}]\n", "repos: []\nfail_fast: true\n", "[", "a", ""])
def test_a_file_of_unusual_form_is_left_alone_and_the_entry_printed(text: str, local: Shell) -> None:
    (local.directory / ".pre-commit-config.yaml").write_text(text)

    ran = local("init")

    assert (ran.status, HOOK_ID in ran.stderr) == (0, True)
    assert (local.directory / ".pre-commit-config.yaml").read_text() == text
