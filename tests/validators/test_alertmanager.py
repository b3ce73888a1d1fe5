"""Alertmanager's rules: each violation is refused at its position, and nothing else is."""

from __future__ import annotations

import pytest

from apm_s3.validators import validate_bundle, validate_config

GOOD = """\
global:
  resolve_timeout: 5m
  smtp_smarthost: mail.example.com:25
  smtp_from: alerts@example.com
  slack_api_url: https://hooks.slack.example/services/T/B/token
  opsgenie_api_key: key
  victorops_api_key: key
  wechat_api_secret: secret
  wechat_api_corp_id: corp
route:
  receiver: ops
  group_by: [alertname, cluster]
  group_wait: 30s
  repeat_interval: 4h
  routes:
    - matchers: ['severity="page"', 'team=~"a|b"']
      receiver: pager
      continue: true
      mute_time_intervals: [nights]
      active_time_intervals: [office]
    - match: {team: db}
      match_re: {service: ^(foo|bar)$}
      group_by: ['...']
inhibit_rules:
  - source_matchers: [severity = critical]
    target_matchers: [severity = warning]
    equal: [alertname]
mute_time_intervals:
  - name: nights
    time_intervals:
      - times: [{start_time: 22:00, end_time: 24:00}]
        weekdays: ['monday:friday', sunday]
        days_of_month: ['1:5', '-3:-1']
        months: ['january:march', '12']
        years: ['2026:2028']
        location: Europe/Berlin
time_intervals:
  - name: office
    time_intervals: [{times: [{start_time: 09:00, end_time: 17:00}]}]
receivers:
  - name: ops
    email_configs:
      - to: ops@example.com
        headers: {Subject: hello}
    slack_configs:
      - channel: '#ops'
        actions: [{type: button, text: Look, url: http://x}]
        fields: [{title: a, value: b}]
    webhook_configs: [{url: http://hook.example}]
    opsgenie_configs: [{responders: [{name: sre, type: team}]}]
    victorops_configs: [{routing_key: r, custom_fields: {x: y}}]
    wechat_configs: [{message_type: text}]
  - name: pager
    pagerduty_configs: [{routing_key: key, details: {a: b}}]
    pushover_configs: [{user_key: u, token: t, html: true, retry: 1m}]
    sns_configs: [{topic_arn: 'arn:aws:sns:us-east-2:1:x', sigv4: {region: us-east-2}}]
    telegram_configs: [{bot_token: b, chat_id: 7, parse_mode: HTML}]
    discord_configs: [{webhook_url: https://discord.example/x}]
    msteams_configs: [{webhook_url_file: /run/teams}]
    msteamsv2_configs: [{webhook_url: https://teams.example/x}]
    webex_configs: [{room_id: r, http_config: {authorization: {credentials: c}}}]
    jira_configs: [{api_url: https://jira.example, project: P, issue_type: Bug}]
    rocketchat_configs: [{token: t, token_id: i}]
    mattermost_configs: [{webhook_url: https://mm.example/x}]
    incidentio_configs: [{url: https://api.incident.example, alert_source_token: t}]
templates: ['templates/*.tmpl']
"""


def errors(text: str, **options: str) -> list[tuple[str, str]]:
    return [
        (issue.path, issue.rule) for issue in validate_config("alertmanager", text, kind="config", **options).errors
    ]


def test_a_complete_configuration_is_accepted() -> None:
    assert validate_config("alertmanager", GOOD).issues == ()


