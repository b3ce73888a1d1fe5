"""The Python code of the documentation runs, block after block, and prints what the page says."""

from __future__ import annotations

import ast
import asyncio
import codeop
import inspect
import io
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
import yaml
from aiohttp import web

from apm_s3 import validate_config
from apm_s3.testing import MemoryObjects
from tests.managers import make_manager
from tests.servers import Server, require
from tests.test_examples import on

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(
    r"^(?P<indent> *)```python\n(?P<code>.*?)^ *```\n(?:\n(?P=indent)```text\n(?P<output>.*?)^ *```\n)?",
    re.MULTILINE | re.DOTALL,
)
PAGES = sorted([*DOCS.glob("*.md"), DOCS.parent / "README.md"])
Names = dict[str, Any]

OPENED = (
    "buckets-and-objects.md",
    "caching.md",
    "configurations.md",
    "leaving-minio.md",
    "logs.md",
    "metrics.md",
    "migration.md",
    "recovery.md",
    "regions.md",
    "secrets.md",
)
"""Pages that use what the code of docs/install.md opens."""
ALONE = ("fastapi.md", "install.md", "security.md", "testing.md", "tutorial.md", "validation.md")
ELSEWHERE = ("README.md", "coming-from-go.md", "notifications.md", "tracing.md")
"""Pages whose code has tests of its own, here, in test_coming_from_go.py and in test_readme.py."""


