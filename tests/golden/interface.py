"""What callers see: the help, the JSON and the errors of the command line, the OpenAPI document, the text of every error.

`python -m tests.golden.interface` writes the files of this folder anew. A change of one of them is a change that users
notice: its commit says why.
"""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from apm_s3.fastapi import config_router, feed_router
from tests.cli.kit import Ran, Shell, on_server
from tests.cli.memory import memory_server
from tests.cli.stores import on_store, three_revisions
from tests.golden import FOLDER
from tests.servers import Server
from tests.test_errors import every_error, make
from tools.cli_reference import reference

ROOT = str(Path(__file__).parents[2])
BUCKET = "apm-golden-configs"

_CHANGING = (
    (re.compile(r"\b[\w-]+\.[0-9a-f]{20}\b"), "WRITE-ID"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|\+00:00)?"), "TIME"),
    (re.compile(r"\d{8}T\d{6}(\.\d+)?Z?(-[0-9a-f]+)?"), "TIME"),
    (re.compile(r"127\.0\.0\.1:\d+|localhost:\d+"), "HOST"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "SHA-256"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "MD5"),
    (re.compile(r"\b[0-9a-f]{20}\b"), "RANDOM"),
    (re.compile(r"(Signature|X-Amz-Credential)=[^&\"]+"), r"\1=…"),
    (re.compile(r"request R\d+"), "request ID"),
    (re.compile(r"(?<=the hook installs apm-s3 from ).*"), "WHERE"),
    (re.compile(r"plan [0-9a-f]{12}"), "plan HASH"),
    (re.compile(r"\d+(\.\d+)? (\w?B/s|s )"), r"N \2"),
    (re.compile(r"(?<= )\d+s(?= )|\d\d:\d\d:\d\d|\b\d+ (second|minute)s? ago"), "TIME"),
)
_CLOCK = re.compile(r"seconds|duration|rate|age|latency|elapsed|pid|took")


def steady(value: Any, name: str = "") -> Any:
    """Replace what differs from run to run: times, ids, hashes, ports."""
    if isinstance(value, dict):
        return {key: steady(each, key) for key, each in value.items()}
    if isinstance(value, list):
        return [steady(each, name) for each in value]
    if isinstance(value, str):
        return _steady_text(value)
    return "NUMBER" if isinstance(value, float) or (_CLOCK.search(name) and isinstance(value, int)) else value


def _steady_text(text: str) -> str:
    for pattern, replacement in _CHANGING:
        text = pattern.sub(replacement, text)
    return text


# What a user does in a day, one command a line; `json` prints the document of a command, else its status and its errors.
SUCCEEDING = (
    "init --bucket apm-golden-configs --environment staging",
    "bucket create apm-golden-files",
    "bucket plan apm-golden-files --versioning",
    "bucket ensure apm-golden-files --versioning",
    "bucket ls",
    "bucket show apm-golden-files",
    "bucket usage apm-golden-files",
    "object put a.txt s3://apm-golden-files/a",
    "object cp s3://apm-golden-files/a s3://apm-golden-files/b",
    "object mv s3://apm-golden-files/b s3://apm-golden-files/c",
    "object cat s3://apm-golden-files/a",
    "object get s3://apm-golden-files/a copy.txt",
    "object ls s3://apm-golden-files/",
    "object sync s3://apm-golden-files/ s3://apm-golden-configs/copy/ --dry-run",
    "object presign s3://apm-golden-files/a",
    "object rm s3://apm-golden-files/c --yes",
    "migrate s3://apm-golden-files/ s3://apm-golden-configs/migrated/ --dry-run",
    "migrate s3://apm-golden-files/ s3://apm-golden-configs/migrated/",
    "sync s3://apm-golden-files/ s3://apm-golden-configs/synced/",
    "object rm s3://apm-golden-configs/synced/ --recursive --yes",
    "config validate good",
    "config push good -e staging --dry-run",
    "config push good -e staging -m golden --author ada",
    "config pull pulled --tool prometheus -e staging",
    "config diff good -e staging",
    "config diff --tool prometheus --from 1 --to 4 -e staging",
    "config ls -e staging",
    "config show prometheus -e staging",
    "config show prometheus -e staging --list",
    "config history prometheus -e staging",
    "config log -e staging",
    "config status -e staging",
    "config plan staging production --create --out plan.json",
    "config deploy plan.json --yes",
    "config good prometheus -e staging",
    "config rollback prometheus -e staging --to 2 -m back",
    "config settings -e staging",
    "config settings -e staging --set require-message=true -m strict",
    "config freeze -e staging -m golden",
    "config thaw -e staging -m over",
    "config backup -e staging -m nightly",
    "config backups",
    "config fsck -e staging",
    "config repair -e staging --dry-run",
    "config gc -e staging --keep-revisions 3 --dry-run",
    "config rm prometheus -e production --yes",
    "health",
    "bucket rm apm-golden-files --force --dry-run",
)
FAILING = (
    "config validate bad",
    "config push bad -e staging",
    "config push bad -e staging --dry-run",
    "config push good -e staging --expect-revision 1",
    "config show loki -e staging",
    "config show prometheus --revision 99 -e staging",
    "config history prometheus -e nowhere",
    "config rollback prometheus -e staging --to 99",
    "config rollback prometheus -e nowhere",
    "config outcome unknown -e staging",
    "config restore backups/none",
    "config plan staging nowhere",
    "config deploy none.json",
    "config nonsense",
    "config push",
    "config push none -e staging",
    "config push good -e staging --colour",
    "config good prometheus --revision 99 -e staging",
    "config freeze -e staging",
    "bucket create No",
    "bucket show apm-golden-missing",
    "bucket rm apm-golden-missing",
    "object cat s3://apm-golden-missing/a",
    "object get s3://apm-golden-configs/none x",
    "object put none s3://apm-golden-configs/none",
    "object presign nothing",
    "sync a b",
    "migrate s3://apm-golden-missing s3://apm-golden-configs/x",
)

