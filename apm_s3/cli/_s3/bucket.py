"""The commands `bucket ...`: create, ensure and plan in `_bucket_plans.py`, the others here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from apm_s3.cli._arguments import DryRun, Yes
from apm_s3.cli._call import PRODUCTION, Call
from apm_s3.cli._output import as_document, counted, in_local_time, make_table

if TYPE_CHECKING:
    from apm_s3._manager import S3Manager
    from apm_s3.models import BucketInfo, BucketUsage, EmptyReport, ReplicationSetup
    from apm_s3.options import BucketSetting

BucketName = Annotated[str, typer.Argument(metavar="BUCKET", help="The bucket's name.")]


def ls(
    ctx: typer.Context,
    prefix: Annotated[str, typer.Argument(metavar="[PREFIX]", help="Only names that begin with it.")] = "",
    details: Annotated[bool, typer.Option("--details", help="Read all settings of each bucket.")] = False,
) -> None:
    """List the buckets of the account.

    Example:
        apm-s3 bucket ls apm- --details
    """
    call = Call.of(ctx)
    buckets = call.run(lambda s3: s3.list_buckets(prefix=prefix, details=details))
    columns = ["bucket", "created", "region"] + (["versioning", "encryption", "public access"] if details else [])
    rows = [_row(bucket, details=details) for bucket in buckets]
    call.print({"buckets": buckets}, make_table(columns, rows))


def _row(bucket: BucketInfo, *, details: bool) -> list[object]:
    row: list[object] = [bucket.name, in_local_time(bucket.created), bucket.region]
    if not details:
        return row
    found = None if bucket.details is None else bucket.details.settings
    if found is None:
        return [*row, "", "", ""]
    versioning = "off" if found.versioning is None else "on" if found.versioning.enabled else "suspended"
    encryption = "" if found.encryption is None else found.encryption.algorithm
    blocked = found.public_access_block is not None and all(as_document(found.public_access_block).values())
    return [*row, versioning, encryption, "blocked" if blocked else "not blocked"]


def show(ctx: typer.Context, bucket: BucketName) -> None:
    """Show a bucket with all its settings.

    Example:
        apm-s3 bucket show apm-production-configs
    """
    call = Call.of(ctx)
    found = call.run(lambda s3: s3.get_bucket(bucket))
    rows: list[list[object]] = [["region", found.region], ["created", in_local_time(found.created)]]
    rows += [[kind_of(type(setting).__name__), describe(setting)] for setting in found.settings.settings()]
    rows += [[kind_of(kind), "the server does not know it"] for kind in found.unsupported]
    call.print(found, make_table(("setting", "value"), rows))


def kind_of(name: str) -> str:
    """Return the name of a kind of setting in words: "public access block"."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", name).lower()


def describe(setting: BucketSetting | None) -> str:
    """Return a setting in one line for people."""
    from apm_s3.options import Lifecycle, Policy, PublicAccessBlock, Tags  # noqa: PLC0415 - the help does without it

    if setting is None:
        return "not configured"
    if isinstance(setting, Tags):
        return ", ".join(f"{name}={value}" for name, value in sorted(setting.values.items()))
    if isinstance(setting, Policy):
        names = [statement.get("Sid") or statement.get("Effect", "") for statement in setting.document["Statement"]]
        return ", ".join(names)
    if isinstance(setting, Lifecycle):
        return ", ".join(rule.id or rule.prefix for rule in setting.rules)
    if isinstance(setting, PublicAccessBlock) and all(as_document(setting).values()):
        return "all public access is blocked"
    fields = {name: value for name, value in as_document(setting).items() if value not in (None, False, "", [], {})}
    return ", ".join(f"{name}" if value is True else f"{name}={value}" for name, value in fields.items()) or "off"


