"""Grafana's rules: each violation is refused at its position, and nothing else is."""

from __future__ import annotations

import json

import pytest

from apm_s3.validators import validate_bundle, validate_config
from tests.validators.good import ALERTING, SOURCES

INI = """\
instance_name = one
[server]
http_port = 3000 ; the default
root_url = %(protocol)s://%(domain)s/
[database]
type = sqlite3
[auth.generic_oauth]
enabled = true
[feature_toggles]
anything = true
[plugin.some-app]
any_key = 1
"""

DASHBOARD = {
    "title": "API",
    "uid": "api",
    "schemaVersion": 39,
    "templating": {"list": [{"name": "source", "type": "datasource"}]},
    "panels": [
        {"id": 1, "type": "timeseries", "datasource": {"type": "prometheus", "uid": "prom"}},
        {"id": 2, "type": "row", "panels": [{"id": 3, "type": "stat", "datasource": "${source}"}]},
    ],
}


def found(text: str, kind: str | None = None) -> list[tuple[str, str, str]]:
    report = validate_config("grafana", text, kind=kind)
    return [(issue.severity.value, issue.path, issue.rule) for issue in report.issues]


def test_the_ini_file_is_recognised_and_accepted() -> None:
    report = validate_config("grafana", INI)
    assert (report.kind, report.issues) == ("ini", ())


@pytest.mark.parametrize(
    ("old", "new", "path", "rule", "hint"),
    [
        ("[server]", "[sever]", "sever", "unknown-section", "did you mean server?"),
        ("http_port", "http_prot", "server.http_prot", "unknown-key", "did you mean http_port?"),
    ],
)
def test_an_unknown_name_in_the_ini_file_gets_a_warning(old: str, new: str, path: str, rule: str, hint: str) -> None:
    report = validate_config("grafana", INI.replace(old, new))
    assert report.ok
    assert [(issue.path, issue.rule, issue.hint) for issue in report.warnings] == [(path, rule, hint)]


def test_a_mapping_is_accepted_as_an_ini_file() -> None:
    assert validate_config("grafana", {"server": {"http_port": 3000}, "database": {"type": "sqlite3"}}).issues == ()
    assert not validate_config("grafana", {"server": ["http_port"]}, kind="ini").ok


@pytest.mark.parametrize("text", ["", "- name: x\n  options: {path: /d}\n"])
def test_provisioning_is_accepted(text: str) -> None:
    assert found(text, "provisioning") == []


def test_settings_that_grafana_ignores_get_warnings() -> None:
    assert found(SOURCES.replace("access: proxy", "access: magic")) == [("warning", "datasources[0].access", "access")]
    assert found(SOURCES.replace("datasources:", "datasource:")) == [("warning", "datasource", "unknown-field")]


def dashboard(**changes: object) -> str:
    return json.dumps({**DASHBOARD, **changes})


def test_a_dashboard_is_recognised_and_accepted() -> None:
    report = validate_config("grafana", dashboard())
    assert (report.kind, report.issues) == ("dashboard", ())


@pytest.mark.parametrize(
    ("text", "path", "rule"),
    [
        ("[]", "", "wrong-type"),
        (dashboard(title=""), "title", "required-field"),
        (dashboard(title=7), "title", "wrong-type"),
        (dashboard(uid="x" * 41), "uid", "uid"),
        (dashboard(uid="a/b"), "uid", "uid"),
        (dashboard(uid=[1]), "uid", "wrong-type"),
        (dashboard(panels={}), "panels", "wrong-type"),
        (dashboard(panels=["x"]), "panels[0]", "wrong-type"),
        (dashboard(templating=[1]), "templating", "wrong-type"),
        (json.dumps({"dashboard": DASHBOARD}), "title", "required-field"),
        ('{"title": "x",}', "", "json-syntax"),
    ],
)
def test_each_violated_dashboard_rule_is_refused(text: str, path: str, rule: str) -> None:
    assert ("error", path, rule) in found(text, "dashboard")


@pytest.mark.parametrize(
    ("changes", "path", "rule"),
    [
        ({"schemaVersion": 999}, "schemaVersion", "schema-version"),
        ({"schemaVersion": "x"}, "schemaVersion", "schema-version"),
        ({"panels": [{"id": 1, "type": "a"}, {"id": 1, "type": "b"}]}, "panels[1].id", "duplicate-name"),
        ({"panels": [{"id": 1}]}, "panels[0].type", "required-field"),
        ({"panels": [{"type": "a", "datasource": "$other"}]}, "panels[0].datasource", "undefined-reference"),
        ({"templating": {"list": [{"type": "query"}]}, "panels": []}, "templating.list[0].name", "required-field"),
    ],
)
def test_a_dashboard_that_would_be_displayed_wrongly_gets_a_warning(
    changes: dict[str, object], path: str, rule: str
) -> None:
    assert found(dashboard(**changes), "dashboard") == [("warning", path, rule)]


