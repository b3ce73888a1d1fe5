"""What a writer makes of a refusal while an earlier send has no outcome, and a reader of a release that is collected."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from apm_s3.configs import ConfigStore
from apm_s3.errors import (
    AccessDenied,
    CommitUnknown,
    ConnectionLost,
    StoreDamaged,
    UnsupportedByServer,
)
from apm_s3.models import FileInfo
from apm_s3.testing import MemoryObjects
from tests.configs.samples import LOKI, OTHER_LOKI, PROMETHEUS
from tests.configs.simulation.scenarios import CURRENT
from tests.configs.test_faults import play
from tests.seams.store import Counting

NEWEST = f"{LOKI}# the newest\n"


class Unreliable(MemoryObjects):
    """A bucket in which the first commit gets no answer, and all later ones are refused, as are the reads after it.

    Attributes:
        arrives: whether the first commit takes effect.
        refused: how many commits after it are refused; None: all.
    """

    def __init__(self, *, arrives: bool, refused: int | None) -> None:
        super().__init__()
        self.arrives, self.refused = arrives, refused
        self.sends: int | None = None

    async def put(self, key: str, body: bytes, **options: Any) -> FileInfo:
        if self.sends is None or key != CURRENT:
            return await super().put(key, body, **options)
        self.sends += 1
        if self.sends == 1:
            if self.arrives:
                await super().put(key, body, **options)
            times = None if self.refused is None else self.refused + 1
            self.will_fail("read", ConnectionLost("no answer"), key=CURRENT, times=times)
            raise ConnectionLost("no answer")
        if self.refused is None or self.sends <= self.refused + 1:
            raise AccessDenied("no", operation="put", status=403)
        return await super().put(key, body, **options)


@pytest.mark.parametrize("arrives", [True, False])
def test_a_refusal_does_not_end_a_commit_whose_earlier_send_may_have_arrived(arrives: bool) -> None:
    async def scene() -> None:
        memory = Unreliable(arrives=arrives, refused=2)
        store = ConfigStore(memory)
        await store.upload("loki", "production", LOKI)
        memory.sends = 0

        release = await store.upload("loki", "production", OTHER_LOKI)

        assert (release.revision, memory.sends) == (2, 4)
        assert [each.revision for each in await store.history("loki", "production")] == [2, 1]
        assert (await store.download("loki", "production")).text == OTHER_LOKI

    play(scene)


@pytest.mark.parametrize("arrives", [True, False])
def test_refusals_until_the_deadline_leave_it_unknown_whether_an_earlier_send_arrived(arrives: bool) -> None:
    async def scene() -> None:
        memory = Unreliable(arrives=arrives, refused=None)
        store = ConfigStore(memory)
        await store.upload("loki", "production", LOKI)
        memory.sends = 0

        with pytest.raises(CommitUnknown):
            await store.upload("loki", "production", OTHER_LOKI)

    play(scene)


class Nameless(MemoryObjects):
    """A bucket behind a proxy that removes ETags."""

    async def read(self, key: str, **options: Any) -> tuple[FileInfo, bytes]:
        info, body = await super().read(key, **options)
        return info._replace(etag=None), body


async def test_a_document_without_an_etag_is_neither_read_nor_replaced() -> None:
    memory, nameless = MemoryObjects(), Nameless()
    await ConfigStore(memory).upload("loki", "production", LOKI)
    nameless.objects = dict(memory.objects)
    store = ConfigStore(nameless)

    for call in (
        store.download("loki", "production"),
        store.upload("loki", "production", OTHER_LOKI),
        store.freeze("production", "an incident"),
    ):
        with pytest.raises(UnsupportedByServer, match="no ETag"):
            await call
    assert nameless.objects[CURRENT] == memory.objects[CURRENT]


async def test_writers_of_one_process_wait_for_each_other_and_read_the_document_again() -> None:
    memory = Counting()
    store = ConfigStore(memory)
    await store.upload("loki", "production", LOKI)

    await asyncio.gather(
        *(store.upload(tool, "production", text) for tool, text in (("loki", OTHER_LOKI), ("prometheus", PROMETHEUS))),
        store.set_settings("production", lambda old: old),
    )

    assert CURRENT not in memory.refused


class Collected(MemoryObjects):
    """A bucket in which the current release is replaced and collected just before `part` of it is read."""

    part = ""

    async def read(self, key: str, **options: Any) -> tuple[FileInfo, bytes]:
        if self.part and self.part in key and "/production/" in key:
            self.part = ""
            await ConfigStore(self).upload("loki", "production", NEWEST)
            await self.delete([key])
        return await super().read(key, **options)


async def _download(store: ConfigStore) -> str:
    return (await store.download("loki", "production")).text


async def _bundle(store: ConfigStore) -> str:
    return (await store.download_bundle("loki", "production")).files["loki.yaml"].text


async def _environment(store: ConfigStore) -> str:
    return (await store.download_environment("production"))["loki"].files["loki.yaml"].text


async def _backup(store: ConfigStore) -> str:
    backup = await store.backup("loki", "production")
    await store.restore(backup.key)
    return (await store.download("loki", "production")).text


@pytest.mark.parametrize("part", ["/releases/", "/blobs/"])
@pytest.mark.parametrize("read", [_download, _bundle, _environment, _backup])
async def test_a_reader_of_a_release_that_is_collected_meanwhile_reads_the_next_one(
    read: Callable[[ConfigStore], Awaitable[str]], part: str
) -> None:
    memory = Collected()
    await ConfigStore(memory).upload("loki", "production", OTHER_LOKI)
    memory.part = part

    assert await read(ConfigStore(memory)) == NEWEST


@pytest.mark.parametrize("part", ["/releases/", "/blobs/"])
async def test_a_reader_of_a_release_that_is_lost_says_so(part: str) -> None:
    memory = MemoryObjects()
    await ConfigStore(memory).upload("loki", "production", OTHER_LOKI)
    await memory.delete([key for key in memory.objects if part in key])

    with pytest.raises(StoreDamaged, match="is missing"):
        await _download(ConfigStore(memory))
