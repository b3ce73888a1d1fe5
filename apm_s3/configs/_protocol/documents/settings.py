"""Encodes an environment's settings for the reference document. Pure.

Only settings that differ from the defaults are stored. Times are in seconds.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from apm_s3.configs._models.settings import EnvironmentSettings
from apm_s3.configs._protocol.documents.fields import Fields
from apm_s3.errors import InvalidRequest, StoreDamaged

_DEFAULT = EnvironmentSettings()
_TIMES = ("keep_for", "keep_log")
_LISTS = ("warnings_as_errors", "deploy_from")


def encode_settings(settings: EnvironmentSettings) -> dict[str, Any]:
    """Return the settings that differ from the defaults."""
    given: dict[str, Any] = {
        "target_versions": dict(sorted(settings.target_versions.items())),
        "level": settings.level,
        "matchers": settings.matchers,
        "warnings_as_errors": list(settings.warnings_as_errors),
        "require_author": settings.require_author,
        "require_message": settings.require_message,
        "deploy_from": None if settings.deploy_from is None else list(settings.deploy_from),
        "keep_revisions": settings.keep_revisions,
        "keep_for": _seconds(settings.keep_for),
        "keep_log": _seconds(settings.keep_log),
    }
    default: dict[str, Any] = {
        "target_versions": {},
        "level": _DEFAULT.level,
        "matchers": _DEFAULT.matchers,
        "warnings_as_errors": [],
        "require_author": False,
        "require_message": False,
        "deploy_from": None,
        "keep_revisions": None,
        "keep_for": None,
        "keep_log": None,
    }
    return {**{name: value for name, value in given.items() if value != default[name]}, **settings.extra}


def decode_settings(fields: Fields | None) -> EnvironmentSettings:
    """Decode the result of `encode_settings`; missing settings get their defaults.

    Raises:
        StoreDamaged: the settings are malformed or not valid.
    """
    if fields is None:
        return _DEFAULT
    given: dict[str, Any] = {}
    for name, kind in (
        ("target_versions", dict), ("level", str), ("matchers", str), ("require_author", bool),
        ("require_message", bool), ("keep_revisions", int),
    ):  # fmt: skip
        value = fields.take_optional(name, kind)
        if value is not None:
            given[name] = value
    for name in _LISTS:
        if fields.has(name):
            given[name] = fields.take_strings(name)
    for name in _TIMES:
        seconds = fields.take_optional(name, int)
        if seconds is not None:
            given[name] = _period(seconds, fields.where)
    settings = replace(EnvironmentSettings(**given), extra=fields.rest())
    try:
        settings.check()
    except InvalidRequest as exc:
        raise StoreDamaged(f"'{fields.where}' has invalid settings: {exc.problem}") from exc
    return settings


def _seconds(period: timedelta | None) -> int | None:
    return None if period is None else int(period.total_seconds())


def _period(seconds: int, where: str) -> timedelta:
    try:
        return timedelta(seconds=seconds)
    except OverflowError as exc:
        raise StoreDamaged(f"'{where}' has an invalid period in its settings") from exc
