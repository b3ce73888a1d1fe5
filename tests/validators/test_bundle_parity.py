"""Bundles in a folder: the verdict is that of `promtool check config`, and of promtool's checks of single files."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from apm_s3.reports import Severity
from apm_s3.validators import validate_bundle, validate_config

RULES = "groups: [{name: g, rules: [{record: r, expr: up}]}]"
JOBS = "scrape_configs: [{job_name: b}]"
TARGETS = '[{"targets": ["a:90"], "labels": {"x": "y"}}]'
MAIN = "rule_files: [%s]\nscrape_configs: [{job_name: a}]\n"
SD = "scrape_configs: [{job_name: a, file_sd_configs: [{files: [%s]}]%s}]\n"
PREFIX = "relabel_configs: [{target_label: __address__, replacement: 'http://$1', source_labels: [__address__]}]"

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def verdict(files: dict[str, str]) -> bool:
    report = validate_bundle("prometheus", {name: text.encode() for name, text in files.items()}, target_version="2.53")
    # promtool reads no file that nothing refers to; we check those too.
    unused = {issue.file for issue in report.issues if issue.rule == "unused-file"}
    return not [issue for issue in report.errors if issue.file not in unused]


def promtool(files: dict[str, str], folder: Path, *command: str) -> bool:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    done = subprocess.run(["promtool", *command], cwd=folder, capture_output=True, timeout=60, check=False)
    return done.returncode == 0


PROBES: dict[str, dict[str, str]] = {
    # -- patterns of rule files
    "a class": {"prometheus.yml": MAIN % "'rules/[a-c].yml'", "rules/b.yml": RULES},
    "a class that does not match": {"prometheus.yml": MAIN % "'rules/[a-c].yml'", "rules/d.yml": RULES},
    "a negated class": {"prometheus.yml": MAIN % "'rules/[^a].yml'", "rules/b.yml": RULES},
    "an exclamation mark in a class": {"prometheus.yml": MAIN % "'rules/[!a].yml'", "rules/a.yml": RULES},
    "an open class": {"prometheus.yml": MAIN % "'rules/[a.yml'", "rules/a.yml": RULES},
    "an empty class": {"prometheus.yml": MAIN % "'rules/[].yml'", "rules/a.yml": RULES},
    "a class with an open range": {"prometheus.yml": MAIN % "'rules/[a-].yml'", "rules/a.yml": RULES},
    "a class of an escaped bracket": {"prometheus.yml": MAIN % r"'rules/[\]x].yml'", "rules/x.yml": RULES},
    "a backslash at the end": {"prometheus.yml": MAIN % r"'rules/a\'", "rules/a.yml": RULES},
    "an escaped letter": {"prometheus.yml": MAIN % r"'rules/\a.yml'", "rules/a.yml": RULES},
    "a question mark": {"prometheus.yml": MAIN % "'rules/?.yml'", "rules/a.yml": RULES},
    "a question mark without a match": {"prometheus.yml": MAIN % "'rules/?.yml'", "rules/ab.yml": RULES},
    "a star without a match": {"prometheus.yml": MAIN % "'rules/*.yaml'", "rules/ab.yml": RULES},
    "nothing": {"prometheus.yml": MAIN % "''"},
    "null": {"prometheus.yml": MAIN % "~"},
    "a file that is not there": {"prometheus.yml": MAIN % "rules/a.yml"},
    "a path with dots": {"prometheus.yml": MAIN % "./rules/../rules/a.yml", "rules/a.yml": RULES},
    "the main file itself": {"prometheus.yml": MAIN % "'*.yml'"},
    "a folder": {"prometheus.yml": MAIN % "'rules/*'", "rules/a.yml": RULES, "rules/more/b.yml": RULES},
    "a folder by its name": {"prometheus.yml": MAIN % "rules", "rules/a.yml": RULES},
    "an empty rule file": {"prometheus.yml": MAIN % "a.yml", "a.yml": ""},
    "an empty mapping as a rule file": {"prometheus.yml": MAIN % "a.yml", "a.yml": "{}"},
    "a list as a rule file": {"prometheus.yml": MAIN % "a.yml", "a.yml": "[]"},
    "a rule file with another ending": {"prometheus.yml": MAIN % "'rules/*'", "rules/a.txt": RULES},
    "a broken rule file with another ending": {"prometheus.yml": MAIN % "'rules/*'", "rules/a.txt": RULES + "x"},
    "a configuration as a rule file": {"prometheus.yml": MAIN % "a.yml", "a.yml": "scrape_configs: []"},
    "a broken rule file that nothing reads": {"prometheus.yml": MAIN % "a.yml", "a.yml": RULES, "b/c.yml": RULES},
    # -- scrape configurations
    "scrape files": {"prometheus.yml": "scrape_config_files: ['jobs/*.yml']", "jobs/a.yml": JOBS},
    "scrape files that are not there": {"prometheus.yml": "scrape_config_files: [jobs/a.yml]"},
    "no scrape file": {"prometheus.yml": "scrape_config_files: ['']"},
    "the main file as a scrape file": {"prometheus.yml": "scrape_config_files: ['*.yml']"},
    "a rule file as a scrape file": {"prometheus.yml": "scrape_config_files: ['a.yml']", "a.yml": RULES},
    "a bad pattern of scrape files": {"prometheus.yml": "scrape_config_files: ['[a.yml']"},
    # -- targets
    "targets": {"prometheus.yml": SD % ("a.json", ""), "a.json": TARGETS},
    "targets that are not there": {"prometheus.yml": SD % ("a.json", "")},
    "a class in targets": {"prometheus.yml": SD % ("'[ab].json'", ""), "a.json": "[1]"},
    "an open class in targets": {"prometheus.yml": SD % ("'[ab.json'", ""), "a.json": TARGETS},
    "names in another case": {"prometheus.yml": SD % ("a.json", ""), "a.json": TARGETS.replace("targets", "Targets")},
    "a target that is a number": {"prometheus.yml": SD % ("a.json", ""), "a.json": '[{"targets": [1]}]'},
    "a target that is null": {"prometheus.yml": SD % ("a.json", ""), "a.json": '[{"targets": [null]}]'},
    "targets that are null": {"prometheus.yml": SD % ("a.json", ""), "a.json": '[{"targets": null}]'},
    "a label that is a number": {"prometheus.yml": SD % ("a.json", ""), "a.json": '[{"labels": {"a": 1}}]'},
    "a label that is null": {"prometheus.yml": SD % ("a.json", ""), "a.json": '[{"labels": {"a": null}}]'},
    "a bad label name": {"prometheus.yml": SD % ("a.json", ""), "a.json": '[{"labels": {"a-b": "x"}}]'},
    "an unknown field": {"prometheus.yml": SD % ("a.json", ""), "a.json": '[{"target": []}]'},
    "a field twice": {"prometheus.yml": SD % ("a.json", ""), "a.json": '[{"targets": ["a/b"], "targets": ["a"]}]'},
    "a group that is null": {"prometheus.yml": SD % ("a.json", ""), "a.json": "[null]"},
    "JSON that is null": {"prometheus.yml": SD % ("a.json", ""), "a.json": "null"},
    "JSON that is an object": {"prometheus.yml": SD % ("a.json", ""), "a.json": "{}"},
    "JSON that is empty": {"prometheus.yml": SD % ("a.json", ""), "a.json": ""},
    "JSON with more behind it": {"prometheus.yml": SD % ("a.json", ""), "a.json": TARGETS + "]"},
    "JSON with a comment": {"prometheus.yml": SD % ("a.json", ""), "a.json": "# x\n" + TARGETS},
    "JSON with a comma at the end": {"prometheus.yml": SD % ("a.json", ""), "a.json": '[{"targets": ["a",]}]'},
    "JSON with a byte order mark": {"prometheus.yml": SD % ("a.json", ""), "a.json": "\ufeff" + TARGETS},
    "YAML in a file of JSON": {"prometheus.yml": SD % ("a.json", ""), "a.json": "- targets: [a]"},
    "an ending in capitals": {"prometheus.yml": SD % ("a.JSON", ""), "a.JSON": '[{"targets": [1]}]'},
    "YAML": {"prometheus.yml": SD % ("a.yml", ""), "a.yml": "- targets: [a, 1]\n  labels: {x: 1}\n"},
    "YAML that is empty": {"prometheus.yml": SD % ("a.yml", ""), "a.yml": ""},
    "YAML that is null": {"prometheus.yml": SD % ("a.yml", ""), "a.yml": "~"},
    "YAML that is a mapping": {"prometheus.yml": SD % ("a.yml", ""), "a.yml": "{}"},
    "YAML with a field twice": {"prometheus.yml": SD % ("a.yml", ""), "a.yml": "- {targets: [a], targets: [b]}"},
    "a rule file as targets": {"prometheus.yml": SD % ("a.yml", ""), "a.yml": RULES},
    "the main file as targets": {"prometheus.yml": SD % ("'*.yml'", "")},
    "a target with a path": {"prometheus.yml": SD % ("a.json", ""), "a.json": '[{"targets": ["http://a/b"]}]'},
    "a target that becomes a URL": {"prometheus.yml": SD % ("a.json", ", " + PREFIX), "a.json": TARGETS},
    "a target with a path that is dropped": {
        "prometheus.yml": SD % ("a.json", ", relabel_configs: [{action: drop, source_labels: [job]}]"),
        "a.json": '[{"targets": ["http://a/b"]}]',
    },
    "targets of an Alertmanager": {
        "prometheus.yml": "alerting: {alertmanagers: [{file_sd_configs: [{files: [a.json]}]}]}",
        "a.json": '[{"targets": ["http://a/b"]}]',
    },
    "targets of a scrape file": {
        "prometheus.yml": "scrape_config_files: ['jobs/a.yml']", "jobs/a.yml": SD % ("a.json", ""),
        "jobs/a.json": '[{"targets": ["http://a/b"]}]',
    },
}  # fmt: skip


TAKEN = frozenset((
    "a class", "a negated class", "an exclamation mark in a class", "a class of an escaped bracket",
    "an escaped letter", "a question mark", "a star without a match", "a path with dots", "an empty rule file",
    "an empty mapping as a rule file", "a rule file with another ending", "a broken rule file that nothing reads",
    "scrape files", "scrape files that are not there", "no scrape file", "targets", "targets that are not there",
    "names in another case", "targets that are null", "a label that is null", "a field twice", "JSON that is null",
    "YAML", "YAML that is empty", "YAML that is null", "a target with a path that is dropped",
))  # fmt: skip
"""The bundles that promtool 2.53 accepts; it refuses all others."""


@pytest.mark.parametrize("name", PROBES)
def test_a_bundle_gets_the_recorded_verdict(name: str) -> None:
    assert verdict(PROBES[name]) == (name in TAKEN)


@needs_promtool
@pytest.mark.parametrize("name", PROBES)
def test_the_recorded_verdict_is_the_verdict_of_promtool(name: str, tmp_path: Path) -> None:
    assert promtool(PROBES[name], tmp_path, "check", "config", "prometheus.yml") == (name in TAKEN)


def _random_bundle(rng: random.Random) -> dict[str, str]:
    """A bundle whose files may be inconsistent."""
    patterns = [
        "'rules/*.yml'",
        "'rules/[a-c]*'",
        "rules/a.yml",
        "'*/b.yml'",
        "'rules/[^a].yml'",
        "'r?les/a.yml'",
        "'*'",
    ]
    rules = [RULES, "groups: []", "", "{}", RULES.replace("up", "up("), "groups: [{name: g}, {name: g}]", "[]"]
    group = '{"targets": [%s], "labels": {%s}}'
    targets = ['"a:1"', '"b/c"', "1", "null", '"http://x"', '""']
    labels = ['"a": "b"', '"a": 1', "", '"a-b": "x"', '"__address__": "z"']
    groups = [group % (rng.choice(targets), rng.choice(labels)) for _ in range(rng.choice((0, 1, 1, 2)))]
    relabelling = rng.choice(("", "", ", " + PREFIX, ", relabel_configs: [{action: labeldrop, regex: a}]"))
    files = {
        "prometheus.yml": MAIN.split("\n", maxsplit=1)[0] % rng.choice(patterns)
        + "\n"
        + SD % (rng.choice(("'sd/*.json'", "sd/a.json", "'sd/[ab].*ml'", "sd/a.yml")), relabelling)
    }
    for name in ("rules/a.yml", "rules/b.yml", "rules/d.yml"):
        if rng.random() < 0.5:
            files[name] = rng.choice((RULES, RULES, rng.choice(rules)))
    for name in ("sd/a.json", "sd/b.yml"):
        if rng.random() < 0.6:
            files[name] = f"[{', '.join(groups)}]"
    return files


def _compare(count: int, seed: int, folder: Path) -> list[tuple[bool, dict[str, str]]]:
    rng = random.Random(seed)
    different = []
    for index in range(count):
        files = _random_bundle(rng)
        place = folder / str(index)
        place.mkdir()
        if verdict(files) != (good := promtool(files, place, "check", "config", "prometheus.yml")):
            different.append((good, files))
        shutil.rmtree(place)
    return different


@needs_promtool
def test_random_bundles_get_the_verdict_of_promtool(tmp_path: Path) -> None:
    assert _compare(40, 1, tmp_path) == []


@pytest.mark.long
@pytest.mark.timeout(1800)
@needs_promtool
def test_a_thousand_random_bundles_get_the_verdict_of_promtool(tmp_path: Path) -> None:
    assert _compare(1000, 2, tmp_path) == []


def test_certificates_and_credentials_that_are_not_in_the_bundle_are_notices() -> None:
    main = """\
