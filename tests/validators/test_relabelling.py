"""Targets are checked after relabelling, by the actions of Prometheus.

https://prometheus.io/docs/prometheus/latest/configuration/configuration/#relabel_config
"""

import hashlib

import pytest

from apm_s3.validators import validate_config

# The address is invalid, and so the target is reported unless a rule drops it.
TARGET = "{targets: ['http://node'], labels: {env: Prod, pod_a: x, pod_b: y, empty: ''}}"
SHARD = int.from_bytes(hashlib.md5(b"Prod").digest()[8:], "big") % 1000


def reported(*rules: str) -> bool:
    lines = "".join(f"  - {{{rule}}}\n" for rule in rules)
    text = f"scrape_configs:\n- job_name: api\n  static_configs: [{TARGET}]\n  relabel_configs:\n{lines}"
    found = {issue.rule for issue in validate_config("prometheus", text).errors}
    assert found <= {"target-address"}, found
    return bool(found)


def drops_if(label: str, value: str) -> str:
    return f"action: drop, source_labels: [{label}], regex: '{value}'"


@pytest.mark.parametrize(
    ("rule", "label", "value"),
    [
        ("action: lowercase, source_labels: [env], target_label: x", "x", "prod"),
        ("action: uppercase, source_labels: [env], target_label: x", "x", "PROD"),
        ("action: hashmod, source_labels: [env], modulus: 1000, target_label: x", "x", str(SHARD)),
        ("source_labels: [env, job], target_label: x", "x", "Prod;api"),
        ("source_labels: [env, job], separator: '', target_label: x", "x", "Prodapi"),
        ("source_labels: [env], regex: 'P(.*)d', target_label: x, replacement: '$1-${1}'", "x", "ro-ro"),
        ("source_labels: [env], regex: 'P(.*)d', target_label: 'x_$1'", "x_ro", "ro"),
        ("source_labels: [env], regex: rod, target_label: env, replacement: z", "env", "Prod"),
        ("target_label: env, replacement: ''", "env", ""),
        ("action: labelmap, regex: 'pod_(.)'", "b", "y"),
        ("action: labelmap, regex: 'pod_(.)', replacement: 'k_$1'", "k_a", "x"),
        ("action: labeldrop, regex: 'pod_.'", "pod_a", ""),
        ("action: labeldrop, regex: 'pod'", "pod_a", "x"),
        ("action: labelkeep, regex: '__.*|env'", "pod_a", ""),
        ("action: labelkeep, regex: '__.*|env'", "env", "Prod"),
    ],
)
def test_a_rule_changes_labels_as_prometheus_does(rule: str, label: str, value: str) -> None:
    assert not reported(rule, drops_if(label, value))
    assert reported(rule, drops_if(label, f"{value}."))


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        ("action: keep, source_labels: [env], regex: Prod", True),
        ("action: keep, source_labels: [env], regex: Pro", False),
        ("action: drop, source_labels: [env], regex: Pro", True),
        ("action: drop, source_labels: [env], regex: 'P.*'", False),
        ("action: keepequal, source_labels: [env], target_label: env", True),
        ("action: keepequal, source_labels: [env], target_label: job", False),
        ("action: dropequal, source_labels: [env], target_label: env", False),
        ("action: dropequal, source_labels: [env], target_label: job", True),
        ("action: dropequal, source_labels: [none], target_label: empty", False),
    ],
)
def test_a_rule_keeps_or_drops_targets_as_prometheus_does(rule: str, kept: bool) -> None:
    assert reported(rule) is kept


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("target_label: __scrape_interval__, replacement: soon", True),
        ("target_label: __scrape_timeout__, replacement: soon", True),
        ("target_label: __scrape_interval__, replacement: 0s", True),
        ("target_label: __scrape_timeout__, replacement: 2m", True),
        ("target_label: __scrape_timeout__, replacement: 1m", False),
        ("target_label: __scrape_interval__, replacement: 5m", False),
    ],
)
def test_the_scrape_times_that_relabelling_leaves_are_checked(rule: str, problem: bool) -> None:
    assert reported("target_label: __address__, replacement: node", rule) is problem
