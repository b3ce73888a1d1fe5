"""Runs every call against every fault, and checks its outcome."""

from __future__ import annotations

import asyncio
import copy
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Literal

from apm_s3 import S3Manager, S3Settings
from apm_s3.errors import (
    AccessDenied,
    ApmS3Error,
    BucketAlreadyOwned,
    BucketNotFound,
    ExpiredToken,
    IntegrityError,
    PreconditionFailed,
    ServiceUnavailable,
    Throttled,
    UploadNotFound,
)
from apm_s3.settings import RetrySettings, Timeouts, TransferSettings
from tests.faults.bucket_verbs import CONTROL_VERBS, DATA_VERBS
from tests.faults.cached_verbs import CACHED_VERBS
from tests.faults.faults import CASES, Case, Then
from tests.faults.roles import Role
from tests.faults.server import FaultyS3
from tests.faults.verbs import VERBS, Verb, bodies_of, warm
from tests.faults.virtual_time import VirtualTimeLoop, run_in_virtual_time
from tests.seams.cache import cache_of, loads_of

READ, DEADLINE = 1.0, 6.0
GRACE = 10.0
"""Seconds past the deadline after which a call counts as hung. All seconds here are virtual."""

SETTINGS = {
    "timeouts": Timeouts(connect=1.0, read=READ, deadline=DEADLINE),
    "retry": RetrySettings(attempts=3, initial_delay=0.001, budget=1e6),
    "transfer": TransferSettings(multipart_threshold=200, range_size=100),
}

COLUMNS = 30
"""Calls beside each other in the report."""

DataPath = Literal["boto", "signed"]
DATA_PATHS: tuple[DataPath, ...] = ("boto", "signed")


def verbs_of(data_path: DataPath) -> tuple[Verb, ...]:
    """The calls in the matrix of a transport. Calls that are the same for both transports are in one matrix only."""
    return (*VERBS, *DATA_VERBS, *((*CONTROL_VERBS, *CACHED_VERBS) if data_path == DATA_PATHS[-1] else ()))


@dataclass
class Cell:
    """One call that met one fault.

    Attributes:
        sends: how often the request that was hit arrived.
        problems: what is wrong with the outcome.
    """

    verb: Verb
    case: Case
    value: Any = None
    error: BaseException | None = None
    sends: int = 0
    orphans: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def symbol(self) -> str:
        """The outcome in two characters."""
        if self.problems:
            return "!!"
        if self.error is not None:
            return "".join(letter for letter in type(self.error).__name__ if letter.isupper())[:2]
        return ("o" if self.orphans else " ") + "."


def run_matrix(
    data_path: DataPath, cases: tuple[Case, ...] = CASES, verbs: tuple[Verb, ...] | None = None
) -> dict[tuple[str, str], Cell]:
    """All cells of one transport, by the names of verb and case. The calls that meet the same fault run concurrently."""
    return run_in_virtual_time(lambda loop: _cells(loop, data_path, cases, verbs or verbs_of(data_path)))


async def _cells(
    loop: VirtualTimeLoop, data_path: DataPath, cases: tuple[Case, ...], verbs: tuple[Verb, ...]
) -> dict[tuple[str, str], Cell]:
    cells: dict[tuple[str, str], Cell] = {}
    session = Role().session()
    async with AsyncExitStack() as stack:
        benches = [await stack.enter_async_context(_Bench(verb, data_path, session)) for verb in verbs]
        for case in cases:
            fitting = [bench for bench in benches if not case.on or bench.verb.request in case.on]
            for cell in await asyncio.gather(*(bench.run(case) for bench in fitting)):
                cells[str(cell.verb), case.name] = cell
    return cells


