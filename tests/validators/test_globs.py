"""Patterns of file names as Go's filepath.Match has them."""

from __future__ import annotations

import pytest

from apm_s3.validators._checking import BadGlob, check_glob, glob_matches


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("*.yml", "a.yml", True), ("*.yml", "a/b.yml", False), ("a/*", "a/b.yml", True), ("a/*", "a/b/c", False),
        ("a?c", "abc", True), ("a?c", "a/c", False), ("[a-c]x", "bx", True), ("[a-c]x", "dx", False),
        ("[^a]x", "bx", True), ("[^a]x", "ax", False), ("[!a]x", "!x", True), ("[!a]x", "bx", False), ("[!a]x", "ax", True), ("[c-a]x", "bx", False),
        ("[^c-a]x", "bx", True), (r"[\]]x", "]x", True), (r"\*x", "*x", True), (r"\*x", "ax", False),
        ("[[]x", "[x", True), ("", "", False), ("./a", "a", True), ("b/../a", "a", True), ("a.b", "axb", False),
        ("**", "ab", True), ("[a-]x", "ax", None), ("[]a]", "a", None), ("[-a]x", "ax", None), ("[a", "a", None),
        ("a\\", "a", None), ("[^]", "a", None), ("[\\", "a", None), ("x[", "a", None), ("[a]]", "a]", True),
    ],
)  # fmt: skip
def test_a_pattern_matches_as_in_go(pattern: str, name: str, matches: bool | None) -> None:
    if matches is None:
        with pytest.raises(BadGlob):
            check_glob(pattern)
    else:
        check_glob(pattern)
        assert glob_matches(pattern, "", name) is matches


def test_relative_patterns_start_at_their_folder_and_absolute_ones_match_the_last_parts() -> None:
    assert glob_matches("rules/*.yml", "conf", "conf/rules/a.yml")
    assert glob_matches("../rules/*.yml", "conf", "rules/a.yml")
    assert not glob_matches("rules/*.yml", "conf", "rules/a.yml")
    assert glob_matches("/etc/prometheus/rules/*.yml", "", "rules/a.yml")
    assert not glob_matches("/etc/prometheus/rules/*.yml", "", "rule/a.yml")
