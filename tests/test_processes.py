"""Processes of the package: nothing of the working directory runs in them, and they know nothing that they do not need."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from apm_s3.configs import ConfigStore
from apm_s3.errors import InvalidOption
from apm_s3.testing import MemoryObjects
from apm_s3.validators import validate_config
from tests.cli.kit import pseudo_terminal
from tests.seams.cli import find_author, find_message
from tests.seams.tasks import find_program
from tests.seams.validators import THREAD_BYTES, run_beside

MODULES = ("apm_s3", "yaml", "pickle", "encodings", "sitecustomize", "usercustomize")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with modules and programs of somebody else, who may have set search paths to it."""
    trap = f"open({str(tmp_path / 'trap')!r}, 'a').write(__name__)\n"
    for name in MODULES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(trap)
    for name in ("git", "promtool", "less", "sh"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {name} >> {tmp_path / 'trap'}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f":.:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", "")
    return tmp_path


SEEN = "(lambda os, sys: (os.getpid(), sys.path, dict(os.environ), os.getcwd(), sys.flags.isolated))(*map(__import__, ('os', 'sys')))"


async def in_process() -> Any:
    """What the process that checks large inputs sees."""
    return await run_beside(partial(eval, SEEN), THREAD_BYTES + 1)


async def test_the_process_that_checks_large_inputs_is_isolated(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setattr(sys, "path", ["", ".", str(checkout), *sys.path])

    pid, path, environ, folder, isolated = await in_process()

    assert pid != os.getpid()
    assert (folder, isolated) == (os.sep, 1)
    assert not {"", ".", str(checkout)} & set(path)
    assert set(environ) <= {"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR"}
    assert not (checkout / "trap").exists()


async def test_a_package_inside_the_working_directory_still_runs_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    import apm_s3

    monkeypatch.chdir(Path(apm_s3.__file__).parents[1])

    assert (await in_process())[0] != os.getpid()


@pytest.mark.parametrize("broken", ["", "python", None])
async def test_without_the_interpreters_path_a_thread_does_the_work(
    broken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", broken)

    assert (await in_process())[0] == os.getpid()


def test_modules_of_a_checkout_do_not_run_when_its_configurations_are_validated(checkout: Path) -> None:
    (checkout / "prometheus").mkdir()
    (checkout / "prometheus/prometheus.yml").write_text("scrape_configs: []\n" + "# much\n" * 200_000)
    command = [str(Path(sys.executable).parent / "apm-s3"), "config", "validate", "--output", "json", "prometheus"]

    done = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert json.loads(done.stdout), done.stderr
    assert not (checkout / "trap").exists()


def test_programs_of_a_checkout_are_not_found(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find_author(None)
    validate_config("prometheus", "global: {}", level="external")
    assert find_program("./git") is None
    assert find_program(str(checkout / "git")) == str(checkout / "git")
    monkeypatch.setenv("GIT_EDITOR", "sh -c true; echo Message >")
    with pseudo_terminal():
        assert find_message(None, "push") == "Message"

    assert not (checkout / "trap").exists()


async def test_a_history_is_not_read_with_the_git_of_a_checkout(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ConfigStore(MemoryObjects())
    for path in ("", ":", ".", "sub:.:"):
        monkeypatch.setenv("PATH", path)
        with pytest.raises(InvalidOption, match="git is not installed"):
            await store.plan_import(checkout, history=True)

    assert not (checkout / "trap").exists()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_editor_that_a_repository_names_is_not_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    subprocess.run(["git", "-C", str(tmp_path), "config", "core.editor", f"touch {tmp_path}/trap; true"], check=True)
    monkeypatch.chdir(tmp_path)
    for name in ("GIT_EDITOR", "VISUAL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EDITOR", "echo Message >")

    with pseudo_terminal():
        assert find_message(None, "push") == "Message"
    assert not (tmp_path / "trap").exists()
