"""Targets after relabelling, as promtool computes them: each kept target needs an address."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from apm_s3.validators._checking import Context
from apm_s3.validators._decoding import Mismatch, Struct
from apm_s3.validators._grammars.values import parse_duration
from apm_s3.validators._tools.prometheus.gates import ADDRESSES_WITHOUT_PORT
from apm_s3.validators._tools.prometheus.relabel import apply_rules, rule_program
from apm_s3.validators._tools.prometheus.scrape import DEFAULT_INTERVAL, DEFAULT_TIMEOUT, address_message

_UNKNOWN = "the targets of a job were not relabelled: a regular expression is too large"
_NO_PORT = re.compile(r"[^:\[\]]*|\[[^\]]*\]")
_MAX_STEPS = 50_000
_SLOW = 50


def check_targets(job: Struct, settings: Struct | None, broken: set[int], context: Context) -> None:
    """Report the static targets of a scrape configuration that Prometheus would not scrape.

    `broken` has the ids of relabelling rules that have been reported.
    """
    check_groups_of_job(job, settings, [group for _, group in job.structs("static_configs")], context, broken)


def check_groups_of_job(
    job: Struct,
    settings: Struct | None,
    groups: list[Struct],
    context: Context,
    broken: Collection[int] = (),
) -> None:
    """Report the targets in `groups` that Prometheus would not scrape for `job`."""
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


def check_alertmanager_targets(owner: Struct, broken: set[int], context: Context) -> None:
    """Report the static Alertmanagers whose address is a URL after relabelling."""
    check_alertmanager_groups(owner, [group for _, group in owner.structs("static_configs")], context, broken)


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
        context.skip(_UNKNOWN)
        return False
    steps = 1 + sum(1 if program and program.is_quick else _SLOW for program in programs)
    if targets * steps > _MAX_STEPS:
        context.skip(f"the targets of a job were not relabelled: {targets} targets by {len(rules)} rules")
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
