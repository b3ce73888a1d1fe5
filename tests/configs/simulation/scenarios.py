"""Short scenes on a bucket in memory, for rules that no interleaving of healthy processes tests."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from apm_s3.configs import CommitOutcome, ConfigStore, Release
from apm_s3.errors import CommitUnknown, ConnectionLost, RevisionConflict, StoreDamaged, Throttled
from apm_s3.models import FileInfo
from apm_s3.testing import MemoryObjects
from tests.configs.samples import LOKI, OTHER_LOKI
from tests.seams.store import bucket_of

CURRENT = "configs/production/current.json"


async def made_anew() -> None:
    """While a writer is on its way, its environment is deleted and made anew, up to the same revision."""
    memory = MemoryObjects()
    store, other = ConfigStore(memory), ConfigStore(memory)
    await store.upload("loki", "production", LOKI)
    put = memory.put

    async def overtaken(key: str, body: bytes, **options: Any) -> FileInfo:
        if key == CURRENT and options.get("if_match"):
            memory.put = put
            await memory.delete([each for each in memory.objects if each.startswith("configs/production/")])
            await other.upload("loki", "production", f"{LOKI}# anew\n")
        return await put(key, body, **options)

    memory.put = overtaken
    with pytest.raises(RevisionConflict):
        await store.upload("loki", "production", OTHER_LOKI)
    assert (await store.download("loki", "production")).text == f"{LOKI}# anew\n"


async def main_file_last() -> None:
    """Plain clients that see the new main file find the files that it names."""
    memory = MemoryObjects()
    store = ConfigStore(memory)
    put, order = memory.put, []

    async def noted(key: str, body: bytes, **options: Any) -> FileInfo:
        # Later files arrive sooner: only who waits for all of them is last.
        await asyncio.sleep(0)
        if key.startswith("live/"):
            order.append(key.rpartition("loki/")[2])
        return await put(key, body, **options)

    memory.put = noted
    rules = {f"rules/{number}.yaml": f"groups: []\n# {number}\n" for number in range(5)}
    await store.upload("loki", "production", files={"loki.yaml": LOKI, **rules})
    assert (len(order), order[-1]) == (6, "loki.yaml")
    await store.upload("loki", "production", files={"loki.yaml": OTHER_LOKI, "z.yaml": "groups: []\n"})
    assert order[6:] == ["z.yaml", "loki.yaml"]


async def known_copy() -> None:
    """A copy that one process wrote, and another one has replaced since, is put right by the first one's next write."""
    memory = MemoryObjects()
    store, other = ConfigStore(memory), ConfigStore(memory)
    live = "live/production/loki/rules/a.yaml"
    await store.upload("loki", "production", files={"loki.yaml": LOKI, "rules/a.yaml": "groups: []\n# 1\n"})
    await other.upload("loki", "production", files={"loki.yaml": LOKI, "rules/a.yaml": "groups: []\n# 2\n"})
    memory.will_fail("put", Throttled("slow down", status=503), key=live)
    assert (await other.rollback("loki", "production", to_revision=1)).live_pending

    assert not (await store.upload("loki", "production", OTHER_LOKI)).live_pending

    assert memory.objects[live][1] == b"groups: []\n# 1\n"
    assert memory.objects["live/production/loki/loki.yaml"][1] == OTHER_LOKI.encode()


def lose_a_response(memory: MemoryObjects, meanwhile: Callable[[], Awaitable[None]], *, arrives: bool = True) -> None:
    """Lose the response to the next commit in `memory`, after `meanwhile`; if not `arrives`, its request as well."""
    put = memory.put

    async def unanswered(key: str, body: bytes, **options: Any) -> FileInfo:
        if key != CURRENT or not options.get("if_match"):
            return await put(key, body, **options)
        memory.put = put
        if arrives:
            await put(key, body, **options)
        await meanwhile()
        raise ConnectionLost("no answer", operation="put")

    memory.put = unanswered


async def change_a_hundred_times(store: ConfigStore) -> None:
    for _ in range(100):
        await store.mark_good("loki", "production")


async def overrun() -> None:
    """The response to a commit is lost, and a hundred others are made before the writer reads the document again."""
    memory = MemoryObjects()
    store, other = ConfigStore(memory), ConfigStore(memory)
    await store.upload("loki", "production", LOKI)

    lose_a_response(memory, lambda: change_a_hundred_times(other))
    release = await store.upload("loki", "production", OTHER_LOKI)
    assert (release.revision, [each.revision for each in await store.history("loki", "production")]) == (2, [2, 1])


async def overrun_by_another() -> None:
    """A commit does not arrive, and another one of the same revision does, with a hundred changes after it."""
    memory = MemoryObjects()
    store, other = ConfigStore(memory), ConfigStore(memory)
    await store.upload("loki", "production", LOKI)

    async def meanwhile() -> None:
        await other.upload("loki", "production", f"{LOKI}# another\n")
        await other.upload("loki", "production", f"{LOKI}# and another\n")
        await change_a_hundred_times(other)

    lose_a_response(memory, meanwhile, arrives=False)
    with pytest.raises(RevisionConflict):
        await store.upload("loki", "production", OTHER_LOKI)


