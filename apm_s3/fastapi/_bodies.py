"""The JSON documents that callers send."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request

from apm_s3.configs import EnvironmentSettings
from apm_s3.fastapi._problems import MAX_ISSUES, ProblemError
from apm_s3.validators._checking import MatcherMode
from apm_s3.validators._validation.offload import run_quick
from apm_s3.validators._validation.validate import Level

GivenT = TypeVar("GivenT", bound="Given")


MAX_TOKENS = 60_000
"""Maximum number of strings, brackets and commas in a document: a bundle has at most 10 000 files, each with three."""

MAX_DEPTH = 20

_INLINE = 16 * 1024
"""Bytes that are parsed in the event loop, in less than a millisecond."""

_MAX_ERRORS = 6_000
"""Errors that are described, which takes 30 ms."""

_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{},]', re.DOTALL)
_OPENS, _CLOSES = frozenset("[{"), frozenset("]}")


def reader_of(model: type[GivenT]) -> Callable[[Request], Awaitable[GivenT]]:
    """Return the dependency that reads a document from the body.

    FastAPI reads a body of its own before any dependency: callers without a token could make it parse megabytes.
    """

    async def read(request: Request) -> GivenT:
        if not _is_json(request.headers.get("content-type", "")):
            raise _refusal("content_type", "The Content-Type must be application/json.")
        raw = await request.body()
        return _parsed(model, raw) if len(raw) <= _INLINE else await run_quick(partial(_parsed, model, raw))

    return read


def _parsed(model: type[GivenT], raw: bytes) -> GivenT:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise ProblemError(400, "bad-request", "The body is not UTF-8.") from exc
    _check_shape(text)
    try:
        return model.model_validate(json.loads(text))
    except json.JSONDecodeError as exc:
        raise _refusal("json_invalid", f"JSON decode error: {exc.msg}", exc.pos) from exc
    except ValidationError as exc:
        if exc.error_count() > _MAX_ERRORS:
            # Describing each takes microseconds, in which no other thread runs.
            raise _refusal("too_many_errors", f"{exc.error_count()} members or values are not valid.") from None
        found = exc.errors(include_url=False, include_context=False, include_input=False)[:MAX_ISSUES]
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in found]) from None
    except ValueError as exc:
        raise ProblemError(400, "bad-request", "The body cannot be parsed.") from exc


def _check_shape(text: str) -> None:
    """Refuse a document whose parts are too many or too deep, before it is parsed.

    The parser holds the interpreter until its end: a thread alone would not keep the event loop free.

    Raises:
        ProblemError: it is refused.
    """
    depth = 0
    for count, token in enumerate(_TOKEN.finditer(text), start=1):
        first = text[token.start()]
        depth += (first in _OPENS) - (first in _CLOSES)
        if depth > MAX_DEPTH:
            raise ProblemError(400, "bad-request", f"The body is nested deeper than {MAX_DEPTH} levels.")
        if count > MAX_TOKENS:
            raise ProblemError(400, "bad-request", f"The body has more than {MAX_TOKENS} strings, brackets and commas.")


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def _refusal(rule: str, message: str, *steps: int) -> RequestValidationError:
    return RequestValidationError([{"type": rule, "loc": ("body", *steps), "msg": message}])


def described(model: type[Given]) -> dict[str, Any]:
    """Return the OpenAPI description of a body."""
    return {"required": True, "content": {"application/json": {"schema": model.model_json_schema()}}}


class Given(BaseModel):
    """A document that callers send; unknown fields, and values of another type, are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Noted(Given):
    """Why a change is made."""

    message: str = Field(default="", max_length=10_000, examples=["lower the scrape interval"])
    write_id: str | None = Field(default=None, max_length=100, description="From `POST .../writes`: repeat safely.")