scrape_configs:
  - job_name: a
    authorization: {credentials_file: token}
    tls_config: {ca_file: certs/ca.pem, cert_file: /etc/c.pem, key_file: certs/key.pem}
    scrape_failure_log_file: failures.log
global: {query_log_file: query.log}
"""
    report = validate_bundle("prometheus", {"prometheus.yml": main.encode(), "certs/ca.pem": b"x"})

    assert report.ok
    assert [(issue.severity, issue.rule, issue.line, issue.path) for issue in report.issues] == [
        (Severity.INFO, "file-not-in-bundle", 3, "scrape_configs[0].authorization.credentials_file"),
        (Severity.INFO, "file-not-in-bundle", 4, "scrape_configs[0].tls_config.key_file"),
    ]


# -- unit tests of rules, and the web configuration

SERIES = "tests: [{interval: 1m, input_series: [{series: 'up{a=\"b\"}', values: '%s'}]}]"
NAMED = "tests: [{interval: 1m, input_series: [{series: '%s', values: '1'}]}]"
VALUES = [
    *("1 2 3", "1+2x3", "_x3", "stale", "_ stale 1", "-1-2x3", "1x5", "1+x", "a", "{{}}x3", "", "  ", "1,2", "0x1"),
    *("{{schema:1 sum:1 count:2 buckets:[1 2]}}", "NaN Inf -Inf +1", "1e3", "1 + 2x3", "{{foo:1}}", "1-2x", "x3"),
    *("_-1x2", "1x-2", "inf", "1x3.5", "1+1x3+1x3", "1+1x3 _x", "stalex3", "{{schema:1.5}}", "{{}}+{{}}x2", "_x0"),
    *("{{schema:a}}", "{{counter_reset_hint:reset}}", "1_000", "0b1", ".5", "5.", "1e", "0x", "1d", "1m", "{{}", "1}}"),
]
NAMES = [
    *("up", '{a="b"}', 'up{a=~"b"}', "up{", "", 'up{a="b"} 1', "sum", "{}", 'up{a="b",}', '{"up"}', "up[5m]", "1"),
    *('up{a="b",a="c"}', "on", "by", "up{}", "inf", "nan", "up offset 5m", "up 1 x", "a:b", 'up {a="b"}'),
]
UNIT_TESTS = [
    *(SERIES % value for value in VALUES), *(NAMED % name for name in NAMES),
    "{}", "", "rule_files: [no.yml]\ntests: []", "tests: [{}]", "tests: [null]", "tests: []\nfuzzy_compare: true",
    "tests: []\ngroup_eval_order: [a, a]", "tests: [{alert_rule_test: [{eval_time: 1m}]}]",
    "tests: [{alert_rule_test: [{eval_time: 1m, alertname: a}]}]", "tests: [{foo: 1}]", "tests: []\nfoo: 1",
    "tests: [{promql_expr_test: [{expr: 'up(', eval_time: 1m}]}]", "tests: []\nevaluation_interval: x",
    "tests: [{promql_expr_test: [{expr: '', eval_time: 1m}]}]", "tests: [{external_labels: {1a: b}}]",
    "tests: [{promql_expr_test: [{expr: 'vector(1)', eval_time: 1m, exp_samples: [{value: 1}]}]}]",
    "tests: [{promql_expr_test: [{expr: 'vector(1)', eval_time: 1m, exp_samples: [{labels: '{}', value: 1}]}]}]",
    "tests: [{promql_expr_test: [{expr: up, eval_time: 1m, exp_samples: [{labels: 'x{', value: 1}]}]}]",
    "tests: [{alert_rule_test: [{eval_time: 1m, alertname: a, exp_alerts: [{exp_labels: {1a: b}}]}]}]",
]  # fmt: skip
HASH = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"
WEB = [
    "", "{}", "foo: 1", "basic_auth_users: {a: b}", f"basic_auth_users: {{a: {HASH}}}", "basic_auth_users: {a: }",
    f"basic_auth_users: {{a: {HASH.replace('10', '02')}}}", f"basic_auth_users: {{a: {HASH.replace('10', '99')}}}",
    f"basic_auth_users: {{a: {HASH.replace('2y', '3y')}}}", f"basic_auth_users: {{a: {HASH.replace('2y', '2z')}}}",
    f"basic_auth_users: {{a: {HASH[:-1]}}}", f"basic_auth_users: {{a: {HASH[:-2]}}}", "rate_limit: {burst: 1}",
    "http_server_config: {headers: {X-Frame-Options: x}}", "http_server_config: {headers: {x-frame-options: deny}}",
    "http_server_config: {headers: {X-Frame-Options: ''}}", "http_server_config: {headers: {X-Frame-Options: deny}}",
    "http_server_config: {headers: {X-Foo: deny, X-XSS-Protection: x}}", "http_server_config: {http2: a}",
    "tls_server_config: {cert_file: c.pem}", "tls_server_config: {key: k}", "tls_server_config: {}",
    "tls_server_config:", "tls_server_config: {client_auth_type: foo}", "tls_server_config: {min_version: TLS14}",
    "tls_server_config: {cipher_suites: [foo]}", "tls_server_config: {cipher_suites: [TLS_AES_128_GCM_SHA256]}",
    "tls_server_config: {curve_preferences: [foo]}", "tls_server_config: {curve_preferences: [X25519]}",
    "tls_server_config: {client_ca_file: x}", "tls_server_config: {client_auth_type: RequireAnyClientCert}",
    "tls_server_config: {client_allowed_sans: [a]}", "tls_server_config: {min_version: ''}",
    "tls_server_config: {min_version: }", "tls_server_config: {prefer_server_cipher_suites: 1}",
]  # fmt: skip


TEXTS = {"tests": UNIT_TESTS, "web": WEB}
VERDICTS = {
    "tests": "+++++++--+++-++++------+-----++----++------++---++-+-----++----+-+++++---+-----+++--",
    "web": "++--+----++-----+----++---+-+--+-+-",
}
"""Whether promtool 2.53 accepts each of them."""


@pytest.mark.parametrize("kind", TEXTS)
def test_unit_tests_and_web_configurations_get_the_recorded_verdict(kind: str) -> None:
    reports = [validate_config("prometheus", text, kind=kind, target_version="2.53") for text in TEXTS[kind]]

    assert "".join("+" if report.ok else "-" for report in reports) == VERDICTS[kind]


@needs_promtool
@pytest.mark.parametrize(
    ("kind", "command"), [("tests", ("test", "rules")), ("web", ("check", "web-config"))], ids=["tests", "web"]
)
def test_the_recorded_verdicts_are_the_verdicts_of_promtool(
    kind: str, command: tuple[str, ...], tmp_path: Path
) -> None:
    good = [
        promtool({f"{index}.yml": text}, tmp_path, *command, f"{index}.yml") for index, text in enumerate(TEXTS[kind])
    ]

    assert "".join("+" if one else "-" for one in good) == VERDICTS[kind]


def test_unit_tests_and_web_configurations_are_recognised_in_a_bundle() -> None:
    files = {
        "prometheus.yml": b"{}",
        "tests/a.yml": b"rule_files: [x.yml]\ntests: [{input_series: [{series: up, values: 1 2x}]}]",
        "web.yml": b"basic_auth_users: {a: b}\ntls_server_config: {cert_file: c, key_file: k}",
    }
    report = validate_bundle("prometheus", files)

    assert [(issue.file, issue.severity.value, issue.rule) for issue in report.issues] == [
        ("tests/a.yml", "warning", "missing-file"),
        ("tests/a.yml", "error", "series"),
        ("web.yml", "error", "password-hash"),
        ("web.yml", "info", "file-not-in-bundle"),
        ("web.yml", "info", "file-not-in-bundle"),
    ]
    assert "'b'" not in str(report)


def test_a_mistake_in_the_values_of_a_series_is_reported_at_its_character() -> None:
    text = "tests:\n- input_series:\n  - series: 'up{a=\"b\"}'\n    values: '1 2 3x'\n"
    report = validate_config("prometheus", text, kind="tests")

    assert [(issue.line, issue.column) for issue in report.issues] == [(4, 18)]
