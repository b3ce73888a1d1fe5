"""Gates: the releases of a tool that know a field or a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from apm_s3.validators._checking.context import Context, Version
from apm_s3.validators._decoding.struct import Struct


@dataclass(frozen=True, slots=True)
class Gate:
    """The releases that know a field: from `since`, before `until`. `kind` is set if the table lacks the field."""

    since: Version | None = None
    until: Version | None = None
    kind: str | None = None


Gates = Mapping[str, Mapping[str, Gate]]
"""Gates by type, then by field."""

Values = Mapping[str, Mapping[str, Mapping[str, Version]]]
"""By type, then by field: values that only later releases accept (in any case), with the release."""


def check_values(fields: Mapping[str, Mapping[str, Version]], struct: Struct, context: Context) -> None:
    """Report the values in `struct` that the target release does not know yet."""
    for field, known in fields.items():
        given = struct.get(field)
        many = isinstance(given, list)
        for index, value in enumerate(given if many else (given,)):
            since = known.get(str(value).lower())
            if since is not None and context.target is not None and context.target < since:
                message = f"{value!r} was added in {dotted(since)}, but the target version is {dotted(context.target)}"
                struct.error(context, (field, index) if many else field, "enum", message)


def known_in(context: Context, names: Mapping[str, Version | None]) -> frozenset[str]:
    """Return the `names` that the target release knows; each maps to the release that added it (None: an old one)."""
    return frozenset(name for name, since in names.items() if since is None or not context.is_before(since))


def dotted(version: Version) -> str:
    """Format (3, 8) as `3.8`."""
    return ".".join(str(part) for part in version)
