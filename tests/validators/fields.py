"""Documents with one null field of a tool's table each, which show whether the field is known."""

import json
import re

from tools.field_tables.__main__ import DATA
from tools.field_tables.tables import kinds

NOT_ENTERED = ("model/relabel.Regexp", "common/config.URL", "config/common.Regexp", "alertmanager/config.HostPort")


def table_of(tool):
    """The types of the newest release of `tool`, with the kinds of their fields."""
    return kinds(json.loads((DATA / f"{tool}.json").read_text("utf-8"))["types"])


def documents(tool, root):
    """By type and field, the shortest way to it from the `root`."""
    found = {}
    for kind, name, document in _walk(table_of(tool), root, lambda inner: inner, ()):
        found.setdefault((kind, name), json.dumps(document))
    return found


def _walk(table, kind, wrap, above):
    for name, inner in table[kind].items():
        yield kind, name, wrap({name: None})
        below = inner.removeprefix("[]").removeprefix("{}")
        if table.get(below) and below not in above and below not in NOT_ENTERED:
            yield from _walk(table, below, _wrapper(wrap, name, inner), (*above, kind))


def _wrapper(wrap, name, kind):
    def inside(document):
        return wrap(
            {name: [document] if kind.startswith("[]") else {"a": document} if kind.startswith("{}") else document}
        )

    return inside


def says_unknown(text, name):
    """Whether a tool says in `text` that it does not know the field `name`."""
    return re.search(rf"field {re.escape(name)} not found", text) is not None


def is_known(report, name):
    """Whether our report has no complaint about the field `name` itself."""
    return not any(issue.rule == "unknown-field" and repr(name) in issue.message for issue in report.errors)
