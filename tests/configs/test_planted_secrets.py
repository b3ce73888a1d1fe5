"""Random secrets are planted in many forms into every format: no view shows them, or hides anything else."""

from __future__ import annotations

import json
import logging
import random
import string
from collections.abc import Callable, Iterator
from itertools import product

import pytest

from apm_s3 import Tool
from apm_s3.configs import ConfigStore
from apm_s3.errors import ConfigInvalid
from apm_s3.testing import MemoryObjects
from apm_s3.validators import MAIN_FILES, validate_config
from tests.seams.content import diff_bundles
from tests.seams.validators import find_secrets, mask_text

NAMES = [
    "password",
    "db_password",
    "client_secret",
    "api_key",
    "apiKey",
    "auth-token",
    "smtp_pass",
    "password2",
    "PASSWD",
]
ORDINARY = ("visible-before", "visible-after")

Form = Callable[[str, list[str]], str]


def _whole(text: str) -> Form:
    """`NAME` stands for the field, `SECRET` for all words of the secret."""
    return lambda name, words: text.replace("NAME", name).replace("SECRET", " ".join(words))


def _lines(text: str) -> Form:
    """Each word stands on a line like that of `SECRET`."""

    def fill(name: str, words: list[str]) -> str:
        lines = []
        for line in text.replace("NAME", name).split("\n"):
            lines += [line.replace("SECRET", word) for word in words] if "SECRET" in line else [line]
        return "\n".join(lines)

    return fill


YAML: dict[str, Form] = {
    "plain": _whole("NAME: SECRET"),
    "in quotes": _whole("NAME: 'SECRET'"),
    "in double quotes": _whole('NAME: "SECRET"'),
    "below": _whole("NAME:\n  SECRET"),
    "a block": _lines("NAME: |\n  SECRET"),
    "a folded block": _lines("NAME: >-\n  SECRET"),
    "over several lines": _lines("NAME: x\n  SECRET"),
    "in quotes over several lines": _lines('NAME: "x\n  SECRET\n  x"'),
    "a list": _lines("NAMEs:\n  - SECRET"),
    "in braces": _whole("x: {NAME: SECRET, user: me}"),
    "behind the value": _whole("NAME: old1 # old: SECRET"),
    "behind the value, in words": _whole("NAME: old1 # was SECRET before"),
    "behind a quoted value": _whole("NAME: 'old1'   # SECRET"),
    "behind a block's head": _whole("NAME: | # SECRET\n  x"),
    "behind a reference": _whole("NAME: ${PW} # old: SECRET"),
    "a comment": _whole("# NAME: SECRET"),
    "a comment, later": _whole("# NAME: old1 y SECRET"),
    "a comment of several lines": _lines("# NAME: |\n#   SECRET"),
    "a comment behind another value": _whole("user: me # NAME: SECRET"),
    "INI in a plain value": _whole("config: NAME = SECRET"),
    "INI in quotes": _whole("config: 'NAME=SECRET'"),
    "INI in a block": _whole("config: |\n  [db]\n  user = me\n  NAME = SECRET\n  host = x"),
    "INI in a block, quoted": _whole('config: |\n  user = me\n  NAME = "SECRET" \n'),
    "INI in a folded value": _whole("config: user = me\n\n  NAME = SECRET"),
    "a comment in a block": _whole("config: |\n  user = me\n  # NAME = SECRET\n  ; NAME = SECRET"),
    "a block in a block": _lines("config: |\n  user: me\n  NAME: |\n    SECRET\n  host: x"),
    "YAML in a block": _whole("config: |\n  db:\n    NAME: SECRET # SECRET\n    host: x"),
    "properties in a block": _lines("config: |\n  user: me\n  db.NAME=x \\\n    SECRET \\\n    x"),
    "a shell in a block": _whole("script: |\n  set -e\n  export NAME='SECRET'\n  run"),
    "JSON in a block": _whole('config: |\n  {"a": {"NAME": "SECRET"}}'),
    "JSON in quotes": _whole('config: \'{"a": [{"NAME": "SECRET"}]}\''),
    "a name and a value": _whole("env:\n- {name: NAME, value: SECRET}"),
    "a second document": _whole("x: 1\n---\nNAME: SECRET"),
    "a broken text": _lines("x: [\nNAME: |\n  SECRET"),
    "a broken text, below": _lines("x: [\n- NAME:\n    - SECRET"),
    "a broken text, quoted": _lines('x: [\nNAME: "x\n SECRET\n x"'),
}

INI: dict[str, Form] = {
    "plain": _whole("NAME = SECRET"),
    "a colon": _whole("NAME: SECRET"),
    "in back quotes": _lines("NAME = `x\nSECRET\nx`"),
    "in triple quotes": _lines('NAME = """x\nSECRET\nx"""'),
    "in double quotes": _whole('NAME = "SECRET"'),
    "a backslash": _lines("NAME = x \\\nSECRET \\\nx"),
    "lines that go on": _lines("NAME = x\n    SECRET"),
    "a block": _lines("NAME = |\n    SECRET"),
    "a block of assignments": _lines("NAME: |\n    a = SECRET"),
    "behind the value": _whole("NAME = old1 ; SECRET"),
    "behind a reference": _whole("NAME = ${PW} # was: SECRET"),
    "a comment": _whole("; NAME = SECRET"),
    "a comment, later": _whole("# NAME = old1, y; SECRET"),
    "a comment of several lines": _lines(";NAME = |\n;   SECRET"),
    "JSON": _whole('config = `{"NAME": "SECRET"}`'),
}

