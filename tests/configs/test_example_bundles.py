"""The example bundles through a store and back: what comes out is what the tools accept."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from apm_s3.configs import ConfigStore
from apm_s3.testing import MemoryObjects
from tests.seams.content import read_directory

EXAMPLES = Path(__file__).parents[2] / "examples" / "configs"
CHECKS = {
    "prometheus": ["promtool", "check", "config", "prometheus.yml"],
    "alertmanager": ["amtool", "check-config", "alertmanager.yml"],
}


async def through_a_store(tool: str, path: Path) -> Path:
    store = ConfigStore(MemoryObjects())
    await store.upload_dir(tool, "production", EXAMPLES / tool)
    await store.download_dir(tool, "production", path)
    return path


@pytest.mark.parametrize("tool", sorted(path.name for path in EXAMPLES.iterdir()))
async def test_an_example_bundle_round_trips_byte_for_byte(tool: str, tmp_path: Path) -> None:
    path = await through_a_store(tool, tmp_path / tool)

    assert (await read_directory(path)).files == (await read_directory(EXAMPLES / tool)).files


@pytest.mark.parametrize("tool", CHECKS)
async def test_the_tool_accepts_the_example_directory(tool: str, tmp_path: Path) -> None:
    checker, *arguments = CHECKS[tool]
    found = shutil.which(checker)
    if found is None:
        pytest.skip(f"{checker} is not installed")
    path = await through_a_store(tool, tmp_path / tool)

    checked = subprocess.run([found, *arguments], cwd=path, check=False, capture_output=True, text=True)  # noqa: ASYNC221

    assert checked.returncode == 0, checked.stdout + checked.stderr
