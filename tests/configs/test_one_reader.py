"""One reader per format: validation, data, masking and edits agree on keys and on positions of values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from apm_s3.validators import parse_document
from tests.seams.content import load
from tests.seams.validators import Format, Steps, Trace, Unreadable, mask_text, read_document, scalars_below

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), max_size=12)
KEYS = st.one_of(st.sampled_from(["password", "x:y_password", "a b", "<", "é", "", "0", "null"]), TEXTS)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(2**40), 2**40), st.sampled_from([0.5, -1e300]), TEXTS)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)
MAPPINGS = st.dictionaries(KEYS, VALUES, max_size=4)


def _json(data: Any, indent: int | None, ascii_only: bool) -> str:
    return json.dumps(data, indent=indent, ensure_ascii=ascii_only)


def _yaml(data: Any, flow: bool | None, style: str | None) -> str:
    return str(yaml.dump(data, default_flow_style=flow, default_style=style, allow_unicode=True, sort_keys=False))


JSON = st.builds(_json, VALUES, st.sampled_from([None, 0, 2]), st.booleans())
YAML = st.builds(_yaml, MAPPINGS, st.sampled_from([True, False, None]), st.sampled_from([None, '"', "'", "|", ">"]))
INI_LINES = st.sampled_from(
    [
        "[section]", "  [other]  # note", "[section]", "a = 1", "b: 2 ; note", '"x:y_password" = hunter22', "`c = d` = 'e'", '"""f:g""" : h',
        "i = `j", "k` # l", 'm = """n', '""" ; o', "p = q \\", "  r # s", "t =", "u = 'v' ; w", 'x = "y z"', "", "# z = 1", "; y", "é = 😀  ", "\tk = v",
        "pass:word = x=y", "a = 3",
    ]
)  # fmt: skip
INI = st.lists(INI_LINES, max_size=12).map("\n".join)
DOCUMENTS = st.one_of(
    st.tuples(st.just("json"), JSON), st.tuples(st.just("yaml"), YAML), st.tuples(st.just("ini"), INI)
)


def _paths(data: Any, steps: Steps = ()) -> Iterator[Steps]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _paths(value, (*steps, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _paths(value, (*steps, index))
    else:
        yield steps


@given(DOCUMENTS)
def test_all_views_of_a_document_list_the_same_keys(document: tuple[Format, str]) -> None:
    form, text = document
    trace, tolerant = Trace(), Trace(tolerant=True)
    try:
        root = read_document(text, form, trace=trace).root
    except Unreadable:
        with pytest.raises(Unreadable):
            read_document(text, form, trace=tolerant)
        return
    assert root is not None
    read_document(text, form, trace=tolerant)

    # Keys above the first section of INI belong to one that has no header.
    headless = {("DEFAULT",)} if form == "ini" else set()
    tree = {written.steps for written in scalars_below(root)}

    assert {written.steps for written in trace.scalars} == tree
    assert [written.steps for written in tolerant.scalars] == [written.steps for written in trace.scalars]
    assert {written.steps for written in trace.keys} | headless >= {
        steps[: at + 1] for steps in tree for at, step in enumerate(steps) if isinstance(step, str)
    }
    assert set(_paths(parse_document(text, form))) == tree
    assert set(_paths(load(text.encode(), form))) == tree


@given(DOCUMENTS, st.data())
def test_replacing_the_text_of_a_value_changes_only_that_value(
    document: tuple[Format, str], data: st.DataObject
) -> None:
    form, text = document
    trace = Trace()
    try:
        root = read_document(text, form, trace=trace).root
    except Unreadable:
        return
    if root is None or not trace.scalars:
        return
    before = {written.steps: written.node.text for written in scalars_below(root)}
    steps, node = data.draw(st.sampled_from(trace.scalars))
    new = {"json": '"replaced"', "yaml": "replaced", "ini": "`replaced`"}[form]

    # A value that is not there, as behind `a:`, has no blank before it.
    blank = "" if node.stop > node.start else " "
    root = read_document(text[: node.start] + blank + new + text[node.stop :], form).root

    assert root is not None
    after = {written.steps: written.node.text for written in scalars_below(root)}
    later = [w for w in trace.scalars if w.steps == steps][-1].node
    assert after == before | ({steps: "replaced"} if later is node else {})


def test_a_quoted_ini_key_with_a_colon_is_one_key_in_all_views() -> None:
    text = '[db]\n"x:y_password" = hunter22\n'

    assert parse_document(text, "ini") == {"db": {"x:y_password": "hunter22"}}
    assert mask_text("grafana.ini", text) == '[db]\n"x:y_password" = <secret>\n'


def test_a_value_given_twice_is_traced_twice() -> None:
    trace = Trace()
    read_document('{"password": "first", "password": "second"}', "json", trace=trace)

    assert [node.text for _, node in trace.scalars] == ["first", "second"]


def test_a_tolerant_trace_continues_after_the_first_document_and_after_invalid_lines() -> None:
    documents, lines = Trace(tolerant=True), Trace(tolerant=True)
    read_document("%YAML 1.2\n---\na: 1\n---\nb: &x 2\nc: *x\n", "yaml", trace=documents)
    with pytest.raises(Unreadable):
        read_document("[s]\nno delimiter\nb = 2\n", "ini", trace=lines)

    assert [steps for steps, _ in documents.scalars] == [("a",), ("b",)]
    assert [(steps, node.text) for steps, node in documents.repeated] == [(("c",), "2")]
    assert [steps for steps, _ in lines.scalars] == [("s", "b")]
