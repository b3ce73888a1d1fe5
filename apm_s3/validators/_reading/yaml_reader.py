"""Reads YAML into nodes from libyaml's events: no constructor runs, and limits are checked before each event.

Duplicate keys are errors. Merge keys (`<<`) are resolved as in the tool's Go library. Only the first document counts,
as in all of these tools. libyaml gets the text in slices, so that a thread releases the interpreter lock at least once
per slice, however long a scalar is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal

import yaml

from apm_s3.reports import Issue, Rule, Severity
from apm_s3.validators._reading.nodes import (
    MAPPING,
    MAX_DEPTH,
    MAX_EXPANSION,
    MAX_NODES,
    SCALAR,
    SEQUENCE,
    Document,
    Entry,
    Node,
    Steps,
    Trace,
    Unreadable,
    Written,
    check_depth,
    check_nodes,
    decode_text,
    mapping,
    resolve,
    scalar,
    sequence,
)

try:
    from yaml import CLoader as _Loader
except ImportError:  # PyYAML built without libyaml: slower, same events
    from yaml import Loader as _Loader  # type: ignore[assignment]

GoYaml = Literal["v2", "v3", "v4"]
"""The Go library to imitate: v2 reads the configuration of Prometheus and Alertmanager, v3 rule files, v4 Loki's
configuration. v4 behaves like libyaml, and is used for every other document."""

_SLICE = 64 * 1024
_ESCAPED_BACKSLASH = re.compile(r"\\\\")
_TAG_PREFIX = "tag:yaml.org,2002:"
_IN_BRACES = "put a value that begins with '{{' in quotes, or render the template first"
_BRACES = re.compile(r"^[^#\n\"']*[:-][ ]+\{\{", re.MULTILINE)


def read_yaml(source: bytes | str, *, library: GoYaml = "v4", trace: Trace | None = None) -> Document:
    """Read the first document of `source`; `trace` records the position of everything.

    In v2, a merge key overrides the keys above it, and plain values in brackets or braces cannot contain `?`. Otherwise
    explicit keys override merged ones, as the YAML specification says.

    Raises:
        Unreadable: not YAML, or over a limit.
    """
    # libyaml drops a byte order mark at the start of a line, while Go reads it as a character; replace it with another.
    text = decode_text(source).replace("\n\ufeff", "\n\ue0ff")
    loader = _Loader(_Slices(text.encode()))
    try:
        composer = _Composer(loader, text, library) if trace is None else _Tracer(loader, text, library, trace)
        return composer.compose()
    except yaml.MarkedYAMLError as exc:
        raise _unreadable(exc, text) from exc
    except yaml.YAMLError as exc:
        raise Unreadable("yaml-syntax", str(getattr(exc, "reason", None) or exc).splitlines()[0]) from exc
    finally:
        loader.dispose()


class _Slices:
    """The encoded text for libyaml's read handler, which releases the interpreter lock once per slice."""

    def __init__(self, encoded: bytes) -> None:
        self._encoded = encoded
        self._at = 0

    def read(self, size: int = _SLICE) -> bytes:
        start, self._at = self._at, self._at + min(size, _SLICE)
        return self._encoded[start : self._at]


class _Open:
    """A collection that is still open."""

    __slots__ = ("anchor", "flow", "height", "key", "merged", "merges", "node", "shadowed", "start")

    def __init__(self, node: Node, event: Any, start: int) -> None:
        self.node = node
        self.anchor: str | None = event.anchor
        self.flow: bool = event.flow_style
        self.start = start
        self.height = 1
        self.key: Node | None = None
        self.merged: set[str] = set()
        self.shadowed: list[Entry] = []
        self.merges = 0


