"""Mappings are serialised so that the tools, PyYAML and our own reader understand them."""

from __future__ import annotations

import configparser
import datetime as dt
import enum
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from apm_s3.errors import InvalidOption
from apm_s3.validators import parse_document
from tests.seams.content import serialise

PROMETHEUS = {
    "global": {"scrape_interval": "15s", "evaluation_interval": "15s"},
    "scrape_configs": [{"job_name": "prometheus", "static_configs": [{"targets": ["localhost:9090"]}]}],
}
GRAFANA = {"server": {"http_port": 3000}, "database": {"type": "sqlite3"}}

texts = st.text(alphabet=st.characters(codec="utf-8"), max_size=40) | st.sampled_from(
    ["yes", "No", "null", "~", "1:30", "0o17", "0x1f", "1_000", "1e3", ".5", "-", "- a", "<<", "=", "2024-01-01", "a: b", "#x", "a #b",
     "&a", "*a", "!t", "%x", "@x", "`x", "|", ">", "\n", "\n\na", " a", "a ", "a\n", "a\n\n", "a \nb", "\ta", "a\tb", "---", "...", "...\na",
     "\x85", "\u2028", "\ufeff", "😀", "é", "${VAR}", "{{ $x }}", "15s", "1h30m", "", "y", "NaN", ".inf", "0", "-1", "+1", "[a", "{a", "?", "? a", "'", '"']
)  # fmt: skip
keys = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), max_size=20) | texts.filter(
    lambda text: "\0" not in text
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | texts.filter(lambda text: "\0" not in text)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=20
)
mappings = st.dictionaries(keys, values, max_size=5)


def same(left: object, right: object) -> bool:
    if isinstance(left, dict) and isinstance(right, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and left == right


@given(mappings)
def test_our_reader_round_trips_yaml(data: dict) -> None:
    assert same(parse_document(serialise(data, "prometheus.yml"), "yaml"), data)


@given(mappings)
def test_pyyaml_round_trips_yaml(data: dict) -> None:
    assert same(yaml.safe_load(serialise(data, "loki.yaml")), data)


@given(mappings)
def test_yaml_has_no_anchors_no_tags_and_is_stable(data: dict) -> None:
    raw = serialise({"a": data, "b": data}, "x.yaml")

    assert not [event for event in yaml.parse(raw) if getattr(event, "anchor", None) or getattr(event, "tag", None)]
    assert serialise(yaml.safe_load(raw), "x.yaml") == raw


@given(mappings.filter(lambda data: "inf" not in repr(data)))
def test_json_round_trips(data: dict) -> None:
    assert same(json.loads(serialise(data, "dashboards/api.json")), data)


ini_keys = st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True)
ini_texts = st.text(
    alphabet=st.characters(codec="utf-8", exclude_categories=["Cc"]) | st.sampled_from("\n\t`\"'#;\\ "), max_size=30
)
ini_values = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | ini_texts


def as_ini_reads(value: object) -> str:
    return (
        {None: "", True: "true", False: "false"}.get(value, str(value))
        if not isinstance(value, str | int) or isinstance(value, bool)
        else str(value)
    )


@given(st.dictionaries(ini_keys, st.dictionaries(ini_keys, ini_values, max_size=4), max_size=4))
def test_our_reader_round_trips_ini(data: dict) -> None:
    try:
        raw = serialise(data, "grafana.ini")
    except InvalidOption:
        assert any("`" in str(value) and '"""' in str(value) for keys in data.values() for value in keys.values())
        return

    expected = {section: {key: as_ini_reads(value) for key, value in keys.items()} for section, keys in data.items()}
    assert parse_document(raw, "ini") == expected


def test_a_mapping_inside_a_section_becomes_a_dotted_section() -> None:
    raw = serialise({"auth": {"google": {"enabled": True}, "disable_login_form": False}}, "grafana.ini")

    assert raw == b"[auth]\ndisable_login_form = false\n\n[auth.google]\nenabled = true\n"


def test_values_before_the_first_section_stay_there() -> None:
    raw = serialise({"server": {"http_port": 3000}, "app_mode": "production"}, "grafana.ini")

    assert raw == b"app_mode = production\n\n[server]\nhttp_port = 3000\n"
    assert serialise(parse_document(raw, "ini"), "grafana.ini") == raw


