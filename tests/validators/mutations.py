"""Random mutations of valid files, like those that people make. The same seed gives the same files."""

import random
import re

VALUES = [
    *("", "null", "~", "1", "-1", "0", "1.5", "true", '"true"', "yes", "[]", "{}", "foo", '"80"', "010", "0x10", "1m"),
    *("5s", "1h30m", "1m1h", "30", "http://a:90", "a/b", "/x", '"$1"', "(", "[a]", "{a: b}", "*", "a*", "!!str 5"),
    *("!!int x", '"\\x41"', ".inf", "1e3", "''", "v2", "replace", "drop", "keep", "hashmod", "pod", "node", "é", "a.b"),
    *("__name__", "up", "rate(up[5m])", "sum(up", "{{ $value }}", "{{ foo }}", "100MB", "5KiB", "10%", "<<", "&a b"),
    *(
        "*b",
        "@",
        "`x`",
        "%",
        "? a",
        "a: b",
        "- a",
        "# c",
        "|",
        ">-",
        "'a",
        '"a',
        "TLS12",
        "2024-01-02",
        "12:30",
        "0o17",
    ),
    *("1_000", "+5", "host:9090", "http://[::1", "$(x)"),
]
CHARACTERS = "{}[]:,\"'#&*!|>%@`- \t\\0a$"
_SCALAR = re.compile(r"^(\s*(?:- )*[^:#]*:\s+|\s*- )(.*)$")
_KEY = re.compile(r"^(\s*(?:- )*)(\w+)(:.*)$")


def mutations(texts, seed, count):
    """`count` changed copies of `texts`."""
    rng = random.Random(seed)
    keys = sorted({key for text in texts for key in re.findall(r"^[ -]*(\w+):", text, re.MULTILINE)})
    return [_mutate(rng.choice(texts), rng, keys) for _ in range(count)]


def _mutate(text, rng, keys):
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        lines = text.split("\n")
        at = rng.randrange(len(lines))
        change = rng.choice((_drop, _duplicate, _change_scalar, _change_scalar, _rename_key, _indent, _type_over))
        change(lines, at, rng, keys)
        text = "\n".join(lines)
    return text


def _drop(lines, at, rng, keys):
    del lines[at]


def _duplicate(lines, at, rng, keys):
    lines.insert(at, lines[at])


def _change_scalar(lines, at, rng, keys):
    if match := _SCALAR.match(lines[at]):
        lines[at] = match[1] + rng.choice(VALUES)


def _rename_key(lines, at, rng, keys):
    if match := _KEY.match(lines[at]):
        key = rng.choice((rng.choice(keys), match[2][:-1], match[2] + "s"))
        lines[at] = match[1] + key + match[3]


def _indent(lines, at, rng, keys):
    lines[at] = " " * rng.choice((1, 2)) + lines[at] if rng.random() < 0.5 else lines[at][rng.choice((1, 2)) :]


def _type_over(lines, at, rng, keys):
    if lines[at]:
        place = rng.randrange(len(lines[at]))
        lines[at] = lines[at][:place] + rng.choice(CHARACTERS) + lines[at][place + rng.randrange(2) :]
