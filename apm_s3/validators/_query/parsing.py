"""Shared parts of both parsers: tokens with positions, a Pratt parser for binary operators, and error messages.

Binary operators are parsed in a loop, so that a long sum needs no stack; parentheses, signs and right-associative `^`
recurse, at most `MAX_DEPTH` deep. Types are checked while the tree is built, without another pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from apm_s3.validators._hints import did_you_mean
from apm_s3.validators._query.literals import BadLiteral, parse_number, unquote
from apm_s3.validators._query.nodes import Binary, Expr, Matching, StringLiteral
from apm_s3.validators._query.problems import QueryProblem

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
        """Parse the whole text as one expression.

        Raises:
            QueryProblem: it is not a valid expression.
        """
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
            raise QueryProblem(f"{self.shown(at)} is {exc.message}", self.starts[at], self.ends[at]) from None

    def shown(self, at: int) -> str:
        """Format a token for an error."""
        if self.kinds[at] == END:
            return "end of the expression"
        text = self.text[self.starts[at] : self.ends[at]]
        return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "...")

    def unexpected(self, expected: str, *, words: Iterable[str] = ()) -> QueryProblem:
        """Create the error for an unexpected token; if it is a word, suggest one of `words`."""
        at = self.at
        if self.kinds[at] == BAD:
            return self._bad(at)
        word = self.text[self.starts[at] : self.ends[at]]
        hint = self._hint(at, word, tuple(words))
        if self.kinds[at] == END and (opened := self._unclosed()) is not None:
            hint = f"{self.shown(opened)} at character {self.starts[opened] + 1} is not closed"
        return QueryProblem(f"unexpected {self.shown(at)}, expected {expected}", self.starts[at], self.ends[at], hint)

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
        return QueryProblem(f"nested deeper than {MAX_DEPTH} levels", self.starts[at], self.ends[at])


def _nearest(word: str, words: tuple[str, ...]) -> str | None:
    """Return a similar word of `words`; for short words, one that differs in a single character."""
    found = did_you_mean(word, words)
    if found or len(word) > _SHORT:
        return found
    low = word.lower()
    near = (one for one in words if len(one) == len(low) and sum(map(str.__ne__, one, low)) == 1)
    return next((f"did you mean {one}?" for one in near), None)
