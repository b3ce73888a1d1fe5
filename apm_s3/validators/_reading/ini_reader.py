"""INI to nodes as go-ini, Grafana's reader, takes it: https://ini.unknwon.io/docs.

`[section]` lines, `key = value` or `key: value`, comments by `#` or `;` (also behind a value), values in back quotes
or triple double quotes over several lines, a `\\` at the end of a line continues it. Keys above the first section
belong to `DEFAULT`. The later of two equal keys wins, with a warning.
"""

from __future__ import annotations

from apm_s3.reports import Issue, Severity
from apm_s3.validators._reading.nodes import (
    Document,
    Node,
    Unreadable,
    check_nodes,
    decode_text,
    mapping,
    render_path,
    scalar,
)

DEFAULT_SECTION = "DEFAULT"


def read_ini(source: bytes | str) -> Document:
    """The sections of `source`: a mapping of mappings of scalars.

    Raises:
        Unreadable: not INI, or beyond a budget.
    """
    return _Reader(decode_text(source)).read()


class _Reader:
    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        self._at = 0
        self._count = 0
        self._issues: list[Issue] = []
        self._root = mapping(1, 1)

    def read(self) -> Document:
        name, section = DEFAULT_SECTION, mapping(1, 1)
        while self._at < len(self._lines):
            raw = self._lines[self._at]
            self._at += 1
            line = raw.strip()
            if not line or line[0] in "#;":
                continue
            if line[0] == "[":
                name = self._section_name(line)
                section = self._section(name, raw)
            else:
                self._key(name, section, raw)
                if name not in self._root.entries:
                    self._section(name, raw, section)
        return Document(self._root, self._issues)

    def _section_name(self, line: str) -> str:
        end = line.rfind("]")
        if end < 0:
            raise Unreadable("ini-syntax", "the section's name is not closed by ']'", self._at, 1)
        name = line[1:end].strip()
        if not name:
            raise Unreadable("ini-syntax", "a section needs a name", self._at, 1)
        return name

    def _section(self, name: str, raw: str, made: Node | None = None) -> Node:
        if name in self._root.entries:
            return self._root.entries[name][1]
        column = len(raw) - len(raw.lstrip()) + 1
        section = made or mapping(self._at, column)
        self._root.entries[name] = (scalar(name, self._at, column, plain=False), section)
        return section

    def _key(self, name: str, section: Node, raw: str) -> None:
        line_number, column = self._at, len(raw) - len(raw.lstrip()) + 1
        key, rest = self._split(raw.strip())
        self._count += 1
        check_nodes(self._count, line_number, column)
        value = scalar(self._value(rest), line_number, column, plain=True)
        if key in section.entries:
            message = f"key {key[:80]!r} is given twice; the later one wins"
            path = render_path(((None, name), key))
            self._issues.append(Issue(Severity.WARNING, path, line_number, column, "duplicate-key", message))
        section.entries[key] = (scalar(key, line_number, column, plain=False), value)

    def _split(self, line: str) -> tuple[str, str]:
        """The key of `line` and what follows its delimiter."""
        quote = '"""' if line.startswith('"""') else line[0] if line[0] in '"`' else ""
        start = len(quote)
        end = line.find(quote, start) if quote else 0
        if end < 0:
            raise Unreadable("ini-syntax", "the quoted key is not closed", self._at, 1)
        places = [place for mark in "=:" if (place := line.find(mark, end)) >= 0]
        if not places:
            raise Unreadable("ini-syntax", "expected 'key = value', '[section]' or a comment", self._at, 1)
        key = line[start:end] if quote else line[: min(places)].strip()
        if not key:
            raise Unreadable("ini-syntax", "a value needs a key", self._at, 1)
        return key, line[min(places) + 1 :]

    def _value(self, rest: str) -> str:
        text = rest.strip()
        for quote in ('"""', "`"):
            if text.startswith(quote):
                return self._quoted(text[len(quote) :], quote)
        parts = [text]
        while parts[-1].endswith("\\") and self._at < len(self._lines):
            parts[-1] = parts[-1][:-1]
            parts.append(self._lines[self._at].strip())
            self._at += 1
        text = "".join(parts)
        ends = [place for mark in "#;" if (place := text.find(mark)) >= 0]
        text = text[: min(ends)].strip() if ends else text
        if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
            return text[1:-1]
        return text

    def _quoted(self, text: str, quote: str) -> str:
        start, parts = self._at, [text]
        while (end := parts[-1].rfind(quote)) < 0:
            if self._at >= len(self._lines):
                raise Unreadable("ini-syntax", f"the value is not closed by {quote}", start, 1)
            parts.append(self._lines[self._at])
            self._at += 1
        parts[-1] = parts[-1][:end]
        return "\n".join(parts)
