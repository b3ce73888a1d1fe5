"""Reading documents: positions, limits, and what each format accepts."""

import pytest

from apm_s3.errors import ConfigInvalid, InvalidOption
from apm_s3.validators import parse_document, validate_config
from apm_s3.validators._reading import nodes, yaml_reader

ALIAS_BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(12)
)
MERGE_BOMB = "a: &a {x: 1}\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} {{<<: [{','.join(['*' + chr(97 + i)] * 9)}]}}\n" for i in range(12)
)


def only_issue(text, tool="prometheus", **options):
    report = validate_config(tool, text, **options)
    assert len(report.issues) == 1, str(report)
    return report.issues[0]


@pytest.mark.parametrize(
    ("text", "rule", "line", "column"),
    [
        pytest.param(ALIAS_BOMB, "too-many-aliases", 6, 8, id="alias bomb"),
        pytest.param(MERGE_BOMB, "too-many-aliases", 6, 22, id="merge bomb"),
        pytest.param(b"#" * 50_000_000, "too-large", None, None, id="50 MB"),
        pytest.param("#" * 50_000_000, "too-large", None, None, id="50 MB of text"),
        pytest.param("é" * 9_000_000, "too-large", None, None, id="text that is large in UTF-8"),
        pytest.param("{a: " * 60_000, "too-deep", 1, 801, id="60 000 mappings"),
        pytest.param("- " * 60_000, "too-deep", 1, 401, id="60 000 block sequences"),
        pytest.param("a: 1\nb: \xff".encode("latin-1"), "invalid-utf8", 2, 4, id="invalid UTF-8"),
        pytest.param("a: \ud800", "invalid-utf8", 1, 4, id="lone surrogate"),
        pytest.param("a: 1\nb: \0", "nul-byte", 2, 4, id="NUL byte"),
        pytest.param("a: &a [*a]", "alias-cycle", 1, 8, id="anchor in itself"),
        pytest.param("a: *b", "unknown-anchor", 1, 4, id="unknown anchor"),
        pytest.param("a: [1\nb: 2", "yaml-syntax", 2, 2, id="unclosed sequence"),
        pytest.param("%YAML 1.2\n---\na: 1", "yaml-version", 1, 1, id="YAML 1.2"),
    ],
)
def test_an_unreadable_text_gets_one_error_with_its_position(text, rule, line, column):
    issue = only_issue(text)

    assert (issue.severity, issue.rule, issue.line, issue.column) == ("error", rule, line, column)


def test_60_000_sequences_are_refused_by_libyaml_or_our_limit():
    issue = only_issue("[" * 60_000)

    assert (issue.rule, issue.line) == ("too-deep", 1)
    assert issue.column in (201, 1001)
    assert "200 levels" in issue.message


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_json_nested_60_000_levels_deep_is_refused(opening):
    issue = only_issue(opening * 60_000, "grafana", kind="dashboard")

    assert issue.rule == "too-deep"


@pytest.mark.long
def test_a_document_with_too_many_values_is_refused():
    assert only_issue("- a\n" * 600_000).rule == "too-many-values"


@pytest.mark.parametrize("text", ["".join(f"k{n}: 1\n" for n in range(251)), "- a\n" * 501], ids=["keys", "items"])
def test_keys_and_items_count_as_values(monkeypatch, text):
    # A document of the real size takes seconds: see above.
    for module in (nodes, yaml_reader):
        monkeypatch.setattr(module, "MAX_NODES", 500)

    assert only_issue(text).rule == "too-many-values"
    assert "too-many-values" not in [issue.rule for issue in validate_config("prometheus", text[:1000]).issues]


def test_a_slash_may_be_escaped_unless_a_go_library_refuses_it():
    assert parse_document('a: "b\\/c"', "yaml") == {"a": "b/c"}


def test_a_duplicate_key_is_an_error_that_names_the_first_one():
    issue = only_issue("scrape_configs:\n  - job_name: a\n    job_name: b\n")

    assert (issue.rule, issue.line, issue.column, issue.path) == ("duplicate-key", 3, 5, "scrape_configs[0].job_name")
    assert "line 2" in issue.message


