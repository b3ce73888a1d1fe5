"""The position of each character of a scalar, in every style of YAML, and in JSON."""

import random

import pytest
import yaml

from apm_s3.validators._reading.documents import read_document
from apm_s3.validators._reading.nodes import Positions

SOURCES = {
    "plain": "a: up + down\n",
    "plain over lines": "a: up\n  + down\n\n  - left\nb: 1\n",
    "single quotes": "a: 'up{job=''a''}  or\n  down\n\n\n  x'\n",
    "double quotes": 'a: "up{job=\\"a\\"} \\x41 \\u00e9 \\U0001F600 \\\n   or\n\n  down \\/ \\t"\n',
    "literal": "a: |\n  up\n    + down\n\n  - left\nb: 1\n",
    "literal, stripped": "a: |-\n    up ==\n",
    "literal with a comment": "a: |+ # why\n  up\n  x\n\n",
    "literal with its own indentation": "a: |2\n    up\n  x\n",
    "folded": "a: >\n  up\n  + down\n\n  - left\n    more\n  end\n",
    "folded, stripped": "a: >-\n  up\n  or x\n",
    "in a list": "a:\n- b:\n  - c: |\n      up\n      x\n",
    "tagged": "a: !!str &x up + down\n",
    "carriage returns": "a: |\r\n  up\r\n  x\r\n",
    "json": '{"a": "up \\"x\\" \\ud83d\\ude00 \\u0041 y"}',
}


def scalars(node):
    if hasattr(node, "text"):
        yield node
    for item in getattr(node, "items", ()):
        yield from scalars(item)
    for _, value in getattr(node, "entries", {}).values():
        yield from scalars(value)


def written(source, line, column):
    return source.splitlines(keepends=True)[line - 1][column - 1 :]


@pytest.mark.parametrize("name", SOURCES)
def test_each_character_of_a_value_is_located_in_the_text(name):
    source = SOURCES[name]
    node = next(iter(scalars(read_document(source, "json" if name == "json" else "yaml").root)))

    for offset, char in enumerate(node.text):
        place = Positions(source).in_scalar(node.line, node.column, node.text, offset)
        if char.strip() and place is None:
            pytest.fail(f"no place for {char!r} at {offset}")
        if char.strip() and char.isascii() and not written(source, *place).startswith(("\\", "''")):
            assert written(source, *place).startswith(char), (offset, char, place)


def test_the_end_of_a_value_is_located_after_its_last_character():
    assert Positions("a: up ==\n").in_scalar(1, 4, "up ==", 5) == (1, 9)
    assert Positions("a: 'up'\n").in_scalar(1, 4, "up", 2) == (1, 7)
    assert Positions("a: |\n  up\n").in_scalar(1, 4, "up\n", 2) == (2, 5)
    assert Positions("a: >-\n  up\n  x").in_scalar(1, 4, "up x", 4) == (3, 4)


def test_a_string_that_is_not_in_the_text_has_no_location():
    assert Positions("a: up\n").in_scalar(1, 4, "down", 2) is None
    assert Positions("a: up\n").in_scalar(9, 4, "up", 1) is None
    assert Positions("a: |\n  up\n").in_scalar(1, 4, "down", 2) is None


@pytest.mark.parametrize("style", [None, "'", '"', "|", ">"])
def test_random_strings_are_located_in_every_style(style):
    chance = random.Random(5)
    for _ in range(300):
        text = "".join(chance.choices("ab \n'\"\\#:é{}|>", k=chance.randrange(1, 60))).strip() or "x"
        source = yaml.safe_dump({"k": [{"a": text}]}, default_style=style, width=20, allow_unicode=True)
        node = next(scalars(read_document(source, "yaml").root))
        text = node.text
        for offset, char in enumerate(text):
            place = Positions(source).in_scalar(node.line, node.column, text, offset)
            if char.isalnum():
                assert place is not None, (source, offset)
                assert written(source, *place)[0] == char, (source, offset, place)
