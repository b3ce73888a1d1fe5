"""`apm-s3 init`: the project file, and the entry for pre-commit."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
import yaml

from tests.cli.kit import Shell
from tests.seams.cli import HOOK_ID, add_hook, find_hook


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
    hook, _ = find_hook()

    added = add_hook(text, hook)

    assert added is not None
    assert added.startswith(text)
    assert yaml.safe_load(added)["repos"] == [*yaml.safe_load(text)["repos"], *yaml.safe_load(hook)]
    assert add_hook(added, hook) == added


@pytest.mark.parametrize("text", ["repos: [{repo: local, hooks: []}]\n", "repos: []\nfail_fast: true\n", "[", "a", ""])
def test_a_file_of_unusual_form_is_left_alone_and_the_entry_printed(text: str, local: Shell) -> None:
    (local.directory / ".pre-commit-config.yaml").write_text(text)

    ran = local("init")

    assert (ran.status, HOOK_ID in ran.stderr) == (0, True)
    assert (local.directory / ".pre-commit-config.yaml").read_text() == text


@pytest.mark.parametrize(
    ("recorded", "source"),
    [
        ({"url": "file:///srv/apm_s3", "dir_info": {"editable": True}}, "file:///srv/apm_s3"),
        (
            {
                "url": "https://git.example/apm.git",
                "vcs_info": {"vcs": "git", "commit_id": "c0ffee"},
                "subdirectory": "py",
            },
            "git+https://git.example/apm.git@c0ffee#subdirectory=py",
        ),
        ({"url": "https://ci:hush@files.example/apm_s3.whl", "archive_info": {}}, "https://files.example/apm_s3.whl"),
        (
            {"url": "ssh://git@git.example/a", "vcs_info": {"vcs": "git", "commit_id": "1"}},
            "git+ssh://git@git.example/a@1",
        ),
        (None, "the package index that pip uses"),
    ],
)
def test_the_hook_installs_from_where_this_package_was_installed_from_and_says_so(
    recorded: dict[str, Any] | None, source: str, local: Shell, tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    folder = tmp_path_factory.mktemp("installed") / "apm_s3-9.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: apm-s3\nVersion: 9\n")
    if recorded is not None:
        (folder / "direct_url.json").write_text(json.dumps(recorded))
    monkeypatch.syspath_prepend(str(folder.parent))

    ran = local("init")

    written = (local.directory / ".pre-commit-config.yaml").read_text()
    (requirement,) = yaml.safe_load(written)["repos"][0]["hooks"][0]["additional_dependencies"]
    assert requirement.startswith("apm-s3[cli]==" if recorded is None else f"apm-s3[cli] @ {source}")
    assert f"# It installs apm-s3 from {source}.\n" in written
    assert f"note: the hook installs apm-s3 from {source}" in ran.stderr
    assert ("other machines do not have" in ran.stderr) == source.startswith("file:")


def test_init_writes_no_file_that_the_other_commands_would_refuse(local: Shell) -> None:
    local.directory.chmod(0o777)

    ran = local("init")

    assert (ran.status, "everybody may write to" in ran.stderr) == (2, True)
    assert list(local.directory.iterdir()) == []


@pytest.mark.parametrize("name", ["apm-s3.toml", ".pre-commit-config.yaml"])
@pytest.mark.parametrize("dangling", [True, False])
def test_init_writes_nothing_where_a_link_of_the_checkout_leads(
    name: str, local: Shell, tmp_path_factory: pytest.TempPathFactory, *, dangling: bool
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "file.yaml"
    if not dangling:
        elsewhere.write_text("repos:\n")
    (local.directory / name).symlink_to(elsewhere)

    ran = local("init")

    assert (ran.status, HOOK_ID in ran.stderr) == ((2, False) if name == "apm-s3.toml" else (0, True))
    assert elsewhere.exists() != dangling
    assert dangling or elsewhere.read_text() == "repos:\n"
