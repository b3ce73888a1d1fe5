"""Checks whether a bucket can be used now, and whether a manager's recent operations have succeeded.

```python
checker = HealthChecker(s3)
report = await checker.check("acme-apm-configs")
if report.status is not HealthStatus.OK:
    print(report.to_dict())
```
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from apm_s3._hints import Advice
from apm_s3._naming import HEALTH_PREFIX
from apm_s3._operation_alerts import AlertKind, OperationAlert, OperationThresholds, OperationWindow
from apm_s3._tasks import run_all, shielded
from apm_s3._tracing import Method, traced
from apm_s3.errors import (
    AccessDenied,
    ApmS3Error,
    InvalidOption,
    InvalidRequest,
    PreconditionFailed,
    S3Error,
    UnsupportedByServer,
    UsageError,
)
from apm_s3.metrics import S3Metrics
from apm_s3.models import FileInfo
from apm_s3.options import (
    BucketOptions,
    BucketSetting,
    DeleteOptions,
    Encryption,
    PublicAccessBlock,
    UploadOptions,
    Versioning,
)

if TYPE_CHECKING:
    from apm_s3 import S3Manager

__all__ = [
    "CheckOutcome",
    "HealthCheck",
    "HealthChecker",
    "HealthReport",
    "HealthStatus",
    "OperationAlert",
    "OperationThresholds",
]

_CLEAN_UP_SECONDS = 5.0
"""Most seconds that a cancelled check takes to delete the object that it wrote."""

EXPECTED = BucketOptions(versioning=Versioning(), public_access_block=PublicAccessBlock())
"""The expected settings of a configuration bucket: versioning is on, and public access is blocked."""


class HealthStatus(StrEnum):
    """Whether a bucket can be used."""

    OK = "ok"
    DEGRADED = "degraded"
    """It can be used, but its settings are not as expected, or the clocks differ."""
    DOWN = "down"
    """It cannot be used."""


class CheckOutcome(StrEnum):
    """The result of one check."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    """Not checked: the server lacks the feature, the credentials may not read it, or an earlier check failed."""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One check and its result.

    Attributes:
        name: "reach", "credentials", "list", "write", "conditional_writes", "read", "delete", "clock", "versioning",
            "encryption" or "public_access_block".
        critical: whether a failure means that the bucket is down, not only degraded.
        seconds: the duration of the check.
        message: what was found, or what is wrong and what to do about it.
    """

    name: str
    outcome: CheckOutcome
    critical: bool
    seconds: float
    message: str


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The result of `HealthChecker.check`.

    Attributes:
        response_time: seconds for all checks together.
        checked_at: when the checks began, in UTC.
    """

    bucket: str
    region: str | None
    status: HealthStatus
    response_time: float
    checked_at: datetime
    checks: tuple[HealthCheck, ...]

    @property
    def failed(self) -> tuple[HealthCheck, ...]:
        """The failed checks."""
        return tuple(check for check in self.checks if check.outcome is CheckOutcome.FAILED)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON types."""
        return {
            "bucket": self.bucket,
            "region": self.region,
            "status": self.status.value,
            "response_time": self.response_time,
            "checked_at": self.checked_at.isoformat(),
            "checks": [{**asdict(check), "outcome": check.outcome.value} for check in self.checks],
        }


def _traced(method: Method) -> Method:
    """Trace `method` as one operation if the manager is traced."""
    return traced(method, "HealthChecker", lambda checker: checker._s3._tracer, lambda _: {})  # noqa: SLF001 - its tracer


