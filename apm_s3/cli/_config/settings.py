"""The commands `config settings|good|freeze|thaw`."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from apm_s3._hints import Advice
from apm_s3.cli import _arguments as args
from apm_s3.cli._arguments import pairs
from apm_s3.cli._call import Call
from apm_s3.cli._output import as_document, in_age, make_changes, make_table
from apm_s3.cli._statuses import UsageFailed, did_you_mean
from apm_s3.errors import ConfigNotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.text import Text

    from apm_s3._tools import Tool
    from apm_s3.configs import ConfigStore, EnvironmentSettings


_NAMES = (
    *("target-versions", "level", "matchers", "warnings-as-errors", "require-author", "require-message"),
    *("deploy-from", "keep-revisions", "keep-for", "keep-log"),
)
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


@args.option("--set", "change", multiple=True, help="NAME=VALUE; an empty value removes it. Repeatable.")
@args.create_environment
@args.of_note
def settings(call: Call, *, change: tuple[str, ...], create: bool) -> None:
    """Show or change the rules of an environment.

    Names: target-versions (prometheus:2.53,loki:3.1), level (full, external), matchers (fallback, classic,
    utf8-strict), warnings-as-errors (rules, or *), require-author and require-message (true, false), deploy-from
    (staging), keep-revisions (20), keep-for and keep-log (30d, 12w).

    Example:
        apm-s3 config settings -e production --set require-message=true
    """
    environment = call.environment
    changes = {name.replace("-", "_"): _parse(name, value) for name, value in pairs(change, "--set").items()}
    if not changes:
        found = call.run_on_store(lambda store: store.settings(environment))
        call.print(found, make_table(("setting", "value"), _rows(found)))
        return
    _check(changes)
    call.changes, call.resume_hint = not call.dry_run, _AGAIN
    how = {"create": create, **call.signed()}
    old, new = call.run_on_store(lambda store: _change(store, environment, changes, call.dry_run, **how))
    call.print({"before": old, "after": new, "dry_run": call.dry_run}, _difference(environment, old, new, call.dry_run))


async def _change(
    store: ConfigStore, environment: str, changes: Mapping[str, Any], dry_run: bool, **arguments: Any
) -> tuple[EnvironmentSettings, EnvironmentSettings]:
    """Change the settings, unless it is a dry run, and return the old and the new ones."""
    from apm_s3.configs import EnvironmentSettings  # noqa: PLC0415 - it brings the validators

    try:
        old = await store.settings(environment)
    except ConfigNotFound as exc:
        if not arguments["create"]:
            exc.hint = Advice.CREATE_ENVIRONMENT(near="check its name;")
            raise
        old = EnvironmentSettings()
    new = replace(old, **changes)
    if not dry_run and new != old:
        await store.set_settings(environment, lambda now: replace(now, **changes), **arguments)
    return old, new


def _check(changes: Mapping[str, Any]) -> None:
    """Refuse values that are not valid before anything is sent."""
    from apm_s3.configs import EnvironmentSettings  # noqa: PLC0415 - it brings the validators

    EnvironmentSettings(**changes).check()


def _parse(name: str, value: str) -> Any:
    """Return the value of a setting.

    Raises:
        UsageFailed: there is no such setting, or the value is not one.
    """
    field = name.replace("-", "_")
    if name not in _NAMES:
        raise UsageFailed(f"unknown setting '{name}'", did_you_mean(name, _NAMES) or f"known: {', '.join(_NAMES)}")
    if field in ("keep_for", "keep_log"):
        return _period(name, value)
    if field.startswith("require_"):
        return _boolean(name, value)
    if field == "keep_revisions":
        return _number(name, value)
    if field == "target_versions":
        versions = [each.partition(":") for each in value.split(",") if each]
        return {tool: version for tool, _, version in versions}
    if field in ("warnings_as_errors", "deploy_from"):
        names = tuple(each for each in value.split(",") if each)
        return None if field == "deploy_from" and not names else names
    return value or {"level": "full", "matchers": "fallback"}[field]


def _period(name: str, value: str) -> timedelta | None:
    return parse_period(name, value) if value else None


def parse_period(name: str, value: str) -> timedelta:
    """Return a period such as 48h, 30d or 12w.

    Raises:
        UsageFailed: it is not one.
    """
    found = re.fullmatch(r"([1-9][0-9]{0,4})([hdw])", value)
    if found is None:
        raise UsageFailed(f"{name}={value} is not a period", "write 48h, 30d or 12w")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _boolean(name: str, value: str) -> bool:
    if value not in ("true", "false", ""):
        raise UsageFailed(f"{name}={value} is neither true nor false")
    return value == "true"


def _number(name: str, value: str) -> int | None:
    if value and not value.isdecimal():
        raise UsageFailed(f"{name}={value} is not a number")
    return int(value) if value else None


def _rows(found: EnvironmentSettings) -> list[tuple[str, str]]:
    return [(name, _text(getattr(found, name.replace("-", "_")))) for name in _NAMES]


def _text(value: Any) -> str:
    if isinstance(value, timedelta):
        return in_age(value)
    if isinstance(value, bool):
        return str(value).lower()
    document = as_document(value)
    if isinstance(document, dict):
        return ",".join(f"{tool}:{version}" for tool, version in document.items())
    return ",".join(document) if isinstance(document, list) else "" if document is None else str(document)


def _difference(environment: str, old: EnvironmentSettings, new: EnvironmentSettings, dry_run: bool) -> Text:
    before, after = dict(_rows(old)), dict(_rows(new))
    changed = [name for name in _NAMES if before[name] != after[name]]
    if not changed:
        return make_changes(f"No changes: the settings of {environment} are as wanted.", [])
    lines = [("~", f"{name}: {before[name] or 'not set'} -> {after[name] or 'not set'}") for name in changed]
    return make_changes(f"{'Would change' if dry_run else 'Changed'} the settings of {environment}:", lines)


_AGAIN = "Run it again: doing it twice is harmless."


@args.tool_name
@args.revision
@args.of_note
def good(call: Call, *, tool: Tool, revision: int | None) -> None:
    """Mark a revision as good: rollbacks return to it.

    Example:
        apm-s3 config good prometheus -e production
    """
    environment = call.environment
    if call.dry_run:
        bundle = call.run_on_store(lambda store: store.download_bundle(tool, environment, revision=revision))
        text = f"would mark revision {bundle.release.revision} of {tool} in {environment} as good"
        call.print({"dry_run": True, "release": bundle.release}, text)
        return
    call.changes, call.resume_hint, how = True, _AGAIN, call.signed()
    release = call.run_on_store(lambda store: store.mark_good(tool, environment, revision, **how))
    call.print(release, f"revision {release.revision} of {tool} in {environment} is marked good")


@args.author
@args.message
@args.dry_run
def freeze(call: Call) -> None:
    """Block all changes to an environment.

    The message is the reason, which everybody sees whose change is refused.

    Example:
        apm-s3 config freeze -e production -m "Christmas"
    """
    environment = call.environment
    reason = call.message(f"Freeze {environment}.")
    if not reason:
        raise UsageFailed("a freeze needs a reason", "use --message REASON")
    if not call.dry_run:
        call.changes, call.resume_hint, by = True, _AGAIN, call.author
        call.run_on_store(lambda store: store.freeze(environment, reason, author=by))
    verb = "would freeze" if call.dry_run else "froze"
    call.print(
        {"environment": environment, "frozen": not call.dry_run, "reason": reason}, f"{verb} {environment}: {reason}"
    )


@args.of_note
def thaw(call: Call) -> None:
    """Allow changes to an environment again.

    Example:
        apm-s3 config thaw -e production
    """
    environment = call.environment
    if not call.dry_run:
        call.changes, call.resume_hint, how = True, _AGAIN, call.signed()
        call.run_on_store(lambda store: store.thaw(environment, **how))
    document = {"environment": environment, "frozen": False, "dry_run": call.dry_run}
    call.print(document, f"{'would thaw' if call.dry_run else 'thawed'} {environment}")
