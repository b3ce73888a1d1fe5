"""Forty realistic mistakes, each with the place where it is, and the page of the documentation that shows them.

The page has the words of promtool 2.53 and amtool 0.28 beside ours. This writes it anew, where both are installed:

    python -m tests.validators.mistakes
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from apm_s3._tools import Tool
from apm_s3.reports import ValidationReport
from apm_s3.validators import validate_config

PAGE = Path(__file__).parents[2] / "docs" / "mistakes.md"
MARK = "§"
"""Stands before the character where a mistake is."""

RELEASES = {"promtool": "2.53", "amtool": "0.28"}
_COMMANDS = {
    "config": ("promtool", "check", "config", "--syntax-only", "--lint=none"),
    "rules": ("promtool", "check", "rules", "--lint=none"),
    "alertmanager": ("amtool", "check-config"),
}


@dataclass(frozen=True)
class Mistake:
    """One mistake in a file of a kind: `config`, `rules` or `alertmanager`."""

    title: str
    kind: str
    marked: str

    @property
    def text(self) -> str:
        return self.marked.replace(MARK, "")

    @property
    def place(self) -> tuple[int, int]:
        before = self.marked[: self.marked.index(MARK)]
        return before.count("\n") + 1, len(before) - before.rfind("\n")

    @property
    def program(self) -> str:
        return _COMMANDS[self.kind][0]

    def report(self) -> ValidationReport:
        tool: Tool = "alertmanager" if self.kind == "alertmanager" else "prometheus"
        kind = "config" if self.kind == "alertmanager" else self.kind
        return validate_config(tool, self.text, kind=kind, target_version=RELEASES[self.program])

    def ask(self) -> str:
        """What promtool or amtool says."""
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "file.yml").write_text(self.text, encoding="utf-8")
            command = [*_COMMANDS[self.kind], "file.yml"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
        lines = [line.rstrip() for line in (done.stdout + "\n" + done.stderr).splitlines()]
        kept = [
            line for line in lines if line.strip() and not re.match(r"Checking \S+$|amtool: error: failed to", line)
        ]
        return "\n".join(line.removeprefix("Checking 'file.yml'").strip() for line in kept)


JOB = "scrape_configs:\n  - job_name: api\n"
RULE = "groups:\n  - name: api\n    rules:\n      - alert: Down\n"
ROUTE = "route:\n  receiver: ops\nreceivers:\n  - name: ops\n"


def expression(text: str) -> str:
    return f"{RULE}        expr: {text}\n"


MISTAKES = (
    # -- prometheus.yml
    Mistake("A mistyped field", "config", JOB + "    §scrape_intervall: 30s\n"),
    Mistake("A duration without a unit", "config", "global:\n  scrape_interval: §15\n"),
    Mistake("A space in a duration", "config", "global:\n  scrape_interval: §1 m\n"),
    Mistake("A job name twice", "config", JOB + "  - job_name: §api\n"),
    Mistake("A timeout above the interval", "config", JOB + "    scrape_interval: 10s\n    scrape_timeout: §30s\n"),
    Mistake(
        "A URL as a target", "config", JOB + "    static_configs:\n      - targets: [§'http://api:9090/metrics']\n"
    ),
    Mistake("A text where a list belongs", "config", JOB + "    static_configs:\n      - targets: §api:9090\n"),
    Mistake("A tab", "config", "scrape_configs:\n§\t- job_name: api\n"),
    Mistake("A field twice", "config", "global:\n  scrape_interval: 30s\n  §scrape_interval: 1m\n"),
    Mistake(
        "A broken regular expression",
        "config",
        JOB + "    relabel_configs:\n      - action: keep\n        regex: 'api-§[0-9'\n",
    ),
    Mistake(
        "A look-ahead in a regular expression",
        "config",
        JOB + "    relabel_configs:\n      - {action: drop, source_labels: [job], regex: 'a§(?!b).*'}\n",
    ),
    Mistake("A mistyped action", "config", JOB + "    relabel_configs:\n      - {action: §kep, regex: api}\n"),
    Mistake(
        "A hash without a modulus",
        "config",
        JOB + "    relabel_configs:\n      - §{action: hashmod, target_label: shard}\n",
    ),
    Mistake(
        "What an action does not take",
        "config",
        JOB + "    relabel_configs:\n      - {action: labeldrop, regex: pod, §target_label: x}\n",
    ),
    Mistake(
        "Two ways to log in",
        "config",
        JOB + "    basic_auth: {username: a}\n    §authorization: {credentials_file: token}\n",
    ),
    Mistake("A mistyped role", "config", JOB + "    kubernetes_sd_configs:\n      - role: §pods\n"),
    Mistake("Two stars in a pattern", "config", "rule_files:\n  - §'rules/*/*.yml'\n"),
    Mistake("A remote write without a URL", "config", "remote_write:\n  - §name: store\n"),
    Mistake("A label name with a dash", "config", "global:\n  external_labels:\n    §data-center: a\n"),
    # -- rules
    Mistake("A bracket that is not closed", "rules", expression("sum(rate(up[5m])§")),
    Mistake("A mistyped function", "rules", expression("§rat(http_requests_total[5m]) > 1")),
    Mistake("A rate of a vector", "rules", expression("rate(§http_requests_total) > 1")),
    Mistake("One sign of equality", "rules", expression("up §= 0")),
    Mistake("A label without quotes", "rules", expression("'up{job=§api} == 0'")),
    Mistake("The operators of a programming language", "rules", expression("up == 0 §&& on(job) x == 1")),
    Mistake("A unit that does not exist", "rules", expression("rate(x[§5min]) > 1")),
    Mistake(
        "A mistake on the third line of a block",
        "rules",
        expression("|\n          sum by (job) (\n            §rat(x[5m])\n          )"),
    ),
    Mistake("An alert without an expression", "rules", "groups:\n  - name: api\n    rules:\n      - §alert: Down\n"),
    Mistake(
        "A mistyped function of a template",
        "rules",
        expression("up == 0") + "        annotations:\n          summary: '{{ $value | §humanise }}'\n",
    ),
    Mistake(
        "A template that is not closed",
        "rules",
        expression("up == 0") + "        annotations:\n          summary: '{{ $labels.job §}'\n",
    ),
    Mistake("A label beside the labels", "rules", expression("up == 0") + "        §severity: page\n"),
    Mistake("A group twice", "rules", "groups:\n  - name: api\n    rules: []\n  - name: §api\n    rules: []\n"),
    # -- alertmanager.yml
    Mistake("A mistyped receiver", "alertmanager", "route:\n  §reciever: ops\nreceivers:\n  - name: ops\n"),
    Mistake("A receiver that is not there", "alertmanager", "route:\n  receiver: §opps\nreceivers:\n  - name: ops\n"),
    Mistake(
        "A broken regular expression in a matcher",
        "alertmanager",
        ROUTE.replace("ops\nreceivers", "ops\n  routes:\n    - matchers: ['team=~\"§(db|api\"']\nreceivers", 1),
    ),
    Mistake(
        "A matcher without an operator",
        "alertmanager",
        ROUTE.replace("ops\nreceivers", "ops\n  routes:\n    - matchers: ['team§']\nreceivers", 1),
    ),
    Mistake("A label to group by twice", "alertmanager", ROUTE.replace("ops\nr", "ops\n  group_by: [job, §job]\nr", 1)),
    Mistake(
        "A URL without a scheme", "alertmanager", ROUTE + "    webhook_configs:\n      - url: §hooks.example.com/x\n"
    ),
    Mistake(
        "A mail to nobody",
        "alertmanager",
        "global: {smtp_smarthost: 'mail:25', smtp_from: a@b.c}\n" + ROUTE + "    email_configs:\n      - §html: text\n",
    ),
    Mistake(
        "A mistyped day",
        "alertmanager",
        ROUTE + "time_intervals:\n  - name: office\n    time_intervals:\n      - weekdays: ['monday:§fryday']\n",
    ),
)


def render(said: dict[str, str]) -> str:
    """The page; `said` is what the tools say, by title."""
    parts = [_HEAD]
    for number, mistake in enumerate(MISTAKES, 1):
        ours = "\n".join(issue.render("file.yml") for issue in mistake.report().issues)
        theirs = f"{mistake.program} {RELEASES[mistake.program]}"
        parts.append(
            f"## {number}. {mistake.title}\n\n```yaml\n{mistake.text.rstrip()}\n```\n\n"
            f"apm_s3:\n\n```text\n{ours}\n```\n\n{theirs}:\n\n```text\n{said[mistake.title]}\n```\n"
        )
    return "\n".join(parts)


def said_on_page() -> dict[str, str]:
    """What the tools said when the page was written, by title."""
    sections = re.findall(
        r"^## \d+\. (.*?)\n.*?^(?:promtool|amtool) [\d.]+:\n\n```text\n(.*?)\n```$",
        PAGE.read_text("utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    return dict(sections)


_HEAD = """\
# Forty mistakes

What `validate_config` says of realistic mistakes, and what promtool and amtool say of the same files. The releases are
those of the tools, given as `target_version`. A test keeps this page true; `python -m tests.validators.mistakes` writes it.
"""


def main() -> None:
    """Write the page."""
    missing = [program for program in RELEASES if shutil.which(program) is None]
    if missing:
        raise SystemExit(f"{', '.join(missing)} must be installed")
    PAGE.write_text(render({mistake.title: mistake.ask() for mistake in MISTAKES}), encoding="utf-8")


if __name__ == "__main__":
    main()
