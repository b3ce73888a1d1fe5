"""The table of a tool's types, turned into codecs when they are first needed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import partial
from importlib.resources import files
from typing import Any

from apm_s3.validators._checking.context import Context
from apm_s3.validators._decoding.codecs import (
    decode_any,
    decode_bool,
    decode_bool_v3,
    decode_float,
    decode_string,
    integer_codec,
    list_codec,
    map_codec,
    scalar_codec,
    wrong_type,
)
from apm_s3.validators._decoding.gates import Gates, Values, check_values, dotted
from apm_s3.validators._decoding.struct import INVALID, Codec, Hook, Parser, Struct
from apm_s3.validators._hints import nearest
from apm_s3.validators._reading.nodes import MAPPING, SCALAR, Node, Path
from apm_s3.validators._reading.scalars import is_null

Table = Mapping[str, Mapping[str, str]]
"""The kinds of the fields of each type, by name."""

_BASES: dict[str, Codec] = {
    "string": decode_string,
    "bool": decode_bool,
    "float64": decode_float,
    "any": decode_any,
    "func": decode_any,
}
_NAMES_SHOWN = 12


def load_table(tool: str) -> Table:
    """Load the types of `tool` from this package's data."""
    text = files("apm_s3.validators").joinpath("_data", f"{tool}.json").read_text("utf-8")
    types: Table = json.loads(text)["types"]
    return types


class Schema:
    """The types of one tool and their codecs. `yaml` is the major version of the tool's Go YAML library."""

    def __init__(
        self,
        table: Table,
        *,
        scalars: Mapping[str, Parser] | None = None,
        codecs: Mapping[str, Codec] | None = None,
        hooks: Mapping[str, Iterable[Hook]] | None = None,
        gates: Gates | None = None,
        values: Values | None = None,
        yaml: int = 2,
    ) -> None:
        self.table = table
        self.gates = gates or {}
        self._values = values or {}
        self._hooks = {name: tuple(functions) for name, functions in (hooks or {}).items()}
        self._codecs: dict[str, Codec] = {
            name: scalar_codec(parse, yaml=yaml) for name, parse in (scalars or {}).items()
        }
        self._codecs.update(codecs or {})
        self._bases = {**_BASES, "bool": decode_bool_v3} if yaml > 2 else _BASES
        self.null_keeps_default = yaml > 2
        self._yaml = yaml

    def decode(self, type_name: str, node: Node, context: Context) -> Any:
        """Decode the document `node` as a `type_name`: a `Struct`, None for null, INVALID after an error."""
        return self.codec(type_name)(node, None, context)

    def codec(self, kind: str) -> Codec:
        """Return the codec of `kind`, created once."""
        if kind not in self._codecs:
            self._codecs[kind] = self._make(kind)
        return self._codecs[kind]

    def hooks(self, type_name: str) -> tuple[Hook, ...]:
        """Return the checks of a struct, in order."""
        known = self._values.get(type_name)
        return (*((partial(check_values, known),) if known else ()), *self._hooks.get(type_name, ()))

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
        self._gates = schema.gates.get(name, {})
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
            self._unknown(name, key, path, context, fields)
            return None
        if gate.since is not None and context.target is not None and context.target < gate.since:
            message = (
                f"field {name!r} was added in {dotted(gate.since)}, but the target version is {dotted(context.target)}"
            )
            context.error(key, (path, name), "unknown-field", message)
            return None
        if gate.until is not None and (context.target is None or context.target >= gate.until):
            context.error(key, (path, name), "unknown-field", f"field {name!r} was removed in {dotted(gate.until)}")
            return None
        return self._schema.codec(gate.kind) if gate.kind else fields[name]

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
