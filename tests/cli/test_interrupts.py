"""Ctrl-C in the middle of commands: one line, status 130, nothing half done, and how to go on."""

from __future__ import annotations

import gc
import os
import re
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from apm_s3.cli import main
from tests.cli.kit import Shell
from tests.cli.memory import press_ctrl_c
from tests.cli.stores import on_store, three_revisions
from tests.configs.samples import LOKI
from tests.faults.memory_s3 import StoredObject, _etag
from tests.faults.server import Exchange, FaultyS3
from tests.seams.cli import cancelled_while_connecting, interrupted_while_loading

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT for this process")

NOTHING = "Nothing was changed."
LARGE = b"x" * (20 * 1024**2)


@pytest.fixture
def place(shell: Shell, memory: FaultyS3) -> str:
    """The shell's bucket, with three objects."""
    bucket = memory.s3.buckets[shell.environ["APM_S3_BUCKET"]]
    for key in ("dir/a", "dir/b", "c"):
        bucket[key] = StoredObject(b"old", {"content-type": "text/plain"}, _etag(b"old"))
    shell.environ["APM_S3_ENVIRONMENT"] = "staging"
    return f"s3://{shell.environ['APM_S3_BUCKET']}"


def stored(memory: FaultyS3, shell: Shell) -> dict[str, bytes]:
    return {key: found.body for key, found in memory.s3.buckets[shell.environ["APM_S3_BUCKET"]].items()}


@pytest.mark.parametrize(
    ("command", "request_", "told"),
    [
        ("object put new {place}/c", "PutObject", "The object was not stored; run it again."),
        ("object put large {place}/c", "UploadPart", "The object was not stored; run it again."),
        ("object get {place}/c new", "GetObject", "new is as it was; run it again."),
        ("object cat {place}/c", "GetObject", NOTHING),
        ("object ls {place} -r", "ListObjectsV2", NOTHING),
        ("object rm {place}/dir/ -r --yes", "DeleteObjects", "Run it again: it goes on with what is left."),
        ("object cp {place}/c {place}/d", "CopyObject", "{place}/c is still there; run it again."),
        ("object mv {place}/c {place}/d", "CopyObject", "{place}/c is still there; run it again."),
        ("object sync . {place}/up", "PutObject", "Run it again: only what is still missing is copied."),
        ("sync {place}/dir down", "GetObject", "Run it again: only what is still missing is copied."),
        ("bucket rm {bucket} --force --yes", "DeleteObjects", "Run it again: it goes on with what is left."),
        ("bucket usage {bucket}", "ListObjectVersions", NOTHING),
        ("health", "GetObject", NOTHING),
        ("migrate {place}/dir {place}/copy", "CopyObject", "Nothing remembers how far it came; with --journal FILE"),
    ],
)
def test_ctrl_c_leaves_nothing_half_done(
    command: str, request_: str, told: str, shell: Shell, memory: FaultyS3, place: str
) -> None:
    (shell.directory / "new").write_bytes(b"new")
    if "large" in command:
        (shell.directory / "large").write_bytes(LARGE)
    before = stored(memory, shell)
    names = {"place": place, "bucket": shell.environ["APM_S3_BUCKET"]}
    memory.will(press_ctrl_c, request_)

    ran = shell(*(word.format(**names) for word in command.split()))

    assert ran.status == 130, ran
    assert ran.stdout == ""
    assert ran.stderr.splitlines()[-1].startswith(f"Interrupted. {told.format(**names)}")
    assert "Traceback" not in ran.stderr
    assert stored(memory, shell) == before
    assert memory.s3.uploads == {}
    assert not [path.name for path in shell.directory.iterdir() if path.name not in ("new", "large", "down")]
    assert (shell.directory / "new").read_bytes() == b"new"


def test_ctrl_c_during_a_commit_names_the_command_that_tells_its_outcome(
    shell: Shell, memory: FaultyS3, place: str
) -> None:
    on_store(shell, three_revisions)

    async def interrupted(exchange: Exchange) -> None:
        if exchange.request.key.endswith("current.json"):
            os.kill(os.getpid(), signal.SIGINT)
        exchange.send(exchange.carry_out())

    memory.will(interrupted, "PutObject", times=None)
    ran = shell("config", "rollback", "prometheus", "-m", "Back")
    memory.rules.clear()

    assert ran.status == 130, ran
    outcome = re.fullmatch(r"\nInterrupted\. See whether it was committed: apm-s3 (config outcome \S+)\n", ran.stderr)
    assert outcome is not None, ran.stderr
    assert shell.json(*outcome[1].split())["outcome"] == "won"
    assert shell.json("config", "ls")["releases"][0]["revision"] == 4


