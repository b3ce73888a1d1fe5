"""The commands `object put|get|cat|ls|rm|presign|cp|mv`, and places on the command line."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import click

from apm_s3._naming import counted, split_s3
from apm_s3.cli import _arguments as args
from apm_s3.cli._arguments import pairs
from apm_s3.cli._call import Call
from apm_s3.cli._output import as_document, in_bytes, in_local_time, make_table
from apm_s3.cli._statuses import Status, UsageFailed, clean

if TYPE_CHECKING:
    from apm_s3._manager import S3Manager
    from apm_s3.cli._output import ProgressLine
    from apm_s3.events import OperationEvent
    from apm_s3.models import FileInfo, FileVersion
    from apm_s3.options import ReadOptions, UploadOptions
    from apm_s3.sync import SyncPlan, SyncReport


class Place(NamedTuple):
    """A bucket and a key or prefix, which may be empty."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def is_s3(text: str) -> bool:
    """Return whether `text` is a place in S3."""
    return split_s3(text) is not None


def parse_place(text: str) -> Place:
    """Parse "s3://bucket" or "s3://bucket/key".

    Raises:
        UsageFailed: it is not one.
    """
    found = split_s3(text)
    if found is None or not found[0]:
        such = "" if found else f", such as s3://{text.lstrip('/')}"
        raise UsageFailed(f"'{text}' is not a place in S3", f"write s3://BUCKET/KEY{such}")
    return Place(*found)


def parse_object(text: str) -> Place:
    """Parse "s3://bucket/key".

    Raises:
        UsageFailed: it is not one, or has no key.
    """
    place = parse_place(text)
    if not place.key:
        raise UsageFailed(f"'{text}' names a bucket, not an object", f"write s3://{place.bucket}/KEY")
    return place


def parse_target(text: str, name: str) -> Place:
    """Parse "s3://bucket/key"; after a "/" at the end, or for a bucket alone, `name` is added.

    Raises:
        UsageFailed: it is not one.
    """
    place = parse_place(text)
    return place._replace(key=place.key + name) if not place.key or place.key.endswith("/") else place


s3_object = args.argument("source", metavar="OBJECT", help="s3://BUCKET/KEY.")
version_option = args.option("--version-id", help="An old version.")
no_clobber = args.flag("--no-clobber", help="Refuse to replace an object.")


@args.argument("source", metavar="FILE", help="A file, or - for standard input.")
@args.argument("target", metavar="OBJECT", help="s3://BUCKET/KEY; after a / the file's name is added.")
@args.option("--content-type", help="By default guessed from the key.")
@args.option("--metadata", multiple=True, help="NAME=VALUE. Repeatable.")
@args.option("--tag", multiple=True, help="NAME=VALUE. Repeatable.")
@args.option("--storage-class", help="Such as STANDARD_IA.")
@args.option("--cache-control", help="The object's Cache-Control header.")
@no_clobber
@args.dry_run
def put(
    call: Call,
    *,
    source: str,
    target: str,
    metadata: tuple[str, ...],
    tag: tuple[str, ...],
    no_clobber: bool,
    **headers: str | None,
) -> None:
    """Store a file, or standard input, as an object.

    Example:
        apm-s3 object put dashboard.json s3://apm-files/dashboards/ --no-clobber
    """
    from apm_s3.options import UploadOptions  # noqa: PLC0415 - the help does without it

    place = parse_target(target, "" if source == "-" else Path(source).name)
    if not place.key or place.key.endswith("/"):
        raise UsageFailed(f"'{target}' needs a key for standard input", "write s3://BUCKET/KEY")
    named: dict[str, Any] = {"metadata": pairs(metadata, "--metadata"), "tags": pairs(tag, "--tag"), **headers}
    store(call, source, place, UploadOptions(if_none_match="*" if no_clobber else None, **named))


