"""The entry points: kinds, names, versions, bundles and the event loop."""

import asyncio

import pytest

from apm_s3._tools import MAIN_FILES, TOOLS
from apm_s3.errors import InvalidOption
from apm_s3.reports import Issue, Severity, ValidationReport
from apm_s3.validators import validate_bundle, validate_bundle_async, validate_config, validate_config_async
from apm_s3.validators._validation.offload import THREAD_BYTES


def test_the_main_file_of_every_tool_has_its_first_kind():
    for tool in TOOLS:
        report = validate_config(tool, "{}" if tool != "grafana" else "", name=MAIN_FILES[tool])
        assert report.kind in ("config", "ini")


@pytest.mark.parametrize(
    ("tool", "name", "text", "kind"),
    [
        ("prometheus", "rules/a.yml", "groups: []", "rules"),
        ("prometheus", "prometheus.yml", "global: {}", "config"),
        ("prometheus", None, "groups:\n- name: x", "rules"),
        ("alertmanager", "mail.tmpl", '{{ define "x" }}{{ end }}', "templates"),
        ("alertmanager", None, "route: {receiver: a}", "config"),
        ("loki", None, "groups: []", "rules"),
        ("loki", "loki.yaml", "server: {}", "config"),
        ("jaeger", None, '{"default_strategy": {"type": "probabilistic", "param": 1}}', "sampling"),
        ("jaeger", "ui.json", "{}", "ui"),
        ("jaeger", "config.yaml", "service: {}", "config"),
        ("grafana", "dashboards/x.json", "{}", "dashboard"),
        ("grafana", None, "[server]\nhttp_port = 3000\n", "ini"),
        ("grafana", None, "apiVersion: 1\ndatasources: []\n", "provisioning"),
        ("grafana", None, {"server": {"http_port": 3000}}, "ini"),
    ],
)
def test_the_kind_of_a_file_is_inferred_from_name_and_content(tool, name, text, kind):
    assert validate_config(tool, text, name=name).kind == kind


def test_an_unknown_top_level_key_gets_a_hint():
    report = validate_config("prometheus", "scrape_config: []\n")

    assert not report.ok
    assert report.issues[0].hint == "did you mean scrape_configs?"


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (("splunk", ""), {}),
        (("prometheus", ""), {"kind": "dashboard"}),
        (("prometheus", ""), {"level": "deep"}),
        (("prometheus", ""), {"target_version": "two"}),
    ],
)
def test_an_invalid_argument_is_refused(arguments, options):
    with pytest.raises(InvalidOption):
        validate_config(*arguments, **options)


def test_a_source_of_the_wrong_type_is_refused():
    with pytest.raises(TypeError):
        validate_config("prometheus", 5)


def test_a_file_is_read_and_named_in_the_report(tmp_path):
    path = tmp_path / "prometheus.yml"
    path.write_text("global: [\n")

    report = validate_config("prometheus", path)

    assert report.name == "prometheus.yml"
    assert str(report).startswith("prometheus.yml:2:1: error: ")


def test_a_bundle_report_names_the_file_of_each_issue_and_skips_unknown_files():
    report = validate_bundle(
        "prometheus",
        {"prometheus.yml": b"globals: {}\nrule_files: [rules/*.yml]\n", "rules/a.yml": b"groups: []\n", "NOTES": b""},
    )

    assert [issue.file for issue in report.issues] == ["prometheus.yml"]
    assert [each.name for each in report.skipped if each.kind == "file"] == ["NOTES"]


def test_a_report_has_one_line_per_problem():
    issue = Issue(Severity.ERROR, "a[0].b", 3, 7, "some-rule", "not allowed", hint="did you mean c?")
    report = ValidationReport("loki", "config", "loki.yaml", (issue,))

    assert str(report) == "loki.yaml:3:7: error: a[0].b: not allowed (did you mean c?) (some-rule)"


@pytest.mark.parametrize("text", ["a: b\n" + "# comment\n" * 100, "x" * 200_000])
async def test_the_async_call_reports_the_same_as_the_plain_one(text):
    assert await validate_config_async("loki", text, kind="config") == validate_config("loki", text, kind="config")


