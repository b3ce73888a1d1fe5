"""The tables of fields are generated from Go sources. The sources here are small and hand-written."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

from tools.field_tables.__main__ import DATA, main
from tools.field_tables.go_source import read_checkout
from tools.field_tables.tables import Tables, compare, dump, kinds, merge, stubs

CONFIG = """
package config

import (
    "time"

    commoncfg "example.org/library/common/v2"

    "example.org/tool/discovery"
)

// Config is the whole file; type Fake struct { is no declaration.
type Config struct {
    Global  GlobalConfig   `yaml:"global"`
    Jobs    []*JobConfig   `yaml:"jobs,omitempty"`
    Labels  map[string]string `yaml:"labels,omitempty"`
    secret  string
    Ignored string `yaml:"-"`
    Inner   struct {
        Deep string `yaml:"deep"`
    } `yaml:"inner"`
}

type (
    // Level is how much is said.
    Level string

    Duration time.Duration
)

var DefaultGlobal = GlobalConfig{
    Interval: Duration(1 * time.Minute),
    Level:    "info",
}

type GlobalConfig struct {
    Interval Duration `yaml:"interval,omitempty"`
    Level    Level    `yaml:"level"`
    Pause    time.Duration `yaml:"pause"`
}

/* type Gone struct {
    Name string `yaml:"name"`
} */

type JobConfig struct {
    Name       string `yaml:"name"`
    Limit, Max uint64 `yaml:",omitempty"`
    Discoveries discovery.Configs `yaml:"-"`
    commoncfg.Client `yaml:",inline"`
}
"""
LIBRARY = """
package common

type Secret string

type Headers map[string][]Secret

type Client struct {
    Password Secret  `yaml:"password"`
    Headers  Headers `yaml:"headers"`
    URL      *URL    `yaml:"url"`
    Any      interface{} `yaml:"any"`
}

type URL struct {
    *url.URL
}
"""
DISCOVERY = """
package file

type SDConfig struct {
    Files []string `yaml:"files"`
}

