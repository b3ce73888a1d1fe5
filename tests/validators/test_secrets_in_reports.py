"""A report shows the position and the kind of a problem, but never the value of a secret."""

from __future__ import annotations

import json

import pytest

from apm_s3.validators import validate_bundle, validate_config
from apm_s3.validators._secrets import known
from tests.seams.content import diff_bundles

ALERTMANAGER = "route: {receiver: a}\nreceivers:\n- name: a\n"
LEAKS = {
    "an alias that should have been in quotes": (
        "alertmanager", "alertmanager.yml", f"global:\n  smtp_auth_password: *hunter2\n{ALERTMANAGER}", "unknown-anchor"
    ),
    "a template that is a secret": (
        "alertmanager", "alertmanager.yml", f"{ALERTMANAGER}  webhook_configs: [{{url: '{{{{hunter2}}}}'}}]\n", "template"
    ),
    "a URL without a scheme": (
        "alertmanager", "alertmanager.yml", f"{ALERTMANAGER}  webhook_configs: [{{url: 'hunter2:hunter2'}}]\n", "url"
    ),
    "a target with a password": (
        "prometheus", "prometheus.yml",
        "scrape_configs:\n- job_name: a\n  static_configs: [{targets: ['http://u:hunter2@h/']}]\n", "target-address"
    ),
    "an unknown field below a secret": (
        "prometheus", "prometheus.yml", "scrape_configs:\n- job_name: a\n  basic_auth: {password: {hunter2: 1}}\n", "wrong-type"
    ),
    "a number that is a secret in a list": (
        "loki", "loki.yaml", "common: {storage: {s3: {secret_access_key: [hunter2]}}}\n", "wrong-type"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("tool", "name", "text", "rule"), LEAKS.values(), ids=LEAKS)
def test_no_problem_quotes_a_secret(tool: str, name: str, text: str, rule: str) -> None:
    alone = validate_config(tool, text, name=name)
    together = validate_bundle(tool, {name: text.encode()})

    assert rule in {issue.rule for issue in alone.issues}
    assert "hunter2" not in str(alone) + repr(alone) + str(together) + repr(together)


@pytest.mark.parametrize("key", ["password 'hunter2'", "password hunter2", '"password: hunter2"', "api_token=hunter2"])
def test_no_problem_quotes_the_secret_of_a_field_without_its_colon(key: str) -> None:
    text = f"global: {{}}\n{key}: 3\n"
    bundle = {"prometheus.yml": text.encode()}

    for report in (
        validate_config("prometheus", text),
        validate_config("prometheus", {key.strip('"'): 3}),
        validate_config("grafana", f"[security]\n{key} = x\n"),
        validate_bundle("prometheus", bundle),
    ):
        assert report.issues
        assert "hunter2" not in str(report) + repr(report)
    shown = diff_bundles({"prometheus.yml": b"global: {}\n"}, bundle, old_label="a", new_label="b")
    assert "hunter2" not in str(shown) + json.dumps(shown.to_dict())
    for broken in (text.removesuffix(": 3\n"), f"global:\n  a: b\n  {key}\n", key):
        bundle = {"prometheus.yml": broken.encode()}
        shown = diff_bundles({"prometheus.yml": b"global: {}\n"}, bundle, old_label="a", new_label="b")
        assert "hunter2" not in str(shown)


def test_many_secrets_in_one_block_take_no_time() -> None:
    """The whole block was searched for each."""
    new = {"a.yml": b"a: |\n" + b"".join(b"  password = hunter%d\n" % number for number in range(60_000))}

    assert "hunter" not in str(diff_bundles({"a.yml": b"{}"}, new, old_label="a", new_label="b"))


def test_line_breaks_in_a_list_of_headers_take_no_time() -> None:
    """The rest of the text was searched from each: one expression held the interpreter for hours."""
    new = {"a.json": json.dumps({"headers": "\n" * 200_000}).encode()}

    assert diff_bundles({"a.json": b"{}"}, new, old_label="a", new_label="b").files


@pytest.mark.parametrize("blanks", [" " * 100_000, " " * 50_000 + "#" + " " * 50_000], ids=["blanks", "a mark"])
@pytest.mark.parametrize("text", ['a: "{}x password"\n', "a: |2\n  {}x\n  password x y\n", "a: [\n{}x password y\n"])
def test_blanks_before_the_name_of_a_secret_take_no_time(text: str, blanks: str) -> None:
    """Each pair of places in the blanks was tried: hours."""
    new = {"prometheus.yml": text.format(blanks).encode()}

    assert diff_bundles({"prometheus.yml": b"a: b\n"}, new, old_label="a", new_label="b").files


def test_no_problem_in_a_mapping_quotes_a_secret() -> None:
    receiver = {"name": "a", "webhook_configs": [{"url": "hunter2-zq9:x"}, {"url": "{{hunter2}}"}]}
    report = validate_config("alertmanager", {"route": {"receiver": "a"}, "receivers": [receiver]})

    assert len(report.errors) == 2
    assert "hunter2" not in repr(report)


def test_a_problem_without_secrets_keeps_its_quotes() -> None:
    text = "global:\n  smtp_auth_password: hunter2-zq9\nroute: {receiver: unknown}\nreceivers: []\n"

    assert "'unknown'" in str(validate_config("alertmanager", text))


def test_data_that_contain_themselves_twice_are_refused_immediately() -> None:
    data: dict[str, object] = {}
    data |= {"a": data, "b": data}

    assert [issue.rule for issue in validate_config("prometheus", data).issues] == ["too-deep"]


def test_in_data_too_a_value_is_concealed_by_the_name_beside_it() -> None:
    item = {"name": "X-Auth", "value": ["hunter2-zq9"]}
    pipelines = {"traces": {"receivers": ["hunter2-zq9"], "exporters": ["hunter2-zq9"]}}
    report = validate_config("jaeger", {"service": {"pipelines": pipelines}, "headers": [item]})

    assert "<secret>" in str(report)
    assert "hunter2" not in repr(report)


TEMPLATES = {
    "behind an apostrophe of the message": "slack_configs: [{{channel: x, api_url: 'https://x/{{{{ {secret} }}}}'}}]",
    "in a key": "opsgenie_configs: [{{api_key: '{{{{ {secret} }}}}'}}]",
    "a name that the bundle lacks": "webhook_configs: [{{url: 'https://x/{{{{ template \"{secret}\" . }}}}'}}]",
    "a variable": "webhook_configs: [{{url: 'https://x/{{{{ ${secret} }}}}'}}]",
    "a broken number": "slack_configs: [{{channel: x, api_url: 'https://x/{{{{ 7{secret} }}}}'}}]",
}


@pytest.mark.parametrize("receiver", TEMPLATES.values(), ids=TEMPLATES)
def test_no_error_of_a_template_quotes_a_part_of_a_webhook(receiver: str) -> None:
    receiver = receiver.format(secret="hunter2Zq9xyz")
    text = f"route: {{receiver: ops}}\nreceivers:\n  - name: ops\n    {receiver}\ntemplates: ['*.tmpl']\n"

    report = validate_bundle(
        "alertmanager", {"alertmanager.yml": text.encode(), "a.tmpl": b'{{ define "x" }}{{ end }}'}
    )

    assert report.issues
    assert "unter2" not in "".join(map(str, report.issues))


def test_the_work_for_an_issue_does_not_grow_with_the_number_of_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[str] = []
    is_elsewhere = known.is_elsewhere
    monkeypatch.setattr(known, "is_elsewhere", lambda text: looked_at.append(text) or is_elsewhere(text))
    jobs = "".join(
        f"- {{job_name: a{n}, basic_auth: {{password: Long4And{n:05}Mixed7Zx9Qk2}}, bad: 1}}\n" for n in range(200)
    )

    report = validate_config("prometheus", f"scrape_configs:\n{jobs}")

    assert len(report.errors) == 200
    assert 200 <= len(looked_at) <= 5 * 200


def test_a_secret_among_very_many_is_removed_from_an_issue_of_another_line() -> None:
    secrets = [f"Long4And{n:05}Mixed7Zx9Qk2" for n in range(1000)]
    texts = "".join(f"- {{job_name: a{n}, basic_auth: {{password: {each}}}}}\n" for n, each in enumerate(secrets))

    report = validate_config("prometheus", f"scrape_configs:\n{texts}- {{job_name: a, {secrets[777]}: 1}}\n")

    assert len(report.errors) == 1
    assert secrets[777] not in str(report)
