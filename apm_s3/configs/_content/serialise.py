"""Files as documents: their names, what they parse to, and data written in each format.

The same mapping gives the same bytes on every platform and version: keys keep their order, and there are no anchors,
tags or folded lines. Text that YAML 1.1, YAML 1.2 or Go's libraries would not read as text is quoted.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from itertools import pairwise
from typing import Any, Literal

import yaml

from apm_s3._naming import check_new_file_name, folded_name
from apm_s3.configs._content.structure import Steps, render
from apm_s3.errors import InvalidKey, InvalidOption
from apm_s3.validators import parse_document
from apm_s3.validators._reading.documents import format_of
from apm_s3.validators._reading.nodes import MAX_DEPTH, MAX_NODES

MAX_FILES = 10_000
"""Maximum number of files in a bundle, to keep its release document below a few megabytes."""


def check_names(names: Iterable[str], kept: Iterable[str] = ()) -> None:
    """Refuse new names that conflict with each other, or with the stored names that are `kept`.

    Raises:
        InvalidKey: a new name is not valid, is a file and a folder at once, or differs from another one only in case or
            Unicode form, so that some systems would treat both as one file.
        InvalidOption: there are too many files.
    """
    new = {check_new_file_name(name) for name in names}
    every = new.union(kept)
    if len(every) > MAX_FILES:
        raise InvalidOption(f"{len(every)} files are more than the {MAX_FILES} of a bundle", hint="omit some")
    # In this order, names in one folder are neighbours. To keep all folders would take millions of them for deep names.
    ordered = sorted(every, key=lambda name: folded_name(name).replace("/", "\0"))
    for pair in pairwise(ordered):
        if not new.isdisjoint(pair):
            # The new one is told, as the stored one was there before.
            _check_beside(*sorted(pair, key=lambda name: (name in new, name)))


def _check_beside(before: str, name: str) -> None:
    others, parts = before.split("/"), name.split("/")
    for depth, (other, part) in enumerate(zip(others, parts, strict=False), start=1):
        if other == part:
            continue
        if folded_name(other) != folded_name(part):
            return
        path, known = "/".join(parts[:depth]), "/".join(others[:depth])
        hint = "macOS and Windows take both for one: rename one of them"
        raise InvalidKey(f"'{path}' differs from '{known}' in case or Unicode form only", hint=hint)
    path = min(before, name, key=len)
    raise InvalidKey(f"'{path}' is a file and, for '{name}' or another one, a folder", hint="rename one of them")


_RESERVED = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"))
_DURATION = re.compile(r"(?:[0-9]+(?:ms|[smhdwy]))+", re.ASCII)
_PLAIN = re.compile(r"[A-Za-z_/][^\n\r\t\x7f-\xa0\u2028\u2029\ufeff]*")
_BLOCK = re.compile(r"[^\s\x00-\x1f][^\x00-\x09\x0b-\x1f\x7f-\xa0\u2028\u2029\ufeff]*")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\xa0\u2028\u2029\ufeff]")

_INI_KEY = re.compile(r"[^\s=:#;\[\"'`\\\x00-\x1f][^=:\x00-\x1f\x7f]*")
_INI_SECTION = re.compile(r"[^\s\]\x00-\x1f][^\]\x00-\x1f\x7f]*")
_INI_NEEDS_QUOTES = re.compile(r"[\n#;]|^[\"'`]|\\$|^\s|\s$")
_INI_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_INI_DEFAULT = "DEFAULT"
"""The section for the keys before the first section."""


class Plain(str):
    """The text of a YAML scalar that is written without quotes, because its text decides its type: `010`, `yes`."""

    __slots__ = ()


def serialise(data: Mapping[str, Any], name: str) -> bytes:
    """Serialize `data` as UTF-8 for a file `name`, whose extension selects the format: YAML, JSON or INI.

    Mappings, lists, tuples, text, whole numbers of 64 bits, floats, booleans, None and dates can be written. In INI a
    mapping is a section, one inside it the section `outer.inner`, and values above the sections come first; there are
    no lists.

    Raises:
        InvalidOption: unknown format, or a value that it does not support; the message has its path, never the value.
    """
    if not isinstance(data, Mapping):
        raise InvalidOption(
            f"a {type(data).__name__} is not a configuration for '{name}'", hint="pass a mapping, text or bytes"
        )
    kind = format_of(name)
    if kind is None:
        raise InvalidOption(
            f"a mapping cannot be written as '{name}'",
            hint="use a name that ends in .yml, .yaml, .json or .ini, or pass text or bytes",
        )
    plain = _Checked().take(data, ())
    if kind == "yaml":
        return _yaml(plain)
    return _json(plain) if kind == "json" else _ini(plain)


class _Checked:
    """Copy the data to plain types and check every value, to remove subclasses and shared references."""

    def __init__(self) -> None:
        self._count = 0

    def take(self, value: Any, steps: Steps) -> Any:
        self._count += 1
        if self._count > MAX_NODES:
            raise _refused(steps, f"comes after {MAX_NODES} others", "split the configuration into several files")
        if len(steps) >= MAX_DEPTH:
            raise _refused(steps[:8], f"is nested deeper than {MAX_DEPTH} levels", "does it contain itself?")
        if isinstance(value, Mapping):
            return {self._key(key, steps): self.take(item, (*steps, str(key))) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.take(item, (*steps, index)) for index, item in enumerate(value)]
        return _scalar(value, steps)

    def _key(self, key: Any, steps: Steps) -> str:
        if not isinstance(key, str):
            raise _refused(steps, f"has a key that is a {type(key).__name__}", "use text keys")
        return _text(key, steps)


def _scalar(value: Any, steps: Steps) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Plain):
        return value
    if isinstance(value, str):
        return _text(value, steps)
    if isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise _refused(steps, "is a number of more than 64 bits", "pass it as text")
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, date):
        return value
    raise _refused(steps, f"is a {type(value).__name__}", "use mappings, lists, text, numbers, booleans or None")


def _text(value: str, steps: Steps) -> str:
    text = str.__str__(value)
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise _refused(steps, "contains a lone surrogate", "pass valid Unicode") from exc
    return text


def _refused(steps: Steps, problem: str, hint: str) -> InvalidOption:
    return InvalidOption(f"{render(steps) or 'the configuration'} {problem} and cannot be written", hint=hint)


# --------------------------------------------------------------------------------------------------------------
# YAML


def _yaml(data: dict[str, Any]) -> bytes:
    stream = io.StringIO()
    # Always use the Python emitter: libyaml's differs in details, and the bytes must be the same everywhere.
    emitter = yaml.Dumper(stream, allow_unicode=True, width=2**31)
    for event in _events(data):
        emitter.emit(event)
    return stream.getvalue().encode()


def _events(data: dict[str, Any]) -> Iterator[yaml.Event]:
    yield yaml.StreamStartEvent()
    yield yaml.DocumentStartEvent(explicit=False)
    yield from _node(data)
    yield yaml.DocumentEndEvent(explicit=False)
    yield yaml.StreamEndEvent()


def _node(value: Any) -> Iterator[yaml.Event]:
    if isinstance(value, dict):
        yield yaml.MappingStartEvent(None, None, implicit=True, flow_style=False)
        for key, item in value.items():
            yield _string(key, block=False)
            yield from _node(item)
        yield yaml.MappingEndEvent()
    elif isinstance(value, list):
        yield yaml.SequenceStartEvent(None, None, implicit=True, flow_style=False)
        for item in value:
            yield from _node(item)
        yield yaml.SequenceEndEvent()
    elif isinstance(value, Plain):
        yield yaml.ScalarEvent(None, None, (True, False), value)
    elif isinstance(value, str):
        yield _string(value, block=True)
    else:
        yield yaml.ScalarEvent(None, None, (True, False), _typed(value))


def _string(text: str, *, block: bool) -> yaml.Event:
    style = None
    if block and "\n" in text and _BLOCK.fullmatch(text):
        style = "|"
    elif _UNSAFE.search(text):
        style = '"'
    elif not _is_plain(text):
        style = "'"
    return yaml.ScalarEvent(None, None, (style is None, True), text, style=style)


def _is_plain(text: str) -> bool:
    if _DURATION.fullmatch(text):
        return True
    return bool(_PLAIN.fullmatch(text)) and text.lower() not in _RESERVED


def _typed(value: Any) -> str:
    """Return the plain scalar that every reader reads as `value`."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, int):
        return str(value)
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    text = repr(value)
    # YAML 1.1 reads 1e+16 as text: a float needs a point.
    return text if "." in text or "e" not in text else text.replace("e", ".0e")


