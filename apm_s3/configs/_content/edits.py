"""Changes a configuration's text as little as possible: values in place, or else their sections. Pure.

Plain YAML scalars are kept as written: only the tool knows the meaning of `010`, `1.10` and `yes`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from apm_s3.configs._content.serialise import Plain, ini_line, ini_value, serialise
from apm_s3.configs._content.structure import Difference, Steps, differences, same
from apm_s3.reports import Severity
from apm_s3.validators._reading.documents import DEFAULT_SECTION, Format, format_of, read_document
from apm_s3.validators._reading.nodes import MAPPING, SCALAR, Node, Trace, Unreadable, is_null, resolve, resolve_plain
from apm_s3.validators._reading.nodes import Steps as Indexed
from apm_s3.validators._secrets.texts import decode

Edit = tuple[int, int, str]
"""The replacement of text[start:stop]."""


def load(raw: bytes, form: Format) -> Any:
    """Parse `raw`, with plain YAML scalars that are not text as `Plain`.

    Raises:
        Unreadable: not a document of the format, a duplicate key, or over a limit.
    """
    document = read_document(raw, form)
    for issue in document.issues:
        if issue.severity is Severity.ERROR:
            raise Unreadable(issue.rule, issue.message, issue.line, issue.column)
    return None if document.root is None else _data(document.root, form)


def _data(node: Node, form: Format) -> Any:
    if node.kind == SCALAR:
        return node.text if form == "ini" else _scalar(node, form)
    if node.kind == MAPPING:
        return {name: _data(value, form) for name, (_, value) in node.entries.items()}
    return [_data(item, form) for item in node.items]


def _scalar(node: Node, form: Format) -> Any:
    if is_null(node):
        return None
    try:
        value = resolve(node)
    except ValueError:
        return node.text
    return Plain(node.text) if form == "yaml" and node.plain and not isinstance(value, str) else value


def fitted(data: Any, form: Format) -> Any:
    """Convert YAML data for `form`: typed values for JSON, flat sections of text for INI."""
    if form == "ini":
        return _flat(data) if isinstance(data, dict) else data
    if form == "yaml":
        return data
    if isinstance(data, dict):
        return {key: fitted(value, form) for key, value in data.items()}
    if isinstance(data, list):
        return [fitted(item, form) for item in data]
    return resolve_plain(data) if isinstance(data, Plain) else data


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}.{key}" if prefix else key)
        elif value is None and not prefix:
            flat[key] = None
        else:
            flat.setdefault(prefix or DEFAULT_SECTION, {})[key] = str(value) if isinstance(value, Plain) else value
    return flat


def rewrite(name: str, raw: bytes, base: Mapping[str, Any], result: Mapping[str, Any]) -> bytes:
    """Change `raw`, whose data is `base`, to contain `result`; everything else is kept as far as possible.

    Raises:
        InvalidOption: `result` cannot be written in the format of `name`.
    """
    text, form = decode(raw), format_of(name)
    if same(base, result):
        return raw
    if text is None or form is None:
        return serialise(result, name)
    # Each kind of edit is tried and checked: values in place, else whole sections, else the whole text.
    for in_place in (True, False):
        try:
            changed = _applied(text, _Edits(name, text, form, base).to(result, in_place=in_place)).encode()
        except (Unreadable, _NotPossible):
            continue
        if _holds(changed, form, result):
            return changed
    return _header(text, form).encode() + serialise(result, name)


class _NotPossible(Exception):
    """A change that cannot be made in place."""


class _Edits:
    """Finds the replacements in a text for new data."""

    def __init__(self, name: str, text: str, form: Format, base: Mapping[str, Any]) -> None:
        self._name = name
        self._text = text
        self._form = form
        self._base = base
        trace = Trace()
        read_document(text, form, trace=trace)
        self._scalars: dict[Indexed, Node] = dict(trace.scalars)
        self._layout = {steps: (node.column - 1, node.stop, flow) for (steps, node), flow in trace.collections}
        self._sections = _sections(text, form, trace)
        self._ends: dict[Indexed, int] = {}
        """The end of each block into which something was inserted, which takes a search of everything."""

    def to(self, result: Mapping[str, Any], *, in_place: bool) -> list[Edit]:
        """Return the replacements for `result`: value by value if possible, or else section by section."""
        if not in_place:
            keys = dict.fromkeys([*self._base, *result])
            return [self._section(key, result) for key in keys if not self._is_kept(key, result)]
        found = list(differences(dict(self._base), dict(result)))
        edits: list[Edit] = []
        by_key: dict[str, list[Difference]] = {}
        for each in found:
            by_key.setdefault(str(each.steps[0]), []).append(each)
        for key, changes in by_key.items():
            try:
                edits += [self._one(each) for each in changes]
            except _NotPossible:
                edits.append(self._section(key, result))
        return edits

    def _is_kept(self, key: str, result: Mapping[str, Any]) -> bool:
        return key in self._base and key in result and same(self._base[key], result[key])

    def _one(self, change: Difference) -> Edit:
        if change.kind == "changed":
            scalar = self._scalar(change.steps)
            return scalar.start, scalar.stop, self._inline(change.new)
        if self._form == "ini":
            return self._ini(change)
        if change.kind == "added" and self._form == "yaml":
            return self._insertion(change)
        raise _NotPossible

    def _scalar(self, steps: Steps) -> Node:
        scalar = self._scalars.get(self._indexed(steps))
        if scalar is None:
            raise _NotPossible
        return scalar

    def _indexed(self, steps: Steps) -> Indexed:
        """Replace names in `steps` with the indexes in the base."""
        value: Any = self._base
        indexed: list[str | int] = []
        for step in steps:
            place: str | int
            if isinstance(step, tuple):
                places = [at for at, item in enumerate(value) if str(item.get(step[0])) == step[1]]
                if len(places) != 1:
                    raise _NotPossible
                place = places[0]
            else:
                place = step
            try:
                value = value[place]
            except (KeyError, IndexError, TypeError) as exc:
                raise _NotPossible from exc
            indexed.append(place)
        return tuple(indexed)

    def _inline(self, value: Any) -> str:
        if isinstance(value, dict | list):
            raise _NotPossible
        if self._form == "json":
            return json.dumps(value, ensure_ascii=False, allow_nan=False)
        if self._form == "ini":
            return ini_value(value)
        written = serialise({"x": value}, self._name).decode().removeprefix("x: ").removesuffix("\n")
        if "\n" in written:
            raise _NotPossible
        return written

    def _insertion(self, change: Difference) -> Edit:
        """Return the insertion of a new key or named item after the last one of its block."""
        parent, last = self._indexed(change.steps[:-1]), change.steps[-1]
        if isinstance(last, int) or parent not in self._layout:
            raise _NotPossible
        column, stop, flow = self._layout[parent]
        if flow:
            raise _NotPossible
        if isinstance(last, tuple):
            _, *lines = serialise({"x": [change.new]}, self._name).decode().splitlines()
        else:
            lines = serialise({last: change.new}, self._name).decode().splitlines()
        if parent not in self._ends:
            inside = [scalar.stop for steps, scalar in self._scalars.items() if steps[: len(parent)] == parent]
            # An empty collection has no scalar for the position; it is always in flow style.
            inside += [end for steps, (_, end, flow) in self._layout.items() if flow and steps[: len(parent)] == parent]
            self._ends[parent] = max(inside, default=stop)
        at = _end_of_line(self._text, self._ends[parent])
        return at, at, "".join("\n" + (" " * column + line if line else "") for line in lines)

    def _ini(self, change: Difference) -> Edit:
        if len(change.steps) != 2:
            raise _NotPossible
        section, key = str(change.steps[0]), str(change.steps[1])
        if change.kind == "removed":
            scalar = self._scalar(change.steps)
            # The line and the break before it, because an insertion at the end of the section may begin right after it.
            start, end = self._text.rfind("\n", 0, scalar.start), _end_of_line(self._text, scalar.stop)
            return (start, end, "") if start >= 0 else (0, min(end + 1, len(self._text)), "")
        if section not in self._sections:
            raise _NotPossible
        stop = self._sections[section][1]
        return stop, stop, "\n" + ini_line(key, change.new, (section, key))

    def _section(self, key: str, result: Mapping[str, Any]) -> Edit:
        """Return the replacement of a whole top-level key, or a new one at the end."""
        if self._form == "json":
            raise _NotPossible
        written = serialise({key: result[key]}, self._name).decode().removesuffix("\n") if key in result else ""
        if key in self._sections:
            start, stop = self._sections[key]
            return start, stop if written else min(stop + 1, len(self._text)), written
        if not written or (self._form == "yaml" and self._layout.get((), (0, 0, True))[2]):
            raise _NotPossible
        end = len(self._text.rstrip())
        return end, end, ("\n\n" if self._form == "ini" else "\n") + written


def _sections(text: str, form: Format, trace: Trace) -> dict[str, tuple[int, int]]:
    """Return the range of each top-level key or INI section; comments after it belong to the next one."""
    if form == "json":
        return {}
    starts = [(str(steps[0]), node.start) for steps, node in trace.keys if len(steps) == 1]
    stops = [start for _, start in [*starts[1:], ("", len(text))]]
    marks = ("#",) if form == "yaml" else ("#", ";")
    return {
        key: (start, _content_end(text, start, stop, marks)) for (key, start), stop in zip(starts, stops, strict=False)
    }


def _content_end(text: str, start: int, stop: int, marks: tuple[str, ...]) -> int:
    lines = text[start:stop].split("\n")
    while len(lines) > 1 and (not lines[-1].strip() or lines[-1].startswith(marks)):
        lines.pop()
    return start + len("\n".join(lines))


def _end_of_line(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _applied(text: str, edits: Sequence[Edit]) -> str:
    parts, at = [], 0
    for start, stop, new in sorted(edits, key=lambda edit: (edit[0], edit[1])):
        parts += [text[at:start], new]
        at = max(at, stop)
    return "".join([*parts, text[at:]])


def _holds(raw: bytes, form: Format, result: Mapping[str, Any]) -> bool:
    try:
        # Diffs ignore the order of named items, but tools may not.
        return same(load(raw, form), dict(result))
    except Unreadable:
        return False


def _header(text: str, form: Format) -> str:
    """Return the comments at the beginning of the text."""
    kept = []
    for line in text.split("\n"):
        if line.strip() and not line.startswith(("#",) if form == "yaml" else ("#", ";")):
            break
        kept.append(line)
    return "".join(line + "\n" for line in kept) if form != "json" else ""
