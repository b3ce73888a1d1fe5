import json

import pytest

from apm_s3.configs._models import Current
from apm_s3.configs._protocol.documents import encode_current
from apm_s3.configs._store import ConfigStore
from apm_s3.errors import ConfigNotFound, FormatTooNew, StoreDamaged
from apm_s3.testing import MemoryObjects
from tests.configs.samples import LOKI, OTHER_LOKI, PROMETHEUS

CURRENT = "configs/production/current.json"


@pytest.fixture
def store(memory: MemoryObjects) -> ConfigStore:
    return ConfigStore(memory)


def _forget_versions(memory: MemoryObjects) -> None:
    """As in a bucket that keeps none."""
    memory._history = {key: [stored] for key, stored in memory.objects.items()}


async def _two(store: ConfigStore) -> None:
    await store.upload("loki", "production", LOKI)
    await store.upload("loki", "production", OTHER_LOKI)
    await store.upload("prometheus", "production", PROMETHEUS)


async def test_a_sound_store_is_found_sound_and_left_alone(store: ConfigStore, memory: MemoryObjects) -> None:
    await _two(store)
    before = memory.objects[CURRENT]

    report = await store.fsck("production")
    await store.repair("production")

    assert report.ok
    assert (report.releases, report.blobs, report.copies, report.findings) == (3, 3, 2, ())
    assert memory.objects[CURRENT] == before


async def test_a_lost_reference_document_stops_writers_and_comes_back_from_its_last_version(
    store: ConfigStore, memory: MemoryObjects
) -> None:
    await _two(store)
    before = memory.objects[CURRENT][1]
    await memory.delete([CURRENT])

    assert not (await store.fsck("production")).ok
    with pytest.raises(StoreDamaged, match=r"current\.json.*is missing"):
        await store.upload("loki", "production", LOKI)
    with pytest.raises(StoreDamaged):
        await store.download("loki", "production")

    assert (await store.repair("production")).after.ok
    assert (await store.download("loki", "production")).text == OTHER_LOKI
    assert memory.objects[CURRENT][1] != before
    assert (await store.upload("loki", "production", LOKI)).revision == 3


async def test_a_reference_document_that_went_back_stops_writers_and_is_brought_forward(
    store: ConfigStore, memory: MemoryObjects
) -> None:
    await store.upload("loki", "production", LOKI)
    old = memory.objects[CURRENT][1]
    for text in (OTHER_LOKI, LOKI, OTHER_LOKI):
        await store.upload("loki", "production", text)
    await memory.put(CURRENT, old)

    with pytest.raises(StoreDamaged, match="ahead"):
        await store.upload("loki", "production", f"{LOKI}# new\n")

    await store.repair("production")
    assert [release.revision for release in await store.history("loki", "production")] == [4, 3, 2, 1]


async def test_without_versions_the_caller_chooses(store: ConfigStore, memory: MemoryObjects) -> None:
    await _two(store)
    newest = (await store.history("loki", "production"))[0].ref
    assert newest is not None
    await memory.delete([CURRENT])
    _forget_versions(memory)

    with pytest.raises(StoreDamaged, match="choose") as asked:
        await store.repair("production")
    assert newest.key in str(asked.value)

    only = (await store_documents(memory, "prometheus"))[-1]
    report = await store.repair("production", choose={"loki": newest.key, "prometheus": only})

    assert report.after.ok
    assert (await store.download("loki", "production")).text == OTHER_LOKI
    assert (await store.download("loki", "production")).revision == 3
    assert (await store.upload("loki", "production", LOKI)).revision == 4


async def test_a_lost_blob_comes_back_from_its_version(store: ConfigStore, memory: MemoryObjects) -> None:
    await _two(store)
    [blob, *_] = [key for key in memory.objects if "/loki/blobs/" in key]
    await memory.put(blob, b"something else")

    report = await store.fsck("production")
    assert [finding.key for finding in report.damage] == [blob]

    assert (await store.repair("production")).after.ok


async def test_a_release_whose_blob_is_lost_for_good_is_given_up_for_another(
    store: ConfigStore, memory: MemoryObjects
) -> None:
    await _two(store)
    first, second = (await store.history("loki", "production"))[::-1]
    await memory.delete([f"configs/production/loki/blobs/{second.files['loki.yaml'].blob}"])
    _forget_versions(memory)
    with pytest.raises(StoreDamaged):
        await store.download("loki", "production")
    assert first.ref is not None

    await store.repair("production", choose={"loki": first.ref.key})

    assert (await store.download("loki", "production")).text == LOKI
    assert (await store.upload("loki", "production", OTHER_LOKI)).revision == 4


