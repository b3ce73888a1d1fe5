"""Makes the pictures of the command line in docs/images/: real commands on a real terminal, drawn by Rich.

    python tools/screenshots.py docs/images

It runs the commands on the embedded server of `apm_s3.testing`, with the example configurations.
"""

from __future__ import annotations

import io
import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from apm_s3.testing import embedded_server

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples" / "configs"
COLUMNS = 110
_FONTS = re.compile(r"@font-face\s*\{\{.*?\}\}\s*", re.DOTALL)
"""Rich's pictures load fonts from another host, which readers of a page do not expect."""
_TYPED, _READ = 1.0, 3.0
"""Seconds in the recording before a command's output appears, and before the next command does."""
_RECORDED = ("plan", "deploy", "status")
_CLEARED = ("AWS_", "APM_S3_", "NO_COLOR")
_MISTAKES = (
    ("prometheus.yml", "scrape_timeout: 10s", "scrape_timeout: 60s"),
    ("prometheus.yml", "rule_files:", "rule_flies:"),
    ("rules/checkout.yml", "sum by (job)", "sum bye (job)"),
)


@dataclass(frozen=True)
class Terminal:
    """Commands in one directory, on a terminal of `COLUMNS` columns."""

    directory: Path
    environ: Mapping[str, str]

    def quiet(self, *arguments: str) -> None:
        """Run a command that is not shown."""
        subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", "apm_s3.cli", *arguments],
            cwd=self.directory, env=dict(self.environ), check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def show(self, *arguments: str, typed: str = "") -> str:
        """Run a command, and return what the terminal shows, with its colours."""
        master, slave = pty.openpty()
        environ = {**self.environ, "COLUMNS": str(COLUMNS), "TERM": "xterm-256color", "PAGER": "cat"}
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "apm_s3.cli", *arguments],
            cwd=self.directory, env=environ, stdin=slave, stdout=slave, stderr=slave,
        )  # fmt: skip
        os.close(slave)
        shown = b""
        while True:
            select.select([master], [], [])
            try:
                data = os.read(master, 65536)
            except OSError:  # the program has closed the terminal
                break
            if not data:
                break
            shown += data
            if typed and b"Type" in shown:
                os.write(master, typed.encode())
                typed = ""
        os.close(master)
        process.wait()
        return _settled(shown.decode(errors="replace")).replace(str(self.directory), "~")


def _settled(text: str) -> str:
    """Return what is left on the screen: without the lines that a progress line has overwritten."""
    lines = text.replace("\r\n", "\n").split("\n")
    return "\n".join(re.split(r"\r|\x1b\[2K", line)[-1] for line in lines)


def draw(command: str, shown: str, *, title: str) -> str:
    """Return the picture of a terminal as SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
    console.print(Text.from_ansi(shown.rstrip("\n")))
    return console.export_svg(title=title, code_format=_FONTS.sub("", CONSOLE_SVG_FORMAT))


def record(shots: Sequence[str], *, title: str) -> str:
    """Return commands and their output, one after the other, as an SVG in which they appear in turn.

    Programs that show no animations, and readers who want none, see all of it at once.

    Args:
        shots: a command in the first line, its output in the others.
    """
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    moments: list[float] = []
    now = 0.5

    def show(text: Text) -> None:
        console.print(text)
        moments.extend([now] * (console.export_text(clear=False).count("\n") - len(moments)))

    for shot in shots:
        command, _, shown = shot.partition("\n")
        show(Text.assemble(("$ ", "bold green"), (command, "bold")))
        now += _TYPED
        show(Text.from_ansi(shown.rstrip("\n") + "\n"))
        now += _READ
    turns = "".join(
        f"[clip-path$='line-{line})'] {{ animation: appear {moment:g}s step-end }}\n"
        for line, moment in enumerate(moments)
    )
    style = (
        "@media (prefers-reduced-motion: no-preference) {\n"
        f"@keyframes appear {{ from {{ visibility: hidden }} to {{ visibility: visible }} }}\n{turns}}}\n"
    )
    picture = console.export_svg(title=title, code_format=_FONTS.sub("", CONSOLE_SVG_FORMAT))
    return picture.replace("</style>", f"{style}</style>", 1)


def main(target: Path) -> None:
    """Make all pictures."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, embedded_server() as server:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_CLEARED)}
        environ = {
            **kept,
            "AWS_ENDPOINT_URL": server.endpoint_url,
            "AWS_ACCESS_KEY_ID": server.credentials.key_id,
            "AWS_SECRET_ACCESS_KEY": server.credentials.secret,
            "AWS_REGION": "eu-central-1",
            "APM_S3_BUCKET": "apm-configs",
            "GIT_AUTHOR_NAME": "ada",
            "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        terminal = Terminal(Path(folder), environ)
        shots = {}
        for name, shown in _shots(terminal).items():
            picture = draw(shown.partition("\n")[0], shown.partition("\n")[2], title=f"apm-s3 {name}")
            _write(target / f"{name}.svg", picture)
            shots[name] = shown
        recording = record([shots[name] for name in _RECORDED], title="From staging to production")
        _write(target / "recording.svg", recording)


def _write(path: Path, picture: str) -> None:
    path.write_text(picture, encoding="utf-8")
    sys.stdout.write(f"{path}\n")


def _shots(terminal: Terminal) -> dict[str, str]:
    work = terminal.directory / "prometheus"
    shutil.copytree(EXAMPLES / "prometheus", work)
    shutil.copytree(EXAMPLES / "alertmanager", terminal.directory / "alertmanager")
    shutil.copytree(EXAMPLES, terminal.directory / "configs")
    shots: dict[str, str] = {}

    def shoot(name: str, *arguments: str, typed: str = "") -> None:
        shots[name] = f"{shlex.join(['apm-s3', *arguments])}\n{terminal.show(*arguments, typed=typed)}"

    terminal.quiet("bucket", "create", "apm-configs")
    notes = ("--author", "ada")
    terminal.quiet("config", "push", "prometheus", "-e", "staging", "-m", "Start with the example", *notes)
    terminal.quiet("config", "push", "alertmanager", "-e", "staging", "-m", "Route by team", *notes)
    terminal.quiet("config", "plan", "staging", "production", "--create", "--out", "first.plan")
    terminal.quiet("config", "deploy", "first.plan", "--yes", "-m", "Release 1", *notes)
    terminal.quiet("config", "good", "prometheus", "-e", "production")
    terminal.quiet("config", "backup", "-e", "production")

    _replace(work / "prometheus.yml", "scrape_interval: 30s", "scrape_interval: 15s", first=True)
    _replace(work / "rules/checkout.yml", "for: 10m", "for: 15m", first=True)
    shoot("diff", "config", "diff", "prometheus", "-e", "staging")
    terminal.quiet("config", "push", "prometheus", "-e", "staging", "-m", "Scrape twice as often", *notes)
    shoot("plan", "config", "plan", "staging", "production", "--out", "deploy.plan")
    shoot("deploy", "config", "deploy", "deploy.plan", "-m", "Release 2", *notes, typed="production\n")
    shoot("status", "config", "status", "--all")
    for name, old, new in _MISTAKES:
        _replace(work / name, old, new, first=True)
    shoot("validate", "config", "validate", "prometheus")
    shoot("migrate", "migrate", "configs", "s3://apm-configs/archive", "--journal", "move.journal")
    return shots


def _replace(path: Path, old: str, new: str, *, first: bool) -> None:
    text = path.read_text(encoding="utf-8")
    if old not in text:
        raise SystemExit(f"{path} does not contain {old!r}")
    path.write_text(text.replace(old, new, 1 if first else -1), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
