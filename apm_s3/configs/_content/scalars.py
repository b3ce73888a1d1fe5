"""Every scalar of a text with the place where it stands, for what works on the text itself: masking, small edits. Pure.

Comments, layout and quotes stay out of sight of a parser that builds values; here they are what is to be kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

import yaml

from apm_s3.configs._content.structures import Step, Steps
from apm_s3.validators._reading.documents import Format
from apm_s3.validators._reading.ini_reader import DEFAULT_SECTION
from apm_s3.validators._reading.nodes import MAX_DEPTH, MAX_EXPANSION
from apm_s3.validators._reading.yaml_reader import yaml_loader

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Scalar:
    """One scalar of a text.

    Attributes:
        steps: the keys and indexes that lead to it.
        value: its text, unescaped.
        start, stop: where it stands in the text: quotes, tags and anchors are part of it, comments are not.
        line: from 1.
        quoted: whether its text, rather than its look, makes it text.
    """

    steps: Steps
    value: str
    start: int
    stop: int
    line: int
    quoted: bool


class Unscannable(ValueError):
    """The text is not of its format, or too deep. Never leaves this package."""


def scan(text: str, form: Format) -> Iterator[Scalar]:
    """The scalars that are values in `text` (which has no byte order mark), in their order. Aliases are not followed.

    Raises:
        Unscannable: from the place on where the text stops being of the format.
    """
    return {"yaml": _scan_yaml, "json": _scan_json, "ini": _scan_ini}[form](text)


class _Place:
    """Where a reader is: the open collections, each with the key or index that its next value has."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.keys: list[bool] = []
        """For each open collection whether its next scalar is a key; always False in a sequence."""
        self.mappings: list[bool] = []

    def open(self, *, mapping: bool) -> None:
        if len(self.steps) >= MAX_DEPTH:
            raise Unscannable("too deep")
        self.steps.append("" if mapping else 0)
        self.keys.append(mapping)
        self.mappings.append(mapping)

    def close(self) -> None:
        if not self.steps:
            raise Unscannable("closed what was not open")
        self.steps.pop()
        self.keys.pop()
        self.mappings.pop()

    def expects_key(self) -> bool:
        return bool(self.keys) and self.keys[-1]

    def key(self, name: str) -> None:
        self.steps[-1] = name
        self.keys[-1] = False

    def next(self) -> None:
        """A value has ended."""
        if not self.steps:
            return
        if self.mappings[-1]:
            self.keys[-1] = True
            return
        index = self.steps[-1]
        self.steps[-1] = index + 1 if isinstance(index, int) else 0


# --------------------------------------------------------------------------------------------------------------
# YAML


def anchored(text: str) -> Iterator[Scalar]:
    """The scalars in what has an anchor: each at its own place, and again with the steps of each alias that repeats it.

    Raises:
        Unscannable: it is not YAML, too deep, or repeated too often.
    """
    place, anchors = _Place(), _Anchors()
    for event in _first_document(text):
        steps, is_key = tuple(place.steps), place.expects_key()
        scalar = _take_yaml(event, place, text)
        if isinstance(event, yaml.CollectionStartEvent):
            anchors.open(event.anchor, steps)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchors.close()
        elif isinstance(event, yaml.AliasEvent) and not is_key:
            yield from anchors.repeated(str(event.anchor), steps)
        elif scalar is not None:
            yield from anchors.own(event.anchor, scalar)


