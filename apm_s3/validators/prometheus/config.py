"""The whole configuration: what its sections say about one another."""

from __future__ import annotations

import re

from apm_s3.validators.context import Context
from apm_s3.validators.decoding.struct import Struct
from apm_s3.validators.prometheus.relabel import check_relabel
from apm_s3.validators.prometheus.remote import check_names, check_otlp_with_global
from apm_s3.validators.prometheus.scrape import (
    check_escaping_of_global,
    check_jobs,
    check_no_nulls,
    is_before_3,
    is_legacy,
)
from apm_s3.validators.prometheus.targets import check_alertmanager_targets, check_targets

_FILE_PATTERN = re.compile(r"[^*]*(?:\*[^/]*)?", re.DOTALL)
_SECTIONS = {
    "scrape_configs": "scrape configuration",
    "remote_write": "remote write configuration",
    "remote_read": "remote read configuration",
}


def check_config(config: Struct, context: Context) -> None:
    """The rules of Config.UnmarshalYAML, and promtool's on static targets."""
    settings = config.struct("global")
    _check_file_patterns(config, context)
    for field, what in _SECTIONS.items():
        check_no_nulls(config, field, what, context)
    if settings is not None:
        check_escaping_of_global(settings, context)
    jobs = [job for _, job in config.structs("scrape_configs")]
    check_jobs(jobs, settings, context)
    for job in jobs:
        check_targets(job, settings, context)
    for field in ("remote_write", "remote_read"):
        check_names([target for _, target in config.structs(field)], field.replace("_", " "), context)
    if (otlp := config.struct("otlp")) is not None:
        check_otlp_with_global(otlp, settings, context)
    _check_all_relabelling(config, settings, jobs, context)
    if (alerting := config.struct("alerting")) is not None:
        for _, target in alerting.structs("alertmanagers"):
            check_alertmanager_targets(target, context)


def _check_file_patterns(config: Struct, context: Context) -> None:
    for field in ("rule_files", "scrape_config_files"):
        for index, pattern in config.strings(field):
            if not _FILE_PATTERN.fullmatch(pattern):
                message = f"{pattern[:80]!r} may have one '*', in its last part only"
                config.error(context, (field, index), "file-glob", message)


def _check_all_relabelling(config: Struct, settings: Struct | None, jobs: list[Struct], context: Context) -> None:
    """Every relabelling rule, under the naming scheme of its section."""
    of_global = is_legacy(None, settings) or is_before_3(context)
    for job in jobs:
        legacy = of_global if not job.get("metric_name_validation_scheme") else is_legacy(job, settings)
        for field in ("relabel_configs", "metric_relabel_configs"):
            _check_rules(job, field, context, legacy)
    for _, target in config.structs("remote_write"):
        _check_rules(target, "write_relabel_configs", context, of_global)
    if (alerting := config.struct("alerting")) is not None:
        _check_rules(alerting, "alert_relabel_configs", context, of_global)
        for _, target in alerting.structs("alertmanagers"):
            for field in ("relabel_configs", "alert_relabel_configs"):
                _check_rules(target, field, context, of_global)


def _check_rules(owner: Struct, field: str, context: Context, legacy: bool) -> None:
    for _, rule in owner.structs(field):
        check_relabel(rule, context, legacy=legacy)