def test_ini_values_with_comment_signs_are_quoted() -> None:
    raw = serialise({"database": {"password": "a#b;c", "note": "tick ` and ;"}}, "grafana.ini")

    assert raw == b'[database]\npassword = `a#b;c`\nnote = """tick ` and ;"""\n'


def test_the_prometheus_mapping_of_the_readme_is_accepted_by_promtool(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    path = tmp_path / "prometheus.yml"
    path.write_bytes(serialise(PROMETHEUS, "prometheus.yml"))

    checked = subprocess.run([promtool, "check", "config", str(path)], check=False, capture_output=True, text=True)

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_grafana_mapping_of_the_readme_is_ini() -> None:
    parser = configparser.ConfigParser()
    parser.read_string(serialise(GRAFANA, "grafana.ini").decode())

    assert parser["server"]["http_port"] == "3000"
    assert parser["database"]["type"] == "sqlite3"


def test_strings_are_quoted_only_if_necessary() -> None:
    data = {
        "global": {"scrape_interval": "1h30m", "path": "/metrics", "expr": "sum(rate(x[5m])) by (job)", "yes": "15"}
    }

    assert serialise(data, "prometheus.yml") == (
        b"global:\n  scrape_interval: 1h30m\n  path: /metrics\n  expr: sum(rate(x[5m])) by (job)\n  'yes': '15'\n"
    )


def test_a_string_of_several_lines_becomes_a_block() -> None:
    assert serialise({"template": "a\n  b\n"}, "x.yml") == b"template: |\n  a\n    b\n"


def test_a_date_remains_a_date() -> None:
    raw = serialise({"schema_config": {"configs": [{"from": dt.date(2024, 4, 1)}]}}, "loki.yaml")

    assert b"from: 2024-04-01\n" in raw


def test_members_of_an_enumeration_are_written_as_their_values() -> None:
    class Level(str, enum.Enum):  # noqa: UP042 - the kind whose str() is not its value
        WARN = "warn"

    class Port(enum.IntEnum):
        HTTP = 3100

    assert serialise({"level": Level.WARN, "port": Port.HTTP}, "loki.yaml") == b"level: warn\nport: 3100\n"


@pytest.mark.parametrize(
    ("data", "name", "path"),
    [
        ({"a": {"b": [1, object()]}}, "x.yml", "a.b[1]"),
        ({"a": {"b": b"raw"}}, "x.yml", "a.b"),
        ({"a": {1: "x"}}, "x.yml", "a has a key"),
        ({"a": {"b": 2**70}}, "x.yml", "a.b"),
        ({"a": "\ud800"}, "x.yml", "a contains a lone surrogate"),
        ({"a": {"b": float("nan")}}, "x.json", "a.b"),
        ({"s": {"k": [1, 2]}}, "grafana.ini", "s.k"),
        ({"s": {"k": "`\n\"\"\""}}, "grafana.ini", "s.k"),
        ({"s": {"k=v": 1}}, "grafana.ini", 's["k=v"]'),
        ({"auth": {"google": {"a": 1}}, "auth.google": {"b": 1}}, "grafana.ini", 'the section [auth.google] a second time'),
    ],
)  # fmt: skip
def test_values_that_cannot_be_written_are_refused_with_their_path(data: dict, name: str, path: str) -> None:
    with pytest.raises(InvalidOption, match=r"cannot be written") as refused:
        serialise(data, name)

    assert path in str(refused.value)


def test_a_refusal_never_shows_the_value() -> None:
    with pytest.raises(InvalidOption) as refused:
        serialise({"basic_auth": {"password": 'hunter2`"""\n'}}, "grafana.ini")

    assert "hunter2" not in str(refused.value)


def test_a_mapping_that_contains_itself_is_refused() -> None:
    data: dict = {"a": {}}
    data["a"]["b"] = data

    with pytest.raises(InvalidOption, match="nested deeper"):
        serialise(data, "x.yml")


def test_a_bomb_of_shared_references_is_refused() -> None:
    level: list = ["x"] * 10
    for _ in range(9):
        level = [level] * 10

    with pytest.raises(InvalidOption, match="comes after 500000 others"):
        serialise({"a": level}, "x.yml")


def test_a_name_without_a_known_extension_is_refused() -> None:
    with pytest.raises(InvalidOption, match=r"templates/mail\.tmpl"):
        serialise({"a": 1}, "templates/mail.tmpl")
