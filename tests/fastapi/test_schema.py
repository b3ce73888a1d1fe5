"""Schemathesis holds the application against its own OpenAPI document."""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.fastapi.test_uvicorn import until_it_answers

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
