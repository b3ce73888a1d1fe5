"""The small languages inside configurations."""

import json
import shutil
import subprocess

import pytest

from apm_s3.validators._decoding import Mismatch
from apm_s3.validators._query.gotemplate import template_problem
from apm_s3.validators._query.values import (
    is_label_name,
    is_label_template,
    parse_duration,
    parse_go_duration,
    parse_size,
    parse_url,
    regex_error,
    regex_message,
)
from apm_s3.validators._tools.prometheus.discovery import field_selector_problem, label_selector_problem

MS = 10**6


@pytest.mark.parametrize(
    ("text", "ms"), [("0", 0), ("1h30m", 5_400_000), ("1y2w3d4h5m6s7ms", 33_019_506_007), ("0s", 0)]
)
def test_a_duration_is_parsed(text, ms):
    assert parse_duration(text) == ms * MS


@pytest.mark.parametrize("text", ["", "5", "1.5s", "-1s", "1m1h", "1s1s", "1 s", "s", "300y", "1m" + "0" * 90 + "s"])
def test_an_invalid_duration_is_refused(text):
    with pytest.raises(Mismatch):
        parse_duration(text)


@pytest.mark.parametrize(("text", "ns"), [("0", 0), ("1.5h", 5400 * 10**9), ("-1m30s", -90 * 10**9), ("1us2ns", 1002)])
def test_a_go_duration_is_parsed(text, ns):
    assert parse_go_duration(text) == ns


@pytest.mark.parametrize("text", ["", "5", "1d", ".s", "1h-1m", "s"])
def test_an_invalid_go_duration_is_refused(text):
    with pytest.raises(Mismatch):
        parse_go_duration(text)


@pytest.mark.parametrize(("text", "size"), [("0", 0), ("10B", 10), ("1.5KB", 1536), ("1GiB500MiB", 1_598_029_824)])
def test_a_size_is_parsed(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "10", "1kb", "MB", "1XB", "1KiB1KB", "9EB9EB"])
def test_an_invalid_size_is_refused(text):
    with pytest.raises(Mismatch):
        parse_size(text)


@pytest.mark.parametrize(
    "text",
    ["", "http://a:90/b?c#d", "a/b", "//a", "mailto:x", "http://[::1]:80", "http://u:p@h", "http://a%C3", "1a"],
)
def test_a_url_that_go_accepts_is_accepted(text):
    parse_url(text)


@pytest.mark.parametrize(
    "text",
    [
        ":",
        "a_:b",
        "1:2",
        "http://a:b",
        "http://[::1",
        "http://a b",
        "http://a%zz",
        "http://a/%zz",
        "a\nb",
        "http://u^@h",
        "http://a#%",
    ],
)
def test_a_url_that_go_refuses_is_refused(text):
    with pytest.raises(Mismatch):
        parse_url(text)


@pytest.mark.parametrize("text", [".*", "a)(b", r"\pN+", "(?P<x>a)", "(?i)a", r"\Qa.b\E"])
def test_patterns_that_re2_accepts_are_accepted(text):
    assert regex_error(text) is None


@pytest.mark.parametrize("text", ["(", "a(?=b)", r"(a)\1", "a{1001}", "*", r"\Z", r"\C", "a" * 300_000])
def test_patterns_that_re2_refuses_are_refused(text):
    assert regex_error(text)


def test_a_message_about_a_long_regular_expression_is_short():
    assert len(regex_message(regex_error("(" + "a" * 10_000))) < 400


def test_label_names_may_be_utf8_except_in_legacy_mode():
    assert is_label_name("a-é")
    assert not is_label_name("")
    assert not is_label_name("a-b", legacy=True)
    assert is_label_template("a_${1}_$b", legacy=True)
    assert not is_label_template("a-$1", legacy=True)


@pytest.mark.parametrize(
    "text",
    [
        "no template }}",
        "{{ .Labels.x | upper | printf `%s` }}",
        "{{- /* comment */ -}}",
        "{{ if and .A (not .B) }}a{{ else if eq .C 1 }}b{{ else }}c{{ end }}",
        "{{ range $i, $e := .X }}{{ if $i }}{{ break }}{{ end }}{{ $e }}{{ else }}none{{ end }}",
        '{{ define "t" }}{{ . }}{{ end }}{{ template "t" .A }}{{ block "b" . }}x{{ end }}',
        "{{ with $x := 5 }}{{ $x }}{{ end }}",
        "{{ (index .A 'a').b }} {{ -1.5e3 }} {{ 0x1F }} {{ true }} {{ printf \"%q\\n\" $v }}",
        "{{\n.A\n}}",
    ],
)
def test_a_go_template_is_accepted(text):
    assert template_problem(text, {"upper"}, ["$v"]) is None


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("{{ foo }}", 3),
        ("{{ $x }}", 3),
        ("{{ if .A }}", 11),
        ("{{ end }}", 3),
        ("{{ .A", 5),
        ("{{ .A } }", 6),
        ('{{ "a }}', 3),
        ("{{ (.A }}", 7),
        ("{{ .A) }}", 5),
        ("{{ }}", 3),
        ("{{ 1 | 2 }}", 7),
        ("{{ 1a }}", 3),
        ("{{ break }}", 3),
        ("{{ nil.x }}", 3),
        ("{{ template t }}", 12),
        ('{{ define "a" }}x{{ end }}{{ define "a" }}y{{ end }}', 46),
        ("{{ if .A }}{{ else }}{{ else }}{{ end }}", 24),
        ("{{ $a, $b := .X }}", 3),
        ('{{ "\\x" }}', 3),
        ('{{ define "a" }}{{ $v }}{{ end }}', 19),
        ("{{ if .A }}" * 150, None),
        ("{{ " + "(" * 5000, None),
    ],
)
def test_an_invalid_go_template_is_refused_at_its_offset(text, offset):
    found = template_problem(text, {"upper"}, ["$v"])

    assert found is not None
    assert offset is None or found[1] == offset