def store(call: Call, source: str, place: Place, options: UploadOptions) -> None:
    """Upload a file or standard input, and print the result."""
    size = None if source == "-" else Path(source).stat().st_size
    if call.dry_run:
        call.print({"dry_run": True, "source": source, "target": str(place), "size": size}, f"would put {place}")
        return
    call.changes, call.resume_hint = True, "The object was not stored; run it again."
    content: Any = sys.stdin.buffer if source == "-" else Path(source)
    with call.progress() as line:
        info = call.run(
            lambda s3: s3.upload_file(place.bucket, place.key, content, options),
            hooks=[Bytes(line, f"put {place}", size)],
        )
    sent = info.size if size is None else size
    call.print(info, f"put {place} ({counted(sent, 'byte')})")


@s3_object
@args.argument("target", metavar="[FILE]", required=False, type=args.PATH, help="By default the key's last part, here.")
@version_option
@args.dry_run
def get(call: Call, *, source: str, target: Path | None, version_id: str | None) -> None:
    """Download an object to a file.

    The file is replaced when the download is complete and verified, not before.

    Example:
        apm-s3 object get s3://apm-files/dashboards/api.json ./api.json
    """
    place = parse_object(source)
    name = place.key.rstrip("/").rpartition("/")[2]
    path = Path(name) if target is None else target / name if target.is_dir() else target
    fetch(call, place, path, version_id)


def fetch(call: Call, place: Place, path: Path, version_id: str | None) -> None:
    """Download an object to a file, and print the result."""
    from apm_s3.options import ReadOptions  # noqa: PLC0415 - the help does without it

    options = ReadOptions(version_id=version_id)
    if call.dry_run:
        found = call.run(lambda s3: s3.head_file(place.bucket, place.key, options))
        text = f"would write {counted(found.size, 'byte')} to {path}"
        call.print({"dry_run": True, "target": str(path), "source": found}, text)
        return
    call.resume_hint = f"{path} is as it was; run it again."
    with call.progress() as line:
        hook = Bytes(line, f"get {place}", None)
        info = call.run(lambda s3: _download(s3, place, path, options, hook), hooks=[hook])
    call.print({"path": path, "object": info}, f"got {path} ({counted(info.size, 'byte')})")


async def _download(s3: S3Manager, place: Place, path: Path, options: ReadOptions, hook: Bytes) -> FileInfo:
    if sys.stderr.isatty():
        # A bar needs the size; elsewhere nobody would see it.
        hook.total = (await s3.head_file(place.bucket, place.key, options)).size
    return await s3.download_to(place.bucket, place.key, path, options)


@s3_object
@version_option
def cat(call: Call, *, source: str, version_id: str | None) -> None:
    """Print the content of an object.

    With --output json, the document has it as "text", or as "base64" if it is not UTF-8.

    Example:
        apm-s3 object cat s3://apm-production-configs/live/production/loki/loki.yaml
    """
    from apm_s3.options import ReadOptions  # noqa: PLC0415 - the help does without it

    place = parse_object(source)
    found = call.run(lambda s3: s3.get_file(place.bucket, place.key, ReadOptions(version_id=version_id)))
    call.print_content(found.data, {"object": found.info, **content_document(found.data)})


def content_document(data: bytes) -> dict[str, str]:
    """Return content for JSON: as text, or as base64 if it is not UTF-8."""
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


@args.argument("source", metavar="PREFIX", help="s3://BUCKET or s3://BUCKET/PREFIX.")
@args.flag("--recursive", "-r", help="Objects in folders, too.")
@args.flag("--versions", help="Old versions and delete markers, too.")
def ls(call: Call, *, source: str, recursive: bool, versions: bool) -> None:
    """List objects.

    Example:
        apm-s3 object ls s3://apm-production-configs/live/ --recursive
    """
    place = parse_place(source)
    if versions:
        found = call.run(lambda s3: _versions(s3, place))
        call.print(
            {"versions": found}, make_table(("key", "size", "modified", "version", ""), map(_version_row, found))
        )
        return
    files, folders = call.run(lambda s3: _files(s3, place, recursive=recursive))
    rows: list[tuple[object, ...]] = [(folder, None, None, None) for folder in folders]
    rows += [(info.key, info.size, in_local_time(info.last_modified), info.storage_class) for info in files]
    call.print({"objects": files, "folders": folders}, make_table(("key", "size", "modified", "class"), rows))


