"""Secrets are planted wherever a program has some, every output is on, and everything that came out is searched."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import pickle
import traceback
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry, generate_latest

from apm_s3 import Credentials, S3Manager, S3Settings
from apm_s3.batch import HeadOp
from apm_s3.errors import ApmS3Error
from apm_s3.exporters.logs import OperationContext, configure_logging, log_operation
from apm_s3.exporters.notifications import GrafanaAnnotations, Webhook, notify
from apm_s3.exporters.prometheus import PrometheusExporter
from apm_s3.exporters.tracing import OpenTelemetryTracer
from apm_s3.health import HealthChecker
from apm_s3.options import ReadOptions, UploadOptions
from apm_s3.settings import RetrySettings
from tests.configs.samples import PROMETHEUS
from tests.faults.faults import answer, reset_before_headers
from tests.faults.server import FaultyS3
from tests.managers import make_manager
from tests.seams.exporters import pause_briefly

BUCKET = "bucket-one"
CUSTOMER_KEY = b"PLANTED-CUSTOMER-KEY-of-32-bytes"
PLANTED = {
    "secret access key": "PLANTED/secret+access+key",
    "session token": "PLANTED/session+token==",
    "customer key": b64encode(CUSTOMER_KEY).decode(),
    "password in a configuration": "PLANTED-config-password",
    "password in a URL of a configuration": "PLANTED-url-password",
    "bearer token in a configuration": "PLANTED-bearer-token",
    "password in a message": "PLANTED-message-password",
    "secret of a webhook": "PLANTED-webhook-secret-of-32-byte",
    "token in the URL of a webhook": "PLANTED-url-token",
    "token of Grafana": "PLANTED-grafana-token",
    "password in an answer": "PLANTED-answer-password",
    "password in an exception of a hook": "PLANTED-hook-password",
    "password in an exception of a caller": "PLANTED-caller-password",
}
SECRETIVE = f"""{PROMETHEUS}
remote_write:
  - url: https://writer:{PLANTED["password in a URL of a configuration"]}@example.com/write
    basic_auth: {{username: writer, password: {PLANTED["password in a configuration"]}}}
  - url: https://example.com/other
    authorization: {{credentials: {PLANTED["bearer token in a configuration"]}}}
"""
MESSAGE = f"rotate password: {PLANTED['password in a message']}"


def planted_in(text: str) -> list[str]:
    """The planted secrets that `text` has, in one of the forms in which they get written."""
    forms = {
        name: {secret, quote(secret, safe=""), b64encode(secret.encode()).decode(), repr(secret)[1:-1]}
        for name, secret in PLANTED.items()
    }
    forms["customer key"].add(repr(CUSTOMER_KEY)[2:-1])
    return [name for name, written in forms.items() if any(form in text for form in written)]


class Outputs:
    """Everything that came out, by where."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def add(self, where: str, text: object) -> None:
        self.texts[where] = f"{self.texts.get(where, '')}\n{text}"

    def error(self, error: BaseException) -> None:
        """All that can be seen of an error."""
        self.add("str and repr of errors", f"{error} {error!r}")
        self.add("attributes of errors", vars(error))
        self.add("tracebacks", "".join(traceback.format_exception(error)))
        self.add("pickles", pickle.dumps(error))

    def found(self) -> list[tuple[str, list[str]]]:
        return [(where, planted) for where, text in self.texts.items() if (planted := planted_in(text))]


@pytest.fixture
def logged() -> Iterator[tuple[io.StringIO, io.StringIO]]:
    """What is logged at DEBUG: by this library as JSON, and by everything as text, as the root logger shows it."""
    ours, everything = io.StringIO(), io.StringIO()
    logger, root = logging.getLogger("apm_s3"), logging.getLogger()
    before = logger.handlers[:], logger.level, logger.propagate, root.level
    handler = logging.StreamHandler(everything)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    configure_logging("debug", json=True, stream=ours)
    yield ours, everything
    root.removeHandler(handler)
    logger.handlers[:], logger.level, logger.propagate = before[:3]
    root.setLevel(before[3])


