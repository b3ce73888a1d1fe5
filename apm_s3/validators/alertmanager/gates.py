"""Fields that Alertmanager 0.28 does not know yet: https://github.com/prometheus/alertmanager/blob/main/CHANGELOG.md.

Between the releases after it no difference is made: a field is taken to be known from 0.29 on.
"""

from __future__ import annotations

from apm_s3.validators.decoding.schema import Gate, Gates

_AFTER_0_28: dict[str, tuple[str, ...]] = {
    "alertmanager/config.Config": ("event_recorder", "tracing"),
    "alertmanager/config.GlobalConfig": (
        "mattermost_webhook_url", "mattermost_webhook_url_file", "slack_app_token", "slack_app_token_file",
        "slack_app_url", "smtp_auth_secret_file", "smtp_force_implicit_tls", "telegram_bot_token",
        "telegram_bot_token_file", "wechat_api_secret_file",
    ),
    "alertmanager/config.Receiver": ("incidentio_configs", "labels", "mattermost_configs"),
    "alertmanager/config.Route": ("labels",),
    "alertmanager/config.EmailConfig": ("auth_secret_file", "force_implicit_tls", "threading"),
    "alertmanager/config.SlackConfig": (
        "app_token", "app_token_file", "app_url", "message_text", "timeout", "update_message",
    ),
    "alertmanager/config.WechatConfig": ("api_secret_file",),
    "common/config.OAuth2": (
        "audience", "claims", "client_certificate_key", "client_certificate_key_file", "client_certificate_key_id",
        "client_certificate_key_ref", "grant_type", "iss", "signature_algorithm",
    ),
    "config/common.InhibitRule": ("name",),
    "notify/pagerduty.PagerdutyConfig": ("timeout",),
    "notify/pushover.PushoverConfig": ("monospace",),
    "notify/sns.SNSConfig": ("use_aws_http_client",),
    "notify/telegram.TelegramConfig": ("chat_id_file",),
    "notify/webhook.WebhookConfig": ("payload",),
    "prometheus/sigv4.SigV4Config": ("external_id", "service_name"),
}  # fmt: skip

GATES: Gates = {type_name: dict.fromkeys(fields, Gate(since=(0, 29))) for type_name, fields in _AFTER_0_28.items()}