class _Anchors:
    """The scalars of each anchor, whose steps begin where the anchor is."""

    def __init__(self) -> None:
        self._scalars: dict[str, list[Scalar]] = {}
        self._open: list[tuple[str | None, Steps]] = []
        self._left = MAX_EXPANSION

    def open(self, anchor: str | None, steps: Steps) -> None:
        self._open.append((anchor, steps))
        if anchor is not None:
            self._scalars[anchor] = []

    def close(self) -> None:
        self._open.pop()

    def own(self, anchor: str | None, scalar: Scalar) -> list[Scalar]:
        """`scalar`, if it has an anchor or is inside of what has one."""
        if anchor is not None:
            self._scalars[anchor] = [replace(scalar, steps=())]
        return [scalar] if self._take(scalar) or anchor is not None else []

    def repeated(self, anchor: str, steps: Steps) -> list[Scalar]:
        """What an alias repeats at `steps`."""
        scalars = self._scalars.get(anchor, [])
        self._count(len(scalars))
        found = [replace(each, steps=(*steps, *each.steps)) for each in scalars]
        for each in found:
            self._take(each)
        return found

    def _take(self, scalar: Scalar) -> bool:
        around = [(anchor, steps) for anchor, steps in self._open if anchor is not None]
        self._count(len(around))
        for anchor, steps in around:
            self._scalars[anchor].append(replace(scalar, steps=scalar.steps[len(steps) :]))
        return bool(around)

    def _count(self, more: int) -> None:
        self._left -= more
        if self._left < 0:
            raise Unscannable("too many aliases")


def yaml_layout(text: str) -> dict[Steps, tuple[int, int, bool]]:
    """For each collection of the first YAML document: the column of its keys or dashes, its end, whether it is flow.

    Raises:
        Unscannable: it is not YAML, or too deep.
    """
    place = _Place()
    layout: dict[Steps, tuple[int, int, bool]] = {}
    starts: list[tuple[Steps, int, bool]] = []
    for event in _first_document(text):
        if isinstance(event, yaml.CollectionStartEvent):
            starts.append((tuple(place.steps), _mark(event).column, bool(event.flow_style)))
        elif isinstance(event, yaml.CollectionEndEvent):
            steps, column, flow = starts.pop()
            layout[steps] = column, _mark(event).index, flow
        _take_yaml(event, place, text)
    return layout


def yaml_keys(text: str) -> list[tuple[str, int]]:
    """The keys of the first YAML document's outermost mapping, with the places where they stand.

    Raises:
        Unscannable: it is not YAML, or too deep.
    """
    place, keys = _Place(), []
    for event in _first_document(text):
        if isinstance(event, yaml.ScalarEvent) and len(place.steps) == 1 and place.expects_key():
            keys.append((event.value, _mark(event).index))
        _take_yaml(event, place, text)
    return keys


def _mark(event: Any) -> Any:
    return event.start_mark


def _first_document(text: str) -> Iterator[Any]:
    return takewhile(lambda event: not isinstance(event, yaml.DocumentEndEvent), _yaml_events(text))


def _yaml_events(text: str) -> Iterator[Any]:
    loader = yaml_loader(text.encode(errors="replace"))
    try:
        while not isinstance(event := loader.get_event(), yaml.StreamEndEvent):
            yield event
    except yaml.YAMLError as exc:
        raise Unscannable("not YAML") from exc
    finally:
        loader.dispose()


def _scan_yaml(text: str) -> Iterator[Scalar]:
    place = _Place()
    for event in _yaml_events(text):
        found = _take_yaml(event, place, text)
        if found is not None:
            yield found


def _take_yaml(event: Any, place: _Place, text: str) -> Scalar | None:
    kind = type(event)
    if kind is yaml.ScalarEvent or kind is yaml.AliasEvent:
        if place.expects_key():
            place.key(event.value if kind is yaml.ScalarEvent else "*")
            return None
        found = _yaml_scalar(event, place, text) if kind is yaml.ScalarEvent else None
        place.next()
        return found
    if kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
        if place.expects_key():
            raise Unscannable("a collection as a key")
        place.open(mapping=kind is yaml.MappingStartEvent)
    elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
        place.close()
        place.next()
    return None


