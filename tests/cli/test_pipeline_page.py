"""docs/ci-pipeline.md: the commands of its jobs, run in their order."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import yaml

from tests.cli.kit import Shell

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "ci-pipeline.md").read_text()
[WORKFLOW] = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
ROLLBACK, AFTERWARDS = re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
VALUES = {"$GITHUB_ACTOR": "ada", "$GITHUB_SHA": "5f3c1a"}


def commands(job: str) -> list[list[str]]:
    runs = [step["run"] for step in yaml.safe_load(WORKFLOW)["jobs"][job]["steps"] if "run" in step]
    return [words(run) for run in runs if run.startswith("apm-s3 ")]


def words(line: str) -> list[str]:
    return [VALUES.get(word, word) for word in shlex.split(line)[1:]]


def test_the_jobs_of_the_page_run_in_their_order(shell: Shell) -> None:
    shutil.copytree(ROOT / "examples/configs/prometheus", shell.directory / "prometheus")
    for command in commands("validate"):
        shell.ok(*command)
    push, plan = commands("staging")
    assert "revision 1" in shell.ok(*push)
    assert shell(*plan).status != 0, "the page says that a new environment needs --create"
    shell.ok(*plan, "--create")
    [deploy] = commands("production")
    shell.ok(*deploy)
    shell.ok("config", "good", "prometheus", "-e", "production")
    assert "was already carried out: prometheus as revision 1" in shell.ok(*deploy)

    # The next run of the pipeline, with a change and without one.
    file = shell.directory / "prometheus/prometheus.yml"
    file.write_text(file.read_text() + "# A change.\n")
    for command in (push, plan, deploy, push, plan):
        shell.ok(*command)

    assert shell.json(*words(ROLLBACK.strip()))["origin"]["revision"] == 1
    entries = shell.json("config", "log", "-e", "production")["entries"]
    done = [(each["action"], each["message"]) for each in entries if each.get("author") == "ada"]
    assert done == [("rollback", "Alerts fire too late"), ("deploy", "5f3c1a"), ("deploy", "5f3c1a")]

    # The page says that a rollback stops the pipeline at its plan, and what to do then.
    file.write_text(file.read_text() + "# The correction.\n")
    shell.ok(*push)
    again, by_hand = map(words, AFTERWARDS.splitlines())
    assert (shell(*plan).status, shell(*again).status, shell(*deploy).status) == (4, 4, 4)
    shell.ok(*by_hand)
    file.write_text(file.read_text() + "# The next change.\n")
    for command in (push, plan, deploy):
        shell.ok(*command)
