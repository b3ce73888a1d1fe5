"""Decodes nodes to typed values as Go's YAML libraries do, with tables of fields and small hooks.

A tool has a `Schema`: the table of its types (`_data/<tool>.json`: every struct and field with its kind and rules),
parsers for named scalars, codecs for types with their own decoding, and hooks that check a decoded struct.

The kind of a field is `string`, `bool`, `int`, `uint16`, `float64`, `any` ..., a struct of the table, `[]kind` for a
list, `{}kind` for a mapping, or `base:name` for a named scalar, where `name` may have a parser. The names are Go's
(`prometheus/config.ScrapeConfig`). `_structs` says what a field's entry may have beside its kind. A named scalar that
is one of a few words is listed under `words`: `{"what": "level", "values": ["debug", "info"]}`; with a `default`, it
may be empty, and with `"any_case": true`, it is read in lower case.

    SCHEMA = Schema(
        load_table("prometheus"),
        scalars={"common/model.Duration": parse_duration},        # text -> value, or raises Mismatch
        codecs={"model/labels.Labels": decode_labels},            # (node, path, context) -> value, or INVALID
        hooks={"prometheus/config.ScrapeConfig": (check_job,)},   # (struct, context) -> None, children come first
    )
    config = SCHEMA.decode("prometheus/config.Config", root, context)

A hook reads `struct.get("name", default)`, `struct.empty("name")`, `struct.structs("name")` and reports with
`struct.error(context, "name", rule, message)`, which finds the position. Fields that failed to decode have already been
reported; `get` returns the default for them, and `empty` is false, so that they cause no second error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from importlib.resources import files
from typing import Any, Final

from apm_s3.reports import Rule
from apm_s3.validators._checking import Context, Version, nearest
from apm_s3.validators._query.kit import Expr, QueryProblem
from apm_s3.validators._reading.nodes import (
    MAPPING,
    NULLS,
    SCALAR,
    SEQUENCE,
    Node,
    Path,
    decode_binary,
    is_null,
    resolve,
    resolve_plain,
)
from apm_s3.validators._structs import FieldRules, GroupRule, Struct, unknown_message

_SHAPES = {SCALAR: "a scalar", SEQUENCE: "a list", MAPPING: "a mapping"}
_V3_BOOLS = {**dict.fromkeys(("y", "Y", "yes", "on"), True), **dict.fromkeys(("n", "N", "no", "off"), False)}
_V2_NULLS = frozenset(("", "~", "null"))
_INTEGERS = {
    "int": (-(2**63), 2**63 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "uint": (0, 2**64 - 1),
    "uint64": (0, 2**64 - 1),
    "uint32": (0, 2**32 - 1),
    "uint16": (0, 2**16 - 1),
}


def wrong_type(node: Node, path: Path, context: Context, expected: str, hint: str | None = None) -> Any:
    """Report that `node` is not what was `expected`, and return INVALID."""
    found = _SHAPES[node.kind]
    if node.kind == SCALAR:
        found = "null" if is_null(node) else "text" if not node.plain else f"{_kind_of(node)}"
    context.error(node, path, "wrong-type", f"expected {expected}, found {found}", hint)
    return INVALID


def _kind_of(node: Node) -> str:
    value = resolve(node)
    return {bool: "a boolean", int: "a whole number", float: "a number"}.get(type(value), "text")


def decode_string(node: Node, path: Path, context: Context) -> Any:
    """Return the raw text of any scalar, `""` for null."""
    if node.kind != SCALAR:
        return wrong_type(node, path, context, "text")
    if node.tag is not None:
        return _tagged_string(node, path, context)
    return "" if node.plain and is_null(node) else node.text


def _tagged_string(node: Node, path: Path, context: Context) -> Any:
    try:
        if node.tag == "!!binary":
            return decode_binary(node.text)
        return "" if resolve(node) is None else node.text
    except ValueError as exc:
        context.error(node, path, "yaml-tag", f"the value {exc}" if node.tag != "!!binary" else f"!!binary: {exc}")
        return INVALID


def decode_bool(node: Node, path: Path, context: Context) -> Any:
    """Decode true, false, and yaml.v2's yes, no, on, off, y, n; quoted values are text."""
    value = _resolved(node, path, context)
    if value is None:
        return False
    return value if isinstance(value, bool) else wrong_type(node, path, context, "true or false")


