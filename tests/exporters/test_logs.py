"""Logs: silent by default, one line an operation, JSON fields, lines of one's own, and no secret anywhere."""

from __future__ import annotations

import io
import json
import logging
import re
from typing import Any

import pytest

from apm_s3 import Credentials, S3Settings
from apm_s3.errors import InvalidOption, ObjectNotFound
from apm_s3.exporters.logs import OperationContext, configure_logging, log_operation
from apm_s3.settings import RetrySettings
from tests.faults.faults import answer
from tests.faults.server import FaultyS3
from tests.managers import make_manager
from tests.memory_transport import MemoryManager
from tests.servers import Server

PASSWORD = "correct-horse-battery-staple"

pytestmark = pytest.mark.usefixtures("restored_logging")


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def lines(stream: io.StringIO) -> list[Any]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


async def some_operations(**arguments: Any) -> None:
    """An upload, a read of it, and a read of nothing."""
    async with MemoryManager(S3Settings(), **arguments) as s3:
        await s3.upload_file("bucket", "key", b"value")
        await s3.read_file("bucket", "key")
        with pytest.raises(ObjectNotFound):
            await s3.read_file("bucket", "nothing")


async def test_nothing_is_written_until_logging_is_configured(capfd: pytest.CaptureFixture[str]) -> None:
    await some_operations()

    assert capfd.readouterr() == ("", "")


async def test_each_operation_is_one_line(stream: io.StringIO) -> None:
    configure_logging("info", stream=stream)

    await some_operations()

    told = stream.getvalue().splitlines()
    assert len(told) == 3
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO     apm_s3\.operations: "
        r"upload_file bucket/key: success in \d\.\d{3} s, attempt 1, 5 bytes",
        told[0],
    )
    assert "WARNING  apm_s3.operations: read_file bucket/nothing: failure OBJECT_NOT_FOUND in" in told[2]


async def test_json_has_the_fields_of_an_operation(stream: io.StringIO) -> None:
    configure_logging("info", json=True, stream=stream)

    await some_operations()

    upload, _, failure = lines(stream)
    assert upload["level"] == "INFO"
    assert upload["logger"] == "apm_s3.operations"
    assert {name: upload[name] for name in ("operation", "bucket", "key", "attempt", "success", "size")} == {
        "operation": "upload_file", "bucket": "bucket", "key": "key", "attempt": 1, "success": True, "size": 5,
    }  # fmt: skip
    assert upload["duration"] >= 0
    assert upload["started_at"] > 1.7e9
    assert failure["success"] is False
    assert failure["error_code"] == "OBJECT_NOT_FOUND"


async def test_reads_of_configurations_name_the_environment(
    moto: Server, bucket_name: str, stream: io.StringIO
) -> None:
    configure_logging("info", json=True, stream=stream)
    async with make_manager(moto) as s3:
        await s3.create_bucket(bucket_name)
        with pytest.raises(Exception, match="nothing"):
            await s3.configs(bucket_name).download("loki", "nothing")

    assert lines(stream)[-1]["environment"] == "nothing"


async def test_a_level_omits_everything_below_it(stream: io.StringIO) -> None:
    configure_logging("warning", stream=stream)
    await some_operations()
    assert len(stream.getvalue().splitlines()) == 1

    configure_logging("off", stream=stream)
    await some_operations()
    assert len(stream.getvalue().splitlines()) == 1


@pytest.mark.parametrize(
    ("variable", "level"),
    [("debug", logging.DEBUG), ("WARN", logging.WARNING), ("fatal", logging.CRITICAL), ("critical", logging.CRITICAL)],
)
def test_the_level_can_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, variable: str, level: int, stream: io.StringIO
) -> None:
    monkeypatch.setenv("APM_S3_LOG", variable)

    configure_logging(stream=stream)

    assert logging.getLogger("apm_s3").level == level


def test_an_invalid_level_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidOption, match="the level is 'loud'"):
        configure_logging("loud")  # type: ignore[arg-type]
    monkeypatch.setenv("APM_S3_LOG", "loud")
    with pytest.raises(InvalidOption, match="APM_S3_LOG is 'loud'"):
        configure_logging()