async def _files(s3: S3Manager, place: Place, *, recursive: bool) -> tuple[list[FileInfo], list[str]]:
    if recursive:
        return [info async for info in s3.iter_files(place.bucket, place.key)], []
    files: list[FileInfo] = []
    folders: list[str] = []
    token: str | None = None
    while True:
        page = await s3.list_files(place.bucket, place.key, delimiter="/", token=token)
        files += page.files
        folders += page.prefixes
        token = page.next_token
        if token is None:
            return files, folders


async def _versions(s3: S3Manager, place: Place) -> list[FileVersion]:
    return [version async for version in s3.iter_versions(place.bucket, place.key)]


def _version_row(version: FileVersion) -> tuple[object, ...]:
    what = "delete marker" if version.is_delete_marker else "current" if version.is_latest else "old"
    size = None if version.is_delete_marker else version.size
    return (version.key, size, in_local_time(version.last_modified), version.version_id, what)


@args.argument("source", metavar="OBJECT", help="s3://BUCKET/KEY, or a prefix with --recursive.")
@args.flag("--recursive", "-r", help="Everything below the prefix.")
@version_option
@args.yes
@args.dry_run
def rm(call: Call, *, source: str, recursive: bool, version_id: str | None) -> Status:
    """Delete an object, one version of it, or everything below a prefix.

    A bucket with versioning keeps old versions, unless --version-id names one.

    Example:
        apm-s3 object rm s3://apm-files/old/ --recursive --dry-run
    """
    place = parse_object(source)
    if recursive:
        if version_id is not None:
            raise UsageFailed("--version-id names one object", "leave out --recursive")
        return _rm_prefix(call, place)
    from apm_s3.options import DeleteOptions, ReadOptions  # noqa: PLC0415 - the help does without it

    what = f"{place}, version {version_id}" if version_id is not None else str(place)
    if call.dry_run:
        found = call.run(lambda s3: s3.head_file(place.bucket, place.key, ReadOptions(version_id=version_id)))
        call.print({"dry_run": True, "object": found}, f"would delete {what} ({counted(found.size, 'byte')})")
        return Status.DONE
    call.confirm(f"Delete {what}?")
    call.changes = True
    outcome = call.run(lambda s3: s3.delete_file(place.bucket, place.key, DeleteOptions(version_id=version_id)))
    call.print(outcome, f"deleted {what}")
    return Status.DONE


def _rm_prefix(call: Call, place: Place) -> Status:
    plan: SyncPlan | None = None
    if call.dry_run or not call.yes:
        plan = call.run(lambda s3: s3.delete_prefix(place.bucket, place.key, dry_run=True))
    if plan is not None and (call.dry_run or plan.empty):
        lines = "".join(f"\n  - {clean(action.key, line=True)}" for action in plan.actions)
        call.print(plan, f"would delete {counted(len(plan.actions), 'object')} below {place}{lines}")
        return Status.DONE
    if plan is not None:
        call.confirm(f"Delete {counted(len(plan.actions), 'object')} below {place}?")
    call.changes, call.resume_hint = True, "Run it again: it goes on with what is left."
    with call.progress() as line:
        report: SyncReport = call.run(
            lambda s3: s3.delete_prefix(
                place.bucket, place.key, on_progress=lambda told: line.show(counted(told.done, "object"))
            )
        )
    failures = "".join("\n  " + clean(f"failed: {key}: {error}", line=True) for key, error in report.failures.items())
    call.print({**as_document(report), "ok": report.ok}, f"deleted {counted(report.deleted, 'object')}{failures}")
    return Status.DONE if report.ok else Status.FAILED


@s3_object
@args.option("--expires-in", default=3600, type=click.IntRange(min=1), help="Seconds; at most 7 days.")
@args.flag("--upload", help="For a PUT instead of a GET.")
def presign(call: Call, *, source: str, expires_in: int, upload: bool) -> None:
    """Print a URL that works without credentials.

    Example:
        apm-s3 object presign s3://apm-files/report.pdf --expires-in 600
    """
    place = parse_object(source)

    async def work(s3: S3Manager) -> str:
        sign = s3.presign_upload if upload else s3.presign_download
        return await sign(place.bucket, place.key, expires_in)

    url = call.run(work)
    call.print({"url": url, "method": "PUT" if upload else "GET", "expires_in": expires_in}, url)


