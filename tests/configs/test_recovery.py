"""Runs docs/recovery.md step by step."""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

from apm_s3.configs import ConfigStore
from apm_s3.errors import UsageError
from apm_s3.testing import MemoryObjects
from tests.configs.samples import LOKI, OTHER_LOKI, OTHER_PROMETHEUS, PROMETHEUS, RULES, THIRD_PROMETHEUS
from tests.seams.store import objects_of

RECOVERY = Path(__file__).parents[2] / "docs" / "recovery.md"
BUNDLE = {"prometheus.yml": PROMETHEUS, "rules/api.yml": RULES}


def blocks(heading: str) -> list[str]:
    """The Python of one section."""
    text = RECOVERY.read_text()
    section = re.split(r"^## ", text, flags=re.MULTILINE)
    (found,) = [part for part in section if part.startswith(heading + "\n")]
    return [
        textwrap.dedent(block) for block in re.findall(r"^ *```python\n(.*?)^ *```$", found, re.MULTILINE | re.DOTALL)
    ]


async def run(heading: str, **names: Any) -> dict[str, Any]:
    """Run a section's blocks one after the other; the names that they leave."""
    for block in blocks(heading):
        code = compile(block, RECOVERY.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        coroutine = FunctionType(code, names)()
        if coroutine is not None:
            await coroutine
    return names


async def files(store: ConfigStore, tool: str, environment: str = "production") -> dict[str, str]:
    bundle = await store.download_bundle(tool, environment)
    return {name: file.text for name, file in bundle.files.items()}


@pytest.fixture
async def world() -> dict[str, Any]:
    """Two environments in daily use, prepared as the document asks for."""
    configs, away = ConfigStore(MemoryObjects("here")), ConfigStore(MemoryObjects("elsewhere"))
    await configs.upload("prometheus", "production", files=BUNDLE)
    await configs.upload("loki", "production", LOKI)
    await configs.upload("loki", "staging", OTHER_LOKI)
    await run("Before anything happens", configs=configs, away=away)
    return {"configs": configs, "away": away}


async def test_the_documented_preparations_leave_a_backup_per_environment_and_a_good_mark(
    world: dict[str, Any],
) -> None:
    backups = await world["away"].list_backups()

    assert {backup.environment: sorted(backup.tools) for backup in backups} == {
        "production": ["loki", "prometheus"],
        "staging": ["loki"],
    }
    assert await world["away"].environments() == ()


async def test_a_bad_release_is_rolled_back_and_can_be_inspected(world: dict[str, Any]) -> None:
    configs = world["configs"]
    await configs.upload("prometheus", "production", files={"prometheus.yml": OTHER_PROMETHEUS})

    names = await run("A bad release", **world)

    assert [each.name for each in names["difference"].files] == ["prometheus.yml", "rules/api.yml"]
    assert not names["plan"].blocked
    assert await files(configs, "prometheus") == BUNDLE
    assert [release.origin.action for release in await configs.history("prometheus", "production")] == [
        "restore", "rollback", "upload", "upload",
    ]  # fmt: skip


async def test_a_lost_bucket_is_restored_from_backups(world: dict[str, Any]) -> None:
    fresh = ConfigStore(MemoryObjects("fresh"))

    names = await run("A lost bucket", away=world["away"], fresh=fresh)

    assert await files(fresh, "prometheus") == BUNDLE
    assert await files(fresh, "loki") == {"loki.yaml": LOKI}
    assert await files(fresh, "loki", "staging") == {"loki.yaml": OTHER_LOKI}
    assert {origin.bucket for origin in names["restored"].values()} == {"here"}


async def test_a_failover_to_a_replica_region_can_be_reversed(world: dict[str, Any]) -> None:
    configs, away = world["configs"], world["away"]
    mirror = MemoryObjects("mirror")
    for key, (info, body) in objects_of(configs).objects.items():
        await mirror.put(key, body, metadata=info.metadata)
    replica, survivor = ConfigStore(mirror), ConfigStore(mirror, failover=True)
    with pytest.raises(UsageError):
        await replica.upload("prometheus", "production", THIRD_PROMETHEUS)

    names = await run("A lost region", replica=replica, survivor=survivor, **world)

    assert names["release"].revision == 2
    await survivor.upload("prometheus", "production", THIRD_PROMETHEUS)
    await replica.upload("prometheus", "production", OTHER_PROMETHEUS)
    assert await files(away, "prometheus") == BUNDLE
    assert not names["plan"].blocked
    assert await files(configs, "prometheus") == BUNDLE
