"""Traces calls with OpenTelemetry.

```python
async with S3Manager(tracer=OpenTelemetryTracer()) as s3:
    ...
```

Spans of requests follow the semantic conventions for AWS S3 client spans, version 1.37.0
(https://opentelemetry.io/docs/specs/semconv/object-stores/s3/). docs/tracing.md lists spans, events and attributes.

Needs the extra `otel`: OpenTelemetry's API alone. The application configures the SDK, the sampling and the exporter.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from urllib.parse import parse_qsl, unquote

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace import Tracer as OtelTracer
from opentelemetry.util.types import AttributeValue

from apm_s3._logs import Exchanges
from apm_s3._tracing import Facts
from apm_s3._version import __version__
from apm_s3.errors import ApmS3Error
from apm_s3.events import OperationEvent, Outcome, current_labels

__all__ = [
    "OpenTelemetryTracer",
]

_SCHEMA = "https://opentelemetry.io/schemas/1.37.0"

_SUPPRESS = "suppress_instrumentation"
"""The key of the context with which `opentelemetry.instrumentation.utils.suppress_instrumentation` turns
instrumentations off."""

_OTHER = "_OTHER"
"""The error of exceptions without a code: https://opentelemetry.io/docs/specs/semconv/registry/attributes/error/."""

_APIS = {
    "complete_upload": "CompleteMultipartUpload",
    "copy_file": "CopyObject",
    "create_upload": "CreateMultipartUpload",
    "delete_file": "DeleteObject",
    "delete_files": "DeleteObjects",
    "download_file": "GetObject",
    "download_to": "GetObject",
    "file_exists": "HeadObject",
    "get_file": "GetObject",
    "get_file_tags": "GetObjectTagging",
    "head_file": "HeadObject",
    "list_buckets": "ListBuckets",
    "list_files": "ListObjectsV2",
    "list_parts": "ListParts",
    "list_uploads": "ListMultipartUploads",
    "list_versions": "ListObjectVersions",
    "move_file": "DeleteObject",
    "read_file": "GetObject",
    "resume_download": "GetObject",
    "explain_head": "ListObjectsV2",
    "upload_file": "PutObject",
    "upload_part": "UploadPart",
}
"""S3's names of requests before they are sent, for samplers. The requests themselves tell the final names."""

_ATTRIBUTES = {"bucket": "aws.s3.bucket", "key": "aws.s3.key"}


class OpenTelemetryTracer:
    """Makes spans of a manager's calls: `S3Manager(tracer=OpenTelemetryTracer())`. Several managers can share it.

    Args:
        tracer_provider: by default the global one, even if that is set later.
    """

    def __init__(self, tracer_provider: trace.TracerProvider | None = None) -> None:
        self._tracer: OtelTracer = trace.get_tracer("apm_s3", __version__, tracer_provider, _SCHEMA)

    def request(self, operation: str, bucket: str | None, key: str | None, region: str | None) -> _RequestSpan:
        """Begin the span of one call of S3, and make it current. The manager calls this."""
        api = _APIS.get(operation)
        attributes: dict[str, AttributeValue] = {
            "rpc.system": "aws-api",
            "rpc.service": "S3",
            "apm_s3.operation": operation,
        }
        if api is not None:
            attributes["rpc.method"] = api
        if bucket is not None:
            attributes["aws.s3.bucket"] = bucket
        if key is not None:
            attributes["aws.s3.key"] = key
        if region is not None:
            attributes["cloud.region"] = region
        tool, environment = current_labels()
        if tool is not None:
            attributes["apm_s3.tool"] = tool
        if environment is not None:
            attributes["apm_s3.environment"] = environment
        span = self._tracer.start_span(f"S3.{api}" if api else "S3", kind=SpanKind.CLIENT, attributes=attributes)
        return _RequestSpan(span, api)

    @contextmanager
    def operation(self, name: str, facts: Facts) -> Iterator[_OperationSpan]:
        """Make a span of the block, which sends many requests. The manager calls this."""
        span = self._tracer.start_span(name, attributes=_attributes(facts))
        with _current(span):
            yield _OperationSpan(self._tracer, span)