# Commands that change nothing, to be shown as text too.
READING = tuple(
    line
    for line in SUCCEEDING
    if re.match(r"config (validate|diff|ls|history|log|status|settings|backups|fsck) ", line)
)

GOOD = {"prometheus.yml": "rule_files: [rules/*.yml]\nscrape_configs: []\n",
        "rules/a.yml": "groups:\n  - name: a\n    rules:\n      - {alert: Down, expr: up == 0}\n"}  # fmt: skip
BAD = {"prometheus.yml": "globl: {}\nscrape_configs:\n  - job_name: a\n    scrape_interval: 5x\n"}


@contextlib.contextmanager
def golden_shell() -> Iterator[Shell]:
    """A shell with three revisions of Prometheus in staging, and directories to push."""
    with tempfile.TemporaryDirectory() as folder, memory_server() as memory:
        memory.s3.buckets[BUCKET] = {}
        shell = Shell(
            Path(folder),
            {**on_server(Server("memory", memory.endpoint_url)), "APM_S3_BUCKET": BUCKET, "LOGNAME": "ada"},
        )
        for name, files in {"good": GOOD, "bad": BAD, "": {"a.txt": "a\n"}}.items():
            for file, text in files.items():
                path = Path(folder, name, file)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        on_store(shell, three_revisions)
        yield shell


def commands() -> str:
    """The JSON of commands that succeed, and what the others print on standard error."""
    said: dict[str, Any] = {}
    with golden_shell() as shell:
        for line in (*SUCCEEDING, *FAILING):
            said[line] = _told(shell(*line.split(), "--output", "json"), str(shell.directory))
        for line in (*READING, *FAILING):
            said[f"{line} (text)"] = _told(shell(*line.split()), str(shell.directory))
    return json.dumps(said, indent=1, ensure_ascii=False) + "\n"


def _told(ran: Ran, folder: str) -> dict[str, Any]:
    out, err = (text.replace(folder, "DIR").replace(ROOT, "CHECKOUT") for text in (ran.stdout, ran.stderr))
    try:
        stdout = steady(json.loads(out))
    except ValueError:
        stdout = _steady_text(out).splitlines()
    return {"status": ran.status, "stdout": stdout, "stderr": _steady_text(err).splitlines()}


def openapi() -> str:
    """The OpenAPI document of both routers."""
    app = FastAPI(title="golden", version="1")

    async def authorize() -> Any:
        raise NotImplementedError

    app.include_router(config_router(authorize=authorize), prefix="/configs")
    app.include_router(feed_router(authorize=authorize), prefix="/feed")
    return json.dumps(app.openapi(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def error_texts() -> str:
    """The text of every error, with a bucket, a key, a status and a request id."""
    lines = []
    for cls in every_error():
        error = make(cls, operation="read_file", bucket="apm-golden", key="a/b")
        lines += [f"## {cls.__name__}", f"code: {error.code}, retryable: {error.retryable}", str(error), ""]
    return "\n".join(lines)


FILES: dict[str, Callable[[], str]] = {
    "help.txt": reference,
    "commands.json": commands,
    "openapi.json": openapi,
    "errors.txt": error_texts,
}


def main() -> None:
    for name, written in FILES.items():
        (FOLDER / name).write_text(written(), encoding="utf-8")


if __name__ == "__main__":
    main()