class _Composer:
    def __init__(self, loader: Any, text: str, library: GoYaml) -> None:
        self._next: Callable[[], Any] = loader.get_event
        self._text = text
        self._merge_overrides = library == "v2"
        self._slash_escapes = library == "v4"
        self._strict_tags = library == "v3"
        self._anchors: dict[str, tuple[Node, int, int]] = {}
        self._open: list[_Open] = []
        self._root: Node | None = None
        self._issues: list[Issue] = []
        self._written = 0
        self._expanded = 0

    def compose(self) -> Document:
        self._next()
        start = self._next()
        if isinstance(start, yaml.StreamEndEvent):
            return Document(None)
        _check_version(start)
        while not isinstance(event := self._next(), yaml.DocumentEndEvent):
            self._take(event)
        self._look_behind_the_end()
        return Document(self._root, self._issues)

    def _look_behind_the_end(self) -> None:
        try:
            event = self._next()
        except yaml.MarkedYAMLError as exc:
            line = _unreadable(exc).line
        else:
            if isinstance(event, yaml.StreamEndEvent):
                return
            line = event.start_mark.line + 1
        message = "only the first document is read; the rest is ignored"
        self._issues.append(Issue(Severity.WARNING, "", line, 1, "more-documents", message))

    def _take(self, event: Any) -> None:
        kind = type(event)
        if kind is yaml.ScalarEvent:
            # Half of the time is spent here, so there are no avoidable calls.
            mark = event.start_mark
            tag = event.tag
            if tag is not None:
                tag = self._tag_of(event)
            node = scalar(event.value, mark.line + 1, mark.column + 1, tag is None and event.implicit[0], tag)
            if event.style == '"':
                if "/" in event.value and not self._slash_escapes:
                    self._check_slashes(event)
            elif self._merge_overrides and "?" in event.value and not event.style:
                self._check_question_mark(node)
            self._written += 1
            if self._written > MAX_NODES:
                check_nodes(self._written, node.line, node.column)
            if event.anchor is not None:
                self._anchors[event.anchor] = (node, 1, 0)
            self._attach(node)
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            self._push(event)
        elif kind is yaml.AliasEvent:
            self._expand(event)
        else:
            self._pop()

    def _check_slashes(self, event: Any) -> None:
        """Refuse an escaped slash, which Go's yaml.v2 and v3 do not know."""
        start, end = event.start_mark, event.end_mark
        if "\\/" in _ESCAPED_BACKSLASH.sub("", self._text[start.index : end.index]):
            message = "unknown escape '\\/'; write a slash without a backslash"
            raise Unreadable("yaml-syntax", message, start.line + 1, start.column + 1)

    def _tag_of(self, event: Any) -> str | None:
        tag = _short(event.tag)
        # yaml.v3 has only the booleans true and false; it does not accept YAML 1.1's other words with a tag.
        if tag == "!!bool" and self._strict_tags and event.value.lower() not in ("true", "false"):
            mark = event.start_mark
            raise Unreadable("yaml-tag", "the value cannot be read as !!bool", mark.line + 1, mark.column + 1)
        return tag

    def _check_question_mark(self, node: Node) -> None:
        """Refuse `?` in flow collections, where Go's yaml.v2 reads it as a key indicator, even inside a word."""
        if any(collection.flow for collection in self._open):
            message = "a value with '?' in brackets or braces must be quoted"
            raise Unreadable("yaml-syntax", message, node.line, node.column)

    def _push(self, event: Any) -> None:
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        check_depth(len(self._open) + 1, line, column)
        self._written += 1
        check_nodes(self._written, line, column)
        make = mapping if isinstance(event, yaml.MappingStartEvent) else sequence
        self._open.append(_Open(make(line, column, _short(event.tag)), event, self._written + self._expanded))
        if event.anchor is not None:
            self._anchors.pop(event.anchor, None)

    def _pop(self) -> None:
        done = self._open.pop()
        if done.shadowed:
            done.node.shadowed = done.shadowed
        if done.anchor is not None:
            size = self._written + self._expanded - done.start + 1
            self._anchors[done.anchor] = (done.node, size, done.height)
        if self._open:
            parent = self._open[-1]
            parent.height = max(parent.height, done.height + 1)
        self._attach(done.node)

    def _expand(self, event: Any) -> None:
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        name = event.anchor
        # Do not show the name: it may be an unquoted password that begins with an asterisk.
        if any(collection.anchor == name for collection in self._open):
            raise Unreadable("alias-cycle", "the anchor of this alias contains itself", line, column)
        if name not in self._anchors:
            message = "the anchor of this alias is not defined above; a value that begins with '*' must be quoted"
            raise Unreadable("unknown-anchor", message, line, column)
        node, size, height = self._anchors[name]
        self._expanded += size
        if self._expanded > MAX_EXPANSION:
            message = f"aliases expand to more than {MAX_EXPANSION} values"
            raise Unreadable("too-many-aliases", message, line, column)
        check_depth(len(self._open) + height, line, column)
        if self._open:
            self._open[-1].height = max(self._open[-1].height, height + 1)
        self._attach(node)

    def _attach(self, node: Node) -> None:
        if not self._open:
            self._root = node
            return
        parent = self._open[-1]
        if parent.node.kind == SEQUENCE:
            parent.node.items.append(node)
        elif parent.key is None:
            parent.key = node
        else:
            key, parent.key = parent.key, None
            self._add(parent, key, node)

    def _add(self, parent: _Open, key: Node, value: Node) -> None:
        if key.kind != SCALAR:
            braces = key.kind == MAPPING and (key.line, key.column - 1) == (parent.node.line, parent.node.column)
            self._error(
                key, "complex-key", "a mapping or a sequence cannot be a key", hint=_IN_BRACES if braces else None
            )
            return
        if key.tag is not None and not self._untagged(key):
            return
        name, entries = key.text, parent.node.entries
        if name == "<<" and (key.plain or key.tag == "!!merge"):
            self._merge(parent, key, value)
        elif name in entries and name not in parent.merged:
            first = entries[name][0].line
            self._error(key, "duplicate-key", f"duplicate key {name[:80]!r}; it is first defined on line {first}", name)
        else:
            if name in entries and self._merge_overrides:
                parent.shadowed.append(entries[name])
            parent.merged.discard(name)
            entries[name] = (key, value)

    def _untagged(self, key: Node) -> bool:
        """Resolve a key with a tag to its text; False after reporting that it cannot be resolved."""
        try:
            value = resolve(key)
        except ValueError as exc:
            self._error(key, "yaml-tag", f"the key {exc}", key.text)
            return False
        if key.tag == "!!binary":
            key.text = str(value).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            key.tag = None
        return True

    def _merge(self, parent: _Open, key: Node, value: Node) -> None:
        if self._strict_tags and parent.merges:
            message = f"duplicate key '<<'; it is first defined on line {parent.merges}"
            self._error(key, "duplicate-key", message, "<<")
            return
        parent.merges = key.line
        sources = list(reversed(value.items)) if value.kind == SEQUENCE else [value]
        if any(source.kind != MAPPING for source in sources):
            self._error(key, "merge-key", "'<<' needs a mapping or a sequence of mappings", "<<")
            return
        entries = parent.node.entries
        for source in sources:
            parent.shadowed += source.shadowed
            for name, entry in source.entries.items():
                if self._merge_overrides and name in entries and entries[name] is not entry:
                    parent.shadowed.append(entries[name])
                if self._merge_overrides or name not in entries or name in parent.merged:
                    entries[name] = entry
                    parent.merged.add(name)

    def _error(self, node: Node, rule: Rule, message: str, step: str = "", hint: str | None = None) -> None:
        steps = [_step(collection) for collection in self._open[:-1]]
        path = ".".join([step for step in (*steps, step) if step]).replace(".[", "[")
        self._issues.append(Issue(Severity.ERROR, path, node.line, node.column, rule, message, hint))