class _Bench:
    """The server and the manager on which a call meets one fault after another."""

    def __init__(self, verb: Verb, data_path: DataPath, session: Any) -> None:
        self.verb = verb
        self.server = FaultyS3()
        self._data_path = data_path
        self._session = session
        self._stack = AsyncExitStack()
        self._normal = 0

    async def __aenter__(self) -> _Bench:
        await self._stack.enter_async_context(self.server)
        self.s3 = await self._stack.enter_async_context(
            S3Manager(
                region="us-east-1",
                endpoint_url=self.server.endpoint_url,
                session=self._session,
                settings=S3Settings(data_path=self._data_path, cache=self.verb.cache, **SETTINGS),  # type: ignore[arg-type]
            )
        )
        # The client, a connection and what is probed once are made now, so that the faults meet the call alone.
        self.server.s3 = self.verb.state()
        await warm(self.s3)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def run(self, case: Case) -> Cell:
        """One cell."""
        server, cell = self.server, Cell(self.verb, case)
        server.s3 = self.verb.state()
        begun = set(server.s3.uploads)
        server.rules.clear()
        server.arrived.clear()
        before = bodies_of(server.s3)
        if case.fault is not None:
            server.will(case.fault, self.verb.request, times=case.times)
        call = asyncio.ensure_future(self.verb.call(self.s3))
        await asyncio.wait({call}, timeout=DEADLINE + GRACE)
        if not call.done():
            cell.problems.append("hangs")
            call.cancel()
        try:
            cell.value = await call
        except BaseException as error:
            cell.error = error
        cell.sends = server.arrived.count(self.verb.request)
        self._normal = self._normal or cell.sends
        cell.problems += await self._left_over()
        cell.orphans = len(server.s3.uploads.keys() - begun)
        cell.problems += judge(cell, before, bodies_of(server.s3), self._normal)
        if self.verb.again is not None:
            server.rules.clear()
            if (again := await self.verb.again(self.s3)) != self.verb.result:
                cell.problems.append(f"gives {again!r} after the fault")
        return cell

    async def _left_over(self) -> list[str]:
        problems = []
        stats = self.s3.pool.stats()
        if stats.in_use or stats.waiting:
            problems.append(f"{stats.in_use} slots in use, {stats.waiting} waiting")
        if loads_of(cache_of(self.s3)):
            problems.append("a read is still under way")
        try:
            await asyncio.wait_for(self.server.until_idle(), GRACE)
        except TimeoutError:
            problems.append("a connection is still in use")
        return problems


def judge(cell: Cell, before: Any, after: Any, normal: int) -> list[str]:
    """Return the problems of an outcome. `normal` is the number of requests without a fault."""
    if cell.error is None:
        problems = _wrong_result(cell, before, after)
    else:
        problems = _wrong_error(cell, cell.error) + _wrong_state(cell, cell.error, before, after)
    # If the response to its creation is lost, nobody knows the id of an upload.
    if cell.orphans and not cell.verb.creates_upload:
        problems.append(f"{cell.orphans} open uploads left")
    return problems + _wrong_sends(cell, normal)


def _wrong_result(cell: Cell, before: Any, after: Any) -> list[str]:
    if (cell.case.name, cell.verb.name) in _RIGHT_ANSWERS:
        return []
    if cell.case.then in {Then.EXHAUSTED, Then.FAILS_AT_ONCE}:
        return [f"succeeds instead of raising {cell.case.error.__name__}"]
    if cell.value != cell.verb.result:
        return [f"gives {cell.value!r}"]
    done = copy.deepcopy(before)
    cell.verb.change(done)
    return [] if after == done else ["the server does not hold what the answer says"]


_RIGHT_ANSWERS = {
    ("404 NoSuchBucket", "exists"),
    ("404 NoSuchBucket", "bucket exists"),
    ("404 NoSuchBucket", "move"),  # what was to be deleted is gone with its bucket
    ("404 NoSuchBucket", "move in a batch"),
    # it is asked for its location instead
    ("403 AccessDenied", "bucket exists"),
    ("403 AccessDenied", "create bucket"),
    ("403 AccessDenied", "ensure bucket"),
    # what the first delivery did is found done by the second
    ("delivered twice", "clean up uploads"),
    ("delivered twice", "empty and delete bucket"),
    ("delivered twice", "restore"),
    ("404 NoSuchBucket", "list buckets with details"),  # deleted meanwhile
}

_STREAMED = {"download", "sync down", "cached configuration", "cached bundle"}
"""Calls that read objects as streams."""

_HARMLESS = {(case, "download to a file") for case in ("corrupted object", "reset in body", "truncated body")}
"""The first request of `download_to` brings more than is read of it, and the fault hits the rest."""


