"""The commands `object cp|mv|sync`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from apm_s3.cli._arguments import DryRun
from apm_s3.cli._call import Call
from apm_s3.cli._s3.object import fetch, store
from apm_s3.cli._s3.places import Place, is_s3, parse_object, parse_target
from apm_s3.cli._s3.sync import sync
from apm_s3.cli._statuses import UsageFailed

if TYPE_CHECKING:
    from apm_s3._manager import S3Manager
    from apm_s3.models import FileInfo

__all__ = ["cp", "mv", "sync"]

Source = Annotated[str, typer.Argument(metavar="SOURCE", help="s3://BUCKET/KEY, or a file.")]
Target = Annotated[
    str, typer.Argument(metavar="TARGET", help="s3://BUCKET/KEY, or a file; after a / the name is added.")
]
ObjectSource = Annotated[str, typer.Argument(metavar="SOURCE", help="s3://BUCKET/KEY.")]
ObjectTarget = Annotated[str, typer.Argument(metavar="TARGET", help="s3://BUCKET/KEY; after a / the name is added.")]
StorageClass = Annotated[str | None, typer.Option(help="Of the copy, such as STANDARD_IA.")]
NoClobber = Annotated[bool, typer.Option("--no-clobber", help="Refuse to replace an object.")]


def cp(
    ctx: typer.Context,
    source: Source,
    target: Target,
    version_id: Annotated[str | None, typer.Option(help="An old version of SOURCE.")] = None,
    storage_class: StorageClass = None,
    no_clobber: NoClobber = False,
    dry_run: DryRun = False,
) -> None:
    """Copy an object: within S3, from a file, or to a file.

    Whole trees: apm-s3 object sync, apm-s3 migrate.

    Example:
        apm-s3 object cp s3://apm-files/a.json s3://apm-archive/2026/
    """
    from apm_s3.options import CopyOptions, UploadOptions  # noqa: PLC0415 - the help does without it

    call = Call.of(ctx)
    condition: Literal["*"] | None = "*" if no_clobber else None
    if is_s3(source) and is_s3(target):
        one, other = _both(source, target)
        options = CopyOptions(source_version_id=version_id, storage_class=storage_class, if_none_match=condition)
        if _told(call, "copy", one, other, dry_run=dry_run):
            return
        info = call.run(lambda s3: s3.copy_file(*one, *other, options))
        call.print(info, f"copied {one} to {other}")
    elif is_s3(source):
        one = parse_object(source)
        path = Path(target)
        fetch(call, one, path / Path(one.key).name if path.is_dir() else path, version_id, dry_run=dry_run)
    elif is_s3(target):
        upload = UploadOptions(storage_class=storage_class, if_none_match=condition)
        store(call, source, parse_target(target, Path(source).name), upload, dry_run=dry_run)
    else:
        raise UsageFailed("neither SOURCE nor TARGET is in S3", "write s3://BUCKET/KEY for one of them")


def mv(
    ctx: typer.Context,
    source: ObjectSource,
    target: ObjectTarget,
    storage_class: StorageClass = None,
    no_clobber: NoClobber = False,
    dry_run: DryRun = False,
) -> None:
    """Move an object within S3.

    The source is deleted after the copy was verified, and only if it has not changed since.

    Example:
        apm-s3 object mv s3://apm-files/a.json s3://apm-files/old/a.json
    """
    from apm_s3.options import CopyOptions  # noqa: PLC0415 - the help does without it

    call = Call.of(ctx)
    one, other = _both(source, target)
    options = CopyOptions(storage_class=storage_class, if_none_match="*" if no_clobber else None)
    if _told(call, "move", one, other, dry_run=dry_run):
        return

    async def work(s3: S3Manager) -> FileInfo:
        return await s3.move_file(*one, *other, options)

    call.print(call.run(work), f"moved {one} to {other}")


def _both(source: str, target: str) -> tuple[Place, Place]:
    """Parse two places in S3."""
    one = parse_object(source)
    return one, parse_target(target, one.key.rpartition("/")[2])


def _told(call: Call, verb: str, one: Place, other: Place, *, dry_run: bool) -> bool:
    """In a dry run, tell what would be done, after a look at the source; else prepare for the change."""
    if dry_run:
        info = call.run(lambda s3: s3.head_file(*one))
        call.print({"dry_run": True, "source": info, "target": str(other)}, f"would {verb} {one} to {other}")
        return True
    call.changes, call.go_on = True, f"{one} is still there; run it again."
    return False
