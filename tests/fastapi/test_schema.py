"""The OpenAPI document is true: schemathesis finds nothing, and a client that is generated from it works."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from contextlib import closing
from pathlib import Path

import pytest

from apm_s3.configs import ConfigStore
from tests.fastapi.applications import serving
from tests.fastapi.test_uvicorn import running, until_it_answers

HERE = Path(__file__).parent


@pytest.mark.long
@pytest.mark.parametrize("token", ["admin-token", "masked-token"])
async def test_schemathesis_finds_nothing(token: str, tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as unused:
        port = unused.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "uvicorn", "tests.fastapi.schema_app:app", "--port", str(port), "--log-level", "critical",
        cwd=HERE.parents[1],
    )  # fmt: skip
    try:
        await until_it_answers(url)
        run = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml"), "run",
            f"{url}/openapi.json", "--header", f"Authorization: Bearer {token}", "--seed", "1",
            # The stream does not end by itself.
            "--exclude-path-regex", "watch", "--phases", "examples,coverage,fuzzing", "--max-examples", "50",
            "--no-color", "--continue-on-failure",
            cwd=tmp_path, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, _ = await run.communicate()
    finally:
        server.terminate()
        await server.wait()

    assert run.returncode == 0, output.decode()


async def run(*arguments: str | Path, cwd: Path, **environment: str) -> None:
    """Run a program of Python's, which must succeed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=cwd, env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


@pytest.mark.long
async def test_a_generated_client_type_checks_and_works(store: ConfigStore, tmp_path: Path) -> None:
    with serving(store) as app:
        (tmp_path / "openapi.json").write_text(json.dumps(app.openapi()))
        generate = ("generate", "--path", "openapi.json", "--meta", "none", "--output-path", "fast_api_client")
        await run("-m", "openapi_python_client", *generate, cwd=tmp_path)
        await run("-m", "mypy", "--strict", "fast_api_client", cwd=tmp_path)
        async with running(app) as port:
            url = f"http://127.0.0.1:{port}"
            await run(HERE / "client_flow.py", url, cwd=tmp_path, PYTHONPATH=str(tmp_path))
