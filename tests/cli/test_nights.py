"""docs/recovery.md: the commands of its nights, each on a store that is damaged by hand."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

import pytest

from tests.cli.kit import Shell
from tests.faults.memory_s3 import error_response
from tests.faults.server import Exchange, FaultyS3

PAGE = (Path(__file__).parents[2] / "docs" / "recovery.md").read_text()
NIGHTS = dict(re.findall(r"^### ([^\n]+)\n(?:(?!^#).)*?^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
CURRENT = "configs/production/current.json"

Bucket = MutableMapping[str, Any]


def _find(bucket: Bucket, part: str) -> str:
    [key] = [key for key in bucket if part in key]
    return key


def _write(shell: Shell, key: str, body: bytes) -> None:
    (shell.directory / "body").write_bytes(body)
    shell.ok("object", "put", "body", f"s3://{shell.environ['APM_S3_BUCKET']}/{key}")


def _read(shell: Shell, key: str) -> str:
    return shell.ok("object", "cat", f"s3://{shell.environ['APM_S3_BUCKET']}/{key}")


def _edit_log(shell: Shell, bucket: Bucket) -> None:
    document = json.loads(_read(shell, CURRENT))
    document["log"]["entries"][1]["message"] = "nothing happened"
    _write(shell, CURRENT, json.dumps(document, separators=(",", ":")).encode())


def _freeze(shell: Shell) -> None:
    shell.ok("config", "freeze", "-m", "the migration", "--author", "Eve")


def _blob(shell: Shell, bucket: Bucket) -> None:
    release = json.loads(_read(shell, _find(bucket, "/releases/00000003-")))
    _write(shell, _find(bucket, release["files"]["prometheus.yml"]["blob"]), b"garbage")


DAMAGE: dict[str, Callable[[Shell, Bucket], None]] = {
    "A damaged release": lambda shell, bucket: _write(shell, _find(bucket, "/releases/00000003-"), b"garbage"),
    "A lost reference document": lambda shell, bucket: _write(shell, CURRENT, b"garbage"),
    "A damaged blob": _blob,
    "An old live copy": lambda shell, bucket: _write(shell, "live/production/prometheus/prometheus.yml", b"old"),
    "A broken log": _edit_log,
    "Frozen by somebody who has left": lambda shell, _: _freeze(shell),
    "The wrong revision is live": lambda shell, bucket: None,
    "A bucket restored to an earlier state": lambda shell, bucket: _write(
        shell, CURRENT, (shell.directory / "first").read_bytes()
    ),
}
REFUSALS = {
    "Credentials lost": (403, "InvalidAccessKeyId"),
    "The server is out for an hour": (503, "ServiceUnavailable"),
}
"""What the server answers, until the page says what happened meanwhile."""


@pytest.mark.parametrize("night", [*DAMAGE, *REFUSALS])
def test_the_commands_of_a_night_say_what_the_page_says(shell: Shell, memory: FaultyS3, night: str) -> None:
    shell.environ["APM_S3_ENVIRONMENT"] = "production"
    (shell.directory / "prometheus").mkdir()
    for number in (1, 2, 3):
        (shell.directory / "prometheus/prometheus.yml").write_text(f"scrape_configs: []\n# {number}\n")
        shell.ok("config", "push", "prometheus", "--yes", "-m", "x")
        if number == 1:
            (shell.directory / "first").write_text(_read(shell, CURRENT))
    if night in REFUSALS:

        async def refuse(exchange: Exchange) -> None:
            exchange.send(error_response(*REFUSALS[night]))

        memory.will(refuse, times=None)
    else:
        DAMAGE[night](shell, memory.s3.buckets[shell.environ["APM_S3_BUCKET"]])

    for block in NIGHTS[night].split("$ apm-s3 ")[1:]:
        command, *lines = block.splitlines()
        ran = shell(*shlex.split(command))
        said = ran.stdout + ran.stderr
        [status] = [int(line.split()[1]) for line in lines if line.startswith("status ")] or [0]
        assert ran.status == status, f"{command}: {ran.status}\n{said}"
        for line in lines:
            if line.startswith("# "):
                memory.rules.clear()
            else:
                assert line == "..." or line.startswith("status ") or line in said, f"{command}: {line}\n{said}"


@pytest.mark.parametrize("lost", ["blobs", "releases"])
def test_after_status_1_a_push_in_an_outage_has_changed_nothing(shell: Shell, memory: FaultyS3, lost: str) -> None:
    """As the page says. The server goes out with a write before the commit; an unanswered commit has status 5."""
    shell.environ["APM_S3_ENVIRONMENT"] = "production"
    bucket = memory.s3.buckets[shell.environ["APM_S3_BUCKET"]]
    (shell.directory / "prometheus").mkdir()
    file = shell.directory / "prometheus/prometheus.yml"
    file.write_text("scrape_configs: []\n")
    shell.ok("config", "push", "prometheus", "--yes", "-m", "x")
    is_out = False

    async def go_out(exchange: Exchange) -> None:
        nonlocal is_out
        is_out = is_out or (exchange.request.method == "PUT" and f"/{lost}/" in exchange.request.key)
        exchange.send(error_response(503, "ServiceUnavailable") if is_out else exchange.carry_out())

    told = [shell.ok("config", *command) for command in (["ls"], ["log"], ["show", "prometheus"])]
    file.write_text("scrape_configs: []\n# better\n")
    memory.will(go_out, times=None)
    ran = shell("config", "push", "prometheus", "--yes", "-m", "x")
    memory.rules.clear()

    assert (ran.status, "try again later" in ran.stderr) == (1, True)
    assert [shell.ok("config", *command) for command in (["ls"], ["log"], ["show", "prometheus"])] == told
    assert [key for key in bucket if "# better" in _read(shell, key) and key.startswith("live/")] == []
    shell.ok("config", "fsck")
    assert "is at revision 2" in shell.ok("config", "push", "prometheus", "--yes", "-m", "x")


def test_each_night_with_commands_is_run() -> None:
    assert NIGHTS.keys() == DAMAGE.keys() | REFUSALS.keys()


ROWS = dict(
    re.findall(r"^\| ([^|]+) \| `([^`]+)`[^|]*\|$", PAGE.partition("### Each kind of damage")[2], re.MULTILINE)[:5]
)
KEYS: dict[str, Callable[[Shell, Bucket], str]] = {
    "`current.json`": lambda shell, bucket: CURRENT,
    "the current release": lambda shell, bucket: _find(bucket, "/releases/00000003-"),
    "an older release": lambda shell, bucket: _find(bucket, "/releases/00000002-"),
    "a blob": lambda shell, bucket: _find(
        bucket, json.loads(_read(shell, _find(bucket, "/releases/00000003-")))["files"]["prometheus.yml"]["blob"]
    ),
    "a live copy": lambda shell, bucket: "live/production/prometheus/prometheus.yml",
}
"""The object of each row of the page."""


@pytest.mark.parametrize("how", ["overwritten", "cut", "emptied", "deleted", "swapped"])
@pytest.mark.parametrize("what", KEYS)
def test_each_kind_of_damage_is_healed_by_the_command_of_the_page(
    shell: Shell, memory: FaultyS3, what: str, how: str
) -> None:
    shell.environ["APM_S3_ENVIRONMENT"] = "production"
    bucket = memory.s3.buckets[shell.environ["APM_S3_BUCKET"]]
    (shell.directory / "prometheus").mkdir()
    older: dict[str, str] = {}
    for number in (1, 2, 3):
        (shell.directory / "prometheus/prometheus.yml").write_text(f"scrape_configs: []\n# {number}\n")
        shell.ok("config", "push", "prometheus", "--yes", "-m", "x")
        older = older or {key: _read(shell, key) for key in bucket}
    key = KEYS[what](shell, bucket)
    text = _read(shell, key).encode()
    same_kind = key.rpartition("/")[0]
    swapped = older.get(key) or next(each for name, each in older.items() if name.startswith(same_kind))

    if how == "deleted":
        shell.ok("object", "rm", f"s3://{shell.environ['APM_S3_BUCKET']}/{key}", "--yes")
    else:
        bodies = {"overwritten": b"garbage", "cut": text[: len(text) // 2], "emptied": b"", "swapped": swapped.encode()}
        _write(shell, key, bodies[how])

    assert shell("config", "fsck").status == 1
    assert shell("config", "repair", "--yes").status == (1 if "--choose" in ROWS[what] else 0)
    shell.ok(*ROWS[what].split(), "--yes")
    shell.ok("config", "fsck")
    shell.ok("config", "push", "prometheus", "--yes", "-m", "back")


def test_each_row_of_the_page_is_tried() -> None:
    assert set(ROWS) == set(KEYS)
