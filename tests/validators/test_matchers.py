"""Alertmanager's matchers in its three modes, against amtool where it is installed."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from pathlib import Path
from typing import Literal

import pytest

from apm_s3.errors import InvalidOption
from apm_s3.reports import ValidationReport
from apm_s3.validators import validate_bundle, validate_bundle_async, validate_config

MatcherMode = Literal["fallback", "classic", "utf8-strict"]
MODES: tuple[MatcherMode, ...] = ("fallback", "classic", "utf8-strict")
EITHER = [
    'a="b"', "a=b", "{a=b,c!=d}", "{a=b,}", "{}", "", 'a =~ "x.*"', "a=b,c=d", 'a="b,c"', 'a="\\"x\\""',
]  # fmt: skip
ONLY_CLASSIC = ["a==b", "{a=b", "a=b c", "a='b'", "foo={bar}", 'a="b\nc"', "a=", 'a="\\400"']
ONLY_UTF8 = ["ä=ö", '"a b"="c"', '"a"=b', '""=b']
NEITHER = ["a", "=b", 'a=="b"', 'a="b', "a b=c", "a=~(", "a~b", 'a="b"c', "{a=b}x, {", '"\\x80"=b', '"\\ud800"=b']


def document(text: str) -> str:
    return json.dumps({
        "route": {"receiver": "a", "routes": [{"receiver": "a", "matchers": [text]}]}, "receivers": [{"name": "a"}],
    })  # fmt: skip


def check(text: str, mode: MatcherMode, version: str | None = None) -> ValidationReport:
    return validate_config("alertmanager", document(text), matchers=mode, target_version=version)


@pytest.mark.parametrize(
    ("texts", "accepting"),
    [
        (EITHER, MODES),
        (ONLY_CLASSIC, ("fallback", "classic")),
        (ONLY_UTF8, ("fallback", "utf8-strict")),
        (NEITHER, ()),
    ],
    ids=["either", "classic", "utf8", "neither"],
)
def test_each_matcher_mode_accepts_its_own_grammar(texts: list[str], accepting: tuple[MatcherMode, ...]) -> None:
    taken = {(text, mode) for text in texts for mode in MODES if check(text, mode).ok}

    assert taken == {(text, mode) for text in texts for mode in accepting}


def test_before_0_27_every_matcher_mode_is_classic() -> None:
    assert [check("ä=ö", mode, "0.26").ok for mode in MODES] == [False, False, False]
    assert [check("a={b}", mode, "0.26").issues for mode in MODES] == [(), (), ()]


@pytest.mark.parametrize("text", ONLY_CLASSIC)
def test_a_matcher_that_only_the_classic_grammar_accepts_gives_a_warning_by_default(text: str) -> None:
    (warning,) = check(text, "fallback").warnings

    assert warning.rule == "matcher"
    assert warning.hint is not None
    assert warning.hint.startswith(("write it as a", "write it as foo", "the operator for equality is"))
    assert check(text, "classic").issues == ()


def test_a_matcher_that_the_grammars_read_differently_gives_a_warning() -> None:
    (warning,) = check('a="\\t"', "fallback").warnings

    assert "reads this matcher differently" in warning.message


def test_group_by_and_equal_labels_may_be_utf_8_except_in_classic_mode() -> None:
    text = "route: {receiver: a, group_by: [é]}\nreceivers: [{name: a}]\ninhibit_rules: [{equal: [è]}]\n"

    assert validate_config("alertmanager", text).ok
    assert [issue.path for issue in validate_config("alertmanager", text, matchers="classic").errors] == [
        "route.group_by[0]",
        "inhibit_rules[0].equal[0]",
    ]


@pytest.mark.parametrize(
    ("line", "column", "text"),
    [
        (5, 17, "'team=~\"(a|b\"'"),
        (5, 20, '\'"te am"=~"(a|b"\''),
        (5, 14, "'team~x'"),
        (5, 16, '"team=~(a|b"'),
    ],
)
def test_a_mistake_in_a_matcher_is_reported_at_its_character(line: int, column: int, text: str) -> None:
    source = f"route:\n  receiver: a\n  routes:\n    - matchers:\n      - {text}\nreceivers: [{{name: a}}]\n"
    report = validate_config("alertmanager", source, matchers="fallback")

    assert [(issue.line, issue.column) for issue in report.errors] == [(line, column)]


def test_an_unknown_matcher_mode_is_refused() -> None:
    with pytest.raises(InvalidOption, match="unknown matcher mode: 'new'"):
        validate_config("alertmanager", document("a=b"), matchers="new")  # type: ignore[arg-type]
    with pytest.raises(InvalidOption, match="unknown matcher mode: 'new'"):
        validate_bundle("alertmanager", {}, matchers="new")  # type: ignore[arg-type]


async def test_a_cached_result_applies_to_one_matcher_mode() -> None:
    files = {"alertmanager.yml": document("ä=ö").encode(), "notes.txt": b""}

    reports = {mode: await validate_bundle_async("alertmanager", files, matchers=mode) for mode in MODES}

    assert {mode: report.ok for mode, report in reports.items()} == {
        "fallback": True, "classic": False, "utf8-strict": True,
    }  # fmt: skip


# -- against amtool

_PIECES = [
    *("a", "foo", "é", "a b", "b", "1", "x|y", "(", "[a-z]+", "~", "=", "=~", "!=", "!~", "!", ",", "{", "}", '"', '"'),
    *("'", "`", "\\", "\\\\", '\\"', "\\n", "\\x41", "\\x80", "\\400", "\\u00e9", "\\ud800", "\n", " ", "\t", ":", "-"),
]


def _matchers(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    made: list[str] = []
    for _ in range(count):
        pairs = []
        for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
            name = rng.choice(("foo", "a", "é", '"a b"', '"é"', "a:b", "", '"\\x41"', "a-b", "1a"))
            value = rng.choice(
                ("bar", '"bar"', '"a|b"', "é", "(", '"("', '""', "", "a b", '"\\t"', "{x}", '"x\\"y"', "'x'")
            )
            pairs.append(f"{name}{rng.choice(('=', '!=', '=~', '!~', ' = ', '==', '~'))}{value}")
        text = rng.choice((", ", ",")).join(pairs)
        text = f"{{{text}}}" if rng.random() < 0.3 else text
        for _ in range(rng.choice((0, 0, 1, 2))):
            at = rng.randrange(len(text) + 1)
            text = text[:at] + rng.choice(_PIECES) + text[at + rng.randrange(2) :]
        made.append(text)
    return made


def _amtool(texts: list[str], mode: MatcherMode, folder: Path) -> list[bool]:
    flags = (
        [] if mode == "fallback" else [f"--enable-feature={'classic-mode' if mode == 'classic' else mode + '-mode'}"]
    )
    said: dict[str, bool] = {}
    paths = [folder / f"{index}.yml" for index in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(document(text), encoding="utf-8")
    for start in range(0, len(paths), 500):
        command = ["amtool", *flags, "check-config", *map(str, paths[start : start + 500])]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        parts = re.split(r"^Checking '([^']+)'", shown.stdout, flags=re.MULTILINE)
        said |= {name: "SUCCESS" in outcome for name, outcome in zip(parts[1::2], parts[2::2], strict=True)}
    return [said[str(path)] for path in paths]


def _compare(count: int, seed: int, mode: MatcherMode, folder: Path) -> list[tuple[str, bool, str]]:
    texts = _matchers(count, seed)
    reports = [check(text, mode, "0.28") for text in texts]
    return [
        (text, good, str(report))
        for text, good, report in zip(texts, _amtool(texts, mode, folder), reports, strict=True)
        if report.ok != good
    ]


@pytest.mark.skipif(shutil.which("amtool") is None, reason="amtool is not installed")
@pytest.mark.parametrize("mode", MODES)
def test_random_matchers_get_the_verdict_of_amtool_in_each_mode(mode: MatcherMode, tmp_path: Path) -> None:
    assert _compare(300, 5, mode, tmp_path) == []


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.skipif(shutil.which("amtool") is None, reason="amtool is not installed")
@pytest.mark.parametrize("mode", MODES)
def test_thousands_of_random_matchers_get_the_verdict_of_amtool(mode: MatcherMode, tmp_path: Path) -> None:
    assert _compare(4000, 6, mode, tmp_path) == []


def test_the_utf8_grammar_is_available_from_0_27_on() -> None:
    text = "route: {receiver: a, routes: [{matchers: ['\"a b\"=c']}]}\nreceivers: [{name: a}]"

    assert validate_config("alertmanager", text, kind="config", target_version="0.27").ok
    assert not validate_config("alertmanager", text, kind="config", target_version="0.26").ok
