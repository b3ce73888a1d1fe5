"""The syntax of Go's regular expressions, and what they match: by example, and against google-re2 and promtool."""

import json
import random
import re
import shutil
import subprocess
import unicodedata

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from apm_s3.validators._query.re2 import MAX_LENGTH, Regex, check_re2, parse_re2
from apm_s3.validators._query.re2_match import Program, TooCostly, program_of, same_but_for_case
from apm_s3.validators._query.re2_syntax import _SCRIPTS

REFUSED = {
    "(a": "missing closing ): `(a`",
    "a)": "unexpected ): `a)`",
    "[a": "missing closing ]: `[a`",
    "[[:alpha:]": "missing closing ]: `[[:alpha:]`",
    "x[": "missing closing ]: `[`",
    "[z-a]": "invalid character class range: `z-a`",
    "[[:foo:]]": "invalid character class range: `[:foo:]`",
    "[a-\\d]": "invalid escape sequence: `\\d`",
    "a**": "invalid nested repetition operator: `**`",
    "a*?+": "invalid nested repetition operator: `*?+`",
    "a{2}{3}": "invalid nested repetition operator: `{2}{3}`",
    "*": "missing argument to repetition operator: `*`",
    "a|+?": "missing argument to repetition operator: `+?`",
    "(?i){2}": "missing argument to repetition operator: `{2}`",
    "\\Q\\E*": "missing argument to repetition operator: `*`",
    "a{1001}": "invalid repeat count: `{1001}`",
    "a{2,1}": "invalid repeat count: `{2,1}`",
    "a{99999999999999999999}": "invalid repeat count: `{99999999999999999999}`",
    "(a{100}){11}": "invalid repeat count: `{11}`",
    "((a{2}){3}){167}?": "invalid repeat count: `{167}?`",
    "(?=a)": "invalid or unsupported Perl syntax: `(?=`",
    "(?>a)": "invalid or unsupported Perl syntax: `(?>`",
    "(?P=n)": "invalid or unsupported Perl syntax: `(?P`",
    "(?i": "invalid or unsupported Perl syntax: `(?i`",
    "(?i-)": "invalid or unsupported Perl syntax: `(?i-)`",
    "(?<=a)b": "invalid named capture: `(?<=a)b`",
    "(?<!a)>": "invalid named capture: `(?<!a)>`",
    "(?P<n-1>a)": "invalid named capture: `(?P<n-1>`",
    "a\\": "trailing backslash at end of expression: ``",
    "\\C": "invalid escape sequence: `\\C`",
    "\\1": "invalid escape sequence: `\\1`",
    "\\Z": "invalid escape sequence: `\\Z`",
    "\\xZ1": "invalid escape sequence: `\\xZ1`",
    "\\x{110000}": "invalid escape sequence: `\\x{110000`",
    "\\é": "invalid escape sequence: `\\é`",
    "\\pX": "invalid character class range: `\\pX`",
    "\\p{Greek": "invalid character class range: `\\p{Greek`",
    "\\p{Klingon}": "invalid character class range: `\\p{Klingon}`",
}
TAKEN = [
    *("", "a||b", "()", "(|a)*", "a{,2}", "a{01}", "a{1,", "{", "a{0}", "(a{1000}){0}", "(a{100}){10}", "a{2}?"),
    *("(?P<n>a)", "(?<n>a)", "(?P<n>a)(?P<n>b)", "(?P<1>a)", "(?)", "(?i-s:a)", "a(?i)*", "a*\\Q\\E*", "\\Qa(b"),
    *("[]a]", "[^]a]", "[a-]", "[-a]", "[a-b-c]", "[\\d-z]", "[[:alpha]", "[[:^word:]]", "]", "}"),
    *("\\12", "\\0", "\\x{10FFFF}", "\\_", "\\-", "\\pL", "\\pLC", "\\p{^Greek}", "\\P{^Old_Italic}", "\\p{any}"),
    *("\\p{Uppercase_Letter}", "\\p{greek}", "\\z", "^*", "$+", "\\b*", "(?m)^*", "é+"),
]
UNKNOWN_TO_THE_ORACLE = re.compile(r"\\C|\\[pP](?:[a-z]|\{[^}]*[-a-z])")
"""google-re2 takes `\\C`, a single byte; Go does not. Since Go 1.25, case and `-` in a class's name do not matter to it."""


