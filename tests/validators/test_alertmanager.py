"""Alertmanager's rules: each violation is refused at its position, and nothing else is."""

from __future__ import annotations

import pytest

from apm_s3.validators import validate_bundle, validate_config
from tests.validators.good import ALERTMANAGER, errors


@pytest.mark.parametrize("text", ["", "global: {}\n", "null\n"])
def test_a_configuration_without_a_route_is_invalid(text: str) -> None:
    assert [rule for _, rule in errors("alertmanager", text)] == ["root-route"]


def test_a_secret_url_is_not_quoted() -> None:
    report = validate_config(
        "alertmanager", ALERTMANAGER.replace("https://hooks.slack.example", "ftp://hooks.slack.example")
    )
    assert not report.ok
    assert "/services/T/B/token" not in str(report)


def test_the_placeholder_of_a_secret_is_accepted() -> None:
    assert (
        errors("alertmanager", ALERTMANAGER.replace("https://hooks.slack.example/services/T/B/token", "<secret>")) == []
    )


def test_fields_depend_on_the_release() -> None:
    tracing = ALERTMANAGER + "tracing: {endpoint: x}\n"
    assert errors("alertmanager", tracing) == []
    assert ("tracing", "unknown-field") in errors("alertmanager", tracing, target_version="0.28")


def test_a_template_file_is_parsed() -> None:
    good = '{{ define "x" }}{{ range .Alerts }}{{ .Labels.alertname | toUpper }}{{ end }}{{ end }}'
    assert validate_config("alertmanager", good, name="x.tmpl").issues == ()
    report = validate_config("alertmanager", 'line\n{{ define "x" }}{{ nosuch . }}{{ end }}', name="x.tmpl")
    assert [(issue.line, issue.rule) for issue in report.errors] == [(2, "template")]


def test_a_bundle_checks_templates_across_files() -> None:
    text = ALERTMANAGER.replace(
        "{Subject: hello}", '{Subject: \'{{ template "subject" . }}{{ template "slack.default.title" . }}\'}'
    )
    files = {"alertmanager.yml": text.encode(), "templates/mail.tmpl": b'{{ define "subject" }}x{{ end }}'}
    assert validate_bundle("alertmanager", files).issues == ()
    files["templates/mail.tmpl"] = b'{{ define "sbject" }}x{{ end }}'
    assert [issue.hint for issue in validate_bundle("alertmanager", files).warnings] == ["did you mean sbject?"]
    del files["templates/mail.tmpl"]
    assert "missing-file" in {issue.rule for issue in validate_bundle("alertmanager", files).warnings}


def test_an_impossible_month_is_accepted_as_by_alertmanager() -> None:
    assert errors("alertmanager", ALERTMANAGER.replace("'12'", "'13'")) == []


def test_pagerduty_details_may_be_nested_from_0_30_on() -> None:
    text = "route: {receiver: a}\nreceivers: [{name: a, pagerduty_configs: [{routing_key: b, details: {c: {d: e}}}]}]"

    assert errors("alertmanager", text, target_version="0.30") == []
    assert errors("alertmanager", text, target_version="0.29") == [
        ("receivers[0].pagerduty_configs[0].details.c", "wrong-type")
    ]


def receiver(integration: str, settings: str = "{}") -> str:
    return f"global: {settings}\nroute: {{receiver: a}}\nreceivers: [{{name: a, {integration}}}]\n"


@pytest.mark.parametrize(
    ("fields", "target", "rules"),
    [
        ("url: ''", None, ["required-field"]),
        ("url: '', url_file: /x", None, []),
        ("url: ''", "0.29", ["required-field"]),
        ("url: '', url_file: /x", "0.29", ["url"]),
        ("url: null, url_file: /x", "0.29", []),
        ("url: 'http://a/{{ .X }}'", "0.29", []),
        ("url: 'http://{{ .X }}/a'", "0.29", ["url"]),
        ("url: '{{ .X }}'", "0.29", ["url"]),
        ("url: '{{ .X }}'", "0.30", []),
        ("url: '{{ .X'", "0.30", ["template"]),
    ],
)
def test_a_webhook_url_may_be_empty_or_a_template_from_0_30_on(
    fields: str, target: str | None, rules: list[str]
) -> None:
    report = validate_config("alertmanager", receiver(f"webhook_configs: [{{{fields}}}]"), target_version=target)

    assert [issue.rule for issue in report.errors] == rules


@pytest.mark.parametrize("text", ["300000000000", "5", "-5", "1.5", "0x10", "1_000"])
def test_a_number_for_a_go_duration_counts_nanoseconds_with_a_warning(text: str) -> None:
    report = validate_config("alertmanager", receiver(f"webhook_configs: [{{url: 'http://a', timeout: {text}}}]"))

    assert report.ok
    assert [issue.rule for issue in report.warnings] == ["nanoseconds"]


@pytest.mark.parametrize("text", ["'5'", "true", "1e30", ".nan", "[5]", "5 "])
def test_text_that_is_neither_a_go_duration_nor_a_number_is_refused(text: str) -> None:
    report = validate_config("alertmanager", receiver(f"webhook_configs: [{{url: 'http://a', timeout: {text}}}]"))

    assert report.ok == (text == "5 ")