class _Tracer(_Composer):
    """A composer that also records positions; separate because it is 50 % slower."""

    def __init__(self, loader: Any, text: str, library: GoYaml, trace: Trace) -> None:
        super().__init__(loader, text, library)
        self._trace = trace
        self._outer: list[Steps] = []
        """The steps to each open collection."""
        self._event: Any = None
        self._failure: Unreadable | None = None

    def compose(self) -> Document:
        if not self._trace.tolerant:
            return super().compose()
        first: Node | None = None
        while not isinstance(event := self._next(), yaml.StreamEndEvent):
            if isinstance(event, yaml.DocumentStartEvent):
                first, self._root = first or self._root, None
                self._anchors.clear()
            elif not isinstance(event, yaml.StreamStartEvent | yaml.DocumentEndEvent):
                self._take(event)
        if self._failure is not None:
            raise self._failure
        return Document(first or self._root, self._issues)

    def _take(self, event: Any) -> None:
        self._event = event
        super()._take(event)

    def _pop(self) -> None:
        done = self._open[-1]
        done.node.stop = self._event.start_mark.index
        self._trace.collections.append((Written(self._outer.pop(), done.node), done.flow))
        super()._pop()

    def _push(self, event: Any) -> None:
        steps = self._steps()
        super()._push(event)
        self._outer.append(steps)
        self._open[-1].node.start = event.start_mark.index

    def _expand(self, event: Any) -> None:
        node = scalar("", event.start_mark.line + 1, event.start_mark.column + 1, plain=True)
        node.start, node.stop = event.start_mark.index, event.end_mark.index
        if event.anchor not in self._anchors:
            self._trace.unknown.append(Written(self._steps(), node))
        try:
            super()._expand(event)
        except Unreadable as exc:
            self._written += 1
            # A list of nothing but aliases is read no further than one of nothing but values.
            if not self._trace.tolerant or self._written > MAX_EXPANSION:
                raise
            self._failure = self._failure or exc
            super()._attach(node)

    def _attach(self, node: Node) -> None:
        if isinstance(self._event, yaml.AliasEvent):
            self._trace.repeat(self._steps(), node)
        elif node.kind == SCALAR:
            self._note(node)
        super()._attach(node)

    def _note(self, node: Node) -> None:
        event = self._event
        start, stop = event.start_mark.index, event.end_mark.index
        if event.style in ("|", ">"):
            # libyaml reports its end after the empty lines that follow it.
            stop = start + len(self._text[start:stop].rstrip())
        if self._open and self._open[-1].node.kind == MAPPING and self._open[-1].key is None:
            self._trace.add((*self._outer[-1], node.text), node, start, stop, is_key=True)
        else:
            self._trace.add(self._steps(), node, start, stop, is_key=False)

    def _steps(self) -> Steps:
        """Return the steps to the next value of the innermost open collection."""
        if not self._open:
            return ()
        parent = self._open[-1]
        if parent.node.kind == SEQUENCE:
            return (*self._outer[-1], len(parent.node.items))
        # A collection used as a key has no text.
        return (*self._outer[-1], parent.key.text if parent.key is not None and parent.key.kind == SCALAR else "?")