def test_the_spec_of_a_resource_is_checked_as_a_dashboard() -> None:
    resource = {"apiVersion": "dashboard.grafana.app/v1beta1", "kind": "Dashboard", "metadata": {"name": "x"}}
    assert found(json.dumps({**resource, "spec": DASHBOARD}), "dashboard") == []
    assert found(json.dumps({**resource, "spec": {}}), "dashboard") == [("error", "spec.title", "required-field")]


def bundle(**files: str) -> list[tuple[str | None, str, str, str]]:
    names = {
        name.replace("__", "/").replace("_yaml", ".yaml").replace("_json", ".json"): text
        for name, text in files.items()
    }
    report = validate_bundle("grafana", {name: text.encode() for name, text in names.items()})
    return [(issue.file, issue.severity.value, issue.path, issue.rule) for issue in report.issues]


def test_a_consistent_bundle_is_accepted() -> None:
    assert bundle(ds_yaml=SOURCES, alerts_yaml=ALERTING, dashboards__api_json=dashboard()) == []


def test_two_default_data_sources_of_an_organisation_in_one_file_are_reported_once() -> None:
    first, second = (f"{{name: {name}, type: prometheus, isDefault: true}}" for name in "ab")
    other = second.replace("}", ", orgId: 2}")
    text = f"apiVersion: 1\ndatasources: [{first}, {second}, {other}]"

    assert [issue.path for issue in validate_config("grafana", text, kind="provisioning").errors] == [
        "datasources[1].isDefault"
    ]
    assert bundle(a_yaml=text) == [("a.yaml", "error", "datasources[1].isDefault", "one-default")]


def test_an_organisation_has_one_default_data_source_across_files() -> None:
    other = (
        SOURCES.replace("uid: prom", "uid: other")
        .replace("uid: loki", "uid: other-loki")
        .replace("orgId: 1", "version: 1")
    )
    assert bundle(a_yaml=SOURCES, b_yaml=other) == [("b.yaml", "error", "datasources[0].isDefault", "one-default")]
    assert bundle(a_yaml=SOURCES, b_yaml=other.replace("version: 1", "orgId: 2")) == []


def test_uids_must_be_unique_across_files() -> None:
    again = "apiVersion: 1\ndatasources: [{name: P2, type: prometheus, uid: prom}]\n"
    assert bundle(a_yaml=SOURCES, b_yaml=again) == [("b.yaml", "error", "datasources[0].uid", "duplicate-name")]
    assert bundle(a_json=dashboard(), b_json=dashboard()) == [("b.json", "error", "uid", "duplicate-name")]


def test_a_data_source_that_is_not_provisioned_gets_a_warning() -> None:
    lost = dashboard(panels=[{"type": "a", "datasource": {"uid": "porm"}}])
    assert bundle(ds_yaml=SOURCES, d_json=lost) == [
        ("d.json", "warning", "panels[0].datasource.uid", "undefined-reference")
    ]
    assert bundle(d_json=lost) == []


def test_a_uid_that_is_not_a_string_is_also_refused_in_a_bundle() -> None:
    assert bundle(d_json=dashboard(uid=[1])) == [("d.json", "error", "uid", "wrong-type")]
    assert ("s.yaml", "error", "datasources[0].uid", "wrong-type") in bundle(
        s_yaml="apiVersion: 1\ndatasources: [{name: P, type: prometheus, uid: [1]}]\n"
    )


@pytest.mark.parametrize("name", [["a"], {"a": "b"}, [[]]])
def test_a_variable_whose_name_is_not_a_string_is_refused(name: object) -> None:
    text = dashboard(templating={"list": [{"name": name}]})

    assert ("error", "templating.list[0].name", "wrong-type") in found(text)


def test_a_list_in_place_of_the_name_of_a_data_source_is_an_error() -> None:
    report = validate_config("grafana", "datasources: [{name: [], type: loki}]\n", kind="provisioning")

    assert [(str(issue.severity), issue.path, issue.rule) for issue in report.issues] == [
        ("error", "datasources[0].name", "wrong-type")
    ]
