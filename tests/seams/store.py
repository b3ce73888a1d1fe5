"""Inside a store: the bucket as it sees it, its documents and their keys, and limits of the commit protocol."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import Any
from unittest import mock

import pytest

from apm_s3._plans import canonical_hash
from apm_s3.configs import ConfigStore
from apm_s3.configs import _checks as _checks
from apm_s3.configs import _deploy as _carry_out
from apm_s3.configs import _deploy as _planning
from apm_s3.configs import _uploads as _uploads
from apm_s3.configs._backups import restore as _restore
from apm_s3.configs._backups.backups import plan_prune
from apm_s3.configs._care.garbage import GRACE
from apm_s3.configs._checks import Checks as _Checks
from apm_s3.configs._models import Current, Log, LogRef, ToolState
from apm_s3.configs._protocol import commit as _write
from apm_s3.configs._protocol import encoding as _log
from apm_s3.configs._protocol import keys
from apm_s3.configs._protocol import keys as _fields
from apm_s3.configs._protocol import publish as _publish
from apm_s3.configs._protocol import reader as _reader
from apm_s3.configs._protocol.changes import (
    MarkGood,
    NewReleases,
    RemoveEnvironment,
    SetFreeze,
    SetSettings,
    check_base,
    check_expected,
)
from apm_s3.configs._protocol.commit import CLEAN_UP
from apm_s3.configs._protocol.encoding import (
    MAX_ENTRIES,
    MAY_STORE,
    MUST_STORE,
    chain_breaks,
    decode_current,
    decode_part,
    decode_release,
    encode_current,
    encode_part,
    encode_release,
    entry_hash,
    read_entry,
)
from apm_s3.configs._protocol.keys import FORMAT, MAX_SEQUENCE, environment_of, log_part
from apm_s3.configs._protocol.live import HASH_METADATA
from apm_s3.configs._protocol.objects import ObjectStore, S3Objects
from apm_s3.configs._protocol.probe import CLEAN_UP as PROBE_CLEAN_UP
from apm_s3.errors import ApmS3Error, PreconditionFailed
from apm_s3.models import FileInfo
from apm_s3.reports import ValidationReport
from apm_s3.testing import MemoryObjects
from apm_s3.testing._memory import MemoryBucket, Verb


def has_probed(store: ConfigStore) -> bool:
    """Return whether the store knows that its endpoint keeps conditions."""
    return store._committer.probe._passed


def waits_for_its_probe(store: ConfigStore) -> bool:
    """Return whether a write to production waits until it is known what the endpoint keeps."""
    return bool(store._probe._waiting["production"])


def limit_bundles(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Store no bundle of more than `size` bytes."""
    monkeypatch.setattr(_publish, "MAX_BUNDLE", size)


def know_features(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Be a version that knows these features of documents."""
    monkeypatch.setattr(_fields, "FEATURES", frozenset(names))


def forget_what_was_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Log skipped checks again that were logged before."""
    monkeypatch.setattr(_checks, "_logged", set())


def write_ids_from(rng: random.Random) -> Any:
    """Take the random part of write ids from `rng`, inside the block."""
    return mock.patch.object(keys, "new_write_id", lambda environment: f"{environment}.{rng.getrandbits(80):020x}")


@contextmanager
def short_logs() -> Iterator[None]:
    """Keep only a few entries in the reference document: no interleaving writes hundreds of commits."""
    with (
        mock.patch.object(_log, "RING", 4),
        mock.patch.object(_publish, "MAY_STORE", 2),
        mock.patch.object(_write, "MUST_STORE", 6),
    ):
        yield


def entries_kept() -> int:
    """Return how many entries of the log the reference document keeps."""
    return _log.RING


@contextmanager
def without_validation() -> Iterator[None]:
    """Take any content for valid, and decode the same bytes once."""

    async def pass_all(*_: Any, **__: Any) -> _Checks:
        return _Checks()

    async def no_reports(*_: Any, **__: Any) -> list[ValidationReport]:
        return []

    async def report(tool: str, *_: Any) -> ValidationReport:
        return ValidationReport(tool, "bundle", None)

    with ExitStack() as stack:
        for module, name, instead in (
            (_uploads, "report_files", no_reports),
            (_uploads, "check_bundle", report),
            (_uploads, "keep_checks", pass_all),
            (_carry_out, "keep_checks", pass_all),
            (_planning, "check_bundle", report),
            (_restore, "check_bundle", report),
            (_restore, "keep_checks", pass_all),
            (_reader, "decode_current", decode_current_once),
            (_reader, "decode_release", decode_release_once),
        ):
            stack.enter_context(mock.patch.object(module, name, instead))
        yield


decode_current_once = lru_cache(maxsize=512)(decode_current)
decode_release_once = lru_cache(maxsize=512)(decode_release)


class Counting(MemoryObjects):
    """A bucket in memory that notes the requests which reach it.

    Attributes:
        requests: the verb and the key of each, in order; a listing is there for each of its pages of 1 000 keys.
        refused: the keys of writes whose condition did not hold.
    """

    def __init__(self, *, now: float | None = None) -> None:
        super().__init__(now=now)
        self.requests: list[tuple[Verb, str]] = []
        self.refused: list[str] = []

    def count(self, verb: Verb) -> int:
        """Return how many requests of one kind came."""
        return len(self.keys(verb))

    def keys(self, verb: Verb) -> list[str]:
        """Return the keys of the requests of one kind."""
        return [key for each, key in self.requests if each == verb]

    def _arrive(self, verb: Verb, key: str) -> ApmS3Error | None:
        self.requests.append((verb, key))
        return super()._arrive(verb, key)

    async def put(self, key: str, body: bytes, **options: Any) -> FileInfo:
        await asyncio.sleep(0)
        try:
            return await super().put(key, body, **options)
        except PreconditionFailed:
            self.refused.append(key)
            raise

    async def list(self, prefix: str, *, start_after: str | None = None) -> AsyncGenerator[FileInfo, None]:
        found = 0
        async for info in super().list(prefix, start_after=start_after):
            found += 1
            if found % 1000 == 0:
                self.requests.append(("list", prefix))
            yield info


def bucket_of(memory: MemoryObjects) -> MemoryBucket:
    """Return the bucket in memory itself: versions of its objects, and who observes them."""
    return memory._state


def objects_of(store: ConfigStore) -> ObjectStore:
    """Return the bucket as a store without a prefix sees it."""
    return store._objects


def stop_failing(memory: MemoryObjects) -> None:
    """Let requests succeed that were told to fail."""
    memory._rules.clear()
