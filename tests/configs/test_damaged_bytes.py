"""One byte of one document is damaged: where it is stored, or once on its way. No commit is ever built on it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from apm_s3.configs import ConfigStore, EnvironmentSettings
from apm_s3.errors import AccessDenied, ApmS3Error, ConnectionLost, ObjectChanged, RevisionConflict, StoreDamaged
from apm_s3.models import FileInfo, FileVersion
from apm_s3.testing import MemoryObjects
from tests.configs.samples import LOKI, OTHER_LOKI
from tests.seams.cache import Cache, StoreCache
from tests.seams.cli import Status, explain
from tests.seams.store import S3Objects

ENV = "production"
CURRENT = f"configs/{ENV}/current.json"

Use = Callable[[ConfigStore], Awaitable[Any]]


class Damaging(MemoryObjects):
    """A bucket without checksums that returns one object with one wrong byte, the first `times` times that it is read.

    Attributes:
        salted: whether ETags are no MD5 sums, though they look like it, as with some encryption.
    """

    def __init__(self) -> None:
        super().__init__("memory", now=1_767_225_600.0)
        self.key, self.place, self.times = "", 0, 0
        self.salted = False

    def damage(self, key: str, place: int, times: int) -> None:
        self.key, self.place, self.times = key, place, times

    async def read(self, key: str, **options: Any) -> tuple[FileInfo, bytes]:
        info, body = await super().read(key, **options)
        if key == self.key and self.times > 0:
            self.times -= 1
            body = body[: self.place] + bytes([body[self.place] ^ 1]) + body[self.place + 1 :]
        return info, body

    async def put(self, key: str, body: bytes, **options: Any) -> FileInfo:
        info = await super().put(key, body, **options)
        if not self.salted:
            return info
        info = info._replace(etag=f'"{hashlib.md5(body + b"salt").hexdigest()}"')
        self.objects[key] = info, body
        return info


@pytest.fixture
def memory() -> Damaging:
    return Damaging()


@pytest.fixture
def store(memory: Damaging) -> ConfigStore:
    return ConfigStore(memory, require_conditional_writes=False)


@dataclass(frozen=True)
class Case:
    """Objects, by a part of their keys, and a call that reads them.

    Attributes:
        entries: commits that fill the log first.
        step: every how many bytes one is damaged; a part of the log is long, and one hash covers all of it.
    """

    part: str
    use: Use
    entries: int = 0
    step: int = 1


async def fill(store: ConfigStore, entries: int) -> None:
    """Two revisions of a tool, the good one marked, and a backup."""
    await store.upload("loki", ENV, LOKI, message="the first")
    for number in range(entries):
        await store.mark_good("loki", ENV, message=f"{number}")
    await store.upload("loki", ENV, OTHER_LOKI, message="the second")
    await store.backup("loki", ENV)


async def _restore(store: ConfigStore) -> None:
    [backup] = await store.list_backups(ENV)
    await store.restore(backup.key)


CASES = {
    "the reference document": Case("/current.json", lambda store: store.mark_good("loki", ENV), entries=1),
    "the current release": Case("/releases/00000002", lambda store: store.upload("loki", ENV, LOKI)),
    "a stored part of the log": Case("/log/", lambda store: store.log(ENV), entries=66, step=101),
    "the blob of the current release": Case("/blobs/", lambda store: store.download_bundle("loki", ENV)),
    "the manifest of a backup": Case("/manifest.json", _restore),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_a_wrong_byte_is_refused_where_it_is_stored_and_read_again_on_its_way(
    memory: Damaging, store: ConfigStore, case: Case
) -> None:
    await fill(store, case.entries)
    before = dict(memory.objects)
    key = max(key for key in before if case.part in key)
    if case.part == "/blobs/":
        key = key.rpartition("/")[0] + "/" + (await store.download_bundle("loki", ENV)).release.files["loki.yaml"].blob
    for place in range(0, before[key][0].size, case.step):
        memory.damage(key, place, times=1_000)
        with pytest.raises(ApmS3Error):
            await case.use(store)
        assert memory.objects[CURRENT] == before[CURRENT], place

        memory.damage(key, place, times=1)
        await case.use(store)
        assert memory.times == 0, place
        await store.log(ENV)  # verifies the hash of each entry
        memory.objects = dict(before)


async def test_where_etags_are_no_md5_sums_nothing_is_taken_for_damaged(memory: Damaging, store: ConfigStore) -> None:
    memory.salted = True
    memory.will_fail("delete", AccessDenied("no", status=403))
    await store.set_settings(ENV, EnvironmentSettings(keep_revisions=5), create=True)
    await fill(ConfigStore(memory, require_conditional_writes=False), 1)

    assert (await ConfigStore(memory).upload("loki", ENV, LOKI)).revision == 3
    assert (await ConfigStore(memory).fsck(ENV)).ok


async def _no_versions(_: str) -> AsyncGenerator[FileVersion, None]:
    return
    yield


@pytest.mark.parametrize("versioned", [True, False])
async def test_a_byte_that_is_wrong_in_the_bucket_is_found_and_mended(
    memory: Damaging, store: ConfigStore, monkeypatch: pytest.MonkeyPatch, versioned: bool
) -> None:
    await fill(store, 1)
    info, body = memory.objects[CURRENT]
    memory.objects[CURRENT] = info, body.replace(b"the second", b"the sec0nd")
    if not versioned:
        monkeypatch.setattr(memory, "versions", _no_versions)

    assert not (await store.fsck(ENV)).ok
    with pytest.raises(StoreDamaged, match="the MD5 that is its ETag"):
        await store.freeze(ENV, "an incident")
    report = await store.repair(ENV)

    assert report.after.ok
    assert any("cannot be proven" in action for action in report.actions) is not versioned
    message = "the second" if versioned else "the sec0nd"
    assert message in [entry.message for entry in await store.log(ENV)]


async def test_no_write_is_built_again_on_a_broken_log_that_another_writer_has_left(
    memory: Damaging, store: ConfigStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(store, 3)
    put = memory.put

    async def late(key: str, body: bytes, **options: Any) -> FileInfo:
        if key == CURRENT:
            monkeypatch.setattr(memory, "put", put)
            await put(CURRENT, memory.objects[CURRENT][1].replace(b'"message":"1"', b'"message":"7"'))
        return await put(key, body, **options)

    monkeypatch.setattr(memory, "put", late)
    with pytest.raises(StoreDamaged, match="one was changed"):
        await store.mark_good("loki", ENV, 1)
    assert b'"message":"7"' in memory.objects[CURRENT][1]


async def test_a_document_that_came_damaged_is_not_confirmed_later(memory: Damaging, store: ConfigStore) -> None:
    await fill(store, 1)
    cache = Cache(max_entries=100, max_bytes=1024**2, ttl=None)
    store = ConfigStore(memory, cache=StoreCache(cache), require_conditional_writes=False)
    memory.damage(CURRENT, memory.objects[CURRENT][1].index(b"the second"), times=2)
    await store.log(ENV)

    await store.mark_good("loki", ENV)

    await cache.aclose()


def _with_checksum(memory: MemoryObjects) -> Callable[..., Awaitable[tuple[FileInfo, bytes]]]:
    async def read(key: str, **options: Any) -> tuple[FileInfo, bytes]:
        info, body = await MemoryObjects.read(memory, key, **options)
        return info._replace(checksums={"crc32": "verified by the transport"}), body

    return read


async def test_a_document_with_a_checksum_is_not_held_against_its_etag(
    memory: Damaging, store: ConfigStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "read", _with_checksum(memory))
    memory.salted = True
    memory.will_fail("delete", StoreDamaged("an object was stored to see its ETag"), times=None)

    await store.set_settings(ENV, EnvironmentSettings(keep_revisions=5), create=True)


async def _broken(memory: Damaging, store: ConfigStore) -> None:
    """Change an entry of the log, as an older version did that committed on top of a damaged byte."""
    await fill(store, 3)
    body = memory.objects[CURRENT][1].replace(b'"message":"1"', b'"message":"7"')
    await memory.put(CURRENT, body)


async def test_a_changed_entry_of_the_log_is_restored_from_an_older_version(
    memory: Damaging, store: ConfigStore
) -> None:
    await _broken(memory, store)
    with pytest.raises(StoreDamaged, match="entry 4 does not have the hash of entry 3: one was changed"):
        await store.upload("loki", ENV, LOKI)

    report = await store.repair(ENV)

    assert "entry 3 of the log was restored" in report.actions
    assert report.after.ok
    assert [entry.message for entry in await store.log(ENV)][1:5] == ["the second", "2", "1", "0"]
    assert (await store.upload("loki", ENV, LOKI)).revision == 3


async def test_a_changed_entry_without_a_copy_is_kept_and_marked_as_unproven(
    memory: Damaging, store: ConfigStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "versions", _no_versions)
    await _broken(memory, store)

    report = await store.repair(ENV)

    proof = "the log was kept, but cannot be proven: entry 4 does not have the hash of entry 3: one was changed"
    assert proof in report.actions
    assert report.after.ok
    assert [each.problem for each in report.after.lost] == ["entry 4 of the log does not prove the entry before it"]
    assert "7" in [entry.message for entry in await store.log(ENV)]
    assert (await store.upload("loki", ENV, LOKI)).revision == 3
    assert (await store.repair(ENV)).actions == ("live copies of loki were compared and refreshed",)


RULES = "groups: []\n"
BIG = f"{LOKI}# {'long ' * 4_000}\n"
FILES = {"loki.yaml": BIG, "rules/a.yaml": RULES}


async def _damage_blobs(memory: MemoryObjects, damage: str) -> None:
    """Damage each blob of the store: its bytes, with the same or another size, or the whole object."""
    for key in [key for key in memory.objects if "/blobs/" in key]:
        if damage == "deleted":
            await memory.delete([key])
        else:
            body = memory.objects[key][1]
            await memory.put(key, body[:-1] + (b"?" if damage == "same size" else b""))


@pytest.mark.parametrize("skip_unchanged", [False, True])
@pytest.mark.parametrize("damage", ["same size", "other size", "deleted"])
async def test_pushing_good_files_over_damaged_blobs_heals_them(
    memory: Damaging, store: ConfigStore, damage: str, skip_unchanged: bool
) -> None:
    await store.upload("loki", ENV, files=FILES)
    await _damage_blobs(memory, damage)
    with pytest.raises(StoreDamaged):
        await store.download_bundle("loki", ENV)

    release = await store.upload("loki", ENV, files=FILES, skip_unchanged=skip_unchanged)

    assert release.revision == 2
    for revision in (1, 2):  # they share the blobs
        bundle = await store.download_bundle("loki", ENV, revision=revision)
        assert {name: file.text for name, file in bundle.files.items()} == FILES
    assert (await store.fsck(ENV)).ok


async def test_a_rollback_does_not_take_over_a_damaged_blob(memory: Damaging, store: ConfigStore) -> None:
    await store.upload("loki", ENV, files=FILES)
    await store.upload("loki", ENV, files={**FILES, "loki.yaml": LOKI})
    rules = max(key for key in memory.objects if "/blobs/" in key and memory.objects[key][1] == RULES.encode())
    await memory.put(rules, b"?")

    with pytest.raises(StoreDamaged):
        await store.rollback("loki", ENV, to_revision=1)

    assert (await store.status(ENV))[0].revision == 2


async def test_a_rollback_whose_files_were_collected_after_another_write_is_a_conflict(
    memory: Damaging, store: ConfigStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.upload("loki", ENV, files=FILES)
    await store.upload("loki", ENV, files={**FILES, "loki.yaml": LOKI})
    listed = memory.list

    async def late(prefix: str, **options: Any) -> AsyncGenerator[FileInfo, None]:
        if "/blobs/" in prefix:
            monkeypatch.setattr(memory, "list", listed)
            await store.upload("loki", ENV, files={"loki.yaml": LOKI})
            await memory.delete([key for key in memory.objects if "/blobs/" in key])
        async for info in listed(prefix, **options):
            yield info

    monkeypatch.setattr(memory, "list", late)
    with pytest.raises(RevisionConflict):
        await ConfigStore(memory, require_conditional_writes=False).rollback("loki", ENV, to_revision=1)


@pytest.mark.parametrize("etags", ["MD5 sums", "others", "others, and checksums"])
async def test_intact_blobs_that_are_taken_over_are_not_read(
    memory: Damaging, store: ConfigStore, monkeypatch: pytest.MonkeyPatch, etags: str
) -> None:
    memory.salted = etags != "MD5 sums"
    if etags == "others, and checksums":
        monkeypatch.setattr(memory, "read", _with_checksum(memory))
    await store.upload("loki", ENV, files=FILES)
    for key in [key for key in memory.objects if "/blobs/" in key]:
        memory.will_fail("read", ConnectionLost("it is read"), key=key, times=None)

    other = ConfigStore(memory, require_conditional_writes=False)
    assert (await other.upload("loki", ENV, files={**FILES, "rules/b.yaml": RULES})).revision == 2


@pytest.mark.parametrize(
    ("verb", "key"), [("read", "/current.json"), ("list", "/releases/"), ("put", "-{id}"), ("put", "-{id}.json")]
)
async def test_an_error_before_the_commit_was_sent_claims_no_change(
    memory: Damaging, store: ConfigStore, verb: Literal["read", "list", "put"], key: str
) -> None:
    await fill(store, 1)
    write_id = store.new_write_id(ENV)
    memory.will_fail(verb, ConnectionLost("cut"), key=key.replace("{id}", write_id))

    with pytest.raises(ConnectionLost) as caught:
        await store.upload("loki", ENV, LOKI, write_id=write_id)

    assert not caught.value.may_have_happened
    assert explain(caught.value, changes=True).status is Status.FAILED


class Replacing:
    """A manager whose first reads are cut, and whose object is replaced before they go on."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.info = FileInfo("b", "k", 4)

    @asynccontextmanager
    async def download_file(self, bucket: str, key: str, options: object) -> AsyncIterator[Replacing]:
        yield self

    async def read(self) -> bytes:
        self.times -= 1
        if self.times >= 0:
            raise ObjectChanged("the object was replaced")
        return b"good"


async def test_an_object_that_is_replaced_while_it_is_read_is_read_again() -> None:
    manager: Any = Replacing(2)
    assert (await S3Objects(manager, "b").read("k"))[1] == b"good"

    manager = Replacing(3)
    with pytest.raises(ObjectChanged) as caught:
        await S3Objects(manager, "b").read("k")
    assert not caught.value.may_have_happened  # it was a read
