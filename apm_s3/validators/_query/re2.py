r"""The syntax of Go's regular expressions, RE2's, checked without running anything: linear in the pattern's length.

The rules and error messages are those of https://pkg.go.dev/regexp/syntax with the flags of `regexp.Compile`, in the
newest Go: `(?<name>` is a group, and case and `_` do not matter in `\p{...}`. The limits on depth, size and repetition
are also Go's. Go's factoring of common prefixes in alternatives is not modelled; it shifts the limits on depth and size
slightly, far above any real pattern.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import ClassVar

from apm_s3.validators._query.re2_syntax import (
    HINTS,
    CharClass,
    Group,
    Node,
    Op,
    Refused,
    RegexError,
    alternate,
    anchor,
    capture,
    concat,
    counted_repeat,
    literal,
    perl_class,
    perl_hint,
    read_escape,
    read_posix_class,
    read_unicode_class,
    simple_repeat,
)

MAX_REPEAT = 1000
"""The highest repeat count, and the highest product of nested counts."""
MAX_HEIGHT = 1000
MAX_SIZE = (128 << 20) // 40
"""Go's limit on the instructions of a compiled pattern."""
MAX_LENGTH = 256 * 1024
"""The maximum length of a pattern, in characters. Go has no such limit; here it limits the time."""
_CACHED_LENGTH = 256

_PLAIN = re.compile(r"[^\\\[(){|*+?.^$]+")
_COUNT = re.compile(r"\{(0|[1-9][0-9]*)(?:(,)(0|[1-9][0-9]*)?)?\}")
_BEFORE_OPERATOR = frozenset("*+?{(\\")
_NAME = re.compile(r"\w+", re.ASCII)
_EMPTY_WIDTH = {"A": Op.BEGIN_TEXT, "b": Op.WORD_BOUNDARY, "B": Op.NOT_WORD_BOUNDARY, "z": Op.END_TEXT}


@dataclass(frozen=True, slots=True, eq=False)
class Regex:
    """A parsed pattern: its tree, and the names of its groups by number, "" for unnamed groups."""

    root: Node
    groups: tuple[str, ...]

    @property
    def matches_empty(self) -> bool:
        """Return whether the pattern matches the empty text."""
        return self.root.empty


def check_re2(pattern: str, prefix: str = "", suffix: str = "") -> RegexError | None:
    """Return why Go refuses `pattern` between `prefix` and `suffix` (the anchors of the tools); None if it is valid.

    If the pattern itself is invalid, the error is about the pattern alone.
    """
    outcome = parse_re2(prefix + pattern + suffix)
    if isinstance(outcome, Regex):
        return None
    alone = parse_re2(pattern) if prefix or suffix else outcome
    if isinstance(alone, RegexError):
        return alone
    return replace(outcome, offset=min(max(outcome.offset - len(prefix), 0), len(pattern)))


def parse_re2(pattern: str) -> Regex | RegexError:
    """Parse `pattern`, or return the error."""
    return _parse_cached(pattern) if len(pattern) <= _CACHED_LENGTH else _parse(pattern)


def _parse(pattern: str) -> Regex | RegexError:
    if len(pattern) > MAX_LENGTH:
        return RegexError(f"longer than {MAX_LENGTH} characters", 0)
    try:
        return _Parser(pattern).parse()
    except Refused as exc:
        return exc.error


_parse_cached = lru_cache(maxsize=1024)(_parse)


@dataclass(frozen=True, slots=True)
class _Flags:
    fold: bool = False
    multi_line: bool = False
    dot_newline: bool = False
    ungreedy: bool = False


_FLAG_NAMES = {"i": "fold", "m": "multi_line", "s": "dot_newline", "U": "ungreedy"}


@dataclass(slots=True)
class _Open:
    """An open group: where it began, how to restore the previous state, and its parts so far."""

    offset: int
    flags: _Flags
    index: int = 0
    name: str = ""
    parts: list[Node] = field(default_factory=list)
    branches: list[Node] = field(default_factory=list)

    def close(self) -> Node:
        """Return the node of all branches."""
        return alternate([*self.branches, concat(self.parts)])