@contextlib.asynccontextmanager
async def receiver(got: list[str]) -> AsyncIterator[str]:
    """A server that keeps the bodies of notifications."""

    async def handle(request: web.Request) -> web.Response:
        got.append((await request.read()).decode())
        return web.Response(status=503 if len(got) == 1 else 200)

    runner = web.AppRunner(_application(handle), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _application(handle: Any) -> web.Application:
    application = web.Application()
    application.router.add_post("/{path:.*}", handle)
    return application


def failing_hook(_: object) -> None:
    raise RuntimeError(f"cannot reach https://ops:{PLANTED['password in an exception of a hook']}@example.com")


async def objects(s3: S3Manager, server: FaultyS3, outputs: Outputs) -> None:
    """Work with objects, much of which fails, with what the server says."""
    secret_options = UploadOptions(sse_customer_key=CUSTOMER_KEY)
    outputs.add("repr of options", f"{secret_options!r} {ReadOptions(sse_customer_key=CUSTOMER_KEY)!r}")
    echoed = (
        f"x-amz-security-token:{PLANTED['session token']}\n"
        f"a header 'SSECustomerKey': '{PLANTED['customer key']}' and https://me:{PLANTED['password in an answer']}@host"
    )
    for fault in (
        answer(501, "NotImplemented", echoed), answer(500, "InternalError", echoed), reset_before_headers,
        answer(403, "SignatureDoesNotMatch", echoed), answer(400, "InvalidToken", echoed), answer(403, "AccessDenied"),
    ):  # fmt: skip
        server.will(fault, "PutObject")
        try:
            await s3.upload_file(BUCKET, "key", b"value", secret_options)
        except ApmS3Error as error:
            outputs.error(error)
    for call in (s3.read_file(BUCKET, "nothing"), s3.head_file("no-such-bucket", "key")):
        try:
            await call
        except ApmS3Error as error:
            outputs.error(error)
    outputs.add("results of a batch", await s3.batch([HeadOp(BUCKET, "nothing")]))
    outputs.add("metrics in the process", s3.metrics.snapshot())


async def configurations(s3: S3Manager, url: str, outputs: Outputs) -> None:
    """Work with configurations that have secrets, and notify of it."""
    store = s3.configs(BUCKET)
    release = await store.upload("prometheus", "staging", SECRETIVE)
    await store.upload("prometheus", "staging", SECRETIVE.replace("15s", "30s"))
    await store.mark_good("prometheus", "staging", message=MESSAGE)
    outputs.add("repr of what a store returns", f"{store!r} {await store.plan_deploy('staging', 'new', create=True)!r}")
    outputs.add("warnings of a release", release.warnings)
    outputs.add("diffs", "\n".join(each.text for each in (await store.diff("prometheus", "staging", 1, 2)).files))
    outputs.add("reports", await store.validate("prometheus", SECRETIVE))
    try:
        await store.upload("prometheus", "staging", SECRETIVE.replace("scrape_configs", "scrape_config"))
    except ApmS3Error as error:
        outputs.error(error)
    targets = [
        Webhook(f"{url}/{PLANTED['token in the URL of a webhook']}", PLANTED["secret of a webhook"], name="ops"),
        GrafanaAnnotations(url, PLANTED["token of Grafana"], name="grafana"),
    ]
    outputs.add("repr of targets", targets)
    delivered: set[tuple[str, int]] = set()
    done = asyncio.Event()

    async def on_delivered(target: str, entry: Any) -> None:
        delivered.add((target, entry.sequence))
        if len(delivered) == 6:
            done.set()

    task = asyncio.create_task(notify(store, "staging", targets, since=0, on_delivered=on_delivered, interval=0.01))
    waiting = asyncio.create_task(done.wait())
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    task.cancel()
    waiting.cancel()
    await asyncio.wait([task, waiting])


@pytest.mark.parametrize("data_path", ["signed", "boto"])
async def test_no_output_has_a_secret(
    data_path: Any, logged: tuple[io.StringIO, io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    pause_briefly(monkeypatch)
    outputs = Outputs()
    exported, registry, notified = InMemorySpanExporter(), CollectorRegistry(), list[str]()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exported))
    exporter = PrometheusExporter(registry)
    credentials = Credentials("key-id", PLANTED["secret access key"], PLANTED["session token"])
    settings = S3Settings(data_path=data_path, retry=RetrySettings(initial_delay=0.001))
    outputs.add("repr of credentials and settings", f"{credentials!r} {settings!r}")
    async with FaultyS3() as server, receiver(notified) as url:
        server.s3.buckets[BUCKET] = {}
        async with make_manager(
            server, settings, credentials=credentials, hooks=(failing_hook,), tracer=OpenTelemetryTracer(provider)
        ) as s3:
            exporter.add(s3)
            outputs.add("repr of a manager", repr(s3))
            await objects(s3, server, outputs)
            await configurations(s3, url, outputs)
            outputs.add("health", (await HealthChecker(s3).check(BUCKET)).to_dict())
            watching = asyncio.create_task(exporter.watch(s3.configs(BUCKET)))
            await asyncio.sleep(0)
            problem = ValueError(f"https://me:{PLANTED['password in an exception of a caller']}@example.com")
            log_operation("error", "rotate", MESSAGE, OperationContext(error=problem))
            outputs.add("metrics", generate_latest(registry).decode())
            watching.cancel()
            await asyncio.wait([watching])

    assert len(notified) == 7
    outputs.add("spans", "\n".join(span.to_json() for span in exported.get_finished_spans()))
    outputs.add("notifications", "\n".join(notified))
    outputs.add("JSON logs", logged[0].getvalue())
    outputs.add("logs of everything", logged[1].getvalue())
    assert outputs.found() == []
    assert all(text.strip() for text in outputs.texts.values())
    assert "apm_s3.requests" in outputs.texts["JSON logs"]
    assert "botocore" in outputs.texts["logs of everything"] or data_path == "signed"


def test_the_search_finds_every_secret_in_each_form() -> None:
    assert planted_in(" ".join(PLANTED.values())) == list(PLANTED)
    assert planted_in(str([quote(secret, safe="") for secret in PLANTED.values()])) == list(PLANTED)
    assert planted_in(repr(CUSTOMER_KEY)) == ["customer key"]