@pytest.mark.parametrize(
    ("command", "request_"),
    [
        ("config backup", "PutObject"),
        ("config verify {key}", "GetObject"),
        ("config drill {key}", "PutObject"),
        ("config restore {key} --yes -m Back", "GetObject"),
        ("config fsck", "GetObject"),
        ("config gc --keep-revisions 1 --yes", "GetObject"),
        ("config push bundle -m New", "PutObject"),
        ("config import tree -m Taken --yes", "PutObject"),
        ("config plan staging production --create --out deploy.plan", "GetObject"),
        ("config pull prometheus", "GetObject"),
        ("config history prometheus", "GetObject"),
        ("config status --all", "GetObject"),
    ],
)
def test_ctrl_c_leaves_the_store_whole(command: str, request_: str, shell: Shell, memory: FaultyS3, place: str) -> None:
    on_store(shell, three_revisions)
    (backup,) = shell.json("config", "backup")["backups"]
    (shell.directory / "bundle").mkdir()
    (shell.directory / "bundle/prometheus.yml").write_text("scrape_configs: [{job_name: new}]\n")
    (shell.directory / "tree/staging/loki").mkdir(parents=True)
    (shell.directory / "tree/staging/loki/loki.yml").write_text(LOKI)
    memory.will(press_ctrl_c, request_)

    ran = shell(*(word.format(key=backup["key"]) for word in command.split()))
    memory.rules.clear()

    assert ran.status == 130, ran
    assert ran.stdout == ""
    [told] = [line for line in ran.stderr.splitlines() if line]
    assert told.startswith("Interrupted. ")
    assert shell("config", "fsck").status == 0
    assert [one["revision"] for one in shell.json("config", "history", "prometheus")["releases"]] == [3, 2, 1]
    assert [one["key"] for one in shell.json("config", "backups")["backups"]] == [backup["key"]]
    assert not (shell.directory / "deploy.plan").exists()
    assert not (shell.directory / "prometheus").exists()


def test_ctrl_c_that_meets_another_cancellation_is_one_line_too(shell: Shell) -> None:
    with cancelled_while_connecting():
        ran = shell("config", "status")

    assert (ran.status, ran.stdout, ran.stderr) == (130, "", "\nInterrupted. Nothing was changed.\n")


def test_a_watch_ends_with_ctrl_c(shell: Shell, memory: FaultyS3, place: str) -> None:
    on_store(shell, three_revisions)

    polls = 0

    async def interrupted(exchange: Exchange) -> None:
        nonlocal polls
        polls += bool(exchange.request.headers.get("if-none-match"))
        # On a busy machine, the first poll may be sent in the turn of the loop before the release is printed.
        if polls == 2:
            os.kill(os.getpid(), signal.SIGINT)
        exchange.send(exchange.carry_out())

    memory.will(interrupted, "GetObject", times=None)
    ran = shell("config", "watch", "--interval", "0.1")

    assert (ran.status, ran.stdout.count("revision 3")) == (130, 1)
    assert ran.stderr == "\nInterrupted. It only watched.\n"


def test_the_key_ctrl_c_of_a_real_terminal_interrupts(shell: Shell, memory: FaultyS3, place: str) -> None:
    import pty

    arrived = False

    async def hang(exchange: Exchange) -> None:
        nonlocal arrived
        arrived = True
        await exchange.hang()

    memory.will(hang, "ListObjectVersions", times=None)
    master, slave = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", _CONTROLLED, "bucket", "usage", shell.environ["APM_S3_BUCKET"]],
        stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        env={**os.environ, **shell.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    os.close(slave)
    shown = b""
    while not arrived and child.poll() is None:
        select.select([], [], [], 0.01)
    os.write(master, b"\x03")
    try:
        while data := os.read(master, 65536):
            shown += data
    except OSError:
        pass
    finally:
        os.close(master)
    assert child.wait() == 130, shown
    assert b"^C\r\nInterrupted. Nothing was changed.\r\n" in shown


_CONTROLLED = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from apm_s3.cli import main
main()
"""
"""Makes the terminal the controlling one, which sends signals for its keys."""


def test_ctrl_c_while_modules_load_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    threshold = gc.get_threshold()
    try:
        with interrupted_while_loading(), pytest.raises(SystemExit) as ended:
            main()
    finally:
        gc.set_threshold(*threshold)

    assert ended.value.code == 130
    assert capsys.readouterr().err == "\nInterrupted. Nothing was changed.\n"
