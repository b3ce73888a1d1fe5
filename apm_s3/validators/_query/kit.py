"""What both query languages share: syntax trees, Go's literals, matchers, and a Pratt parser for binary operators.

Binary operators are parsed in a loop, so that a long sum needs no stack; parentheses, signs and right-associative `^`
recurse, at most `MAX_DEPTH` deep. Types are checked while the tree is built, without another pass.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from apm_s3.validators._checking import did_you_mean
from apm_s3.validators._query.re2 import Regex, check_re2, parse_re2


class QueryProblem(Exception):
    """The query is invalid. Never leaves the validators.

    `start` and `end` are the offsets, in characters, of the unexpected token or the invalid part.
    """

    def __init__(self, message: str, start: int, end: int, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.start = start
        self.end = end
        self.hint = hint


ValueType = Literal["scalar", "vector", "matrix", "string", "streams"]
"""Types of expressions: PromQL has the first four; LogQL has scalars, vectors and streams of log lines."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Node:
    """A part of a query, from `start` to before `end`."""

    start: int
    end: int

    def __repr__(self) -> str:
        # Do not show the children: a tree can be as deep as its text is long.
        return f"<{type(self).__name__} at {self.start}-{self.end}>"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Expr(Node):
    """An expression, with the type of its value."""

    type: ValueType


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class NumberLiteral(Expr):
    """`1.5`, `0x1F`, `Inf`, `5m`."""

    value: float


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class StringLiteral(Expr):
    """A string; `value` has no quotes."""

    value: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Matcher(Node):
    """`job=~"a|b"`: `name`, `op` (one of = != =~ !~) and `value`."""

    name: str
    op: str
    value: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Duration(Node):
    """A duration in seconds; None if Prometheus calculates it."""

    seconds: float | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class At(Node):
    """`@ 1609746000`, in Unix seconds, or `@ start()` and `@ end()`, named in `boundary`."""

    timestamp: float | None
    boundary: str | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Selector(Expr):
    """A PromQL selector: `up{job="a"} offset 5m @ 0`. `name` is the name before the braces."""

    name: str | None
    matchers: tuple[Matcher, ...]
    offset: Duration | None = None
    at: At | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RangeSelector(Expr):
    """`up[5m]`; an offset and `@` after the range are here, those before it in `selector`."""

    selector: Selector
    range: Duration
    offset: Duration | None = None
    at: At | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Subquery(Expr):
    """`rate(up[5m])[1h:1m]`."""

    expr: Expr
    range: Duration
    step: Duration | None
    offset: Duration | None = None
    at: At | None = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class FunctionCall(Expr):
    """`rate(up[5m])`."""

    function: str
    args: tuple[Expr, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Grouping(Node):
    """`by (job)` or `without (pod)`."""

    without: bool
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Aggregation(Expr):
    """`topk by (job) (5, up)`: `op`, `param` (the 5) and `expr`."""

    op: str
    grouping: Grouping | None
    param: Expr | None
    expr: Expr


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Matching(Node):
    """`on (job) group_left (team)`: `group` is `left`, `right` or None."""

    on: bool
    labels: tuple[str, ...]
    group: str | None
    include: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Binary(Expr):
    """`left op right`."""

    op: str
    left: Expr
    right: Expr
    returns_bool: bool
    matching: Matching | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Unary(Expr):
    """`-expr` and `+expr`."""

    op: str
    expr: Expr


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Paren(Expr):
    """`(expr)`."""

    expr: Expr


MAX_SECONDS = 2**63 / 10**9
"""A duration is an int64 of nanoseconds: 292 years."""

_SIMPLE = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, "'": 39, '"': 34}
_ESCAPE = re.compile(r"\\(?:([abfnrtv\\'\"])|([0-7]{3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|)")
_DURATION = re.compile(
    r"(?:([0-9]+)y)?(?:([0-9]+)w)?(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?(?:([0-9]+)ms)?"
)
_MILLISECONDS = (31_536_000_000, 604_800_000, 86_400_000, 3_600_000, 60_000, 1000, 1)
_INTEGER = re.compile(r"0[xX](?:_?[0-9a-fA-F])+|0(?:_?[0-7])*|[1-9](?:_?[0-9])*")
_FLOAT = re.compile(r"(?=\.?[0-9])(?:[0-9](?:_?[0-9])*)?(?:\.(?:[0-9](?:_?[0-9])*)?)?(?:[eE][+-]?[0-9](?:_?[0-9])*)?")
_LONGEST = 1000