@pytest.mark.parametrize(
    ("old", "new", "path", "rule"),
    [
        ("resolve_timeout: 5m", "resolve_timeout: 5 m", "global.resolve_timeout", "duration"),
        ("resolve_timeout", "resolved_timeout", "global.resolved_timeout", "unknown-field"),
        ("opsgenie_api_key: key", "opsgenie_api_key: key\n  opsgenie_api_key_file: f", "global.opsgenie_api_key_file",
         "exclusive-fields"),
        ("mail.example.com:25", "mail.example.com", "global.smtp_smarthost", "host-port"),
        ("mail.example.com:25", "'mail.example.com:'", "global.smtp_smarthost", "host-port"),
        ("https://hooks.slack.example", "hooks.slack.example", "global.slack_api_url", "url"),
        ("https://hooks.slack.example/services/T/B/token", "'http:///x'", "global.slack_api_url", "url"),
        ("  receiver: ops\n", "", "route", "root-route"),
        ("  receiver: ops\n", "  receiver: ops\n  match: {a: b}\n", "route.match", "root-route"),
        ("  receiver: ops\n", "  receiver: ops\n  mute_time_intervals: [nights]\n", "route.mute_time_intervals",
         "root-route"),
        ("  receiver: ops\n", "  receiver: ops\n  continue: true\n", "route.continue", "root-route"),
        ("receiver: ops\n", "receiver: oops\n", "route.receiver", "undefined-reference"),
        ("receiver: pager\n", "receiver: pgaer\n", "route.routes[0].receiver", "undefined-reference"),
        ("[nights]", "[days]", "route.routes[0].mute_time_intervals[0]", "undefined-reference"),
        ("[office]", "[home]", "route.routes[0].active_time_intervals[0]", "undefined-reference"),
        ("[alertname, cluster]", "[alertname, alertname]", "route.group_by[1]", "duplicate-name"),
        ("[alertname, cluster]", "[alertname, '...']", "route.group_by", "exclusive-fields"),
        ("[alertname, cluster]", "['']", "route.group_by[0]", "label-name"),
        ("repeat_interval: 4h", "repeat_interval: 0s", "route.repeat_interval", "out-of-range"),
        ("repeat_interval: 4h", "group_interval: 0s", "route.group_interval", "out-of-range"),
        ("{team: db}", "{team-x: db}", "route.routes[1].match.team-x", "label-name"),
        ("{service: ^(foo|bar)$}", "{service: }", "route.routes[1].match_re.service", "regex"),
        ("{service: ^(foo|bar)$}", "{service: '(?!x)'}", "route.routes[1].match_re.service", "regex"),
        ("'severity=\"page\"'", "'severity==\"page\"'", "route.routes[0].matchers[0]", "matcher"),
        ("team=~\"a|b\"", "team=~\"a|(b\"", "route.routes[0].matchers[1]", "matcher"),
        ("    - match: {team: db}", "    -\n    - match: {team: db}", "route.routes[1]", "null-entry"),
        ("equal: [alertname]", "equal: ['']", "inhibit_rules[0].equal[0]", "label-name"),
        ("source_matchers: [severity = critical]", "source_match: {'a b': c}", 'inhibit_rules[0].source_match["a b"]',
         "label-name"),
        ("start_time: 22:00", "start_time: 25:00", "mute_time_intervals[0].time_intervals[0].times[0].start_time",
         "time"),
        ("start_time: 22:00, ", "", "mute_time_intervals[0].time_intervals[0].times[0]", "required-field"),
        ("start_time: 09:00", "start_time: 18:00", "time_intervals[0].time_intervals[0].times[0].start_time",
         "time-order"),
        ("'monday:friday'", "'friday:monday'", "mute_time_intervals[0].time_intervals[0].weekdays[0]", "range-order"),
        ("'monday:friday'", "'mon:fri'", "mute_time_intervals[0].time_intervals[0].weekdays[0]", "weekday"),
        ("'1:5'", "'0:5'", "mute_time_intervals[0].time_intervals[0].days_of_month[0]", "out-of-range"),
        ("'1:5'", "'5:1'", "mute_time_intervals[0].time_intervals[0].days_of_month[0]", "range-order"),
        ("'1:5'", "'-5:1'", "mute_time_intervals[0].time_intervals[0].days_of_month[0]", "range-order"),
        ("'1:5'", "'1:2:3'", "mute_time_intervals[0].time_intervals[0].days_of_month[0]", "range"),
        ("'january:march'", "'march:january'", "mute_time_intervals[0].time_intervals[0].months[0]", "range-order"),
        ("'12'", "'sept'", "mute_time_intervals[0].time_intervals[0].months[1]", "month"),
        ("'2026:2028'", "'2028:2026'", "mute_time_intervals[0].time_intervals[0].years[0]", "range-order"),
        ("'2026:2028'", "'soon'", "mute_time_intervals[0].time_intervals[0].years[0]", "number"),
        ("Europe/Berlin", "Europe/Bonn", "mute_time_intervals[0].time_intervals[0].location", "time-zone"),
        ("- name: office", "- name: nights", "time_intervals[0].name", "duplicate-name"),
        ("- name: office\n    time", "- time", "time_intervals[0]", "required-field"),
        ("- name: pager", "- name: ops", "receivers[1].name", "duplicate-name"),
        ("- name: pager", "- name: pager\n    labels: {name: other}", "receivers[1].labels.name", "label-name"),
        ("to: ops@example.com", "html: x", "receivers[0].email_configs[0]", "required-field"),
        ("{Subject: hello}", "{Subject: a, subject: b}", "receivers[0].email_configs[0].headers.subject",
         "duplicate-name"),
        ("  smtp_smarthost: mail.example.com:25\n", "", "receivers[0].email_configs[0]", "required-field"),
        ("  smtp_from: alerts@example.com\n", "", "receivers[0].email_configs[0]", "required-field"),
        ("  slack_api_url: https://hooks.slack.example/services/T/B/token\n", "", "receivers[0].slack_configs[0]",
         "required-field"),
        ("channel: '#ops'", "api_url: http://a\n        api_url_file: f", "receivers[0].slack_configs[0].api_url_file",
         "exclusive-fields"),
        ("channel: '#ops'", "app_token: t\n        api_url: http://a", "receivers[0].slack_configs[0].api_url",
         "exclusive-fields"),
        ("channel: '#ops'", "update_message: true", "receivers[0].slack_configs[0].update_message", "required-field"),
        ("{type: button, text: Look, url: http://x}", "{text: Look, url: http://x}",
         "receivers[0].slack_configs[0].actions[0]", "required-field"),
        ("{type: button, text: Look, url: http://x}", "{type: button, text: Look}",
         "receivers[0].slack_configs[0].actions[0]", "required-field"),
        ("[{title: a, value: b}]", "[{title: a}]", "receivers[0].slack_configs[0].fields[0]", "required-field"),
        ("{url: http://hook.example}", "{}", "receivers[0].webhook_configs[0]", "required-field"),
        ("{url: http://hook.example}", "{url: 'http://{{ x'}", "receivers[0].webhook_configs[0].url", "template"),
        ("[{url: http://hook.example}]", "[null]", "receivers[0].webhook_configs[0]", "null-entry"),
        ("  opsgenie_api_key: key\n", "", "receivers[0].opsgenie_configs[0]", "required-field"),
        ("{name: sre, type: team}", "{type: team}", "receivers[0].opsgenie_configs[0].responders[0]",
         "required-field"),
        ("{name: sre, type: team}", "{name: sre, type: crew}",
         "receivers[0].opsgenie_configs[0].responders[0].type", "enum"),
        ("  victorops_api_key: key\n", "", "receivers[0].victorops_configs[0]", "required-field"),
        ("{routing_key: r, ", "{", "receivers[0].victorops_configs[0]", "required-field"),
        ("{x: y}", "{entity_id: y}", "receivers[0].victorops_configs[0].custom_fields.entity_id", "reserved-name"),
        ("  wechat_api_secret: secret\n", "", "receivers[0].wechat_configs[0]", "required-field"),
        ("  wechat_api_corp_id: corp\n", "", "receivers[0].wechat_configs[0]", "required-field"),
        ("message_type: text", "message_type: html", "receivers[0].wechat_configs[0].message_type", "enum"),
        ("{routing_key: key, ", "{", "receivers[1].pagerduty_configs[0]", "required-field"),
        ("{routing_key: key, ", "{routing_key: key, routing_key_file: f, ",
         "receivers[1].pagerduty_configs[0].routing_key_file", "exclusive-fields"),
        ("user_key: u, ", "", "receivers[1].pushover_configs[0]", "required-field"),
        ("html: true, ", "html: true, monospace: true, ", "receivers[1].pushover_configs[0].monospace",
         "exclusive-fields"),
        ("retry: 1m", "retry: 1d", "receivers[1].pushover_configs[0].retry", "duration"),
        ("topic_arn: 'arn:aws:sns:us-east-2:1:x', ", "", "receivers[1].sns_configs[0]", "required-field"),
        ("chat_id: 7, ", "", "receivers[1].telegram_configs[0]", "required-field"),
        ("parse_mode: HTML", "parse_mode: html", "receivers[1].telegram_configs[0].parse_mode", "enum"),
        ("bot_token: b, ", "", "receivers[1].telegram_configs[0]", "required-field"),
        ("{webhook_url: https://discord.example/x}", "{}", "receivers[1].discord_configs[0]", "required-field"),
        ("{webhook_url_file: /run/teams}", "{webhook_url_file: f, webhook_url: http://x}",
         "receivers[1].msteams_configs[0].webhook_url_file", "exclusive-fields"),
        ("{authorization: {credentials: c}}", "{}", "receivers[1].webex_configs[0].http_config", "required-field"),
        ("{room_id: r, ", "{", "receivers[1].webex_configs[0]", "required-field"),
        ("project: P, ", "", "receivers[1].jira_configs[0]", "required-field"),
        ("api_url: https://jira.example, ", "", "receivers[1].jira_configs[0]", "required-field"),
        ("{token: t, token_id: i}", "{token: t}", "receivers[1].rocketchat_configs[0]", "required-field"),
        ("{webhook_url: https://mm.example/x}", "{}", "receivers[1].mattermost_configs[0]", "required-field"),
        (", alert_source_token: t", "", "receivers[1].incidentio_configs[0]", "required-field"),
        ("templates: [", "tracing: {client_type: udp, endpoint: x}\ntemplates: [", "tracing.client_type", "enum"),
        ("templates: [", "tracing: {insecure: true}\ntemplates: [", "tracing", "required-field"),
    ],
)  # fmt: skip
def test_each_violated_rule_is_refused_at_its_position(old: str, new: str, path: str, rule: str) -> None:
    assert old in GOOD
    found = errors(GOOD.replace(old, new, 1))
    assert any(at.startswith(path) and of == rule for at, of in found), found


