"""Copies for plain S3 clients: right in the end, whatever was written in their place, and cheap where nothing was."""

from __future__ import annotations

import pytest

from apm_s3.configs import ConfigStore
from apm_s3.testing import MemoryObjects
from tests.configs.samples import LOKI, OTHER_LOKI
from tests.seams.store import HASH_METADATA, Counting, ObjectStore, bucket_of

RULES = {f"rules/{number}.yaml": f"groups: []\n# {number}\n" for number in range(5)}
COPY = "live/production/loki/rules/0.yaml"


async def test_live_copies_that_this_store_wrote_or_read_are_not_requested_again() -> None:
    objects = Counting()
    store = ConfigStore(objects)
    await store.upload("loki", "production", files={"loki.yaml": LOKI, **RULES})
    await store.upload("loki", "production", OTHER_LOKI)
    assert objects.keys("head") == []

    for text in (LOKI, OTHER_LOKI):
        await ConfigStore(objects).upload("loki", "production", text)
        assert objects.count("head") == len(RULES)
        objects.requests.clear()


async def test_a_live_copy_from_another_writer_is_requested_once() -> None:
    objects = Counting()
    store = ConfigStore(objects)
    await store.upload("loki", "production", files={"loki.yaml": LOKI, **RULES})
    await ConfigStore(objects).upload("loki", "production", "groups: []\n# other\n", name="rules/0.yaml")
    objects.requests.clear()

    for text in (OTHER_LOKI, LOKI, OTHER_LOKI):
        await store.upload("loki", "production", text)

    assert objects.keys("head") == [COPY]


@pytest.mark.parametrize("mark", [{}, {HASH_METADATA: "00"}], ids=["foreign", "late"])
async def test_the_next_refresh_notices_an_overwritten_live_copy(
    store: ConfigStore, bucket_objects: ObjectStore, mark: dict[str, str]
) -> None:
    await store.upload("loki", "production", files={"loki.yaml": LOKI, **RULES})
    await store.upload("loki", "production", OTHER_LOKI)
    stray = RULES["rules/0.yaml"].replace("0", "x").encode()
    await bucket_objects.put(COPY, stray, metadata=mark)

    await store.upload("loki", "production", LOKI)

    assert (await bucket_objects.read(COPY))[1].decode() == RULES["rules/0.yaml"]
    assert (await store.fsck("production")).ok


async def test_the_main_file_is_copied_after_the_files_that_it_names() -> None:
    objects = MemoryObjects()
    store = ConfigStore(objects)
    await store.upload("loki", "production", files={"loki.yaml": LOKI, **RULES})
    for copies in ({"loki.yaml": OTHER_LOKI, "rules/0.yaml": "groups: []\n# new\n"}, {"loki.yaml": LOKI}):
        put: list[str] = []
        bucket_of(objects).observers[:] = [lambda key, _, put=put: put.append(key)]
        await store.upload("loki", "production", files={**RULES, **copies})
        assert [key for key in put if key.startswith("live/")][-1].endswith("/loki.yaml")
