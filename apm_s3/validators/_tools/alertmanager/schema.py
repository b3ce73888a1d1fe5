"""The types of Alertmanager's configuration, and which release changed which of them.

From https://github.com/prometheus/alertmanager/blob/main/CHANGELOG.md. Fields without an entry exist
since 0.25 or earlier. Fields of 0.35, which the tables do not have yet, have their kind here.
"""

from __future__ import annotations

from functools import cache

from apm_s3.validators._checking import Context, Version
from apm_s3.validators._decoding import (
    Gate,
    Gates,
    Mismatch,
    Schema,
    Struct,
    list_codec,
    load_table,
    nanoseconds_codec,
    scalar_codec,
)
from apm_s3.validators._grammars.values import parse_go_duration, parse_regex
from apm_s3.validators._tools import prometheus_common
from apm_s3.validators._tools.alertmanager import receivers, routing
from apm_s3.validators._tools.alertmanager.config import check_config, check_global, parse_host_port
from apm_s3.validators._tools.alertmanager.routing import decode_matchers
from apm_s3.validators._tools.prometheus.config import check_headers, check_sigv4

_OAUTH2 = (
    "audience", "claims", "client_certificate_key", "client_certificate_key_file", "client_certificate_key_id",
    "client_certificate_key_ref", "grant_type", "iss", "signature_algorithm",
)  # fmt: skip
OUTPUTS = ("FileOutputConfig", "KafkaOutputConfig", "StdoutOutputConfig", "WebhookOutputConfig")

_SINCE: dict[Version, dict[str, tuple[str, ...]]] = {
    (0, 26): {
        "alertmanager/config.Receiver": ("msteams_configs",),
        "notify/pushover.PushoverConfig": ("device", "token_file", "user_key_file"),
        "notify/telegram.TelegramConfig": ("bot_token_file",),
        "notify/webhook.WebhookConfig": ("url_file",),
    },
    (0, 27): {
        "common/config.BasicAuth": ("username_file",),
        "notify/discord.DiscordConfig": ("webhook_url_file",),
        "notify/msteams.MSTeamsConfig": ("summary", "webhook_url_file"),
    },
    (0, 28): {
        "alertmanager/config.GlobalConfig": (
            "jira_api_url", "rocketchat_api_url", "rocketchat_token", "rocketchat_token_file", "rocketchat_token_id",
            "rocketchat_token_id_file", "smtp_tls_config",
        ),
        "alertmanager/config.Receiver": ("jira_configs", "msteamsv2_configs", "rocketchat_configs"),
        "common/config.Authorization": ("credentials_ref",),
        "common/config.BasicAuth": ("password_ref", "username_ref"),
        "common/config.HTTPClientConfig": ("http_headers",),
        "common/config.TLSConfig": ("ca_ref", "cert_ref", "key_ref"),
        "notify/discord.DiscordConfig": ("avatar_url", "content", "username"),
        "notify/telegram.TelegramConfig": ("message_thread_id",),
        "notify/webhook.WebhookConfig": ("timeout",),
    },
    (0, 29): {
        "alertmanager/config.Receiver": ("incidentio_configs",),
        "notify/jira.JiraConfig": ("api_type",),
        "notify/pushover.PushoverConfig": ("monospace",),
    },
    (0, 30): {
        "alertmanager/config.Config": ("tracing",),
        "alertmanager/config.EmailConfig": ("threading",),
        "alertmanager/config.GlobalConfig": (
            "mattermost_webhook_url", "mattermost_webhook_url_file", "slack_app_token", "slack_app_token_file",
            "slack_app_url",
        ),
        "alertmanager/config.Receiver": ("mattermost_configs",),
        "alertmanager/config.SlackConfig": ("app_token", "app_token_file", "app_url", "timeout"),
        "common/config.OAuth2": _OAUTH2,
        "config/common.InhibitRule": ("name",),
        "notify/pagerduty.PagerdutyConfig": ("timeout",),
        "prometheus/sigv4.SigV4Config": ("service_name",),
    },
    (0, 31): {
        "alertmanager/config.EmailConfig": ("auth_secret_file", "force_implicit_tls"),
        "alertmanager/config.GlobalConfig": (
            "smtp_auth_secret_file", "smtp_force_implicit_tls", "telegram_bot_token", "telegram_bot_token_file",
            "wechat_api_secret_file",
        ),
        "alertmanager/config.SlackConfig": ("message_text",),
        "alertmanager/config.WechatConfig": ("api_secret_file",),
        "notify/telegram.TelegramConfig": ("chat_id_file",),
    },
    (0, 32): {
        "alertmanager/config.SlackConfig": ("update_message",),
        "notify/webhook.WebhookConfig": ("payload",),
    },
    (0, 33): {
        "alertmanager/config.Config": ("event_recorder",),
        "alertmanager/config.Receiver": ("labels",),
        "notify/sns.SNSConfig": ("use_aws_http_client",),
    },
    (0, 34): {
        "alertmanager/config.Route": ("labels",),
        "alertmanager/eventrecorder.Config": ("stdout_outputs",),
        "alertmanager/eventrecorder.WebhookOutputConfig": (
            "batch", "batch_flush_interval", "batch_max_bytes", "batch_max_events",
        ),
        "prometheus/sigv4.SigV4Config": ("external_id",),
    },
}  # fmt: skip