def decode_bool_v3(node: Node, path: Path, context: Context) -> Any:
    """Decode as yaml.v3 does: true and false, and some old words even in quotes."""
    if node.kind == SCALAR and node.text in _V3_BOOLS and node.tag is None:
        return _V3_BOOLS[node.text]
    return decode_bool(node, path, context)


def integer_codec(kind: str) -> Codec:
    """Return a codec for integers in the range of `kind`; floats are truncated, as in Go."""
    low, high = _INTEGERS[kind]

    def decode(node: Node, path: Path, context: Context) -> Any:
        value = _resolved(node, path, context)
        if value is None:
            return 0
        if isinstance(value, float) and value == value and abs(value) < 2**64:  # noqa: PLR0124 - a NaN is not itself
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            return wrong_type(node, path, context, "a whole number")
        if not low <= value <= high:
            context.error(node, path, "out-of-range", f"expected a whole number from {low} to {high}")
            return INVALID
        return value

    return decode


def decode_float(node: Node, path: Path, context: Context) -> Any:
    """Decode any number."""
    value = _resolved(node, path, context)
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        return wrong_type(node, path, context, "a number")
    return float(value) if abs(value) < sys.float_info.max else value


def decode_any(node: Node, path: Path, context: Context) -> Any:
    """Return plain data of any type."""
    if node.kind == SCALAR:
        return _resolved(node, path, context)
    if node.kind == MAPPING:
        return {name: decode_any(value, (path, name), context) for name, (_, value) in node.entries.items()}
    return [decode_any(item, (path, index), context) for index, item in enumerate(node.items)]


def _resolved(node: Node, path: Path, context: Context) -> Any:
    """Return the value of a scalar; for anything else the node itself, which no type accepts."""
    if node.kind != SCALAR:
        return node
    try:
        return resolve(node)
    except ValueError as exc:
        context.error(node, path, "yaml-tag", f"the value {exc}")
        return node


def scalar_codec(parse: Parser, *, yaml: int = 2) -> Codec:
    """Return a codec for a named scalar: the parsed text of any scalar; None for null.

    yaml.v2 passes `Null` and `NULL` to the parser as an empty text: there, only `null`, `~` and nothing are null.
    """
    nulls = _V2_NULLS if yaml == 2 else NULLS

    def decode(node: Node, path: Path, context: Context) -> Any:
        if node.kind == SCALAR and node.text in nulls and (node.tag is None and node.plain):
            return None
        if node.kind == SCALAR and node.tag == "!!null" and node.text in NULLS:
            return None
        text = decode_string(node, path, context)
        if text is INVALID:
            return INVALID
        try:
            return parse(text)
        except Mismatch as exc:
            report_mismatch(exc, node, path, context)
            return INVALID

    return decode


def report_mismatch(mismatch: Mismatch, node: Node, path: Path, context: Context) -> None:
    """Report that the text of `node` does not match its type."""
    hint = mismatch.hint or (context.hint(node.text, mismatch.allowed) if mismatch.allowed else None)
    if mismatch.offset is None:
        context.error(node, path, mismatch.rule, mismatch.message, hint)
    else:
        context.add(context.issue_inside(node, path, mismatch.offset, mismatch.rule, mismatch.message, hint))


def nanoseconds_codec(duration: Codec) -> Codec:
    """Return a codec for a Go duration as in yaml.v2: a text for `duration`, or a number of nanoseconds."""

    def decode(node: Node, path: Path, context: Context) -> Any:
        value = resolve_plain(node.text) if node.kind == SCALAR and node.plain else None
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2**63:
            return duration(node, path, context)
        if value:
            message = f"a number without a unit means nanoseconds: {node.text[:40]} is {int(value) / 10**9:g}s"
            context.warn(node, path, "nanoseconds", message, "write a unit, such as 30s")
        return int(value)

    return decode


