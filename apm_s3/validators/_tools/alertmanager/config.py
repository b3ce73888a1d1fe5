"""The whole configuration: globals, and the references between receivers, routes and intervals.

From https://github.com/prometheus/alertmanager/blob/main/CHANGELOG.md. Fields without a release exist
since 0.25 or earlier.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from apm_s3.validators._checking import BadGlob, Context, check_glob
from apm_s3.validators._decoding import Mismatch, Schema, list_codec, load_table, nanoseconds_codec, scalar_codec
from apm_s3.validators._query.values import parse_go_duration, parse_regex
from apm_s3.validators._structs import Struct, check_unique
from apm_s3.validators._tools import prometheus_common
from apm_s3.validators._tools.alertmanager import receivers, routing
from apm_s3.validators._tools.alertmanager.receivers import check_inline_templates
from apm_s3.validators._tools.alertmanager.routing import check_references, check_root, decode_matchers
from apm_s3.validators._tools.prometheus.config import check_headers, check_sigv4

_SLACK_TOKENS = ("slack_app_token", "slack_app_token_file")
_SLACK_APP_URL = "https://slack.com/api/chat.postMessage"
"""https://prometheus.io/docs/alerting/latest/configuration/#file-layout-and-global-settings."""

_FROM_GLOBAL: dict[str, tuple[str, list[tuple[str, ...]]]] = {
    "email_configs": ("smtp", [("smarthost",), ("from",)]),
    "slack_configs": ("slack", [("api_url", "api_url_file", "app_token", "app_token_file")]),
    "opsgenie_configs": ("opsgenie", [("api_key", "api_key_file")]),
    "victorops_configs": ("victorops", [("api_key", "api_key_file")]),
    "wechat_configs": ("wechat", [("api_secret", "api_secret_file"), ("corp_id",)]),
    "telegram_configs": ("telegram", [("bot_token", "bot_token_file")]),
    "jira_configs": ("jira", [("api_url",)]),
    "mattermost_configs": ("mattermost", [("webhook_url", "webhook_url_file")]),
    "rocketchat_configs": ("rocketchat", [("token", "token_file"), ("token_id", "token_id_file")]),
}
"""Settings of which an integration needs one, or the global section has it, with this prefix."""
_IN_GLOBAL = {"wechat_corp_id": "wechat_api_corp_id"}
"""Settings with another name in the global section."""


def parse_host_port(text: str) -> str:
    """Check `host:port` as Go's net.SplitHostPort does, or raise `Mismatch`."""
    host, colon, port = text.rpartition(":")
    if not text:
        return text
    if host.startswith("["):
        host, colon = (host[1:-1], colon) if host.endswith("]") else (host, "")
    elif ":" in host:
        colon = ""
    if not colon or set("[]") & set(host + port):
        raise Mismatch("host-port", "write it as host:port, an IPv6 address as [address]:port")
    if not port:
        raise Mismatch("host-port", "the port cannot be empty")
    return text


def check_global(settings: Struct, context: Context) -> None:
    """Check that the URL of Slack is the one that the token is for."""
    token = next((name for name in _SLACK_TOKENS if not settings.empty(name)), None)
    url = next((name for name in ("slack_api_url", "slack_api_url_file") if not settings.empty(name)), None)
    if token is None or url is None or {url, "slack_app_url"} & settings.failed:
        return
    app_url = _SLACK_APP_URL if settings.empty("slack_app_url") else settings.place("slack_app_url")[0].text
    if url == "slack_api_url_file" or settings.place(url)[0].text != app_url:
        settings.error(context, token, "exclusive-fields", f"{token} and {url} conflict, unless it is slack_app_url")


def check_config(config: Struct, context: Context) -> None:
    """Check the rules of Config.UnmarshalYAML."""
    _check_patterns(config, context)
    receivers = check_unique(context, config.named("receivers"), "the receiver name {name} is not unique")
    _check_receivers(config, context)
    named = (*config.named("mute_time_intervals"), *config.named("time_intervals"))
    intervals = check_unique(context, named, "the time interval name {name} is not unique")
    route = config.struct("route")
    if route is None:
        if "route" not in config.failed:
            config.error(context, "route", "root-route", "no route: a root route with a receiver is required")
        return
    check_root(route, context)
    if "receivers" not in config.failed:
        check_references(route, receivers, intervals, context)


def _check_patterns(config: Struct, context: Context) -> None:
    for index, pattern in config.strings("templates"):
        try:
            check_glob(pattern)
        except BadGlob as exc:
            # The check of a bundle says the same, at the same place.
            message = f"{pattern[:80]!r} is not a valid pattern: {exc}"
            config.error(context, ("templates", index), "file-glob", message)


def _check_receivers(config: Struct, context: Context) -> None:
    settings = config.struct("global")
    for _, receiver in config.structs("receivers"):
        check_inline_templates(receiver, context)
        for field, (prefix, needs) in _FROM_GLOBAL.items():
            for _, integration in receiver.structs(field):
                for own in needs:
                    _check_from_global(integration, own, settings, prefix, context)
        for _, slack in receiver.structs("slack_configs"):
            _check_update(slack, settings, context)


def _check_from_global(
    integration: Struct, own: Sequence[str], settings: Struct | None, prefix: str, context: Context
) -> None:
    shared = [_IN_GLOBAL.get(f"{prefix}_{name}", f"{prefix}_{name}") for name in own]
    if all(map(integration.empty, own)) and (settings is None or all(map(settings.empty, shared))):
        message = f"{own[0]} is missing, and the global section has no {shared[0]}"
        integration.error(context, own[0], "required-field", message)


def _check_update(slack: Struct, settings: Struct | None, context: Context) -> None:
    tokens = ("app_token", "app_token_file")
    client = slack.struct("http_config")
    authorized = client is not None and client.has("authorization")
    if not slack.get("update_message") or authorized or not all(slack.empty(name) for name in tokens):
        return
    if settings is None or all(settings.empty(f"slack_{name}") for name in tokens):
        slack.error(
            context, "update_message", "required-field", "update_message needs app_token or http_config.authorization"
        )


OUTPUTS = ("FileOutputConfig", "KafkaOutputConfig", "StdoutOutputConfig", "WebhookOutputConfig")

CONFIG = "alertmanager/config.Config"


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
            "alertmanager/tracing.TracingConfig": (check_headers,),
            "config/common.InhibitRule": (routing.check_inhibit_rule,),
            "prometheus/sigv4.SigV4Config": (check_sigv4,),
        },
    )
