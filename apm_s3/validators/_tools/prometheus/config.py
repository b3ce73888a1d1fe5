"""The whole configuration: rules across its sections."""

from __future__ import annotations

import re

from apm_s3.validators._checking import Context
from apm_s3.validators._decoding import Struct
from apm_s3.validators._tools.prometheus.gates import UTF8_NAMES
from apm_s3.validators._tools.prometheus.relabel import check_relabel
from apm_s3.validators._tools.prometheus.remote import check_names, check_otlp_with_global
from apm_s3.validators._tools.prometheus.scrape import (
    check_escaping_of_global,
    check_jobs,
    check_no_nulls,
    is_legacy,
)
from apm_s3.validators._tools.prometheus.targets.relabelled import check_alertmanager_targets, check_targets

_FILE_PATTERN = re.compile(r"[^*]*(?:\*[^/]*)?", re.DOTALL)
_SECTIONS = {
    "scrape_configs": "scrape configuration",
    "remote_write": "remote write configuration",
    "remote_read": "remote read configuration",
}


def check_config(config: Struct, context: Context) -> None:
    """Check the rules of Config.UnmarshalYAML, and promtool's rules for static targets."""
    settings = config.struct("global")
    _check_file_patterns(config, context)
    for field, what in _SECTIONS.items():
        check_no_nulls(config, field, what, context)
    if settings is not None:
        check_escaping_of_global(settings, context)
    jobs = [job for _, job in config.structs("scrape_configs")]
    check_jobs(jobs, settings, context)
    broken = _check_all_relabelling(config, settings, jobs, context)
    for job in jobs:
        check_targets(job, settings, broken, context)
    for field in ("remote_write", "remote_read"):
        check_names([target for _, target in config.structs(field)], field.replace("_", " "), context)
    if (otlp := config.struct("otlp")) is not None:
        check_otlp_with_global(otlp, settings, context)
    if (alerting := config.struct("alerting")) is not None:
        for _, target in alerting.structs("alertmanagers"):
            check_alertmanager_targets(target, broken, context)


def _check_file_patterns(config: Struct, context: Context) -> None:
    for field in ("rule_files", "scrape_config_files"):
        for index, pattern in config.strings(field):
            if not _FILE_PATTERN.fullmatch(pattern):
                message = f"{pattern[:80]!r} may have only one '*', in its last part"
                config.error(context, (field, index), "file-glob", message)


def _check_all_relabelling(config: Struct, settings: Struct | None, jobs: list[Struct], context: Context) -> set[int]:
    """Check every relabelling rule with the naming scheme of its section, and return the ids of the invalid ones."""
    of_global = is_legacy(None, settings) or context.is_before(UTF8_NAMES)
    lists: list[tuple[Struct, str, bool]] = []
    for job in jobs:
        legacy = of_global if not job.get("metric_name_validation_scheme") else is_legacy(job, settings)
        lists += [(job, field, legacy) for field in ("relabel_configs", "metric_relabel_configs")]
    lists += [(target, "write_relabel_configs", of_global) for _, target in config.structs("remote_write")]
    if (alerting := config.struct("alerting")) is not None:
        lists.append((alerting, "alert_relabel_configs", of_global))
        for _, target in alerting.structs("alertmanagers"):
            lists += [(target, field, of_global) for field in ("relabel_configs", "alert_relabel_configs")]
    return {
        id(rule)
        for owner, field, legacy in lists
        for _, rule in owner.structs(field)
        if not check_relabel(rule, context, legacy=legacy)
    }