def _step(collection: _Open) -> str:
    if collection.node.kind == SEQUENCE:
        return f"[{len(collection.node.items)}]"
    return collection.key.text if collection.key is not None and collection.key.kind == SCALAR else ""


def _short(tag: str | None) -> str | None:
    """Shorten the tags of YAML itself to `!!str` and so on."""
    if tag is None or tag == "!":
        return None
    return "!!" + tag.removeprefix(_TAG_PREFIX) if tag.startswith(_TAG_PREFIX) else tag


def _check_version(event: Any) -> None:
    version = getattr(event, "version", None)
    if version is not None and tuple(version) != (1, 1):
        message = f"Go's YAML library does not support %YAML {version[0]}.{version[1]}; remove the directive"
        raise Unreadable("yaml-version", message, event.start_mark.line + 1, 1)


def _unreadable(exc: yaml.MarkedYAMLError, text: str = "") -> Unreadable:
    mark = exc.problem_mark or exc.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
    # Newer releases of libyaml have their own limit, which they reach before the first collection event.
    if exc.problem and "nesting depth" in exc.problem:
        return Unreadable("too-deep", f"nested deeper than {MAX_DEPTH} levels", line, column)
    begun = f" (started on line {exc.context_mark.line + 1})" if exc.context and exc.context_mark else ""
    parts = (f"{exc.context}{begun}" if exc.context else "", exc.problem)
    message = ", ".join(part for part in parts if part) or "invalid YAML"
    if mark and text[mark.index : mark.index + 1] == "\t":
        message += "; indent with spaces, not with tabs"
    elif mark and _BRACES.match(text, text.rfind("\n", 0, mark.index) + 1):
        message += f"; {_IN_BRACES}"
    return Unreadable("yaml-syntax", message, line, column)
