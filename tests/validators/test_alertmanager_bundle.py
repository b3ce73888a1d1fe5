"""Bundles of Alertmanager: templates by path, what is defined nowhere, and the verdict of amtool."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from apm_s3.validators import validate_bundle

CONFIG = "templates: [%s]\nroute: {receiver: a}\nreceivers: [{name: a}]\n"
SLACK = "route: {receiver: a}\nreceivers: [{name: a, slack_configs: [{api_url: http://x/, text: '%s'}]}]\n"
GOOD = '{{ define "x" }}a{{ end }}'


def found(files: dict[str, str]) -> set[tuple[str | None, str, str, int | None]]:
    report = validate_bundle("alertmanager", {name: text.encode() for name, text in files.items()})
    return {(issue.file, issue.severity.value, issue.rule, issue.line) for issue in report.issues}


def test_template_patterns_are_matched_by_path() -> None:
    files = {"alertmanager.yml": CONFIG % "'t/[a-c].tmpl'", "t/b.tmpl": GOOD, "b.tmpl": GOOD}

    assert found(files) == {("b.tmpl", "warning", "unused-file", 1)}
    assert found({"alertmanager.yml": CONFIG % "/etc/alertmanager/t/*.tmpl", "t/b.tmpl": GOOD}) == set()
    assert found({"alertmanager.yml": CONFIG % "'t/*.tmpl'"}) == {("alertmanager.yml", "warning", "missing-file", 1)}


def test_a_template_used_by_a_template_file_must_be_defined() -> None:
    files = {
        "alertmanager.yml": CONFIG % "'*.tmpl'",
        "a.tmpl": GOOD + '\n{{ define "y" }}{{ template "x" . }}{{ template "slack.default.title" . }}{{ end }}',
        "b.tmpl": '{{ define "z" }}\n{{- template `q` . }}{{ end }}',
    }

    assert found(files) == {("b.tmpl", "warning", "undefined-reference", 2)}


def test_an_undefined_template_in_a_receiver_is_reported_at_its_name() -> None:
    text = SLACK % '{{ define "own" }}{{ end }}{{ template "own" }}{{ template "mine" . }}'
    (issue,) = validate_bundle("alertmanager", {"alertmanager.yml": text.encode()}).issues

    assert (issue.rule, issue.line, issue.column) == ("undefined-reference", 2, text.split("\n")[1].index('"mine"') + 1)


def test_a_comment_defines_no_template() -> None:
    files = {"alertmanager.yml": CONFIG % "a.tmpl" + "# ", "a.tmpl": '{{/* {{ define "x" }} */}}{{ template "x" }}'}

    assert ("a.tmpl", "warning", "undefined-reference", 1) in found(files)


def test_credentials_that_are_not_in_the_bundle_are_notices() -> None:
    text = "global: {slack_api_url_file: url}\n" + CONFIG % ""

    assert found({"alertmanager.yml": text}) == {("alertmanager.yml", "info", "file-not-in-bundle", 1)}
    assert found({"alertmanager.yml": text, "url": "x"}) == set()


def test_a_web_configuration_is_recognised() -> None:
    files = {"alertmanager.yml": CONFIG % "", "web.yml": "basic_auth_users: {a: b}"}

    assert found(files) == {("web.yml", "error", "password-hash", 1)}


PROBES: dict[str, dict[str, str]] = {
    "by path": {"alertmanager.yml": CONFIG % "'t/*.tmpl'", "t/a.tmpl": GOOD},
    "broken": {"alertmanager.yml": CONFIG % "'t/*.tmpl'", "t/a.tmpl": "{{"},
    "broken, not matched": {"alertmanager.yml": CONFIG % "'*.tmpl'", "t/a.tmpl": "{{"},
    "another ending": {"alertmanager.yml": CONFIG % "'t/*'", "t/a.txt": "{{"},
    "the main file": {"alertmanager.yml": CONFIG % "'*.yml'"},
    "an open class": {"alertmanager.yml": CONFIG % "'t/[a.tmpl'", "t/a.tmpl": GOOD},
    "a class": {"alertmanager.yml": CONFIG % "'t/[ab].tmpl'", "t/a.tmpl": "{{"},
    "no match": {"alertmanager.yml": CONFIG % "'t/*.tmpl'"},
    "a file that is not there": {"alertmanager.yml": CONFIG % "a.tmpl"},
    "nothing": {"alertmanager.yml": CONFIG % "''"},
    "undefined": {"alertmanager.yml": CONFIG % "a.tmpl", "a.tmpl": '{{ template "x" }}'},
    "defined twice": {"alertmanager.yml": CONFIG % "'*.tmpl'", "a.tmpl": GOOD, "b.tmpl": GOOD},
    "defined twice in one file": {"alertmanager.yml": CONFIG % "'*.tmpl'", "a.tmpl": GOOD + GOOD},
}


@pytest.mark.skipif(shutil.which("amtool") is None, reason="amtool is not installed")
@pytest.mark.parametrize("name", PROBES)
def test_a_bundle_gets_the_verdict_of_amtool(name: str, tmp_path: Path) -> None:
    files = PROBES[name]
    for file, text in files.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(text, encoding="utf-8")
    command = ["amtool", "check-config", "alertmanager.yml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, check=False)
    raw = {file: text.encode() for file, text in files.items()}
    report = validate_bundle("alertmanager", raw, target_version="0.28")
    unused = {issue.file for issue in report.issues if issue.rule == "unused-file"}

    assert (not [issue for issue in report.errors if issue.file not in unused]) == (done.returncode == 0), report


def test_a_template_is_not_called_unused_when_the_main_file_cannot_be_read() -> None:
    assert found({"alertmanager.yml": "templates: [", "a.tmpl": GOOD}) == {
        ("alertmanager.yml", "error", "yaml-syntax", 2)
    }


def test_a_template_is_not_called_unused_when_the_field_that_names_it_is_misspelt() -> None:
    files = {"alertmanager.yml": CONFIG.replace("templates:", "template:") % "'*.tmpl'", "a.tmpl": GOOD}

    assert "unknown-field" in {rule for _, _, rule, _ in found(files)}
    assert "unused-file" not in {rule for _, _, rule, _ in found(files)}
