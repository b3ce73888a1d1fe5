"""The commands in the README and in docs/ run as they stand there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

from apm_s3.validators import MAIN_FILES
from tests.cli.kit import Shell
from tests.faults.server import FaultyS3

ROOT = Path(__file__).parents[2]
MAIN = "scrape_configs: [{job_name: api}]\n"


def commands(page: str, number: int = 0) -> list[list[str]]:
    """The arguments of the commands in one block of a page."""
    blocks = re.findall(r"^```(?:sh|bash)?\n(apm-s3 .*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    lines = blocks[number].replace("\\\n", "").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines]


def test_the_commands_of_the_readme_run_in_their_order(shell: Shell, memory: FaultyS3) -> None:
    del shell.environ["APM_S3_BUCKET"]
    shutil.copytree(ROOT / "examples/configs", shell.directory / "examples/configs")

    for command in commands("README.md"):
        shell.ok(*command)

    assert (shell.directory / ".pre-commit-config.yaml").exists()
    assert shell.json("config", "history", "prometheus")["releases"][0]["message"] == "First version"


def test_the_first_commands_of_the_page_run_in_their_order(shell: Shell, memory: FaultyS3) -> None:
    del shell.environ["APM_S3_BUCKET"]
    shutil.copytree(ROOT / "examples/configs/prometheus", shell.directory / "prometheus")

    for command in commands("docs/cli.md"):
        shell.ok(*command)

    assert shell.json("config", "history", "prometheus")["releases"][0]["message"] == "First version"


def test_the_commands_for_completion_print_scripts(local: Shell) -> None:
    for command in commands("docs/cli.md", 1):
        assert "apm-s3" in local.ok(*command[: command.index(next(word for word in command if word.startswith(">")))])


def test_the_commands_of_the_page_on_imports_run(shell: Shell, memory: FaultyS3) -> None:
    for folder in ("configs/staging", "production"):
        bundle = shell.directory / folder / "prometheus"
        bundle.mkdir(parents=True)
        (bundle / "prometheus.yml").write_text(MAIN)
    git = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-C", shell.directory]
    for line in (["init", "-q"], ["add", "production"], ["commit", "-q", "-m", "Add"]):
        subprocess.run([*git, *line], check=True)
    memory.s3.buckets["old-bucket"] = {}
    shell.ok("object", "sync", "configs", "s3://old-bucket/configs")

    dry, from_s3, history = commands("docs/importing.md")

    assert "prometheus" in shell.ok(*dry)
    assert shell.json("config", "ls", "--all")["releases"] == []
    assert [each["environment"] for each in shell.json(*from_s3)["releases"]] == ["staging"]
    assert [each["author"] for each in shell.json(*history, "--yes")["releases"]] == ["Ada <ada@example.com>"]


def test_the_commands_for_migrations_run(shell: Shell, memory: FaultyS3) -> None:
    [migration] = commands("docs/migration.md")
    short = re.search(
        r"`apm-s3 (migrate s3://\S+ s3://\S+ --journal \S+)`", (ROOT / "docs/leaving-minio.md").read_text()
    )
    assert short is not None
    for bucket in ("logs", "archive", "apm-configs", "apm-configs-new"):
        memory.s3.buckets[bucket] = {}
    (shell.directory / "a.txt").write_text("text")
    for place in ("s3://logs/2024/", "s3://apm-configs/"):
        shell.ok("object", "put", "a.txt", place)
    reached = [memory.endpoint_url if word.startswith("https://") else word for word in migration]

    assert "1 moved" in shell.ok(*reached)
    assert "1 moved" in shell.ok(*short[1].split())


def test_the_help_and_the_pages_name_the_same_tools(local: Shell) -> None:
    page = (ROOT / "docs/configurations.md").read_text()

    assert sorted(re.findall(r"^\| `(\w+)` \| `", page, re.MULTILINE)) == sorted(MAIN_FILES)