# --------------------------------------------------------------------------------------------------------------
# JSON


def _json(data: dict[str, Any]) -> bytes:
    _refuse_json(data, ())
    return (json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False, default=date.isoformat) + "\n").encode()


def _refuse_json(value: Any, steps: Steps) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _refuse_json(item, (*steps, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_json(item, (*steps, index))
    elif isinstance(value, float) and not math.isfinite(value):
        raise _refused(steps, "is not a finite number, which JSON does not support,", "omit it")


# --------------------------------------------------------------------------------------------------------------
# INI, as go-ini reads it with its defaults, which are Grafana's: https://ini.unknwon.io/docs


def _ini(data: dict[str, Any]) -> bytes:
    above = {key: value for key, value in data.items() if not isinstance(value, dict)}
    sections: dict[str, list[str]] = {}
    lines = [ini_line(key, value, (key,)) for key, value in above.items()]
    for key, value in data.items():
        if key == _INI_DEFAULT and isinstance(value, dict):
            lines += [ini_line(inner, item, (key, inner)) for inner, item in value.items()]
        elif isinstance(value, dict):
            _ini_section(key, value, (key,), sections)
    blocks = ["\n".join(lines)] if lines else []
    blocks += ["\n".join([f"[{name}]", *keys]) for name, keys in sections.items()]
    return ("\n\n".join(blocks) + "\n").encode()


def _ini_section(name: str, data: dict[str, Any], steps: Steps, sections: dict[str, list[str]]) -> None:
    if not _INI_SECTION.fullmatch(name) or name != name.strip():
        raise _refused(steps, "is not a valid name of an INI section", "use a name without brackets or line breaks")
    if name in sections:
        raise _refused(steps, f"defines the section [{name}] a second time", "put its keys into one mapping")
    inner = {key: value for key, value in data.items() if isinstance(value, dict)}
    own = [ini_line(key, value, (*steps, key)) for key, value in data.items() if key not in inner]
    if own or not inner:
        sections[name] = own
    for key, value in inner.items():
        _ini_section(f"{name}.{key}", value, (*steps, key), sections)


def ini_line(key: str, value: Any, steps: Steps) -> str:
    """Return the line of one key; `steps` is its path, for errors.

    Raises:
        InvalidOption: INI does not support the key or the value.
    """
    if not _INI_KEY.fullmatch(key) or key != key.strip() or key == "-":
        raise _refused(steps, "is not a valid INI key", "use a key of letters, digits and underscores")
    if isinstance(value, list | dict):
        problem = f"is a {type(value).__name__}, which INI does not support here,"
        raise _refused(steps, problem, "pass the text that the tool reads, 'a b' or 'a,b'")
    text = ini_value(value, steps)
    return f"{key} = {text}" if text else f"{key} ="


def ini_value(value: Any, steps: Steps = ()) -> str:
    """Return the text after the `=` for a scalar; errors as in `ini_line`."""
    return _ini_quoted(_ini_text(value, steps), steps)


def _ini_text(value: Any, steps: Steps) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        raise _refused(steps, "is not a finite number, which INI does not support,", "omit it")
    return repr(value) if isinstance(value, float) else _typed(value)


def _ini_quoted(text: str, steps: Steps) -> str:
    if _INI_UNSAFE.search(text):
        raise _refused(steps, "contains control characters, which INI cannot quote,", "remove them")
    if not _INI_NEEDS_QUOTES.search(text):
        return text
    if "`" not in text:
        return f"`{text}`"
    if '"""' not in text:
        return f'"""{text}"""'
    raise _refused(steps, 'contains both ` and """, which INI cannot quote,', "remove one of them")


Format = Literal["yaml", "json", "ini"]

PARSED_FACTOR = 12
"""The size of a parsed document, as a multiple of its bytes. Measured with tracemalloc on CPython 3.11: 3 to 5 for the
files in `examples/`, 8 for large groups of rules, 11 for a dashboard in compact JSON."""


class Content:
    """The plain bytes of a file, and the parsed content.

    Args:
        grow: called with the additional bytes that this needs, in the thread that parses.

    Attributes:
        files: the fields of the files with this content, which keep it alive.
    """

    __slots__ = ("_grow", "_parsed", "files", "raw")

    def __init__(self, raw: bytes, grow: Callable[[Content, int], None]) -> None:
        self.raw = raw
        self.files: dict[tuple[str, str, str | None], dict[str, Any]] = {}
        self._grow = grow
        self._parsed: dict[Format, Any] = {}

    def data(self, form: Format) -> Any:
        """Return the parsed content. Each caller gets its own copy, which it may modify.

        Raises:
            ConfigInvalid: it cannot be parsed.
        """
        if form not in self._parsed:
            self._parsed[form] = parse_document(self.raw, form)
            self._grow(self, len(self.raw) * PARSED_FACTOR)
        return copied(self._parsed[form], {})


def copied(value: Any, seen: dict[int, Any]) -> Any:
    """Copy parsed data: new mappings and lists, still shared where they were (YAML aliases), and the same scalars."""
    if type(value) is not dict and type(value) is not list:
        return value
    known = seen.get(id(value))
    if known is not None:
        return known
    if type(value) is dict:
        mapping: dict[Any, Any] = {}
        seen[id(value)] = mapping
        for key, each in value.items():
            mapping[key] = copied(each, seen) if type(each) in _CONTAINERS else each
        return mapping
    items: list[Any] = []
    seen[id(value)] = items
    for each in value:
        items.append(copied(each, seen) if type(each) in _CONTAINERS else each)  # noqa: PERF401 - it may hold itself
    return items


_CONTAINERS = frozenset({dict, list})
