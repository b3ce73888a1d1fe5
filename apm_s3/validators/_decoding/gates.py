"""Gates: which releases of a tool know a field, or a value of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from apm_s3.validators._context import Context, Version
from apm_s3.validators._decoding.struct import Struct


@dataclass(frozen=True, slots=True)
class Gate:
    """The releases that know a field: from `since`, before `until`. `kind` is of one that the table lacks."""

    since: Version | None = None
    until: Version | None = None
    kind: str | None = None


Gates = Mapping[str, Mapping[str, Gate]]
"""By type, then by field."""

Values = Mapping[str, Mapping[str, Mapping[str, Version]]]
"""By type, then by field: the values that only later releases take, in any case, and since when."""


def check_values(fields: Mapping[str, Mapping[str, Version]], struct: Struct, context: Context) -> None:
    """Report the values in `struct` that the release that is aimed at does not know yet."""
    for field, known in fields.items():
        given = struct.get(field)
        many = isinstance(given, list)
        for index, value in enumerate(given if many else (given,)):
            since = known.get(str(value).lower())
            if since is not None and context.target is not None and context.target < since:
                message = f"{value!r} is known from {dotted(since)} on, and the target is {dotted(context.target)}"
                struct.error(context, (field, index) if many else field, "enum", message)


def known_in(context: Context, names: Mapping[str, Version | None]) -> frozenset[str]:
    """The `names` that the release that is aimed at knows, each with the one that brought it (None: an old one)."""
    return frozenset(name for name, since in names.items() if since is None or not context.is_before(since))


def dotted(version: Version) -> str:
    """(3, 8) as `3.8`."""
    return ".".join(str(part) for part in version)
