import ast
import json
import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from apm_s3.configs import CommitOutcome, ConfigStore, EnvironmentSettings, Release
from apm_s3.errors import ConfigNotFound, ConnectionLost, EnvironmentFrozen, FormatTooNew, InvalidOption, StoreDamaged
from apm_s3.testing import MemoryObjects
from tests.configs.samples import LOKI, OTHER_LOKI, PROMETHEUS, RULES
from tests.seams.store import HASH_METADATA, Current, bucket_of, encode_current

CURRENT = "configs/production/current.json"


@pytest.fixture
def store(memory: MemoryObjects) -> ConfigStore:
    return ConfigStore(memory)


def _forget_versions(memory: MemoryObjects) -> None:
    """As in a bucket that keeps none."""
    bucket_of(memory).history = {key: [stored] for key, stored in memory.objects.items()}


async def lose(memory: MemoryObjects, *keys: str) -> None:
    """Delete them for good, and whatever else still has their content."""
    hashes = {key.rpartition("/")[2][:64] for key in keys if "/blobs/" in key}
    copies = [key for key, (info, _) in memory.objects.items() if (info.metadata or {}).get(HASH_METADATA) in hashes]
    await memory.delete([*keys, *copies])
    _forget_versions(memory)


def _blob(release: Release, name: str = "loki.yaml") -> str:
    return f"configs/production/loki/blobs/{release.files[name].blob}"


def _document(release: Release) -> str:
    assert release.ref is not None
    return release.ref.key


async def _many(store: ConfigStore, count: int) -> dict[int, Release]:
    """Revisions 1 to `count`, each with a content of its own."""
    return {
        number: await store.upload("loki", "production", f"{LOKI}# revision {number}\n")
        for number in range(1, count + 1)
    }


async def _revisions(store: ConfigStore) -> list[int]:
    return [release.revision for release in await store.history("loki", "production")]


async def _two(store: ConfigStore) -> None:
    await store.upload("loki", "production", LOKI)
    await store.upload("loki", "production", OTHER_LOKI)
    await store.upload("prometheus", "production", PROMETHEUS)


async def test_an_intact_store_is_reported_intact_and_left_unchanged(store: ConfigStore, memory: MemoryObjects) -> None:
    await _two(store)
    before = memory.objects[CURRENT]

    report = await store.fsck("production")
    await store.repair("production")

    assert report.ok
    assert (report.releases, report.blobs, report.copies, report.findings) == (3, 3, 2, ())
    assert memory.objects[CURRENT] == before