async def test_copies_that_are_behind_are_brought_up_to_date(store: ConfigStore, memory: MemoryObjects) -> None:
    await _two(store)
    await memory.put("live/production/loki/loki.yaml", b"late", metadata={"apm-s3-sha256": "00"})
    await memory.delete(["live/production/prometheus/prometheus.yml"])

    report = await store.fsck("production")
    assert {finding.severity for finding in report.findings} == {"behind"}
    assert not report.ok

    assert (await store.repair("production")).after.ok
    assert memory.objects["live/production/loki/loki.yaml"][1] == OTHER_LOKI.encode()


async def test_the_good_mark_outlives_a_repair_that_takes_up_another_release(
    store: ConfigStore, memory: MemoryObjects
) -> None:
    await _two(store)
    await store.mark_good("loki", "production", 1)
    second, first = await store.history("loki", "production")
    assert first.ref is not None
    await memory.delete([f"configs/production/loki/blobs/{second.files['loki.yaml'].blob}"])
    _forget_versions(memory)

    await store.repair("production", choose={"loki": first.ref.key})

    await store.upload("loki", "production", OTHER_LOKI)
    assert (await store.rollback("loki", "production")).origin.revision == 1


async def test_a_good_mark_whose_release_is_lost_is_given_up(store: ConfigStore, memory: MemoryObjects) -> None:
    await _two(store)
    await store.mark_good("loki", "production", 1)
    second, first = await store.history("loki", "production")
    assert second.ref is not None
    await memory.delete([f"configs/production/loki/blobs/{first.files['loki.yaml'].blob}"])
    _forget_versions(memory)

    report = await store.repair("production", choose={"loki": second.ref.key})

    assert report.after.ok
    with pytest.raises(ConfigNotFound, match="marked good"):
        await store.rollback("loki", "production")


async def test_what_was_never_committed_is_a_leftover_and_no_damage(store: ConfigStore, memory: MemoryObjects) -> None:
    await _two(store)
    [key, *_] = await store_documents(memory, "loki")
    await memory.put(key.replace("00000001-", "00000003-"), memory.objects[key][1])

    report = await store.fsck("production")

    assert report.ok
    assert report.findings == ()
    assert report.leftovers == (key.replace("00000001-", "00000003-"),)
    assert str(report).count("\n") == 1
    assert (await store.upload("loki", "production", LOKI)).revision == 3


async def test_a_newer_format_is_never_written_over(store: ConfigStore, memory: MemoryObjects) -> None:
    await _two(store)
    document = json.loads(memory.objects[CURRENT][1])
    newer = json.dumps({**document, "format": 99, "needs": "9.0.0", "news": 1}).encode()
    await memory.put(CURRENT, newer)

    for call in (
        store.upload("loki", "production", LOKI),
        store.download("loki", "production"),
        store.repair("production"),
        store.freeze("production", "x"),
    ):
        with pytest.raises(FormatTooNew, match=r"9\.0\.0 or later"):
            await call
    assert memory.objects[CURRENT][1] == newer


async def test_writers_refuse_a_replica_until_they_are_told_that_they_fail_over(memory: MemoryObjects) -> None:
    replica = MemoryObjects("replica")
    await ConfigStore(memory).upload("loki", "production", LOKI)
    replica.objects = dict(memory.objects)

    with pytest.raises(RuntimeError, match="replica of bucket 'memory'"):
        await ConfigStore(replica).upload("loki", "production", OTHER_LOKI)

    assert (await ConfigStore(replica).download("loki", "production")).text == LOKI
    assert (await ConfigStore(replica, failover=True).upload("loki", "production", OTHER_LOKI)).revision == 2
    assert (await ConfigStore(replica).upload("loki", "production", LOKI)).revision == 3


async def test_a_replica_that_lags_behind_is_read_at_the_release_before(memory: MemoryObjects) -> None:
    replica = MemoryObjects("replica")
    store = ConfigStore(memory)
    await store.upload("loki", "production", LOKI)
    second = await store.upload("loki", "production", OTHER_LOKI)
    assert second.ref is not None
    replica.objects = {key: stored for key, stored in memory.objects.items() if key != second.ref.key}

    assert (await ConfigStore(replica).download("loki", "production")).text == LOKI


async def test_an_empty_reference_document_is_no_damage(store: ConfigStore, memory: MemoryObjects) -> None:
    await memory.put(CURRENT, encode_current(Current(0, ("production." + "aa" * 10,), "memory")))

    assert (await store.upload("loki", "production", LOKI)).revision == 1


async def store_documents(memory: MemoryObjects, tool: str) -> list[str]:
    """The keys of a tool's release documents."""
    return [info.key async for info in memory.list(f"configs/production/{tool}/releases/")]
