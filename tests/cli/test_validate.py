"""`apm-s3 config validate`: what it finds, how it prints it, and the hook for pre-commit."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

from apm_s3.configs import ConfigStore
from apm_s3.reports import Severity
from apm_s3.testing import MemoryObjects
from tests.cli.kit import Shell
from tests.seams.cli import Findings, Format, Found, Search, check_all, render

GOOD = "global:\n  scrape_interval: 15s\nrule_files:\n  - rules/*.yml\n"
BAD = "global:\n  scrape_interval: soon\n"
RULES = "groups:\n- name: node\n  rules:\n  - alert: Down\n    expr: up == 0\n"
SECRET = "hunter2-is-a-secret"
LEAKY = f"scrape_configs:\n- job_name: a\n  basic_auth: {{username: me, password: {SECRET}, nope: 1}}\n"
LOKI = "auth_enabled: false\nschema_config:\n  configs: [{from: 2024-01-01, store: tsdb, object_store: s3, schema: v13, index: {period: 24h}}]\n"
FORMATS = ("text", "json", "github", "sarif", "junit")


def put(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return folder


def test_an_error_is_printed_as_compilers_print_it_with_line_and_caret(local: Shell) -> None:
    put(local.directory, {"prometheus.yml": BAD})

    ran = local("config", "validate", "prometheus.yml")

    assert ran.status == 3
    first, line, caret = ran.stdout.splitlines()[:3]
    assert re.fullmatch(r"prometheus\.yml:2:20: error: global\.scrape_interval: .* \[[a-z-]+\]", first)
    assert line == "     2 |   scrape_interval: soon"
    assert caret.index("^") == line.index("soon")
    assert ran.stderr == "1 error in 1 file\n"


def test_a_terminal_shows_colours_and_a_pipe_does_not(local: Shell) -> None:
    put(local.directory, {"prometheus.yml": BAD})

    assert "\x1b[1;31merror" in local.terminal("config", "validate", "prometheus.yml").screen
    assert "\x1b" not in local("config", "validate", "prometheus.yml").stdout


def test_a_tree_is_checked_bundle_by_bundle(local: Shell) -> None:
    put(local.directory / "configs", {
        "production/prometheus/prometheus.yml": GOOD, "production/prometheus/rules/node.yml": RULES,
        "production/loki/loki.yaml": LOKI, "staging/prometheus/prometheus.yml": BAD, "README.md": "notes",
    })  # fmt: skip

    told = local.json("config", "validate", "configs", status=3)

    assert [(each["file"], each["tool"]) for each in told["files"]] == [
        ("configs/production/loki/loki.yaml", "loki"),
        ("configs/production/prometheus/prometheus.yml", "prometheus"),
        ("configs/production/prometheus/rules/node.yml", "prometheus"),
        ("configs/staging/prometheus/prometheus.yml", "prometheus"),
    ]
    assert [each["file"] for each in told["issues"]] == ["configs/staging/prometheus/prometheus.yml"]
    assert (told["ok"], told["errors"], told["warnings"]) == (False, 1, 0)


def test_without_a_path_the_working_directory_is_checked(local: Shell) -> None:
    put(local.directory, {"prometheus.yml": GOOD, "rules/node.yml": RULES})

    assert local("config", "validate").stderr == "valid in 2 files\n"


def test_files_of_several_tools_in_one_folder_are_checked_one_by_one(local: Shell) -> None:
    put(local.directory, {"prometheus.yml": GOOD, "loki.yaml": LOKI, "compose.yml": "services: {}\n"})

    told = local.json("config", "validate", ".")

    assert {each["file"]: each["tool"] for each in told["files"]} == {
        "loki.yaml": "loki",
        "prometheus.yml": "prometheus",
    }


@pytest.mark.parametrize(
    ("name", "text", "tool"),
    [
        ("loki/rules.yml", RULES, "loki"),
        ("anything.yml", LOKI, "loki"),
        ("alerts.yml", RULES, "prometheus"),
        ("prometheus-eu.yml", GOOD, "prometheus"),
        ("custom.ini", "[server]\nhttp_port = 3000\n", "grafana"),
        ("board.json", '{"panels": [], "schemaVersion": 39, "title": "t"}', "grafana"),
        ("am.yml", "route: {receiver: a}\nreceivers: [{name: a}]\n", "alertmanager"),
        ("collector.yml", "service: {}\nreceivers: {}\nexporters: {}\nextensions: {}\n", "jaeger"),
    ],
)
def test_the_tool_of_a_file_is_told_by_its_folder_name_or_content(
    name: str, text: str, tool: str, local: Shell
) -> None:
    put(local.directory, {name: text})

    ran = local("config", "validate", name, "-o", "json")

    assert [each["tool"] for each in json.loads(ran.stdout)["files"]] == [tool]


def test_a_file_of_an_unknown_tool_and_missing_paths_are_wrong_usage(local: Shell) -> None:
    put(local.directory, {"deployment.yml": "apiVersion: v1\nkind: Pod\n", "empty/notes.txt": "nothing"})

    for path, told in (
        ("deployment.yml", "the tool that reads 'deployment.yml' is not known"),
        ("missing.yml", "'missing.yml' does not exist"),
        ("empty", "'empty' contains no configuration"),
    ):
        ran = local("config", "validate", path)
        assert (ran.status, ran.stdout) == (2, "")
        assert told in ran.stderr


def test_standard_input_is_checked_under_its_name(local: Shell) -> None:
    plain = local("config", "validate", "-", "--tool", "prometheus", typed=BAD)
    named = local("config", "validate", "-", "--stdin-name", "prometheus.yml", typed=BAD)
    unknown = local("config", "validate", "-", typed="a: 1\n")

    assert (plain.status, named.status, unknown.status) == (3, 3, 2)
    assert plain.stdout.startswith("<stdin>:2:20: error: ")
    assert named.stdout.startswith("prometheus.yml:2:20: error: ")


def test_a_single_file_is_checked_with_its_bundle_if_asked(local: Shell) -> None:
    put(
        local.directory,
        {"prometheus/prometheus.yml": "rule_files: [rules/absent.yml]\n", "prometheus/rules/a.yml": RULES},
    )
    path = "prometheus/rules/a.yml"

    alone = local.json("config", "validate", path)
    together = local.json("config", "validate", "--whole-bundle", path, "prometheus/prometheus.yml", status=3)

    assert [each["file"] for each in alone["files"]] == [path]
    assert [each["file"] for each in together["files"]] == ["prometheus/prometheus.yml", path]
    assert "unused-file" in {each["rule"] for each in together["issues"]}


def test_warnings_fail_only_if_asked(local: Shell) -> None:
    put(local.directory, {"prometheus.yml": LEAKY.replace(", nope: 1", "")})

    assert local("config", "validate", "prometheus.yml").status == 0
    assert local("config", "validate", "prometheus.yml", "--fail-on", "warning").status == 3


def test_the_target_release_decides_which_fields_are_known(local: Shell) -> None:
    put(local.directory, {"prometheus.yml": "global: {metric_name_validation_scheme: legacy}\n"})

    new = local("config", "validate", "prometheus.yml", "--target-version", "prometheus=3.0")
    old = local("config", "validate", "prometheus.yml", "--target-version", "prometheus=2.53")

    assert (new.status, old.status) == (0, 3)


def test_the_project_file_sets_the_release_and_the_severity(local: Shell) -> None:
    put(local.directory, {
        "prometheus.yml": "global: {metric_name_validation_scheme: legacy}\n", "leaky.yml": LEAKY.replace(", nope: 1", ""),
        "apm-s3.toml": '[validate]\nfail-on = "warning"\ntarget-version = {prometheus = "2.53"}\n',
    })  # fmt: skip

    assert local("config", "validate", "prometheus.yml").status == 3
    assert local("config", "validate", "prometheus.yml", "--target-version", "prometheus=3.0").status == 0
    assert local("config", "validate", "leaky.yml").status == 3
    assert local("config", "validate", "leaky.yml", "--fail-on", "error").status == 0


@pytest.mark.parametrize(
    "line", ['fail-om = "error"', 'fail-on = "never"', "target-version = 2", "target-version = {a = 1}"]
)
def test_an_invalid_table_of_the_project_file_is_wrong_usage(line: str, local: Shell) -> None:
    put(local.directory, {"prometheus.yml": GOOD, "apm-s3.toml": f"[validate]\n{line}\n"})

    ran = local("config", "validate", "prometheus.yml")

    assert (ran.status, "apm-s3.toml: " in ran.stderr) == (2, True)


@pytest.mark.parametrize("text", ["2.53", "promethus=2.53", "prometheus=new"])
def test_an_invalid_target_release_is_wrong_usage(text: str, local: Shell) -> None:
    put(local.directory, {"prometheus.yml": GOOD})

    assert local("config", "validate", "prometheus.yml", "--target-version", text).status == 2


# Secrets, and characters that change a terminal


@pytest.mark.parametrize("form", FORMATS)
def test_no_format_prints_a_secret(form: str, local: Shell) -> None:
    put(local.directory, {"prometheus.yml": LEAKY})

    ran = local("config", "validate", "prometheus.yml", "--format", form)

    assert ran.status == 3
    assert "unknown-field" in ran.stdout
    assert SECRET not in ran.stdout + ran.stderr


def test_the_caret_stays_at_its_word_behind_a_masked_secret(local: Shell) -> None:
    put(local.directory, {"prometheus.yml": LEAKY})

    lines = local("config", "validate", "prometheus.yml").stdout.splitlines()

    line, caret = next((one, two) for one, two in pairwise(lines) if "^" in two)
    assert line[caret.index("^") :].startswith("nope")


def test_control_characters_never_reach_the_terminal(local: Shell) -> None:
    put(local.directory, {"prometheus.yml": 'global:\n  "a\u009b31m\u202e": 1\n'})

    ran = local("config", "validate", "prometheus.yml")

    assert ran.status == 3
    assert "\u009b" not in ran.stdout
    assert "\u202e" not in ran.stdout


# Formats


def test_github_commands_are_escaped(local: Shell) -> None:
    put(local.directory, {"a,b:c.yml": "scrape_configs: [{job_name: '100%', nope: 1}]\n"})

    out = local("config", "validate", "a,b:c.yml", "--format", "github").stdout

    assert out.startswith("::error file=a%2Cb%3Ac.yml,line=1,col=")
    assert re.fullmatch(r"(::(error|warning|notice) [^:]*::.*\n)+", out)


def test_sarif_has_what_version_2_1_0_requires(local: Shell) -> None:
    put(local.directory, {"my configs/prometheus.yml": LEAKY, "my configs/rules/a.yml": RULES})

    log = json.loads(local("config", "validate", "my configs", "--format", "sarif").stdout)

    assert (log["version"], len(log["runs"])) == ("2.1.0", 1)
    [run] = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert len(rules) == len(set(rules))
    # GitHub requires these, https://docs.github.com/code-security/code-scanning/sarif-support-for-code-scanning.
    assert all(rule[name]["text"] for rule in run["tool"]["driver"]["rules"] for name in ("fullDescription", "help"))
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note")
        assert result["message"]["text"]
        [location] = result["locations"]
        place = location["physicalLocation"]
        assert place["artifactLocation"]["uri"].startswith("my%20configs/")
        assert place["region"]["startLine"] >= 1
        assert place["region"].get("startColumn", 1) >= 1


def test_sarif_has_a_line_for_each_result_because_github_requires_it(local: Shell) -> None:
    put(local.directory, {"loki/other.yml": "x: 1\n"})

    log = json.loads(local("config", "validate", "loki", "--format", "sarif").stdout)

    assert "no-main-file" in {result["ruleId"] for result in log["runs"][0]["results"]}
    for result in log["runs"][0]["results"]:
        assert result["locations"][0]["physicalLocation"]["region"]["startLine"] == 1


def test_a_file_name_that_is_not_utf_8_is_percent_encoded_in_sarif() -> None:
    found = Found("loki", "\udcff.yml", 1, 1, Severity.ERROR, "enum", "bad", None, "")

    log = json.loads(render(Findings([found], {found.file: "loki"}), Format.sarif))

    [result] = log["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "%FF.yml"


def test_junit_reports_a_test_per_file(local: Shell) -> None:
    put(local.directory, {"prometheus/prometheus.yml": LEAKY, "prometheus/rules/<a>&b.yml": RULES})

    suites = ET.fromstring(local("config", "validate", ".", "--format", "junit").stdout)

    [suite] = suites
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    cases = {case.get("name"): case for case in suite}
    assert set(cases) == {"prometheus/prometheus.yml", "prometheus/rules/<a>&b.yml"}
    [failure] = cases["prometheus/prometheus.yml"].findall("failure")
    assert failure.get("type") == "unknown-field"
    assert "prometheus/prometheus.yml:3:" in (failure.text or "")


@pytest.mark.parametrize("form", FORMATS)
def test_valid_files_have_status_0_in_every_format(form: str, local: Shell) -> None:
    put(local.directory, {"prometheus.yml": GOOD, "rules/a.yml": RULES})

    ran = local("config", "validate", "--format", form)

    assert ran.status == 0
    if form in ("json", "sarif"):
        json.loads(ran.stdout)


# The same verdict as an upload


async def test_a_bundle_gets_the_issues_that_an_upload_would_report(tmp_path: Path) -> None:
    files = {"prometheus.yml": LEAKY, "rules/a.yml": RULES, ".apm/overlay.yml": "files: 3\n"}
    put(tmp_path / "prometheus", files)

    findings = check_all(Search((tmp_path / "prometheus",)), {}, bytes)

    report = await ConfigStore(MemoryObjects()).validate("prometheus", files=files)
    told = {(each.severity, each.line, each.column, each.rule, each.message) for each in findings.issues}
    assert told == {(each.severity, each.line, each.column, each.rule, each.message) for each in report.issues}
    assert {"plain-text-secret", "unknown-field"} <= {each.rule for each in findings.issues}


# Start


def test_it_loads_no_s3_client_no_event_loop_and_no_stores(tmp_path: Path) -> None:
    put(tmp_path, {"prometheus.yml": GOOD})
    code = (
        "import sys\nfrom apm_s3.cli._app import run\n"
        "assert run(['config', 'validate', 'prometheus.yml']) == 0\nprint(*sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)

    loaded = set(done.stdout.split())
    heavy = {
        "aiobotocore",
        "botocore",
        "aiohttp",
        "asyncio",
        "ssl",
        "rich.console",
        "apm_s3.configs",
        "apm_s3._manager",
    }
    assert loaded & heavy == set()


# pre-commit


def the_hook() -> dict[str, Any]:
    [hook] = yaml.safe_load((Path(__file__).parents[2] / ".pre-commit-hooks.yaml").read_text())
    return dict(hook)


@pytest.mark.parametrize(
    ("path", "checked"),
    [
        ("prometheus.yml", True),
        ("configs/production/prometheus/rules/a.yaml", True),
        ("grafana/dashboards/a.json", True),
        ("deploy/loki.yaml", True),
        ("charts/values.yaml", False),
        ("prometheus/README.md", False),
        (".github/workflows/prometheus-build.yml", False),
    ],
)
def test_the_hook_sees_the_files_of_the_tools(path: str, checked: bool) -> None:
    assert bool(re.search(the_hook()["files"], path)) is checked


def test_the_hook_refuses_a_bad_change_and_accepts_a_good_one(tmp_path: Path) -> None:
    """Runs the entry of the hook as git's own hook, on the staged files that it selects, as pre-commit does."""
    entry = shlex.join([sys.executable, "-m", "apm_s3.cli", *shlex.split(the_hook()["entry"])[1:]])
    select = f"git diff --cached --name-only --diff-filter=ACMR | grep -E '{the_hook()['files']}'"
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks/pre-commit").write_text(f"#!/bin/sh\n{select} | xargs {entry}\n")
    (tmp_path / "hooks/pre-commit").chmod(0o755)
    repository = tmp_path / "repository"
    put(repository, {"prometheus/prometheus.yml": GOOD, "prometheus/rules/a.yml": RULES})

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        own = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", f"core.hooksPath={tmp_path / 'hooks'}"]
        return subprocess.run(["git", *own, *arguments], cwd=repository, capture_output=True, text=True, timeout=60)

    git("init", "-q")
    git("add", ".")
    good = git("commit", "-qm", "good")
    put(repository, {"prometheus/rules/a.yml": RULES.replace("up == 0", "up ==")})
    bad = git("commit", "-qam", "bad")

    assert good.returncode == 0, good.stderr
    assert bad.returncode != 0
    assert "prometheus/rules/a.yml:5:" in bad.stdout + bad.stderr
    assert git("log", "--format=%s").stdout == "good\n"
