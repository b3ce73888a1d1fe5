"""Prometheus's main configuration: global settings, scrape jobs, remote read and write."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import cache

from apm_s3.validators._checking import Context
from apm_s3.validators._decoding import Hook, Mismatch, Schema, load_table
from apm_s3.validators._query.values import (
    MINUTE,
    SECOND,
    Url,
    is_label_name,
    is_utf8,
    parse_duration,
    parse_regex,
    parse_size,
)
from apm_s3.validators._structs import Struct, check_no_nulls, check_unique
from apm_s3.validators._tools import prometheus_common
from apm_s3.validators._tools.prometheus import discovery
from apm_s3.validators._tools.prometheus.discovery import apply_rules, check_relabel, discovery_hooks, rule_program
from apm_s3.validators._tools.prometheus_common import (
    ADDRESSES_WITHOUT_PORT,
    QUEUE_BOUNDS,
    RESERVED_HEADERS,
    UTF8_NAMES,
    WITHOUT_ALERTMANAGER_V1,
    check_http_client,
)

_NO_PORT = re.compile(r"[^:\[\]]*|\[[^\]]*\]")
_MAX_STEPS = 50_000
_SLOW = 50


def check_groups_of_job(
    job: Struct, settings: Struct | None, groups: list[Struct], context: Context, broken: Collection[int] = ()
) -> None:
    """Report the targets in `groups` that Prometheus would not scrape for `job`.

    `broken` has the ids of relabelling rules that have been reported.
    """
    rules = _usable_rules(job, broken)
    if rules is None or not _affordable(groups, rules, context):
        return
    defaults = _scrape_labels(job, settings)
    for group, shared, at, target in _targets(groups):
        labels = apply_rules({**defaults, **shared, "__address__": target}, rules)
        check = _problem if rules or shared else _address_problem
        problem = check(labels) if labels is not None else None
        if labels is not None and problem is None and context.is_before(ADDRESSES_WITHOUT_PORT):
            problem = _scheme_problem(labels)
        if problem:
            group.error(context, ("targets", at), "target-address", problem)


def check_alertmanager_groups(
    owner: Struct, groups: list[Struct], context: Context, broken: Collection[int] = ()
) -> None:
    """Report the Alertmanagers in `groups` whose address is a URL after relabelling."""
    rules = _usable_rules(owner, broken)
    if rules is None or not _affordable(groups, rules, context):
        return
    given = {"__scheme__": owner.get("scheme") or "http", "__alerts_path__": owner.get("path_prefix") or "/"}
    for group, shared, at, target in _targets(groups):
        labels = apply_rules({**given, **shared, "__address__": target}, rules)
        if labels is not None and (problem := _url_problem(labels)):
            group.error(context, ("targets", at), "target-address", problem)


def _targets(groups: list[Struct]) -> Iterator[tuple[Struct, dict[str, str], int, str]]:
    """Yield each target with its group, the labels of the group, and its index."""
    for group in groups:
        labels = group.get("labels") or {}
        shared = {name: value for name, value in labels.items() if isinstance(value, str) and value}
        for at, target in group.strings("targets"):
            yield group, shared, at, target


def _usable_rules(owner: Struct, broken: Collection[int]) -> list[Struct] | None:
    """Return the relabelling rules, None if one of them is invalid."""
    rules = owner.get("relabel_configs") or []
    if "relabel_configs" in owner.failed or not all(isinstance(rule, Struct) for rule in rules):
        return None
    if any(id(rule) in broken for rule in rules):
        return None
    return list(rules)


def _affordable(groups: list[Struct], rules: list[Struct], context: Context) -> bool:
    targets = sum(len(group.get("targets") or ()) for group in groups)
    if not targets:
        return False
    programs = [rule_program(rule) for rule in rules]
    if None in programs:
        context.skip("relabelling", "", "the targets of a job were not relabelled: a regular expression is too large")
        return False
    steps = 1 + sum(1 if program and program.is_quick else _SLOW for program in programs)
    if targets * steps > _MAX_STEPS:
        reason = f"the targets of a job were not relabelled: {targets} targets by {len(rules)} rules"
        context.skip("relabelling", "", reason)
        return False
    return True


def _scrape_labels(job: Struct, settings: Struct | None) -> dict[str, str]:
    def inherited(name: str, default: int) -> int:
        return job.get(name) or (settings.get(name) if settings else None) or default

    interval = inherited("scrape_interval", DEFAULT_INTERVAL)
    timeout = min(inherited("scrape_timeout", DEFAULT_TIMEOUT), interval)
    labels = {
        "job": job.get("job_name") or "",
        "__scrape_interval__": f"{interval // 10**6}ms",
        "__scrape_timeout__": f"{timeout // 10**6}ms",
        "__metrics_path__": job.get("metrics_path", "/metrics") or "",
        "__scheme__": job.get("scheme", "http") or "",
    }
    for name, values in (job.get("params") or {}).items():
        if isinstance(values, list) and values:
            labels[f"__param_{name}"] = values[0] if isinstance(values[0], str) else ""
    return {name: value for name, value in labels.items() if value}


def _problem(labels: dict[str, str]) -> str | None:
    problem = _address_problem(labels)
    if problem:
        return problem
    times = {}
    for name in ("interval", "timeout"):
        try:
            times[name] = parse_duration(labels.get(f"__scrape_{name}__", ""))
        except Mismatch as exc:
            return f"after relabelling the scrape {name} is {exc.message}"
        if times[name] == 0:
            return f"after relabelling the scrape {name} is 0"
    return (
        "after relabelling the timeout is greater than the interval" if times["timeout"] > times["interval"] else None
    )


def _scheme_problem(labels: dict[str, str]) -> str | None:
    """Check the port: before Prometheus 3, an address without a port got that of its scheme."""
    known = labels.get("__scheme__", "") in ("", "http", "https")
    if known or not _NO_PORT.fullmatch(labels["__address__"]):
        return None
    return f"the target has no port, and the scheme {labels['__scheme__'][:40]!r} has no default port"


def _address_problem(labels: dict[str, str]) -> str | None:
    address = labels.get("__address__", "")
    return _url_problem(labels) if address else "after relabelling the target has no address"


def _url_problem(labels: dict[str, str]) -> str | None:
    address = labels.get("__address__", "")
    return address_message(address) if "/" in address else None


PROTOCOLS = (
    *("PrometheusProto", "PrometheusText0.0.4", "PrometheusText1.0.0"),
    *("OpenMetricsText0.0.1", "OpenMetricsText1.0.0"),
)
DEFAULT_INTERVAL, DEFAULT_TIMEOUT = MINUTE, 10 * SECOND


def check_global(settings: Struct, context: Context) -> None:
    """Check the rules of GlobalConfig.UnmarshalYAML."""
    interval = settings.get("scrape_interval") or DEFAULT_INTERVAL
    if "scrape_interval" not in settings.failed and (settings.get("scrape_timeout") or 0) > interval:
        message = "the global scrape_timeout is greater than the scrape_interval"
        settings.error(context, "scrape_timeout", "timeout-over-interval", message)
    check_protocols(settings, context)
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


def check_protocols(owner: Struct, context: Context) -> None:
    """Check the protocols of scrapes, in the global section or in a job."""
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
    if scheme == "allow-utf-8" and legacy:
        message = "UTF-8 metric names are requested, but the validation scheme is legacy"
        where[0].error(context, where[1], "cross-section", message)


_RESERVED_HEADERS = RESERVED_HEADERS - {"x-prometheus-scrape-timeout-seconds"}
_UTF8_TRANSLATIONS = ("NoUTF8EscapingWithSuffixes", "NoTranslation")
_AUTH = ("basic_auth", "authorization", "oauth2", "sigv4", "azuread", "google_iam")
_AZURE_METHODS = ("managed_identity", "oauth", "sdk", "workload_identity", "certificate")
_QUEUE_DEFAULTS = {"max_shards": 50, "min_shards": 1, "max_samples_per_send": 2000, "capacity": 10000}
_BACKOFFS = {"min_backoff": 30 * 10**6, "max_backoff": 5 * SECOND}


def parse_alertmanager_version(text: str) -> str:
    """Parse the version of Alertmanager's API.

    Raises:
        Mismatch: Prometheus does not support it.
    """
    if text not in ("v1", "v2"):
        raise Mismatch("enum", f"unknown Alertmanager API version {text[:40]!r}; only v2 is supported")
    return text


def check_remote_write(target: Struct, context: Context) -> None:
    """Check the rules of RemoteWriteConfig.UnmarshalYAML."""
    _check_url(target, context)
    check_headers(target, context)
    used = _ways_to_authenticate(target)
    if len(used) > 1:
        target.error(context, used[1], "auth-exclusive", f"at most one of {', '.join(_AUTH)} may be set")


def _ways_to_authenticate(target: Struct) -> list[str]:
    """Return the fields that set authentication; a bearer token counts as authorization."""
    used = [name for name in _AUTH if target.has(name)]
    if not {"authorization", "basic_auth", "oauth2"} & set(used):
        used = [name for name in ("bearer_token", "bearer_token_file") if target.get(name)][:1] + used
    return used


def check_remote_read(target: Struct, context: Context) -> None:
    """Check the rules of RemoteReadConfig.UnmarshalYAML."""
    _check_url(target, context)
    check_headers(target, context)
    check_label_names(target, "required_matchers", context, legacy=context.is_before(UTF8_NAMES))


def _check_url(target: Struct, context: Context) -> None:
    url = target.get("url")
    if isinstance(url, Url) and url.scheme not in ("http", "https"):
        message = "Prometheus cannot use this URL: it must begin with http:// or https://"
        target.warn(context, "url", "url", message)


def check_headers(target: Struct, context: Context) -> None:
    """Check that `headers` has no header that Prometheus sets itself."""
    for name in target.get("headers") or ():
        if name.lower() == "authorization":
            message = "set authorization with basic_auth, authorization or another such field, not as a header"
            target.error(context, ("headers", name), "reserved-header", message)
        elif name.lower() in _RESERVED_HEADERS:
            target.error(context, ("headers", name), "reserved-header", f"{name!r} is a reserved header")


def check_queue(queue: Struct, context: Context) -> None:
    """Check that numbers are above 0, and minimums below maximums."""
    if context.is_before(QUEUE_BOUNDS):
        return
    for name, default in _QUEUE_DEFAULTS.items():
        if name not in queue.failed and queue.get(name, default) <= 0:
            queue.error(context, name, "out-of-range", f"{name} must be above 0")
    if queue.get("min_shards", 1) > queue.get("max_shards", 50) > 0 and not {"min_shards", "max_shards"} & queue.failed:
        queue.error(context, "min_shards", "out-of-range", "min_shards is greater than max_shards")
    low, high = (queue.get(name, default) or 0 for name, default in _BACKOFFS.items())
    if high < low and not _BACKOFFS.keys() & queue.failed:
        queue.error(context, "max_backoff", "out-of-range", "max_backoff is less than min_backoff")


def check_sigv4(sigv4: Struct, context: Context) -> None:
    """Check that both keys or none are set, and that an external id has a role."""
    if sigv4.empty("access_key") != sigv4.empty("secret_key") and not {"access_key", "secret_key"} & sigv4.failed:
        where = "secret_key" if sigv4.empty("access_key") else "access_key"
        sigv4.error(context, where, "required-field", "access_key and secret_key must be set together")
    if not sigv4.empty("external_id") and sigv4.empty("role_arn"):
        sigv4.error(context, "external_id", "required-field", "external_id needs role_arn")


def check_azuread(azure: Struct, context: Context) -> None:
    """Check that there is one way to authenticate."""
    used = [name for name in _AZURE_METHODS if azure.has(name)]
    if len(used) != 1 and not azure.failed:
        where = used[1] if used else "azuread"
        azure.error(context, where, "auth-exclusive", f"exactly one of {', '.join(_AZURE_METHODS)} must be set")


def check_alertmanager(target: Struct, context: Context) -> None:
    """Check the rules of AlertmanagerConfig.UnmarshalYAML."""
    if target.get("api_version") == "v1" and not context.is_before(WITHOUT_ALERTMANAGER_V1):
        target.error(context, "api_version", "enum", "Alertmanager API v1 was removed in Prometheus 3; use v2")
    used = _ways_to_authenticate(target)
    if "sigv4" in used and len(used) > 1:
        target.error(
            context, "sigv4", "auth-exclusive", "sigv4 cannot be used with basic_auth, authorization or oauth2"
        )
    check_static_targets(target, context)


def check_otlp(otlp: Struct, context: Context) -> None:
    """Check the rules of OTLPConfig.UnmarshalYAML."""
    for field in ("promote_resource_attributes", "ignore_resource_attributes"):
        stripped = [(otlp, where, attribute.strip()) for otlp, where, attribute in otlp.listed(field)]
        for _, where, _ in (each for each in stripped if not each[2]):
            otlp.error(context, where, "required-field", "an attribute is empty")
        check_unique(context, stripped, "attribute {name} is listed twice")


def check_otlp_with_global(otlp: Struct, settings: Struct | None, context: Context) -> None:
    """Check that translations that keep UTF-8 names are not used with the legacy scheme."""
    if otlp.get("translation_strategy") in _UTF8_TRANSLATIONS and is_legacy(None, settings):
        message = "this translation strategy keeps UTF-8 names, but the global validation scheme is legacy"
        otlp.error(context, "translation_strategy", "cross-section", message)


_FILE_PATTERN = re.compile(r"[^*]*(?:\*[^/]*)?", re.DOTALL)


def check_config(config: Struct, context: Context) -> None:
    """Check the rules of Config.UnmarshalYAML, and promtool's rules for static targets."""
    settings = config.struct("global")
    _check_file_patterns(config, context)
    jobs = [job for _, job in config.structs("scrape_configs")]
    for job in jobs:
        _check_timeout(job, settings, context)
        _check_escaping(job, settings, context)
    named = ((job, "job_name", job.get("job_name")) for job in jobs)
    check_unique(context, named, "there is more than one scrape configuration with the job name {name}")
    broken = _check_all_relabelling(config, settings, jobs, context)
    for job in jobs:
        check_groups_of_job(job, settings, [group for _, group in job.structs("static_configs")], context, broken)
    for field in ("remote_write", "remote_read"):
        message = f"there is more than one {field.replace('_', ' ')} configuration with the name {{name}}"
        check_unique(context, config.named(field), message)
    if (otlp := config.struct("otlp")) is not None:
        check_otlp_with_global(otlp, settings, context)
    if (alerting := config.struct("alerting")) is not None:
        for _, target in alerting.structs("alertmanagers"):
            groups = [group for _, group in target.structs("static_configs")]
            check_alertmanager_groups(target, groups, context, broken)


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


CONFIG = "prometheus/config.Config"
RULES = "model/rulefmt.RuleGroups"
TARGETS = "targetgroup.Group"


_HOOKS: dict[str, tuple[Hook, ...]] = {
    "prometheus/config.GlobalConfig": (check_global,),
    "prometheus/config.ScrapeConfig": (check_protocols, check_static_targets, check_http_client),
    "prometheus/config.AlertmanagerConfig": (check_alertmanager, check_http_client),
    "prometheus/config.RemoteWriteConfig": (check_remote_write, check_http_client),
    "prometheus/config.RemoteReadConfig": (check_remote_read, check_http_client),
    "prometheus/config.QueueConfig": (check_queue,),
    "prometheus/config.OTLPConfig": (check_otlp,),
    "prometheus/config.TracingConfig": (check_headers,),
    "prometheus/config.Config": (check_config,),
    "prometheus/sigv4.SigV4Config": (check_sigv4,),
    "remote/azuread.AzureADConfig": (check_azuread,),
    "targetgroup.Group": (check_group,),
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
            "prometheus/config.AlertmanagerAPIVersion": parse_alertmanager_version,
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