@pytest.mark.parametrize("text", ["", "global: {}\n", "null\n"])
def test_a_configuration_without_a_route_is_invalid(text: str) -> None:
    assert [rule for _, rule in errors(text)] == ["root-route"]


def test_a_secret_url_is_not_quoted() -> None:
    report = validate_config("alertmanager", GOOD.replace("https://hooks.slack.example", "ftp://hooks.slack.example"))
    assert not report.ok
    assert "/services/T/B/token" not in str(report)


def test_the_placeholder_of_a_secret_is_accepted() -> None:
    assert errors(GOOD.replace("https://hooks.slack.example/services/T/B/token", "<secret>")) == []


def test_fields_depend_on_the_release() -> None:
    tracing = GOOD + "tracing: {endpoint: x}\n"
    assert errors(tracing) == []
    assert ("tracing", "unknown-field") in errors(tracing, target_version="0.28")


def test_a_template_file_is_parsed() -> None:
    good = '{{ define "x" }}{{ range .Alerts }}{{ .Labels.alertname | toUpper }}{{ end }}{{ end }}'
    assert validate_config("alertmanager", good, name="x.tmpl").issues == ()
    report = validate_config("alertmanager", 'line\n{{ define "x" }}{{ nosuch . }}{{ end }}', name="x.tmpl")
    assert [(issue.line, issue.rule) for issue in report.errors] == [(2, "template")]