async def test_the_async_bundle_call_reports_the_same_as_the_plain_one():
    files = {"loki.yaml": b"a: [\n", "rules/x.yaml": b"groups: []\n"}

    assert await validate_bundle_async("loki", files) == validate_bundle("loki", files)


LARGE = "scrape_configs:\n" + f"- {{job_name: j, sample_limit: x}} # {'large ' * 10_000}\n" * 5
"""Larger than what a thread checks, and read in no time."""
assert len(LARGE) > THREAD_BYTES


async def test_a_large_document_is_checked_in_a_process_with_the_same_report():
    assert await validate_config_async("prometheus", LARGE) == validate_config("prometheus", LARGE)


async def test_a_large_file_is_read_and_checked_off_the_loop_with_the_same_report(tmp_path):
    path = tmp_path / "prometheus.yml"
    path.write_text(LARGE)

    assert await validate_config_async("prometheus", path) == validate_config("prometheus", path)


async def test_a_large_bundle_is_checked_in_a_process_with_the_same_report():
    files = {"prometheus.yml": LARGE.encode(), "rules.yml": b"groups: [{name: 1}]"}

    assert await validate_bundle_async("prometheus", files) == validate_bundle("prometheus", files)


async def test_if_no_process_can_be_started_a_thread_checks_a_large_document(monkeypatch):
    monkeypatch.setattr("sys.executable", "/nowhere/python")

    assert await validate_config_async("prometheus", LARGE) == validate_config("prometheus", LARGE)


async def test_a_thread_takes_over_if_the_process_ends_before_reading_its_work(monkeypatch):
    monkeypatch.setattr("apm_s3.validators._validation.offload._MAIN", "raise SystemExit(1)")

    assert await validate_config_async("prometheus", LARGE * 3) == validate_config("prometheus", LARGE * 3)


async def test_a_cancelled_validation_leaves_no_process(monkeypatch):
    started = asyncio.Queue()
    start = asyncio.create_subprocess_exec

    async def remember(*arguments, **options):
        process = await start(*arguments, **options)
        started.put_nowait(process)
        return process

    monkeypatch.setattr("asyncio.create_subprocess_exec", remember)
    task = asyncio.create_task(validate_config_async("prometheus", LARGE * 3))
    process = await started.get()

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await process.wait() < 0


@pytest.mark.parametrize("options", [{"kind": "dashboard"}, {"target_version": "two"}, {"level": "deep"}])
async def test_the_async_call_refuses_an_invalid_argument(options):
    with pytest.raises(InvalidOption):
        await validate_config_async("prometheus", LARGE, **options)


@pytest.mark.parametrize(
    ("tool", "text", "hint"),
    [
        ("prometheus", "scrape_configs: [{job_name: a, kubernetes_sd_configs: [{role: pods}]}]", "pod"),
        ("prometheus", "scrape_configs: [{job_name: a, relabel_configs: [{action: labelmapp, regex: a}]}]", "labelmap"),
        ("prometheus", "scrape_configs: [{job_name: a, tls_config: {min_version: TLS_12}}]", "TLS12"),
        ("prometheus", "scrape_configs: [{job_name: a, dns_sd_configs: [{names: [a], type: AAA}]}]", "AAAA"),
        ("alertmanager", "receivers: [{name: a, wechat_configs: [{message_type: markdwn}]}]", "markdown"),
        ("loki", "ingester: {chunk_encoding: snapy}", "snappy"),
    ],
)
def test_a_mistyped_value_gets_a_hint(tool, text, hint):
    hints = [issue.hint for issue in validate_config(tool, text, kind="config").errors if issue.rule == "enum"]

    assert hints == [f"did you mean {hint}?"]


def test_a_thousand_warnings_hide_no_error():
    panels = [{"id": 1, "type": "text"} for _ in range(1200)]

    report = validate_config("grafana", {"title": "", "panels": panels}, kind="dashboard")

    assert [issue.rule for issue in report.errors] == ["required-field"], report.errors
