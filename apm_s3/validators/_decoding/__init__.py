"""Nodes in, values of the *target's* type out, as Go's YAML libraries decode: from tables of fields, with small
hooks.

A tool brings a `Schema`: the table of its types (`data/<tool>.json`: every structure and field with its kind),
parsers for named scalars, codecs for types that decode themselves, and hooks that check a decoded structure.

The kind of a field is `string`, `bool`, `int`, `uint16`, `float64`, `any` ..., a structure of the table, `[]kind`
for a list, `{}kind` for a mapping, or `base:name` for a named scalar, where `name` may have a parser. The names are
Go's own (`prometheus/config.ScrapeConfig`).

    SCHEMA = Schema(
        load_table("prometheus"),
        scalars={"common/model.Duration": parse_duration},        # text -> value, or raises Mismatch
        codecs={"model/labels.Labels": decode_labels},            # (node, path, context) -> value, or INVALID
        hooks={"prometheus/config.ScrapeConfig": (check_job,)},   # (struct, context) -> None, children come first
    )
    config = SCHEMA.decode("prometheus/config.Config", root, context)

A hook reads `struct.get("name", default)`, `struct.empty("name")`, `struct.structs("name")` and reports with
`struct.error(context, "name", rule, message)`, which finds the place by itself. Fields that did not decode have been
reported; `get` gives their default, and `empty` is false for them, so that no second error follows from the first.
"""