class HealthChecker:
    """Checks whether buckets can be used. One checker can check many buckets concurrently.

    Args:
        s3: an open manager. Its cache is not used.
        read_only: write nothing, for credentials that may only read.
        expected: the expected versioning, encryption and public access block. By default, versioning is on, public
            access is blocked, and any default encryption is accepted.
        deadline: seconds for all checks of one bucket together.
        max_clock_skew: seconds by which this machine's clock and the server's may differ. S3 refuses requests that
            are signed more than 15 minutes off.

    Raises:
        InvalidOption: `deadline` or `max_clock_skew` is not above 0.
    """

    def __init__(
        self,
        s3: S3Manager,
        *,
        read_only: bool = False,
        expected: BucketOptions | None = None,
        deadline: float = 10.0,
        max_clock_skew: float = 60.0,
    ) -> None:
        if deadline <= 0 or max_clock_skew <= 0:
            raise InvalidOption(
                "deadline and max_clock_skew must be above 0 seconds", hint="leave them at their defaults"
            )
        self._s3 = s3
        self._read_only = read_only
        self._expected = expected or EXPECTED
        self._deadline = deadline
        self._max_clock_skew = max_clock_skew
        self._windows: WeakKeyDictionary[S3Metrics, OperationWindow] = WeakKeyDictionary()

    def check_operations(
        self, metrics: S3Metrics | None = None, *, thresholds: OperationThresholds | None = None
    ) -> tuple[OperationAlert, ...]:
        """Return the current alerts on recent operations from `metrics` alone, without sending anything.

        The window slides from call to call: call it every few seconds, or use `monitor`. The first call covers all
        that the metrics have counted so far.

        Args:
            metrics: by default the manager's own.
            thresholds: by default 10 % failures, 5 seconds average latency, or 10 errors of one kind, in 5 minutes.
        """
        metrics = metrics or self._s3.metrics
        window = self._windows.setdefault(metrics, OperationWindow())
        return window.alerts(metrics.snapshot(), time.monotonic(), thresholds or OperationThresholds())

    async def monitor(
        self,
        metrics: S3Metrics | None = None,
        *,
        thresholds: OperationThresholds | None = None,
        interval: float = 10.0,
    ) -> AsyncGenerator[OperationAlert, None]:
        """Yield each alert on operations when it begins, and again with `active` False when it ends. Never returns.

        Args:
            metrics, thresholds: as for `check_operations`.
            interval: seconds between two checks.

        Raises:
            InvalidOption: `interval` is not above 0.
        """
        if interval <= 0:
            raise InvalidOption(f"interval {interval} is not above 0 seconds", hint="leave it at its default")
        active: dict[tuple[AlertKind, str | None], OperationAlert] = {}
        while True:
            now = {(alert.kind, alert.code): alert for alert in self.check_operations(metrics, thresholds=thresholds)}
            for key in active.keys() - now.keys():
                yield replace(active[key], active=False)
            for key in now.keys() - active.keys():
                yield now[key]
            active = now
            await asyncio.sleep(interval)

    @_traced
    async def check(self, bucket: str, region: str | None = None) -> HealthReport:
        """Check that `bucket` can be reached, read and written, and that its settings are as expected.

        Unless the checker is read-only, it writes a small object under `.apm-s3/health/` and deletes it permanently,
        even if the caller is cancelled.

        Args:
            region: the bucket's region; None finds it out.

        Returns:
            The report. It contains errors of S3, which are never raised.

        Raises:
            InvalidRequest: the bucket's name is not valid; nothing was sent.
            UsageError: the manager is not open.
        """
        examination = _Examination(bucket, self._deadline)
        began, checked_at = time.monotonic(), datetime.now(UTC)
        await run_all(
            [
                examination.check("reach", partial(_reach, self._s3, bucket, region)),
                examination.check("credentials", partial(_credentials, self._s3)),
                examination.check("list", partial(_list, self._s3, bucket)),
                self._check_objects(examination),
                *(
                    examination.check(name, partial(_setting, self._s3, bucket, region, kind, wanted), critical=False)
                    for name, kind, wanted in self._settings()
                ),
            ]
        )
        checks = tuple(sorted(examination.told_once(), key=lambda check: _ORDER.index(check.name)))
        return HealthReport(bucket, region, _status(checks), time.monotonic() - began, checked_at, checks)

    def _settings(self) -> list[tuple[str, type[BucketSetting], BucketSetting | None]]:
        expected = self._expected
        return [
            ("versioning", Versioning, expected.versioning),
            ("encryption", Encryption, expected.encryption),
            ("public_access_block", PublicAccessBlock, expected.public_access_block),
        ]

    async def _check_objects(self, examination: _Examination) -> None:
        clock = _Clock()
        if self._read_only:
            examination.skip(("write", "read", "delete"), "this checker is read-only", critical=True)
            examination.skip(("conditional_writes",), "this checker is read-only", critical=False)
            asked = partial(_ask_time, self._s3, examination.bucket, clock, self._max_clock_skew)
            await examination.check("clock", asked, critical=False)
            return
        written = _Written(self._s3, examination.bucket, clock)
        # Reserve time to delete the written object, whatever the deadline cuts short.
        reserve = min(1.0, self._deadline / 4)
        try:
            if await examination.check("write", written.write, reserve=reserve):
                await run_all(
                    [
                        examination.check("read", written.read, reserve=reserve),
                        examination.check("conditional_writes", written.overwrite, critical=False, reserve=reserve),
                    ]
                )
            else:
                examination.skip(("read",), "nothing could be written", critical=True)
                examination.skip(("conditional_writes",), "nothing could be written", critical=False)
        finally:
            await shielded(examination.check("delete", written.delete), timeout=_CLEAN_UP_SECONDS)
        await examination.check("clock", partial(_judge_time, clock, self._max_clock_skew), critical=False)


