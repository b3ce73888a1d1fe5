"""`global` and `scrape_configs`: intervals, protocols, names, schemes, static targets."""

from __future__ import annotations

import re
from collections.abc import Iterable

from apm_s3.validators._checking import Context
from apm_s3.validators._decoding import Mismatch, Struct
from apm_s3.validators._grammars.values import MINUTE, SECOND, is_label_name, is_utf8
from apm_s3.validators._tools.prometheus.gates import UTF8_NAMES

PROTOCOLS = (
    *("PrometheusProto", "PrometheusText0.0.4", "PrometheusText1.0.0"),
    *("OpenMetricsText0.0.1", "OpenMetricsText1.0.0"),
)
_VALIDATION_SCHEMES = ("", "legacy", "utf8")
_ESCAPING_SCHEMES = ("allow-utf-8", "underscores", "dots", "values")
DEFAULT_INTERVAL, DEFAULT_TIMEOUT = MINUTE, 10 * SECOND


def parse_validation_scheme(text: str) -> str:
    """Parse `legacy`, `utf8`, or nothing.

    Raises:
        Mismatch: unknown scheme.
    """
    if text not in _VALIDATION_SCHEMES:
        raise Mismatch.unknown("metric name validation scheme", text, _VALIDATION_SCHEMES[1:])
    return text


def check_global(settings: Struct, context: Context) -> None:
    """Check the rules of GlobalConfig.UnmarshalYAML."""
    interval = settings.get("scrape_interval") or DEFAULT_INTERVAL
    if "scrape_interval" not in settings.failed and (settings.get("scrape_timeout") or 0) > interval:
        message = "the global scrape_timeout is greater than the scrape_interval"
        settings.error(context, "scrape_timeout", "timeout-over-interval", message)
    _check_protocols(settings, context)
    check_label_names(
        settings, "external_labels", context, legacy=is_legacy(settings, None) or context.is_before(UTF8_NAMES)
    )
    for name, value in (settings.get("external_labels") or {}).items():
        if isinstance(value, str) and not is_utf8(value):
            settings.error(context, ("external_labels", name), "label-value", "a label value must be UTF-8")


def check_group(group: Struct, context: Context) -> None:
    """Check the labels of a target group."""
    check_label_names(group, "labels", context, legacy=context.is_before(UTF8_NAMES))


def check_label_names(struct: Struct, field: str, context: Context, *, legacy: bool) -> None:
    """Report the keys of a mapping of labels that are not valid label names."""
    for name in struct.get(field) or ():
        if field == "labels" and not name and "" not in struct.place(field)[0].entries:
            # Go checks the names of a LabelSet when it decodes them, unless they are null.
            continue
        if not is_label_name(name, legacy=legacy):
            message = (
                f"{name[:80]!r} is not a valid label name ([a-zA-Z_][a-zA-Z0-9_]*)" if name else "a label name is empty"
            )
            struct.error(context, (field, name), "label-name", message, at_key=True)


def check_scrape_config(job: Struct, context: Context) -> None:
    """Check one scrape configuration by itself."""
    if job.empty("job_name"):
        job.error(context, "job_name", "required-field", "job_name is empty")
    _check_protocols(job, context)
    fallback = job.get("fallback_scrape_protocol")
    if fallback and fallback not in PROTOCOLS:
        job.unknown(context, "fallback_scrape_protocol", "scrape protocol", fallback, PROTOCOLS)
    for field in ("relabel_configs", "metric_relabel_configs"):
        check_no_nulls(job, field, "relabelling rule", context)
    check_static_targets(job, context)


def check_static_targets(owner: Struct, context: Context) -> None:
    """Check that no discovery entry is null, and that static targets without relabelling are addresses, not URLs."""
    for field in owner.values:
        if field == "static_configs" or field.endswith("_sd_configs"):
            check_no_nulls(owner, field, f"section in {field}", context)
    if owner.get("relabel_configs"):
        return
    for index, group in owner.structs("static_configs"):
        for at, target in group.strings("targets"):
            if "/" in target:
                message = address_message(target)
                owner.error(context, ("static_configs", index, "targets", at), "target-address", message)


