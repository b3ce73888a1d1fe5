"""Configures logging as text or JSON in one call, and logs an application's own operations in the same form.

The library logs under `apm_s3.*` with Python's `logging`, and is silent until the application configures that, with
`configure_logging` or otherwise. `apm_s3.operations` has a line for each operation (INFO), `apm_s3.requests` one for
each request (DEBUG). JSON needs the extra `logs`.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from dataclasses import dataclass
from typing import IO, Literal, get_args

from apm_s3._logs import OPERATIONS, place
from apm_s3._redaction import redacted
from apm_s3.errors import ApmS3Error, InvalidOption, S3Error
from apm_s3.validators._secrets.texts import mask_text

__all__ = [
    "LogLevel",
    "OperationContext",
    "configure_logging",
    "log_operation",
]

LogLevel = Literal["debug", "info", "warning", "error", "fatal", "off"]

_LEVELS: dict[LogLevel, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
    "off": logging.CRITICAL + 1,
}

_VARIABLE = "APM_S3_LOG"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationContext:
    """The fields of an application's own log line; None omits a field.

    Attributes:
        duration: seconds.
        size: bytes.
        error: logged with its code, its request id and its text, in which secrets are masked.
    """

    bucket: str | None = None
    key: str | None = None
    region: str | None = None
    environment: str | None = None
    tool: str | None = None
    duration: float | None = None
    size: int | None = None
    error: BaseException | None = None


class _Handler(logging.StreamHandler[IO[str]]):
    """The handler that `configure_logging` adds, and replaces on the next call."""


class _TextFormatter(logging.Formatter):
    """Time in UTC, level, logger, message."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-8s %(name)s: %(message)s")


def configure_logging(level: LogLevel | None = None, *, json: bool = False, stream: IO[str] | None = None) -> None:
    """Log the library's operations from `level` on. Call it again to change the configuration.

    Args:
        level: by default the value of the environment variable APM_S3_LOG, or "info". "debug" logs a line for each
            request, "fatal" is Python's CRITICAL, "off" logs nothing.
        json: log one JSON object a line, with the known ones of the fields operation, bucket, key, region,
            environment, tool, started_at (Unix seconds), duration (seconds), attempt, success, error_code, request_id,
            size (bytes) and storage_class. Needs the extra `logs`.
        stream: the output; by default standard error.

    Raises:
        InvalidOption: the level does not exist, or the extra is not installed.
    """
    chosen = _level(level)
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(_json_formatter() if json else _TextFormatter())
    logger = logging.getLogger("apm_s3")
    for old in logger.handlers[:]:
        if isinstance(old, _Handler):
            logger.removeHandler(old)
    logger.addHandler(handler)
    logger.setLevel(_LEVELS[chosen])
    # Otherwise the root logger's handlers would write each line again.
    logger.propagate = False


def _level(level: LogLevel | None) -> LogLevel:
    told = level if level is not None else os.environ.get(_VARIABLE) or "info"
    name = {"warn": "warning", "critical": "fatal"}.get(told.lower(), told.lower())
    if name not in _LEVELS:
        source = "the level" if level is not None else _VARIABLE
        raise InvalidOption(f"{source} is {told!r:.40}", hint=f"give one of {', '.join(get_args(LogLevel))}")
    return name


def _json_formatter() -> logging.Formatter:
    try:
        from pythonjsonlogger.json import JsonFormatter  # noqa: PLC0415 - an extra
    except ImportError as exc:
        raise InvalidOption("logs as JSON need the package python-json-logger", hint="install apm-s3[logs]") from exc
    return JsonFormatter(
        "{levelname}{name}{message}",
        style="{",
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp=True,
        json_ensure_ascii=False,
    )


def log_operation(
    level: LogLevel,
    operation: str,
    message: str,
    context: OperationContext | None = None,
    *,
    logger: logging.Logger | None = None,
) -> None:
    """Log an application's own operation in the form of the library's lines.

    Text in `message` or `context.error` that looks like a secret is masked.

    Args:
        logger: by default `apm_s3.operations`.

    Raises:
        InvalidOption: the level does not exist.
    """
    target = logger or OPERATIONS
    number = _LEVELS[_level(level)]
    if level == "off" or not target.isEnabledFor(number):
        return
    context = context or OperationContext()
    error = context.error
    fields = {
        "operation": operation,
        "bucket": context.bucket,
        "key": context.key,
        "region": context.region,
        "environment": context.environment,
        "tool": context.tool,
        "duration": context.duration,
        "size": context.size,
        "success": error is None,
        "error_code": None if error is None else error.code if isinstance(error, ApmS3Error) else "OTHER",
        "request_id": error.request_id if isinstance(error, S3Error) else None,
    }
    where = place(context.bucket, context.key)
    failure = "" if error is None else f" ({type(error).__name__}: {_masked(str(error))})"
    target.log(
        number,
        "%s%s: %s%s", operation, f" {where}" if where else "", _masked(message), failure,
        extra={name: value for name, value in fields.items() if value is not None},
        stacklevel=2,
    )  # fmt: skip


def _masked(text: str) -> str:
    return redacted(mask_text("message", text))
