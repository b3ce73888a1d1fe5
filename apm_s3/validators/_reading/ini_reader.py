"""Reads INI into nodes as go-ini, Grafana's reader, does: https://ini.unknwon.io/docs.

It supports `[section]` lines, `key = value` and `key: value`, comments with `#` or `;` (also after a value), multi-line
values in back quotes or triple double quotes, and continuation lines with a `\\` at the end. Keys before the first
section belong to `DEFAULT`. If a key is repeated, the last one wins, with a warning.
"""

from __future__ import annotations

from apm_s3.reports import Issue, Severity
from apm_s3.validators._reading.nodes import (
    Document,
    Node,
    Steps,
    Trace,
    Unreadable,
    check_nodes,
    decode_text,
    mapping,
    render_path,
    scalar,
)

DEFAULT_SECTION = "DEFAULT"


def read_ini(source: bytes | str, *, trace: Trace | None = None) -> Document:
    """Read the sections of `source`: a mapping of mappings of scalars. `trace` records the position of everything.

    Raises:
        Unreadable: not INI, or over a limit.
    """
    return _IniReader(decode_text(source), trace).read()


class _IniReader:
    def __init__(self, text: str, trace: Trace | None) -> None:
        self._lines = text.split("\n")
        self._trace = trace
        self._at = 0
        self._start, self._end = 0, -1
        self._count = 0
        self._issues: list[Issue] = []
        self._root = mapping(1, 1)

    def read(self) -> Document:
        name, section = DEFAULT_SECTION, mapping(1, 1)
        failure: Unreadable | None = None
        while self._at < len(self._lines):
            raw = self._next_line()
            line = raw.strip()
            if not line or line[0] in "#;":
                continue
            try:
                if line[0] == "[":
                    name = self._section_name(line)
                    section = self._section(name, raw)
                else:
                    self._key(name, section, raw)
                    if name not in self._root.entries:
                        self._section(name, raw, section)
            except Unreadable as exc:
                if self._trace is None or not self._trace.tolerant:
                    raise
                failure = failure or exc
        if failure is not None:
            raise failure
        return Document(self._root, self._issues)

    def _next_line(self) -> str:
        line = self._lines[self._at]
        self._at += 1
        self._start, self._end = self._end + 1, self._end + 1 + len(line)
        return line

    def _section_name(self, line: str) -> str:
        end = line.rfind("]")
        if end < 0:
            raise Unreadable("ini-syntax", "the section name is not closed by ']'", self._at, 1)
        name = line[1:end].strip()
        if not name:
            raise Unreadable("ini-syntax", "a section needs a name", self._at, 1)
        return name

    def _section(self, name: str, raw: str, made: Node | None = None) -> Node:
        column = len(raw) - len(raw.lstrip()) + 1
        header = scalar(name, self._at, column, plain=False)
        if self._trace is not None and made is None:
            self._trace.add((name,), header, self._start, self._end, is_key=True)
        if name in self._root.entries:
            return self._root.entries[name][1]
        section = made or mapping(self._at, column)
        self._root.entries[name] = (header, section)
        return section

    def _key(self, name: str, section: Node, raw: str) -> None:
        line_number, column = self._at, len(raw) - len(raw.lstrip()) + 1
        key, rest = self._split(raw)
        self._count += 1
        check_nodes(self._count, line_number, column)
        key_node = scalar(key, line_number, column, plain=False)
        if self._trace is not None:
            self._trace.add((name, key), key_node, self._start + column - 1, self._end - len(rest), is_key=True)
        value = scalar("", line_number, column, plain=True)
        self._fill(value, (name, key), rest)
        if key in section.entries:
            message = f"key {key[:80]!r} is given twice; the last one wins"
            path = render_path(((None, name), key))
            self._issues.append(Issue(Severity.WARNING, path, line_number, column, "duplicate-key", message))
        section.entries[key] = (key_node, value)

    def _fill(self, value: Node, steps: Steps, rest: str) -> None:
        start = self._end - len(rest.lstrip())
        try:
            value.text, stop = self._value(rest)
        except Unreadable:
            # An unclosed value continues to the end of the text.
            value.text, stop = rest, self._end
            raise
        finally:
            if self._trace is not None:
                self._trace.add(steps, value, start, stop, is_key=False)

    def _split(self, raw: str) -> tuple[str, str]:
        """Split a line into the key and the text after the delimiter."""
        line = raw.strip()
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
        return key, raw[len(raw) - len(raw.lstrip()) + min(places) + 1 :]

    def _value(self, rest: str) -> tuple[str, int]:
        """Return the value that begins in `rest`, the end of the current line, and the offset of the value's end."""
        text = rest.strip()
        start = self._end - len(rest.lstrip())
        for quote in ('"""', "`"):
            if text.startswith(quote):
                return self._quoted(text[len(quote) :], quote, start + len(quote))
        parts = [text]
        while parts[-1].endswith("\\") and self._at < len(self._lines):
            parts[-1] = parts[-1][:-1]
            parts.append(self._next_line().strip())
        text = "".join(parts)
        ends = [place for mark in "#;" if (place := text.find(mark)) >= 0]
        text = text[: min(ends)].strip() if ends else text
        # A multi-line value ends at the end of its last line, including the comment.
        line = self._lines[self._at - 1]
        stop = start + len(text) if len(parts) == 1 else self._end - len(line) + len(line.rstrip())
        if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
            return text[1:-1], stop
        return text, stop

    def _quoted(self, text: str, quote: str, start: int) -> tuple[str, int]:
        first, parts = self._at, [text]
        while (end := parts[-1].rfind(quote)) < 0:
            if self._at >= len(self._lines):
                raise Unreadable("ini-syntax", f"the value is not closed by {quote}", first, 1)
            parts.append(self._next_line())
            start = self._start
        parts[-1] = parts[-1][:end]
        return "\n".join(parts), start + end + len(quote)