@pytest.mark.parametrize("pattern", REFUSED)
def test_a_pattern_is_refused_with_the_message_of_go(pattern):
    error = check_re2(pattern)

    assert error is not None
    assert error.message == REFUSED[pattern]


@pytest.mark.parametrize("pattern", TAKEN)
def test_a_pattern_that_go_accepts_is_accepted(pattern):
    assert check_re2(pattern) is None


@pytest.mark.parametrize(
    ("pattern", "offset"),
    [("ab(c", 2), ("a)b", 1), ("ab[c", 2), ("abc+*", 3), ("x|*", 2), ("ab{1001}", 2), ("ab\\y", 2), ("a(b)(c(d", 6)],
)
def test_an_error_has_its_position(pattern, offset):
    assert check_re2(pattern).offset == offset


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        *(("(?!a)", "look-ahead"), ("(?<!a)b", "look-behind"), ("\\1", "back references"), ("a++", "possessive")),
        *(("*.example.com", ".*"), ("(?>a)", "atomic"), ("\\Z", "\\z"), ("C:\\Users", "backslash")),
        *(("[[:num:]]", "alnum"), ("\\p{Klingon}", "Unicode"), ("a\\", "backslash"), ("a{1001}", "1000")),
    ],
)
def test_syntax_from_other_dialects_gets_a_hint(pattern, hint):
    assert hint in check_re2(pattern).hint


def test_a_pattern_is_checked_with_its_anchors_and_reported_as_written():
    assert check_re2("a)(b", "^(?s:", ")$") is None
    assert check_re2("a(", "^(?s:", ")$").message == "missing closing ): `a(`"
    swallowed = check_re2("\\Qa", "^(?s:", ")$")
    assert (swallowed.message, swallowed.offset) == ("missing closing ): `^(?s:\\Qa)$`", 0)


def test_a_pattern_may_be_as_deep_and_large_as_in_go():
    assert check_re2("(" * 999 + "a" + ")" * 999) is None
    assert check_re2("(" * 1000 + "a" + ")" * 1000).message.startswith("expression nests too deeply")
    assert check_re2("(?:" * 2000 + "a" + ")" * 2000) is None
    assert check_re2("a{1000}" * 3000) is None
    assert check_re2("a{1000}" * 3400).message.startswith("expression too large")
    assert check_re2("a" * (MAX_LENGTH + 1)).message == f"longer than {MAX_LENGTH} characters"


@pytest.mark.parametrize(
    "part", ["(", "[[:", "a|", "a{1000}", "(?:a|", "[a]", "\\pL", "x*?", "\\Q", "(?:(?:", "[^", "a{", "(?P<a>", "\\x{1"]
)
def test_a_hostile_pattern_is_read_in_one_pass_and_without_recursion(part):
    pattern = part * 5000

    outcome = parse_re2(pattern)

    assert isinstance(outcome, Regex) or outcome.message


@settings(deadline=None)
@given(st.text(st.sampled_from("ab(){}[]*+?|^$.\\-:,<>=!123pPLQExé\u017f\n"), max_size=25))
def test_any_text_gets_the_verdict_of_google_re2(pattern):
    if not UNKNOWN_TO_THE_ORACLE.search(pattern):
        assert isinstance(parse_re2(pattern), Regex) == (oracle(pattern) is not None)


@settings(deadline=None)
@given(st.text(max_size=25))
def test_no_text_overwhelms_the_checker(pattern):
    error = check_re2(pattern, "^(?:", ")$")

    assert error is None or 0 <= error.offset <= len(pattern)


def test_google_re2_knows_every_name_of_a_script():
    scripts = [name for name in _SCRIPTS.split() if oracle(f"\\p{{{name}}}")]

    assert scripts == _SCRIPTS.split()
    assert len(scripts) > 160


# -- generated patterns

