"""Random PromQL by its grammar: mostly valid, then broken token by token. The same seed gives the same expressions."""

import random
import re

from apm_s3.validators._query.promql_dialect import FUNCTIONS

KEYWORDS = (
    *("and", "or", "unless", "atan2", "offset", "by", "without", "on", "ignoring", "group_left", "group_right", "bool"),
    *("start", "end", "inf", "nan", "sum", "min", "max", "limitk", "Sum", "BY", "NaN", "Inf", "step", "range", "fill"),
)
NAMES = ("up", "http_requests_total", "a:b:c", ":x", "x:", "_", "a1", "le", *KEYWORDS)
NUMBERS = (
    *("0", "1", "1.5", ".5", "5.", "0x1F", "0X_1f", "0x", "1e3", "1E-3", "1e400", "0e0", "010", "08", "1_000", "1__0"),
    *("1_", "1e", "1e+", "Inf", "NaN", "9223372036854775807", "9223372036854775808", "1.2.3", "0x1.8", "0xe", "0xee"),
    *("12345678901234567890123", "0b1", "0o7", "1.e5", "4.9e-324", "1.7976931348623159e308", "0x8000000000000000"),
)
DURATIONS = (
    *("5m", "1h", "30s", "1d", "2w", "1y", "100ms", "1h30m", "1m1h", "5", "0", "0s", "0m", "300y", "293y", "1h1h"),
    *("5mm", "5ss", "5M", "1.5m", "-5m", "5m5", "1d12h", "292y", "1e3", "step()", "5m + 1m", "999999999999999999999s"),
)
STRINGS = (
    *('"a"', "'a'", "`a`", '""', '"a\\nb"', '"\\x41"', '"\\u00e9"', '"\\777"', '"\\400"', '"\\ud800"', '"\\q"'),
    *('"a\nb"', "`a\nb`", '"unclosed', "'it\\'s'", "'\\\"'", '"\\\'"', '"#"', '"é"', '"\ufffd"', '"\\U0010FFFF"'),
    *('"\\U00110000"', '"\\x80"', '"a|b"', '"{{"'),
)
REGEXES = (
    '"a.*"',
    '".*"',
    '".+"',
    '"(a|b)"',
    '"("',
    '"[a"',
    '"a{2,1}"',
    '"(?i)a"',
    '"a?"',
    '"\\\\d+"',
    '"(?=a)"',
    '""',
)
LABELS = ("job", "le", "on", "by", "without", "a_b", "__name__", "bool", "inf", "a:b", "1a", '"q"', "end", "offset")
GOOD_REGEXES = ('"a.*"', '".+"', '"(a|b)"')
COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
ARITHMETIC = ("+", "-", "*", "/", "%", "^", "atan2")
SETS = ("and", "or", "unless", "AND", "Or")
SPACES = ("", " ", "  ", "\n", "\t", " # note\n", "\r\n", "#x\n")
TOKEN = re.compile(r"[a-zA-Z_:][\w:]*|[\d.][\w.]*|\"[^\"]*\"|'[^']*'|`[^`]*`|\s+|#[^\n]*|.", re.DOTALL | re.ASCII)
JUNK = (
    *("(", ")", "[", "]", "{", "}", ",", "=", "=~", "!~", "!", ":", "@", "&", "|", ";", "$x", "é", "==", "=", "-", "+"),
    *("offset", "by", "on", "bool", "5m", "up", "sum", '"', "'", "`", "\\", "#", "^", "group_left", "~", "</", "\x00b"),
)