class Bytes:
    """A hook that shows how many bytes were sent or received.

    Attributes:
        total: how many there are; None if it is not known.
    """

    def __init__(self, line: ProgressLine, text: str, total: int | None) -> None:
        self.total = total
        self._line = line
        self._text = text
        self._done = 0

    def __call__(self, event: OperationEvent) -> None:
        self._done += event.bytes_sent + event.bytes_received
        self._line.show(f"{self._text}: {in_bytes(self._done)}", done=self._done, total=self.total)


storage_class = args.option("--storage-class", help="Of the copy, such as STANDARD_IA.")


@args.argument("source", help="s3://BUCKET/KEY, or a file.")
@args.argument("target", help="s3://BUCKET/KEY, or a file; after a / the name is added.")
@args.option("--version-id", help="An old version of SOURCE.")
@storage_class
@no_clobber
@args.dry_run
def cp(
    call: Call, *, source: str, target: str, version_id: str | None, storage_class: str | None, no_clobber: bool
) -> None:
    """Copy an object: within S3, from a file, or to a file.

    Whole trees: apm-s3 object sync, apm-s3 migrate.

    Example:
        apm-s3 object cp s3://apm-files/a.json s3://apm-archive/2026/
    """
    from apm_s3.options import CopyOptions, UploadOptions  # noqa: PLC0415 - the help does without it

    condition: Literal["*"] | None = "*" if no_clobber else None
    if is_s3(source) and is_s3(target):
        one, other = _both(source, target)
        options = CopyOptions(source_version_id=version_id, storage_class=storage_class, if_none_match=condition)
        if _announce(call, "copy", one, other):
            return
        info = call.run(lambda s3: s3.copy_file(*one, *other, options))
        call.print(info, f"copied {one} to {other}")
    elif is_s3(source):
        one = parse_object(source)
        path = Path(target)
        fetch(call, one, path / Path(one.key).name if path.is_dir() else path, version_id)
    elif is_s3(target):
        upload = UploadOptions(storage_class=storage_class, if_none_match=condition)
        store(call, source, parse_target(target, Path(source).name), upload)
    else:
        raise UsageFailed("neither SOURCE nor TARGET is in S3", "write s3://BUCKET/KEY for one of them")


@args.argument("source", help="s3://BUCKET/KEY.")
@args.argument("target", help="s3://BUCKET/KEY; after a / the name is added.")
@storage_class
@no_clobber
@args.dry_run
def mv(call: Call, *, source: str, target: str, storage_class: str | None, no_clobber: bool) -> None:
    """Move an object within S3.

    The source is deleted after the copy was verified, and only if it has not changed since.

    Example:
        apm-s3 object mv s3://apm-files/a.json s3://apm-files/old/a.json
    """
    from apm_s3.options import CopyOptions  # noqa: PLC0415 - the help does without it

    one, other = _both(source, target)
    options = CopyOptions(storage_class=storage_class, if_none_match="*" if no_clobber else None)
    if _announce(call, "move", one, other):
        return
    call.print(call.run(lambda s3: s3.move_file(*one, *other, options)), f"moved {one} to {other}")


def _both(source: str, target: str) -> tuple[Place, Place]:
    """Parse two places in S3."""
    one = parse_object(source)
    return one, parse_target(target, one.key.rpartition("/")[2])


def _announce(call: Call, verb: str, one: Place, other: Place) -> bool:
    """In a dry run, tell what would be done, after a look at the source; else prepare for the change."""
    if call.dry_run:
        info = call.run(lambda s3: s3.head_file(*one))
        call.print({"dry_run": True, "source": info, "target": str(other)}, f"would {verb} {one} to {other}")
        return True
    call.changes, call.resume_hint = True, f"{one} is still there; run it again."
    return False
