"""The demo: store real configurations in S3, read them back, and recover from a bad change. Each step checks itself."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.syntax import Syntax
from rich.text import Text

from apm_s3._manager import S3Manager
from apm_s3._tasks import shielded
from apm_s3._tools import TOOLS, Tool
from apm_s3.cli._call import make_s3_settings
from apm_s3.cli._output import make_table
from apm_s3.configs._store import ConfigStore
from apm_s3.errors import ApmS3Error, ConfigInvalid, RevisionConflict
from apm_s3.testing import embedded_server

_PACKAGED = Path(__file__).parent / "configs"
_CHECKOUT = Path(__file__).parents[2] / "examples" / "configs"
"""In a clone they are among the examples; the wheel includes a copy."""


def sample_bundle(tool: str) -> dict[str, bytes]:
    """Return the files of a tool's example configuration by their names in the bundle."""
    folder = (_PACKAGED if _PACKAGED.is_dir() else _CHECKOUT) / tool
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def _show_table(console: Console, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table as all commands print it."""
    console.print(make_table(columns, rows))


def _show_failure(console: Console, text: str) -> None:
    """Print an error."""
    console.print(Text.assemble(("Failed: ", "bold red"), text))


ENVIRONMENT = "production"
RULES = "rules/checkout.yml"
MISTAKES = (
    ("scrape_timeout: 10s", "scrape_timeout: 60s"),
    ("rule_files:", "rule_flies:"),
    ("  - job_name: node\n", "  - job_name: prometheus\n"),
)
"""Replacements in `prometheus.yml` that add three errors that Prometheus itself would refuse."""


class DemoFailed(Exception):
    """A step did not work as expected."""


@dataclass(frozen=True)
class Demo:
    """What the steps work on.

    Attributes:
        samples: the example files, by tool and name.
    """

    console: Console
    s3: S3Manager
    bucket: str
    store: ConfigStore
    samples: dict[Tool, dict[str, bytes]] = field(default_factory=lambda: {tool: sample_bundle(tool) for tool in TOOLS})


async def run_demo(console: Console, *, endpoint_url: str | None, region: str) -> bool:
    """Run the demo on `endpoint_url` or an embedded server, and return whether every step succeeded."""
    with ExitStack() as stack:
        where, credentials = endpoint_url, None
        if endpoint_url is None:
            try:
                server = stack.enter_context(embedded_server())
                where, credentials = server.endpoint_url, server.credentials
            except ImportError as exc:
                console.print(f"The embedded S3 server is not installed ({exc}): python -m pip install 'apm-s3[demo]'")
                return False
        console.print(f"S3 server: {where}" + ("" if endpoint_url else " (embedded: moto)"))
        try:
            async with (
                S3Manager(
                    region=region, endpoint_url=where, credentials=credentials, settings=make_s3_settings()
                ) as s3,
                _own_bucket(console, s3) as bucket,
            ):
                return await _run_steps(Demo(console, s3, bucket, s3.configs(bucket)))
        except ApmS3Error as exc:
            _show_failure(console, str(exc))
            return False


@asynccontextmanager
async def _own_bucket(console: Console, s3: S3Manager) -> AsyncIterator[str]:
    """Create a bucket with a unique name, and delete it and its contents at the end, whatever happens."""
    bucket = f"apm-demo-{uuid.uuid4().hex[:16]}"

    async def delete(_: object = None) -> None:
        await s3.delete_bucket(bucket, force=True)

    await shielded(s3.create_bucket(bucket), on_cancel=delete)
    console.print(f"Bucket: {bucket} (created for this demo)")
    try:
        yield bucket
    finally:
        try:
            await shielded(delete())
        except ApmS3Error as exc:
            _show_failure(console, f"bucket {bucket} was not deleted: {exc}")
            raise
        console.print(f"\nBucket {bucket} was deleted.")


async def _run_steps(demo: Demo) -> bool:
    for number, (title, step) in enumerate(STEPS, start=1):
        demo.console.print(Text(f"\n{number}. {title}", style="bold"))
        try:
            await step(demo)
        except (DemoFailed, ApmS3Error) as exc:
            _show_failure(demo.console, str(exc))
            return False
    demo.console.print(Text(f"\nAll {len(STEPS)} steps succeeded.", style="bold green"))
    return True


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise DemoFailed(otherwise)


async def _upload_all(demo: Demo) -> None:
    rows = []
    for tool, files in demo.samples.items():
        release = await demo.store.upload(
            tool, ENVIRONMENT, files=files, author="demo", message="First version", expect_revision=0
        )
        _check(release.revision == 1, f"{tool} got revision {release.revision}, not 1")
        _check(set(release.files) == set(files), f"{tool}: the release does not list the uploaded files")
        rows.append((tool, release.revision, len(release.files), sum(entry.size for entry in release.files.values())))
    _show_table(demo.console, ("tool", "revision", "files", "bytes"), rows)


async def _read_back(demo: Demo) -> None:
    rows = []
    for tool, files in demo.samples.items():
        bundle = await demo.store.download_bundle(tool, ENVIRONMENT)
        _check(
            {name: file.raw for name, file in bundle.files.items()} == files,
            f"{tool}: the downloaded files differ from the uploaded ones",
        )
        main = await demo.store.download(tool, ENVIRONMENT)
        plain = await demo.s3.read_file(demo.bucket, f"live/{ENVIRONMENT}/{tool}/{main.name}")
        _check(plain == main.raw, f"{tool}: the copy for plain S3 clients differs")
        rows.append((tool, main.name, main.sha256[:12], "byte for byte", "the same"))
    _show_table(demo.console, ("tool", "main file", "SHA-256", "read back", "copy in live/"), rows)


async def _refuse_invalid(demo: Demo) -> None:
    valid = broken = demo.samples["prometheus"]["prometheus.yml"].decode()
    for old, new in MISTAKES:
        broken = _replace(broken, old, new)
    try:
        await demo.store.upload("prometheus", ENVIRONMENT, broken, author="demo", message="Three mistakes")
    except ConfigInvalid as exc:
        report = exc.report
    else:
        raise DemoFailed("an invalid configuration was accepted")
    _show_table(
        demo.console,
        ("place", "reason", "rule"),
        [
            (f"{issue.file or 'prometheus.yml'}:{issue.line}:{issue.column}", issue.message, issue.rule)
            for issue in report.errors
        ],
    )
    found = {issue.line for issue in report.errors}
    for _, new in MISTAKES:
        line = broken[: broken.rindex(new)].count("\n") + 1
        _check(line in found, f"the report does not name line {line}, {new.strip()!r}")
    file = await demo.store.download("prometheus", ENVIRONMENT)
    _check(file.revision == 1 and file.text == valid, "a refused upload changed what is stored")
    demo.console.print("The upload was refused and nothing was stored: Prometheus is still at revision 1.")


async def _upload_wrong(demo: Demo) -> None:
    rules = demo.samples["prometheus"][RULES].decode()
    wrong = _replace(rules, "> 0.01", "> 0.1")
    release = await demo.store.upload(
        "prometheus",
        ENVIRONMENT,
        wrong,
        name=RULES,
        author="demo",
        message="Fewer alerts about failing checkouts",
        expect_revision=1,
    )
    _check(release.revision == 2, f"it got revision {release.revision}, not 2")
    file = await demo.store.download("prometheus", ENVIRONMENT, name=RULES)
    _check(file.text == wrong, "readers do not get the change")
    demo.console.print("The change is valid, so it is now revision 2, but the alert fires far too late.")


async def _lose_race(demo: Demo) -> None:
    rules = demo.samples["prometheus"][RULES].decode()
    try:
        await demo.store.upload(
            "prometheus", ENVIRONMENT, rules + "\n", name=RULES, author="someone else", expect_revision=1
        )
    except RevisionConflict as exc:
        _check(exc.current_revision == 2, f"the conflict names revision {exc.current_revision}, not 2")
        demo.console.print(f"Refused: {exc}")
    else:
        raise DemoFailed("a change based on revision 1 replaced revision 2")


async def _show_diff(demo: Demo) -> None:
    diff = await demo.store.diff("prometheus", ENVIRONMENT, 1, 2)
    _check([file.name for file in diff.files] == [RULES], "the diff does not show exactly the changed file")
    [file] = diff.files
    patch = Syntax(file.text.rstrip("\n"), "diff", background_color="default", word_wrap=True)
    demo.console.print(patch)
    changes = file.changes or ()
    for change in changes:
        demo.console.print(f"\n{change.path}:")
        _show_table(demo.console, ("release", "value"), [(diff.old, change.old), (diff.new, change.new)])
    _check(len(changes) == 1, f"the diff lists {len(changes)} changed values, not 1")


async def _roll_back(demo: Demo) -> None:
    release = await demo.store.rollback(
        "prometheus", ENVIRONMENT, to_revision=1, expect_revision=2, author="demo", message="The alert came too late"
    )
    _check(release.revision == 3, f"it got revision {release.revision}, not 3")
    bundle = await demo.store.download_bundle("prometheus", ENVIRONMENT)
    _check(
        {name: file.raw for name, file in bundle.files.items()} == demo.samples["prometheus"],
        "the rollback did not restore the files of revision 1",
    )
    demo.console.print("Revision 3 has the files of revision 1, byte for byte.")


async def _show_history(demo: Demo) -> None:
    releases = await demo.store.history("prometheus", ENVIRONMENT)
    _check([release.revision for release in releases] == [3, 2, 1], "the history is not 3, 2, 1")
    _show_table(
        demo.console,
        ("revision", "time (UTC)", "author", "what", "message"),
        [
            (
                release.revision,
                f"{release.created_at:%Y-%m-%d %H:%M:%S}",
                release.author,
                release.origin.action,
                release.message,
            )
            for release in releases
        ],
    )


def _replace(text: str, old: str, new: str) -> str:
    _check(text.count(old) == 1, f"the example does not contain {old!r} exactly once")
    return text.replace(old, new)


STEPS: tuple[tuple[str, Callable[[Demo], Awaitable[None]]], ...] = (
    ("Upload the configurations of five tools to production", _upload_all),
    ("Read them back", _read_back),
    ("Upload an invalid change, which is refused with file, line and reason", _refuse_invalid),
    ("Upload a change that is valid but wrong", _upload_wrong),
    ("Upload a change to an outdated revision, which is refused", _lose_race),
    ("Show what changed between revisions 1 and 2", _show_diff),
    ("Roll back", _roll_back),
    ("Show the history", _show_history),
)
