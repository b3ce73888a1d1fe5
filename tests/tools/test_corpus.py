"""A corpus is collected from a checkout and labelled by the tool's own checker. The checkout here is hand-written."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.servers import require
from tools.corpus import collect, main

GOOD = "scrape_configs: [{job_name: a}]\n"
BAD = "scrape_configs: [{job_name: a, nonsense: true}]\n"
RULES = "groups: [{name: a, rules: [{record: 'a:b', expr: up}]}]\n"
ROUTE = "route: {receiver: a}\nreceivers: [{name: a}]\n"


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_each_configuration_appears_once_with_its_label(tmp_path: Path) -> None:
    require("promtool")
    checkout = tree(
        tmp_path / "checkout",
        {
            "docs/good.yml": GOOD, "docs/again.yml": GOOD, "config/bad.yaml": BAD, "rules.yml": RULES,
            "ci.yml": "jobs: {}\n", "note.txt": GOOD,
        },
    )  # fmt: skip

    entries = collect("prometheus", checkout, tmp_path / "corpus")

    assert sorted((entry.tool, entry.label) for entry in entries) == [
        ("prom-rules", "good"), ("prometheus", "bad"), ("prometheus", "good")
    ]  # fmt: skip
    assert all((tmp_path / "corpus" / entry.file).exists() for entry in entries)
    assert any("nonsense" in entry.real_tool_error for entry in entries)


def test_a_second_tool_joins_the_same_corpus(tmp_path: Path) -> None:
    require("promtool")
    require("amtool")
    out = tmp_path / "corpus"
    collect("prometheus", tree(tmp_path / "one", {"a.yml": GOOD}), out)

    assert main(["alertmanager", str(tree(tmp_path / "two", {"a.yml": ROUTE})), "--out", str(out)]) == 0

    with (out / "manifest.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert [(row["tool"], row["label"]) for row in rows] == [("prometheus", "good"), ("alertmanager", "good")]


def test_without_the_checker_nothing_is_labelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert main(["prometheus", str(tmp_path), "--out", str(tmp_path / "corpus")]) == 2

    assert "promtool is not installed" in capsys.readouterr().err
    assert not (tmp_path / "corpus").exists()
