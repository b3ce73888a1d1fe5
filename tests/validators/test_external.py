"""The external checks by promtool and amtool."""

import shutil
import stat

import pytest

from apm_s3.reports import Severity
from apm_s3.validators import validate_config
from apm_s3.validators._validation import external

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
def test_promtool_agrees_on_a_valid_file():
    assert ask().issues == ()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_unknown_fields_of_an_older_promtool_become_warnings():
    issues = ask(NEW_FIELD).issues

    assert [(issue.severity, issue.rule, issue.line) for issue in issues] == [(Severity.WARNING, "promtool", 1)]


def test_a_missing_program_is_a_skipped_check(tool):
    report = ask()

    assert report.ok
    assert "promtool was not run: it is not on the path" in report.skipped


def test_errors_of_a_program_of_the_target_release_are_kept_without_its_quotes(tool):
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

    assert "promtool gave no result: TimeoutExpired" in ask().skipped


def test_each_position_that_a_checker_names_is_a_separate_issue(tool):
    tool("""[ "$1" = --version ] && echo "promtool, version 2.53.3" && exit
for path; do :; done
echo "Checking $path"
echo "  FAILED:" >&2
echo "$path: 4:11: group \\"g\\", rule 1: could not parse expression: 1:5: parse error" >&2
echo "$path: yaml: unmarshal errors:" >&2
echo "  line 7: field a not found" >&2
echo "  line 9: field b not found" >&2
exit 1""")

    issues = ask(target_version="2.53").errors

    assert [(issue.line, issue.column) for issue in issues] == [(4, 11), (7, None), (9, None)]
    assert issues[0].message.endswith("rule 1: could not parse expression: 1:5: parse error")
    assert issues[2].message == "promtool 2.53 refuses it: field b not found"


@pytest.mark.skipif(shutil.which("amtool") is None, reason="amtool is not installed")
def test_the_reason_that_amtool_gives_is_kept():
    text = "route: {receiver: b}\nreceivers: [{name: a}]\n"

    messages = [issue.message for issue in validate_config("alertmanager", text, level="external").issues]

    assert any(message.endswith('refuses it: undefined receiver "b" used in route') for message in messages)


@pytest.mark.skipif(shutil.which("amtool") is None, reason="amtool is not installed")
def test_no_secret_is_quoted_from_the_output_of_amtool():
    text = "global: {opsgenie_api_url: 'hunter2hunter2'}\nroute: {receiver: a}\nreceivers: [{name: a, webhook_configs: [{url: 'ftp://u:hunter2hunter2@a'}]}]\n"

    assert "hunter2" not in str(validate_config("alertmanager", text, level="external"))


def test_a_place_inside_a_matcher_is_not_taken_for_a_line(tool, tmp_path):
    tool("""[ "$1" = --version ] && echo "amtool, version 0.28.1" && exit
echo "Checking '$2'  FAILED: 4:5: unexpected c: expected a comma or close brace"
exit 1""")
    (tmp_path / "bin" / "promtool").rename(tmp_path / "bin" / "amtool")
    text = "route: {receiver: a, routes: [{matchers: ['a=b c']}]}\nreceivers: [{name: a}]"

    report = validate_config("alertmanager", text, kind="config", level="external", target_version="0.28")

    (issue,) = report.errors
    assert (issue.line, issue.column) == (None, None)
    assert issue.message == "amtool 0.28 refuses it: 4:5: unexpected c: expected a comma or close brace"
