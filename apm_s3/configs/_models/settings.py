"""An environment's rules for changes: target versions, strictness, required notes, deploy sources, retention. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from typing import Any, get_args

from apm_s3._naming import check_environment
from apm_s3.configs._content.sources import check_tool
from apm_s3.configs._models.extra import Extra, nothing
from apm_s3.errors import InvalidOption
from apm_s3.reports import Severity, ValidationReport
from apm_s3.validators._checking import MatcherMode, parse_version
from apm_s3.validators._validation.validate import Level

EVERY = "*"
"""All rules, in `warnings_as_errors`."""

LEAST_KEPT = timedelta(hours=24)
"""Nothing younger is ever deleted; this is much longer than any write."""

KEEP_LOG = timedelta(days=365)
"""How long log entries are kept by default."""

_MAX_NAMES = 50
"""Maximum number of rules or environments in a setting, to keep current.json small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentSettings:
    """An environment's rules for all changes. Calls can only be stricter.

    Attributes:
        target_versions: the release to validate against, by tool (`{"prometheus": "2.53"}`).
        level: "external" also runs promtool or amtool, if installed.
        matchers: Alertmanager's matcher mode. See `validate_config`.
        warnings_as_errors: rules whose warnings count as errors, such as "plain-text-secret"; "*" means all.
        require_author, require_message: whether every change needs an author, or a message.
        deploy_from: the environments that may be deployed to this one; None means any.
        keep_revisions: the minimum number of revisions that a collection keeps.
        keep_for: how long a collection keeps every revision, at least 24 hours (the default, None).
        keep_log: how long a collection keeps log entries, at least 24 hours; None means a year, unless the call says
            less.
        extra: settings of a newer version.
    """

    target_versions: Mapping[str, str] = field(default_factory=nothing)
    level: Level = "full"
    matchers: MatcherMode = "fallback"
    warnings_as_errors: tuple[str, ...] = ()
    require_author: bool = False
    require_message: bool = False
    deploy_from: tuple[str, ...] | None = None
    keep_revisions: int | None = None
    keep_for: timedelta | None = None
    keep_log: timedelta | None = None
    extra: Extra = field(default_factory=nothing, repr=False)

    def check(self) -> None:
        """Refuse invalid settings.

        Raises:
            InvalidRequest: a tool, version, level, mode or name is not valid, or a retention is too short.
        """
        _check_versions(self.target_versions)
        check_level(self.level)
        if self.matchers not in get_args(MatcherMode):
            hint = f"choose from {', '.join(get_args(MatcherMode))}"
            raise InvalidOption(f"unknown matcher mode: {self.matchers!r:.80}", hint=hint)
        _check_names(self.warnings_as_errors, "warnings_as_errors")
        if self.deploy_from is not None:
            _check_names(self.deploy_from, "deploy_from")
            for environment in self.deploy_from:
                check_environment(environment)
        for name in ("require_author", "require_message"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidOption(f"{name} must be True or False", hint="choose one")
        self._check_retention()

    def _check_retention(self) -> None:
        if self.keep_revisions is not None and (type(self.keep_revisions) is not int or self.keep_revisions < 1):
            raise InvalidOption("keep_revisions must be at least 1", hint="the current revision is always kept")
        for name in ("keep_for", "keep_log"):
            period = getattr(self, name)
            if period is not None and (not isinstance(period, timedelta) or period < LEAST_KEPT):
                raise InvalidOption(f"{name} must be at least 24 hours", hint="pass a timedelta")

    def check_note(self, environment: str, author: str | None, message: str) -> None:
        """Refuse a change without a required author or message.

        Raises:
            InvalidOption: the author or the message is missing.
        """
        missing = ["author"] if self.require_author and not (author or "").strip() else []
        missing += ["message"] if self.require_message and not message.strip() else []
        if missing:
            raise InvalidOption(
                f"'{environment}' does not accept changes without {' and '.join(missing)}",
                hint=f"nothing was changed; pass {', '.join(f'{name}=' for name in missing)}",
            )

    def rules(
        self, tool: str, *, level: Level | None = None, warnings_as_errors: Collection[str] = ()
    ) -> ValidationRules:
        """Return how a configuration of `tool` is validated, by a call that may be stricter.

        Raises:
            InvalidOption: the call is less strict.
        """
        levels = get_args(Level)
        check_level(level)
        if level is not None and levels.index(level) < levels.index(self.level):
            raise InvalidOption(
                f"level={level!r} is less strict than the environment's {self.level!r}", hint="leave it out"
            )
        strict = frozenset((*self.warnings_as_errors, *warnings_as_errors))
        return ValidationRules(self.target_versions.get(tool), level or self.level, strict, self.matchers)

    def refuses_source(self, environment: str) -> str | None:
        """Return why `environment` may not be deployed to this one; None if it may."""
        if self.deploy_from is None or environment in self.deploy_from:
            return None
        return f"its settings allow deploys from {', '.join(self.deploy_from) or 'nowhere'} only"


NO_SETTINGS = EnvironmentSettings()
"""The default settings."""


@dataclass(frozen=True, slots=True)
class ValidationRules:
    """How one configuration is validated; the fields are those of `EnvironmentSettings`."""

    target_version: str | None = None
    level: Level = "full"
    warnings_as_errors: frozenset[str] = frozenset()
    matchers: MatcherMode = "fallback"

    def covers(self, rule: str) -> bool:
        """Return whether a warning of `rule` counts as an error."""
        return EVERY in self.warnings_as_errors or rule in self.warnings_as_errors

    def applied(self, report: ValidationReport) -> ValidationReport:
        """Turn the warnings of `report` that count as errors into errors."""
        if not self.warnings_as_errors:
            return report
        return replace(
            report,
            issues=tuple(
                replace(issue, severity=Severity.ERROR)
                if issue.severity is Severity.WARNING and self.covers(issue.rule)
                else issue
                for issue in report.issues
            ),
        )


LAX = ValidationRules()
"""The rules of an environment without settings."""

SettingsChange = EnvironmentSettings | Callable[[EnvironmentSettings], EnvironmentSettings]
"""New settings, or a function that returns them from the current ones."""


def changed_settings(old: EnvironmentSettings, new: EnvironmentSettings) -> list[str]:
    """Return the names of the settings that differ."""
    names = [each.name for each in fields(EnvironmentSettings) if each.name != "extra"]
    return [name for name in names if getattr(old, name) != getattr(new, name)]


def check_level(level: Any) -> Level | None:
    """Check a validation level, or None.

    Raises:
        InvalidOption: it is not a valid level.
    """
    if level is not None and level not in get_args(Level):
        raise InvalidOption(f"unknown level: {level!r:.80}", hint=f"choose from {', '.join(get_args(Level))}")
    known: Level | None = level
    return known


def check_rule_names(names: Collection[str]) -> tuple[str, ...]:
    """Return the names of rules that a caller gave.

    Raises:
        InvalidOption: they are not a collection of names, or too many.
    """
    given = tuple(names) if not isinstance(names, str) and isinstance(names, Collection) else names
    _check_names(given, "warnings_as_errors")
    return tuple(given)


def _check_versions(versions: Any) -> None:
    if not isinstance(versions, Mapping):
        raise InvalidOption(f"target_versions is a {type(versions).__name__}", hint="use a mapping by tool")
    for tool, version in versions.items():
        check_tool(tool)
        if not isinstance(version, str):
            raise InvalidOption(f"the version of {tool} is not text", hint="write it as '2.53'")
        parse_version(version)


def _check_names(names: Any, what: str) -> None:
    if not isinstance(names, tuple) or not all(isinstance(name, str) and 0 < len(name) <= 100 for name in names):
        raise InvalidOption(f"{what} is not a tuple of names", hint="use one such as ('plain-text-secret',)")
    if len(names) > _MAX_NAMES:
        raise InvalidOption(f"{what} has more than {_MAX_NAMES} names", hint="use fewer")
