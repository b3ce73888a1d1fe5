"""Runs commands in this process: piped, or on a real pseudo-terminal. A process of their own would cost a second each."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import select
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, cast
from unittest import mock

from tests.managers import SESSION
from tests.seams.cli import run, sharing
from tests.servers import Server

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[@-_])")
_CLEARED = ("APM_S3_", "AWS_", "GIT_", "NO_COLOR", "COLUMNS", "PAGER", "EDITOR", "VISUAL", "TERM")


@dataclass(frozen=True)
class Ran:
    """How a command ended.

    Attributes:
        screen: what a terminal showed, with its escape sequences; empty if the command was piped.
    """

    status: int
    stdout: str = ""
    stderr: str = ""
    screen: str = ""

    @property
    def plain(self) -> str:
        """What a terminal showed, without colours."""
        return _ESCAPES.sub("", self.screen).replace("\r\n", "\n").replace("\r", "\n")


@dataclass
class Shell:
    """A working directory, an environment, and commands.

    Attributes:
        environ: variables for the commands, besides those of this process that have nothing to do with them.
        typed: what is on standard input of a piped command.
    """

    directory: Path
    environ: dict[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: object, typed: str = "") -> Ran:
        """Run a command with pipes."""
        streams = {"stdin": _stream(typed), "stdout": _stream(), "stderr": _stream()}
        with self._inside(arguments), mock.patch.multiple(sys, **streams):
            status = run(list(map(str, arguments)))
        return Ran(int(status), *(_written(streams[name]) for name in ("stdout", "stderr")))

    def ok(self, *arguments: object, typed: str = "") -> str:
        """Run a command that must succeed, and return what it printed."""
        ran = self(*arguments, typed=typed)
        assert ran.status == 0, f"{arguments}: {ran.status}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    def json(self, *arguments: object, status: int = 0) -> Any:
        """Run a command with `--output json`, and return its document."""
        ran = self(*arguments, "--output", "json")
        assert ran.status == status, f"{arguments}: {ran.status}\n{ran.stdout}\n{ran.stderr}"
        return json.loads(ran.stdout)

    def terminal(self, *arguments: object, typed: str = "", columns: int = 100, rows: int = 40) -> Ran:
        """Run a command on a pseudo-terminal with `typed` on its keyboard."""
        with self._inside(arguments), pseudo_terminal(columns, rows) as terminal:
            terminal.type(typed)
            status = run(list(map(str, arguments)))
        return Ran(int(status), screen=terminal.shown)

    @contextlib.contextmanager
    def _inside(self, arguments: tuple[object, ...]) -> Iterator[None]:
        """Change to the directory and the environment, and let the commands share the session of all tests."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_CLEARED)}
        state = {"XDG_STATE_HOME": f"{self.directory}.state"}
        before = Path.cwd()
        os.chdir(self.directory)
        try:
            with (
                mock.patch.dict(os.environ, {**kept, **_QUIET_GIT, **state, **self.environ}, clear=True),
                mock.patch.object(sys, "argv", ["apm-s3", *map(str, arguments)]),
                sharing(SESSION),
            ):
                yield
        finally:
            os.chdir(before)


_QUIET_GIT = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "AWS_CONFIG_FILE": os.devnull,
              "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_EC2_METADATA_DISABLED": "true", "TERM": "xterm-256color"}  # fmt: skip


def _stream(text: str = "") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8", write_through=True)


def _written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    return cast("io.BytesIO", stream.buffer).getvalue().decode()


def on_server(server: Server) -> dict[str, str]:
    """The variables with which commands reach `server`."""
    return {
        "AWS_ENDPOINT_URL": server.endpoint_url,
        "AWS_ACCESS_KEY_ID": server.credentials.key_id,
        "AWS_SECRET_ACCESS_KEY": server.credentials.secret,
        "AWS_REGION": server.region,
    }


class Terminal:
    """Both ends of a pseudo-terminal: what is typed, and what it showed."""

    def __init__(self, master: int) -> None:
        self._master = master
        self._read: list[bytes] = []
        self._reader = threading.Thread(target=self._read_all, name="terminal", daemon=True)
        self._reader.start()

    @property
    def shown(self) -> str:
        """Everything that was written to the terminal."""
        return b"".join(self._read).decode(errors="replace")

    def type(self, text: str) -> None:
        """Type on its keyboard."""
        os.write(self._master, text.encode())

    def join(self) -> None:
        """Wait until everything was read; the other end is closed."""
        self._reader.join()

    def _read_all(self) -> None:
        # Linux reports the closed other end as an error, others as an empty read.
        with contextlib.suppress(OSError):
            while data := os.read(self._master, 65536):
                self._read.append(data)


class Interactive:
    """A program on a pseudo-terminal of its own."""

    def __init__(self, arguments: list[str], environ: dict[str, str]) -> None:
        import pty  # not on Windows

        master, slave = pty.openpty()
        self._process = subprocess.Popen(
            arguments, stdin=slave, stdout=slave, stderr=slave, env=environ, start_new_session=True
        )
        os.close(slave)
        self._master = master
        self._shown = ""

    def type(self, text: str) -> None:
        """Type on its keyboard."""
        os.write(self._master, text.encode())

    def wait_for(self, text: str) -> None:
        """Wait until the terminal shows `text`, and forget what it showed until then."""
        while text not in self._shown:
            ready, _, _ = select.select([self._master], [], [], 60)
            assert ready, f"no {text!r} in {self._shown!r}"
            self._shown += os.read(self._master, 65536).decode(errors="replace")
        self._shown = self._shown.partition(text)[2]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)


@contextlib.contextmanager
def pseudo_terminal(columns: int = 100, rows: int = 40) -> Iterator[Terminal]:
    """Make the standard streams of this process a pseudo-terminal. It is not the controlling one: no signals."""
    import fcntl  # not on Windows
    import pty
    import struct
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    terminal = Terminal(master)
    streams = {
        "stdin": os.fdopen(os.dup(slave), "r", encoding="utf-8"),
        "stdout": os.fdopen(os.dup(slave), "w", encoding="utf-8", buffering=1),
        "stderr": os.fdopen(os.dup(slave), "w", encoding="utf-8", buffering=1),
    }
    os.close(slave)
    sizes: Mapping[str, str] = {"COLUMNS": str(columns), "LINES": str(rows)}
    try:
        with mock.patch.multiple(sys, **streams), mock.patch.dict(os.environ, sizes):
            yield terminal
    finally:
        for stream in streams.values():
            stream.close()
        terminal.join()
        os.close(master)
