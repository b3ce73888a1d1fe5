"""Forged documents: what they say about themselves must match their location."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from apm_s3.configs import ConfigStore
from apm_s3.errors import ApmS3Error, BackupInvalid, ConfigError, StoreDamaged
from apm_s3.testing import MemoryObjects
from tests.configs.samples import LOKI, OTHER_LOKI, PROMETHEUS
from tests.seams.store import limit_bundles

CURRENT = "configs/production/current.json"
Document = dict[str, Any]
Forgery = Callable[[Document], None]


def _set(path: str, value: object) -> Forgery:
    """Put `value` where `path`, with dots, leads; a callable makes it of what is there."""

    def forge(document: Document) -> None:
        *way, last = path.split(".")
        at = document
        for step in way:
            at = at[step]
        at[last] = value(at[last]) if callable(value) else value

    return forge


def _swap(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new)


def _rename(path: str, old: str, new: str) -> Forgery:
    def forge(document: Document) -> None:
        at = document
        for step in path.split("."):
            at = at[step]
        at[new] = at.pop(old)

    return forge


def _entry(**fields: object) -> Forgery:
    def forge(document: Document) -> None:
        document["files"]["loki.yaml"].update(fields)

    return forge


def _many_files(count: int, size: int) -> Forgery:
    def forge(document: Document) -> None:
        entry = {**document["files"]["loki.yaml"], "size": size}
        document["files"] |= {f"{number}.yaml": entry for number in range(count)}

    return forge


LOKI_STATE = "tools.loki"
NEWEST, PARENT, GOOD = f"{LOKI_STATE}.release", f"{LOKI_STATE}.parent", f"{LOKI_STATE}.good"
HEX = "ab" * 10
FOREIGN = {"revision": 1, "key": f"configs/staging/loki/releases/00000001-staging.{HEX}.json", "sha256": "0" * 64}
OWN = {"revision": 1, "key": f"configs/production/loki/releases/00000001-production.{HEX}.json", "sha256": "0" * 64}

REFERENCE_DOCUMENTS: dict[str, Forgery] = {
    "it leads to another environment": _set(f"{NEWEST}.key", _swap("/production/", "/staging/")),
    "it leads to another tool": _set(f"{NEWEST}.key", _swap("/loki/", "/prometheus/")),
    "it leads out of the store": _set(f"{NEWEST}.key", _swap("configs/", "../configs/")),
    "it leads to a key with an empty segment": _set(f"{NEWEST}.key", _swap("configs/", "configs//")),
    "it leads to a backup": _set(f"{NEWEST}.key", _swap("configs/", "backups/")),
    "it leads to a blob": _set(f"{NEWEST}.key", _swap("releases/", "blobs/")),
    "it leads to a live copy": _set(f"{NEWEST}.key", "live/production/loki/loki.yaml"),
    "it leads to itself": _set(f"{NEWEST}.key", CURRENT),
    "it leads to a write of another environment": _set(f"{NEWEST}.key", _swap("-production.", "-staging.")),
    "it leads to a key of another revision": _set(f"{NEWEST}.key", _swap("00000002", "00000001")),
    "it leads to a key without a revision": _set(f"{NEWEST}.key", _swap("00000002-", "")),
    "it leads to a key in capitals": _set(f"{NEWEST}.key", _swap("configs", "CONFIGS")),
    "it leads nowhere": _set(f"{NEWEST}.key", ""),
    "its revision is another": _set(f"{NEWEST}.revision", 7),
    "its revision is 0": _set(f"{NEWEST}.revision", 0),
    "its revision is negative": _set(f"{NEWEST}.revision", -1),
    "its revision has nine digits": _set(f"{NEWEST}.revision", 100_000_000),
    "its revision is true": _set(f"{NEWEST}.revision", value=True),
    "its revision is a fraction": _set(f"{NEWEST}.revision", 2.0),
    "its hash is another": _set(f"{NEWEST}.sha256", "0" * 64),
    "its hash is in capitals": _set(f"{NEWEST}.sha256", str.upper),
    "its hash is short": _set(f"{NEWEST}.sha256", "00"),
    "its parent is of another environment": _set(PARENT, FOREIGN),
    "its parent is itself": lambda document: _set(PARENT, document["tools"]["loki"]["release"])(document),
    "its parent is newer": _set(PARENT, {**OWN, "revision": 9, "key": OWN["key"].replace("0001-", "0009-")}),
    "its good mark is of another environment": _set(GOOD, FOREIGN),
    "its good mark is of another tool": _set(GOOD, {**OWN, "key": OWN["key"].replace("/loki/", "/jaeger/")}),
    "its good mark is newer": _set(GOOD, {**OWN, "revision": 9, "key": OWN["key"].replace("0001-", "0009-")}),
    "its good mark is another release of the revision": _set(
        GOOD, {**OWN, "revision": 2, "key": OWN["key"].replace("0001-", "0002-")}
    ),
    "it keeps nothing": _set(f"{LOKI_STATE}.oldest", 3),
    "it keeps from 0": _set(f"{LOKI_STATE}.oldest", 0),
    "it keeps from true": _set(f"{LOKI_STATE}.oldest", value=True),
    "a tool leads out of the store": _rename("tools", "loki", "../../evil"),
    "a tool has no name": _rename("tools", "loki", ""),
    "a tool is none of ours": _rename("tools", "loki", "tempo"),
    "a tool has another one's name": _rename("tools", "loki", "jaeger"),
    "a tool has a folder in its name": _rename("tools", "loki", "loki/releases"),
    "a writer is of another environment": _set("writers", [f"staging.{HEX}"]),
    "a writer leads out of the store": _set("writers", ["../../production.aa"]),
    "a writer has no name": _set("writers", [""]),
    "too many writers": _set("writers", [f"production.{HEX}"] * 65),
    "its sequence is negative": _set("sequence", -1),
    "its sequence is huge": _set("sequence", 2**60),
    "its sequence is infinite": _set("sequence", float("inf")),
    "its home is no text": _set("home", 1),
    "its home is half a character": _set("home", "\ud800"),
    "it was frozen before time began": _set("freeze", {"reason": "", "by": None, "since": "0001-01-01T00:00:00+23:59"}),
    "it was frozen without a zone": _set("freeze", {"reason": "", "by": None, "since": "2026-01-01T00:00:00"}),
    "it is of another kind": _set("kind", "apm-s3/release"),
}

RELEASES: dict[str, Forgery] = {
    "it is of another environment": _set("environment", "staging"),
    "it is of an environment that cannot be": _set("environment", "../staging"),
    "it is of another tool": _set("tool", "prometheus"),
    "it is of a tool that leads out of the store": _set("tool", "../../evil"),
    "it is of another revision": _set("revision", 3),
    "it is of another write": _set("write_id", f"production.{HEX}"),
    "its parent is of another environment": _set("parent", FOREIGN),
    "its parent is itself": _set("parent", {**OWN, "revision": 2, "key": OWN["key"].replace("0001-", "0002-")}),
    "its parent is newer": _set("parent", {**OWN, "revision": 3, "key": OWN["key"].replace("0001-", "0003-")}),
    "its parent leads out of the store": _set("parent", {**OWN, "key": "../../other"}),
    "its file is larger than a file can be": _entry(size=2**30, encoding="gzip"),
    "its file has a negative size": _entry(size=-1),
    "its file has a size of true": _entry(size=True),
    "its file has a size that is a fraction": _entry(size=1.5),
    "its files are larger than a bundle can be": _many_files(20, 15 * 1024**2),
    "its files are too many": _many_files(10_001, 1),
    "its file's hash is none": _entry(sha256="../../secret"),
    "its blob has another hash": _entry(sha256="0" * 64),
    "its blob leads out of the folder": _entry(blob="../../../staging/loki/blobs/secret"),
    "its blob has a folder": _entry(blob=f"x/{'0' * 64}-production.{HEX}"),
    "its blob is packed in another way": _entry(encoding="zip"),
    "its file leads out of the directory": _rename("files", "loki.yaml", "../loki.yaml"),
    "its file is absolute": _rename("files", "loki.yaml", "/etc/loki.yaml"),
    "its file has no name": _rename("files", "loki.yaml", ""),
    "its author is half a character": _set("author", "\udfff"),
    "it was made before time began": _set("created_at", "0001-01-01T00:00:00+23:59"),
    "its origin is a negative revision": _set("origin.revision", -5),
    "its origin is a huge revision": _set("origin.revision", 10**40),
    "its origin is no object": _set("origin", []),
    "it is of another kind": _set("kind", "apm-s3/environment"),
}


@pytest.fixture
def store(memory: MemoryObjects) -> ConfigStore:
    return ConfigStore(memory)


async def _two(store: ConfigStore) -> None:
    await store.upload("loki", "production", LOKI)
    await store.upload("loki", "production", OTHER_LOKI)
    await store.upload("prometheus", "production", PROMETHEUS)


async def _put(memory: MemoryObjects, key: str, document: Document) -> bytes:
    body = json.dumps(document).encode()
    await memory.put(key, body)
    return body


async def _refuses(store: ConfigStore, memory: MemoryObjects) -> None:
    """Neither read, written, collected nor checked as if it were right; and nothing but our errors comes out."""
    before = dict(memory.objects)
    for call in (
        store.download("loki", "production"),
        store.history("loki", "production"),
        store.upload("loki", "production", f"{LOKI}# next\n"),
        store.rollback("loki", "production", to_revision=1),
        store.backup("loki", "production"),
        store.plan_deploy("production", "staging", create=True),
    ):
        with pytest.raises(ConfigError) as refused:
            await call
        assert isinstance(refused.value, StoreDamaged), repr(refused.value)
    assert not (await store.fsck("production")).ok
    assert memory.objects.keys() - {key for key in memory.objects if key.startswith("backups/")} == before.keys()


@pytest.mark.parametrize("forgery", list(REFERENCE_DOCUMENTS))
async def test_a_forged_reference_document_is_refused(forgery: str, store: ConfigStore, memory: MemoryObjects) -> None:
    await _two(store)
    document = json.loads(memory.objects[CURRENT][1])
    REFERENCE_DOCUMENTS[forgery](document)
    await _put(memory, CURRENT, document)

    await _refuses(store, memory)


@pytest.mark.parametrize("forgery", list(RELEASES))
async def test_a_forged_release_with_the_right_hash_is_refused(
    forgery: str, store: ConfigStore, memory: MemoryObjects
) -> None:
    await _two(store)
    current = json.loads(memory.objects[CURRENT][1])
    newest = current["tools"]["loki"]["release"]
    document = json.loads(memory.objects[newest["key"]][1])
    RELEASES[forgery](document)
    newest["sha256"] = hashlib.sha256(await _put(memory, newest["key"], document)).hexdigest()
    await _put(memory, CURRENT, current)

    await _refuses(store, memory)


async def test_an_environment_copied_over_another_is_refused(store: ConfigStore, memory: MemoryObjects) -> None:
    await store.upload("loki", "production", LOKI)
    await store.upload("loki", "staging", OTHER_LOKI)
    for key in [key for key in memory.objects if key.startswith("configs/staging/")]:
        await memory.put(key.replace("/staging/", "/production/"), memory.objects[key][1])

    await _refuses(store, memory)


async def test_an_empty_environment_copied_over_another_is_refused(store: ConfigStore, memory: MemoryObjects) -> None:
    await store.upload("loki", "production", LOKI)
    await memory.put(
        CURRENT,
        json.dumps({
            "kind": "apm-s3/environment", "format": 1, "sequence": 0, "writers": [f"staging.{HEX}"], "home": "memory",
            "freeze": None, "tools": {},
        }).encode(),
    )  # fmt: skip

    with pytest.raises(StoreDamaged, match="not a write of 'production'"):
        await store.upload("loki", "production", OTHER_LOKI)


async def test_reading_a_cycle_of_parents_ends(store: ConfigStore, memory: MemoryObjects) -> None:
    """Hashes forbid a real circle, but nobody can rely on a hash that was not compared."""
    await _two(store)
    await store.upload("loki", "production", LOKI)
    second, first = (await store.history("loki", "production"))[1:]
    assert first.ref is not None
    assert second.ref is not None
    document = json.loads(memory.objects[first.ref.key][1])
    document["parent"] = {"revision": 2, "key": second.ref.key, "sha256": second.ref.sha256}
    await _put(memory, first.ref.key, document)

    with pytest.raises(StoreDamaged):
        await store.history("loki", "production")
    assert not (await store.fsck("production")).ok


async def test_a_small_blob_never_becomes_a_large_file(store: ConfigStore, memory: MemoryObjects) -> None:
    large = f"{LOKI}{'# padding' * 4000}\n"
    release = await store.upload("loki", "production", large)
    entry = release.files["loki.yaml"]
    await memory.put(f"configs/production/loki/blobs/{entry.blob}", gzip.compress(bytes(200 * 1024**2)))

    with pytest.raises(StoreDamaged):
        await store.download("loki", "production")


async def test_a_blob_or_document_that_is_too_large_is_not_read(
    store: ConfigStore, memory: MemoryObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = await store.upload("loki", "production", LOKI)
    assert release.ref is not None
    bytes_read = 0
    read = memory.read

    async def counted(key: str, **options: Any) -> Any:
        nonlocal bytes_read
        info, body = await read(key, **options)
        bytes_read += len(body)
        return info, body

    monkeypatch.setattr(memory, "read", counted)
    for key in (f"configs/production/loki/blobs/{release.files['loki.yaml'].blob}", release.ref.key, CURRENT):
        await memory.put(key, bytes(20 * 1024**2))
        with pytest.raises(StoreDamaged):
            await store.download("loki", "production")

    assert bytes_read < 10_000


@pytest.mark.parametrize("change", [
    {"size": 2**40}, {"size": -1}, {"size": True}, {"sha256": "../.."}, {"sha256": ""},
])  # fmt: skip
async def test_a_forged_manifest_is_refused(
    change: dict[str, object], store: ConfigStore, memory: MemoryObjects
) -> None:
    await _two(store)
    backup = await store.backup("loki", "production")
    manifest = json.loads(memory.objects[f"{backup.key}/manifest.json"][1])
    manifest["tools"]["loki"]["files"]["loki.yaml"].update(change)
    await _put(memory, f"{backup.key}/manifest.json", manifest)

    for call in (store.restore(backup.key), store.verify_backup(backup.key), store.plan_restore(backup.key)):
        with pytest.raises(BackupInvalid):
            await call
    assert [each.damage is None for each in await store.list_backups("production")] == [False]


async def test_a_bundle_that_could_not_be_read_back_is_not_stored(
    store: ConfigStore, memory: MemoryObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_bundles(monkeypatch, 10)

    with pytest.raises(ApmS3Error, match="exceed the limit of 10"):
        await store.upload("loki", "production", LOKI)

    assert not any("/loki/" in key for key in memory.objects)
