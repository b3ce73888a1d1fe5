"""Trees, named classes, escapes and errors of regular expressions as Go reads them.

Sources: https://pkg.go.dev/regexp/syntax for the classes of Perl and POSIX, https://pkg.go.dev/unicode for the names
of scripts (Unicode 15.0, Go 1.21 to 1.25) and categories. Since Go 1.25, case, spaces, `-` and `_` in these names do
not matter, and long category names are known; this follows the newest release.

Each node has the measures that Go's `regexp/syntax` limits, computed from its children.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from itertools import groupby

Ranges = tuple[tuple[int, int], ...]
Group = tuple[str | Ranges, bool]
"""A named class: the name of a category or script, or its characters, and whether it is inverted."""

MAX_RUNE = 0x10FFFF

_DIGIT: Ranges = ((0x30, 0x39),)
_LOWER: Ranges = ((0x61, 0x7A),)
_UPPER: Ranges = ((0x41, 0x5A),)
_WORD: Ranges = (*_DIGIT, *_UPPER, (0x5F, 0x5F), *_LOWER)

PERL: dict[str, Ranges] = {"d": _DIGIT, "s": ((0x09, 0x0A), (0x0C, 0x0D), (0x20, 0x20)), "w": _WORD}
"""The one-letter classes; the capital letter inverts the class."""

POSIX: dict[str, Ranges] = {
    "alnum": (*_DIGIT, *_UPPER, *_LOWER),
    "alpha": (*_UPPER, *_LOWER),
    "ascii": ((0x00, 0x7F),),
    "blank": ((0x09, 0x09), (0x20, 0x20)),
    "cntrl": ((0x00, 0x1F), (0x7F, 0x7F)),
    "digit": _DIGIT,
    "graph": ((0x21, 0x7E),),
    "lower": _LOWER,
    "print": ((0x20, 0x7E),),
    "punct": ((0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E)),
    "space": ((0x09, 0x0D), (0x20, 0x20)),
    "upper": _UPPER,
    "word": _WORD,
    "xdigit": (*_DIGIT, (0x41, 0x46), (0x61, 0x66)),
}
"""The classes written as `[:name:]` inside a class; `[:^name:]` inverts the class."""

_CATEGORIES = """
C Other, Cc Control cntrl, Cf Format, Cn Unassigned, Co Private_Use, Cs Surrogate, L Letter, LC Cased_Letter,
Ll Lowercase_Letter, Lm Modifier_Letter, Lo Other_Letter, Lt Titlecase_Letter, Lu Uppercase_Letter,
M Mark Combining_Mark, Mc Spacing_Mark, Me Enclosing_Mark, Mn Nonspacing_Mark, N Number, Nd Decimal_Number digit,
Nl Letter_Number, No Other_Number, P Punctuation punct, Pc Connector_Punctuation, Pd Dash_Punctuation,
Pe Close_Punctuation, Pf Final_Punctuation, Pi Initial_Punctuation, Po Other_Punctuation, Ps Open_Punctuation,
S Symbol, Sc Currency_Symbol, Sk Modifier_Symbol, Sm Math_Symbol, So Other_Symbol, Z Separator, Zl Line_Separator,
Zp Paragraph_Separator, Zs Space_Separator
"""

_SCRIPTS = """
Adlam Ahom Anatolian_Hieroglyphs Arabic Armenian Avestan Balinese Bamum Bassa_Vah Batak Bengali Bhaiksuki Bopomofo
Brahmi Braille Buginese Buhid Canadian_Aboriginal Carian Caucasian_Albanian Chakma Cham Cherokee Chorasmian Common
Coptic Cuneiform Cypriot Cypro_Minoan Cyrillic Deseret Devanagari Dives_Akuru Dogra Duployan Egyptian_Hieroglyphs
Elbasan Elymaic Ethiopic Georgian Glagolitic Gothic Grantha Greek Gujarati Gunjala_Gondi Gurmukhi Han Hangul
Hanifi_Rohingya Hanunoo Hatran Hebrew Hiragana Imperial_Aramaic Inherited Inscriptional_Pahlavi
Inscriptional_Parthian Javanese Kaithi Kannada Katakana Kawi Kayah_Li Kharoshthi Khitan_Small_Script Khmer Khojki
Khudawadi Lao Latin Lepcha Limbu Linear_A Linear_B Lisu Lycian Lydian Mahajani Makasar Malayalam Mandaic Manichaean
Marchen Masaram_Gondi Medefaidrin Meetei_Mayek Mende_Kikakui Meroitic_Cursive Meroitic_Hieroglyphs Miao Modi
Mongolian Mro Multani Myanmar Nabataean Nag_Mundari Nandinagari New_Tai_Lue Newa Nko Nushu Nyiakeng_Puachue_Hmong
Ogham Ol_Chiki Old_Hungarian Old_Italic Old_North_Arabian Old_Permic Old_Persian Old_Sogdian Old_South_Arabian
Old_Turkic Old_Uyghur Oriya Osage Osmanya Pahawh_Hmong Palmyrene Pau_Cin_Hau Phags_Pa Phoenician Psalter_Pahlavi
Rejang Runic Samaritan Saurashtra Sharada Shavian Siddham SignWriting Sinhala Sogdian Sora_Sompeng Soyombo Sundanese
Syloti_Nagri Syriac Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet Takri Tamil Tangsa Tangut Telugu Thaana Thai Tibetan
Tifinagh Tirhuta Toto Ugaritic Vai Vithkuqi Wancho Warang_Citi Yezidi Yi Zanabazar_Square
"""


def canonical_name(name: str) -> str:
    """Normalize `name` for comparison: without `_`, `-` and spaces, with a capital first letter."""
    plain = name.replace("_", "").replace("-", "").replace(" ", "")
    # str.capitalize would also fold non-ASCII letters, which Go does not.
    return plain.capitalize() if plain.isascii() else plain


@cache
def unicode_names() -> dict[str, str]:
    """Return the category or script for the canonical form of each name that `\\p{...}` accepts."""
    names = {"Any": "Any", "Assigned": "Assigned", "Ascii": "ASCII"}
    names |= {canonical_name(name): name for name in _SCRIPTS.split()}
    for entry in _CATEGORIES.split(","):
        short, *aliases = entry.split()
        names |= {canonical_name(alias): short for alias in (short, *aliases)}
    return names


HINTS = {
    "star": "a repetition needs something before it: write .* for any text, \\* for the character itself",
    "repeat": "counts go up to 1000, nested ones multiplied, and the first must not exceed the second",
    "possessive": "RE2 has no possessive repetition: remove the second operator",
    "look": "RE2 has no look-ahead and no look-behind: use a negative matcher, or a second rule",
    "name": "write (?P<name>...): the name has only letters, digits and _",
    "unicode": "use the name of a Unicode category or script, such as L, Lu or Greek",
    "posix": f"the classes are {', '.join(POSIX)}",
    "atomic": "RE2 has no atomic groups: write (?:...)",
    "comment": "RE2 has no comments",
    "group": "the flags are i, m, s and U; write (?:...) for a group that is not captured",
    "reference": "RE2 has no back references",
    "end": "write \\z for the end of the text",
    "backslash": "write \\\\ for a backslash",
    "hexadecimal": "write two digits, or braces: \\x7F, \\x{10FFFF}",
    "letter": "a backslash before this letter has no meaning: remove it, or write \\\\ for a backslash",
}


@dataclass(frozen=True, slots=True)
class RegexError:
    """Why a pattern is not a regular expression.

    `message` is Go's message with the invalid part; `offset` is where that begins, in characters from the start of the
    pattern. `hint` says what to write instead, or is None.
    """

    message: str
    offset: int
    hint: str | None = None


class Refused(Exception):
    """The pattern is invalid, for the reason in `error`."""

    def __init__(self, reason: str, part: str, offset: int, hint: str | None = None) -> None:
        super().__init__(reason)
        self.error = RegexError(f"{reason}: `{part}`", offset, hint)


def perl_hint(part: str) -> str:
    """Suggest a replacement for a group that begins with `part` and that RE2 does not have."""
    starts = {
        "(?=": "look",
        "(?!": "look",
        "(?>": "atomic",
        "(?#": "comment",
        "(?P": "name",
        "(?<": "name",
        "(?'": "name",
    }
    return HINTS[starts.get(part[:3], "group")]


def escape_hint(char: str) -> str | None:
    """Suggest a replacement for a backslash and `char`."""
    if char in "123456789k":
        return HINTS["reference"]
    if char in "xZ":
        return HINTS["hexadecimal" if char == "x" else "end"]
    return HINTS["letter"] if char.isalpha() else None


_OCTAL = re.compile(r"0[0-7]{0,2}|[1-7][0-7]{1,2}")
_HEX = re.compile(r"[0-9A-Fa-f]{2}")
_BRACED = re.compile(r"\{([0-9A-Fa-f]*)(.?)", re.DOTALL)
_ESCAPED = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def read_escape(text: str, at: int) -> tuple[str, int]:
    """Read the escape at `at`, or raise `Refused`."""
    if at + 1 == len(text):
        raise Refused("trailing backslash at end of expression", "", at, HINTS["backslash"])
    char = text[at + 1]
    if char < "\x80" and not char.isalnum():
        return char, at + 2
    if char in _ESCAPED:
        return _ESCAPED[char], at + 2
    if octal := _OCTAL.match(text, at + 1):
        return chr(int(octal[0], 8)), octal.end()
    code, end = _hexadecimal(text, at + 2) if char == "x" else (None, at + 2)
    if code is None:
        raise Refused("invalid escape sequence", text[at:end], at, escape_hint(char))
    return chr(code), end


def _hexadecimal(text: str, at: int) -> tuple[int | None, int]:
    """Read the code after `\\x`; None if it is invalid, with the end of what Go has read by then."""
    braced = _BRACED.match(text, at)
    if braced is None:
        digits = _HEX.match(text, at)
        return int(digits[0], 16) if digits else None, min(at + 2, len(text))
    # Go stops at the first digit that exceeds Unicode's range.
    digits_end, code = braced.start(1), 0
    for digit in braced[1]:
        code, digits_end = code * 16 + int(digit, 16), digits_end + 1
        if code > MAX_RUNE:
            return None, digits_end
    return code if braced[1] and braced[2] == "}" else None, braced.end()


def perl_class(letter: str) -> Group | None:
    """Return the class of a backslash and `letter`, or None."""
    ranges = PERL.get(letter.lower())
    return None if ranges is None else (ranges, letter.isupper())


def read_unicode_class(text: str, at: int) -> tuple[Group, int]:
    """Read the category or script named by the `\\p` or `\\P` at `at`, and whether it is inverted.

    Raises:
        Refused: the name is missing or unknown.
    """
    inverse = text[at + 1] == "P"
    if text.startswith("{", at + 2):
        close = text.find("}", at)
        if close < 0:
            raise Refused("invalid character class range", text[at:], at, "a closing } is missing")
        name, end = text[at + 3 : close], close + 1
    else:
        name, end = text[at + 2 : at + 3], min(at + 3, len(text))
    if name.startswith("^"):
        name, inverse = name[1:], not inverse
    known = unicode_names().get(canonical_name(name))
    if known is None:
        raise Refused("invalid character class range", text[at:end], at, HINTS["unicode"])
    return (known, inverse), end


def read_posix_class(text: str, at: int) -> tuple[Group, int]:
    """Read the class of the `[:name:]` at `at`, which must be followed by `:]`, or raise `Refused`."""
    close = text.find(":]", at + 2)
    inverse = text.startswith("^", at + 2)
    ranges = POSIX.get(text[at + 2 + inverse : close])
    if ranges is None:
        raise Refused("invalid character class range", text[at : close + 2], at, HINTS["posix"])
    return (ranges, inverse), close + 2


class Op(Enum):
    """Kinds of nodes."""

    EMPTY = auto()
    LITERAL = auto()
    CLASS = auto()
    ANY = auto()
    ANY_NOT_NEWLINE = auto()
    BEGIN_TEXT = auto()
    BEGIN_LINE = auto()
    END_TEXT = auto()
    END_LINE = auto()
    WORD_BOUNDARY = auto()
    NOT_WORD_BOUNDARY = auto()
    CAPTURE = auto()
    REPEAT = auto()
    CONCAT = auto()
    ALTERNATE = auto()


@dataclass(frozen=True, slots=True)
class CharClass:
    """A set of characters: those in `ranges` or in one of `groups`, or all others if `negated`.

    A folded class also has all characters that differ from a member only in case; groups are folded before they are
    inverted.
    """

    ranges: Ranges = ()
    groups: tuple[Group, ...] = ()
    negated: bool = False
    folded: bool = False


@dataclass(slots=True, eq=False)
class Node:
    """One part of a regular expression.

    Go limits `height`, `size` (in instructions) and `copies` (the product of the counted repetitions on the worst
    path, 0 for none). `text` is a literal's characters, or a capture's name. `empty` says whether it matches the empty
    text. Nodes never change after creation; they are not frozen because that would take twice the time.
    """

    op: Op
    subs: tuple[Node, ...] = ()
    text: str = ""
    char_class: CharClass | None = None
    index: int = 0
    low: int = 0
    high: int = 0
    greedy: bool = True
    folded: bool = False
    height: int = 1
    size: int = 1
    copies: int = 0
    empty: bool = False


def literal(text: str, *, folded: bool) -> Node:
    """Create a literal; `folded` ignores case."""
    return Node(Op.LITERAL, text=text, folded=folded, size=len(text))


def anchor(op: Op) -> Node:
    """Create a condition on the position, such as `^` and `\\b`."""
    return Node(op, empty=op is not Op.WORD_BOUNDARY)


def capture(sub: Node, index: int, name: str) -> Node:
    """Create the group with number `index`."""
    return Node(
        Op.CAPTURE,
        (sub,),
        name,
        index=index,
        height=sub.height + 1,
        size=sub.size + 2,
        copies=sub.copies,
        empty=sub.empty,
    )


def simple_repeat(sub: Node, operator: str, *, greedy: bool) -> Node:
    """Repeat `sub` with `*`, `+` or `?`."""
    low, high = {"*": (0, -1), "+": (1, -1), "?": (0, 1)}[operator]
    return _repeat(sub, low, high, greedy, sub.size + (2 if operator == "*" else 1), sub.copies)


def counted_repeat(sub: Node, low: int, high: int, *, greedy: bool) -> Node:
    """Repeat `sub` at least `low` and at most `high` times, -1 for any number."""
    size = max(1, high * sub.size + high - low)
    if high < 0:
        size = 1 + low * sub.size if low else 2 + sub.size
    count = low if high < 0 else high
    copies = 0 if high == 0 else max(count, count * sub.copies) if count else sub.copies
    return _repeat(sub, low, high, greedy, size, copies)


def _repeat(sub: Node, low: int, high: int, greedy: bool, size: int, copies: int) -> Node:
    return Node(
        Op.REPEAT,
        (sub,),
        low=low,
        high=high,
        greedy=greedy,
        height=sub.height + 1,
        size=size,
        copies=copies,
        empty=low == 0 or sub.empty,
    )


def concat(subs: Sequence[Node]) -> Node:
    """Concatenate nodes, joining adjacent literals."""
    joined: list[Node] = []
    for folded, run in groupby(subs, key=lambda node: node.folded if node.op is Op.LITERAL else None):
        nodes = list(run)
        if folded is None or len(nodes) == 1:
            joined.extend(nodes)
        else:
            joined.append(literal("".join(node.text for node in nodes), folded=folded))
    return _group(Op.CONCAT, joined)


def alternate(subs: Sequence[Node]) -> Node:
    """Create alternatives; earlier ones are preferred."""
    if len(subs) > 1 and all(_is_one_character(sub) for sub in subs):
        # Go turns them into one character class.
        return Node(Op.ALTERNATE, tuple(subs))
    return _group(Op.ALTERNATE, subs)


def _is_one_character(node: Node) -> bool:
    return (node.op is Op.LITERAL and len(node.text) == 1) or node.op in (Op.CLASS, Op.ANY, Op.ANY_NOT_NEWLINE)


def _group(op: Op, subs: Sequence[Node]) -> Node:
    if not subs:
        return Node(Op.EMPTY, empty=True)
    if len(subs) == 1:
        return subs[0]
    size = sum(sub.size for sub in subs) + (len(subs) - 1 if op is Op.ALTERNATE else 0)
    # Go merges a group into an enclosing group of the same kind.
    height = 1 + max(sub.height - (sub.op is op and sub.height > 1) for sub in subs)
    empty = all(sub.empty for sub in subs) if op is Op.CONCAT else any(sub.empty for sub in subs)
    copies = max(sub.copies for sub in subs)
    return Node(op, tuple(subs), height=height, size=size, copies=copies, empty=empty)