def rm(
    ctx: typer.Context,
    bucket: BucketName,
    force: Annotated[bool, typer.Option("--force", help="Delete all its contents first, old versions too.")] = False,
    bypass_governance: Annotated[
        bool, typer.Option("--bypass-governance", help="Delete versions despite a GOVERNANCE lock.")
    ] = False,
    mfa: Annotated[str | None, typer.Option(help='"SERIAL CODE" of the MFA device.')] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Delete a bucket; with --force, all its contents first.

    A bucket that is tagged as production asks for its name.

    Example:
        apm-s3 bucket rm apm-test-configs --force --yes
    """
    call = Call.of(ctx)
    environment, usage = call.run(lambda s3: _look(s3, bucket, measure=force))
    contents = "" if usage is None else _contents(usage)
    if dry_run:
        told = f"would delete bucket '{bucket}'{contents if force else ' if it is empty'}"
        call.print({"bucket": bucket, "dry_run": True, "contents": usage}, told)
        return
    question = f"Delete bucket '{bucket}'{contents}?"
    call.confirm(question, yes=yes, name=bucket if environment in PRODUCTION else None)
    call.changes, call.go_on = True, "Run it again: it goes on with what is left."
    with call.progress() as line:
        report = call.run(
            lambda s3: s3.delete_bucket(
                bucket,
                force=force,
                confirm=bucket,
                mfa=mfa,
                bypass_governance=bypass_governance,
                on_progress=lambda done: line.show(_deleted(done)),
            )
        )
    told = f" and {_deleted(report)}" if force else ""
    call.print({"bucket": bucket, "deleted": report}, f"deleted bucket '{bucket}'{told}")


async def _look(s3: S3Manager, bucket: str, *, measure: bool) -> tuple[str, BucketUsage | None]:
    """Return the environment that the bucket is tagged with, and its contents."""
    from apm_s3.errors import UnsupportedByServer  # noqa: PLC0415 - the help does without it
    from apm_s3.options import Tags  # noqa: PLC0415 - the help does without it

    try:
        tags = await s3.get_setting(bucket, Tags)
    except UnsupportedByServer:
        tags = None
    environment = "" if tags is None else tags.values.get("apm:environment", "")
    return environment, await s3.bucket_usage(bucket) if measure else None


def _contents(usage: BucketUsage) -> str:
    from apm_s3.cli._progress import in_bytes  # noqa: PLC0415 - it imports Rich

    objects = counted(usage.total.objects, "object or version", "objects and versions")
    return f" and {objects} ({in_bytes(usage.total.bytes)})"


def _deleted(report: EmptyReport) -> str:
    parts = (
        counted(report.versions, "version"),
        counted(report.markers, "delete marker"),
        counted(report.uploads, "open upload"),
    )
    return ", ".join(parts)


def usage(
    ctx: typer.Context,
    bucket: BucketName,
    prefix: Annotated[
        list[str] | None, typer.Option("--store-prefix", help="Prefix of a configuration store in it. Repeatable.")
    ] = None,
) -> None:
    """Count a bucket's objects and bytes, old versions included.

    Example:
        apm-s3 bucket usage apm-production-configs
    """
    from apm_s3.cli._progress import in_bytes  # noqa: PLC0415 - it imports Rich

    call = Call.of(ctx)
    found = call.run(lambda s3: s3.bucket_usage(bucket, prefixes=tuple(prefix or ("",))))
    rows: list[list[object]] = [
        ["total", found.total.objects, in_bytes(found.total.bytes)],
        ["old versions", found.noncurrent.objects, in_bytes(found.noncurrent.bytes)],
        ["delete markers", found.delete_markers, ""],
    ]
    groups = (("class", found.by_storage_class), ("environment", found.by_environment), ("tool", found.by_tool))
    for what, group in groups:
        rows += [
            [f"{what} {name or '(none)'}", used.objects, in_bytes(used.bytes)] for name, used in sorted(group.items())
        ]
    call.print(found, make_table(("what", "objects", "size"), rows))


def replicate(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The bucket whose objects are replicated.")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="The bucket that gets them.")],
    role: Annotated[str | None, typer.Option(help="ARN of the role that S3 assumes.")] = None,
    target_region: Annotated[str | None, typer.Option(help="The target's region.")] = None,
    target_account: Annotated[str | None, typer.Option(help="The account that owns the target.")] = None,
    prefix: Annotated[
        list[str] | None, typer.Option("--only-prefix", help="Replicate only this prefix. Repeatable.")
    ] = None,
    storage_class: Annotated[str | None, typer.Option(help="Of the replicas.")] = None,
    kms_key_id: Annotated[str | None, typer.Option(help="Key in the target's region for the replicas.")] = None,
    create_target: Annotated[bool, typer.Option("--create-target", help="Create the target if it is missing.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Replicate a bucket to another one.

    Without --role, it only prints the policies with which to create the role.

    Example:
        apm-s3 bucket replicate apm-a apm-b --role arn:aws:iam::123456789012:role/s3
    """
    call = Call.of(ctx)
    call.changes = role is not None and not dry_run
    setup = call.run(
        lambda s3: s3.setup_replication(
            source,
            target,
            role=None if dry_run else role,
            target_region=target_region,
            prefixes=tuple(prefix or ("",)),
            storage_class=storage_class,
            target_account=target_account,
            kms_key_id=kms_key_id,
            create_target=create_target and call.changes,
        )
    )
    call.print(setup, _replication_text(setup, source, target))


def _replication_text(setup: ReplicationSetup, source: str, target: str) -> str:
    if not setup.applied:
        return f"nothing was changed; the role for {source} -> {target} needs these policies:\n\n{setup}"
    created = f"created bucket '{target}'\n" if setup.created_target else ""
    warnings = "".join(f"\nwarning: {warning}" for warning in setup.warnings)
    return f"{created}'{source}' is replicated to '{target}'{warnings}"