def _wrong_error(cell: Cell, error: BaseException) -> list[str]:
    if not isinstance(error, ApmS3Error):
        return [f"raises {error!r}"]
    if not isinstance(error, _expected(cell)):
        return [f"raises {error!r}"]
    if not error.operation or (error.bucket is None and cell.verb.request != "ListBuckets"):
        return [f"says not where: {error}"]
    return []


def _expected(cell: Cell) -> tuple[type[ApmS3Error], ...]:
    """The errors that a call may raise."""
    case, verb = cell.case, cell.verb
    if case.then not in {Then.PASSES, Then.RETRIED}:
        # The response to a HEAD has no body, and so no code: only the status is known.
        bare = {Throttled: ServiceUnavailable, ExpiredToken: AccessDenied}
        return (case.error, bare.get(case.error, case.error)) if verb.request.startswith("Head") else (case.error,)
    if _is_told_as_denied(cell):
        return (AccessDenied,)
    if case.name == "delivered twice" and verb.judged_by_its_second_delivery:
        return (PreconditionFailed, UploadNotFound, BucketNotFound, BucketAlreadyOwned)
    if case.name == "corrupted object" and verb.name in _STREAMED:
        return (IntegrityError,)  # what came before is in the caller's hands already, or in the file
    return ()


def _is_told_as_denied(cell: Cell) -> bool:
    """Whether the call cannot know that its credentials have expired, because the response to a HEAD has no body."""
    return cell.case.error is ExpiredToken and cell.verb.request.startswith("Head")


def _wrong_state(cell: Cell, error: BaseException, before: Any, after: Any) -> list[str]:
    done = copy.deepcopy(before)
    cell.verb.change(done)
    if after == before or (
        after == done
        and ((isinstance(error, ApmS3Error) and error.may_have_happened) or cell.case.name == "delivered twice")
    ):
        return []
    if cell.verb.in_steps and all(after[name].items() <= before[name].items() for name in after):
        return []
    if cell.verb.name.startswith("move") and after["bucket-one"] == before["bucket-one"]:
        return []  # a copy may be there; the source is
    return [f"the state has changed, though {error!r}"]


def _wrong_sends(cell: Cell, normal: int) -> list[str]:
    if (
        cell.case.then is Then.EITHER
        or _is_told_as_denied(cell)
        or (cell.error is not None and cell.case.then is Then.RETRIED)
    ):
        return []
    if (cell.case.name, cell.verb.name) in _HARMLESS:
        return [] if cell.sends == normal else [f"sent {cell.sends} times instead of {normal}"]
    expected = {
        Then.PASSES: {normal},
        Then.RETRIED: {normal + 1},
        Then.FAILS_AT_ONCE: {1, normal},
        Then.EXHAUSTED: {3 * cell.verb.at_once},
    }[cell.case.then]
    if cell.sends in expected:
        return []
    return [f"sent {cell.sends} times instead of {expected}"]


def table(data_path: str, cells: dict[tuple[str, str], Cell]) -> list[str]:
    """The matrix as text: a row for each fault, a column for each call."""
    names = list(dict.fromkeys(verb for verb, _ in cells))
    lines = [f"{len(cells)} cells over {data_path}: {len(names)} calls, {len(CASES)} faults", ""]
    lines += [f"{number:3} {name}" for number, name in enumerate(names, start=1)]
    for start in range(0, len(names), COLUMNS):
        lines += _columns(names[start : start + COLUMNS], start + 1, cells)
    errors = {cell.symbol: type(cell.error).__name__ for cell in cells.values() if cell.error and not cell.problems}
    legend = ", ".join(f"{symbol} {name}" for symbol, name in sorted(errors.items()))
    return [
        *lines,
        "",
        f". right result, o an upload nobody can know of stays open, !! wrong, {legend}",
    ]


def _columns(names: list[str], first: int, cells: dict[tuple[str, str], Cell]) -> list[str]:
    width = max(len(case.name) for case in CASES)
    lines = ["", " " * width + "".join(f"{number:4}" for number in range(first, first + len(names)))]
    for case in CASES:
        row = (cells.get((name, case.name)) for name in names)
        lines.append(case.name.ljust(width) + "".join("    " if cell is None else f"  {cell.symbol}" for cell in row))
    return lines