async def test_a_lost_reference_document_stops_writers_and_is_restored_from_its_last_version(
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


async def test_an_old_reference_document_stops_writers_and_is_brought_up_to_date(
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


async def test_without_object_versions_the_caller_chooses_what_to_restore(
    store: ConfigStore, memory: MemoryObjects
) -> None:
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


async def test_a_lost_current_release_is_damage_until_a_repair_has_replaced_it(
    store: ConfigStore, memory: MemoryObjects
) -> None:
    made = await _many(store, 3)
    await lose(memory, _document(made[3]))

    for _ in range(2):
        report = await store.fsck("production")
        assert ([each.severity for each in report.damage], report.ok) == (["damage"], False)
        for refused in (
            store.upload("loki", "production", files={"loki.yaml": LOKI}, force="an incident"),
            store.rollback("loki", "production", to_revision=1),
        ):
            with pytest.raises(StoreDamaged, match="loki cannot be changed before a repair has replaced it"):
                await refused
        with pytest.raises(StoreDamaged, match=r"repair\('production', choose=\{'loki': 2\}\)"):
            await store.repair("production")

    assert (await store.repair("production", choose={"loki": 2})).after.ok
    assert (await store.download("loki", "production")).text == f"{LOKI}# revision 2\n"
    assert (await store.upload("loki", "production", files={"loki.yaml": LOKI})).revision == 5


@pytest.mark.parametrize("reference_document_too", [False, True])
async def test_a_tool_without_any_intact_release_begins_anew(
    store: ConfigStore, memory: MemoryObjects, reference_document_too: bool
) -> None:
    made = await _many(store, 1)
    await memory.put(_document(made[1]), b"garbage")
    _forget_versions(memory)
    if reference_document_too:
        await lose(memory, CURRENT)

    with pytest.raises(StoreDamaged, match=r"begin anew with 0.*choose=\{'loki': 0\}"):
        await store.repair("production")
    report = await store.repair("production", choose={"loki": 0})

    assert (report.after.ok, await store.list()) == (True, ())
    assert (await store.upload("loki", "production", LOKI)).revision == 3
    assert (await store.fsck("production")).ok


async def test_one_damaged_document_takes_neither_the_status_nor_the_history_of_the_others(
    store: ConfigStore, memory: MemoryObjects
) -> None:
    made = await _many(store, 4)
    await store.upload("prometheus", "production", PROMETHEUS)
    await store.upload("prometheus", "staging", PROMETHEUS)
    await memory.put(_document(made[4]), b"garbage")
    await memory.put(_document(made[2]), b"garbage")
    await memory.put("configs/staging/current.json", b"garbage")

    rows = await store.status()
    assert [(each.environment, each.tool, each.revision, each.damaged is None) for each in rows] == [
        ("production", "loki", 4, False), ("production", "prometheus", 1, True), ("staging", "prometheus", 0, False),
    ]  # fmt: skip
    with pytest.raises(StoreDamaged, match=r"current\.json' is not valid JSON"):
        await store.status("staging")
    for limit, whole, lost in ((None, [3, 1], {4, 2}), (2, [3], {4})):
        with pytest.raises(StoreDamaged) as damaged:
            await store.history("loki", "production", limit=limit)
        assert ([each.revision for each in damaged.value.releases], damaged.value.lost.keys()) == (whole, lost)


async def test_a_dry_run_reports_what_a_repair_does_and_changes_nothing(
    store: ConfigStore, memory: MemoryObjects
) -> None:
    made = await _many(store, 3)
    await lose(memory, _document(made[2]), _document(made[3]))
    await memory.put(_blob(made[1]), b"garbage")
    before = dict(memory.objects)

    with pytest.raises(StoreDamaged, match=r"choose=\{'loki': "):
        await store.repair("production", dry_run=True)
    planned = await store.repair("production", choose={"loki": 1}, dry_run=True)
    assert memory.objects == before
    assert not (await store.fsck("production")).ok
    done = await store.repair("production", choose={"loki": 1})

    assert (planned.after.ok, planned.after.releases) == (True, done.after.releases)
    assert [each.replace("to be ", "").replace("would be", "was") for each in planned.actions] == [
        each.replace("copies of loki were", "copies of loki was") for each in done.actions
    ]
    assert (await store.fsck("production")).ok


async def test_a_choice_that_does_not_fit_is_refused(store: ConfigStore, memory: MemoryObjects) -> None:
    made = await _many(store, 3)
    await lose(memory, _document(made[3]))

    for choice, error in ((0, InvalidOption), (9, ConfigNotFound), ("configs/x", ConfigNotFound), (3, ConfigNotFound)):
        with pytest.raises(error):
            await store.repair("production", choose={"loki": choice})
    with pytest.raises(InvalidOption):
        await store.repair("production", choose={"lokki": 2})
    assert (await store.repair("production", choose={"loki": 1})).after.ok
    unneeded = await store.repair("production", choose={"loki": 1})
    assert "loki: no choice was needed; it stays as it is" in unneeded.actions
    assert await _revisions(store) == [4, 2, 1]


async def test_an_old_reference_document_without_newer_versions_needs_a_choice(
    store: ConfigStore, memory: MemoryObjects
) -> None:
    await store.upload("loki", "production", LOKI)
    await store.mark_good("loki", "production", 1)
    old = memory.objects[CURRENT][1]
    made = await _many(store, 3)
    await memory.put(CURRENT, old)
    _forget_versions(memory)
    await lose(memory, _document(made[2]))

    with pytest.raises(StoreDamaged, match="choose"):
        await store.repair("production")
    report = await store.repair("production", choose={"loki": _document(made[3])})

    assert report.after.ok
    # Revision 3 is lost, and what the old document knew is kept.
    assert await _revisions(store) == [5, 4, 2, 1]
    assert (await store.download("loki", "production")).text == f"{LOKI}# revision 3\n"
    assert (await store.history("loki", "production"))[-1].write_id != made[1].write_id
    current = json.loads(memory.objects[CURRENT][1])["tools"]["loki"]
    assert current["good"]["revision"] == 1
    assert [(each["first"], each["last"]) for each in current["damaged"]] == [(3, 3)]


async def test_a_lost_blob_is_restored_from_its_version(store: ConfigStore, memory: MemoryObjects) -> None:
    await _two(store)
    [blob, *_] = [key for key in memory.objects if "/loki/blobs/" in key]
    await memory.put(blob, b"something else")

    report = await store.fsck("production")
    assert [finding.key for finding in report.damage] == [blob]

    assert (await store.repair("production")).after.ok


async def test_a_release_with_a_permanently_lost_blob_is_replaced_by_another(
    store: ConfigStore, memory: MemoryObjects
) -> None:
    await _two(store)
    first, second = (await store.history("loki", "production"))[::-1]
    await lose(memory, _blob(second))
    with pytest.raises(StoreDamaged):
        await store.download("loki", "production")
    assert first.ref is not None

    await store.repair("production", choose={"loki": first.ref.key})

    assert (await store.download("loki", "production")).text == LOKI
    assert (await store.upload("loki", "production", OTHER_LOKI)).revision == 4


async def test_outdated_live_copies_are_updated(store: ConfigStore, memory: MemoryObjects) -> None:
    await _two(store)
    await memory.put("live/production/loki/loki.yaml", b"late", metadata={"apm-s3-sha256": "00"})
    await memory.delete(["live/production/prometheus/prometheus.yml"])

    report = await store.fsck("production")
    assert {finding.severity for finding in report.findings} == {"behind"}
    assert not report.ok

    assert (await store.repair("production")).after.ok
    assert memory.objects["live/production/loki/loki.yaml"][1] == OTHER_LOKI.encode()


async def test_the_good_mark_survives_a_repair_that_chooses_another_release(
    store: ConfigStore, memory: MemoryObjects
) -> None:
    await _two(store)
    await store.mark_good("loki", "production", 1)
    second, first = await store.history("loki", "production")
    assert first.ref is not None
    await lose(memory, _blob(second))

    await store.repair("production", choose={"loki": first.ref.key})

    await store.upload("loki", "production", OTHER_LOKI)
    assert (await store.rollback("loki", "production")).origin.revision == 1


async def test_a_good_mark_on_a_lost_release_is_reported(store: ConfigStore, memory: MemoryObjects) -> None:
    await _two(store)
    await store.mark_good("loki", "production", 1)
    await lose(memory, _blob((await store.history("loki", "production"))[1]))

    report = await store.repair("production")

    assert report.after.ok
    with pytest.raises(StoreDamaged, match="revision 1 of loki in 'production' is damaged"):
        await store.rollback("loki", "production")


@pytest.mark.parametrize("what", [_blob, _document])
async def test_a_lost_old_revision_affects_no_other_and_needs_no_choice(
    what: Callable[[Release], str], store: ConfigStore, memory: MemoryObjects
) -> None:
    made = await _many(store, 10)
    await lose(memory, what(made[2]))
    await memory.delete(["live/production/loki/loki.yaml"])
    assert not (await store.fsck("production")).ok

    report = await store.repair("production")

    assert report.after.ok
    assert report.after.leftovers == report.after.retired == ()
    assert [finding.revision for finding in report.after.lost] == [2]
    assert memory.objects["live/production/loki/loki.yaml"][1].decode() == f"{LOKI}# revision 10\n"
    history = await store.history("loki", "production")
    assert [release.revision for release in history if not release.damaged] == [10, 9, 8, 7, 6, 5, 4, 3, 1]
    for number in (10, 9, 8, 7, 6, 5, 4, 3, 1):
        assert (await store.download("loki", "production", revision=number)).text == f"{LOKI}# revision {number}\n"
    for call in (
        store.download("loki", "production", revision=2),
        store.download_bundle("loki", "production", revision=2),
        store.rollback("loki", "production", to_revision=2),
        store.mark_good("loki", "production", 2),
        store.diff("loki", "production", 2, 10),
    ):
        with pytest.raises(StoreDamaged, match="revision 2 of loki in 'production' is damaged"):
            await call
    assert (await store.rollback("loki", "production", to_revision=1)).revision == 11
    assert await store.outcome(made[1].write_id) == CommitOutcome.WON


async def test_before_the_repair_a_rollback_to_a_damaged_revision_reports_damage(
    store: ConfigStore, memory: MemoryObjects
) -> None:
    made = await _many(store, 3)
    before = memory.objects[CURRENT]
    for spoil in (lambda: memory.delete([_blob(made[1])]), lambda: memory.put(_blob(made[1]), LOKI.encode())):
        await spoil()
        with pytest.raises(StoreDamaged, match="blob"):
            await store.rollback("loki", "production", to_revision=1)
        assert memory.objects[CURRENT] == before


@pytest.mark.parametrize("lost", [(9,), (5, 6, 7), (2, 4, 6, 8), (1,), (1, 2, 3, 4, 5, 6, 7, 8, 9)])
async def test_every_complete_revision_is_kept_whichever_documents_are_lost(
    lost: tuple[int, ...], store: ConfigStore, memory: MemoryObjects
) -> None:
    made = await _many(store, 10)
    await lose(memory, *(_document(made[number]) for number in lost))

    report = await store.repair("production")

    assert report.after.ok
    assert await _revisions(store) == [number for number in range(10, 0, -1) if number not in lost]
    assert report.after.leftovers == report.after.retired == ()
    for number in lost:
        with pytest.raises(StoreDamaged, match=f"revision {number} "):
            await store.download("loki", "production", revision=number)


async def test_a_lost_shared_file_marks_every_affected_revision_in_a_few_bytes(
    store: ConfigStore, memory: MemoryObjects
) -> None:
    rules = "groups: []\n# shared\n"
    first = await store.upload("loki", "production", files={"loki.yaml": LOKI, "rules/a.yaml": rules})
    for number in range(2, 30):
        await store.upload("loki", "production", f"{LOKI}# {number}\n")
    await store.upload("loki", "production", remove=["rules/a.yaml"])
    before = len(memory.objects[CURRENT][1])
    await lose(memory, _blob(first, "rules/a.yaml"))

    report = await store.repair("production")

    assert report.after.ok
    assert [release.damaged for release in await store.history("loki", "production")] == [False] + [True] * 29
    assert len(memory.objects[CURRENT][1]) - before < 400


async def test_an_uncommitted_release_is_not_mistaken_for_the_parent_of_a_lost_one(
    store: ConfigStore, memory: MemoryObjects
) -> None:
    made = await _many(store, 5)
    loser = _document(made[3]).replace(made[3].write_id, f"production.{'ab' * 10}")
    document = json.loads(memory.objects[_document(made[3])][1]) | {"write_id": f"production.{'ab' * 10}"}
    await memory.put(loser, json.dumps(document).encode())
    await lose(memory, _document(made[4]))

    report = await store.repair("production")

    assert await _revisions(store) == [5, 3, 2, 1]
    assert (await store.history("loki", "production"))[1].write_id == made[3].write_id
    assert report.after.leftovers == (loser,)


async def test_choosing_a_release_for_a_lost_current_one_keeps_the_history(
    store: ConfigStore, memory: MemoryObjects
) -> None:
    made = await _many(store, 10)
    await lose(memory, _document(made[10]), _blob(made[4]))
    with pytest.raises(StoreDamaged, match="choose"):
        await store.repair("production")

    report = await store.repair("production", choose={"loki": _document(made[9])})

    assert report.after.ok
    assert await _revisions(store) == [11, 9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert (await store.download("loki", "production")).text == f"{LOKI}# revision 9\n"
    assert report.after.leftovers == report.after.retired == ()


async def test_a_lost_reference_document_costs_no_revision(store: ConfigStore, memory: MemoryObjects) -> None:
    made = await _many(store, 6)
    await memory.delete([CURRENT])
    await lose(memory, _document(made[3]))
    with pytest.raises(StoreDamaged, match="choose"):
        await store.repair("production")

    report = await store.repair("production", choose={"loki": _document(made[6])})

    assert report.after.ok
    assert await _revisions(store) == [7, 6, 5, 4, 2, 1]


async def test_a_tool_with_only_its_first_revision_is_not_left_out(store: ConfigStore, memory: MemoryObjects) -> None:
    await _two(store)
    await memory.delete([CURRENT])
    _forget_versions(memory)
    newest = (await store_documents(memory, "loki"))[-1]

    with pytest.raises(StoreDamaged, match="prometheus"):
        await store.repair("production", choose={"loki": newest})
    assert CURRENT not in memory.objects


async def test_recoverable_objects_are_restored_before_a_choice_is_required(
    store: ConfigStore, memory: MemoryObjects
) -> None:
    await _two(store)
    second, _ = await store.history("loki", "production")
    await memory.delete(["live/production/prometheus/prometheus.yml"])
    await lose(memory, _document(second))

    with pytest.raises(StoreDamaged, match="live copies of prometheus were compared and refreshed"):
        await store.repair("production")

    assert memory.objects["live/production/prometheus/prometheus.yml"][1] == PROMETHEUS.encode()


async def test_a_lost_blob_is_restored_from_a_live_copy_another_blob_or_a_backup(
    store: ConfigStore, memory: MemoryObjects
) -> None:
    large = f"{LOKI}{'# padding' * 4000}\n"
    first = await store.upload("loki", "production", large)
    await store.backup("loki", "production")
    await store.upload("loki", "production", OTHER_LOKI)
    await store.rollback("loki", "production", to_revision=1)
    other = _blob((await store.history("loki", "production"))[0])
    for sources in ((), (other,), (other, "live/production/loki/loki.yaml")):
        await memory.delete([_blob(first), *sources])
        _forget_versions(memory)
        assert (await store.repair("production")).after.ok
        assert (await store.download("loki", "production", revision=1)).text == large
        await store.repair("production")
    backup = (await store.list_backups("production"))[0]
    await memory.delete([_blob(first), other, "live/production/loki/loki.yaml"])
    await memory.put(f"{backup.key}/loki/loki.yaml", b"changed, too")
    _forget_versions(memory)
    with pytest.raises(StoreDamaged, match="choose"):
        await store.repair("production")


async def test_uploading_the_whole_bundle_again_repairs_the_current_release(
    store: ConfigStore, memory: MemoryObjects
) -> None:
    await store.upload("loki", "production", LOKI)
    second = await store.upload("loki", "production", OTHER_LOKI)
    await lose(memory, _blob(second))
    with pytest.raises(StoreDamaged):
        await store.repair("production")

    await store.upload("loki", "production", files={"loki.yaml": OTHER_LOKI})

    assert (await store.download("loki", "production")).text == OTHER_LOKI
    assert (await store.fsck("production")).ok


async def test_a_repair_continues_if_another_writer_commits_meanwhile(
    store: ConfigStore, memory: MemoryObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await _many(store, 4)
    await lose(memory, _document(made[2]))
    put = memory.put

    async def slower(key: str, body: bytes, **options: Any) -> Any:
        if key == CURRENT and b"damaged" in body:
            monkeypatch.setattr(memory, "put", put)
            await store.freeze("production", "meanwhile")
        return await put(key, body, **options)

    monkeypatch.setattr(memory, "put", slower)
    await store.repair("production")

    assert await _revisions(store) == [4, 3, 1]
    with pytest.raises(EnvironmentFrozen):
        await store.upload("loki", "production", LOKI)


async def test_a_collection_drops_marks_of_deleted_revisions_and_keeps_possibly_damaged_ones(
    store: ConfigStore, memory: MemoryObjects
) -> None:
    made = await _many(store, 6)
    await lose(memory, _document(made[2]))
    await memory.put(_document(made[5]), b"{")
    _forget_versions(memory)
    await store.repair("production")
    memory.now = time.time() + 3 * 86_400

    report = await store.collect_garbage("production", keep_revisions=3)

    assert report.oldest == {"loki": 3}
    current = json.loads(memory.objects[CURRENT][1])
    assert [(each["first"], each["last"]) for each in current["tools"]["loki"]["damaged"]] == [(5, 5)]
    assert {_blob(made[5]), _document(made[5])} <= memory.objects.keys()
    assert await _revisions(store) == [6, 4, 3]
    assert (await store.fsck("production")).ok


async def test_pruned_releases_are_not_reported_as_never_committed(
    store: ConfigStore, memory: MemoryObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await _many(store, 5)
    memory.now = time.time() + 3 * 86_400

    async def cut_short(keys: object) -> None:
        raise ConnectionLost("killed", operation="delete_files")

    monkeypatch.setattr(memory, "delete", cut_short)
    with pytest.raises(ConnectionLost):
        await store.collect_garbage("production", keep_revisions=2)

    report = await store.fsck("production")
    assert report.ok
    assert report.leftovers == ()
    assert report.retired == tuple(_document(made[number]) for number in (1, 2, 3))
    assert "never committed" not in str(report)


async def test_uncommitted_documents_are_leftovers_rather_than_damage(
    store: ConfigStore, memory: MemoryObjects
) -> None:
    await _two(store)
    [key, *_] = await store_documents(memory, "loki")
    await memory.put(key.replace("00000001-", "00000003-"), memory.objects[key][1])

    report = await store.fsck("production")

    assert report.ok
    assert report.findings == ()
    assert report.leftovers == (key.replace("00000001-", "00000003-"),)
    assert str(report).count("\n") == 1
    assert (await store.upload("loki", "production", LOKI)).revision == 3


async def test_documents_of_a_newer_format_are_never_overwritten(store: ConfigStore, memory: MemoryObjects) -> None:
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


def _newer(memory: MemoryObjects, key: str) -> bytes:
    return json.dumps({**json.loads(memory.objects[key][1]), "format": 99, "needs": "9.0.0"}).encode()


@pytest.mark.parametrize("which", ["the reference document", "the current release", "an old release", "a leftover"])
async def test_documents_of_a_later_version_are_not_damage_and_never_changed(
    which: str, store: ConfigStore, memory: MemoryObjects
) -> None:
    made = await _many(store, 3)
    key = {
        "the reference document": CURRENT,
        "the current release": _document(made[3]),
        "an old release": _document(made[1]),
        "a leftover": _document(made[3]).replace("00000003-", "00000004-"),
    }[which]
    body = _newer(memory, _document(made[3]) if which == "a leftover" else key)
    await memory.put(key, body)
    _forget_versions(memory)
    before = dict(memory.objects)

    report = await store.fsck("production")

    assert not report.ok
    assert report.damage == ()
    assert [(finding.severity, finding.key) for finding in report.newer] == [("newer", key)]
    assert "written by a later version" in str(report)
    with pytest.raises(FormatTooNew, match=r"9\.0\.0 or later"):
        await store.repair("production")
    if which != "a leftover":
        with pytest.raises(FormatTooNew, match=r"9\.0\.0 or later"):
            await store.collect_garbage("production", keep_revisions=3)
    else:
        assert len(await store.history("loki", "production")) == 3
    assert memory.objects == before


async def test_log_parts_of_a_later_version_are_not_damage_and_never_dropped(
    store: ConfigStore, memory: MemoryObjects
) -> None:
    await store.upload("loki", "production", LOKI)
    for _ in range(150):
        await store.thaw("production")
    part = next(key for key in memory.objects if "/log/" in key)
    await memory.put(part, _newer(memory, part))
    _forget_versions(memory)
    before = dict(memory.objects)

    report = await store.fsck("production")

    assert report.findings == ()
    assert [finding.severity for finding in report.newer] == ["newer"]
    with pytest.raises(FormatTooNew):
        await store.repair("production")
    assert memory.objects == before


async def test_writers_refuse_a_replica_without_failover(memory: MemoryObjects) -> None:
    replica = MemoryObjects("replica")
    await ConfigStore(memory).upload("loki", "production", LOKI)
    replica.objects = dict(memory.objects)

    with pytest.raises(RuntimeError, match="replica of bucket 'memory'"):
        await ConfigStore(replica).upload("loki", "production", OTHER_LOKI)

    assert (await ConfigStore(replica).download("loki", "production")).text == LOKI
    assert (await ConfigStore(replica, failover=True).upload("loki", "production", OTHER_LOKI)).revision == 2
    assert (await ConfigStore(replica).upload("loki", "production", LOKI)).revision == 3


async def test_a_lagging_replica_is_read_at_the_previous_release(memory: MemoryObjects) -> None:
    replica = MemoryObjects("replica")
    store = ConfigStore(memory)
    await store.upload("loki", "production", LOKI)
    second = await store.upload("loki", "production", OTHER_LOKI)
    assert second.ref is not None
    replica.objects = {key: stored for key, stored in memory.objects.items() if key != second.ref.key}

    assert (await ConfigStore(replica).download("loki", "production")).text == LOKI


async def test_an_empty_reference_document_is_not_damage(store: ConfigStore, memory: MemoryObjects) -> None:
    await memory.put(CURRENT, encode_current(Current(0, ("production." + "aa" * 10,), "memory")))

    assert (await store.upload("loki", "production", LOKI)).revision == 1


async def store_documents(memory: MemoryObjects, tool: str) -> list[str]:
    """The keys of a tool's release documents."""
    return [info.key async for info in memory.list(f"configs/production/{tool}/releases/")]


async def test_a_repair_has_an_author_if_the_environment_requires_one(
    store: ConfigStore, memory: MemoryObjects
) -> None:
    await store.upload("loki", "production", LOKI)
    await store.upload("loki", "production", OTHER_LOKI)
    settings = EnvironmentSettings(require_author=True, require_message=True)
    await store.set_settings("production", settings, author="Ada", message="strict")
    blobs = (await store.history("loki", "production"))[1].files["loki.yaml"].blob
    await lose(memory, f"configs/production/loki/blobs/{blobs}")
    before = dict(memory.objects)

    with pytest.raises(InvalidOption, match="without author"):
        await store.repair("production")
    assert memory.objects == before
    await store.repair("production", author="Ada")
    assert (await store.log("production"))[0].action == "repair"


def _damaged(kind: str, body: bytes, other: bytes) -> bytes | None:
    return {"overwritten": b"x" * len(body), "cut": body[:-3], "emptied": b"", "deleted": None, "swapped": other}[kind]


@pytest.mark.parametrize("kind", ["overwritten", "cut", "emptied", "deleted", "swapped"])
async def test_each_document_blob_and_copy_damaged_by_hand_is_found_and_healed_by_what_is_printed(kind: str) -> None:
    """In a bucket without versions, so that only copies can heal; nothing wrong is ever read."""
    texts = {f"{LOKI}# revision {number}\n" for number in range(1, 5)}
    for place in range(1_000):
        memory = MemoryObjects()
        store = ConfigStore(memory)
        for text in sorted(texts):
            await store.upload("loki", "production", text)
        await store.upload("prometheus", "production", files={"prometheus.yml": PROMETHEUS, "rules.yml": RULES})
        keys = sorted(memory.objects)
        if place == len(keys):
            break
        key, body = keys[place], memory.objects[keys[place]][1]
        worse = _damaged(kind, body, memory.objects[keys[place - 1]][1])
        await (memory.delete([key]) if worse is None else memory.put(key, worse))
        _forget_versions(memory)
        fresh = ConfigStore(memory)

        assert not (await fresh.fsck("production")).ok, key
        for tool, name, wanted in (
            ("loki", None, texts),
            ("prometheus", None, {PROMETHEUS}),
            ("prometheus", "rules.yml", {RULES}),
        ):
            with suppress(StoreDamaged):
                assert (await fresh.download(tool, "production", name)).text in wanted, key
        try:
            report = await fresh.repair("production")
        except StoreDamaged as asked:
            choice = re.search(r"choose=(\{.*\})", asked.hint or "")
            assert choice is not None, key
            report = await fresh.repair("production", choose=ast.literal_eval(choice[1]))
        assert (report.after.ok, (await ConfigStore(memory).fsck("production")).ok) == (True, True), key
        if "/blobs/" in key:
            # The live copies have the same bytes.
            assert (await fresh.download("loki", "production")).text == max(texts), key
        await fresh.upload("loki", "production", OTHER_LOKI)
        await fresh.upload("prometheus", "production", files={"prometheus.yml": PROMETHEUS})
    else:
        raise AssertionError("there are more objects than that")