_ORDER = (
    "reach", "credentials", "list", "write", "conditional_writes", "read", "delete", "clock",
    "versioning", "encryption", "public_access_block",
)  # fmt: skip


class _Skipped(Exception):
    """A check could not be made; the message says why."""


class _Failed(Exception):
    """A check found something wrong; the message says what."""


class _Absent(_Failed):
    """There is no bucket, so no other check says anything."""


@dataclass
class _Examination:
    """The examination of one bucket: its checks so far, and their common deadline."""

    bucket: str
    seconds: float
    checks: list[HealthCheck] = field(default_factory=list)
    absent: bool = False

    def __post_init__(self) -> None:
        self.ends_at = asyncio.get_running_loop().time() + self.seconds

    def skip(self, names: Iterable[str], why: str, *, critical: bool) -> None:
        self.checks += [HealthCheck(name, CheckOutcome.SKIPPED, critical, 0.0, why) for name in names]

    def told_once(self) -> list[HealthCheck]:
        """Return the checks; if there is no bucket, only one of them fails because of that."""
        wrote = any(check.name == "write" and check.outcome is CheckOutcome.PASSED for check in self.checks)
        if wrote or not self.absent:
            return self.checks
        return [
            replace(check, outcome=CheckOutcome.SKIPPED, message="there is no such bucket")
            if check.outcome is CheckOutcome.FAILED and check.name not in ("reach", "credentials")
            else check
            for check in self.checks
        ]

    async def check(
        self, name: str, examine: Callable[[], Awaitable[str]], *, critical: bool = True, reserve: float = 0.0
    ) -> bool:
        """Make one check that ends `reserve` seconds before the deadline, and return whether it passed."""
        began = time.monotonic()
        outcome = CheckOutcome.FAILED
        try:
            async with asyncio.timeout_at(self.ends_at - reserve):
                message = await examine()
            outcome = CheckOutcome.PASSED
        except (InvalidRequest, UsageError):
            raise
        except _Skipped as exc:
            outcome, message = CheckOutcome.SKIPPED, str(exc)
        except _Failed as exc:
            self.absent = self.absent or isinstance(exc, _Absent)
            message = exc.args[0]  # not its `str`, which forgets the words of other readers
        except ApmS3Error as exc:
            message = Advice.CHECK_FAILED(error=exc)
        except TimeoutError:
            message = f"no response within the {self.seconds:g} s for all checks"
        self.checks.append(HealthCheck(name, outcome, critical, time.monotonic() - began, message))
        return outcome is CheckOutcome.PASSED


async def _reach(s3: S3Manager, bucket: str, region: str | None) -> str:
    if not await s3.bucket_exists(bucket, region=region):
        raise _Absent(Advice.BUCKET_ABSENT(bucket=bucket))
    return "the bucket exists"


async def _credentials(s3: S3Manager) -> str:
    source = await s3._credentials_source()  # noqa: SLF001 - a door for this module
    if source is None:
        raise _Failed(Advice.NO_CREDENTIALS())
    return f"from {source}"


async def _list(s3: S3Manager, bucket: str) -> str:
    await s3.list_files(bucket, HEALTH_PREFIX, max_keys=1)
    return "objects can be listed"