def list_codec(item: Codec) -> Codec:
    """Return a codec for a list of `item`; None for null."""

    def decode(node: Node, path: Path, context: Context) -> Any:
        if node.kind != SEQUENCE:
            if node.kind == SCALAR and is_null(node):
                return None
            hint = "begin each item with '- '" if node.kind == MAPPING else "put a single value in brackets: [...]"
            return wrong_type(node, path, context, "a list", hint)
        return [item(child, (path, index), context) for index, child in enumerate(node.items)]

    return decode


def map_codec(value: Codec, *, yaml: int) -> Codec:
    """Return a codec for a mapping of text to `value`; None for null. yaml.v2 reads null keys as "", v3 omits them."""

    def decode(node: Node, path: Path, context: Context) -> Any:
        if node.kind != MAPPING:
            if node.kind == SCALAR and is_null(node):
                return None
            return wrong_type(node, path, context, "a mapping")
        for shadowed, _ in node.shadowed:
            message = f"key {shadowed.text[:80]!r} is given twice, by a merge key; Go's yaml.v2 allows that in no map"
            context.error(shadowed, (path, shadowed.text), "duplicate-key", message)
        return {
            "" if is_null(key) else name: value(child, (path, name), context)
            for name, (key, child) in node.entries.items()
            if yaml == 2 or not is_null(key)
        }

    return decode


class Invalid:
    """The value of something that failed to decode; the problem has been reported."""

    def __repr__(self) -> str:
        return "INVALID"


INVALID: Final = Invalid()

Codec = Callable[[Node, Path, Context], Any]
"""Decodes one node: its value, None for null, or INVALID after reporting the problem."""

Parser = Callable[[str], Any]
"""Decodes the text of a scalar, or raises `Mismatch`."""


class Mismatch(Exception):
    """The text of a scalar does not match its type. Never leaves the decoder.

    `offset` is the position of the problem in the text, None if the whole text is wrong.
    """

    def __init__(self, rule: Rule, message: str, hint: str | None = None, offset: int | None = None) -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message
        self.hint = hint
        self.offset = offset
        self.allowed: Collection[str] = ()

    @classmethod
    def unknown(cls, what: str, text: str, allowed: Collection[str]) -> Mismatch:
        """Create the mismatch for a `text` that is not one of the `allowed` values."""
        mismatch = cls("enum", unknown_message(what, text, allowed))
        mismatch.allowed = allowed
        return mismatch


Hook = Callable[[Struct, Context], None]


Table = Mapping[str, Mapping[str, Any]]
"""The content of a file in `_data`: by type, `types` has the fields with their kinds or rules, `groups` the rules about
several fields; `words` has the named scalars that are one of a few words."""

_BASES: dict[str, Codec] = {
    "string": decode_string,
    "bool": decode_bool,
    "float64": decode_float,
    "any": decode_any,
    "func": decode_any,
}
_NAMES_SHOWN = 12
ANY_FIELD = "*"
"""The field that a table gives a type with fields of any name."""


def load_table(tool: str) -> Table:
    """Load the types of `tool` from this package's data."""
    text = files("apm_s3.validators").joinpath("_data", f"{tool}.json").read_text("utf-8")
    table: Table = json.loads(text)
    return table


def one_of(what: str, values: Collection[str], default: str | None = None, *, any_case: bool = False) -> Parser:
    """Return a parser of a scalar that is one of `values`; with a `default`, it may be empty."""

    def parse(text: str) -> str:
        word = text.lower() if any_case else text
        if word not in values and (text or default is None):
            raise Mismatch.unknown(what, text, values)
        return word

    return parse