@pytest.mark.parametrize("text", ["", "a", "!a", "a=b,c!=d", "a in (b, c),d notin ()", "x.io/a==", "n>5"])
def test_a_label_selector_is_accepted(text):
    assert label_selector_problem(text) is None


@pytest.mark.parametrize("text", ["a in b", "=b", "a=b c", "a,", "a=b,,c", "a=-", "a in (b", "n>x", "a b", "-a"])
def test_an_invalid_label_selector_is_refused(text):
    assert label_selector_problem(text)


@pytest.mark.parametrize(("text", "good"), [("", True), ("a=b,c!=d,e==", True), ("a", False), ("a.b-c", False)])
def test_field_selectors_are_checked(text, good):
    assert (field_selector_problem(text) is None) is good


@pytest.mark.parametrize(
    "text", ["{{ $labels.a }}", "{{- $value|f -}}", "{{ $ | f }}", "{{$labels.a.b}}}", "{ {{ $value }} }"]
)
def test_a_plain_template_action_is_accepted(text):
    text = text.replace("{{-", "{{- ").replace("-}}", " -}}")

    assert template_problem(text, ("f",), ("$labels", "$value")) is None


@pytest.mark.parametrize(
    "text",
    [
        *("{{{ $value }}", "{{ $nope }}", "{{ $value | g }}", "{{ $value | f | g }}", "{{ $value }", "{{ $labels. }}"),
        *("{{ $value.1 }}", "{{ $value }}{{ end }}", "{{ if $value }}{{ $value }}"),
    ],
)
def test_text_that_only_resembles_a_plain_action_is_refused(text):
    assert template_problem(text, ("f",), ("$labels", "$value")) is not None


GOOD_LITERALS = [
    *("0o17", "0x1p3", "1+2i", "-1-2i", "1e5+2i", "1+2e5i", "1e-5i", "1i", "0i", "089i", "07", "0_7", "1_000", "0b11"),
    *("0b1", "0X1F", "1.", ".5", "1e+5", "089.5", "0x1p1_0", "18446744073709551615", "-9223372036854775808", "1_0.5"),
    *("'a'", "'\\''", "'\\377'", "'\\uffff'", "'\\U0010ffff'", '"\\xff"', '"\\ue000"'),
]
BAD_LITERALS = [
    *("089", "08", "-08", "1e400", "1e400i", "99999999999999999999", "0xFFFFFFFFFFFFFFFFF", "-9223372036854775809"),
    *("+18446744073709551615", "1__0", "1_", "0x", "0b12", "0x1.8", "0x1i", "0x1p5000", "1+2", "1+", "1+2i3", "1i2"),
    *("'ab'", "''", "'\\400'", "'\\ud800'", "'\\U00110000'", "'\\U0000d800'", '"\\400"', '"\\udfff"', "'\\x4'"),
]


@pytest.mark.parametrize("literal", GOOD_LITERALS)
def test_a_literal_that_go_accepts_is_accepted_in_a_template(literal):
    assert template_problem(f"{{{{ {literal} }}}}", {}) is None


@pytest.mark.parametrize("literal", BAD_LITERALS)
def test_a_literal_that_go_refuses_is_refused_in_a_template(literal):
    assert template_problem(f"{{{{ {literal} }}}}", {}) is not None


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_literals_in_templates_get_the_verdict_of_promtool(tmp_path):
    for literal in (*GOOD_LITERALS, *BAD_LITERALS):
        labels = {"a": f"{{{{ {literal} }}}}"}
        rule = {"alert": "A", "expr": "up", "labels": labels}
        (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "g", "rules": [rule]}]}))
        command = ["promtool", "check", "rules", "--lint=none", str(tmp_path / "rules.yml")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (done.returncode == 0) == (literal in GOOD_LITERALS), (literal, done.stderr)