async def overrun_and_unreadable() -> None:
    """The response to a commit is lost, and the history that would show it cannot be read after a hundred others."""
    memory = MemoryObjects()
    store, other = ConfigStore(memory), ConfigStore(memory)
    await store.upload("loki", "production", LOKI)

    async def meanwhile() -> None:
        release = await other.upload("loki", "production", f"{LOKI}# another\n")
        await change_a_hundred_times(other)
        assert release.ref is not None
        del memory.objects[release.ref.key]

    lose_a_response(memory, meanwhile)
    with pytest.raises(CommitUnknown):
        await store.upload("loki", "production", OTHER_LOKI)


async def lost_commits() -> None:
    """An old copy of the reference document is put in its place: it knows less than its bucket has."""
    memory = MemoryObjects()
    await ConfigStore(memory).upload("loki", "production", LOKI)
    before = memory.objects[CURRENT]
    for number in range(2):
        await ConfigStore(memory).upload("loki", "production", f"{LOKI}# {number}\n")
    memory.objects[CURRENT] = before
    with pytest.raises(StoreDamaged, match="is ahead of the current revision 1"):
        await ConfigStore(memory).upload("loki", "production", OTHER_LOKI)
    assert memory.objects[CURRENT] == before


async def asked_too_soon() -> None:
    """Another process asks for the outcome of a write that has stored its documents and is about to commit."""
    memory = MemoryObjects()
    store, other = ConfigStore(memory), ConfigStore(memory)
    await store.upload("loki", "production", LOKI)
    write_id = store.new_write_id("production")
    put, told = memory.put, []

    async def asked(key: str, body: bytes, **options: Any) -> FileInfo:
        if key == CURRENT and options.get("if_match"):
            memory.put = put
            told.append(await other.outcome(write_id))
        return await put(key, body, **options)

    memory.put = asked
    await store.upload("loki", "production", OTHER_LOKI, write_id=write_id)
    assert told == [CommitOutcome.PENDING]
    assert await other.outcome(write_id) is CommitOutcome.WON


async def cancelled_late() -> None:
    """A caller is cancelled while the live copies are brought up to date."""
    memory = MemoryObjects()
    store = ConfigStore(memory)
    put, reached, go_on = memory.put, asyncio.Event(), asyncio.Event()

    async def held(key: str, body: bytes, **options: Any) -> FileInfo:
        if key.startswith("live/"):
            reached.set()
            await go_on.wait()
        return await put(key, body, **options)

    memory.put = held
    task = asyncio.create_task(store.upload("loki", "production", LOKI))
    await reached.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    go_on.set()
    await store.finish()
    assert "live/production/loki/loki.yaml" in memory.objects


async def overtaken_refresh() -> None:
    """A refresh of the live copies is so slow that the next release is there, and its copies, before it writes."""
    memory = MemoryObjects()
    store, other = ConfigStore(memory), ConfigStore(memory)
    put = memory.put

    async def slow(key: str, body: bytes, **options: Any) -> FileInfo:
        if key.startswith("live/"):
            memory.put = put
            await other.upload("loki", "production", OTHER_LOKI)
        return await put(key, body, **options)

    memory.put = slow
    await store.upload("loki", "production", LOKI)
    assert memory.objects["live/production/loki/loki.yaml"][1].decode() == OTHER_LOKI


async def _revisions(memory: MemoryObjects, count: int) -> tuple[ConfigStore, list[Release]]:
    store = ConfigStore(memory)
    made = [await store.upload("loki", "production", f"{LOKI}# revision {number}\n") for number in range(count)]
    return store, made


async def lost_document() -> None:
    """A repair keeps what is before a document that is lost."""
    memory = MemoryObjects()
    store, made = await _revisions(memory, 5)
    lost = made[2].ref
    assert lost is not None
    await memory.delete([lost.key])
    bucket_of(memory).history.pop(lost.key)

    report = await store.repair("production")

    assert [release.revision for release in await store.history("loki", "production")] == [5, 4, 2, 1]
    assert report.after.leftovers == ()


async def spoilt_source() -> None:
    """A rollback makes nothing current that cannot be read."""
    memory = MemoryObjects()
    store, made = await _revisions(memory, 2)
    await memory.put(f"configs/production/loki/blobs/{made[0].files['loki.yaml'].blob}", b"x" * 10)
    with pytest.raises(StoreDamaged):
        await store.rollback("loki", "production", to_revision=1)
    assert (await store.download("loki", "production")).revision == 2


async def other_environment() -> None:
    """A reference document that leads to another environment's release serves nothing."""
    memory = MemoryObjects()
    store = ConfigStore(memory)
    await store.upload("loki", "production", LOKI)
    await store.upload("loki", "staging", OTHER_LOKI)
    current = json.loads(memory.objects[CURRENT][1])
    current["tools"] = json.loads(memory.objects["configs/staging/current.json"][1])["tools"]
    await memory.put(CURRENT, json.dumps(current).encode())
    with pytest.raises(StoreDamaged):
        await store.download("loki", "production")


async def renamed_release() -> None:
    """A release document that says it is of another environment is not served, whatever its hash."""
    memory = MemoryObjects()
    store, made = await _revisions(memory, 1)
    assert made[0].ref is not None
    document = json.loads(memory.objects[made[0].ref.key][1]) | {"tool": "prometheus"}
    body = json.dumps(document).encode()
    await memory.put(made[0].ref.key, body)
    current = json.loads(memory.objects[CURRENT][1])
    current["tools"]["loki"]["release"]["sha256"] = hashlib.sha256(body).hexdigest()
    await memory.put(CURRENT, json.dumps(current).encode())
    with pytest.raises(StoreDamaged):
        await store.history("loki", "production")
