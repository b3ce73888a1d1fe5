"""Writes a golden store with the present code: every kind of document, and what each field can be."""

from __future__ import annotations

import asyncio
import random
import sys
from contextlib import suppress
from datetime import timedelta
from typing import Any
from unittest import mock

from apm_s3.configs import ConfigStore, EnvironmentSettings
from apm_s3.errors import AccessDenied
from apm_s3.testing import MemoryObjects
from tests.configs.samples import GRAFANA, LOKI, OTHER_PROMETHEUS, PROMETHEUS, RULES, THIRD_PROMETHEUS
from tests.golden import FOLDER, dump
from tests.seams.store import write_ids_from

START = 1_767_225_600.0
"""2026-01-01."""

LONG_RULES = "groups:\n" + "".join(
    f"  - name: group{n}\n    rules:\n      - {{alert: Down{n}, expr: up == 0}}\n" for n in range(240)
)


async def write() -> MemoryObjects:
    """A store with releases of every origin, a mark, a freeze, a backup, and what a cut-short write leaves."""
    objects = MemoryObjects("golden", now=START)
    store = ConfigStore(objects)

    def later(seconds: float = 3600.0) -> None:
        objects.now = (objects.now or 0) + seconds

    bundle = {"prometheus.yml": PROMETHEUS, "rules/api.yml": RULES, "rules/long.yml": LONG_RULES}
    await store.upload("prometheus", "staging", files=bundle, author="Ada", message="first")
    later()
    await store.upload("grafana", "staging", GRAFANA, author="Ada")
    await store.upload("loki", "staging", LOKI, message="Grüße")
    later()
    await store.deploy(await store.plan_deploy("staging", "production", create=True), author="Ada", message="go live")
    later()
    await store.mark_good("prometheus", "production")
    await store.upload("prometheus", "production", OTHER_PROMETHEUS, author="Bo", message="slower")
    later()
    await store.upload("prometheus", "production", "globl: {}\n", force="an incident", message="broken")
    await store.rollback("prometheus", "production", author="Bo", message="back to the good one")
    later()
    backup = await store.backup(None, "production", author="cron", message="nightly")
    await store.remove("loki", "production", author="Bo", message="moved away")
    later()
    await store.restore(backup.key, tool="loki", author="Bo", message="moved back")
    await store.upload("prometheus", "staging", THIRD_PROMETHEUS)
    await store.freeze("staging", "being rebuilt", author="Ada")
    later()
    settings = EnvironmentSettings(
        target_versions={"prometheus": "3.0"}, deploy_from=("staging",), keep_log=timedelta(days=400)
    )
    await store.set_settings("production", settings, author="Ada", message="rules of production")
    for _ in range(100):
        # So many that older entries of the log have to be stored.
        later(1)
        await store.mark_good("prometheus", "production", 1, author="Bo", message="still good")
    with suppress(AccessDenied), mock.patch.object(objects, "put", _without_commits(objects)):
        # A writer that ends before its commit leaves what it stored.
        await store.upload("prometheus", "production", THIRD_PROMETHEUS, author="Cy")
    return objects


def _without_commits(objects: MemoryObjects) -> Any:
    put = objects.put

    async def refusing(key: str, body: bytes, **options: Any) -> Any:
        if key.endswith("/current.json"):
            raise AccessDenied("refused", status=403)
        return await put(key, body, **options)

    return refusing


def main() -> None:
    name = sys.argv[1]
    with write_ids_from(random.Random(name)):
        objects = asyncio.run(write())
    (FOLDER / f"{name}.json").write_text(dump(objects), encoding="utf-8")


if __name__ == "__main__":
    main()