ATOMS = [
    *("a", "b", "ab", "k", "S", "é", "\u00df", ".", "^", "$", "()", "\\n", "\\x61", "\\101", "\\Qa.b\\E", "\\Q\\E"),
    *("\\b", "\\A", "\\z", "\\d", "\\W", "\\S", "\\pL", "\\p{Lu}", "\\PL", "\\p{^Nd}", "\\p{Greek}"),
    *("[ab]", "[^a]", "[a-c]", "[[:alpha:]]", "[[:^digit:]]", "[\\d_]", "[^\\W]", "[\\PL]", "[]a]", "[a-]"),
    *("(?i)", "(?s)", "(?-i)", "(?U)", "(?m)"),
]
BROKEN = [
    *("(?=a)", "(?<!a)", "\\1", "[", "(", ")", "*", "+", "a**", "{2}", "{2,1}", "{1001}", "|", "]", "}", "{", "-"),
    *("\\pX", "[b-a]", "[a-\\d]", "[[:x:]]", "(?P<n", "(?P<n>", "(?<x>a)", "(?z)", "\\", "\\x{", "\\xg", "\\Q", "\\E"),
]
OPENINGS = ["(", "(?:", "(?i:", "(?P<x>", "(?<x>", "(?s-i:", "(?U:"]
REPEATS = ["*", "+", "?", "*?", "+?", "??", "{2}", "{0,2}", "{1,}", "{,2}", "{3}?", "{0}", "{10}{10}"]


def generated(source, depth):
    """A random pattern, sometimes with a mistake."""
    kind = source.random()
    if depth == 0 or kind < 0.3:
        return source.choice(ATOMS)
    if kind < 0.6:
        return generated(source, depth - 1) + generated(source, depth - 1)
    if kind < 0.7:
        return f"{generated(source, depth - 1)}|{generated(source, depth - 1)}"
    if kind < 0.8:
        # Names are numbered: Go takes the same name twice, google-re2 does not.
        opening = source.choice(OPENINGS).replace("x", f"x{source.getrandbits(40)}")
        return f"{opening}{generated(source, depth - 1)})"
    if kind < 0.95:
        return generated(source, depth - 1) + source.choice(REPEATS)
    return source.choice(BROKEN).replace("<x>", f"<x{source.getrandbits(40)}>")


def oracle(pattern):
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 64 << 20
    try:
        return re2.compile(pattern, options=options)
    except re2.error:
        return None


def check_against_oracle(seed, count):
    source = random.Random(seed)
    compared = 0
    for _ in range(count):
        pattern = generated(source, source.randrange(1, 7))
        theirs, ours = oracle(pattern), parse_re2(pattern)
        assert isinstance(ours, Regex) == (theirs is not None), (pattern, ours)
        if theirs is not None:
            texts = [
                "".join(source.choices("abckKsS1_ .\né\u212a\u017f\u00df\u1e9e", k=source.randrange(9)))
                for _ in range(3)
            ]
            compared += compare_matches(pattern, ours, theirs, texts)
    return compared


def compare_matches(pattern, ours, theirs, texts):
    try:
        program = Program(ours)
    except TooCostly:
        return 0
    for text in texts:
        found = theirs.search(text)
        wanted = found and [found.group(index) for index in range(theirs.groups + 1)]
        for match in (program.search(text), program._run(text)):
            assert (match and [match.group(index) for index in range(len(ours.groups))]) == wanted, (pattern, text)
    return len(texts)


def test_generated_patterns_get_the_verdict_and_the_matches_of_google_re2():
    assert check_against_oracle(seed=7, count=1000) > 1000


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(5))
def test_many_generated_patterns_get_the_verdict_and_the_matches_of_google_re2(seed):
    assert check_against_oracle(seed=seed, count=40_000) > 40_000


def promtool(patterns, folder):
    """The error of promtool for each of `patterns`; None for those that it accepts."""
    paths = []
    for index, pattern in enumerate(patterns):
        rule = {"action": "keep", "source_labels": ["a"], "regex": pattern}
        paths.append(folder / f"{index}.yml")
        paths[-1].write_text(json.dumps({"scrape_configs": [{"job_name": "a", "relabel_configs": [rule]}]}))
    said = {}
    for start in range(0, len(paths), 200):
        command = ["promtool", "check", "config", "--syntax-only", *map(str, paths[start : start + 200])]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=120)
        said.update(re.findall(r"parsing YAML file (\S+): error parsing regexp: (.*)", shown.stderr))
        assert shown.stderr.count("FAILED") == len(said) - sum(str(path) in said for path in paths[:start])
    return [said.get(str(path)) for path in paths]


