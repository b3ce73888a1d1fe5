"""Processes of other versions of this library, on the same store at the same time."""

from __future__ import annotations

import json
from typing import Any

from apm_s3.errors import FormatTooNew
from apm_s3.models import FileInfo
from tests.configs.simulation.bucket import Client
from tests.seams.store import entries_kept


class OldClient(Client):
    """Format 1, which has no log: refuses what is newer, and writes bare write ids."""

    async def read(self, key: str, **options: Any) -> Any:
        info, body = await super().read(key, **options)
        if key.endswith("/current.json") and json.loads(body)["format"] != 1:
            raise FormatTooNew("format 2, but this version knows 1 at most")
        return info, body

    async def put(self, key: str, body: bytes, **options: Any) -> FileInfo:
        if key.endswith("/current.json"):
            body = as_format_1(body)
        return await super().put(key, body, **options)


class LaterClient(Client):
    """A later version, which keeps fields of its own in every place where there can be some."""

    async def put(self, key: str, body: bytes, **options: Any) -> FileInfo:
        if key.endswith("/current.json"):
            document = json.loads(body)
            # The same for each send of one write: it follows from what was read.
            document["later"] = {"writes": document.get("later", {}).get("writes", 0) + 1}
            document["log"]["entries"][-1]["by_later"] = True
            for state in document["tools"].values():
                state["later"] = document["sequence"]
            body = json.dumps(document, separators=(",", ":")).encode()
        return await super().put(key, body, **options)


def as_format_1(body: bytes) -> bytes:
    """The reference document as the first format has it."""
    document = json.loads(body)
    ids = [*document.pop("writers", ()), *(entry["id"] for entry in document.pop("log")["entries"])]
    document.pop("needs")
    return json.dumps({**document, "format": 1, "writers": ids[-entries_kept() :]}, separators=(",", ":")).encode()
