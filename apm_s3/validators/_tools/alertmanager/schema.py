"""Alertmanager's types: the table of fields, with the parsers and the checks of this package."""

from __future__ import annotations

from functools import cache

from apm_s3.validators._checking import Context
from apm_s3.validators._decoding import (
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
from apm_s3.validators._tools.alertmanager import intervals, receivers, routes
from apm_s3.validators._tools.alertmanager.config import check_config, check_global, parse_host_port
from apm_s3.validators._tools.alertmanager.gates import GATES, OUTPUTS
from apm_s3.validators._tools.alertmanager.matchers import decode_matchers
from apm_s3.validators._tools.prometheus.remote import check_headers, check_sigv4

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
            "alertmanager/timeinterval.DayOfMonthRange": intervals.parse_days_of_month,
            "alertmanager/timeinterval.Location": intervals.parse_location,
            "alertmanager/timeinterval.MonthRange": intervals.parse_months,
            "alertmanager/timeinterval.WeekdayRange": intervals.parse_weekdays,
            "alertmanager/timeinterval.YearRange": intervals.parse_years,
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
            "alertmanager/config.Route": (routes.check_route,),
            "alertmanager/timeinterval.TimeRange": (intervals.check_times,),
            **{f"alertmanager/eventrecorder.{name}": (_check_output,) for name in OUTPUTS},
            "alertmanager/tracing.TracingConfig": (_check_tracing,),
            "config/common.InhibitRule": (routes.check_inhibit_rule,),
            "prometheus/sigv4.SigV4Config": (check_sigv4,),
        },
        gates=GATES,
    )