class Grammar:
    """Expressions of a wanted type, to a depth."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def choose(self, options):
        return self.random.choice(options)

    def chance(self, share):
        return self.random.random() < share

    def space(self):
        return " " if self.chance(0.9) else self.choose(SPACES)

    def expression(self, depth=4):
        kind = self.random.random()
        if kind < 0.72:
            return self.vector(depth)
        if kind < 0.9:
            return self.scalar(depth)
        return self.matrix(depth) if kind < 0.96 else self.choose(STRINGS)

    def vector(self, depth):
        if depth <= 0 or self.chance(0.2):
            return self.modified(self.selector())
        make = self.choose(
            (self.call, self.call, self.aggregation, self.aggregation, self.binary, self.binary, self.wrapped)
        )
        return make(depth - 1)

    def wrapped(self, depth):
        sign = self.choose(("(", "-", "+", "- -"))
        inner = self.vector(depth)
        return f"({inner}{self.space()})" if sign == "(" else f"{sign}{inner}"

    def scalar(self, depth):
        if depth <= 0 or self.chance(0.5):
            return self.choose(NUMBERS) if self.chance(0.2) else self.choose(("1", "0.9", "100", "time()", "pi()"))
        if self.chance(0.3):
            return f"scalar({self.vector(depth - 1)})"
        op = self.choose(ARITHMETIC if self.chance(0.6) else COMPARISONS)
        flag = " bool" if op in COMPARISONS and self.chance(0.8) else ""
        return f"{self.scalar(depth - 1)} {op}{flag} {self.scalar(depth - 1)}"

    def duration(self):
        return self.choose(DURATIONS) if self.chance(0.12) else self.choose(("5m", "1h", "30s", "1d"))

    def matrix(self, depth):
        gap = self.choose(SPACES) if self.chance(0.1) else ""
        after = self.choose(SPACES) if self.chance(0.1) else ""
        if self.chance(0.75):
            inner = self.selector() if self.chance(0.9) else self.modified(self.selector())
            return self.modified(f"{inner}[{gap}{self.duration()}{after}]")
        step = self.duration() if self.chance(0.6) else ""
        return self.modified(f"{self.vector(depth - 1)}[{gap}{self.duration()}{after}:{after}{step}]")

    def modified(self, text):
        while self.chance(0.12):
            if self.chance(0.6):
                text += f" offset{self.space()}{self.choose(('', '', '', '-', '+'))}{self.duration()}"
            else:
                at = (
                    "start()",
                    "end()",
                    "Start ( )",
                    "1609746000",
                    "-1",
                    "+5",
                    "inf",
                    "nan",
                    "1e30",
                    "5m",
                    "1e18",
                    "9.3e18",
                )
                text += f"{self.space()}@ {self.choose(at)}"
        return text

    def selector(self):
        name = self.choose(NAMES) if self.chance(0.12) else self.choose(("up", "x", "http_requests_total"))
        kind = self.random.random()
        if kind < 0.45:
            return name
        return self.matchers() if kind < 0.6 else name + self.matchers()

    def matchers(self):
        found = [self.matcher() for _ in range(self.random.randrange(4))]
        tail = "," if self.chance(0.06) else ""
        return "{" + f",{self.space() if self.chance(0.5) else ''}".join(found) + tail + "}"

    def matcher(self):
        if self.chance(0.05):
            return self.choose(STRINGS)
        name = self.choose(LABELS) if self.chance(0.15) else self.choose(("job", "instance", "le"))
        op = self.choose(("=", "=", "!=", "=~", "!~"))
        wanted = (REGEXES if self.chance(0.2) else GOOD_REGEXES) if "~" in op else ('"a"', '"b"', '""')
        value = self.choose(STRINGS) if self.chance(0.08) else self.choose(wanted)
        return f"{name}{op}{value}"

    def labels(self):
        found = [
            self.choose(LABELS) if self.chance(0.1) else self.choose(("job", "instance", "le"))
            for _ in range(self.random.randrange(3))
        ]
        tail = "," if self.chance(0.06) else ""
        gap = self.choose(SPACES) if self.chance(0.1) else ""
        return f"({gap}{', '.join(found)}{tail}{gap})"

    def aggregation(self, depth):
        op = self.choose(("sum", "avg", "max", "count", "topk", "quantile", "count_values", "SUM", "group", "limitk"))
        param = {"topk": "5, ", "quantile": "0.9, ", "count_values": '"v", ', "limitk": "5, "}.get(op, "")
        if self.chance(0.08):
            param = self.choose(("", "5, ", '"v", ', "up, "))
        inner = self.vector(depth) if self.chance(0.95) else self.expression(depth)
        grouping = f"{self.choose(('by', 'without', 'By'))}{self.space()}{self.labels()}" if self.chance(0.6) else ""
        if self.chance(0.5):
            return f"{op}{self.space()}{grouping}{self.space()}({param}{inner})"
        return f"{op}({param}{inner}){self.space()}{grouping}"

    def call(self, depth):
        name = self.choose(tuple(FUNCTIONS)) if self.chance(0.3) else self.choose(("rate", "increase", "abs", "round"))
        function = FUNCTIONS[name]
        makers = {
            "vector": self.vector,
            "scalar": self.scalar,
            "matrix": self.matrix,
            "string": lambda _: self.choose(STRINGS) if self.chance(0.3) else '"a"',
        }
        types = list(function.args)
        if len(types) > function.least and self.chance(0.5):
            types.pop()
        if self.chance(0.05):
            types = types[:-1] if self.chance(0.5) else [*types, "scalar"]
        if self.chance(0.06):
            types = [self.choose(tuple(makers)) for _ in types]
        if self.chance(0.02):
            name = self.choose((name.upper(), name[:-1], "start", "a:b"))
        tail = "," if self.chance(0.02) else ""
        return f"{name}({f',{self.space()}'.join(makers[kind](depth) for kind in types)}{tail})"

    def binary(self, depth):
        op = self.choose(ARITHMETIC + COMPARISONS + SETS)
        flag = " bool" if self.chance(0.25 if op in COMPARISONS else 0.03) else ""
        matching = ""
        if self.chance(0.25):
            matching = f" {self.choose(('on', 'ignoring'))}{self.labels()}"
        if self.chance(0.02 if not matching or op in SETS else 0.3):
            matching += f" {self.choose(('group_left', 'group_right'))}{self.choose(('', self.labels()))}"
        left = self.vector(depth) if self.chance(0.95) else self.expression(depth)
        right = self.vector(depth) if self.chance(0.93) else self.expression(depth)
        return f"{left} {op}{flag}{matching} {right}"

    def broken(self, text):
        """`text` with a few tokens changed."""
        parts = TOKEN.findall(text)
        for _ in range(self.choose((1, 1, 1, 2, 3))):
            at = self.random.randrange(len(parts)) if parts else 0
            kind = self.random.random()
            if kind < 0.3 and parts:
                del parts[at]
            elif kind < 0.45 and parts:
                parts.insert(at, parts[self.random.randrange(len(parts))])
            elif kind < 0.6 and parts:
                other = self.random.randrange(len(parts))
                parts[at], parts[other] = parts[other], parts[at]
            elif kind < 0.8:
                parts.insert(at, self.choose(JUNK))
            elif parts:
                parts[at] = self.choose(JUNK + NUMBERS + DURATIONS + STRINGS + NAMES)
        return "".join(parts)


def expressions(seed, count):
    """`count` different expressions, a third of them broken on purpose."""
    grammar = Grammar(seed)
    found = {}
    while len(found) < count:
        text = grammar.expression(grammar.choose((0, 1, 1, 2, 3)))
        if grammar.chance(0.3):
            text = grammar.broken(text)
        if 0 < len(text) < 400 and "\0" not in text and text.strip():
            found[text] = None
    return list(found)


SOUPS = (
    ("{}", "0123456789.eExX_+-abfms", 7),
    ("x[{}]", "0123456789mshdwy.: -#\n(", 6),
    ("x offset {}", "0123456789mshdwy.- ", 5),
    ("x @ {}", "0123456789.e+-sm()tarend ", 7),
    ('"{}"', "ab\\x41u0U7n\"'` \n{é", 8),
    ("x{{a=~'{}'}}", "ab()[]|*+?.^$-{},12:<>P!=i\\\\dWbpL", 8),
    ("x {} y", ("on", "ignoring", "(", ")", "a", ",", "bool", "group_left", "group_right", "+", "==", "and", " "), 7),
    ("sum {} x", ("by", "without", "(", ")", "a", ",", "b", "(x)", "(y)", "5", " ", "#\n"), 7),
    ("x{{{}}}", ("a", "=", "'b'", ",", "=~", "!=", '"c"', "on", "1", ":", " ", "#\n"), 7),
    ("{}", ("x", "[5m]", "[5m:]", "[5m:1m]", "offset 1h", "@ 1", "@ start()", "(", ")", "-", "rate(", "sum(", " "), 6),
)
"""Templates, and what is filled into them at random: characters, or words."""


def soups(seed, count):
    """`count` different texts that are valid only by accident: each part of the language in every order."""
    chance = random.Random(seed)
    found = {}
    while len(found) < count:
        template, pieces, longest = chance.choice(SOUPS)
        filling = chance.choices(pieces, k=chance.randrange(1, longest + 1))
        text = template.format(("" if isinstance(pieces, str) else " ").join(filling))
        if text.strip():
            found[text] = None
    return list(found)
