"""Overlays: the changes of an environment are explicit, and everything else keeps its bytes."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from apm_s3.errors import ConfigInvalid
from apm_s3.validators import parse_document
from tests.seams.content import OVERLAY, apply_overlay, base_files, is_reserved, load, serialise

PROMETHEUS = b"""\
# kept
global:
  scrape_interval: 15s  # twice a minute would do
  external_labels: {cluster: "${CLUSTER}", region: 'x'}

# the jobs
scrape_configs:
  # machines
  - job_name: node  # all of them
    scrape_interval: 10s
    params: {version: [010, 1.10, yes]}
  - job_name: debug
    relabel_configs:
      - {target_label: a, replacement: "${1}-$2"}
"""
RULES = b"groups: []  # none yet\n"
GRAFANA = b"""\
; kept
app_mode = production

[server]
# the port
http_port = 3000 ; usual
domain = example.com
;protocol = https

# where it is stored
[database]
type = sqlite3

[auth.google]
enabled = false
"""


def overlaid(files: dict[str, bytes], overlay: str, **variables: str) -> dict[str, bytes]:
    return dict(apply_overlay(files, overlay.encode(), variables).files)


def patched(base: Any, patch: Any) -> Any:
    overlay = yaml.safe_dump({"files": {"a.json": patch}}).encode()
    return json.loads(apply_overlay({"a.json": json.dumps(base).encode()}, overlay).files["a.json"])


def test_without_an_overlay_nothing_changes() -> None:
    files = {"prometheus.yml": PROMETHEUS, "rules/a.yml": RULES}

    assert apply_overlay(files, None).files == files
    assert apply_overlay(files, b"").files == files


def test_a_file_without_a_patch_keeps_every_byte() -> None:
    odd = b"\xff\xfe\x00binary ${CLUSTER}"
    files = {"prometheus.yml": PROMETHEUS, "rules/a.yml": RULES, "logo.png": odd}

    applied = apply_overlay(files, b"files: {prometheus.yml: {global: {scrape_interval: 30s}}}\n")

    assert applied.files["rules/a.yml"] == RULES
    assert applied.files["logo.png"] == odd
    assert [each.name for each in applied.touched] == ["prometheus.yml"]


@pytest.mark.parametrize(
    ("base", "patch", "result"),
    [
        # The examples of RFC 7396, appendix A, as far as both sides are mappings.
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_mappings_are_merged_as_in_rfc_7396(base: Any, patch: Any, result: Any) -> None:
    assert patched(base, patch) == result


def test_named_items_are_matched_by_name() -> None:
    base = {"jobs": [{"name": "a", "x": 1}, {"name": "b", "x": 2}, {"name": "c"}]}
    patch = {"jobs": [{"name": "c", "$patch": "delete"}, {"name": "b", "y": 3, "x": None}, {"name": "d"}]}

    assert patched(base, patch) == {"jobs": [{"name": "a", "x": 1}, {"name": "b", "y": 3}, {"name": "d"}]}


def test_an_overlay_may_add_thousands_of_items() -> None:
    """For each, all values of the file were searched for the end of the list: minutes."""
    base, patch = ("".join(f"    - {{name: {side}{number}}}\n" for number in range(12_000)) for side in "ab")

    result = apply_overlay({"a.yml": f"x:\n{base}".encode()}, f"files:\n  a.yml:\n    x:\n{patch}".encode())

    assert len(parse_document(result.files["a.yml"], "yaml")["x"]) == 24_000


def test_a_patched_text_keeps_comments_layout_and_strings_that_look_like_numbers() -> None:
    patch = """