class _RequestSpan:
    """The span of one call of S3."""

    __slots__ = ("_api", "_context", "_exchanges", "_span", "_token")

    def __init__(self, span: Span, api: str | None) -> None:
        self._span = span
        self._api = api
        self._exchanges: Exchanges | None = None
        self._context: Context = trace.set_span_in_context(span)
        self._token = context.attach(self._context)

    def waited(self, seconds: float) -> None:
        self._span.add_event("apm_s3.pool_wait", {"apm_s3.seconds": seconds})

    @contextmanager
    def sending(self, attempt: int, exchanges: Exchanges) -> Iterator[None]:
        self._exchanges = exchanges
        self._span.add_event("apm_s3.attempt", {"apm_s3.attempt": attempt})
        token = context.attach(context.set_value(_SUPPRESS, value=True))
        try:
            yield
        finally:
            context.detach(token)

    def told(self, event: OperationEvent) -> None:
        span = self._span
        if not span.is_recording():
            if event.outcome is not Outcome.RETRY:
                span.end()
            return
        answer = self._answer(event)
        error = _error(event)
        if event.outcome is Outcome.RETRY:
            span.add_event("apm_s3.retry", {"apm_s3.attempt": event.attempt, "error.type": error, **answer})
            return
        self._rename()
        span.set_attributes({"apm_s3.attempts": event.attempt, **self._request(), **answer})
        if event.bytes_sent:
            span.set_attribute("apm_s3.bytes_sent", event.bytes_sent)
        if event.bytes_received:
            span.set_attribute("apm_s3.bytes_received", event.bytes_received)
        if event.outcome is Outcome.FAILURE:
            _fail(span, error)
        elif event.outcome is Outcome.CANCELLED:
            span.set_attribute("error.type", error)
        span.end()

    def leave(self) -> None:
        context.detach(self._token)

    @contextmanager
    def entered(self) -> Iterator[None]:
        token = context.attach(self._context)
        try:
            yield
        finally:
            context.detach(token)

    def _rename(self) -> None:
        """Name the span after the requests that were sent, which may be others than expected."""
        api = None if self._exchanges is None else self._exchanges.api
        if api is not None and api != self._api:
            self._span.update_name(f"S3.{api}")
            self._span.set_attribute("rpc.method", api)

    def _answer(self, event: OperationEvent) -> dict[str, AttributeValue]:
        exchanges = self._exchanges
        found: dict[str, AttributeValue] = {}
        if exchanges:
            last = exchanges[-1]
            found["http.response.status_code"] = last.status
            if last.request_id is not None:
                found["aws.request_id"] = last.request_id
            if last.extended_request_id is not None:
                found["aws.extended_request_id"] = last.extended_request_id
        elif event.request_id is not None:
            found["aws.request_id"] = event.request_id
        return found

    def _request(self) -> dict[str, AttributeValue]:
        exchanges = self._exchanges
        if exchanges is None or exchanges.server is None:
            return {}
        host, port = exchanges.server
        found: dict[str, AttributeValue] = {"server.address": host}
        if port is not None:
            found["server.port"] = port
        if "uploadId=" in exchanges.query:
            # Also the blank id of a server that gives none.
            given = dict(parse_qsl(exchanges.query, keep_blank_values=True))
            found["aws.s3.upload_id"] = given["uploadId"]
            if "partNumber" in given:
                found["aws.s3.part_number"] = int(given["partNumber"])
        if exchanges.copy_source is not None:
            found["aws.s3.copy_source"] = unquote(exchanges.copy_source.partition("?")[0]).lstrip("/")
        return found


class _OperationSpan:
    """The span of an operation of many requests."""

    __slots__ = ("_span", "_tracer")

    def __init__(self, tracer: OtelTracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span

    def commit(self, facts: Facts) -> AbstractContextManager[None]:
        attributes = _attributes(facts)
        made = self._tracer.start_span("apm_s3.commit", attributes=attributes)
        self._span.add_link(made.get_span_context(), attributes)
        return _current(made)


@contextmanager
def _current(span: Span) -> Iterator[None]:
    """Make `span` current inside the block, and end it with the block's error."""
    token = context.attach(trace.set_span_in_context(span))
    try:
        yield
    except CancelledError:
        span.set_attribute("error.type", "cancelled")
        raise
    except BaseException as exc:
        _fail(span, str(exc.code.value) if isinstance(exc, ApmS3Error) else _OTHER)
        raise
    finally:
        context.detach(token)
        span.end()


def _fail(span: Span, error: str) -> None:
    # Without the exception: its text may quote what the caller passed.
    span.set_attribute("error.type", error)
    span.set_status(StatusCode.ERROR)


def _error(event: OperationEvent) -> str:
    if event.outcome is Outcome.CANCELLED:
        return "cancelled"
    return _OTHER if event.error_code is None else str(event.error_code.value)


def _attributes(facts: Facts) -> dict[str, AttributeValue]:
    return {_ATTRIBUTES.get(name, f"apm_s3.{name}"): value for name, value in facts.items()}
