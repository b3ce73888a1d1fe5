"""The releases of Alertmanager that know each field, from 0.25.

From https://github.com/prometheus/alertmanager/blob/main/CHANGELOG.md. Fields without an entry exist
since 0.25 or earlier. Fields of 0.35, which the tables do not have yet, have their kind here.
"""

from __future__ import annotations

from apm_s3.validators._checking import Version
from apm_s3.validators._decoding import Gate, Gates

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