async def _setting(
    s3: S3Manager, bucket: str, region: str | None, kind: type[BucketSetting], wanted: BucketSetting | None
) -> str:
    try:
        current = await s3.get_setting(bucket, kind, region=region)
    except AccessDenied as exc:
        raise _Skipped("these credentials may not read this setting") from exc
    except UnsupportedByServer as exc:
        raise _Skipped("the server does not support this setting") from exc
    if wanted is None:
        if current is None and kind is Encryption:
            raise _Failed(Advice.NO_ENCRYPTION(bucket=bucket))
        return "as it is" if current is None else Advice.SETTING_FOUND(setting=current)
    if not wanted.matches(current):
        raise _Failed(Advice.SETTING_DIFFERS(expected=wanted, found=current or "none", bucket=bucket))
    return Advice.SETTING_FOUND(setting=current)


class _Clock:
    """The server's clock, from the `Date` of its responses."""

    ahead: float | None = None
    """Seconds by which the server's clock is ahead of this machine's."""

    def told(self, server_time: float | None) -> None:
        if server_time is not None:
            self.ahead = server_time - time.time()


class _Written:
    """The object that a check writes, reads and deletes."""

    def __init__(self, s3: S3Manager, bucket: str, clock: _Clock) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._clock = clock
        self._key = f"{HEALTH_PREFIX}{uuid.uuid4().hex}"
        self._body = f"apm_s3 checked its health with {self._key}; this object can be deleted\n".encode()
        self._begun = False
        self._versions: list[str | None] | None = None

    async def write(self) -> str:
        self._begun = True
        info = await self._upload(UploadOptions(content_type="text/plain"))
        self._versions = [info.version_id]
        self._clock.told(info.server_time)
        return f"{len(self._body)} bytes were written"

    async def read(self) -> str:
        data = await self._s3.read_file(self._bucket, self._key, refresh=True)
        if data != self._body:
            raise _Failed("the bytes read back differ from those written: do not use this server")
        return "the same bytes were read back"

    async def overwrite(self) -> str:
        versions, self._versions = self._versions or [], None
        try:
            info = await self._upload(UploadOptions(content_type="text/plain", if_none_match="*"))
        except PreconditionFailed:
            self._versions = versions
            return "If-None-Match protects existing objects"
        self._versions = [*versions, info.version_id]
        raise _Failed("the server ignores If-None-Match: configuration stores are not safe on it")

    async def delete(self) -> str:
        if not self._begun:
            raise _Skipped("nothing was written")
        try:
            for version in await self._left():
                await self._s3.delete_file(self._bucket, self._key, DeleteOptions(version_id=version))
        except ApmS3Error as exc:
            raise _Failed(f"'{self._key}' may remain: {exc}") from exc
        return "the object was deleted"

    async def _upload(self, options: UploadOptions) -> FileInfo:
        return await self._s3.upload_file(self._bucket, self._key, self._body, options)

    async def _left(self) -> list[str | None]:
        """Return the versions to delete. After a write with an unknown outcome, only S3 knows them."""
        if self._versions is not None:
            return self._versions
        try:
            page = await self._s3.list_versions(self._bucket, self._key)
        except (AccessDenied, UnsupportedByServer):
            return [None]
        return [version.version_id for version in page.versions if version.key == self._key]


async def _ask_time(s3: S3Manager, bucket: str, clock: _Clock, limit: float) -> str:
    try:
        await s3.read_file(bucket, f"{HEALTH_PREFIX}clock", refresh=True)
    except S3Error as exc:
        # This object never exists, but the error response has a `Date` too.
        clock.told(exc.server_time)
    return await _judge_time(clock, limit)


async def _judge_time(clock: _Clock, limit: float) -> str:
    if clock.ahead is None:
        raise _Skipped("the server did not send its time")
    side = "ahead of" if clock.ahead > 0 else "behind"
    message = f"the server's clock is {abs(clock.ahead):.1f} s {side} this machine's"
    if abs(clock.ahead) > limit:
        raise _Failed(f"{message}: set this machine's clock by NTP")
    return message


def _status(checks: tuple[HealthCheck, ...]) -> HealthStatus:
    failed = [check for check in checks if check.outcome is CheckOutcome.FAILED]
    if any(check.critical for check in failed):
        return HealthStatus.DOWN
    return HealthStatus.DEGRADED if failed else HealthStatus.OK
