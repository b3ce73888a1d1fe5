"""The second opinion of promtool and amtool."""

import shutil
import stat

import pytest

from apm_s3.reports import Severity
from apm_s3.validators import _external as external
from apm_s3.validators import validate_config

NEW_FIELD = "scrape_configs: [{job_name: a, fallback_scrape_protocol: PrometheusText0.0.4}]"


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Puts a program of our own making on the path as promtool, and nothing else."""

    def install(script):
        program = tmp_path / "bin" / "promtool"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return install


def ask(text="global: {}", **options):
    return validate_config("prometheus", text, kind="config", level="external", **options)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_agrees_with_a_good_file():
    assert ask().issues == ()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_an_older_promtool_only_warns_of_what_it_does_not_know():
    issues = ask(NEW_FIELD).issues

    assert [(issue.severity, issue.rule, issue.line) for issue in issues] == [(Severity.WARNING, "promtool", 1)]


def test_a_missing_program_is_a_skipped_check(tool):
    report = ask()

    assert report.ok
    assert "promtool was not asked: it is not on the path" in report.skipped


def test_a_program_of_the_targeted_release_makes_an_error_without_what_it_quotes(tool):
    tool("""[ "$1" = --version ] && echo "promtool, version 2.53.3" && exit
echo 'line 7: bad `hunter2` and "s3cret"' >&2
exit 1""")

    issue = ask(target_version="2.53").errors[0]

    assert (issue.rule, issue.line) == ("promtool", 7)
    assert "hunter2" not in str(issue)
    assert "s3cret" not in str(issue)


def test_a_program_that_hangs_is_stopped_at_the_deadline(tool, monkeypatch):
    monkeypatch.setattr(external, "DEADLINE", 0.2)
    tool("while :; do :; done")

    assert "promtool gave no answer: TimeoutExpired" in ask().skipped
