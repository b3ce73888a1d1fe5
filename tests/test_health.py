"""Health checks: on healthy servers, on servers that fail or lie, and under a deadline or a cancellation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from email.utils import formatdate
from time import time

import pytest

from apm_s3 import S3Manager, S3Settings
from apm_s3.errors import InvalidBucketName, InvalidOption, ManagerClosed
from apm_s3.health import CheckOutcome, HealthChecker, HealthReport, HealthStatus
from apm_s3.options import BucketOptions, Encryption, PublicAccessBlock, Versioning
from apm_s3.settings import RetrySettings
from tests.faults.faults import answer
from tests.faults.server import Exchange, Fault, FaultyS3
from tests.faults.virtual_time import VirtualTimeLoop, run_in_virtual_time
from tests.managers import make_manager
from tests.servers import Server

BUCKET = "bucket-one"
OBJECT_CHECKS = ("write", "conditional_writes", "read", "delete")
ALL = ("reach", "credentials", "list", *OBJECT_CHECKS, "clock", "versioning", "encryption", "public_access_block")


def outcomes(report: HealthReport) -> dict[str, CheckOutcome]:
    return {check.name: check.outcome for check in report.checks}


def message(report: HealthReport, name: str) -> str:
    return next(check.message for check in report.checks if check.name == name)


async def keys(s3: S3Manager, bucket: str) -> list[str]:
    """All versions and delete markers that are left."""
    return [version.key async for version in s3.iter_versions(bucket)]


@pytest.fixture
async def faulty() -> AsyncIterator[FaultyS3]:
    async with FaultyS3() as server:
        server.s3.buckets[BUCKET] = {}
        yield server


def manager_of(server: FaultyS3) -> S3Manager:
    settings = S3Settings(retry=RetrySettings(initial_delay=0.001))
    return make_manager(server, settings)


@pytest.fixture
async def s3_faulty(faulty: FaultyS3) -> AsyncIterator[S3Manager]:
    async with manager_of(faulty) as manager:
        yield manager


async def test_a_bucket_with_the_expected_settings_is_ok(moto: Server, bucket_name: str) -> None:
    async with make_manager(moto) as s3:
        options = BucketOptions(
            versioning=Versioning(), public_access_block=PublicAccessBlock(), encryption=Encryption()
        )
        await s3.create_bucket(bucket_name, options)

        report = await HealthChecker(s3).check(bucket_name)

        assert report.status is HealthStatus.OK
        assert [check.name for check in report.checks] == list(ALL)
        assert set(outcomes(report).values()) == {CheckOutcome.PASSED}
        assert message(report, "credentials") == "from the arguments of S3Manager"
        assert await keys(s3, bucket_name) == []


async def test_a_bare_bucket_is_usable_but_degraded(s3: S3Manager, bucket: str) -> None:
    report = await HealthChecker(s3).check(bucket)

    assert report.status is HealthStatus.DEGRADED
    assert outcomes(report)["versioning"] is CheckOutcome.FAILED
    assert all(outcomes(report)[name] is CheckOutcome.PASSED for name in ("reach", "list", *OBJECT_CHECKS, "clock"))
    assert await keys(s3, bucket) == []


async def test_an_expected_error_can_be_declared(s3: S3Manager, bucket: str) -> None:
    report = await HealthChecker(s3, expected=BucketOptions()).check(bucket)

    assert outcomes(report)["versioning"] is CheckOutcome.PASSED
    other = await HealthChecker(s3, expected=BucketOptions(encryption=Encryption(algorithm="aws:kms"))).check(bucket)
    assert outcomes(other)["encryption"] is CheckOutcome.FAILED


async def test_a_read_only_check_writes_nothing(moto: Server, bucket_name: str) -> None:
    async with make_manager(moto) as s3:
        await s3.create_bucket(bucket_name)
        before = s3.metrics.snapshot().operations

        report = await HealthChecker(s3, read_only=True).check(bucket_name)

        assert {name: outcomes(report)[name] for name in OBJECT_CHECKS} == dict.fromkeys(
            OBJECT_CHECKS, CheckOutcome.SKIPPED
        )
        assert outcomes(report)["clock"] is CheckOutcome.PASSED
        after = set(s3.metrics.snapshot().operations) - set(before)
        assert after <= {"bucket_exists", "list_files", "get_setting", "read_file"}


async def test_a_missing_bucket_is_down(s3: S3Manager, bucket_name: str) -> None:
    report = await HealthChecker(s3).check(bucket_name)

    assert report.status is HealthStatus.DOWN
    assert "there is no such bucket" in message(report, "reach")
    assert [check.name for check in report.failed] == ["reach"]


async def test_a_report_is_plain_json(s3: S3Manager, bucket: str) -> None:
    report = await HealthChecker(s3).check(bucket, "us-east-1")

    told = json.loads(json.dumps(report.to_dict()))
    assert told["status"] == "degraded"
    assert told["region"] == "us-east-1"
    assert told["response_time"] == report.response_time > 0
    assert {check["name"]: check["outcome"] for check in told["checks"]} == outcomes(report)
    assert all(check in report.checks for check in report.failed)


async def test_a_failing_server_is_down_and_each_check_says_why(s3_faulty: S3Manager, faulty: FaultyS3) -> None:
    faulty.will(answer(403, "AccessDenied"), times=None)

    report = await HealthChecker(s3_faulty).check(BUCKET)

    assert report.status is HealthStatus.DOWN
    assert {check.name for check in report.failed} == {"reach", "list", "write", "delete"}
    assert outcomes(report)["versioning"] is CheckOutcome.SKIPPED
    assert "may remain" in message(report, "delete")


async def test_a_server_that_ignores_conditions_is_degraded_and_nothing_is_left(
    s3_faulty: S3Manager, faulty: FaultyS3
) -> None:
    async def ignore(exchange: Exchange) -> None:
        exchange.request.headers.pop("if-none-match", None)
        exchange.send(exchange.carry_out())

    faulty.will(ignore, "PutObject", times=None)

    report = await HealthChecker(s3_faulty, expected=BucketOptions()).check(BUCKET)

    assert "ignores If-None-Match" in message(report, "conditional_writes")
    assert outcomes(report)["read"] is CheckOutcome.PASSED
    assert report.status is HealthStatus.DEGRADED
    assert faulty.s3.buckets[BUCKET] == {}


async def test_a_server_that_returns_other_bytes_is_down(s3_faulty: S3Manager, faulty: FaultyS3) -> None:
    async def lie(exchange: Exchange) -> None:
        response = exchange.carry_out()
        response.body = response.body[::-1]
        response.headers = {name: value for name, value in response.headers.items() if "checksum" not in name}
        exchange.send(response)

    faulty.will(lie, "GetObject", times=None)

    report = await HealthChecker(s3_faulty, expected=BucketOptions()).check(BUCKET)

    assert outcomes(report)["read"] is CheckOutcome.FAILED
    assert report.status is HealthStatus.DOWN


async def test_a_clock_difference_is_reported(s3_faulty: S3Manager, faulty: FaultyS3) -> None:
    async def late(exchange: Exchange) -> None:
        response = exchange.carry_out()
        response.headers["date"] = formatdate(time() - 120, usegmt=True)
        exchange.send(response)

    faulty.will(late, times=None)

    for read_only in (False, True):
        report = await HealthChecker(s3_faulty, expected=BucketOptions(), read_only=read_only).check(BUCKET)

        assert outcomes(report)["clock"] is CheckOutcome.FAILED
        assert "behind this machine's" in message(report, "clock")
    assert outcomes(await HealthChecker(s3_faulty, max_clock_skew=600).check(BUCKET))["clock"] is CheckOutcome.PASSED


def check_in_virtual_time(fault: Fault, operation: str | None = None) -> tuple[HealthReport, dict[str, object]]:
    """Check a server that misbehaves, and return what is left in its bucket. The deadline is virtual."""

    async def main(_: VirtualTimeLoop) -> tuple[HealthReport, dict[str, object]]:
        async with FaultyS3() as server, manager_of(server) as s3:
            server.s3.buckets[BUCKET] = {}
            server.will(fault, operation, times=None)
            report = await HealthChecker(s3, deadline=8).check(BUCKET)
            return report, dict(server.s3.buckets[BUCKET])

    return run_in_virtual_time(main)


def test_a_server_that_never_responds_is_down_at_the_deadline() -> None:
    report, _ = check_in_virtual_time(lambda exchange: exchange.hang())

    assert report.status is HealthStatus.DOWN
    assert "no response within the 8 s" in message(report, "reach")
    assert report.response_time == pytest.approx(8, abs=0.5)


def test_written_objects_are_deleted_even_after_the_deadline() -> None:
    async def carried_out_and_silent(exchange: Exchange) -> None:
        exchange.carry_out()
        await exchange.hang()

    report, left = check_in_virtual_time(carried_out_and_silent, "PutObject")

    assert outcomes(report)["write"] is CheckOutcome.FAILED
    assert outcomes(report)["delete"] is CheckOutcome.PASSED
    assert left == {}


async def test_a_cancelled_check_deletes_what_it_wrote(s3_faulty: S3Manager, faulty: FaultyS3) -> None:
    reading = asyncio.Event()

    async def silent(exchange: Exchange) -> None:
        reading.set()
        await exchange.hang()

    faulty.will(silent, "GetObject", times=None)
    check = asyncio.create_task(HealthChecker(s3_faulty).check(BUCKET))
    await reading.wait()

    check.cancel()
    with pytest.raises(asyncio.CancelledError):
        await check

    assert faulty.s3.buckets[BUCKET] == {}


async def test_an_invalid_bucket_name_is_refused(s3_faulty: S3Manager, faulty: FaultyS3) -> None:
    with pytest.raises(InvalidBucketName):
        await HealthChecker(s3_faulty).check("no/bucket")

    assert faulty.arrived == []


async def test_a_manager_that_is_not_open_is_refused() -> None:
    with pytest.raises(ManagerClosed):
        await HealthChecker(S3Manager(endpoint_url="http://localhost:1")).check(BUCKET)


@pytest.mark.parametrize("wrong", [{"deadline": 0}, {"max_clock_skew": -1}])
def test_invalid_limits_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidOption):
        HealthChecker(S3Manager(endpoint_url="http://localhost:1"), **wrong)
