"""Decodes nodes to typed values as Go's YAML libraries do, with tables of fields and small hooks.

A tool has a `Schema`: the table of its types (`_data/<tool>.json`: every struct and field with its kind), parsers for
named scalars, codecs for types with their own decoding, and hooks that check a decoded struct.

The kind of a field is `string`, `bool`, `int`, `uint16`, `float64`, `any` ..., a struct of the table, `[]kind` for a
list, `{}kind` for a mapping, or `base:name` for a named scalar, where `name` may have a parser. The names are Go's
(`prometheus/config.ScrapeConfig`).

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