class BadLiteral(Exception):
    """A literal that Go refuses; `at` is the offset of the problem."""

    def __init__(self, message: str, at: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.at = at


def unquote(literal: str) -> str:
    """Return the text of a string in `"`, `'` or backquotes. Bytes that are not UTF-8 become lone surrogates.

    Raises:
        BadLiteral: an escape that Go does not have.
    """
    quote, inner = literal[0], literal[1:-1]
    if "\ufffd" in inner:
        raise BadLiteral("the character U+FFFD is not allowed: it marks broken UTF-8", literal.index("\ufffd"))
    if quote == "`" or "\\" not in inner:
        return inner
    pieces: list[bytes] = []
    end = 0
    for match in _ESCAPE.finditer(inner):
        pieces += [inner[end : match.start()].encode("utf-8", "surrogatepass"), _escaped(match, quote)]
        end = match.end()
    pieces.append(inner[end:].encode("utf-8", "surrogatepass"))
    return b"".join(pieces).decode("utf-8", "surrogateescape")


def source_offset(literal: str, offset: int) -> int:
    """Return the position in `literal` of the character at `offset` in its text; `unquote` must accept `literal`."""
    inner = literal[1:-1]
    if literal[0] == "`" or "\\" not in inner:
        return 1 + min(offset, len(inner))
    end = 0
    for match in _ESCAPE.finditer(inner):
        if match.start() - end >= offset:
            break
        offset -= match.start() - end + 1
        end = match.end()
    return 1 + min(end + max(offset, 0), len(inner))


def _escaped(match: re.Match[str], quote: str) -> bytes:
    simple, octal, hexadecimal, short, long = match.groups()
    if simple is not None and (simple not in "'\"" or simple == quote):
        return bytes((_SIMPLE[simple],))
    if hexadecimal is not None:
        return bytes((int(hexadecimal, 16),))
    if octal is not None and int(octal, 8) < 256:
        return bytes((int(octal, 8),))
    code = short or long
    if code is not None and not 0xD800 <= int(code, 16) < 0xE000 and int(code, 16) <= 0x10FFFF:
        return chr(int(code, 16)).encode()
    shown = match.string[match.start() : max(match.end(), match.start() + 2)]
    raise BadLiteral(f"unknown escape {shown!r}; write \\\\ for a backslash", match.start() + 1)


def parse_number(literal: str) -> float:
    """Parse a number without a sign: decimal, octal with a leading 0, hexadecimal, with underscores.

    Raises:
        BadLiteral: not a number, or out of range for a double.
    """
    if len(literal) > _LONGEST:
        raise BadLiteral(f"a number with more than {_LONGEST} characters")
    if _INTEGER.fullmatch(literal):
        digits = literal.replace("_", "")
        whole = int(digits, 16 if digits[1:2] in ("x", "X") else 8 if digits[0] == "0" else 10)
        if whole < 2**63:
            return float(whole)
        if digits[1:2] in ("x", "X"):
            raise BadLiteral("a hexadecimal number with more than 64 bits")
    word = literal.lower()
    if word in ("inf", "nan"):
        return float(word)
    if not _FLOAT.fullmatch(literal):
        raise BadLiteral("not a number")
    value = float(literal.replace("_", ""))
    if value == float("inf"):
        raise BadLiteral("out of range for a 64-bit float")
    return value


def parse_duration(literal: str) -> float:
    """Parse `1h30m` into seconds: y w d h m s ms, each at most once, largest first.

    Raises:
        BadLiteral: not a valid duration, or longer than 292 years.
    """
    match = _DURATION.fullmatch(literal) if literal and len(literal) < _LONGEST else None
    if match is None:
        raise BadLiteral("not a valid duration; write it as 30s, 5m or 1h30m (y, w, d, h, m, s, ms; largest first)")
    total = sum(int(count) * unit for count, unit in zip(match.groups("0"), _MILLISECONDS, strict=True))
    if total * 10**6 >= 2**63:
        raise BadLiteral("longer than 292 years")
    return total / 1000


_PREFIX, _SUFFIX = "^(?s:", ")$"
_META = re.compile(r"[\\.+*?()\[\]{}^$]")


def check_regex(value: StringLiteral, text: str) -> None:
    """Check that `value`, a string of the query `text`, is a valid regular expression in Prometheus and Loki.

    Raises:
        QueryProblem: it is not valid, with the position of the invalid part.
    """
    pattern = value.value
    if not is_utf8(pattern):
        # Prometheus does not compile expressions without special characters.
        if _META.search(pattern):
            raise QueryProblem("invalid regular expression: bytes that are not UTF-8", value.start, value.end)
        return
    # Prometheus parses the expression both alone and anchored, so `)(` is refused.
    error = check_re2(pattern) or check_re2(pattern, _PREFIX, _SUFFIX)
    if error is not None:
        start = value.start + source_offset(text[value.start : value.end], error.offset)
        message = f"invalid regular expression: {error.message[:300]}"
        raise QueryProblem(message, start, max(start, value.end - 1), error.hint)


def is_utf8(text: str) -> bool:
    """Return whether the escapes of `text` gave valid UTF-8."""
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


def allows_empty(matcher: Matcher) -> bool:
    """Return whether series without the label match."""
    if matcher.op in ("=", "!="):
        return (matcher.value == "") is (matcher.op == "=")
    regex = parse_re2(_PREFIX + matcher.value + _SUFFIX)
    return (isinstance(regex, Regex) and regex.matches_empty) is (matcher.op == "=~")


MAX_LENGTH = 100_000
MAX_DEPTH = 100
"""Levels of parentheses and signs. Real expressions have fewer than 20; Python's stack allows about 200."""

END, BAD, NAME, STRING, NUMBER, DURATION = "<end>", "<bad>", "<name>", "<string>", "<number>", "<duration>"
"""Kinds of tokens; each operator and keyword is its own kind."""

POWERS = {
    "or": 1,
    **dict.fromkeys(("and", "unless"), 2),
    **dict.fromkeys(("==", "!=", "<=", "<", ">=", ">"), 3),
    **dict.fromkeys(("+", "-"), 4),
    **dict.fromkeys(("*", "/", "%", "atan2", "</", ">/"), 5),
    "^": 6,
}
"""Precedence of binary operators: https://prometheus.io/docs/prometheus/latest/querying/operators/."""
SIGN_POWER = 5
COMPARISONS = frozenset(("==", "!=", "<=", "<", ">=", ">"))
SETS = frozenset(("and", "or", "unless"))

_SHOWN, _SHORT = 40, 4
_HINTS = {
    "&": "did you mean and?",
    "|": "did you mean or?",
    ".": 'quote names that contain a dot: "a.b"',
    "$": "Grafana variables are replaced only in dashboards",
    "~": "did you mean =~ or |~?",
    **dict.fromkeys("\u2018\u2019\u201c\u201d\u00ab\u00bb", "use \" or ' instead of typographic quotes"),
}
"""Hints by invalid first character."""
_TOKEN_HINTS = {
    "=": "did you mean ==?",
    "=~": "=~ and !~ are only for labels in braces",
    "!~": "=~ and !~ are only for labels in braces",
    "for": "for is a field of the rule, next to expr",
}
"""Hints by misplaced token."""
_UNITS = frozenset(("ms", "s", "m", "h", "d", "w", "y"))
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_TYPES = {
    "scalar": "a scalar",
    "vector": "an instant vector",
    "matrix": "a range vector",
    "string": "a string",
    "streams": "log lines",
}


def describe_type(kind: str) -> str:
    """Describe `vector` as `an instant vector`, and so on."""
    return _TYPES[kind]


class Tokens:
    """The tokens of a text, in parallel lists; the last one is `END` or `BAD`."""

    __slots__ = ("ends", "kinds", "starts", "text")

    def __init__(self, text: str, kinds: list[str], starts: list[int], ends: list[int]) -> None:
        self.text = text
        self.kinds = kinds
        self.starts = starts
        self.ends = ends


class Parser(ABC):
    """The state of one parse: `at` is the index of the next token."""

    max_length = MAX_LENGTH
    trailing_comma = True
    """Whether a list of labels may end with a comma."""

    def __init__(self, tokens: Tokens) -> None:
        self.text = tokens.text
        self.kinds = tokens.kinds
        self.starts = tokens.starts
        self.ends = tokens.ends
        self.at = 0
        self._depth = 0

    @abstractmethod
    def operand(self) -> Expr:
        """Parse an operand."""

    @abstractmethod
    def label(self, context: str) -> str:
        """Parse the next token as a label name."""

    @abstractmethod
    def binary(self, op: int, left: Expr, right: Expr, returns_bool: bool, matching: Matching | None) -> Binary:
        """Check the types of `left` and `right`, and join them with the operator at index `op`."""

    def whole(self, expected: str, words: Iterable[str] = ()) -> Expr:
        """Parse the whole text as one expression, or raise `QueryProblem`."""
        if len(self.text) > self.max_length:
            raise QueryProblem(f"longer than {self.max_length} characters", 0, len(self.text))
        if self.kinds[0] == END:
            raise QueryProblem("the expression is empty", 0, len(self.text))
        try:
            expr = self.expression(0)
        except RecursionError:
            raise self._too_deep() from None
        if self.kinds[self.at] != END:
            raise self.unexpected(expected, words=words)
        return expr

    def expression(self, minimum: int) -> Expr:
        """Parse an expression whose operators bind tighter than `minimum`."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._too_deep()
        kinds = self.kinds
        left = self.operand()
        while (power := POWERS.get(kinds[self.at], 0)) > minimum:
            op = self.at
            self.at += 1
            returns_bool, matching = False, None
            if kinds[self.at] in ("on", "ignoring", "bool", "group_left", "group_right"):
                returns_bool, matching = self._modifiers()
            right = self.expression(power - 1 if power == 6 else power)
            left = self.binary(op, left, right, returns_bool, matching)
        self._depth -= 1
        return left

    def _modifiers(self) -> tuple[bool, Matching | None]:
        """Parse `bool on (a) group_left (b)`."""
        returns_bool = self.kinds[self.at] == "bool"
        if returns_bool:
            self.at += 1
        kind, start = self.kinds[self.at], self.starts[self.at]
        if kind in ("group_left", "group_right"):
            raise self.unexpected(f"on (...) or ignoring (...) before {kind}")
        if kind not in ("on", "ignoring"):
            return returns_bool, None
        self.at += 1
        labels = self.labels(kind)
        group: str | None = None
        include: tuple[str, ...] = ()
        if self.kinds[self.at] in ("group_left", "group_right"):
            group = self.kinds[self.at]
            self.at += 1
            if self.kinds[self.at] == "(":
                include = self.labels(group)
            group = group.removeprefix("group_")
        return returns_bool, Matching(start, self.ends[self.at - 1], kind == "on", labels, group, include)

    def labels(self, context: str) -> tuple[str, ...]:
        """Parse `(a, b)` after `context`."""
        where = f"in {context} (...)"
        if self.kinds[self.at] == NAME:
            problem = self.unexpected(f"'(' after {context}")
            problem.hint = f"write {context} ({self.text[self.starts[self.at] : self.ends[self.at]][:_SHOWN]})"
            raise problem
        self.expect("(", f"after {context}")
        found: list[str] = []
        while self.kinds[self.at] != ")" or (found and not self.trailing_comma):
            found.append(self.label(where))
            if self.kinds[self.at] != ",":
                break
            self.at += 1
        self.expect(")", where, "',' or ')'")
        return tuple(found)

    def grouping(self) -> Grouping | None:
        """Parse `by (a)` or `without (a)`, if there is one."""
        kind, start = self.kinds[self.at], self.starts[self.at]
        if kind not in ("by", "without"):
            return None
        self.at += 1
        labels = self.labels(kind)
        return Grouping(start, self.ends[self.at - 1], kind == "without", labels)

    def expect(self, kind: str, where: str, expected: str | None = None) -> int:
        """Consume a token of `kind` and return its index."""
        at = self.at
        if self.kinds[at] != kind:
            raise self.unexpected(f"{expected or repr(kind)} {where}")
        self.at = at + 1
        return at

    def string(self, where: str) -> StringLiteral:
        """Consume a string."""
        at = self.expect(STRING, where, "a string in quotes")
        return StringLiteral(self.starts[at], self.ends[at], "string", self.unquoted(at))

    def unquoted(self, at: int) -> str:
        """Return the text of the string at index `at`."""
        start = self.starts[at]
        try:
            return unquote(self.text[start : self.ends[at]])
        except BadLiteral as exc:
            raise QueryProblem(exc.message, start + exc.at, start + exc.at + 1) from None

    def number(self, at: int) -> float:
        """Return the value of the number at index `at`."""
        try:
            return parse_number(self.text[self.starts[at] : self.ends[at]])
        except BadLiteral as exc:
            raise self.problem(at, f"{self.shown(at)} is {exc.message}") from None

    def shown(self, at: int) -> str:
        """Format a token for an error."""
        if self.kinds[at] == END:
            return "end of the expression"
        text = self.text[self.starts[at] : self.ends[at]]
        return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "...")

    def problem(self, at: int, message: str, hint: str | None = None) -> QueryProblem:
        """Create an error at the token at index `at`."""
        return QueryProblem(message, self.starts[at], self.ends[at], hint)

    def unexpected(self, expected: str, *, words: Iterable[str] = ()) -> QueryProblem:
        """Create the error for an unexpected token; if it is a word, suggest one of `words`."""
        at = self.at
        if self.kinds[at] == BAD:
            return self._bad(at)
        word = self.text[self.starts[at] : self.ends[at]]
        hint = self._hint(at, word, tuple(words))
        if self.kinds[at] == END and (opened := self._unclosed()) is not None:
            hint = f"{self.shown(opened)} at character {self.starts[opened] + 1} is not closed"
        return self.problem(at, f"unexpected {self.shown(at)}, expected {expected}", hint)

    def _hint(self, at: int, word: str, words: tuple[str, ...]) -> str | None:
        if word.lower() in words:
            # A known word inside an open bracket belongs after the bracket.
            return f"close the bracket before {word}" if self.kinds[at] in ("by", "without", "offset") else None
        start = self.starts[at]
        if words and (self.text.startswith("=!", start) or self.text[start - 1 : start + 1] == "<>"):
            return "did you mean !=?"
        if words and word in _TOKEN_HINTS:
            return _TOKEN_HINTS[word]
        if self.kinds[at - 1] == NUMBER and word in _UNITS:
            return f"write {self.text[self.starts[at - 1] : self.ends[at - 1]]}{word} without a space"
        return _nearest(word, words) if word[:1].isalpha() else None

    def _unclosed(self) -> int | None:
        """Return the index of the innermost open bracket."""
        opened: list[int] = []
        for at, kind in enumerate(self.kinds):
            if kind in _BRACKETS:
                opened.append(at)
            elif opened and kind == _BRACKETS[self.kinds[opened[-1]]]:
                opened.pop()
        return opened[-1] if opened else None

    def _bad(self, at: int) -> QueryProblem:
        start, text = self.starts[at], self.text
        char = text[start]
        if char in "\"'`":
            line = text.find("\n", start) if char != "`" else -1
            end = line if line >= 0 else len(text)
            return QueryProblem(f"the string that begins here is not closed; expected {char}", start, end)
        end = self.ends[at]
        if char.isdigit() or (char == "." and end > start + 1):
            message = f"{self.shown(at)} is neither a number nor a duration such as 30s, 5m or 1h30m"
            return QueryProblem(message, start, end)
        hint = _HINTS.get(char)
        if text[start : start + 2] in ("|=", "|~"):
            hint = "line filters are LogQL, not PromQL"
        return QueryProblem(f"unexpected character {char!r}", start, end, hint)

    def _too_deep(self) -> QueryProblem:
        at = min(self.at, len(self.starts) - 1)
        return self.problem(at, f"nested deeper than {MAX_DEPTH} levels")


def _nearest(word: str, words: tuple[str, ...]) -> str | None:
    """Return a similar word of `words`; for short words, one that differs in a single character."""
    found = did_you_mean(word, words)
    if found or len(word) > _SHORT:
        return found
    low = word.lower()
    near = (one for one in words if len(one) == len(low) and sum(map(str.__ne__, one, low)) == 1)
    return next((f"did you mean {one}?" for one in near), None)
