"""Runs calls of a store against a server that lies, and checks that each happened, did not happen, or says which."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from apm_s3 import S3Manager, S3Settings
from apm_s3.errors import ApmS3Error, CommitUnknown
from tests.faults.faults import Case
from tests.faults.matrix import DEADLINE, GRACE, SETTINGS, DataPath
from tests.faults.roles import Role
from tests.faults.server import FaultyS3
from tests.faults.store_lies import BELIEVED, REPORTED
from tests.faults.store_verbs import StoreVerb, new_store_state, state_of
from tests.faults.verbs import BUCKET, OTHER
from tests.faults.virtual_time import VirtualTimeLoop, run_in_virtual_time

PATIENCE = 10 * (DEADLINE + GRACE)
"""Virtual seconds after which a call counts as hung: it makes several requests after each other, each with a deadline."""


@dataclass
class StoreCell:
    """One call that met one lie."""

    verb: StoreVerb
    case: str
    value: Any = None
    error: BaseException | None = None
    problems: list[str] = field(default_factory=list)


Pairs = Callable[[StoreVerb, Case, int], bool]
"""Whether a call meets a lie; the number is that of the pair."""


def run_store_matrix(
    data_path: DataPath, cases: Iterable[Case], verbs: Iterable[StoreVerb], chosen: Pairs
) -> list[StoreCell]:
    """Run the chosen pairs, the calls of each lie concurrently."""
    return run_in_virtual_time(lambda loop: _cells(loop, data_path, list(cases), list(verbs), chosen))


async def _cells(
    _: VirtualTimeLoop, data_path: DataPath, cases: list[Case], verbs: list[StoreVerb], chosen: Pairs
) -> list[StoreCell]:
    cells: list[StoreCell] = []
    session = Role().session()
    async with AsyncExitStack() as stack:
        benches = [await stack.enter_async_context(_StoreBench(verb, data_path, session)) for verb in verbs]
        for number, case in enumerate(cases):
            fitting = [
                bench
                for place, bench in enumerate(benches)
                if bench.meets(case) and chosen(bench.verb, case, number + place)
            ]
            cells += await asyncio.gather(*(bench.run(case) for bench in fitting))
    return cells


class _StoreBench:
    """The server and the manager on which a call meets one lie after another."""

    def __init__(self, verb: StoreVerb, data_path: DataPath, session: Any) -> None:
        self.verb = verb
        self.server = FaultyS3()
        self._stack = AsyncExitStack()
        settings = {name: value for name, value in SETTINGS.items() if name != "transfer"}
        self._settings = S3Settings(data_path=data_path, **settings)  # type: ignore[arg-type]
        self._session = session
        self._used: set[str] = set()
        self._right: Any = None
        self._before: Mapping[str, Any] = {}
        self._after: Mapping[str, Any] = {}

    async def __aenter__(self) -> _StoreBench:
        await self._stack.enter_async_context(self.server)
        self._s3 = await self._stack.enter_async_context(
            S3Manager(
                region="us-east-1",
                endpoint_url=self.server.endpoint_url,
                session=self._session,
                settings=self._settings,
            )
        )
        self.server.s3 = new_store_state()
        await self._s3.upload_file(OTHER, "warm", b"warm")
        self._before = await state_of(self.server.s3)
        self.server.arrived.clear()
        self._right = await self._call()
        self._used = set(self.server.arrived)
        self._after = await state_of(self.server.s3)
        assert (self._after != self._before) == (self.verb.changes and self.verb.name not in _WITHOUT_A_TRACE), (
            self.verb
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def meets(self, case: Case) -> bool:
        """Whether the lie means anything for the call."""
        return not case.on or not self._used.isdisjoint(case.on)

    async def run(self, case: Case) -> StoreCell:
        """One cell."""
        server, cell = self.server, StoreCell(self.verb, case.name)
        server.s3 = new_store_state()
        server.rules.clear()
        assert case.fault is not None
        for operation in case.on or (None,):
            server.will(case.fault, operation, times=case.times)
        call = asyncio.ensure_future(self._call())
        await asyncio.wait({call}, timeout=PATIENCE)
        if not call.done():
            if not self.verb.endures:
                cell.problems.append("hangs")
            call.cancel()
        try:
            cell.value = await call
        except BaseException as error:
            cell.error = error
        server.rules.clear()
        cell.problems += self._left_over() + self._judge(cell, await state_of(server.s3))
        return cell

    async def _call(self) -> Any:
        store = self._s3.configs(BUCKET)
        try:
            return await self.verb.call(store)
        finally:
            await store.finish(timeout=2 * DEADLINE)

    def _left_over(self) -> list[str]:
        stats = self._s3.pool.stats()
        return [f"{stats.in_use} slots in use"] if stats.in_use or stats.waiting else []

    def _judge(self, cell: StoreCell, state: Mapping[str, Any]) -> list[str]:
        error = cell.error
        if error is None:
            if (self.verb.name, cell.case) in REPORTED:
                # A lie that is told once is read again, and does no harm.
                done = cell.value == self._right and state == self._after
                return [] if done or state == self._before else [f"has changed {state}"]
            right = cell.value == self._right or cell.case in BELIEVED
            problems = [] if right else [f"gives {cell.value!r} instead of {self._right!r}"]
            done = state == self._after or (cell.case in BELIEVED and _is_sound(state))
            return problems if done else [*problems, f"is said to be done, and the store has {state}"]
        if isinstance(error, asyncio.CancelledError) and self.verb.endures:
            return []
        if not isinstance(error, ApmS3Error):
            return [f"raises {error!r}"]
        if state == self._before or (self.verb.in_steps and _is_sound(state)):
            return []
        if state == self._after and (error.may_have_happened or isinstance(error, CommitUnknown)):
            return []
        return [f"raises {error!r}, and the store has {state}"]


_WITHOUT_A_TRACE = {
    "outcome", "thaw", "drill", "repair", "collect garbage", "HTTP get_outcome",
    "HTTP put_settings", "HTTP thaw", "HTTP drill_backup",
}  # fmt: skip
"""Calls after which the files, marks, settings and backups are as before."""


def _is_sound(state: Mapping[str, Any]) -> bool:
    """Whether nothing is damaged."""
    return all(not each[-1] for name, each in state.items() if name != "backups")
