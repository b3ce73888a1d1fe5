"""Traces: spans of requests and operations, their events, links and parents, and no spans without a tracer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from opentelemetry import context, trace
from opentelemetry.instrumentation.botocore import AiobotocoreInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from apm_s3 import S3Manager, S3Settings, UploadOptions
from apm_s3.errors import AccessDenied, ObjectNotFound, PreconditionFailed
from apm_s3.exporters.tracing import OpenTelemetryTracer
from apm_s3.health import HealthChecker
from apm_s3.settings import RetrySettings, TransferSettings
from tests.configs.samples import LOKI
from tests.faults.faults import answer, reset_in_body
from tests.faults.memory_s3 import Upload
from tests.faults.server import FaultyS3
from tests.managers import make_manager
from tests.memory_transport import MemoryManager
from tests.seams.s3 import VerifyingSettings, let_deadlines_pass

BUCKET = "bucket-one"
MIB = 1024**2


@pytest.fixture
def exported() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exported: InMemorySpanExporter) -> TracerProvider:
    made = TracerProvider(shutdown_on_exit=False)
    made.add_span_processor(SimpleSpanProcessor(exported))
    return made


@pytest.fixture
async def server() -> AsyncIterator[FaultyS3]:
    async with FaultyS3() as made:
        made.s3.buckets[BUCKET] = {}
        yield made


@pytest.fixture(params=["signed", "boto"])
async def s3(request: pytest.FixtureRequest, server: FaultyS3, provider: TracerProvider) -> AsyncIterator[S3Manager]:
    settings = VerifyingSettings(
        data_path=request.param,
        retry=RetrySettings(initial_delay=0.001),
        transfer=TransferSettings(multipart_threshold=5 * MIB, part_size=5 * MIB),
    )
    async with make_manager(server, settings, tracer=OpenTelemetryTracer(provider)) as made:
        yield made


def memory_manager(provider: TracerProvider | None, **settings: Any) -> MemoryManager:
    return MemoryManager(S3Settings(**settings), tracer=OpenTelemetryTracer(provider))


def named(exported: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in exported.get_finished_spans() if span.name == name]


def only(exported: InMemorySpanExporter) -> ReadableSpan:
    [span] = exported.get_finished_spans()
    return span


def events(span: ReadableSpan) -> list[tuple[str, dict[str, Any]]]:
    return [(event.name, dict(event.attributes or {})) for event in span.events]


def is_child(span: ReadableSpan, parent: ReadableSpan) -> bool:
    return span.parent is not None and span.parent.span_id == parent.get_span_context().span_id


async def test_a_request_is_one_client_span_that_follows_the_semantic_conventions(
    s3: S3Manager, server: FaultyS3, exported: InMemorySpanExporter
) -> None:
    await s3.upload_file(BUCKET, "a/key", b"value")

    span = only(exported)
    assert (span.name, span.kind, span.status.status_code) == ("S3.PutObject", SpanKind.CLIENT, StatusCode.UNSET)
    attributes = dict(span.attributes or {})
    request_id = attributes.pop("aws.request_id")
    assert request_id
    attributes.pop("aws.extended_request_id", None)
    assert attributes == {
        "rpc.system": "aws-api", "rpc.service": "S3", "rpc.method": "PutObject", "aws.s3.bucket": BUCKET,
        "aws.s3.key": "a/key", "cloud.region": "us-east-1", "server.address": "127.0.0.1",
        "server.port": int(server.endpoint_url.rpartition(":")[2]), "http.response.status_code": 200,
        "apm_s3.operation": "upload_file", "apm_s3.attempts": 1, "apm_s3.bytes_sent": 5,
    }  # fmt: skip
    assert events(span) == [("apm_s3.attempt", {"apm_s3.attempt": 1})]
    assert span.instrumentation_scope.schema_url == "https://opentelemetry.io/schemas/1.37.0"


async def test_the_request_that_was_sent_names_the_span(s3: S3Manager, exported: InMemorySpanExporter) -> None:
    await s3.create_bucket("bucket-two")

    made = named(exported, "S3.CreateBucket")
    assert [span.attributes["rpc.method"] for span in made if span.attributes] == ["CreateBucket"]
    [whole] = named(exported, "S3Manager.create_bucket")
    assert all(is_child(span, whole) for span in exported.get_finished_spans() if span is not whole)


async def test_failed_attempts_are_events_of_one_span(
    s3: S3Manager, server: FaultyS3, exported: InMemorySpanExporter
) -> None:
    server.will(answer(503, "SlowDown"), "PutObject")

    await s3.upload_file(BUCKET, "key", b"value")

    span = only(exported)
    told = events(span)
    assert [name for name, _ in told] == ["apm_s3.attempt", "apm_s3.retry", "apm_s3.attempt"]
    assert told[1][1]["error.type"] == "THROTTLED"
    assert told[1][1]["http.response.status_code"] == 503
    assert span.attributes is not None
    assert span.attributes["apm_s3.attempts"] == 2
    assert span.status.status_code is StatusCode.UNSET


async def test_a_failure_is_an_error_with_its_code_and_without_its_text(
    s3: S3Manager, server: FaultyS3, exported: InMemorySpanExporter
) -> None:
    server.will(answer(403, "AccessDenied", "the text of the server"), "GetObject")

    with pytest.raises(AccessDenied):
        await s3.read_file(BUCKET, "key")

    span = only(exported)
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes is not None
    assert span.attributes["error.type"] == "ACCESS_DENIED"
    assert "the text of the server" not in span.to_json()


async def test_the_span_of_a_stream_ends_with_the_stream(
    s3: S3Manager, server: FaultyS3, exported: InMemorySpanExporter
) -> None:
    await s3.upload_file(BUCKET, "key", b"x" * 100_000)
    exported.clear()

    async with s3.download_file(BUCKET, "key") as download:
        assert exported.get_finished_spans() == ()
        assert trace.get_current_span() is trace.INVALID_SPAN
        assert len(await download.read()) == 100_000

    span = only(exported)
    assert span.name == "S3.GetObject"
    assert span.attributes is not None
    assert span.attributes["apm_s3.bytes_received"] == 100_000


async def test_the_span_of_an_abandoned_stream_ends_as_cancelled(s3: S3Manager, exported: InMemorySpanExporter) -> None:
    await s3.upload_file(BUCKET, "key", b"x" * 100_000)
    exported.clear()

    async with s3.download_file(BUCKET, "key"):
        pass

    span = only(exported)
    assert span.attributes is not None
    assert span.attributes["error.type"] == "cancelled"
    assert span.status.status_code is StatusCode.UNSET


async def test_the_rest_of_a_broken_stream_is_a_child_of_its_span(
    s3: S3Manager, server: FaultyS3, exported: InMemorySpanExporter
) -> None:
    await s3.upload_file(BUCKET, "key", b"x" * 1_000_000)
    exported.clear()
    server.will(reset_in_body, "GetObject")

    async with s3.download_file(BUCKET, "key") as download:
        await download.read()

    resumed, first = exported.get_finished_spans()
    assert is_child(resumed, first)
    assert resumed.attributes is not None
    assert resumed.attributes["apm_s3.operation"] == "resume_download"


async def test_botocores_instrumentation_adds_no_second_span(
    s3: S3Manager, provider: TracerProvider, exported: InMemorySpanExporter
) -> None:
    instrumentor = AiobotocoreInstrumentor()
    instrumentor.instrument(tracer_provider=provider, skip_dep_check=True)
    try:
        await s3.upload_file(BUCKET, "key", b"value")
        await s3.list_buckets()
    finally:
        instrumentor.uninstrument()

    assert {span.instrumentation_scope.name for span in exported.get_finished_spans()} == {"apm_s3"}
    assert [span.name for span in exported.get_finished_spans()] == ["S3.PutObject", "S3.ListBuckets"]


async def test_waiting_for_a_slot_of_the_pool_is_an_event(
    provider: TracerProvider, exported: InMemorySpanExporter
) -> None:
    async with memory_manager(provider, max_concurrency=1) as s3:
        await asyncio.gather(*(s3.upload_file("bucket", f"key-{n}", b"value") for n in range(2)))

    first, second = exported.get_finished_spans()
    assert [name for name, _ in events(first)] == ["apm_s3.attempt"]
    assert [name for name, _ in events(second)] == ["apm_s3.pool_wait", "apm_s3.attempt"]
    assert events(second)[0][1]["apm_s3.seconds"] >= 0


async def test_a_stream_that_waits_for_a_slot_records_an_event(
    provider: TracerProvider, exported: InMemorySpanExporter
) -> None:
    async with memory_manager(provider, max_concurrency=1) as s3:
        await s3.upload_file("bucket", "key", b"value")
        exported.clear()
        async with s3.download_file("bucket", "key") as download:
            async with s3.pool.slot():
                reading = asyncio.create_task(download.read())
                while not s3.pool.stats().waiting:  # noqa: ASYNC110 - the pool tells nobody
                    await asyncio.sleep(0)
            assert await reading == b"value"

    assert [name for name, _ in events(only(exported))] == ["apm_s3.attempt", "apm_s3.pool_wait"]


async def test_a_call_that_runs_out_of_time_ends_its_span(
    provider: TracerProvider, exported: InMemorySpanExporter
) -> None:
    async with memory_manager(provider) as s3:
        hanging = asyncio.Event()

        async def hang(*_: object) -> Any:
            hanging.set()
            await asyncio.Event().wait()

        s3.transport.read = hang  # type: ignore[method-assign]
        call = asyncio.create_task(s3.read_file("bucket", "key"))
        await hanging.wait()
        let_deadlines_pass(s3)
        with pytest.raises(Exception, match="deadline"):
            await call

    span = only(exported)
    assert span.attributes is not None
    assert span.attributes["error.type"] == "REQUEST_TIMEOUT"


async def test_the_parts_of_an_upload_are_children_of_one_span(
    provider: TracerProvider, exported: InMemorySpanExporter
) -> None:
    transfer = TransferSettings(multipart_threshold=5 * MIB, part_size=5 * MIB)
    async with memory_manager(provider, transfer=transfer) as s3:
        await s3.upload_file("bucket", "key", bytes(11 * MIB))

    *parts, whole = exported.get_finished_spans()
    assert whole.name == "S3Manager.upload_file"
    assert whole.kind is SpanKind.INTERNAL
    assert sorted(span.name for span in parts) == [
        "S3.CompleteMultipartUpload", "S3.CreateMultipartUpload", *["S3.UploadPart"] * 3,
    ]  # fmt: skip
    assert all(is_child(span, whole) for span in parts)


async def test_spans_of_uploads_in_parts_name_the_upload_and_the_part(
    s3: S3Manager, exported: InMemorySpanExporter
) -> None:
    await s3.upload_file(BUCKET, "key", bytes(6 * MIB))

    parts = [span.attributes or {} for span in named(exported, "S3.UploadPart")]
    [end] = [span.attributes or {} for span in named(exported, "S3.CompleteMultipartUpload")]
    assert sorted(str(part["aws.s3.part_number"]) for part in parts) == ["1", "2"]
    assert {part["aws.s3.upload_id"] for part in parts} == {end["aws.s3.upload_id"]}
    assert "aws.s3.part_number" not in end


@pytest.mark.parametrize("s3", ["signed"], indirect=True)  # the other one refuses it
async def test_the_blank_id_of_an_upload_does_not_break_tracing(
    s3: S3Manager, server: FaultyS3, exported: InMemorySpanExporter
) -> None:
    server.s3.uploads[""] = Upload(BUCKET, "key", {}, {})
    await s3.cleanup_uploads(BUCKET, timedelta())

    assert [(span.attributes or {})["aws.s3.upload_id"] for span in named(exported, "S3.AbortMultipartUpload")] == [""]


async def test_the_span_of_a_copy_names_its_source(s3: S3Manager, exported: InMemorySpanExporter) -> None:
    await s3.upload_file(BUCKET, "a folder/ä+b?c%2Fd", b"content")
    await s3.copy_file(BUCKET, "a folder/ä+b?c%2Fd", BUCKET, "copy")

    [copy] = named(exported, "S3.CopyObject")
    assert copy.attributes is not None
    assert copy.attributes["aws.s3.copy_source"] == f"{BUCKET}/a folder/ä+b?c%2Fd"


async def test_the_requests_of_a_migration_are_children_of_its_span(
    provider: TracerProvider, exported: InMemorySpanExporter
) -> None:
    from apm_s3.migration import migrate, plan_migration

    async with memory_manager(provider) as s3:
        await s3.upload_file("bucket", "old/key", b"value")
        exported.clear()
        await plan_migration("s3://bucket/old", "s3://bucket/new", source_s3=s3)
        report = await migrate("s3://bucket/old", "s3://bucket/new", source_s3=s3, accept=("metadata", "tags"))

    assert report.moved == 1
    [plan], [whole] = named(exported, "plan_migration"), named(exported, "migrate")
    assert plan.parent is whole.parent is None
    assert plan.context is not None
    traces = {span.context.trace_id for span in exported.get_finished_spans() if span.context is not None}
    assert len(traces) == 2
    [copy] = named(exported, "S3.CopyObject")
    assert copy.context is not None
    assert copy.context.trace_id == whole.get_span_context().trace_id


async def test_the_requests_of_a_batch_are_children_of_its_span(
    provider: TracerProvider, exported: InMemorySpanExporter
) -> None:
    from apm_s3.batch import UploadOp

    async with memory_manager(provider) as s3:
        with provider.get_tracer("test").start_as_current_span("request") as request:
            await s3.batch([UploadOp("bucket", f"key-{n}", b"value") for n in range(3)])

    [batch] = named(exported, "S3Manager.batch")
    puts = named(exported, "S3.PutObject")
    assert len(puts) == 3
    assert all(is_child(span, batch) for span in puts)
    assert batch.parent == request.get_span_context()


async def test_a_deploy_is_one_span_that_links_to_its_commit(
    provider: TracerProvider, exported: InMemorySpanExporter
) -> None:
    async with memory_manager(provider) as s3:
        store = s3.configs("bucket", "team/")
        await store.upload("loki", "staging", LOKI)
        plan = await store.plan_deploy("staging", "production", create=True)
        exported.clear()
        await store.deploy(plan)

    [deploy] = named(exported, "ConfigStore.deploy")
    [commit] = named(exported, "apm_s3.commit")
    assert dict(deploy.attributes or {}) == {
        "aws.s3.bucket": "bucket", "apm_s3.prefix": "team/", "apm_s3.environment": "production",
        "apm_s3.source_environment": "staging",
    }  # fmt: skip
    [link] = deploy.links
    assert link.context.span_id == commit.get_span_context().span_id
    assert dict(link.attributes or {}) == {"apm_s3.environment": "production", "apm_s3.revisions": ("loki 1",)}
    [written] = [
        span
        for span in named(exported, "S3.PutObject")
        if span.attributes
        and str(span.attributes["aws.s3.key"]).endswith("production/current.json")
        and is_child(span, commit)
    ]
    assert written.attributes is not None
    assert written.attributes["apm_s3.environment"] == "production"
    # The live copies are written in the background, in the trace of the deploy.
    live = [
        span for span in exported.get_finished_spans() if "/live/" in f"/{(span.attributes or {}).get('aws.s3.key')}"
    ]
    assert live
    assert {span.get_span_context().trace_id for span in exported.get_finished_spans()} == {
        deploy.get_span_context().trace_id
    }


async def test_a_commit_that_outlives_its_cancelled_caller_is_still_linked(
    provider: TracerProvider, exported: InMemorySpanExporter
) -> None:
    async with memory_manager(provider) as s3:
        store = s3.configs("bucket")
        await store.upload("loki", "staging", LOKI)
        exported.clear()

        def cancel(verb: str, count: int) -> None:
            if verb == "put" and s3.transport.requests["put"] == count and marking.done() is False:
                marking.cancel()

        marking = asyncio.create_task(store.mark_good("loki", "staging"))
        s3.transport.before = cancel
        with contextlib.suppress(asyncio.CancelledError):
            await marking
        await store.finish()

    [marked] = named(exported, "ConfigStore.mark_good")
    [commit] = named(exported, "apm_s3.commit")
    assert [link.context.span_id for link in marked.links] == [commit.get_span_context().span_id]
    assert marked.attributes is not None
    assert marked.attributes["error.type"] == "cancelled"


async def test_the_polls_of_a_watch_belong_to_no_trace(
    provider: TracerProvider, exported: InMemorySpanExporter
) -> None:
    async with memory_manager(provider) as s3:
        store = s3.configs("bucket")
        await store.upload("loki", "staging", LOKI)
        exported.clear()
        with provider.get_tracer("test").start_as_current_span("request"):
            async with contextlib.aclosing(store.watch("staging", interval=60)) as changes:
                await anext(changes)

    polls = named(exported, "S3.GetObject")
    assert polls
    assert {span.parent for span in polls} == {None}


async def test_the_span_of_a_failed_operation_has_its_error_code(
    provider: TracerProvider, exported: InMemorySpanExporter
) -> None:
    async with memory_manager(provider) as s3:
        with pytest.raises(Exception, match="nowhere"):
            await s3.configs("bucket").download("loki", "nowhere")

    [span] = named(exported, "ConfigStore.download")
    assert span.status.status_code is StatusCode.ERROR
    assert dict(span.attributes or {}) == {
        "aws.s3.bucket": "bucket", "apm_s3.tool": "loki", "apm_s3.environment": "nowhere",
        "error.type": "NOT_FOUND",
    }  # fmt: skip


async def test_only_arguments_that_are_names_get_into_spans(
    provider: TracerProvider, exported: InMemorySpanExporter
) -> None:
    async with memory_manager(provider) as s3:
        with pytest.raises(Exception, match="bucket name"):
            await s3.delete_bucket("https://user:pass@host/bucket")

    assert "pass" not in only(exported).to_json()


async def test_expected_errors_do_not_mark_a_span_as_failed(s3: S3Manager, exported: InMemorySpanExporter) -> None:
    info = await s3.upload_file(BUCKET, "key", b"value")
    exported.clear()

    with pytest.raises(PreconditionFailed):
        await s3.upload_file(BUCKET, "key", b"other", UploadOptions(if_none_match="*"))
    with pytest.raises(ObjectNotFound):
        await s3.read_file(BUCKET, "nothing")
    assert info.etag

    statuses = {span.attributes["error.type"] for span in exported.get_finished_spans() if span.attributes}
    assert statuses == {"PRECONDITION_FAILED", "OBJECT_NOT_FOUND"}


async def test_each_call_restores_the_context(provider: TracerProvider, exported: InMemorySpanExporter) -> None:
    before = context.get_current()
    async with memory_manager(provider) as s3:
        await s3.upload_file("bucket", "key", b"value")
        await s3.configs("bucket").upload("loki", "staging", LOKI)
        with pytest.raises(ObjectNotFound):
            await s3.read_file("bucket", "nothing")

    assert context.get_current() == before


async def test_spans_that_are_not_sampled_cost_no_attributes(exported: InMemorySpanExporter) -> None:
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exported))
    async with memory_manager(provider) as s3:
        await s3.upload_file("bucket", "key", b"value")
        async with s3.download_file("bucket", "key") as download:
            await download.read()

    assert exported.get_finished_spans() == ()


async def test_a_manager_without_a_tracer_makes_no_spans(
    provider: TracerProvider, exported: InMemorySpanExporter
) -> None:
    async with MemoryManager(S3Settings()) as s3:
        with provider.get_tracer("test").start_as_current_span("request"):
            await s3.upload_file("bucket", "key", b"value")
            await s3.configs("bucket").upload("loki", "staging", LOKI)

    assert only(exported).name == "request"


async def test_a_health_check_is_one_span(s3: S3Manager, exported: InMemorySpanExporter) -> None:
    await HealthChecker(s3).check(BUCKET)

    [check] = named(exported, "HealthChecker.check")
    others = [span for span in exported.get_finished_spans() if span is not check]
    assert len(others) > 8
    assert {span.get_span_context().trace_id for span in others} == {check.get_span_context().trace_id}