def check_against_promtool(patterns, folder):
    for pattern, theirs in zip(patterns, promtool(patterns, folder), strict=True):
        ours = check_re2(f"^(?:{pattern})$")
        assert (ours and ours.message) == theirs, pattern


NEWER_NAMES = ("\\p{any}", "\\p{greek}", "\\p{Uppercase_Letter}")
"""Taken from Go 1.25 on, which Debian's promtool is older than."""


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_the_examples_get_the_verdict_and_the_message_of_promtool(tmp_path):
    check_against_promtool([*REFUSED, *(pattern for pattern in TAKEN if pattern not in NEWER_NAMES)], tmp_path)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_generated_patterns_get_the_verdict_and_the_message_of_promtool(tmp_path):
    source = random.Random(11)
    check_against_promtool([generated(source, source.randrange(1, 7)) for _ in range(3000)], tmp_path)


# -- matching


@pytest.mark.parametrize(
    ("pattern", "text", "groups"),
    [
        ("^(?s:([^:]+)(?::(\\d+))?)$", "host:9100", ["host:9100", "host", "9100"]),
        ("^(?s:([^:]+)(?::(\\d+))?)$", "host", ["host", "host", None]),
        ("(a|ab)(c|bcd)(d*)", "abcd", ["abcd", "a", "bcd", ""]),
        ("(a+?)(a*)", "aaa", ["aaa", "a", "aa"]),
        ("(a*)*", "b", ["", ""]),
        ("(?U)a+", "aaa", ["a"]),
        ("(?i)straSSe", "STRA\u017f\u017fe", ["STRA\u017f\u017fe"]),
        ("(a)|b", "b", ["b", None]),
        ("\\Bb", "ab", ["b"]),
        ("(?m)^b$", "a\nb\nc", ["b"]),
        ("(?:a?){50}a{50}", "a" * 50, ["a" * 50]),
        ("x", "abc", None),
    ],
)
def test_a_match_equals_the_one_that_go_finds(pattern, text, groups):
    match = program_of(parse_re2(pattern)).search(text)

    assert (match and [match.group(index) for index in range(len(groups))]) == groups


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_the_check_for_empty_matches_agrees_with_matching(seed):
    regex = parse_re2(generated(random.Random(seed), 4))

    if isinstance(regex, Regex) and (program := program_of(regex)):
        assert regex.matches_empty == (program.search("") is not None)


def test_a_group_is_found_by_name_and_an_unknown_one_is_an_error():
    match = program_of(parse_re2("(?P<host>[^:]*):(?<port>.*)")).search("a:1")

    assert (match.group("host"), match.group("port")) == ("a", "1")
    for name in ("nobody", 3, -1):
        with pytest.raises(IndexError):
            match.group(name)


@pytest.mark.parametrize(
    "pattern", ["(?:a{100}){10}" * 6, "\\p{Greek}", "(?:(?:a.b){9}|c){99}(?:a.){900}.{900}.{900}.{900}"]
)
def test_patterns_that_are_too_large_are_not_matched(pattern):
    assert program_of(parse_re2(pattern)) is None


def test_case_folding_equals_that_of_google_re2():
    folding = [chr(code) for code in range(0x250) if unicodedata.category(chr(code)).startswith("L")]
    for char in [
        *folding,
        *"\u0391\u03b1\u0392\u03b2\u03c2\u03c3\u03a3\u03d0\u03b8\u03d1\u0398\u03f4\u00b5\u03bc\u1e9e\u00df\u00c5\u00c5KK",
    ]:
        theirs = oracle(f"(?i)[{char}]")
        assert all(theirs.fullmatch(other) for other in same_but_for_case(char)), char
        assert [other for other in folding if theirs.fullmatch(other) and other not in same_but_for_case(char)] == []