class Schema:
    """The types of one tool and their codecs. `yaml` is the major version of the tool's Go YAML library.

    `is_unknown` tells values that are known only when the tool runs: no type is checked, and no field counts as absent.

    `table` has the kinds of the fields that current releases know, by type, and `rules` what else is known of a field.
    """

    def __init__(
        self,
        table: Table,
        *,
        scalars: Mapping[str, Parser] | None = None,
        codecs: Mapping[str, Codec] | None = None,
        hooks: Mapping[str, Iterable[Hook]] | None = None,
        yaml: int = 2,
        is_unknown: Callable[[Node], bool] | None = None,
    ) -> None:
        self._is_unknown = is_unknown
        self.rules = {
            name: {each: FieldRules(**entry) for each, entry in fields.items() if not isinstance(entry, str)}
            for name, fields in table["types"].items()
        }
        self.table = {
            name: {
                each: entry if isinstance(entry, str) else entry["kind"]
                for each, entry in fields.items()
                if isinstance(entry, str) or "until" not in entry
            }
            for name, fields in table["types"].items()
        }
        self._groups = {
            name: [GroupRule(**group) for group in groups] for name, groups in table.get("groups", {}).items()
        }
        self._hooks = {name: tuple(functions) for name, functions in (hooks or {}).items()}
        words = {name: one_of(**entry) for name, entry in table.get("words", {}).items()}
        self._codecs: dict[str, Codec] = {
            name: scalar_codec(parse, yaml=yaml) for name, parse in {**words, **(scalars or {})}.items()
        }
        self._codecs.update(codecs or {})
        self._made: dict[str, Codec] = {}
        self._bases = {**_BASES, "bool": decode_bool_v3} if yaml > 2 else _BASES
        self.null_keeps_default = yaml > 2
        self._yaml = yaml

    def decode(self, type_name: str, node: Node, context: Context) -> Any:
        """Decode the document `node` as a `type_name`: a `Struct`, None for null, INVALID after an error."""
        return self.codec(type_name)(node, None, context)

    def codec(self, kind: str) -> Codec:
        """Return the codec of `kind`, created once."""
        if kind not in self._made:
            self._made[kind] = self._unless_unknown(self._codecs.get(kind) or self._make(kind))
        return self._made[kind]

    def _unless_unknown(self, codec: Codec) -> Codec:
        if (is_unknown := self._is_unknown) is None:
            return codec
        return lambda node, path, context: INVALID if is_unknown(node) else codec(node, path, context)

    def hooks(self, type_name: str) -> tuple[Hook, ...]:
        """Return the checks of a struct, in order: those of its fields and groups, and the tool's own."""
        groups = [group.check for group in self._groups.get(type_name, ())]
        fields = self.rules[type_name].items()
        required = [(name, rules) for name, rules in fields if rules.required]
        restricted = [(name, rules) for name, rules in fields if rules.restricts_values]

        def check_fields(struct: Struct, context: Context) -> None:
            lacking = [name for name, rules in required if rules.is_lacking(struct, name, context)]
            for name, rules in restricted:
                if name in struct.values and name not in lacking:
                    rules.check_value(struct, name, struct.values[name], context)

        return (*((check_fields,) if required or restricted else ()), *groups, *self._hooks.get(type_name, ()))

    def _make(self, kind: str) -> Codec:
        if kind.startswith("[]"):
            return list_codec(self.codec(kind[2:]))
        if kind.startswith("{}"):
            return map_codec(self.codec(kind[2:]), yaml=self._yaml)
        if kind in self.table:
            return _StructCodec(kind, self)
        base, _, name = kind.partition(":")
        if name in self._codecs:
            return self._codecs[name]
        return self._bases[base] if base in self._bases else integer_codec(base)