@pytest.mark.usefixtures("restored_logging")
@pytest.mark.parametrize("page", [*ALONE, *OPENED])
async def test_the_code_of_a_page_runs_and_prints_what_the_page_says(
    page: str, moto: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(prometheus_client, "start_http_server", lambda port: None)
    Path("examples").symlink_to(DOCS.parent / "examples")
    names: Names = {}
    # The embedded servers of a process share their buckets.
    async with emptied(moto):
        try:
            for name in ("install.md", page) if page in OPENED else (page,):
                await run_page(name, names)
            for name, value in list(names.items()):
                if name.startswith("test_"):
                    await value(MemoryObjects())
        finally:
            if "watching" in names:
                names["watching"].cancel()
                prometheus_client.REGISTRY.unregister(names["exporter"])
            if "stack" in names:
                await names["stack"].aclose()


@asynccontextmanager
async def emptied(server: Server) -> AsyncIterator[None]:
    """Delete the buckets that were made in the block."""
    async with make_manager(server) as s3:
        before = {bucket.name for bucket in await s3.list_buckets()}
        try:
            yield
        finally:
            for bucket in await s3.list_buckets():
                if bucket.name not in before:
                    await s3.delete_bucket(bucket.name, force=True)


def blocks(language: str, page: str) -> list[str]:
    text = (DOCS / page).read_text()
    return [
        textwrap.dedent(block)
        for block in re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    ]


async def run_page(page: str, names: Names) -> None:
    """Run the blocks of a page as at a prompt; `...` in their output stands for anything."""
    text = (DOCS / page).read_text()
    # Of the whole page, because a block may keep sys.stdout for those that follow.
    printed = io.StringIO()
    for block in BLOCK.finditer(text):
        place = f"{page}:{text.count(chr(10), 0, block.start())}"
        code = compile(textwrap.dedent(block["code"]), place, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        begin = printed.tell()
        with redirect_stdout(printed):
            if inspect.isawaitable(running := eval(code, names)):
                await running
        output = printed.getvalue()[begin:]
        if block["output"] is not None:
            pattern = re.escape(block["output"]).replace(r"\.\.\.", ".*")
            assert re.fullmatch(pattern, output, re.DOTALL), f"{place} prints:\n{output}"


async def test_the_program_of_the_page_on_tracing_prints_spans(moto: Server) -> None:
    [program] = blocks("python", "tracing.md")

    async with emptied(moto):
        done = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", program], env=on(moto), capture_output=True, text=True
        )

    assert done.returncode == 0, done.stdout + done.stderr
    assert {"ConfigStore.upload", "S3.PutObject", "apm_s3.commit"} <= set(
        re.findall(r'^    "name": "(.+)"', done.stdout, re.MULTILINE)
    )


async def test_the_program_of_the_page_on_notifications_delivers_and_remembers(
    moto: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in (on(moto) | {"HOOK_SECRET": "a secret of 24 bytes or more", "GRAFANA_TOKEN": "token"}).items():
        monkeypatch.setenv(name, value)
    program, receiver = blocks("python", "notifications.md")
    got: dict[str, tuple[dict[str, str], bytes]] = {}
    remembered = asyncio.Queue[str]()

    async def take(request: web.Request) -> web.Response:
        got[request.path] = dict(request.headers), await request.read()
        return web.Response()

    runner = web.ServerRunner(web.Server(take))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    program = re.sub(r"https://(ops|grafana)\.example\.com", url, program.replace("asyncio.run(main())", ""))
    names: Names = {}
    exec(compile(program, "notifications.md", "exec"), names)
    write = names["remember"]

    async def remember(target: str, entry: Any) -> None:
        await write(target, entry)
        remembered.put_nowait(target)

    names["remember"] = remember
    async with emptied(moto), make_manager(moto) as s3:
        await s3.create_bucket("acme-apm-configs")
        await s3.configs("acme-apm-configs").upload("prometheus", "production", "scrape_configs: []\n")
        for target in ("ops", "grafana"):
            Path(f"delivered.{target}").write_text("0")
        async with asyncio.TaskGroup() as group:
            running = group.create_task(names["main"]())
            told = {await remembered.get(), await remembered.get()}
            running.cancel()
    await runner.cleanup()

    assert told == {"ops", "grafana"}
    assert {path.name: path.read_text() for path in Path().iterdir()} == {
        "delivered.ops": "1",
        "delivered.grafana": "1",
    }
    assert set(got) == {"/hooks/apm", "/api/annotations"}
    exec(compile(receiver, "notifications.md", "exec"), names)
    headers, body = got["/hooks/apm"]
    assert names["accept"](headers, body, os.environ["HOOK_SECRET"])
    assert not names["accept"](headers, body, "another secret of 24 bytes or more")


def test_examples_of_configurations_are_valid(tmp_path: Path) -> None:
    for page in ("fastapi.md", "secrets.md"):
        [example] = blocks("yaml", page)
        assert validate_config("prometheus", example).ok, page
    [location] = blocks("nginx", "fastapi.md")
    (tmp_path / "nginx.conf").write_text(f"events {{}} http {{ server {{ listen 127.0.0.1:8080; {location} }} }}")
    checked = subprocess.run(
        [require("nginx"), "-t", "-p", tmp_path, "-c", "nginx.conf", "-e", "stderr", "-g", f"pid {tmp_path}/pid;"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stderr


def test_the_hook_on_the_page_is_the_hook_of_the_repository() -> None:
    [example] = blocks("yaml", "validation.md")
    [[shown], [hook]] = (
        yaml.safe_load(example)["repos"][0]["hooks"],
        yaml.safe_load((DOCS.parent / ".pre-commit-hooks.yaml").read_text()),
    )

    same = ("id", "name", "entry", "language", "files", "require_serial")
    assert {name: shown[name] for name in same} == {name: hook[name] for name in same}


def test_every_page_with_code_has_a_test() -> None:
    with_code = {page.name for page in PAGES if re.search(r"^ *```python$", page.read_text(), re.MULTILINE)}

    assert with_code == {*ALONE, *OPENED, *ELSEWHERE}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_with_await_can_be_pasted_into_the_console(page: Path) -> None:
    """The console of Python 3.12 and older reads line by line: only a blank line ends an indented block."""
    for code in re.findall(r"^ *```python\n(.*?)^ *```$", page.read_text(), re.MULTILINE | re.DOTALL):
        program = textwrap.dedent(code)
        compiler = codeop.CommandCompiler()
        try:
            compiler(program, symbol="exec")
        except SyntaxError:
            compiler.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        else:
            continue
        typed: list[str] = []
        for line in [*program.splitlines(), ""]:
            typed.append(line)
            if compiler("\n".join(typed), page.name) is not None:
                typed.clear()
        assert typed == []
