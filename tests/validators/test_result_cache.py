"""Cached results: only changed files of a bundle are checked again, and the report is the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from apm_s3.errors import InvalidOption
from apm_s3.reports import Issue, Severity, ValidationReport
from apm_s3.validators import (
    ValidationOptions,
    validate_bundle,
    validate_bundle_async,
    validate_config,
    validate_config_async,
)
from apm_s3.validators._checking import FileResult
from apm_s3.validators._validation import cache as caching
from apm_s3.validators._validation import offload
from apm_s3.validators._validation.cache import ResultCache, keys_of, weight_of

PROMETHEUS = {
    "prometheus.yml": b"rule_files: [rules/*.yml]\nglobal: {scrape_timeout: 5s}\nscrape_config_files: [jobs/*.yml]\n",
    "jobs/a.yml": b"scrape_configs: [{job_name: a, scrape_interval: 7s}, {job_name: a}]\n",
    "rules/a.yml": b"groups: [{name: g, rules: [{alert: A, expr: up ==}]}]\n",
    "unused.yml": b"groups: []\n",
    "ca.pem": b"---",
}
ALERTMANAGER = {
    "alertmanager.yml": b"route: {receiver: r}\nreceivers: [{name: r, slack_configs: [{channel: a, "
    b"api_url: 'http://h', text: '{{ template \"gone\" . }}'}]}]\ntemplates: [x/*.tmpl]\n",
    "t/a.tmpl": b'{{ define "here" }}{{ end }}',
}
GRAFANA = {
    "ds.yaml": b"apiVersion: 1\ndatasources: [{name: P, type: prometheus, uid: p, isDefault: true}]\n",
    "ds2.yaml": b"apiVersion: 1\ndatasources: [{name: Q, type: prometheus, uid: p, isDefault: true}]\n",
    "a.json": b'{"title": "a", "uid": "u", "panels": [{"type": "a", "id": 1, "datasource": {"uid": "q"}}]}',
    "b.json": b'{"title": "b", "uid": "u", "panels": []}',
}
LARGE = {f"rules/{n}.yml": b"groups: []\n" + b"# filler " * 50_000 for n in range(3)}
"""More than a megabyte: shares for several processes."""


def rule(name: str) -> FileResult:
    return FileResult("rules", (1, 1), (Issue(Severity.ERROR, "", 1, 1, "remembered", name),))


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> ResultCache:
    cache = ResultCache(weight_of)
    monkeypatch.setattr(caching, "results", cache)
    return cache


@pytest.fixture
def without_cache(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, dict[str, bytes]], ValidationReport]:
    def validate(tool: str, files: dict[str, bytes]) -> ValidationReport:
        with monkeypatch.context() as patch:
            patch.setattr(caching, "results", ResultCache(weight_of))
            return validate_bundle(tool, files)

    return validate


@pytest.mark.parametrize(
    ("tool", "files"),
    [("prometheus", PROMETHEUS), ("alertmanager", ALERTMANAGER), ("grafana", GRAFANA), ("prometheus", LARGE)],
    ids=["prometheus", "alertmanager", "grafana", "large"],
)
@pytest.mark.usefixtures("cache")
async def test_a_bundle_gets_the_same_report_with_and_without_the_cache(
    tool: str, files: dict[str, bytes], without_cache: Callable[[str, dict[str, bytes]], ValidationReport]
) -> None:
    plain = without_cache(tool, files)
    assert validate_bundle(tool, files) == plain
    assert await validate_bundle_async(tool, files) == plain
    assert await validate_bundle_async(tool, files) == plain
    for name in list(files)[:5]:
        changed = {**files, name: files[name] + b"\n"}
        assert (
            await validate_bundle_async(tool, changed) == validate_bundle(tool, changed) == without_cache(tool, changed)
        )
        without = {other: raw for other, raw in files.items() if other != name}
        assert await validate_bundle_async(tool, without) == without_cache(tool, without)


@pytest.mark.usefixtures("cache")
async def test_a_bundle_split_across_processes_gets_the_same_report(
    monkeypatch: pytest.MonkeyPatch, without_cache: Callable[[str, dict[str, bytes]], ValidationReport]
) -> None:
    monkeypatch.setattr(offload, "MAX_SHARE", 300_000)
    files = {**LARGE, "rules/0.yml": b"groups: [{name: g, rules: [{alert: A, expr: up ==}]}]\n"}

    assert await validate_bundle_async("prometheus", files) == without_cache("prometheus", files)


async def test_only_a_file_that_changed_is_checked_again(cache: ResultCache) -> None:
    files = {"rules/a.yml": b"groups: []\n", "rules/b.yml": b"groups: []\n"}
    cache.keep(keys_of("prometheus", files, ValidationOptions()), {name: rule(name) for name in files})

    changed = {**files, "rules/b.yml": b"groups: [ ]\n"}

    for report in (await validate_bundle_async("prometheus", changed), validate_bundle("prometheus", changed)):
        assert [(issue.file, issue.rule) for issue in report.issues] == [("rules/a.yml", "remembered")]


@pytest.mark.parametrize("other", [("loki", None), ("prometheus", "2.53")], ids=["tool", "target version"])
async def test_a_cached_result_applies_only_to_its_tool_and_version(
    cache: ResultCache, other: tuple[str, str | None]
) -> None:
    files = {"rules/a.yml": b"groups: []\n", "rules/b.yml": b"groups: []\n"}
    cache.keep(keys_of("prometheus", files, ValidationOptions()), {name: rule(name) for name in files})

    assert (await validate_bundle_async(other[0], files, target_version=other[1])).issues == ()


async def test_external_checkers_are_always_run_again(cache: ResultCache) -> None:
    files = {"rules/a.yml": b"groups: []\n", "rules/b.yml": b"groups: []\n"}
    cache.keep(keys_of("prometheus", files, ValidationOptions()), {name: rule(name) for name in files})

    assert (await validate_bundle_async("prometheus", files, level="external")).issues == ()


def test_the_cache_is_bounded_and_evicts_the_least_recently_used() -> None:
    cache = ResultCache(weight_of, max_weight=6)
    keys = {name: ("loki", None, name, hashlib.sha256(name.encode()).hexdigest()) for name in "abcd"}
    cache.keep(keys, {name: rule(name) for name in "abc"})
    cache.find({"a": keys["a"]})

    cache.keep(keys, {"d": rule("d")})
    cache.keep(keys, {"d": rule("d")})

    assert set(cache.find(keys)) == {"a", "c", "d"}


@pytest.mark.parametrize("strict", [("*",), ("missing-file",)])
async def test_warnings_that_count_as_errors_are_errors_of_every_function(strict: tuple[str, ...]) -> None:
    text = "rule_files: [rules/*.yml]\n"
    options = ValidationOptions(warnings_as_errors=strict)
    files = {"prometheus.yml": text.encode()}

    assert validate_bundle("prometheus", files).warnings
    for report in (
        validate_bundle("prometheus", files, options),
        validate_bundle("prometheus", files, warnings_as_errors=strict),
        await validate_bundle_async("prometheus", files, options),
        await validate_bundle_async("prometheus", files, warnings_as_errors=strict),
    ):
        assert report.errors
        assert not report.warnings


async def test_keywords_replace_the_fields_of_the_options() -> None:
    options = ValidationOptions(target_version="2.53", level="external")

    with pytest.raises(InvalidOption, match="unknown level"):
        validate_config("prometheus", "{}", options, level="strict")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="levle"):
        await validate_config_async("prometheus", "{}", levle="full")  # type: ignore[call-arg]
