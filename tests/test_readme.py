"""The README is true: its code runs, CI runs its commands, and its links point to files."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from apm_s3 import Credentials, S3Manager
from apm_s3.configs import ConfigStore
from tests.servers import Server, require
from tests.test_examples import on

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = README + "".join(page.read_text() for page in sorted((ROOT / "docs").glob("*.md")))
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
PROGRAMS = [block for block in BLOCKS if "asyncio.run(" in block]
FRAGMENTS = [block for block in BLOCKS if "asyncio.run(" not in block]


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_in_the_readme_runs_repeatedly(program: str, moto: Server) -> None:
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", program], env=on(moto), capture_output=True, text=True)

        assert done.returncode == 0, done.stdout + done.stderr


def test_a_benchmark_in_the_readme_runs() -> None:
    require("nginx")
    options = ["--server", "nginx", "--rounds", "1", "--requests", "8"]

    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.small", *options, "apm_s3"], cwd=ROOT, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "apm_s3" in done.stdout


async def test_the_snippets_in_the_readme_run_one_after_another(
    moto: Server, bucket_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with S3Manager(
        region=moto.region, endpoint_url=moto.endpoint_url, credentials=Credentials("test", "testsecret")
    ) as s3:
        await s3.create_bucket(bucket_name)
        names: dict[str, Any] = {
            "s3": s3,
            "bucket": bucket_name,
            "configs": s3.configs(bucket_name),
            "PROMETHEUS": "scrape_configs: [{job_name: prometheus}]\n",
        }
        for environment in ("staging", "production"):
            await names["configs"].upload("prometheus", environment, names["PROMETHEUS"])
        for fragment in FRAGMENTS:
            code = compile(fragment, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            if inspect.isawaitable(running := eval(code, names)):
                await running


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\bs3\.([a-z_]+)\(", PAGES))))
def test_methods_that_the_documentation_calls_on_the_manager_exist(name: str) -> None:
    assert hasattr(S3Manager(), name)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\bconfigs\.([a-z_]+)\(", PAGES))))
def test_methods_that_the_documentation_calls_on_a_store_exist(name: str) -> None:
    assert hasattr(ConfigStore, name)


def test_the_readme_stays_short() -> None:
    assert len(README.splitlines()) < 200


def test_the_first_code_block_holds_the_two_commands() -> None:
    first = re.search(r"^```bash\n(.*?)^```", README, re.MULTILINE | re.DOTALL)

    assert first is not None
    demo, checks = first[1].splitlines()
    assert demo.endswith("apm-s3 demo")
    assert checks.endswith("nox")


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((?!https?:)([^)#]+)\)", README))))
def test_a_link_in_the_readme_points_to_a_file(target: str) -> None:
    assert (ROOT / target).exists()