def address_message(target: str) -> str:
    """Explain why a URL is not a valid target, without showing a password in it."""
    shown = re.sub(r"//[^/]*@", "//…@", target)[:80]
    return f"{shown!r} is not host:port; a target has no scheme and no path"


def check_no_nulls(owner: Struct, field: str, what: str, context: Context) -> None:
    """Report null entries in a list."""
    for index, item in enumerate(owner.get(field) or ()):
        if item is None:
            owner.error(context, (field, index), "null-section", f"empty or null {what}")


def _check_protocols(owner: Struct, context: Context) -> None:
    protocols = owner.get("scrape_protocols")
    if protocols is None:
        return
    if not protocols:
        message = f"scrape_protocols cannot be empty; allowed values: {', '.join(PROTOCOLS)}"
        owner.error(context, "scrape_protocols", "required-field", message)
    seen: set[str] = set()
    for index, protocol in owner.strings("scrape_protocols"):
        if protocol not in PROTOCOLS:
            owner.unknown(context, ("scrape_protocols", index), "scrape protocol", protocol, PROTOCOLS)
        elif protocol in seen:
            owner.error(context, ("scrape_protocols", index), "duplicate-name", f"{protocol} is listed twice")
        seen.add(protocol)


def is_legacy(owner: Struct | None, above: Struct | None) -> bool:
    """Return whether `owner`, or else the struct `above` it, selects the legacy naming scheme."""
    own = (owner.get("metric_name_validation_scheme") if owner else None) or ""
    inherited = (above.get("metric_name_validation_scheme") if above else None) or ""
    return (own or inherited) == "legacy"


def check_jobs(jobs: Iterable[Struct], settings: Struct | None, context: Context) -> None:
    """Check scrape configurations with the `global` section, and for unique names."""
    names: set[str] = set()
    for job in jobs:
        _check_timeout(job, settings, context)
        _check_escaping(job, settings, context)
        name = job.get("job_name")
        if name and name in names:
            message = f"there is more than one scrape configuration with the job name {name[:80]!r}"
            job.error(context, "job_name", "duplicate-name", message)
        names.add(name)


def _check_timeout(job: Struct, settings: Struct | None, context: Context) -> None:
    if settings is not None and settings.failed & {"scrape_interval"}:
        return
    inherited = (settings.get("scrape_interval") if settings else None) or DEFAULT_INTERVAL
    interval = job.get("scrape_interval") or inherited
    if "scrape_interval" not in job.failed and (job.get("scrape_timeout") or 0) > interval:
        message = "the scrape_timeout is greater than the scrape_interval (of the job or the global one)"
        job.error(context, "scrape_timeout", "timeout-over-interval", message)


def _check_escaping(job: Struct, settings: Struct | None, context: Context) -> None:
    legacy = is_legacy(job, settings)
    scheme = job.get("metric_name_escaping_scheme") or ""
    if not scheme and not job.get("metric_name_validation_scheme") and settings is not None:
        scheme = settings.get("metric_name_escaping_scheme") or ""
        where: tuple[Struct, str] = (settings, "metric_name_escaping_scheme")
    else:
        where = (job, "metric_name_escaping_scheme")
    if scheme and scheme not in _ESCAPING_SCHEMES:
        where[0].unknown(context, where[1], "metric name escaping scheme", scheme, _ESCAPING_SCHEMES)
    elif scheme == "allow-utf-8" and legacy:
        message = "UTF-8 metric names are requested, but the validation scheme is legacy"
        where[0].error(context, where[1], "cross-section", message)


def check_escaping_of_global(settings: Struct, context: Context) -> None:
    """Check the escaping scheme of `global`, and that it is compatible with its validation scheme."""
    scheme = settings.get("metric_name_escaping_scheme") or ""
    if scheme and scheme not in _ESCAPING_SCHEMES:
        field = "metric_name_escaping_scheme"
        settings.unknown(context, field, "metric name escaping scheme", scheme, _ESCAPING_SCHEMES)