JSON: dict[str, Form] = {
    "a string": _whole('"NAME": "SECRET"'),
    "a list": _whole('"NAMEs": ["SECRET"]'),
    "a value below": _whole('"NAME": {"value": "SECRET"}'),
    "INI in a string": _whole('"config": "user = me\\nNAME = SECRET\\n"'),
    "a block in a string": _whole('"config": "NAME: |\\n  SECRET\\n"'),
    "JSON in a string": _whole('"config": "{\\"NAME\\": \\"SECRET\\"}"'),
    "a name and a value": _whole('"env": [{"key": "NAME", "value": "SECRET"}]'),
    "headers": _whole('"secureJsonData": {"x": "SECRET"}'),
}

OTHER: dict[str, Form] = {
    "plain": _whole("NAME: SECRET"),
    "an assignment": _whole("export NAME=SECRET"),
    "an assignment of TOML": _whole('NAME = "SECRET" # SECRET'),
    "a block": _lines("NAME: |\n  SECRET"),
    "a folded block": _lines("  - NAME: >2-\n      SECRET\n    user: me"),
    "below": _lines("NAME:\n  SECRET"),
    "a list": _lines("NAME:\n  - SECRET"),
    "lines that go on": _lines("NAME = x\n    SECRET"),
    "a backslash": _lines("NAME=x \\\nSECRET \\\nx"),
    "quotes over several lines": _lines("NAME = 'x\nSECRET\nx'"),
    "triple quotes": _lines('NAME = """\nSECRET\n"""'),
    "a comment": _whole("// NAME: SECRET"),
    "a comment of several lines": _lines("# NAME: |\n#   SECRET"),
    "behind a reference": _whole("NAME: ${PW}, other_secret: SECRET"),
    "JSON": _whole('{"NAME": "SECRET", "user": "me"}'),
}

_AROUND: dict[str, Callable[[str], str]] = {
    "a.yml": lambda text: f"before: {ORDINARY[0]}\n{text}\nafter: {ORDINARY[1]}\n",
    "b.json": lambda text: f'{{"before": "{ORDINARY[0]}",\n{text},\n"after": "{ORDINARY[1]}"}}\n',
    "grafana.ini": lambda text: f"[x]\nbefore = {ORDINARY[0]}\n{text}\nafter = {ORDINARY[1]}\n",
    "notes.txt": lambda text: f"before: {ORDINARY[0]}\n{text}\nafter: {ORDINARY[1]}\n",
    "mail.tmpl": lambda text: f"before: {ORDINARY[0]}\n{text}\nafter: {ORDINARY[1]}\n",
}
PLANTS = [
    *product(["a.yml"], YAML.items()),
    *product(["b.json"], JSON.items()),
    *product(["grafana.ini"], INI.items()),
    *product(["notes.txt", "mail.tmpl"], OTHER.items()),
    *product(["notes.txt"], [each for each in YAML.items() if "{" not in each[1]("x", ["x"])]),
]


def _views(name: str, old: str, new: str) -> Iterator[str]:
    """Every view of a text."""
    diff = diff_bundles({name: old.encode()}, {name: new.encode()}, old_label="old", new_label="new")
    yield mask_text(name, new)
    yield json.dumps(diff.to_dict())
    yield str(diff)
    yield str(find_secrets({name: new.encode()}))
    tool = "grafana" if name.endswith((".ini", ".json")) else "prometheus"
    report = validate_config(tool, new, name=name) if name.endswith((".yml", ".ini", ".json")) else None
    yield "" if report is None else f"{report} {report.issues!r}"


def _secret(chance: random.Random) -> list[str]:
    """One word or several, none of which occurs elsewhere."""
    word = [*string.ascii_letters, *string.digits, *"_.!%-"]
    return [
        f"{chance.choice('ABXYabxy')}{''.join(chance.choices(word, k=6))}{chance.randint(0, 9)}q"
        for _ in range(chance.choice((1, 1, 2, 3)))
    ]


@pytest.mark.parametrize(("name", "form"), [pytest.param(n, f, id=f"{n}: {i}") for n, (i, f) in PLANTS])
def test_no_view_shows_a_planted_secret(name: str, form: Form, request: pytest.FixtureRequest) -> None:
    chance = random.Random(request.node.name)
    for field in chance.sample(NAMES, 3):
        words, others = _secret(chance), _secret(chance)
        old, new = (_AROUND[name](form(field, each)) for each in (others, words))

        for number, view in enumerate(_views(name, old, new)):
            for word in (*words, *others):
                assert word not in view, (number, new)
        masked = mask_text(name, new)
        assert all(each in masked for each in ORDINARY), new
        assert masked.count("\n") == new.count("\n")


@pytest.mark.parametrize("name", ["a.yml", "grafana.ini"])
async def test_no_result_or_error_of_a_store_shows_a_planted_secret(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    chance, store = random.Random(name), ConfigStore(MemoryObjects())
    caplog.set_level(logging.DEBUG)
    tool: Tool = "grafana" if name == "grafana.ini" else "prometheus"
    shown: list[object] = []
    planted: list[str] = []
    for form in (YAML if name == "a.yml" else INI).values():
        words = _secret(chance)
        planted += words
        text = _AROUND[name](form(chance.choice(NAMES), words))
        files = {MAIN_FILES[tool]: text}
        try:
            shown.append(await store.upload(tool, "production", files=files))
        except ConfigInvalid as error:
            shown += [str(error), repr(error), error.report]
            shown.append(await store.upload(tool, "production", files=files, force="to see what is told"))
        if len(await store.history(tool, "production")) > 1:
            diff = await store.diff(tool, "production")
            shown += [diff, json.dumps(diff.to_dict())]
    shown += [await store.log("production"), await store.status(), caplog.text]

    told = "\n".join(f"{each} {each!r}" for each in shown)
    assert [word for word in planted if word in told] == []