// Name is the name of the mechanism.
func (*SDConfig) Name() string { return "file" }
"""
ROOTS = {"config": "tool/config.Config"}


@pytest.fixture
def checkouts(tmp_path: Path) -> tuple[Path, Path]:
    tool, library = tmp_path / "tool", tmp_path / "library"
    sources = {
        tool / "go.mod": "module example.org/tool\n",
        tool / "config" / "config.go": CONFIG,
        tool
        / "config"
        / "config_test.go": 'package config\n\ntype Config struct {\n    Wrong string `yaml:"wrong"`\n}\n',
        tool / "discovery" / "discovery.go": "package discovery\n\ntype Configs []Config\n",
        tool / "discovery" / "file" / "file.go": DISCOVERY,
        library / "go.mod": "module example.org/library/v2\n",
        library / "common" / "client.go": LIBRARY,
    }
    for path, text in sources.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tool, library


def made(*roots: Path) -> dict[str, dict[str, str]]:
    return Tables(package for root in roots for package in read_checkout(root)).make(ROOTS.values())


def test_fields_come_from_struct_tags(checkouts: tuple[Path, Path]) -> None:
    types = made(*checkouts)

    assert types["tool/config.Config"] == {
        "global": "tool/config.GlobalConfig",
        "jobs": "[]tool/config.JobConfig",
        "labels": "{}string",
    }
    assert types["tool/config.GlobalConfig"] == {
        "interval": "int64:tool/config.Duration",
        "level": "string:tool/config.Level",
        "pause": "int64:time.Duration",
    }


def test_inline_structs_of_other_modules_and_discoveries_are_fields_of_the_owner(checkouts: tuple[Path, Path]) -> None:
    types = made(*checkouts)

    assert types["tool/config.JobConfig"] == {
        "any": "any",
        "file_sd_configs": "[]discovery/file.SDConfig",
        "headers": "{}[]string:library/common.Secret",
        "limit": "uint64",
        "max": "uint64",
        "name": "string",
        "password": "string:library/common.Secret",
        "url": "library/common.URL",
    }
    assert types["discovery/file.SDConfig"] == {"files": "[]string"}
    assert types["library/common.URL"] == {}


def test_defaults_are_extracted(checkouts: tuple[Path, Path]) -> None:
    tables = Tables(package for root in checkouts for package in read_checkout(root))

    assert tables.defaults(["tool/config.GlobalConfig", "tool/config.JobConfig"]) == {
        "tool/config.GlobalConfig": {"Interval": "Duration(1 * time.Minute)", "Level": '"info"'}
    }


def test_a_missing_root_is_an_error(checkouts: tuple[Path, Path]) -> None:
    with pytest.raises(ValueError, match=r"nowhere/config\.Config is not in the given checkouts"):
        Tables(read_checkout(checkouts[0])).make(["nowhere/config.Config"])


def test_new_removed_and_changed_fields_are_reported() -> None:
    changes = compare({"a.A": {"x": "int", "y": "bool"}}, {"a.A": {"x": "string", "z": "any"}})

    assert str(changes) == "+ a.A: z (any)\n- a.A: y (bool)\n~ a.A: x (int -> string)"
    assert stubs(changes, {"a.A": {}}, "3.15") == {
        "a.A": {"z": {"kind": "any", "since": "3.15"}, "y": {"kind": "bool", "until": "3.15"}}
    }
    assert str(compare({}, {})) == "nothing has changed"


def test_removed_fields_stay_in_the_table_with_the_release_that_removed_them() -> None:
    old = {"a.A": {"old": "int", "older": {"kind": "int", "until": "3.9"}}, "a.Gone": {}}

    assert kinds(old) == {"a.A": {"old": "int"}, "a.Gone": {}}
    assert merge(old, {"a.A": {"new": "a.New"}, "a.New": {"x": "int"}}, "3.15") == {
        "a.A": {
            "new": {"kind": "a.New", "since": "3.15"},
            "old": {"kind": "int", "until": "3.15"},
            "older": {"kind": "int", "until": "3.9"},
        },
        "a.Gone": {},
        "a.New": {"x": "int"},
    }


def test_rules_written_by_hand_stay_in_the_table() -> None:
    rules = {"kind": "string", "required": "x is missing"}

    merged = merge({"a.A": {"x": rules, "y": rules}}, {"a.A": {"x": "int"}}, "3.15")

    assert merged == {"a.A": {"x": {**rules, "kind": "int"}, "y": {**rules, "until": "3.15"}}}


TABLES = ["alertmanager", "jaeger", "loki", "loki_rules", "prometheus", "prometheus_tests", "web"]


@pytest.mark.parametrize("tool", TABLES)
def test_rules_of_a_table_name_fields_and_kinds_that_it_has(tool: str) -> None:
    table = json.loads((DATA / f"{tool}.json").read_text())
    types, groups = table["types"], table.get("groups", {})
    named = {
        (name, each)
        for name, rules in groups.items()
        for rule in rules
        for word, fields in rule.items()
        if word not in ("rule", "message")
        for each in fields
    }
    used = {kind.rpartition(":")[2].lstrip("[]{}") for fields in kinds(types).values() for kind in fields.values()}

    assert sorted(named - {(name, each) for name, fields in types.items() for each in fields}) == []
    assert sorted(table.get("words", {}).keys() - used) == []


@pytest.mark.parametrize("tool", TABLES)
def test_a_table_in_the_repository_is_rewritten_identically(tool: str) -> None:
    text = (DATA / f"{tool}.json").read_text()

    assert dump(json.loads(text)) == text
    assert max(map(len, text.splitlines())) <= 120


def test_the_command_compares_writes_and_prints_stubs(
    checkouts: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "prometheus.json"
    types = {"tool/config.Config": {"global": "tool/config.GlobalConfig", "went": "bool"}}
    file.write_text(dump({"roots": ROOTS, "types": types, "words": {"a.Level": {"what": "level", "values": ["a"]}}}))
    command = ["prometheus", *map(str, checkouts), "--data", str(tmp_path)]

    assert main(command) == 0
    assert "went" in file.read_text()
    assert "labels" not in file.read_text()
    assert main([*command, "--release", "3.15", "--write"]) == 0

    written = json.loads(file.read_text())
    said = capsys.readouterr().out
    assert written["types"]["tool/config.Config"]["labels"] == {"kind": "{}string", "since": "3.15"}
    assert written["types"]["tool/config.Config"]["went"] == {"kind": "bool", "until": "3.15"}
    assert written["words"] == {"a.Level": {"what": "level", "values": ["a"]}}
    assert '"labels": {"kind": "{}string", "since": "3.15"}' in said
    assert "- tool/config.Config: went (bool)" in said
    assert "defaults of tool/config.GlobalConfig" in said


def test_writing_requires_the_release(checkouts: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["prometheus", str(checkouts[0]), "--write"])

    assert "--write needs --release" in capsys.readouterr().err


def test_settings_of_grafana_come_from_its_defaults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "grafana_ini.json").write_text('{"server": ["http_port", "old"]}')
    defaults = tmp_path / "checkout" / "conf" / "defaults.ini"
    defaults.parent.mkdir(parents=True)
    defaults.write_text(
        textwrap.dedent("""\
        app_mode = production

        [server]
        # a comment = nothing
        http_port = 3000
        ;domain =
        """)
    )

    assert main(["grafana", str(tmp_path / "checkout"), "--data", str(tmp_path), "--write"]) == 0

    assert json.loads((tmp_path / "grafana_ini.json").read_text()) == {
        "DEFAULT": ["app_mode"],
        "server": ["domain", "http_port", "old"],
    }
    assert "+ server: domain (key)" in capsys.readouterr().out
