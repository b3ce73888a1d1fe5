"""The PromQL of each release of Prometheus, from 2.45. Features that need a feature flag are refused.

From https://github.com/prometheus/prometheus/blob/main/CHANGELOG.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from apm_s3.validators._hints import did_you_mean
from apm_s3.validators._query.promql.functions import FUNCTIONS, RENAMED, Function, Version


@dataclass(frozen=True, slots=True)
class Dialect:
    """The PromQL of one release.

    `quoted_names`: `{"a.b"}`; `plain_durations`: durations are numbers and vice versa, with underscores;
    `quoted_groups`: `by ("a.b")`; `any_labels`: label names are any UTF-8; `zero_durations`: a literal may be `0s`, and
    an offset may have a `+`; `trims`: `</` and `>/`; `calculated`: `[5m * 2]`.
    """

    release: Version | None
    quoted_names: bool
    plain_durations: bool
    quoted_groups: bool
    any_labels: bool
    zero_durations: bool
    trims: bool
    calculated: bool

    def function(self, name: str) -> Function | str:
        """Return the function `name`, or why this release does not have it."""
        function = FUNCTIONS.get(name)
        if function is None:
            return f"unknown function {name!r}"
        release = self.release
        if function.since is not None and release is not None and release < function.since:
            return f"function {name!r} was added in {_text(function.since)}{_other_name(name)}"
        if function.until is not None and (release is None or release >= function.until):
            return f"function {name!r} was removed in {_text(function.until)}{_other_name(name)}"
        if function.experimental:
            return f"function {name!r} is experimental and needs a feature flag"
        return function

    def hint(self, name: str) -> str | None:
        """Suggest a function with a similar name."""
        if name.lower() in FUNCTIONS and name not in FUNCTIONS:
            return f"did you mean {name.lower()}?"
        return did_you_mean(name, (known for known in FUNCTIONS if isinstance(self.function(known), Function)))


@lru_cache(maxsize=64)
def dialect_of(release: Version | None) -> Dialect:
    """Return the dialect of `release`; None means the newest one."""

    def has(version: Version) -> bool:
        return release is None or release >= version

    return Dialect(
        release, has((2, 51)), has((2, 54)), has((2, 55)), has((3, 0)), has((3, 4)), has((3, 11)), has((3, 14))
    )


def _text(version: Version) -> str:
    return ".".join(str(part) for part in version)


def _other_name(name: str) -> str:
    return f"; it is called {RENAMED[name]} there" if name in RENAMED else ""
