"""The consistency of the files of a Prometheus bundle."""

from apm_s3.validators import validate_bundle, validate_config

MAIN = b"""
global: {scrape_interval: 5m}
rule_files: [rules/*.yml]
scrape_config_files: [jobs/*.yml]
scrape_configs:
- job_name: a
"""
RULES = b"groups: [{name: g, rules: [{record: r, expr: up}]}]"
JOBS = b"scrape_configs: [{job_name: b, scrape_timeout: 2m}]"


def found(files):
    return {
        (issue.severity.value, issue.file, issue.rule, issue.path)
        for issue in validate_bundle("prometheus", files).issues
    }


def test_a_complete_bundle_is_valid():
    files = {"prometheus.yml": MAIN, "rules/a.yml": RULES, "jobs/b.yml": JOBS, "notes.txt": b"x"}

    assert found(files) == set()


def test_a_scrape_file_is_checked_with_the_global_section_of_the_main_file():
    main = MAIN.replace(b"5m", b"90s")

    assert found({"prometheus.yml": main, "rules/a.yml": RULES, "jobs/b.yml": JOBS}) == {
        ("error", "jobs/b.yml", "timeout-over-interval", "scrape_configs[0].scrape_timeout")
    }


def test_job_names_must_be_unique_across_files():
    jobs = b"scrape_configs: [{job_name: a}]"

    assert found({"prometheus.yml": MAIN, "rules/a.yml": RULES, "jobs/b.yml": jobs}) == {
        ("error", "jobs/b.yml", "duplicate-name", "scrape_configs[0].job_name")
    }


def test_a_scrape_file_may_contain_only_scrape_configurations():
    jobs = JOBS + b"\nremote_write: []"

    assert ("error", "jobs/b.yml", "unknown-field", "remote_write") in found(
        {"prometheus.yml": MAIN, "rules/a.yml": RULES, "jobs/b.yml": jobs}
    )


def test_a_named_file_must_exist_and_a_pattern_should_match():
    main = b"rule_files: [rules/a.yml, more/*.yml, /etc/prometheus/far.yml]"

    assert found({"prometheus.yml": main}) == {
        ("error", "prometheus.yml", "missing-file", "rule_files[0]"),
        ("warning", "prometheus.yml", "missing-file", "rule_files[1]"),
    }


def test_an_absolute_pattern_is_matched_by_its_last_parts():
    assert found({"prometheus.yml": b"rule_files: [/etc/prometheus/rules/*.yml]", "rules/a.yml": RULES}) == set()


def test_a_rule_file_without_references_is_a_warning():
    assert found({"prometheus.yml": b"", "rules/a.yml": RULES}) == {("warning", "rules/a.yml", "unused-file", "")}


def test_a_file_of_another_kind_under_rule_files_is_refused():
    files = {"prometheus.yml": b"rule_files: ['*.yaml']", "x.yaml": b"scrape_configs: []"}

    assert found(files) == {("error", "x.yaml", "file-kind", "")}


def test_target_files_are_checked_and_should_exist():
    main = b"scrape_configs: [{job_name: a, file_sd_configs: [{files: [targets/*.json, late.yml]}]}]"
    files = {
        "prometheus.yml": main,
        "targets/a.json": b'[{"targets": ["a:90"], "labels": {"x": "y"}, "port": 1}, null]',
    }

    assert found(files) == {
        ("error", "targets/a.json", "unknown-field", "[0].port"),
        ("error", "targets/a.json", "null-section", "[1]"),
        ("warning", "prometheus.yml", "missing-file", "scrape_configs[0].file_sd_configs[0].files[1]"),
    }


def test_a_list_given_as_a_configuration_is_refused():
    assert not validate_config("prometheus", "- a\n").ok


def test_nothing_is_said_about_unused_files_when_a_file_that_could_name_them_cannot_be_read():
    unreadable = {"prometheus.yml": b"a: [", "rules/a.yml": RULES, "targets.json": b'[{"targets": ["a:1"]}]'}
    half_read = {**unreadable, "prometheus.yml": MAIN, "jobs/b.yml": b"scrape_configs: [", "unused.yml": RULES}

    assert {rule for _, _, rule, _ in found(unreadable)} == {"yaml-syntax"}
    assert {each for each in found(half_read) if each[2] == "unused-file"} == {
        ("warning", "unused.yml", "unused-file", "")
    }


def test_nothing_is_said_about_unused_files_when_the_field_that_names_them_is_misspelt():
    files = {"rules/a.yml": RULES, "rules/b.yml": RULES, "targets.json": b'[{"targets": ["a:1"]}]'}
    misspelt = (
        b"rule_flies: ['rules/*.yml']\nscrape_configs: [{job_name: a, file_sd_confgs: [{files: [targets.json]}]}]"
    )
    other = b"remote_rites: []\nscrape_configs: []"

    assert {rule for _, _, rule, _ in found({**files, "prometheus.yml": misspelt})} == {"unknown-field"}
    assert [rule for _, _, rule, _ in found({**files, "prometheus.yml": other})].count("unused-file") == 3
