"""The library's loggers, and the lines that operations and requests leave. They are silent until the application
configures logging; no secret is ever given to them.

`apm_s3.operations` tells of each operation when it ends, `apm_s3.requests` of each request (DEBUG); everything else is
told by the logger of its module.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from apm_s3._naming import on_one_line

if TYPE_CHECKING:
    from apm_s3.events import OperationEvent

LOGGER = logging.getLogger("apm_s3")
LOGGER.addHandler(logging.NullHandler())
OPERATIONS = logging.getLogger("apm_s3.operations")
REQUESTS = logging.getLogger("apm_s3.requests")

_LEVELS = {
    "success": logging.INFO,
    "cancelled": logging.INFO,
    "failure": logging.WARNING,
}


class Exchange(NamedTuple):
    """One request and its response.

    Attributes:
        sent, received: bytes of the bodies; None for the body of a response that is still to be read.
        extended_request_id: S3's second id, the header `x-amz-id-2`.
    """

    status: int
    request_id: str | None
    sent: int
    received: int | None
    extended_request_id: str | None = None


class Exchanges(list[Exchange]):
    """The requests of an attempt, and their responses.

    Attributes:
        api: the name that S3 gives the request that was begun last ("GetObject"); None before the first one.
        server: the host and the port that it was sent to.
        query: its query, before it is signed.
        copy_source: its header `x-amz-copy-source`: the percent-encoded bucket and key of a copy's source.
    """

    api: str | None = None
    server: tuple[str, int | None] | None = None
    query: str = ""
    copy_source: str | None = None

    def began(self, api: str, host: str, port: int | None, query: str, copy_source: str | None) -> None:
        """Note a request that is about to be sent."""
        self.api, self.server, self.query, self.copy_source = api, (host, port), query, copy_source


EXCHANGES: ContextVar[Exchanges | None] = ContextVar("apm_s3_exchanges", default=None)
"""Where the transports note the requests of an attempt, while somebody wants to know."""


def place(bucket: str | None, key: str | None) -> str:
    """Return bucket and key as one word on one line."""
    return on_one_line("/".join(filter(None, (bucket, key))))


def log_event(logger: logging.Logger, event: OperationEvent) -> None:
    """Log one line for an operation that ended; its fields are attributes of the record."""
    level = _LEVELS[event.outcome]
    if not logger.isEnabledFor(level):
        return
    size = event.bytes_sent or event.bytes_received
    fields: dict[str, Any] = {
        "operation": event.operation,
        "bucket": event.bucket,
        "key": event.key,
        "region": event.region,
        "environment": event.environment,
        "tool": event.tool,
        "started_at": event.started_at,
        "duration": event.duration,
        "attempt": event.attempt,
        "success": event.outcome == "success",
        "error_code": event.error_code,
        "request_id": event.request_id,
        "size": size,
        "storage_class": event.storage_class,
    }
    where = place(event.bucket, event.key)
    problem = f" {event.error_code or 'OTHER'}" if event.outcome == "failure" else ""
    request = f", request {event.request_id}" if event.request_id else ""
    logger.log(
        level,
        "%s%s: %s%s in %.3f s, attempt %d, %d bytes%s",
        event.operation, f" {where}" if where else "", event.outcome, problem, event.duration, event.attempt, size,
        request,
        extra={name: value for name, value in fields.items() if value is not None},
    )  # fmt: skip


def log_exchanges(
    logger: logging.Logger,
    operation: str,
    bucket: str | None,
    key: str | None,
    attempt: int,
    seconds: float,
    exchanges: list[Exchange],
    error: BaseException | None,
) -> None:
    """Log one line for each request of an attempt, or one for an attempt that got no response."""
    where = place(bucket, key)
    common = {"operation": operation, "bucket": bucket, "key": key, "attempt": attempt, "duration": seconds}
    for each in exchanges:
        logger.debug(
            "%s%s: attempt %d returned %d, request %s, %d bytes sent, %s received, %.3f s",
            operation, f" {where}" if where else "", attempt, each.status, each.request_id or "unknown", each.sent,
            "a stream" if each.received is None else f"{each.received} bytes", seconds,
            extra={**common, "status": each.status, "request_id": each.request_id, "size": each.sent or each.received},
        )  # fmt: skip
    if not exchanges:
        problem = "made no request" if error is None else f"got no response ({type(error).__name__})"
        message = "%s%s: attempt %d %s, %.3f s"
        logger.debug(message, operation, f" {where}" if where else "", attempt, problem, seconds, extra=common)
