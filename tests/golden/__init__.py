"""Small stores as each released format wrote them: `format-N.json` holds every object of one bucket.

`python -m tests.golden.write format-N` writes the store of the present format. A file that was released is never
written again: every later version reads, writes, checks and repairs it.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from apm_s3.testing import MemoryObjects

FOLDER = Path(__file__).parent


def dump(objects: MemoryObjects) -> str:
    """The whole bucket as JSON."""
    return json.dumps({key: _described(*found) for key, found in sorted(objects.objects.items())}, indent=1) + "\n"


def _described(info: Any, body: bytes) -> dict[str, Any]:
    try:
        content = {"text": body.decode()}
    except UnicodeDecodeError:
        content = {"base64": base64.b64encode(body).decode()}
    return {**content, "metadata": dict(info.metadata), "modified": info.last_modified.isoformat()}


async def load(name: str, *, now: float) -> MemoryObjects:
    """The bucket of `format-N.json`, at the time `now`."""
    objects = MemoryObjects("golden")
    for key, stored in json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")).items():
        objects.now = datetime.fromisoformat(stored["modified"]).astimezone(UTC).timestamp()
        body = stored["text"].encode() if "text" in stored else base64.b64decode(stored["base64"])
        await objects.put(key, body, metadata=stored["metadata"])
    objects.now = now
    return objects