class _Parser:
    """One pass over a pattern. `_at` is the position, `_stack` the open groups, with the whole pattern first."""

    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0
        self._flags = _Flags()
        self._stack = [_Open(0, self._flags)]
        self._groups: list[str] = [""]
        # The position of the repetition operator just read; None after anything else.
        self._last_repeat: int | None = None
        # Searched only once: after it, no `[:` begins a named class.
        self._last_posix_end = pattern.rfind(":]")

    def parse(self) -> Regex:
        """Parse the whole pattern, or raise `Refused`."""
        text = self._text
        while self._at < len(text):
            if run := _PLAIN.match(text, self._at):
                self._plain(run)
                continue
            repeat = self._at if text[self._at] in "*+?{" else None
            if not self._READERS[text[self._at]](self):
                repeat = None
            self._last_repeat = repeat
        root = self._checked(self._stack[-1].close())
        if len(self._stack) > 1:
            raise Refused("missing closing )", text, self._stack[-1].offset)
        return Regex(root, tuple(self._groups))

    def _plain(self, run: re.Match[str]) -> None:
        # A repetition operator applies only to the last character. It may follow after flags or an empty quotation.
        characters = run[0]
        if len(characters) > 1 and self._text[run.end() : run.end() + 1] in _BEFORE_OPERATOR:
            self._push(literal(characters[:-1], folded=self._flags.fold))
            characters = characters[-1]
        self._push(literal(characters, folded=self._flags.fold))
        self._at = run.end()
        self._last_repeat = None

    def _push(self, node: Node) -> None:
        self._stack[-1].parts.append(node)

    def _checked(self, node: Node) -> Node:
        if node.size > MAX_SIZE:
            raise Refused("expression too large", self._text, 0)
        if node.height > MAX_HEIGHT:
            raise Refused("expression nests too deeply", self._text, 0)
        return node

    # -- single characters

    def _caret(self) -> bool:
        return self._single(anchor(Op.BEGIN_LINE if self._flags.multi_line else Op.BEGIN_TEXT))

    def _dollar(self) -> bool:
        return self._single(anchor(Op.END_LINE if self._flags.multi_line else Op.END_TEXT))

    def _dot(self) -> bool:
        return self._single(Node(Op.ANY if self._flags.dot_newline else Op.ANY_NOT_NEWLINE))

    def _single(self, node: Node) -> bool:
        self._push(node)
        self._at += 1
        return False

    # -- repetition

    def _operator(self) -> bool:
        operator = self._text[self._at]
        return self._repeat(self._at + 1, lambda sub, greedy: simple_repeat(sub, operator, greedy=greedy))

    def _brace(self) -> bool:
        count = _COUNT.match(self._text, self._at)
        if count is None:
            self._push(literal("{", folded=self._flags.fold))
            self._at += 1
            return False
        # More digits than any valid count: do not let int() parse thousands of digits.
        low, high = (MAX_REPEAT + 1 if len(digits or "") > 4 else int(digits or -1) for digits in (count[1], count[3]))
        if count[2] is None:
            high = low
        if low > MAX_REPEAT or high > MAX_REPEAT or 0 <= high < low:
            raise Refused("invalid repeat count", count[0], self._at, HINTS["repeat"])
        start = self._at
        self._repeat(count.end(), lambda sub, greedy: counted_repeat(sub, low, high, greedy=greedy))
        if max(low, high) > 1 and self._stack[-1].parts[-1].copies > MAX_REPEAT:
            raise Refused("invalid repeat count", self._text[start : self._at], start, HINTS["repeat"])
        return True

    def _repeat(self, end: int, make: Callable[[Node, bool], Node]) -> bool:
        lazy = self._text.startswith("?", end)
        start, self._at = self._at, end + lazy
        if self._last_repeat is not None:
            part = self._text[self._last_repeat : self._at]
            hint = HINTS["possessive"] if part.endswith("+") else None
            raise Refused("invalid nested repetition operator", part, self._last_repeat, hint)
        parts = self._stack[-1].parts
        if not parts:
            raise Refused("missing argument to repetition operator", self._text[start : self._at], start, HINTS["star"])
        parts[-1] = self._checked(make(parts[-1], lazy == self._flags.ungreedy))
        return True

    # -- groups

    def _bar(self) -> bool:
        group = self._stack[-1]
        group.branches.append(self._checked(concat(group.parts)))
        group.parts = []
        self._at += 1
        return False

    def _close(self) -> bool:
        if len(self._stack) == 1:
            raise Refused("unexpected )", self._text, self._at)
        group = self._stack.pop()
        node = self._checked(group.close())
        self._flags = group.flags
        self._push(self._checked(capture(node, group.index, group.name)) if group.index else node)
        self._at += 1
        return False

    def _open(self) -> bool:
        if self._text.startswith("(?", self._at):
            self._extension()
        else:
            self._open_capture(self._at + 1, "")
        return False

    def _open_capture(self, end: int, name: str) -> None:
        self._stack.append(_Open(self._at, self._flags, len(self._groups), name))
        self._groups.append(name)
        self._at = end

    def _extension(self) -> None:
        start, text = self._at, self._text
        body = next((start + len(form) for form in ("(?P<", "(?<") if text.startswith(form, start)), None)
        # "(?<" and "(?P<" at the end do not begin a name.
        if body is None or body == len(text):
            self._flag_group()
            return
        end = text.find(">", start)
        hint = HINTS["look"] if text.startswith(("=", "!"), body) else HINTS["name"]
        if end < 0:
            raise Refused("invalid named capture", text[start:], start, hint)
        name = text[body:end]
        if not _NAME.fullmatch(name):
            raise Refused("invalid named capture", text[start : end + 1], start, hint)
        self._open_capture(end + 1, name)

    def _flag_group(self) -> None:
        start, at, text = self._at, self._at + 2, self._text
        changes: dict[str, bool] = {}
        value, seen = True, False
        while at < len(text):
            char, at = text[at], at + 1
            if char in _FLAG_NAMES:
                changes[_FLAG_NAMES[char]] = value
                seen = True
            elif char == "-" and value:
                value = seen = False
            elif char in ":)" and (value or seen):
                if char == ":":
                    self._stack.append(_Open(start, self._flags))
                self._flags = replace(self._flags, **changes)
                self._at = at
                return
            else:
                break
        part = text[start:at]
        raise Refused("invalid or unsupported Perl syntax", part, start, perl_hint(part))

    # -- escapes

    def _backslash(self) -> bool:
        letter = self._text[self._at + 1 : self._at + 2]
        if letter in _EMPTY_WIDTH and letter:
            self._push(anchor(_EMPTY_WIDTH[letter]))
            self._at += 2
        elif letter == "Q":
            self._quoted()
        elif perl := perl_class(letter):
            self._push_class(CharClass(groups=(perl,), folded=self._flags.fold))
            self._at += 2
        elif letter in ("p", "P"):
            group, self._at = read_unicode_class(self._text, self._at)
            self._push_class(CharClass(groups=(group,), folded=self._flags.fold))
        else:
            character, self._at = read_escape(self._text, self._at)
            self._push(literal(character, folded=self._flags.fold))
        return False

    def _quoted(self) -> None:
        end = self._text.find("\\E", self._at + 2)
        characters = self._text[self._at + 2 :] if end < 0 else self._text[self._at + 2 : end]
        # One by one, because a repetition operator after \E applies only to the last one.
        for part in (characters[:-1], characters[-1:]):
            if part:
                self._push(literal(part, folded=self._flags.fold))
        self._at = len(self._text) if end < 0 else end + 2

    def _push_class(self, char_class: CharClass) -> None:
        self._push(Node(Op.CLASS, char_class=char_class))

    # -- character classes

    def _class(self) -> bool:
        start, text = self._at, self._text
        self._at += 1
        negated = text.startswith("^", self._at)
        self._at += negated
        first = self._at
        ranges: list[tuple[int, int]] = []
        groups: list[Group] = []
        while self._at == first or not text.startswith("]", self._at):
            self._class_member(start, ranges, groups)
        self._at += 1
        if len(ranges) == 1 and ranges[0][0] == ranges[0][1] and not (negated or groups or self._flags.fold):
            self._push(literal(chr(ranges[0][0]), folded=False))
        else:
            self._push_class(CharClass(tuple(ranges), tuple(groups), negated, self._flags.fold))
        return False

    def _class_member(self, start: int, ranges: list[tuple[int, int]], groups: list[Group]) -> None:
        text = self._text
        letter = text[self._at + 1 : self._at + 2] if text.startswith("\\", self._at) else ""
        if text.startswith("[:", self._at) and self._at + 2 <= self._last_posix_end:
            group, self._at = read_posix_class(text, self._at)
            groups.append(group)
        elif perl := perl_class(letter):
            groups.append(perl)
            self._at += 2
        elif letter in ("p", "P"):
            group, self._at = read_unicode_class(text, self._at)
            groups.append(group)
        else:
            ranges.append(self._range(start))

    def _range(self, start: int) -> tuple[int, int]:
        begin, text = self._at, self._text
        low = high = self._class_character(start)
        following = text[self._at : self._at + 2]
        if len(following) == 2 and following[0] == "-" and following[1] != "]":
            self._at += 1
            high = self._class_character(start)
            if high < low:
                raise Refused("invalid character class range", text[begin : self._at], begin)
        return low, high

    def _class_character(self, start: int) -> int:
        if self._at >= len(self._text):
            raise Refused("missing closing ]", self._text[start:], start)
        if self._text[self._at] == "\\":
            character, self._at = read_escape(self._text, self._at)
            return ord(character)
        self._at += 1
        return ord(self._text[self._at - 1])

    _READERS: ClassVar[dict[str, Callable[[_Parser], bool]]] = {
        "^": _caret,
        "$": _dollar,
        ".": _dot,
        "[": _class,
        "\\": _backslash,
        "(": _open,
        "|": _bar,
        ")": _close,
        **dict.fromkeys("*+?", _operator),
        "{": _brace,
    }
    """The parser for each special character; it returns whether that was a repetition operator."""
