"""Thousands of interleavings of backups, restores, prunings and writers in every run, many more in the long one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import pytest

from apm_s3.configs._backups import backups, restore
from tests.configs.simulation.backup_world import Violation, play


@pytest.mark.parametrize("batch", range(4))
def test_no_interleaving_leaves_an_incomplete_backup_or_loses_replaced_files(batch: int) -> None:
    for seed in range(batch * 100, (batch + 1) * 100):
        play(seed)


@pytest.mark.long
@pytest.mark.timeout(0)
@pytest.mark.parametrize("batch", range(20))
def test_no_interleaving_of_many_leaves_an_incomplete_backup(batch: int) -> None:
    for seed in range(10_000 + batch * 2_000, 10_000 + (batch + 1) * 2_000):
        play(seed)


def _manifest_first() -> AbstractContextManager[Any]:
    copy = backups.Backups._copy

    async def not_waited_for(self: Any, *args: Any) -> None:
        asyncio.ensure_future(copy(self, *args))  # noqa: RUF006 - that is the mistake

    return mock.patch.object(backups.Backups, "_copy", not_waited_for)


def _without_saving() -> AbstractContextManager[Any]:
    async def nothing(*_: Any, **__: Any) -> None:
        return

    original = restore.Restorer.restore

    async def unsaved(self: Any, *args: Any, **options: Any) -> Any:
        with mock.patch.object(self._own, "back_up", nothing):
            return await original(self, *args, **options)

    return mock.patch.object(restore.Restorer, "restore", unsaved)


def _whatever_is_there_now() -> AbstractContextManager[Any]:
    publish = restore.Restorer._publish

    async def unexpecting(self: Any, verified: Any, environment: str, revisions: Any, *rest: Any) -> Any:
        return await publish(self, verified, environment, dict.fromkeys(revisions), *rest)

    return mock.patch.object(restore.Restorer, "_publish", unexpecting)


def _prune_all() -> AbstractContextManager[Any]:
    def everything(found: Any, **_: Any) -> list[Any]:
        return list(found)

    return mock.patch.object(backups, "plan_prune", everything)


def _one_tool_after_the_other() -> AbstractContextManager[Any]:
    original = backups.Backups._releases

    async def apart(self: Any, snapshot: Any, tools: Any) -> Any:
        found = await original(self, snapshot, tools)
        await asyncio.sleep(1)
        again = await self._reader.require(snapshot.environment)
        return [*found[:1], *(await original(self, again, [release.tool for release in found]))[1:]]

    return mock.patch.object(backups.Backups, "_releases", apart)


MISTAKES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "the manifest does not wait for the files": _manifest_first,
    "what is replaced is not saved": _without_saving,
    "a restore takes the place of whatever is there": _whatever_is_there_now,
    "the last backup is pruned": _prune_all,
    "the tools of a backup come from different moments": _one_tool_after_the_other,
}


@pytest.mark.parametrize("mistake", list(MISTAKES))
def test_every_planted_mistake_is_caught(mistake: str) -> None:
    with MISTAKES[mistake]():
        for seed in range(400):
            try:
                play(seed)
            except Violation:
                return
    pytest.fail("the simulation does not notice it")
