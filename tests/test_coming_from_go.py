"""Each row of docs/coming-from-go.md runs."""

from __future__ import annotations

import ast
import inspect
import logging
import re
from pathlib import Path
from typing import Any

import apm_s3
import apm_s3.batch
import apm_s3.errors
import apm_s3.exporters.logs
import apm_s3.health
import apm_s3.metrics
import apm_s3.models
import apm_s3.options
from tests.managers import make_manager
from tests.servers import Server

PAGE = (Path(__file__).parents[1] / "docs" / "coming-from-go.md").read_text()
ROWS = re.findall(r"^\| (`.*?) \| (.*) \|$", PAGE.partition("## Troubleshooting")[0], re.MULTILINE)
CODE = [code for _, python in ROWS for code in re.findall(r"`([^`]+)`", python)]
MODULES = (
    apm_s3.options, apm_s3.models, apm_s3.batch, apm_s3.errors, apm_s3.metrics, apm_s3.health, apm_s3.exporters.logs, apm_s3,
)  # fmt: skip


async def run(code: str, names: dict[str, Any]) -> None:
    compiled = compile(code, "coming-from-go.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if inspect.isawaitable(running := eval(compiled, names)):
        await running


async def test_every_row_runs(seaweedfs: Server, bucket_name: str, monkeypatch) -> None:
    monkeypatch.setattr(apm_s3.exporters.logs, "configure_logging", lambda level: None)
    names: dict[str, Any] = {name: getattr(module, name) for module in MODULES for name in module.__all__}
    settings = apm_s3.S3Settings(cache=apm_s3.CacheSettings(objects=True))
    async with make_manager(seaweedfs, settings) as s3:
        await s3.create_bucket(bucket_name)

        async def upload() -> None:
            await s3.upload_file(bucket_name, "key", b"content")

        names |= {
            "s3": s3, "configs": s3.configs(bucket_name), "bucket": bucket_name, "name": f"{bucket_name}-2",
            "apm_bucket": f"{bucket_name}-3", "key": "configs/prometheus.yml", "content": b"content", "key_id": "key",
            "tool": "prometheus", "environment": "staging", "config": {"scrape_configs": []}, "upload": upload,
            "error": apm_s3.ApmS3Error("problem"), "logging": logging,
        }  # fmt: skip
        # Not names of keywords and functions, such as `async with`.
        ran = [code for code in CODE if re.search("[(.=]", code)]
        for code in ran:
            await run(code, names)
        await s3.delete_bucket(bucket_name, force=True)
        await s3.delete_bucket(names["apm_bucket"], force=True)
    assert len(ran) > len(ROWS)
