"""How many examples Hypothesis tries: some at each change, 5 000 with `--hypothesis-profile long` (`nox -s long`).

The short profile tries the same examples in each run; the long one looks for new ones. No example has a deadline: a busy
machine would fail it.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

LONG = 5000


def register() -> None:
    """Make both profiles known, and use the short one unless the command line names another."""
    settings.register_profile(
        "short", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True, database=None
    )
    settings.register_profile("long", settings.get_profile("short"), max_examples=LONG, derandomize=False)
    settings.load_profile("short")


def examples(number: int) -> settings:
    """Settings of a test that tries `number` examples at each change, other than the usual 100."""
    return settings(max_examples=max(number, settings.default.max_examples) if _is_long() else number)


def _is_long() -> bool:
    return settings.get_current_profile_name() == "long"
