"""Decoding by the target's type, as Go's YAML libraries do it."""

import pytest

from apm_s3.validators._checking import Context
from apm_s3.validators._decoding import INVALID, Mismatch, Schema
from apm_s3.validators._reading.documents import read_document

TABLE = {
    "t.Root": {
        "text": "string", "flag": "bool", "count": "int", "small": "uint16", "ratio": "float64", "texts": "[]string",
        "map": "{}string", "child": "t.Child", "children": "[]t.Child", "size": "int64:t.Size", "free": "any",
    },
    "t.Child": {"name": "string"},
}  # fmt: skip


def parse_even(text):
    if not text.endswith("0"):
        raise Mismatch("even", "must end in 0")
    return int(text, 0)


def decode(text, yaml=2, table=TABLE, **options):
    context = Context(options.pop("target", None))
    schema = Schema({"types": table}, scalars={"t.Size": parse_even}, yaml=yaml, **options)
    root = read_document(text, "yaml", library=f"v{yaml}").root
    return schema.decode("t.Root", root, context), context.report("x", "y", None).issues


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("text: 010", "text", "010"),
        ("text: 17:00", "text", "17:00"),
        ("text: true", "text", "true"),
        ("text: ~", "text", ""),
        ("text: !!binary aGk=", "text", "hi"),
        ("flag: yes", "flag", True),
        ("flag: n", "flag", False),
        ("count: 0o10", "count", 8),
        ("count: 1.9", "count", 1),
        ("count: -0x10", "count", -16),
        ("count: ~", "count", 0),
        ("ratio: 5", "ratio", 5.0),
        ("texts:", "texts", None),
        ("texts: [1, ~, x]", "texts", ["1", "", "x"]),
        ("map: {1: 2}", "map", {"1": "2"}),
        ("child:", "child", None),
        ("size: 0x10", "size", 16),
        ("free: {a: [1, x]}", "free", {"a": [1, "x"]}),
    ],
)
def test_a_value_is_converted_to_the_type_of_its_field(text, name, value):
    root, issues = decode(text)

    assert issues == ()
    assert root.get(name) == value


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("count: '80'", "wrong-type"),
        ("count: x", "wrong-type"),
        ("count: .inf", "wrong-type"),
        ("count: 99999999999999999999", "wrong-type"),
        ("small: 65536", "out-of-range"),
        ("flag: 'true'", "wrong-type"),
        ("flag: 1", "wrong-type"),
        ("text: []", "wrong-type"),
        ("texts: a", "wrong-type"),
        ("map: []", "wrong-type"),
        ("child: ''", "wrong-type"),
        ("children: [x]", "wrong-type"),
        ("size: 5", "even"),
        ("text: !!int x", "yaml-tag"),
        ("text: !!binary '*'", "yaml-tag"),
        ("other: 1", "unknown-field"),
    ],
)
def test_a_value_that_does_not_fit_its_field_is_refused(text, rule):
    _, issues = decode(text)

    assert [issue.rule for issue in issues] == [rule]


def test_an_invalid_document_is_refused():
    assert decode("[]")[0] is INVALID


@pytest.mark.parametrize(("yaml", "value"), [(2, ""), (3, "default")])
def test_null_resets_a_field_in_version_2_and_keeps_the_default_in_version_3(yaml, value):
    assert decode("text: null", yaml=yaml)[0].get("text", "default") == value


@pytest.mark.parametrize(("yaml", "name"), [(2, "below"), (3, "own")])
def test_only_in_version_2_a_merge_key_overrides_earlier_keys(yaml, name):
    text = "children:\n- &base {name: below}\n- name: own\n  <<: *base\n"

    assert decode(text, yaml=yaml)[0].get("children")[1].get("name") == name


def test_in_version_3_quoted_words_are_accepted_as_booleans():
    assert decode("flag: 'on'", yaml=3)[0].get("flag") is True


def test_hooks_run_children_first_with_the_positions_of_their_fields():
    def hook(struct, context):
        struct.error(context, "name", "seen", struct.type)

    _, issues = decode("child:\n  name: x\n", hooks={"t.Child": (hook,), "t.Root": (hook,)})

    assert {(issue.path, issue.line, issue.message) for issue in issues} == {
        ("child.name", 2, "t.Child"),
        ("", 1, "t.Root"),
    }


@pytest.mark.parametrize(("target", "rules"), [(None, []), ((2, 0), []), ((1, 9), ["unknown-field"])])
def test_a_gate_applies_from_its_release_on(target, rules):
    table = {"t.Root": {"text": {"kind": "string", "since": "2.0"}}}

    _, issues = decode("text: x", table=table, target=target)

    assert [issue.rule for issue in issues] == rules


