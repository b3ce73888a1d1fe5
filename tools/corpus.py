"""Collect a labelled corpus of configurations from a checkout, for `tests/validators/test_corpus.py`.

    python -m tools.corpus prometheus ../prometheus --out corpus

Every configuration in the checkout is copied to the folder `--out`, and its label is what the tool's own checker
(`promtool`, `amtool`) says. Use the checker of the release that the checkout is of. The corpus is not part of this
repository: it belongs to the projects that it comes from.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_MAX_BYTES = 1024**2


@dataclass(frozen=True, slots=True)
class Checker:
    """How a kind of file is recognised, and who says whether it is good.

    Attributes:
        tool: the name in the manifest.
        marks: top-level keys of which a file of this kind has one.
        command: the program and its arguments; the file's path follows.
    """

    tool: str
    marks: tuple[str, ...]
    command: tuple[str, ...]


CHECKERS: dict[str, tuple[Checker, ...]] = {
    "prometheus": (
        Checker(
            "prometheus",
            ("scrape_configs", "scrape_config_files", "remote_write", "remote_read", "alerting"),
            ("promtool", "check", "config", "--syntax-only", "--lint=none"),
        ),
        Checker("prom-rules", ("groups",), ("promtool", "check", "rules", "--lint=none")),
    ),
    "alertmanager": (Checker("alertmanager", ("receivers", "route"), ("amtool", "check-config")),),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the corpus, and what its checker said of it."""

    tool: str
    file: str
    label: str
    real_tool_error: str


def collect(tool: str, checkout: Path, out: Path) -> list[Entry]:
    """Copy and label every configuration of `tool` in `checkout`; the manifest is written last.

    Raises:
        FileNotFoundError: the checker is not installed.
    """
    checkers = CHECKERS[tool]
    for checker in checkers:
        if shutil.which(checker.command[0]) is None:
            raise FileNotFoundError(f"{checker.command[0]} is not installed: labels are what it says")
    entries: dict[str, Entry] = {}
    for path in sorted(checkout.rglob("*.y*ml")):
        found = _checker_of(path, checkers)
        if found is None:
            continue
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        target = out / found.tool / f"{digest}.yml"
        if target.name not in entries:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            entries[target.name] = _label(found, path, target.relative_to(out))
    _write_manifest(out / "manifest.tsv", list(entries.values()))
    return list(entries.values())


def _checker_of(path: Path, checkers: tuple[Checker, ...]) -> Checker | None:
    if path.stat().st_size > _MAX_BYTES:
        return None
    text = path.read_text(encoding="utf-8", errors="replace")
    keys = set(re.findall(r"^([a-z_]+):", text, re.MULTILINE))
    return next((checker for checker in checkers if keys & set(checker.marks)), None)


def _label(checker: Checker, path: Path, file: Path) -> Entry:
    # Where the file lies, so that the checker finds what it refers to.
    command = [*checker.command, path.name]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    said = " ".join((done.stdout + " " + done.stderr).split())
    return Entry(checker.tool, file.as_posix(), "bad" if done.returncode else "good", said if done.returncode else "")


def _write_manifest(path: Path, entries: list[Entry]) -> None:
    rows = [entry for entry in _read_manifest(path) if entry.tool not in {new.tool for new in entries}] + entries
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONE, escapechar="\\", lineterminator="\n")
        writer.writerow(("tool", "file", "label", "real_tool_error"))
        writer.writerows((row.tool, row.file, row.label, row.real_tool_error) for row in rows)


def _read_manifest(path: Path) -> list[Entry]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [Entry(row["tool"], row["file"], row["label"], row["real_tool_error"]) for row in rows]


def main(arguments: list[str] | None = None) -> int:
    """Collect, and say how many are good and bad."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool", choices=sorted(CHECKERS))
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    try:
        entries = collect(given.tool, given.checkout, given.out)
    except FileNotFoundError as exc:
        sys.stderr.write(f"{exc}\n")
        return 2
    good = sum(entry.label == "good" for entry in entries)
    sys.stdout.write(f"{len(entries)} files: {good} good, {len(entries) - good} bad\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
