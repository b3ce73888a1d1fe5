"""Prometheus's types: the table of fields, with the parsers and the checks of this package."""

from __future__ import annotations

from functools import cache

from apm_s3.validators._decoding import Hook, Schema, load_table
from apm_s3.validators._grammars.values import parse_regex, parse_size
from apm_s3.validators._tools import prometheus_common
from apm_s3.validators._tools.prometheus import config, discovery
from apm_s3.validators._tools.prometheus.config import check_config
from apm_s3.validators._tools.prometheus.discovery import discovery_hooks
from apm_s3.validators._tools.prometheus_common import check_http_client

CONFIG = "prometheus/config.Config"
RULES = "model/rulefmt.RuleGroups"
TARGETS = "targetgroup.Group"


_HOOKS: dict[str, tuple[Hook, ...]] = {
    "prometheus/config.GlobalConfig": (config.check_global,),
    "prometheus/config.ScrapeConfig": (config.check_scrape_config, check_http_client),
    "prometheus/config.AlertmanagerConfig": (config.check_alertmanager, check_http_client),
    "prometheus/config.RemoteWriteConfig": (config.check_remote_write, check_http_client),
    "prometheus/config.RemoteReadConfig": (config.check_remote_read, check_http_client),
    "prometheus/config.QueueConfig": (config.check_queue,),
    "prometheus/config.OTLPConfig": (config.check_otlp,),
    "prometheus/config.TracingConfig": (config.check_headers,),
    "prometheus/config.Config": (check_config,),
    "prometheus/sigv4.SigV4Config": (config.check_sigv4,),
    "remote/azuread.AzureADConfig": (config.check_azuread,),
    "targetgroup.Group": (config.check_group,),
}


@cache
def config_schema() -> Schema:
    """Return the types of prometheus.yml, read with yaml.v2."""
    table = load_table("prometheus")
    return Schema(
        table,
        scalars={
            **prometheus_common.SCALARS,
            "alecthomas/units.Base2Bytes": parse_size,
            "common/model.LabelName": discovery.parse_label_name,
            "model/relabel.Regexp": parse_regex,
            "prometheus/config.AlertmanagerAPIVersion": config.parse_alertmanager_version,
        },
        hooks={**prometheus_common.HOOKS, **discovery_hooks(table["types"]), **_HOOKS},
    )


@cache
def rules_schema() -> Schema:
    """Return the types of rule files, read with yaml.v3."""
    # The main file has no PromQL, so it is checked without loading the parser.
    from apm_s3.validators._tools.prometheus.rules import check_groups  # noqa: PLC0415

    hooks = {RULES: (check_groups,)}
    return Schema(load_table("prometheus"), scalars=prometheus_common.SCALARS, hooks=hooks, yaml=3)