def _gates() -> Gates:
    gates: dict[str, dict[str, Gate]] = {}
    for since, types in _SINCE.items():
        for type_name, fields in types.items():
            gates.setdefault(type_name, {}).update(dict.fromkeys(fields, Gate(since=since)))
    for output in OUTPUTS:
        gates.setdefault(f"alertmanager/eventrecorder.{output}", {})["name"] = Gate(since=(0, 35), kind="string")
    gates["notify/incidentio.IncidentioConfig"] = {"metadata": Gate(since=(0, 35), kind="{}string")}
    return gates


GATES: Gates = _gates()


CONFIG = "alertmanager/config.Config"


def _parse_client_type(text: str) -> str:
    if text not in ("http", "grpc"):
        raise Mismatch.unknown("client type", text, ("http", "grpc"))
    return text


def _check_tracing(tracing: Struct, context: Context) -> None:
    check_headers(tracing, context)
    if tracing.empty("endpoint"):
        tracing.error(context, "endpoint", "required-field", "tracing needs an endpoint")
    if tracing.get("compression") not in (None, "", "gzip"):
        tracing.error(context, "compression", "enum", "unknown compression; use gzip")


def _check_output(output: Struct, context: Context) -> None:
    if context.target is not None and not context.is_before((0, 35)) and output.empty("name"):
        output.error(context, "name", "required-field", "an output of the event recorder needs a name since 0.35")


@cache
def config_schema() -> Schema:
    """Return the types of alertmanager.yml, read with yaml.v2."""
    return Schema(
        load_table("alertmanager"),
        scalars={
            **prometheus_common.SCALARS,
            "alertmanager/config.HostPort": parse_host_port,
            "alertmanager/timeinterval.DayOfMonthRange": routing.parse_days_of_month,
            "alertmanager/timeinterval.Location": routing.parse_location,
            "alertmanager/timeinterval.MonthRange": routing.parse_months,
            "alertmanager/timeinterval.WeekdayRange": routing.parse_weekdays,
            "alertmanager/timeinterval.YearRange": routing.parse_years,
            "alertmanager/tracing.TracingClientType": _parse_client_type,
            "config/common.Regexp": parse_regex,
            "config/common.SecretTemplateURL": receivers.parse_template_url,
            "config/common.SecretURL": receivers.parse_secret_url,
            "config/common.URL": receivers.parse_http_url,
            "notify/pushover.duration": parse_go_duration,
        },
        codecs={
            "config/common.Matchers": list_codec(decode_matchers),
            "time.Duration": nanoseconds_codec(scalar_codec(parse_go_duration)),
        },
        hooks={
            **prometheus_common.HOOKS,
            **receivers.HOOKS,
            "alertmanager/config.Config": (check_config,),
            "alertmanager/config.GlobalConfig": (check_global,),
            "alertmanager/config.Route": (routing.check_route,),
            "alertmanager/timeinterval.TimeRange": (routing.check_times,),
            **{f"alertmanager/eventrecorder.{name}": (_check_output,) for name in OUTPUTS},
            "alertmanager/tracing.TracingConfig": (_check_tracing,),
            "config/common.InhibitRule": (routing.check_inhibit_rule,),
            "prometheus/sigv4.SigV4Config": (check_sigv4,),
        },
        gates=GATES,
    )
