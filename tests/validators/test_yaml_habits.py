"""How Go's YAML libraries treat nulls, tags, merge keys and byte order marks, which YAML's specification leaves open."""

import shutil
import subprocess

import pytest

from apm_s3.validators import validate_config

RULE = "groups: [{name: g, rules: [{alert: A, expr: up, %s}]}]\n"
GLOBAL = "global: {%s}\n"
JOB = "scrape_configs: [{job_name: a, %s}]\n"
TARGETS = JOB % "static_configs: [{targets: [a], labels: {%s}}]"
RULES = {
    "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up\n    labels:\n      <<: {a: b}\n      <<: {c: d}\n": False,
    RULE % "labels: {<<: [{a: b}, {c: d}]}": True,
    RULE % "labels: {null: a}": True,
    RULE % "labels: {~: a}": True,
    RULE % "labels: {Null: a}": True,
    RULE % "labels: {'': a}": False,
    RULE % "labels: {!!null x: a}": False,
    RULE % "labels: {!!binary YQ==: a}": True,
    RULE % "labels: {!!binary '!!': a}": False,
    RULE % "labels: {a: !!bool yes}": False,
    RULE % "labels: {a: !!bool true}": True,
    RULE % "for: Null": True,
    RULE % "for: !!null Null": True,
    "groups:\n\ufeff- name: x\n": False,
    "groups: []\n\ufeff": False,
}
CONFIGS = {
    GLOBAL % "external_labels: {null: a}": False,
    GLOBAL % "external_labels: {Null: a}": False,
    GLOBAL % "external_labels: {!!binary YQ==: b}": True,
    GLOBAL % "external_labels: {!!binary '/w==': b}": False,
    GLOBAL % "scrape_interval: Null": False,
    GLOBAL % "scrape_interval: !!null Null": True,
    GLOBAL % "scrape_interval: null": True,
    GLOBAL % "scrape_interval: !!null x": False,
    GLOBAL % "<<: {scrape_interval: [x]}, scrape_interval: 5s": False,
    GLOBAL % "<<: {external_labels: [x]}, external_labels: {a: b}": False,
    GLOBAL % "<<: {scrape_interval: 3s}, scrape_interval: 5s": True,
    JOB % "honor_labels: !!bool yes": True,
    TARGETS % "null: x": True,
    TARGETS % "'': x": False,
    TARGETS % "!!binary YQ==: x": True,
    "\ufeffglobal: {}\n": True,
    "global: {}\n\ufeff": False,
    "global: {external_labels: {a: 'x\ufeffy'}}\n": True,
}
ALL = [("rules", text, good) for text, good in RULES.items()] + [("config", *each) for each in CONFIGS.items()]


@pytest.mark.parametrize(("kind", "text", "good"), ALL)
def test_yaml_is_parsed_as_in_go(kind, text, good):
    assert validate_config("prometheus", text, kind=kind, target_version="2.53").ok == good


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_agrees(tmp_path):
    for kind, text, good in ALL:
        (tmp_path / "file.yml").write_text(text, encoding="utf-8")
        options = ["--lint=none"] if kind == "rules" else ["--syntax-only", "--lint=none"]
        command = ["promtool", "check", kind, *options, str(tmp_path / "file.yml")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (done.returncode == 0) == good, (text, done.stdout + done.stderr)


def test_a_second_merge_key_reports_the_line_of_the_first():
    text = next(iter(RULES))

    (issue,) = validate_config("prometheus", text, kind="rules").errors

    assert (issue.rule, issue.line) == ("duplicate-key", 8)
    assert "line 7" in issue.message