async def test_logging_configured_twice_writes_each_line_once(stream: io.StringIO) -> None:
    configure_logging("info", stream=io.StringIO())
    configure_logging("info", stream=stream)

    await some_operations()

    assert len(stream.getvalue().splitlines()) == 3


async def test_a_manager_can_have_its_own_logger(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await some_operations(logger=logging.getLogger("billing.s3"))

    assert [record.name for record in caplog.records] == ["billing.s3"] * 3
    assert caplog.records[0].operation == "upload_file"  # type: ignore[attr-defined]


def test_lines_of_the_application_have_the_same_format(stream: io.StringIO) -> None:
    configure_logging("info", json=True, stream=stream)
    error = ObjectNotFound("no such object", bucket="b", key="k", request_id="4711")
    context = OperationContext(
        bucket="b",
        key="k",
        region="eu-central-1",
        environment="production",
        tool="loki",
        duration=0.5,
        size=7,
        error=error,
    )

    log_operation("error", "rotate", "the rotation failed", context)
    log_operation("debug", "rotate", "not told")
    log_operation("off", "rotate", "not told")

    (line,) = lines(stream)
    assert line["message"].startswith("rotate b/k: the rotation failed (ObjectNotFound: ")
    assert {name: line[name] for name in ("level", "operation", "region", "environment", "tool", "size")} == {
        "level": "ERROR", "operation": "rotate", "region": "eu-central-1", "environment": "production", "tool": "loki",
        "size": 7,
    }  # fmt: skip
    assert (line["success"], line["error_code"], line["request_id"]) == (False, "OBJECT_NOT_FOUND", "4711")


def test_a_key_cannot_forge_a_line(stream: io.StringIO) -> None:
    configure_logging("info", stream=stream)

    log_operation("info", "rotate", "done", OperationContext(bucket="b", key="k\n2026 INFO forged"))

    assert len(stream.getvalue().splitlines()) == 1


@pytest.mark.parametrize("as_json", [False, True])
def test_secrets_in_lines_of_the_application_are_masked(stream: io.StringIO, as_json: bool) -> None:
    configure_logging("info", json=as_json, stream=stream)
    error = ValueError(f"https://user:{PASSWORD}@host/?X-Amz-Signature={PASSWORD}")

    log_operation("info", "rotate", f"password: {PASSWORD}", OperationContext(error=error))
    log_operation("info", "rotate", f"{{'X-Amz-Security-Token': '{PASSWORD}'}}")

    assert len(stream.getvalue().splitlines()) == 2
    assert PASSWORD not in stream.getvalue()


@pytest.mark.parametrize("path", ["signed", "boto"])
async def test_debug_logging_has_a_line_for_each_request(path: Any, stream: io.StringIO) -> None:
    configure_logging("debug", json=True, stream=stream)
    settings = S3Settings(data_path=path, retry=RetrySettings(initial_delay=0.001))
    async with FaultyS3() as server:
        server.s3.buckets["bucket-one"] = {}
        async with make_manager(server, settings, credentials=Credentials("key", PASSWORD, f"token-{PASSWORD}")) as s3:
            await s3.upload_file("bucket-one", "other", b"")  # learns what the server can do
            stream.truncate(stream.seek(0))
            server.will(answer(503, "SlowDown"), "PutObject")
            await s3.upload_file("bucket-one", "key", b"value")
            server.will(lambda exchange: exchange.reset(), "GetObject")
            assert await s3.read_file("bucket-one", "key") == b"value"

    told = [line for line in lines(stream) if line["logger"] == "apm_s3.requests"]
    assert [(line["operation"], line["attempt"], line.get("status")) for line in told] == [
        ("upload_file", 1, 503), ("upload_file", 2, 200), ("read_file", 1, None), ("read_file", 2, 200),
    ]  # fmt: skip
    assert "got no response (ConnectionLost)" in told[2]["message"]
    assert told[3]["size"] == 5 or path == "boto"
    assert PASSWORD not in stream.getvalue()