def _yaml_scalar(event: Any, place: _Place, text: str) -> Scalar:
    start, stop = event.start_mark.index, event.end_mark.index
    # The end of a block scalar is behind the empty lines that follow it.
    stop = max(start, stop - (len(text[start:stop]) - len(text[start:stop].rstrip())))
    return Scalar(tuple(place.steps), event.value, start, stop, event.start_mark.line + 1, not event.implicit[0])


# --------------------------------------------------------------------------------------------------------------
# JSON


def _scan_json(text: str) -> Iterator[Scalar]:
    place, line, counted = _Place(), 1, 0
    for match in _TOKEN.finditer(text):
        piece, start = match[0], match.start()
        if piece in "{[":
            place.open(mapping=piece == "{")
        elif piece in "}]":
            place.close()
            place.next()
        elif piece in ",:":
            continue
        elif place.expects_key():
            place.key(_json_text(piece))
        else:
            line, counted = line + text.count("\n", counted, start), start
            quoted = piece.startswith('"')
            yield Scalar(tuple(place.steps), _json_text(piece), start, match.end(), line, quoted)
            place.next()


def _json_text(piece: str) -> str:
    if not piece.startswith('"'):
        return piece
    try:
        return str(json.loads(piece, strict=False))
    except ValueError as exc:
        raise Unscannable("not JSON") from exc


# --------------------------------------------------------------------------------------------------------------
# INI


def _scan_ini(text: str) -> Iterator[Scalar]:
    section, offset, pending = DEFAULT_SECTION, 0, ""
    opened: tuple[Steps, int, int] | None = None
    for number, line in enumerate(text.split("\n"), start=1):
        if opened is not None:
            steps, start, first = opened
            if _ini_ends(line, pending):
                stop = offset + len(line)
                yield Scalar(steps, _ini_unquoted(text[start:stop]), start, stop, first, quoted=True)
                opened = None
        elif line.lstrip().startswith("["):
            section = line.strip()[1:].rpartition("]")[0].strip()
        elif (delimiter := _ini_delimiter(line)) > 0:
            steps = (section, line[:delimiter].strip().strip('"`'))
            start = offset + delimiter + 1 + _spaces(line[delimiter + 1 :])
            value = _ini_stop(text[start : offset + len(line)])
            pending = _ini_pending(value)
            if pending:
                opened = (steps, start, number)
            else:
                yield Scalar(steps, _ini_unquoted(value), start, start + len(value), number, quoted=True)
        offset += len(line) + 1
    if opened is not None:
        yield Scalar(opened[0], _ini_unquoted(text[opened[1] :]), opened[1], len(text), opened[2], quoted=True)


def _ini_delimiter(line: str) -> int:
    if line.lstrip()[:1] in ("#", ";", ""):
        return -1
    return min((place for mark in "=:" if (place := line.find(mark)) >= 0), default=-1)


def _spaces(text: str) -> int:
    return len(text) - len(text.lstrip())


def _ini_stop(value: str) -> str:
    """`value` up to its comment, if it is not quoted."""
    if value.startswith(("`", '"""')):
        return value.rstrip()
    if value.rstrip().endswith("\\"):
        return value.rstrip()
    ends = [place for mark in "#;" if (place := value.find(mark)) >= 0]
    return value[: min(ends, default=len(value))].rstrip()


def _ini_pending(value: str) -> str:
    """What the rest of an unfinished value waits for: its closing quotes, or a line that is not continued."""
    for quote in ('"""', "`"):
        if value.startswith(quote):
            return "" if value.find(quote, len(quote)) >= 0 else quote
    return "\\" if value.endswith("\\") else ""


def _ini_ends(line: str, pending: str) -> bool:
    return not line.rstrip().endswith("\\") if pending == "\\" else pending in line


def _ini_unquoted(value: str) -> str:
    value = value.strip()
    for quote in ('"""', "`", '"', "'"):
        if len(value) >= 2 * len(quote) and value.startswith(quote) and value.endswith(quote):
            return value[len(quote) : -len(quote)]
    return value