RULES = {
    "types": {
        "t.Root": {
            "name": {"kind": "string", "required": "a root needs a name"},
            "server": {"kind": "string", "required": "the server is empty", "default": "localhost"},
            "mode": {"kind": "string", "what": "kind of root", "values": ["on", "off"], "default": "on"},
            "role": {"kind": "string", "values": ["a", "b"], "values_since": {"b": "2.0"}},
            "roles": {"kind": "[]string", "values": ["a", "b"]},
            "count": {"kind": "int", "above": 0},
            "size": {"kind": "int", "at_least": 2, "at_most": 9},
            "jobs": {"kind": "[]t.Job", "no_nulls": "job"},
            "old": {"kind": "any", "until": "2.0"},
            "one": "string", "two": "string", "three": "string", "level": "string:t.Level",
            "auth": "string", "user": "string", "file": "string",
        },
        "t.Job": {},
    },
    "groups": {
        "t.Root": [
            {"at_most_one": ["one", "two"]},
            {"exactly_one": ["two", "three"], "rule": "auth-exclusive"},
            {"all_of": ["user"], "when": {"auth": ["user"]}, "message": "auth user needs {name}"},
            {"none_of": ["file"], "when": {"auth": ["", "user"]}, "message": "{name} needs auth file"},
        ]
    },
    "words": {"t.Level": {"what": "level", "values": ["info", "warn"], "any_case": True}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("name: ''", [("required-field", "a root needs a name")]),
        ("name: []", [("wrong-type", "expected text, found a list")]),
        ("server: ''", [("required-field", "the server is empty")]),
        ("mode: ''", []),
        ("mode: of", [("enum", "unknown kind of root 'of'; allowed values: on, off")]),
        ("role: ''", [("enum", "unknown role ''; allowed values: a, b")]),
        ("role: b", [("enum", "'b' was added in 2.0, but the target version is 1.9")]),
        ("roles: [a, c]", [("enum", "unknown roles 'c'; allowed values: a, b")]),
        ("roles: [a, [b]]", [("wrong-type", "expected text, found a list")]),
        ("count: 0", [("out-of-range", "count must be above 0")]),
        ("size: 2", []),
        ("size: 9", []),
        ("size: 10", [("out-of-range", "size must be at most 9")]),
        ("size: 1", [("out-of-range", "size must be at least 2")]),
        ("jobs: [{}, ~]", [("null-section", "empty or null job")]),
        ("old: 1", []),
        ("one: a", [("exclusive-fields", "at most one of one, two may be set")]),
        ("three: a", [("auth-exclusive", "at most one of two, three may be set")]),
        ("two: ''", [("required-field", "one of two and three must be set")]),
        ("auth: user", [("required-field", "auth user needs user")]),
        ("auth: file\nfile: a", []),
        ("file: a", [("exclusive-fields", "file needs auth file")]),
        ("level: WARN", []),
        ("level: loud", [("enum", "unknown level 'loud'; allowed values: info, warn")]),
    ],
)
def test_what_a_table_says_of_its_fields_is_checked(text, found):
    field = text.partition(":")[0]
    good = [line for line in ("name: a", "two: b") if line.partition(":")[0] != field]
    context = Context((1, 9))
    root = read_document("\n".join([*good, text]), "yaml", library="v2").root

    Schema(RULES).decode("t.Root", root, context)

    assert [(issue.rule, issue.message) for issue in context.issues] == found


@pytest.mark.parametrize(
    ("target", "rules"), [((1, 9), ["enum"]), ((2, 0), ["unknown-field"]), (None, ["unknown-field"])]
)
def test_a_value_is_added_and_a_field_removed_by_a_release(target, rules):
    context = Context(target)
    root = read_document("name: a\ntwo: b\nrole: b\nold: 1", "yaml", library="v2").root

    Schema(RULES).decode("t.Root", root, context)

    assert [issue.rule for issue in context.issues] == rules


def test_a_removed_field_is_not_suggested_for_a_misspelt_one():
    context = Context()
    root = read_document("name: a\ntwo: b\nold: 1\nolt: 1", "yaml", library="v2").root

    Schema(RULES).decode("t.Root", root, context)

    assert next(issue.message for issue in context.issues if issue.hint is None) == "field 'old' was removed in 2.0"
    assert not any("old" in (issue.hint or "") or ", old" in issue.message for issue in context.issues)
