"""The types of Alertmanager's configuration.

From https://github.com/prometheus/alertmanager/blob/main/CHANGELOG.md. Fields without a release exist
since 0.25 or earlier.
"""

from __future__ import annotations

from functools import cache

from apm_s3.validators._checking import Context
from apm_s3.validators._decoding import Schema, list_codec, load_table, nanoseconds_codec, scalar_codec
from apm_s3.validators._grammars.values import parse_go_duration, parse_regex
from apm_s3.validators._structs import Struct
from apm_s3.validators._tools import prometheus_common
from apm_s3.validators._tools.alertmanager import receivers, routing
from apm_s3.validators._tools.alertmanager.config import check_config, check_global, parse_host_port
from apm_s3.validators._tools.alertmanager.routing import decode_matchers
from apm_s3.validators._tools.prometheus.config import check_headers, check_sigv4

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