def test_a_bundle_checks_templates_across_files() -> None:
    text = GOOD.replace(
        "{Subject: hello}", '{Subject: \'{{ template "subject" . }}{{ template "slack.default.title" . }}\'}'
    )
    files = {"alertmanager.yml": text.encode(), "templates/mail.tmpl": b'{{ define "subject" }}x{{ end }}'}
    assert validate_bundle("alertmanager", files).issues == ()
    files["templates/mail.tmpl"] = b'{{ define "sbject" }}x{{ end }}'
    assert [issue.hint for issue in validate_bundle("alertmanager", files).warnings] == ["did you mean sbject?"]
    del files["templates/mail.tmpl"]
    assert "missing-file" in {issue.rule for issue in validate_bundle("alertmanager", files).warnings}


def test_an_impossible_month_is_accepted_as_by_alertmanager() -> None:
    assert errors(GOOD.replace("'12'", "'13'")) == []


def test_pagerduty_details_may_be_nested_from_0_30_on() -> None:
    text = "route: {receiver: a}\nreceivers: [{name: a, pagerduty_configs: [{routing_key: b, details: {c: {d: e}}}]}]"

    assert errors(text, target_version="0.30") == []
    assert errors(text, target_version="0.29") == [("receivers[0].pagerduty_configs[0].details.c", "wrong-type")]


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
    assert errors(receiver("email_configs: [{to: x, from: y}]", f"{{smtp_smarthost: '{text}'}}")) == [
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
    found = errors(receiver("slack_configs: [{channel: x}]", f"{{{settings}}}"))

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
