"""Any text gives a tree, or a problem with a position in the text."""

import random

import pytest

from apm_s3.errors import QueryInvalid
from tests.validators.query.expressions import JUNK, NUMBERS, STRINGS, expressions
from tests.validators.query.trees import logql, promql

LOGQL = (
    *(
        "{",
        "}",
        'app="x"',
        "|=",
        '"a"',
        "| json",
        "| logfmt",
        "[5m]",
        "rate(",
        "sum(",
        ")",
        "by (a)",
        "| unwrap n",
        ",",
    ),
    *("| a > 5", "| a = ip(", "offset", "5m", "5MB", "topk(", "10", "or", "and", "vector(1)", '{app="x"}', "!=", "!~"),
    *(
        "| line_format",
        "`{{.a}}`",
        "| label_format a=b",
        "--strict",
        "| drop a",
        "label_replace(",
        "'x'",
        "#",
        "µs",
        "|",
    ),
)
RELEASES = (None, (2, 45), (2, 53), (2, 54), (3, 5))


def texts(seed, count):
    chance = random.Random(seed)
    pieces = (*JUNK, *NUMBERS, *STRINGS, "\0", "\ud800", "é", "\u2028", "﻿", "0x", "\\x", "[" * 50, "(" * 150, "rate(")
    for text in expressions(seed, count // 2):
        yield text
        yield "".join(chance.choices(pieces, k=chance.randrange(1, 12)))


def outcome(parse, text, release):
    try:
        tree = parse(text, release)
    except QueryInvalid as exc:
        return exc.offset, exc.end, str(exc)
    return tree.start, tree.end, "good"


def logql_texts(seed, count):
    chance = random.Random(seed)
    for _ in range(count):
        yield " ".join(chance.choices(LOGQL, k=chance.randrange(1, 10)))
        yield "".join(chance.choices((*LOGQL, *JUNK, *STRINGS), k=chance.randrange(1, 10)))


def check(seed, count):
    for index, text in enumerate(texts(seed, count)):
        check_outcome(text, *outcome(promql, text, RELEASES[index % len(RELEASES)]))
        check_outcome(text, *outcome(logql, text, None))
    for text in logql_texts(seed, count):
        check_outcome(text, *outcome(logql, text, None))


def check_outcome(text, start, end, message):
    assert 0 <= start <= end <= len(text), text
    assert message, text


def test_any_text_gives_a_tree_or_a_problem_with_a_position():
    check(1, 2000)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_many_texts_give_a_tree_or_a_problem_with_a_position():
    check(2, 100_000)
