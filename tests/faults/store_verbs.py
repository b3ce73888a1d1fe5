"""The calls of a store that are tested against a server that lies."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from time import time
from typing import Any, NamedTuple

from apm_s3.configs import ConfigStore, EnvironmentSettings
from apm_s3.errors import StoreDamaged
from apm_s3.testing import MemoryObjects
from tests.configs.samples import LOKI, OTHER_LOKI, OTHER_PROMETHEUS, PROMETHEUS, RULES
from tests.faults.memory_s3 import MemoryS3, StoredObject, _etag
from tests.faults.verbs import BUCKET, OTHER

DAY = 24 * 3600.0
LOST = "production." + "ab" * 10
"""The write id of an upload that stored its documents, and was never committed."""


class Stored(NamedTuple):
    """A bucket with a store, as `MemoryObjects` holds it, and the backup in it."""

    objects: MemoryObjects
    backup: str


@lru_cache
def stored() -> Stored:
    """Production with two tools and older revisions, staging with others, a backup, and something to collect."""

    async def fill() -> Stored:
        memory = MemoryObjects(BUCKET, now=time() - 40 * DAY)
        store = ConfigStore(memory)
        for text in (OTHER_PROMETHEUS, PROMETHEUS):
            await store.upload("prometheus", "production", files={"prometheus.yml": text, "rules/a.yml": RULES})
        for text in (LOKI, OTHER_LOKI, LOKI):
            await store.upload("loki", "production", text)
        await store.mark_good("loki", "production")
        await store.upload("prometheus", "staging", OTHER_PROMETHEUS)
        await store.upload("loki", "staging", OTHER_LOKI)
        await store.upload("loki", "retired", LOKI)
        await store.remove("loki", "retired")
        backup = await store.backup(None, "production")
        for tool in ("prometheus", "loki"):
            memory.now = (memory.now or 0.0) + DAY
            await store.backup(tool, "production")
        await store.upload("loki", "production", OTHER_LOKI)
        before = dict(memory.objects)
        await store.upload("loki", "production", LOKI, write_id=LOST)
        await store.finish()
        memory.objects.update(before)
        return Stored(memory, backup.key)

    # In its own loop and thread, because another loop is running where this is called.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, fill()).result()


def new_store_state() -> MemoryS3:
    """The server before the call."""
    s3 = MemoryS3()
    s3.buckets = {BUCKET: {}, OTHER: {}}
    for key, (info, body) in stored().objects.objects.items():
        headers = {f"x-amz-meta-{name}": value for name, value in info.metadata.items()}
        assert info.last_modified is not None
        s3.buckets[BUCKET][key] = StoredObject(body, headers, _etag(body), info.last_modified.timestamp())
    return s3


async def state_of(s3: MemoryS3) -> dict[str, Any]:
    """What a bucket holds, as an honest server would tell it: files, freezes, marks, settings, backups."""
    memory = MemoryObjects(BUCKET)
    for key, found in s3.buckets[BUCKET].items():
        await memory.put(key, found.body)
    store = ConfigStore(memory)
    state: dict[str, Any] = {}
    for environment in await store.environments():
        try:
            bundles = await store.download_environment(environment)
        except StoreDamaged as damaged:
            state[environment] = (damaged.problem,)
            continue
        files = {tool: {name: file.text for name, file in each.files.items()} for tool, each in bundles.items()}
        if not bundles:
            if environment == "retired":
                state[environment] = ((),)
            continue  # an environment is made before its first release
        rows = await store.status(environment)
        marks = {row.tool: (row.revision, row.good_revision) for row in rows}
        report = await store.fsck(environment)
        problems = [finding.problem for finding in report.findings if finding.severity == "error"]
        state[environment] = (files, marks, rows[0].freeze is not None, await store.settings(environment), problems)
    state["backups"] = sorted(backup.key.partition("/")[0] for backup in await store.list_backups())
    return state


def _names(release: Any) -> Any:
    """What is known of a release beforehand."""
    return release.tool, release.environment, release.revision, tuple(release.files)


def _texts(files: Mapping[str, Any]) -> dict[str, str]:
    return {name: file.text for name, file in files.items()}


@dataclass(frozen=True)
class StoreVerb:
    """A call of a store.

    Attributes:
        call: gives what it gave on an honest server.
        changes: whether it changes anything.
        in_steps: whether a failure leaves what was done before it.
        endures: whether an outage does not end it.
    """

    name: str
    call: Callable[[ConfigStore], Awaitable[Any]]
    changes: bool = False
    in_steps: bool = False
    endures: bool = False

    def __str__(self) -> str:
        return self.name


async def _file(store: ConfigStore) -> Any:
    file = await store.download("prometheus", "production", "rules/a.yml")
    return file.text, file.revision


async def _bundle(store: ConfigStore) -> Any:
    return _texts((await store.download_bundle("loki", "production", revision=2)).files)


async def _environment(store: ConfigStore) -> Any:
    return {tool: _texts(bundle.files) for tool, bundle in (await store.download_environment("production")).items()}


async def _directory(store: ConfigStore) -> Any:
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory) / "new"
        try:
            await store.download_dir("prometheus", "production", target)
        finally:
            left = {path.name for path in target.parent.iterdir()} - {"new"}
            assert not left, f"left behind: {left}"
        return {path.relative_to(target).as_posix(): path.read_text() for path in target.rglob("*") if path.is_file()}


async def _list(store: ConfigStore) -> Any:
    return sorted(map(_names, await store.list()))


async def _history(store: ConfigStore) -> Any:
    return [_names(release) for release in await store.history("loki", "production")]


async def _log(store: ConfigStore) -> Any:
    return [(entry.sequence, entry.action) for entry in await store.log("production")]


async def _diff(store: ConfigStore) -> Any:
    return str(await store.diff("loki", "production", 1, 2))


async def _status(store: ConfigStore) -> Any:
    rows = await store.status()
    assert all(row.damaged for row in rows if not row.revision)
    return [(row.tool, row.environment, row.revision) for row in rows]


async def _watch(store: ConfigStore) -> Any:
    async with aclosing(store.watch("production", ["loki"], interval=0.5)) as releases:
        return _names(await anext(releases))


async def _watch_log(store: ConfigStore) -> Any:
    async with aclosing(store.watch_log("production", since=0, interval=0.5)) as entries:
        entry = await anext(entries)
        return entry.sequence, entry.action


async def _fsck(store: ConfigStore) -> Any:
    report = await store.fsck("production")
    return report.ok, len(report.leftovers)


async def _plan_deploy(store: ConfigStore) -> Any:
    plan = await store.plan_deploy("staging", "production")
    return [(each.tool, each.changes) for each in plan.tools]


async def _backups(store: ConfigStore) -> Any:
    return [(backup.key, backup.damage) for backup in await store.list_backups()]


async def _verify(store: ConfigStore) -> Any:
    return (await store.verify_backup(stored().backup)).key


async def _plan_restore(store: ConfigStore) -> Any:
    return dict((await store.plan_restore(stored().backup)).revisions)


async def _upload(store: ConfigStore) -> Any:
    return _names(await store.upload("loki", "production", f"{LOKI}# new\n"))


async def _upload_anew(store: ConfigStore) -> Any:
    return _names(await store.upload("loki", "test", LOKI))


async def _upload_dir(store: ConfigStore) -> Any:
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "loki.yaml").write_text(f"{LOKI}# from a directory\n")
        return _names(await store.upload_dir("loki", "production", directory))


async def _remove(store: ConfigStore) -> Any:
    return _names(await store.remove("loki", "production"))


async def _roll_back(store: ConfigStore) -> Any:
    return _names(await store.rollback("loki", "production", to_revision=3))


async def _deploy(store: ConfigStore) -> Any:
    result = await store.deploy(await store.plan_deploy("staging", "production"))
    return [_names(release) for release in result.releases]


async def _import(store: ConfigStore) -> Any:
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "test" / "loki").mkdir(parents=True)
        (Path(directory) / "test" / "loki" / "loki.yaml").write_text(LOKI)
        return [_names(release) for release in await store.import_configs(await store.plan_import(directory))]


async def _settings(store: ConfigStore) -> None:
    await store.set_settings("production", EnvironmentSettings(require_message=True))


async def _mark(store: ConfigStore) -> Any:
    return _names(await store.mark_good("loki", "production", 2))


async def _freeze(store: ConfigStore) -> Any:
    await store.freeze("production", "an incident")


async def _backup(store: ConfigStore) -> Any:
    return sorted((await store.backup("prometheus", "production")).tools)


async def _backup_all(store: ConfigStore) -> Any:
    return sorted(backup.environment for backup in await store.backup_all())


async def _restore(store: ConfigStore) -> Any:
    return sorted(map(_names, await store.restore_environment(stored().backup)))


async def _drill(store: ConfigStore) -> Any:
    return sorted(release.tool for release in await store.restore_environment(stored().backup, drill=True))


async def _prune(store: ConfigStore) -> Any:
    return len(await store.prune_backups("production", keep=1))


async def _collect(store: ConfigStore) -> Any:
    report = await store.collect_garbage("production", keep_revisions=2)
    return sorted(report.releases), sorted(report.blobs)


async def _repair(store: ConfigStore) -> Any:
    return (await store.repair("production")).after.ok


STORE_VERBS = (
    StoreVerb("download", _file),
    StoreVerb("download bundle", _bundle),
    StoreVerb("download environment", _environment),
    StoreVerb("download directory", _directory),
    StoreVerb("environments", lambda store: store.environments()),
    StoreVerb("list", _list),
    StoreVerb("history", _history),
    StoreVerb("log", _log),
    StoreVerb("diff", _diff),
    StoreVerb("settings", lambda store: store.settings("production")),
    StoreVerb("status", _status),
    StoreVerb("watch", _watch, endures=True),
    StoreVerb("watch log", _watch_log, endures=True),
    StoreVerb("fsck", _fsck),
    StoreVerb("plan deploy", _plan_deploy),
    StoreVerb("list backups", _backups),
    StoreVerb("verify backup", _verify),
    StoreVerb("plan restore", _plan_restore),
    StoreVerb("outcome", lambda store: store.outcome(LOST), changes=True),
    StoreVerb("upload", _upload, changes=True),
    StoreVerb("upload anew", _upload_anew, changes=True),
    StoreVerb("upload directory", _upload_dir, changes=True),
    StoreVerb("remove", _remove, changes=True),
    StoreVerb("remove environment", lambda store: store.remove_environment("retired"), changes=True),
    StoreVerb("rollback", _roll_back, changes=True),
    StoreVerb("deploy", _deploy, changes=True),
    StoreVerb("import", _import, changes=True),
    StoreVerb("set settings", _settings, changes=True),
    StoreVerb("mark good", _mark, changes=True),
    StoreVerb("freeze", _freeze, changes=True),
    StoreVerb("thaw", lambda store: store.thaw("production"), changes=True),
    StoreVerb("backup", _backup, changes=True),
    StoreVerb("backup all", _backup_all, changes=True, in_steps=True),
    StoreVerb("restore", _restore, changes=True, in_steps=True),
    StoreVerb("drill", _drill, changes=True, in_steps=True),
    StoreVerb("prune backups", _prune, changes=True, in_steps=True),
    StoreVerb("collect garbage", _collect, changes=True, in_steps=True),
    StoreVerb("repair", _repair, changes=True, in_steps=True),
)
