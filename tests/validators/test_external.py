"""The external checks by promtool and amtool."""

import shutil
import stat
import sys

import pytest

from apm_s3.reports import Severity, Skipped
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
    assert Skipped("program", "promtool", "was not run: it is not on the path") in report.skipped


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

    assert Skipped("program", "promtool", "gave no result: TimeoutExpired") in ask().skipped


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


CONFIG = "route: {receiver: a}\nreceivers: [{name: a}]\n"


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ("templates: ['/etc/*']", "templates"),
        ("templates: [a.tmpl, 'x/../../*']", "templates"),
        ("templates: ['..']", "templates"),
        ("templates: ['C:/*.tmpl']", "templates"),
        ("templates: ['\\\\server\\share']", "templates"),
        ("!!binary dGVtcGxhdGVz: [!!binary L2V0Yy8q]", "templates"),
        ("templates: [!!binary '?']", "templates"),
        ("mute_time_intervals: &a [/etc/*]\ntemplates: *a", "templates"),
        ('templates: ["\\x2fetc/*"]', "templates"),
        ("global: {slack_api_url_file: /run/slack}", "slack_api_url_file"),
        ("global: {http_config: {tls_config: {ca_file: ../ca.pem}}}", "ca_file"),
        ("global: &g {templates: [/etc/*]}\n<<: *g", "templates"),
        ("x: &x {templates: [/etc/*]}\n<<: *x\ntemplates: [a.tmpl]", "templates"),
    ],
)
def test_amtool_is_not_given_a_document_that_names_files_elsewhere(document, field, tool, tmp_path):
    tool(f"echo >> {tmp_path}/ran; echo 'amtool, version 0.34.0'")
    (tmp_path / "bin" / "promtool").rename(tmp_path / "bin" / "amtool")

    report = validate_config("alertmanager", f"{CONFIG}{document}\n", kind="config", level="external")

    message = f"amtool was not run, because '{field}' leads out of the bundle"
    (issue,) = (issue for issue in report.issues if issue.rule == "amtool")
    assert (issue.message, issue.severity) == (message, Severity.WARNING)
    assert issue.line >= 3
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ("rule_files: [/etc/rules/*.yml]", "rule_files"),
        ("scrape_config_files: ['../*.yml']", "scrape_config_files"),
        ("scrape_configs: [{job_name: a, file_sd_configs: [{files: [/etc/a.json]}]}]", "files"),
        ("scrape_configs: [{job_name: a, tls_config: {ca_file: /etc/ca.pem}}]", "ca_file"),
        ("scrape_configs: [{job_name: a, authorization: {credentials_file: a/../../b}}]", "credentials_file"),
        (
            "scrape_configs: [{job_name: a, kubernetes_sd_configs: [{role: pod, kubeconfig_file: /a}]}]",
            "kubeconfig_file",
        ),
        ("scrape_configs: [{job_name: a, http_headers: {labels: {files: [/etc/shadow]}}}]", "files"),
        ("scrape_configs: [{job_name: a, http_headers: {x: {files: [a]}, <<: {params: {files: [/b]}}}}]", "files"),
    ],
)
def test_promtool_is_not_given_a_document_that_names_files_elsewhere(document, field, tool, tmp_path):
    tool(f"echo >> {tmp_path}/ran; echo 'promtool, version 3.14.0'")

    messages = [issue.message for issue in ask(document).issues]

    assert f"promtool was not run, because '{field}' leads out of the bundle" in messages
    assert not (tmp_path / "ran").exists()


def test_paths_below_the_main_file_and_names_that_users_choose_do_not_keep_promtool_from_running(tool, tmp_path):
    tool(f"echo >> {tmp_path}/ran; echo 'promtool, version 3.14.0'")
    document = (
        "global: {external_labels: {log_file: /var/log/a}}\nrule_files: [rules/*.yml, a..b/c.yml]\n"
        "scrape_configs: [{job_name: a, metrics_path: /metrics, static_configs: [{targets: [a], labels: {a_file: /b}}]}]"
    )

    assert ask(document).issues == ()
    assert (tmp_path / "ran").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process are Linux's")
def test_a_program_has_limits_of_memory_time_and_output_and_no_credentials(tool, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    tool("""[ "$1" = --version ] && echo "promtool, version 3.14.0" && exit
while [ "$(ulimit -f)" = unlimited ]; do :; done
echo "line 1: $(ulimit -d) $(ulimit -t) $(ulimit -f) ${AWS_SECRET_ACCESS_KEY-clean}" >&2
exit 1""")

    assert ask().errors[0].message == f"promtool 3.14 refuses it: {1024**2} 21 {16 * 1024**2 // 512} clean"


@pytest.mark.parametrize("end", ["exit 2", "kill -9 $$"])
def test_a_program_that_crashes_says_nothing_about_the_document(end, tool):
    tool(f"""[ "$1" = --version ] && echo "promtool, version 3.14.0" && exit
echo 'fatal error: runtime: out of memory' >&2
{end}""")

    report = ask()

    assert report.ok
    assert [str(each).startswith("promtool gave no result: it ended with status ") for each in report.skipped] == [True]


def test_the_output_of_a_program_is_read_up_to_a_limit(tool):
    tool("""[ "$1" = --version ] && echo "promtool, version 3.14.0" && exit
/usr/bin/yes 'line 1: no' | /usr/bin/head -c 3000000
echo 'line 2: not read'
echo 'line 3: read' >&2
exit 1""")

    lines = {issue.line for issue in ask().errors}

    assert {1, 3} <= lines
    assert 2 not in lines
