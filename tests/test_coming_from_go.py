"""Each row of docs/coming-from-go.md runs."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import apm_s3
from apm_s3 import errors
from apm_s3.settings import Timeouts
from tests.managers import make_manager
from tests.servers import Server

PAGE = (Path(__file__).parents[1] / "docs" / "coming-from-go.md").read_text()
TABLES, _, TROUBLES = PAGE.partition("## Troubleshooting")
ROWS = re.findall(r"^\| (`.*?) \| (.*) \|$", TABLES, re.MULTILINE)
CODE = [code for _, python in ROWS for code in re.findall(r"`([^`]+)`", python)]
[IMPORTS] = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


async def run(code: str, names: dict[str, Any]) -> None:
    compiled = compile(code, "coming-from-go.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if inspect.isawaitable(running := eval(compiled, names)):
        await running


@pytest.mark.usefixtures("restored_logging")
async def test_every_row_runs(seaweedfs: Server, bucket_name: str) -> None:
    names: dict[str, Any] = {}
    await run(IMPORTS, names)
    settings = apm_s3.S3Settings(cache=apm_s3.CacheSettings(objects=True))
    async with make_manager(seaweedfs, settings) as s3:
        await s3.create_bucket(bucket_name)

        async def upload() -> None:
            await s3.upload_file(bucket_name, "key", b"content")

        names |= {
            "s3": s3, "configs": s3.configs(bucket_name), "bucket": bucket_name, "name": f"{bucket_name}-2",
            "apm_bucket": f"{bucket_name}-3", "key": "configs/prometheus.yml", "content": b"content", "key_id": "key",
            "tool": "prometheus", "environment": "staging", "config": {"scrape_configs": []}, "upload": upload,
            "error": apm_s3.ApmS3Error("problem"),
        }  # fmt: skip
        # Not names of keywords and functions, such as `async with`.
        ran = [code for code in CODE if re.search("[(.=]", code)]
        for code in ran:
            await run(code, names)
        await s3.delete_bucket(bucket_name, force=True)
        await s3.delete_bucket(names["apm_bucket"], force=True)
    assert len(ran) > len(ROWS)


def test_names_are_imported_from_where_they_are_public() -> None:
    imports = [node for node in ast.walk(ast.parse(IMPORTS)) if isinstance(node, ast.ImportFrom)]

    for node in imports:
        assert {name.name for name in node.names} <= set(importlib.import_module(str(node.module)).__all__), node.module


async def test_advice_on_problems_names_errors_and_calls_that_exist() -> None:
    _, *rows = re.findall(r"^\| [a-z ]+ \|(.*)\| (.*) \|$", TROUBLES, re.MULTILINE)
    names: dict[str, Any] = {"s3": apm_s3.S3Manager(), "Timeouts": Timeouts}
    await run(IMPORTS, names)
    calls = [code for _, advice in rows for code in re.findall(r"`(?:await )?(\w+(?:\.\w+)*)\(", advice)]

    assert len(rows) == 7
    assert {name for found, _ in rows for name in re.findall(r"`(\w+)`", found)} <= set(errors.__all__)
    assert len(calls) > 5
    for call in calls:
        await run(call, names | {"configs": apm_s3.ConfigStore})
