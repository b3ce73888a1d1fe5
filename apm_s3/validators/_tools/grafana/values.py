"""Values of provisioning files, as Grafana decodes them: only the server knows the value of `$VAR`."""

from __future__ import annotations

from collections.abc import Iterator

from apm_s3.validators._checking import Context
from apm_s3.validators._reading.nodes import MAPPING, SCALAR, SEQUENCE, Node, Path, is_null, resolve_plain


def field(node: Node, name: str) -> Node | None:
    """Return the value of a mapping's key, or None."""
    entry = node.entries.get(name) if node.kind == MAPPING else None
    return None if entry is None else entry[1]


def is_absent(node: Node | None) -> bool:
    """Return whether the value is missing, null, or blank."""
    return node is None or (node.kind == SCALAR and (is_null(node) or not node.text.strip()))


def is_variable(node: Node) -> bool:
    """Return whether only the server knows the value."""
    return node.kind == SCALAR and "$" in node.text


def expect_mapping(node: Node, path: Path, context: Context) -> bool:
    """Return whether `node` is a mapping; report it if it is neither that nor null."""
    if node.kind == MAPPING:
        return True
    if not (node.kind == SCALAR and is_null(node)):
        context.error(node, path, "wrong-type", "expected a mapping")
    return False


def expect_text(node: Node, path: Path, name: str, context: Context) -> None:
    """Report a list or mapping instead of text."""
    value = field(node, name)
    if value is not None and value.kind != SCALAR:
        context.error(value, (path, name), "wrong-type", "expected text")


def expect_integer(node: Node, path: Path, name: str, context: Context) -> None:
    """Report a value that is not an integer, quoted or not."""
    value = field(node, name)
    if value is None or is_absent(value) or is_variable(value):
        return
    number = resolve_plain(value.text) if value.kind == SCALAR else None
    if isinstance(number, bool) or not isinstance(number, int):
        context.error(value, (path, name), "wrong-type", "expected an integer")


def expect_bool(node: Node, path: Path, name: str, context: Context) -> None:
    """Report a value that is neither true nor false."""
    value = field(node, name)
    if value is None or is_absent(value) or is_variable(value):
        return
    if value.kind != SCALAR or (
        not isinstance(resolve_plain(value.text), bool) and value.text not in ("1", "0", "t", "f", "T", "F")
    ):
        context.error(value, (path, name), "wrong-type", "expected true or false")


def objects(root: Node, path: Path, name: str, context: Context) -> Iterator[tuple[Node, Path]]:
    """Yield the mappings in the list `name`, and report other entries."""
    value = field(root, name)
    at: Path = (path, name)
    if value is None or (value.kind == SCALAR and is_null(value)):
        return
    if value.kind != SEQUENCE:
        context.error(value, at, "wrong-type", "expected a list")
        return
    for index, item in enumerate(value.items):
        if expect_mapping(item, (at, index), context):
            yield item, (at, index)