@pytest.mark.parametrize("text", ["mail:25]", "mail:25[", "m]ail:25", "[mail:25", "[a]b]:25"])
def test_an_ipv6_address_of_a_mail_server_needs_brackets(text: str) -> None:
    assert errors("alertmanager", receiver("email_configs: [{to: x, from: y}]", f"{{smtp_smarthost: '{text}'}}")) == [
        ("global.smtp_smarthost", "host-port")
    ]


@pytest.mark.parametrize(
    ("settings", "good"),
    [
        ("slack_app_token: x", True),
        ("slack_app_token: x, slack_api_url: 'https://slack.com/api/chat.postMessage'", True),
        ("slack_app_token: x, slack_api_url: 'http://a/b', slack_app_url: 'http://a/b'", True),
        ("slack_app_token: x, slack_api_url: 'http://a/b'", False),
        ("slack_app_token: x, slack_api_url: 'http://a/b', slack_app_url: 'http://a/c'", False),
        ("slack_app_token_file: x, slack_api_url: 'http://a/b'", False),
        ("slack_app_token: x, slack_api_url_file: y", False),
    ],
)
def test_a_slack_token_needs_the_matching_url(settings: str, good: bool) -> None:
    found = errors("alertmanager", receiver("slack_configs: [{channel: x}]", f"{{{settings}}}"))

    assert [rule for _, rule in found] == ([] if good else ["exclusive-fields"])


@pytest.mark.parametrize(
    ("text", "path", "hint"),
    [
        ("rout: {receiver: a}\nreceivers: [{name: a}]", "rout", "did you mean route?"),
        ("route: {reciever: a}\nreceivers: [{name: a}]", "route.reciever", "did you mean receiver?"),
        ("route: {receiver: a}\nrecievers: [{name: a}]", "recievers", "did you mean receivers?"),
        (receiver("webhook_configs: [{ulr: 'http://a'}]"), "receivers[0].webhook_configs[0].ulr", "did you mean url?"),
    ],
)
def test_a_mistyped_field_is_not_also_reported_as_missing(text: str, path: str, hint: str) -> None:
    issues = validate_config("alertmanager", text).errors

    assert [(issue.path, issue.hint) for issue in issues] == [(path, hint)]


INLINE = """\
route: {receiver: ops}
receivers:
  - name: ops
    %s
"""


@pytest.mark.parametrize(
    ("receiver", "place"),
    [
        ("slack_configs: [{api_url: http://x/, text: '{{ .Foo | toUper }}'}]", (4, 59)),
        ("email_configs: [{to: a@b, smarthost: a:1, from: a, headers: {Subject: '{{ range .Alerts }}'}}]", None),
        ("email_configs: [{to: 'a{{ end }}', smarthost: 'a:1', from: a}]", None),
        ("pagerduty_configs: [{routing_key: a, details: {deep: {er: ['{{ if }}']}}}]", None),
        ("webhook_configs: [{url: http://x/, payload: {a: '{{ .'}}]", None),
        ("telegram_configs: [{bot_token: a, chat_id: 1, message: '{{ .X }'}]", None),
    ],
)
def test_a_broken_template_in_a_receiver_gets_a_warning(receiver: str, place: tuple[int, int] | None) -> None:
    report = validate_config("alertmanager", INLINE % receiver)
    (warning,) = report.warnings

    assert report.ok
    assert warning.rule == "template"
    assert "notifications will fail" in warning.message
    assert place in (None, (warning.line, warning.column))


@pytest.mark.parametrize(
    "receiver",
    [
        "slack_configs: [{api_url: http://x/, text: '{{ .Foo | toUpper }}', http_config: {basic_auth: {password: '{{'}}}]",
        "email_configs: [{to: a@b, smarthost: a:1, from: a, auth_password: '{{', auth_username: '{{x'}]",
        "telegram_configs: [{bot_token_file: '/x/{{', chat_id: 1}]",
    ],
)
def test_braces_outside_templates_are_valid(receiver: str) -> None:
    assert validate_config("alertmanager", INLINE % receiver).issues == ()


def test_an_inline_template_cannot_use_a_function_of_a_later_release() -> None:
    text = INLINE % "slack_configs: [{api_url: http://x/, text: '{{ .Foo | toJson }}'}]"

    assert validate_config("alertmanager", text).issues == ()
    assert [issue.rule for issue in validate_config("alertmanager", text, target_version="0.28").issues] == ["template"]


def test_an_empty_webhook_url_is_reported_once() -> None:
    text = INLINE % "webhook_configs: [{url: ''}]"

    assert len(validate_config("alertmanager", text, target_version="0.28").issues) == 1


def test_a_url_template_may_use_the_functions_of_its_release() -> None:
    text = INLINE % "webhook_configs: [{url: 'http://x/{{ now }}'}]"

    assert validate_config("alertmanager", text).ok
    assert [issue.rule for issue in validate_config("alertmanager", text, target_version="0.31").errors] == ["template"]