class BundleGiven(Noted):
    """A whole bundle: each file's text by name. Other files are removed."""

    files: dict[str, str] = Field(
        min_length=1, max_length=10_000, examples=[{"prometheus.yml": "global:\n  scrape_interval: 15s\n"}]
    )
    force: str | None = Field(default=None, max_length=1_000, description="The reason for storing despite errors.")


class FilesGiven(Given):
    """The files of a bundle to validate: each file's text by name."""

    files: dict[str, str] = Field(
        min_length=1, max_length=10_000, examples=[{"prometheus.yml": "global:\n  scrape_interval: 15s\n"}]
    )


class RollbackGiven(Noted):
    """Where to roll back to: by default the revision marked good."""

    to_revision: int | None = Field(default=None, ge=1, le=99_999_999)
    expect_revision: int | None = Field(default=None, ge=0, le=99_999_999)
    force: str | None = Field(default=None, max_length=1_000, description="The reason for storing despite errors.")


class MarkGiven(Noted):
    """The revision to mark: by default the current one."""

    revision: int | None = Field(default=None, ge=1, le=99_999_999)


class FreezeGiven(Given):
    """Why the environment is frozen."""

    reason: str = Field(min_length=1, max_length=1_000, examples=["the migration of the metrics cluster"])
    write_id: str | None = Field(default=None, max_length=100)


class BackupGiven(Given):
    """Why the backup is made, and for how long object lock protects it."""

    message: str = Field(default="", max_length=10_000)
    retain_seconds: int | None = Field(default=None, ge=1, le=10**10)


class RestoreGiven(Noted):
    """What is expected to be replaced: the current revisions by tool."""

    expect_revisions: dict[str, int] = Field(default_factory=dict)


class PlanGiven(Given):
    """What a deploy plan depends on, beyond its environments and tools."""

    variables: dict[str, str] | None = Field(default=None, max_length=1_000)
    create: bool = Field(default=False, description="Allow a target environment that does not exist yet.")


class DeployGiven(PlanGiven, Noted):
    """The plan to carry out: its hash, and what it was made with."""

    hash: str = Field(pattern="^[0-9a-f]{64}$", examples=["0" * 64])
    allow_drift: bool = Field(default=False, description="Overwrite manual changes of the target.")
    force: str | None = Field(default=None, max_length=1_000, description="The reason for deploying despite errors.")


class SettingsModel(Given):
    """An environment's rules for changes. Times are in seconds; null means the default."""

    target_versions: dict[str, str] = Field(default_factory=dict, examples=[{"prometheus": "3.5"}])
    level: Level = "full"
    matchers: MatcherMode = "fallback"
    warnings_as_errors: list[str] = Field(default_factory=list, max_length=50)
    require_author: bool = False
    require_message: bool = False
    deploy_from: list[str] | None = Field(default=None, max_length=50)
    keep_revisions: int | None = Field(default=None, ge=1, le=99_999_999)
    keep_for_seconds: int | None = Field(default=None, ge=86_400, le=10**10)
    keep_log_seconds: int | None = Field(default=None, ge=86_400, le=10**10)

    @classmethod
    def of(cls, settings: EnvironmentSettings) -> SettingsModel:
        """Return the document of `settings`."""
        same = {name: getattr(settings, name) for name in cls.model_fields if not name.endswith("_seconds")}
        periods = {"keep_for_seconds": _seconds(settings.keep_for), "keep_log_seconds": _seconds(settings.keep_log)}
        return cls.model_validate({**same, **periods}, strict=False)

    def applied(self, old: EnvironmentSettings) -> EnvironmentSettings:
        """Return the settings; those of newer versions are kept."""
        same: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in self
            if not name.endswith("_seconds")
        }
        return EnvironmentSettings(
            **same,
            keep_for=_period(self.keep_for_seconds),
            keep_log=_period(self.keep_log_seconds),
            extra=old.extra,
        )


def _seconds(period: timedelta | None) -> int | None:
    return None if period is None else int(period.total_seconds())


def _period(seconds: int | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)