variables: {CLUSTER: eu-1}
files:
  prometheus.yml:
    global: {scrape_interval: 1m, external_labels: {cluster: "${CLUSTER}"}, evaluation_interval: 1m}
    scrape_configs:
    - {job_name: node, scrape_interval: 30s, sample_limit: 10}
    - {job_name: api, static_configs: [{targets: ["a:1"]}]}
    rule_files: [rules/*.yml]
"""
    assert (
        overlaid({"prometheus.yml": PROMETHEUS}, patch)["prometheus.yml"].decode()
        == """\
# kept
global:
  scrape_interval: 1m  # twice a minute would do
  external_labels: {cluster: "eu-1", region: 'x'}
  evaluation_interval: 1m

# the jobs
scrape_configs:
  # machines
  - job_name: node  # all of them
    scrape_interval: 30s
    params: {version: [010, 1.10, yes]}
    sample_limit: 10
  - job_name: debug
    relabel_configs:
      - {target_label: a, replacement: "${1}-$2"}
  - job_name: api
    static_configs:
    - targets:
      - a:1
rule_files:
- rules/*.yml
"""
    )


def test_rewriting_a_section_keeps_the_comments_of_the_others() -> None:
    applied = apply_overlay(
        {"prometheus.yml": PROMETHEUS},
        b"files: {prometheus.yml: {scrape_configs: [{job_name: debug, $patch: delete}]}}",
    )
    text = applied.files["prometheus.yml"].decode()

    assert text.startswith(PROMETHEUS[: PROMETHEUS.index(b"scrape_configs")].decode())
    assert text.endswith(
        "- job_name: node\n  scrape_interval: 10s\n  params:\n    version:\n    - 010\n    - 1.10\n    - yes\n"
    )
    assert applied.touched[0].comments_lost == 2


def test_an_ini_file_keeps_its_comments() -> None:
    patch = """
files:
  grafana.ini:
    app_mode: development
    server: {http_port: 80, domain: null, root_url: "https://a/#b"}
    auth: {google: {enabled: true}}
    smtp: {enabled: yes}
"""
    applied = apply_overlay({"grafana.ini": GRAFANA}, patch.encode())

    assert (
        applied.files["grafana.ini"].decode()
        == """\
; kept
app_mode = development

[server]
# the port
http_port = 80 ; usual
root_url = `https://a/#b`
;protocol = https

# where it is stored
[database]
type = sqlite3

[auth.google]
enabled = true

[smtp]
enabled = yes
"""
    )
    assert applied.touched[0].comments_lost == 0


def test_a_number_in_an_overlay_remains_a_number_in_json() -> None:
    patch = "variables: {N: '5'}\nfiles:\n  a.json:\n    n: 7\n    t: '7'\n    b: true\n    m: ${N}\n"

    assert json.loads(overlaid({"a.json": b"{}"}, patch)["a.json"]) == {"n": 7, "t": "7", "b": True, "m": 5}


def test_a_json_file_keeps_its_layout_if_only_values_change() -> None:
    assert overlaid({"a.json": b'{"a":  1,\n\t"b": [2]}'}, "files: {a.json: {a: 3}}") == {
        "a.json": b'{"a":  3,\n\t"b": [2]}'
    }


def test_a_null_removes_a_file_and_a_patch_without_a_base_creates_one() -> None:
    files = overlaid(
        {"prometheus.yml": PROMETHEUS, "rules/a.yml": RULES}, "files: {rules/a.yml: null, rules/b.yml: {groups: []}}"
    )

    assert files == {"prometheus.yml": PROMETHEUS, "rules/b.yml": b"groups: []\n"}


# ------------------------------------------------------------------------------------------------ variables


def test_declared_variables_are_replaced_in_every_text() -> None:
    files = {"prometheus.yml": PROMETHEUS, "mail.tmpl": b"from ${CLUSTER}, $CLUSTER, ${OTHER}\n"}

    result = overlaid(files, "variables: [CLUSTER]\n", CLUSTER="eu-1")

    assert result["mail.tmpl"] == b"from eu-1, $CLUSTER, ${OTHER}\n"
    assert result["prometheus.yml"] == PROMETHEUS.replace(b"${CLUSTER}", b"eu-1")
    assert b"${1}-$2" in result["prometheus.yml"]


def test_without_a_declaration_nothing_is_replaced() -> None:
    assert overlaid({"prometheus.yml": PROMETHEUS}, "files: {}\n", CLUSTER="eu-1") == {"prometheus.yml": PROMETHEUS}


def test_a_given_value_overrides_the_default() -> None:
    assert overlaid({"a.txt": b"${X}"}, "variables: {X: a}\n", X="b") == {"a.txt": b"b"}


def test_a_declared_variable_without_a_value_is_an_error() -> None:
    with pytest.raises(ConfigInvalid, match="CLUSTER: this variable has no value"):
        overlaid({"prometheus.yml": PROMETHEUS}, "variables: {CLUSTER: null}\n")


@pytest.mark.parametrize("value", ["a: b", "x #y", "a, b: c", '"', "[", "}, x: {y"])
def test_a_value_that_would_change_the_structure_is_refused_without_being_shown(value: str) -> None:
    base = {"a.yml": b"x: ${V}\ny: {z: ${V}}\n"}

    with pytest.raises(ConfigInvalid) as refused:
        overlaid(base, "variables: [V]\n", V=value)

    assert f"'{value}'" not in str(refused.value)


def test_a_value_of_several_lines_is_refused() -> None:
    with pytest.raises(ConfigInvalid, match="one line"):
        overlaid({"a.yml": b"x: ${V}\n"}, "variables: [V]\n", V="a\nb: c")


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        ("- a", "an overlay must be a mapping"),
        ("file: {}", "unknown key"),
        ("a: [", "cannot be parsed"),
        ("files: {a.yml: 3}", "a patch must be a mapping, or null"),
        ("files: {mail.tmpl: {a: 1}}", "only YAML, JSON and INI"),
        ("files: {../x: {a: 1}}", "this is not a valid file name"),
        ("files: {.apm/overlay.yml: {a: 1}}", "reserved"),
        ("files: {a.yml: {$patch: delete}}", "is only allowed in an item"),
        ("files: {a.yml: {l: [{$patch: delete, value: 1}]}}", "whose items all have unique names"),
        ("files: {a.yml: {l: [{$patch: replace, name: x}]}}", "the only $patch is 'delete'"),
        ("variables: {a-b: 1}", "this is not a valid variable name"),
        ("files: {grafana.ini: {s: {k: [1]}}}", "is a list"),
        ("files: {rules.yml: {rules: [{alert: A, for: 1m}]}}", "several items have this name"),
        ("files: {list.yml: {a: 1}}", "is not a mapping"),
    ],
)  # fmt: skip
def test_an_invalid_overlay_is_refused(overlay: str, message: str) -> None:
    files = {
        "a.yml": b"l: []\n", "mail.tmpl": b"x", "grafana.ini": b"[s]\nk = v\n", "list.yml": b"- a\n",
        "rules.yml": b"rules: [{alert: A}, {alert: A}]\n",
    }  # fmt: skip

    with pytest.raises(ConfigInvalid) as refused:
        overlaid(files, overlay)

    assert message in str(refused.value)
    assert refused.value.report.issues[0].rule == "overlay"


def test_a_base_that_cannot_be_parsed_is_refused() -> None:
    with pytest.raises(ConfigInvalid, match=r"a\.yml: it cannot be parsed"):
        overlaid({"a.yml": b"x: [\n"}, "files: {a.yml: {a: 1}}")


# ------------------------------------------------------------------------------------------------ onward


def test_the_base_can_be_recovered_from_the_files_of_a_release() -> None:
    base = {"prometheus.yml": PROMETHEUS, "rules/a.yml": RULES, "rules/b.yml": RULES}
    overlay = b"variables: {CLUSTER: eu-1}\nfiles: {rules/a.yml: null, rules/c.yml: {groups: []}}\n"

    release = apply_overlay(base, overlay).release_files()

    assert release[OVERLAY] == overlay
    assert release["rules/b.yml"] == RULES
    assert b"eu-1" in release["prometheus.yml"]
    assert base_files(release) == base


def test_names_of_bases_do_not_depend_on_contents() -> None:
    names = [
        list(apply_overlay({"a.yml": f"password: {pin}\nx: ${{V}}\n".encode()}, b"variables: {V: y}\n").release_files())
        for pin in (4711, 4712)
    ]

    assert names[0] == names[1]


def test_bases_under_their_old_names_are_recovered() -> None:
    result = b"x: y\n"
    tag = hashlib.sha256(result).hexdigest()[:16]
    old = {
        "a.yml": result,
        f".apm/base/{tag}/a.yml": b"x: ${V}\n",
        "b.yml": result,
        f".apm/absent/{tag}/b.yml": b"",
        ".apm/base/removed/c.yml": b"z: 1\n",
        ".apm/base/0123456789abcdef/b.yml": b"not its base\n",
    }

    assert base_files(old) == {"a.yml": b"x: ${V}\n", "c.yml": b"z: 1\n"}


@pytest.mark.parametrize("damage", [b"[]", b"{", b"[" * 100_000, b'{"a.yml": 1}', b'{"a.yml": {"result": null}}'])
def test_damaged_results_leave_the_files_as_they_are(damage: bytes) -> None:
    release = {**apply_overlay({"a.yml": b"x: ${V}\n"}, b"variables: {V: y}\n").release_files()}

    assert base_files({**release, ".apm/results.json": damage}) == {"a.yml": b"x: y\n"}


def test_a_base_that_is_missing_removes_no_file() -> None:
    release = apply_overlay({"a.yml": b"x: ${V}\n"}, b"variables: {V: y}\n").release_files()
    del release[".apm/bases/a.yml"]

    assert base_files(release) == {"a.yml": b"x: y\n"}


def test_a_manually_replaced_file_becomes_its_own_base() -> None:
    release = apply_overlay({"a.yml": b"x: ${V}\n"}, b"variables: {V: y}\n").release_files()

    assert base_files({**release, "a.yml": b"x: by hand\n"}) == {"a.yml": b"x: by hand\n"}


def test_a_removed_file_that_was_restored_manually_becomes_its_own_base() -> None:
    release = apply_overlay({"a.yml": b"x: 1\n"}, b"files: {a.yml: null}\n").release_files()

    assert base_files({**release, "a.yml": b"x: by hand\n"}) == {"a.yml": b"x: by hand\n"}


def test_only_names_below_the_reserved_folder_are_reserved() -> None:
    assert is_reserved(OVERLAY)
    assert not is_reserved("apm/overlay.yml")


# ------------------------------------------------------------------------------------------------ properties

keys = st.sampled_from(["a", "b", "c", "x y"])
scalars = (
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "t", "1", "yes", "a: b", "l1\nl2\n", "é"])
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(keys, inner, max_size=3)
        | st.lists(st.tuples(st.sampled_from("pqr"), inner), max_size=3, unique_by=lambda pair: pair[0]).map(
            lambda pairs: [{"name": name, "v": value} for name, value in pairs]
        )
    ),
    max_leaves=12,
)  # fmt: skip
mappings = st.dictionaries(keys, values, max_size=4)


def merge(base: Any, patch: Any) -> Any:
    """The same, the simple way."""
    if isinstance(patch, list):
        named = [isinstance(item, dict) and "name" in item for item in patch]
        old = base if isinstance(base, list) else []
        both = [*old, *patch]
        if both and all(isinstance(item, dict) and isinstance(item.get("name"), str) for item in both) and all(named):
            found = {item["name"]: item for item in old}
            for item in patch:
                found[item["name"]] = merge(found.get(item["name"]), item)
            return list(found.values())
        distinct = all(named) and len({str(item["name"]) for item in patch}) == len(patch)
        return [merge(None, item) for item in patch] if patch and distinct else patch
    if not isinstance(patch, dict):
        return patch
    result = dict(base) if isinstance(base, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


NESTED = [[{"name": "p", "v": None}], [{"name": "p", "v": None}], None]


@pytest.mark.parametrize("name", ["a.yml", "a.json"])
@example(base={"a": [[{"name": "p"}, {"name": "q"}]]}, patch={"a": [[{"name": "q"}, {"name": "p"}]]})
@example(base={"x y": [NESTED]}, patch={"x y": [[NESTED[0], [{"name": "q", "v": None}, NESTED[0][0]], None]]})
@given(base=mappings, patch=mappings)
def test_patching_a_text_equals_merging_its_data(name: str, base: dict, patch: dict) -> None:
    overlay = serialise({"files": {name: patch}}, OVERLAY)

    result = apply_overlay({name: serialise(base, name)}, overlay).files[name]

    assert parse_document(result, "yaml" if name == "a.yml" else "json") == merge(base, patch)


@example(base={"a": [{"name": "p", "v": []}]}, patch={"b": []}, indent="", flow=False)
@given(base=mappings, patch=mappings, indent=st.sampled_from(["# c\n", "", "\n\n"]), flow=st.booleans())
def test_comments_between_sections_survive_patches_of_other_sections(
    base: dict, patch: dict, indent: str, flow: bool
) -> None:
    text = (
        indent
        + "first: {k: 1}  # one\n# two\n"
        + ("z: " + yaml.safe_dump(base, default_flow_style=True) if flow else yaml.safe_dump({"z": base}))
    )
    overlay = serialise({"files": {"a.yml": {"z": patch}}}, OVERLAY)

    result = apply_overlay({"a.yml": text.encode()}, overlay).files["a.yml"].decode()

    assert load(result.encode(), "yaml")["first"] == load(text.encode(), "yaml")["first"]
    assert result.startswith(indent + "first: {k: 1}  # one\n# two\n")


@given(
    base=st.dictionaries(
        st.sampled_from("ab"),
        st.dictionaries(st.sampled_from("xyz"), st.sampled_from(["1", "", "a b", "#"]), max_size=3),
        max_size=2,
    ),
    patch=st.dictionaries(
        st.sampled_from("abc"),
        st.none() | st.dictionaries(st.sampled_from("wxyz"), st.none() | st.sampled_from(["2", "", "; c"]), max_size=3),
        max_size=3,
    ),
)
def test_patching_an_ini_file_equals_merging_its_data(base: dict, patch: dict) -> None:
    raw = serialise(base, "grafana.ini").replace(b"]\n", b"]\n# one\n").replace(b"\n\n", b"\n; two\n\n")
    overlay = serialise({"files": {"grafana.ini": patch}}, OVERLAY)

    result = apply_overlay({"grafana.ini": raw}, overlay).files["grafana.ini"]

    assert {key: value for key, value in parse_document(result, "ini").items() if value} == {
        key: value for key, value in merge(base, patch).items() if value
    }


@given(base=mappings)
def test_an_empty_patch_keeps_every_byte(base: dict) -> None:
    raw = serialise(base, "a.yml")

    assert apply_overlay({"a.yml": raw}, b"files: {a.yml: {}}\n").files["a.yml"] == raw


@example(base={"a": [None]}, patch={"a": [{"name": "p", "v": None}]})
@given(base=mappings, patch=mappings)
def test_applying_a_patch_twice_equals_applying_it_once(base: dict, patch: dict) -> None:
    overlay = serialise({"files": {"a.yml": patch}}, OVERLAY)
    once = apply_overlay({"a.yml": serialise(base, "a.yml")}, overlay).files

    assert apply_overlay(once, overlay).files == once
