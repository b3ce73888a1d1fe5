"""Diffs are exact, bounded, and show no secrets of either side."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apm_s3.configs import BundleDiff
from tests.profiles import examples
from tests.seams.content import (
    MAX_CHANGES,
    MAX_LINES,
    Difference,
    changed_blocks,
    diff_bundles,
    differences,
    item_names,
)
from tests.seams.validators import MASK

PROMETHEUS = b"""\
global:
  scrape_interval: 15s  # twice a minute would do
scrape_configs:
- job_name: node
  static_configs:
  - targets: [a:9100, b:9100]
- job_name: api
  basic_auth:
    username: u
    password: hunter2
"""


def diff(old: bytes, new: bytes, name: str = "prometheus.yml") -> BundleDiff:
    return diff_bundles({name: old}, {name: new}, old_label="staging#1", new_label="staging#2")


def unified_diff(old: str, new: str, *, old_label: str, new_label: str) -> str:
    found = diff_bundles({"x": old.encode()}, {"x": new.encode()}, old_label=old_label, new_label=new_label)
    return "".join(each.text for each in found.files)


def changes(old: Any, new: Any) -> list[dict[str, Any]]:
    found = diff(json.dumps(old).encode(), json.dumps(new).encode(), "x.json")
    return [change.to_dict() for each in found.files for change in each.changes or ()]


# ------------------------------------------------------------------------------------------------ alignment


@given(st.lists(st.integers(0, 5), max_size=30), st.lists(st.integers(0, 5), max_size=30))
def test_applying_the_changed_blocks_to_one_sequence_gives_the_other(old: list[int], new: list[int]) -> None:
    result, at = [], 0
    for old_start, old_stop, new_start, new_stop in changed_blocks(old, new):
        assert old[old_start:old_stop] != new[new_start:new_stop]
        result += old[at:old_start] + new[new_start:new_stop]
        at = old_stop

    assert result + old[at:] == new


def test_a_single_change_in_a_hundred_thousand_lines_is_the_only_difference() -> None:
    old = [f"line {n}" for n in range(100_000)]
    new = [*old[:10], "new", *old[10:99_000], *old[99_001:]]

    assert changed_blocks(old, new) == [(10, 10, 10, 11), (99_000, 99_001, 99_001, 99_001)]


def test_large_changes_are_told_apart_by_the_unique_lines_between_them() -> None:
    old, new = ([f"{kind} {n}" for n in range(600)] for kind in ("old", "new"))

    blocks = changed_blocks([*old, "same", *old, "again", *old], [*new, "same", *new, "again", *new])

    assert blocks == [(0, 600, 0, 600), (601, 1201, 601, 1201), (1202, 1802, 1202, 1802)]


def test_lines_that_are_all_alike_take_no_time() -> None:
    """difflib took half a second for each of these blocks."""
    blocks = [([number, *"ab" * 245], [number, *"baa" * 165]) for number in range(1_000)]
    old, new = ([item for block in blocks for item in block[side]] for side in (0, 1))

    assert len(changed_blocks(old, new)) == 1_000


def test_texts_that_are_too_large_to_align_are_replaced_as_one_block() -> None:
    old, new = [n % 7 for n in range(5_000)], [n % 5 + 1 for n in range(5_000)]

    assert len(changed_blocks(old, new)) == 1


@pytest.mark.parametrize(("more", "blocks"), [(0, 11), (1, 1)])
def test_a_large_change_is_aligned_up_to_a_limit_also_by_frequent_lines(more: int, blocks: int) -> None:
    # Nothing is unique on both sides, and the product of the lengths is 250 000, or more.
    old, new = ([f"{side} {number // 2}" for number in range(490)] for side in ("old", "new"))
    for at in range(40, 440, 40):
        old.insert(at, "frequent")
        new.insert(at, "frequent")

    assert len(changed_blocks(old, new + ["new 0"] * more)) == blocks


# ------------------------------------------------------------------------------------------------ structure

keys = st.sampled_from("abcd")
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.sampled_from([0.0, 1.0, float("nan")])
    | st.sampled_from(["x", "y", "1", ""])
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(keys, inner, max_size=4)
        | st.lists(st.tuples(st.sampled_from("pqrs"), inner), max_size=4, unique_by=lambda pair: pair[0]).map(
            lambda pairs: [{"name": name, "v": value} for name, value in pairs]
        )
    ),
    max_leaves=25,
)  # fmt: skip


def canonical(value: Any) -> Any:
    """A value reduced to what counts as a change."""
    if isinstance(value, dict):
        return {key: canonical(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        names = item_names(value)
        items = [canonical(item) for item in value]
        return (
            items
            if names is None
            else [item for _, item in sorted(zip(names[0], items, strict=True), key=lambda pair: pair[0])]
        )
    return f"{type(value).__name__} {value!r}"


def apply(old: Any, found: list[Difference]) -> Any:
    """What a reader would make of the diff: `old`, changed as it says."""
    here = [each for each in found if not each.steps]
    if here:
        return here[0].new
    if isinstance(old, dict):
        inner = group(found)
        result = {key: apply(value, inner[key]) if key in inner else value for key, value in old.items()}
        return finish(result, found, dict)
    if not isinstance(old, list):
        return old
    if any(isinstance(each.steps[0], tuple) for each in found):
        inner, field = group(found), next(each.steps[0][0] for each in found)
        named = {(field, str(item[field])): item for item in old}
        result = {name: apply(item, inner[name]) if name in inner else item for name, item in named.items()}
        return list(finish(result, found, dict).values())
    return apply_to_list(old, found)


def group(found: list[Difference]) -> dict[Any, list[Difference]]:
    inner: dict[Any, list[Difference]] = {}
    for each in found:
        if len(each.steps) > 1 or each.kind == "changed":
            inner.setdefault(each.steps[0], []).append(Difference(each.kind, each.steps[1:], each.old, each.new))
    return inner


def finish(result: dict, found: list[Difference], kind: type) -> dict:
    for each in found:
        if len(each.steps) == 1 and each.kind == "removed":
            del result[each.steps[0]]
        elif len(each.steps) == 1 and each.kind == "added":
            result[each.steps[0]] = each.new
    return result


def apply_to_list(old: list, found: list[Difference]) -> list:
    removed = {each.steps[0] for each in found if each.kind == "removed" and len(each.steps) == 1}
    added = {each.steps[0]: each.new for each in found if each.kind == "added" and len(each.steps) == 1}
    kept = iter(item for index, item in enumerate(old) if index not in removed)
    inner = group(found)
    size = len(old) - len(removed) + len(added)
    result = [added[index] if index in added else next(kept) for index in range(size)]
    return [
        apply(item, inner[index]) if index in inner and index not in added else item
        for index, item in enumerate(result)
    ]


@given(values)
def test_nothing_differs_from_itself(value: Any) -> None:
    assert list(differences(value, copy.deepcopy(value))) == []


@examples(300)
@given(values, values)
def test_applying_the_structural_diff_to_the_old_data_gives_the_new(old: Any, new: Any) -> None:
    found = list(differences(old, new))

    assert canonical(apply(copy.deepcopy(old), found)) == canonical(new)


@given(st.dictionaries(keys, values, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_keys_and_named_items_is_not_a_change(value: dict, shuffle: random.Random) -> None:
    def reordered(value: Any) -> Any:
        if isinstance(value, dict):
            entries = list(value.items())
            shuffle.shuffle(entries)
            return {key: reordered(item) for key, item in entries}
        if isinstance(value, list):
            items = [reordered(item) for item in value]
            if item_names(value) is not None:
                shuffle.shuffle(items)
            return items
        return value

    assert list(differences(value, reordered(value))) == []


def test_paths_use_the_names_of_named_items() -> None:
    old = {"scrape_configs": [{"job_name": "a", "x": 1}, {"job_name": "b", "targets": ["p", "q"]}]}
    new = {"scrape_configs": [{"job_name": "b", "targets": ["n", "p", "q"]}, {"job_name": "c"}], "global": {}}

    assert changes(old, new) == [
        {"kind": "removed", "path": "scrape_configs[job_name=a]", "old": {"job_name": "a", "x": 1}},
        {"kind": "added", "path": "scrape_configs[job_name=b].targets[0]", "new": "n"},
        {"kind": "added", "path": "scrape_configs[job_name=c]", "new": {"job_name": "c"}},
        {"kind": "added", "path": "global", "new": {}},
    ]


@pytest.mark.parametrize(
    ("items", "path"),
    [
        ([{"job_name": "x"}], "job_name=x"), ([{"name": "x"}], "name=x"), ([{"alert": "x"}, {"record": "y"}], "alert=x"),
        ([{"uid": "x", "name": "n"}, {"uid": "y", "name": "n"}], "uid=x"), ([{"id": 7, "title": "t"}], "id=7"), ([{"title": "x"}], "title=x"),
    ],
)  # fmt: skip
def test_items_are_matched_by_their_names(items: list, path: str) -> None:
    new = [{**items[0], "changed": True}, *items[1:]]

    assert changes({"l": items}, {"l": new[::-1]}) == [{"kind": "added", "path": f"l[{path}].changed", "new": True}]


def test_rules_with_the_same_name_are_distinguished_by_their_order() -> None:
    old = [{"alert": "Down", "for": "1m"}, {"alert": "Down", "for": "5m"}]
    new = [{"alert": "Down", "for": "1m"}, {"alert": "Down", "for": "9m"}]

    assert changes({"rules": old}, {"rules": new}) == [
        {"kind": "changed", "path": "rules[alert=Down #2].for", "old": "5m", "new": "9m"}
    ]


def test_a_value_of_another_type_is_a_change() -> None:
    assert changes({"a": True, "b": 1}, {"a": 1, "b": "1"}) == [
        {"kind": "changed", "path": "a", "old": True, "new": 1},
        {"kind": "changed", "path": "b", "old": 1, "new": "1"},
    ]


def test_items_after_a_longer_list_are_added_and_after_a_shorter_one_removed() -> None:
    assert changes({"a": [1, 2]}, {"a": [1, 3, 4]}) == [
        {"kind": "changed", "path": "a[1]", "old": 2, "new": 3},
        {"kind": "added", "path": "a[2]", "new": 4},
    ]
    assert changes({"a": [1, 3, 4]}, {"a": [1, 2]}) == [
        {"kind": "changed", "path": "a[1]", "old": 3, "new": 2},
        {"kind": "removed", "path": "a[2]", "old": 4},
    ]


def test_a_password_in_braces_is_masked_in_the_path() -> None:
    (added,) = differences({"smtp": {"password": {}}}, {"smtp": {"password": {"hunter2": None}}})
    (plain,) = differences({"smtp": {"hello": {}}}, {"smtp": {"hello": {"there": None}}})

    assert added.masked().path == f'smtp.password["{MASK}"]'
    assert plain.masked().path == "smtp.hello.there"
    (known,) = differences({"password": {"file": None}}, {"password": {"file": "/a"}})
    assert known.masked().path == "password.file"


# ------------------------------------------------------------------------------------------------ bundles


def test_equal_bundles_have_no_difference() -> None:
    assert not diff(PROMETHEUS, PROMETHEUS)


def test_a_changed_comment_changes_the_text_but_not_the_structure() -> None:
    (changed,) = diff(PROMETHEUS, PROMETHEUS.replace(b"  # twice a minute would do", b"")).files

    assert changed.changes == ()
    assert "-  scrape_interval: 15s  # twice a minute would do\n+  scrape_interval: 15s\n" in changed.text


def test_a_changed_secret_is_reported_as_changed_but_never_shown() -> None:
    found = diff(PROMETHEUS, PROMETHEUS.replace(b"hunter2", b"hunter3"))

    (change,) = found.files[0].changes or ()
    assert (change.path, change.old, change.new) == ("scrape_configs[job_name=api].basic_auth.password", MASK, MASK)
    assert f"-    password: {MASK}\n+    password: {MASK}\n" in found.files[0].text
    assert "hunter" not in json.dumps(found.to_dict()) + str(found) + repr(found)


def test_secrets_are_masked_in_added_and_removed_files() -> None:
    found = diff_bundles({"a.yml": PROMETHEUS}, {"b.yml": PROMETHEUS}, old_label="x", new_label="y")

    assert [(each.name, each.kind) for each in found.files] == [("a.yml", "removed"), ("b.yml", "added")]
    assert "hunter" not in json.dumps(found.to_dict()) + str(found) + repr(found)


def test_the_secret_of_an_added_job_is_masked() -> None:
    found = diff(b"scrape_configs: []\n", PROMETHEUS)

    assert "hunter" not in json.dumps(found.to_dict()) + str(found)


def test_a_plain_change_has_a_repr_without_values() -> None:
    (found,) = differences({"password": "hunter2"}, {"password": "hunter3"})

    assert repr(found) == "<changed password>"


def test_binary_files_are_compared_by_size() -> None:
    (changed,) = diff_bundles(
        {"logo.png": b"\x00\xff"}, {"logo.png": b"\x00\xff\xfe"}, old_label="x", new_label="y"
    ).files

    assert (changed.text, changed.changes, changed.note) == ("", None, "not text, 2 to 3 bytes")


@pytest.mark.parametrize(("old", "new"), [(b"\x00\xff", b"text"), (b"text", b"\x00\xff"), (None, b"\x00\xff")])
def test_a_file_that_is_text_on_one_side_only_is_compared_by_size(old: bytes | None, new: bytes) -> None:
    before = {} if old is None else {"logo": old}
    (changed,) = diff_bundles(before, {"logo": new}, old_label="x", new_label="y").files

    assert (changed.text, changed.note) == ("", f"not text, {len(old or b'')} to {len(new)} bytes")


def test_an_added_and_a_removed_file_are_compared_with_nothing() -> None:
    found = diff_bundles({"a.txt": b"1\n"}, {"b.txt": b"2\n"}, old_label="x", new_label="y")

    removed = "--- x/a.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-1\n"
    added = "--- /dev/null\n+++ y/b.txt\n@@ -0,0 +1 @@\n+2\n"
    assert [each.text for each in found.files] == [removed, added]
    assert str(found) == removed + added


def test_a_side_that_cannot_be_parsed_is_compared_as_text() -> None:
    (changed,) = diff(PROMETHEUS, b"a: [\n").files

    assert changed.changes is None
    assert changed.note == "no structural diff: a side cannot be parsed as YAML"
    assert "+a: [" in changed.text


def tagged(tag: str, value: Any) -> Any:
    if isinstance(value, list):
        return [{"(tag)": tag}, *value]
    return {"(tag)": tag, **(value if isinstance(value, dict) else {"text": value})}


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        ("!!binary /w==", "!!binary /g==", (tagged("!!binary", "/w=="), tagged("!!binary", "/g=="))),
        ("a", "!!binary YQ==", ("a", tagged("!!binary", "YQ=="))),
        ("abc", "!own abc", ("abc", tagged("!own", "abc"))),
        ("{a, b}", "!!set {a, b}", ({"a": None, "b": None}, tagged("!!set", {"a": None, "b": None}))),
        ("[1]", "!!omap [1]", ([1], tagged("!!omap", [1]))),
        ("!own {a: 1}", "!other {a: 1}", (tagged("!own", {"a": 1}), tagged("!other", {"a": 1}))),
        ("2001-01-01", "!!timestamp 2001-01-01", ("2001-01-01", tagged("!!timestamp", "2001-01-01"))),
        ("a", "!!int a", ("a", tagged("!!int", "a"))),
        (".nan", "-.inf", (tagged("!!float", ".nan"), tagged("!!float", "-.inf"))),
        ("[{a: 1}]", "[{a: !own 1}]", (1, tagged("!own", "1"))),
        ("{a: 1}", "{!own a: 1}", (1, tagged("key !own", 1))),
        ('!own {"(tag)": x, b: 1}', "1", ({"((tag))": "!own", "(tag)": "x", "b": 1}, 1)),
    ],
)
def test_a_tag_is_shown_where_the_data_does_not_show_it(old: str, new: str, shown: tuple[Any, Any]) -> None:
    (changed,) = diff(f"x: {old}\n".encode(), f"x: {new}\n".encode()).files

    (change,) = changed.changes or ()
    assert (change.old, change.new) == shown
    json.dumps(changed.to_dict(), allow_nan=False, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("old", "new"), [("5", "!!int 5"), ("yes", "!!bool yes"), ("a", "!!str a"), ("{}", "!!map {}")]
)
def test_a_tag_that_says_what_the_data_says_is_no_change(old: str, new: str) -> None:
    (changed,) = diff(f"x: {old}\n".encode(), f"x: {new}\n".encode()).files

    assert changed.changes == ()


def test_the_change_of_a_key_that_is_not_utf8_is_shown() -> None:
    (changed,) = diff(b"{? !!binary /w== : 1}\n", b"{? !!binary /g== : 1}\n").files

    assert [(each.kind, each.path) for each in changed.changes or ()] == [
        ("removed", r'["\\xff"]'),
        ("added", r'["\\xfe"]'),
    ]


@pytest.mark.parametrize(
    "secret",
    ["!hunter2", "!!hunter2", "!hunter2 xyz", "!own hunter2", "!!binary hunter2=", "{a: !hunter2 }", "[!hunter2 xyz]"],
)
@pytest.mark.parametrize(
    "form", ["password: {}", "{{password: {} }}", "x: [{{name: api-key, value: {} }}]", "x: {{api_key: {} }}"]
)
def test_a_tag_never_shows_a_secret(secret: str, form: str) -> None:
    for old, new in (("1", secret), (secret, "1")):
        found = diff(form.format(old).encode(), form.format(new).encode())

        assert found.files[0].changes
        assert "hunter2" not in json.dumps([each.to_dict() for each in found.files[0].changes])


def test_an_ini_file_is_compared_by_sections() -> None:
    (changed,) = diff(b"[server]\nhttp_port = 3000\n", b"# port\n[server]\nhttp_port = 3001\n", "grafana.ini").files

    assert [change.to_dict() for change in changed.changes or ()] == [
        {"kind": "changed", "path": "server.http_port", "old": "3000", "new": "3001"}
    ]


def test_a_diff_converts_to_json() -> None:
    found = diff(PROMETHEUS, PROMETHEUS.replace(b"15s", b"30s"))

    change = {"kind": "changed", "path": "global.scrape_interval", "old": "15s", "new": "30s"}
    name, text = "prometheus.yml", found.files[0].text
    assert json.loads(json.dumps(found.to_dict())) == {
        "old": "staging#1",
        "new": "staging#2",
        "files": [{"name": name, "kind": "changed", "text": text, "changes": [change], "note": None}],
    }


# ------------------------------------------------------------------------------------------------ text


def patched(old: str, diff: str) -> str:
    """`old` after a unified diff, as patch(1) would apply it."""
    *lines, _ = old.split("\n") if old.endswith("\n") else (*old.split("\n"), "")
    result, at = [], 0
    for line in diff.split("\n")[2:-1]:
        if line.startswith("@@"):
            start, _, length = line.split(" ")[1][1:].partition(",")
            first = int(start) - (length != "0")
            result += lines[at:first]
            at = first
        elif line.startswith("+"):
            result.append(line[1:])
        elif line.startswith("\\"):
            continue
        else:
            assert lines[at] == line[1:]
            result += [line[1:]] if line.startswith(" ") else []
            at += 1
    return "\n".join(result + lines[at:])


lines = st.lists(st.sampled_from(["a", "b", "c", "", "d e"]), max_size=40).map("\n".join)


@given(lines, lines)
def test_the_unified_diff_can_be_applied(old: str, new: str) -> None:
    old, new = old + "\n", new + "\n"
    found = unified_diff(old, new, old_label="a", new_label="b")

    assert (found == "") == (old == new)
    if found:
        assert patched(old, found) == new.removesuffix("\n")


def test_a_change_has_three_lines_of_context_on_each_side() -> None:
    old = "".join(f"{number}\n" for number in range(1, 10))

    assert unified_diff(old, old.replace("5", "five"), old_label="x", new_label="y") == (
        "--- x/x\n+++ y/x\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n"
    )


@pytest.mark.parametrize(("between", "hunks"), [(6, 1), (7, 2)])
def test_changes_are_shown_together_if_their_contexts_touch(between: int, hunks: int) -> None:
    same = "".join(f"{number}\n" for number in range(between))

    found = unified_diff(f"a\n{same}b\n", f"A\n{same}B\n", old_label="x", new_label="y")

    assert found.count("@@ -") == hunks
    assert patched(f"a\n{same}b\n", found) == f"A\n{same}B"


def test_a_line_of_two_thousand_characters_is_shown_whole() -> None:
    found = unified_diff("", "a" * 2_000 + "\n" + "b" * 2_001 + "\n", old_label="x", new_label="y")

    assert found.endswith("+" + "a" * 2_000 + "\n+" + "b" * 2_000 + "... (1 characters more)\n")


def test_a_missing_newline_at_the_end_is_shown() -> None:
    assert unified_diff("a\nb\n", "a\nb", old_label="x", new_label="y") == (
        "--- x/x\n+++ y/x\n@@ -1,2 +1,2 @@\n a\n-b\n+b\n\\ No newline at end of file\n"
    )


def test_a_long_text_diff_is_cut_with_a_note() -> None:
    found = unified_diff("", "x\n" * 20_000, old_label="a", new_label="b")

    assert len(found.split("\n")) == MAX_LINES + 2
    assert found.endswith(f"... shortened to {MAX_LINES} lines\n")


def test_a_long_line_is_masked_before_it_is_cut() -> None:
    secret = "https://hooks.slack.com/services/T0/B0/XYZ"
    found = unified_diff("", "y" * 1_975 + secret + "z" * 3_000 + "\n", old_label="a", new_label="b")

    assert "characters more)" in found
    assert "T0/" not in found


def test_a_long_structural_diff_is_cut_with_a_note() -> None:
    new = json.dumps({f"k{n}": n for n in range(MAX_CHANGES + 10)}).encode()

    (changed,) = diff(b"{}", new, "a.json").files

    assert len(changed.changes or ()) == MAX_CHANGES
    assert changed.note == f"shortened to {MAX_CHANGES} changes"