def test_later_documents_are_ignored_with_a_warning():
    report = validate_config("prometheus", "global: {}\n---\n]")

    assert report.ok
    assert [(issue.severity, issue.line) for issue in report.issues] == [("warning", 2)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 8),
        ("0o10", 8),
        ("0x1F", 31),
        ("0b11", 3),
        ("1_000", 1000),
        ("17:00", "17:00"),
        ("2024-01-02", "2024-01-02"),
        ("1e3", 1000.0),
        ("yes", True),
        ("Off", False),
        ("~", None),
        ("'80'", "80"),
        ("!!str 80", "80"),
        ("!!int '80'", 80),
        ("!!binary aGk=", "hi"),
        ("9" * 50, float("9" * 50)),
        ("9" * 5000, "9" * 5000),
        ("-.inf", float("-inf")),
    ],
)
def test_a_plain_scalar_has_the_same_type_as_in_go(text, value):
    assert parse_document(f"a: {text}", "yaml") == {"a": value}


def test_explicit_keys_override_a_merge_key():
    text = "base: &base {x: 1, y: 1}\nuser:\n  x: 2\n  <<: *base\n"

    assert parse_document(text, "yaml")["user"] == {"x": 2, "y": 1}


def test_json_is_parsed():
    text = '{"a": [1, 2.5e3, true, null, "x\\u00e9\\n"], "b": {}}'

    assert parse_document(text, "json") == {"a": [1, 2500.0, True, None, "xé\n"], "b": {}}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"a": [1,]}', "1:10"),
        ('{"a": 1} x', "1:10"),
        ('{\n"a": "x\ny"}', "2:8"),
        ('{"a": 01}', "1:7"),
        ("", "1:1"),
        ('{"a"', "1:5"),
        ('{"a": {"b": 1, "b": 2}}', "1:16"),
        ("{'a': 1}", "1:2"),
    ],
)
def test_invalid_json_is_refused_with_its_position(text, place):
    with pytest.raises(ConfigInvalid) as refused:
        parse_document(text, "json")

    issue = refused.value.report.issues[0]
    assert f"{issue.line}:{issue.column}" == place


def test_a_duplicate_key_in_json_has_its_path():
    issue = only_issue(
        '{"title": "x", "panels": [{"type": "a"}, {"type": "b", "id": 1, "id": 2}]}', "grafana", kind="dashboard"
    )

    assert (issue.rule, issue.path) == ("duplicate-key", "panels[1].id")


def test_ini_is_parsed_as_by_go_ini():
    text = 'app_mode = production\n[server]\n; no\nhttp_port: 3000 ; yes\n"a=b" = `x # y`\ntext = """one\ntwo"""\nlong = a\\\nb\n'

    assert parse_document(text, "ini") == {
        "DEFAULT": {"app_mode": "production"},
        "server": {"http_port": "3000", "a=b": "x # y", "text": "one\ntwo", "long": "ab"},
    }


@pytest.mark.parametrize("text", ["[server\n", "[]\n", "http_port\n", "= 1\n", 'a = """b\n'])
def test_invalid_ini_is_refused(text):
    with pytest.raises(ConfigInvalid):
        parse_document(text, "ini")


def test_an_unknown_format_is_refused():
    with pytest.raises(InvalidOption):
        parse_document("", "toml")


def test_a_mapping_that_contains_itself_is_refused():
    data = {}
    data["global"] = data

    assert only_issue(data).rule == "too-deep"


def test_a_mapping_with_an_unsupported_value_is_refused():
    assert only_issue({"global": object()}).rule == "unsupported-type"


@pytest.mark.parametrize("name", ["k" * 100_000, "a b" * 100_000, "line\nbreak", "\x1b[31m"])
def test_a_path_is_short_and_on_one_line_whatever_its_keys_are(name):
    [issue] = validate_config("prometheus", {"global": {name: 1}}).issues

    assert len(issue.path) < 120
    assert issue.path.isprintable()