class _StructCodec:
    """Decodes a mapping to a `Struct`: decodes fields by kind, reports unknown ones, then runs the type's hooks."""

    def __init__(self, name: str, schema: Schema) -> None:
        self._name = name
        self._schema = schema
        self._gates = {each: rules for each, rules in schema.rules[name].items() if rules.is_gated}
        self._fields: dict[str, Codec] | None = None
        self._hooks = schema.hooks(name)
        self._null_keeps_default = schema.null_keeps_default

    def __call__(self, node: Node, path: Path, context: Context) -> Any:
        if node.kind != MAPPING:
            if node.kind == SCALAR and is_null(node):
                return None
            return wrong_type(node, path, context, "a mapping")
        # Created at first use, because types refer to each other.
        fields = self._fields or self._load()
        values: dict[str, Any] = {}
        failed: set[str] = set()
        for name, (key, child) in node.entries.items():
            if self._null_keeps_default and key.plain and is_null(key):
                continue
            codec = fields.get(name)
            if codec is None or (self._gates and name in self._gates):
                codec = self._gated(name, key, path, context, fields)
                if codec is None:
                    # Do not also report the intended field as missing.
                    failed |= {name, nearest(name, fields) or name} if context.has_room else {name}
                    continue
            if self._null_keeps_default and child.kind == SCALAR and is_null(child):
                continue
            value = codec(child, (path, name), context)
            if value is INVALID:
                failed.add(name)
            else:
                values[name] = value
        _decode_shadowed(node, fields, path, context)
        struct = Struct(self._name, node, path, values, frozenset(failed))
        for hook in self._hooks:
            hook(struct, context)
        return struct

    def _load(self) -> dict[str, Codec]:
        self._fields = {name: self._schema.codec(kind) for name, kind in self._schema.table[self._name].items()}
        return self._fields

    def _gated(self, name: str, key: Node, path: Path, context: Context, fields: dict[str, Codec]) -> Codec | None:
        """Return the codec of `name` in the target release; None after reporting that the release lacks it."""
        gate = self._gates.get(name)
        if gate is None:
            if ANY_FIELD not in fields:
                self._unknown(name, key, path, context, fields)
            return fields.get(ANY_FIELD)
        if reason := gate.absence(context.target):
            hint = f"use {gate.instead}" if gate.instead else None
            context.error(key, (path, name), "unknown-field", f"field {name!r} {reason}", hint)
            return None
        return fields.get(name) or self._schema.codec(gate.kind)

    def _unknown(self, name: str, key: Node, path: Path, context: Context, fields: dict[str, Codec]) -> None:
        if not context.has_room:
            return
        hint = context.hint(name, fields) or self._deeper(name)
        known = sorted(fields)
        more = f" and {len(known) - _NAMES_SHOWN} more" if len(known) > _NAMES_SHOWN else ""
        known_text = f"; known fields: {', '.join(known[:_NAMES_SHOWN])}{more}" if not hint and known else ""
        context.error(key, (path, name), "unknown-field", f"unknown field {name[:80]!r}{known_text}", hint)

    def _deeper(self, name: str) -> str | None:
        """Return where `name` belongs if exactly one of the fields has it inside."""
        table = self._schema.table
        kinds = {field: kind.removeprefix("[]").removeprefix("{}") for field, kind in table[self._name].items()}
        owners = [field for field, kind in kinds.items() if name in table.get(kind, {})]
        return f"{name} is a field of {owners[0]}" if len(owners) == 1 else None


def _decode_shadowed(node: Node, fields: dict[str, Codec], path: Path, context: Context) -> None:
    """Report problems in values that merge keys replace, because Go decodes those too."""
    for key, child in node.shadowed:
        if key.text in fields and not (child.kind == SCALAR and is_null(child)):
            fields[key.text](child, (path, key.text), context)


_TYPES = {
    "streams": ("log lines", "count them: count_over_time(... [5m])"),
    "matrix": ("a range vector", "wrap it in rate() or another function for ranges"),
    "string": ("a string", None),
}
"""The types that a rule cannot have, with a hint."""


_LANGUAGES = {"promql": "PromQL", "logql": "LogQL"}


def report_query(owner: Struct, field: str, rule: Rule, problem: QueryProblem, context: Context) -> None:
    """Report `problem` in the query in `field` of `owner`."""
    node, path = owner.place(field)
    message = f"invalid {_LANGUAGES.get(rule, rule)}: {problem.message}"
    context.add(context.issue_inside(node, path, problem.start, rule, message, problem.hint))


def check_rule_query(
    owner: Struct, expression: str, rule: Rule, parse: Callable[[str, Version | None], Expr], context: Context
) -> None:
    """Check the expression of a rule. One that is neither a vector nor a number is loaded, but always fails."""
    try:
        tree = parse(expression, context.target)
    except QueryProblem as exc:
        report_query(owner, "expr", rule, exc, context)
        return
    if tree.type in _TYPES:
        found, hint = _TYPES[tree.type]
        node, path = owner.place("expr")
        context.warn(node, path, "query-type", f"a rule needs an instant vector or a number, got {found}", hint)
