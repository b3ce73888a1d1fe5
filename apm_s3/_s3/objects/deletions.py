"""Deletion of many objects, 1000 a request, with the outcome of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from apm_s3._naming import check_bucket, check_key
from apm_s3._s3.engine import Engine, within
from apm_s3._s3.objects.conditional import require_honoured, spelled
from apm_s3._s3_responses import s3_error
from apm_s3._tasks import run_all
from apm_s3._wire import xml
from apm_s3.errors import ApmS3Error, InvalidKey, InvalidOption, S3Error
from apm_s3.models import DeleteOutcome, DeleteReport, KeyFailure
from apm_s3.options import DeleteOptions

_DEFAULTS = DeleteOptions()
_KEYS_A_REQUEST = 1000
_PARALLEL_REQUESTS = 16
_PASSING = frozenset({"InternalError", "ServiceUnavailable", "SlowDown", "OperationAborted", "RequestTimeout", ""})
"""Codes after which a key is tried again; "" is that of a key that the response does not mention."""

_Target = tuple[str, str | None]


async def delete_many(
    engine: Engine, bucket: str, keys: Iterable[str | _Target], options: DeleteOptions | None
) -> DeleteReport:
    """Delete many objects; raises only if no request got a response."""
    check_bucket(bucket)
    options = options or _DEFAULTS
    if options.version_id is not None or options.if_match is not None:
        raise InvalidOption("version_id and if_match are for one key", hint="give (key, version id) pairs")
    plain, odd = _sorted_out(bucket, keys)
    batches = [
        _Deletion(engine, bucket, plain[start : start + _KEYS_A_REQUEST], options)
        for start in range(0, len(plain), _KEYS_A_REQUEST)
    ]
    work = [batch.run() for batch in batches] + [_delete_alone(engine, bucket, target, options) for target in odd]
    async with within(options.timeout, "delete_files", bucket, None):
        reports = await run_all(work, limit=_PARALLEL_REQUESTS)
    errors = [report for report in reports if isinstance(report, _Unanswered)]
    if errors and len(errors) == len(reports):
        raise errors[0].error
    return DeleteReport(
        tuple(outcome for report in reports for outcome in report.deleted),
        tuple(failure for report in reports for failure in report.failed),
    )


class _Unanswered:
    """A request whose keys all share one error."""

    def __init__(self, targets: Sequence[_Target], error: ApmS3Error) -> None:
        self.error = error
        self.deleted: tuple[DeleteOutcome, ...] = ()
        s3_code = error.s3_code if isinstance(error, S3Error) else ""
        self.failed = tuple(
            KeyFailure(key, version, s3_code or error.code.value, error.problem) for key, version in targets
        )


class _Deletion:
    """One DeleteObjects. Keys for which S3 asks to try again are sent again, and only those."""

    def __init__(self, engine: Engine, bucket: str, targets: Sequence[_Target], options: DeleteOptions) -> None:
        self._engine = engine
        self._bucket = bucket
        self._left = targets
        self._options = options
        self._deleted: list[DeleteOutcome] = []
        self._failed: list[KeyFailure] = []
        self._passing: list[KeyFailure] = []

    async def run(self) -> DeleteReport | _Unanswered:
        try:
            await self._engine.runner.run("delete_files", self._bucket, None, self._attempt)
        except ApmS3Error as error:
            if not self._deleted and not self._failed and not self._passing:
                return _Unanswered(self._left, error)
            self._failed += self._passing or _Unanswered(self._left, error).failed
        return DeleteReport(tuple(self._deleted), tuple(self._failed))

    async def _attempt(self) -> None:
        report = await self._engine.transport.delete_many(self._bucket, self._left, self._options)
        self._deleted += report.deleted
        self._passing = [failure for failure in report.failed if failure.s3_code in _PASSING]
        self._failed += [failure for failure in report.failed if failure.s3_code not in _PASSING]
        self._left = [(failure.key, failure.version_id) for failure in self._passing]
        if self._passing:
            first = self._passing[0]
            raise s3_error(
                operation="delete_files", status=503, s3_code=first.s3_code, message=first.message, bucket=self._bucket
            )


async def _delete_alone(
    engine: Engine, bucket: str, target: _Target, options: DeleteOptions
) -> DeleteReport | _Unanswered:
    try:
        return DeleteReport((await delete_alone(engine, "delete_files", bucket, target, options),), ())
    except ApmS3Error as error:
        return _Unanswered([target], error)


async def delete_alone(
    engine: Engine, operation: str, bucket: str, target: tuple[str, str | None], options: DeleteOptions
) -> DeleteOutcome:
    """Delete one of the keys that DeleteObjects cannot name, since XML cannot hold them: see `xml.holds`."""
    key, version = target
    chosen = dataclasses.replace(options, version_id=version)
    return await engine.runner.run(operation, bucket, key, lambda: engine.transport.delete(bucket, key, chosen))


def _sorted_out(bucket: str, keys: Iterable[str | _Target]) -> tuple[list[_Target], list[_Target]]:
    if isinstance(keys, str):
        raise InvalidKey("keys is one str, not several", bucket=bucket, hint="give a list of keys, or use delete_file")
    plain: list[_Target] = []
    odd: list[_Target] = []
    for entry in dict.fromkeys(keys):
        target = (entry, None) if isinstance(entry, str) else entry
        check_key(target[0], bucket=bucket)
        (plain if xml.holds(target[0]) else odd).append(target)
    return plain, odd


async def delete_matching(engine: Engine, bucket: str, key: str, options: DeleteOptions) -> DeleteOutcome:
    """Delete an object only if it has the ETag of `options`."""
    transport = engine.transport
    await require_honoured(engine, "DeleteObject", bucket, key, options)

    async def send(chosen: DeleteOptions) -> DeleteOutcome:
        return await engine.runner.run(
            "delete_file", bucket, key, lambda: transport.delete(bucket, key, chosen), timeout=options.timeout
        )

    return await spelled(engine, "DeleteObject", bucket, key, options, send)
