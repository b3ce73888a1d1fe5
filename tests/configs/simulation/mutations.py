"""The protocol with one rule broken at a time: each has to be caught."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

from tests.configs.simulation import scenarios
from tests.configs.simulation.bucket import Client
from tests.seams.mistakes import ANYWHERE, Mistake


def _unconditional() -> AbstractContextManager[Any]:
    put = Client.put

    async def without_condition(self: Client, key: str, body: bytes, **options: Any) -> Any:
        return await put(self, key, body, **{**options, "if_match": None})

    return mock.patch.object(Client, "put", without_condition)


def _part_is_named_before_it_is_there() -> AbstractContextManager[Any]:
    put = Client.put

    async def not_waited_for(self: Client, key: str, body: bytes, **options: Any) -> Any:
        import asyncio

        if "/log/" in key:
            asyncio.ensure_future(put(self, key, body, **options))  # noqa: RUF006 - that is the mistake
            return None
        return await put(self, key, body, **options)

    return mock.patch.object(Client, "put", not_waited_for)


SCENARIOS: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
    "a refresh of live/ does not look again": scenarios.overtaken_refresh,
    "the log is thought to remember twice as many writes": scenarios.overrun,
    "a release in the history is told by its revision": scenarios.overrun_by_another,
    "a history that cannot be read is taken for one without the write": scenarios.overrun_and_unreadable,
    "a writer does not look for commits that were lost": scenarios.lost_commits,
    "outcome rules a write out at once": scenarios.asked_too_soon,
    "a refresh of live/ ends with its caller": scenarios.cancelled_late,
    "a base is told by its revision, not by its key": scenarios.made_anew,
    "the main file of live/ is written with the others": scenarios.main_file_last,
    "a live copy is taken for known that someone else wrote": scenarios.known_copy,
    "a repair knows nothing before a lost document": scenarios.lost_document,
    "a rollback does not look at what it copies": scenarios.spoilt_source,
    "a reference document may lead anywhere": scenarios.other_environment,
    "a release may say it is another one": scenarios.renamed_release,
}
"""The story in which each of `PLACED` shows."""

MUTATIONS: dict[str, Mistake] = {
    **ANYWHERE,
    "current.json is written without If-Match": _unconditional,
    "a part of the log is named before it is there": _part_is_named_before_it_is_there,
}
