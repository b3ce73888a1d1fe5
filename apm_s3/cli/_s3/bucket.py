"""The commands `bucket ...` and `health`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from apm_s3._hints import for_command
from apm_s3._naming import counted
from apm_s3.cli import _arguments as args
from apm_s3.cli._arguments import pairs
from apm_s3.cli._call import Call, in_production
from apm_s3.cli._output import as_document, in_bytes, in_local_time, make_changes, make_table
from apm_s3.cli._statuses import Status, UsageFailed
from apm_s3.errors import UnsupportedByServer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from rich.text import Text

    from apm_s3._manager import S3Manager
    from apm_s3.health import HealthReport
    from apm_s3.models import BucketInfo, BucketPlan, BucketUsage, EmptyReport, ReplicationSetup
    from apm_s3.options import BucketOptions, BucketSetting


bucket_name = args.argument("bucket", help="The bucket's name.")


@args.argument("prefix", required=False, default="", help="Only names that begin with it.")
@args.flag("--details", help="Read all settings of each bucket.")
def ls(call: Call, *, prefix: str, details: bool) -> None:
    """List the buckets of the account.

    Example:
        apm-s3 bucket ls apm- --details
    """
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


@bucket_name
def show(call: Call, *, bucket: str) -> None:
    """Show a bucket with all its settings.

    Example:
        apm-s3 bucket show apm-production-configs
    """
    found = call.run(lambda s3: s3.get_bucket(bucket))
    rows: list[list[object]] = [["region", found.region], ["created", in_local_time(found.created)]]
    rows += [[kind_of(type(setting).__name__), describe(setting)] for setting in found.settings.settings()]
    rows += [[kind_of(kind), "the server does not know it"] for kind in found.unsupported]
    call.print(found, make_table(("setting", "value"), rows))


def kind_of(name: str) -> str:
    """Return the name of a kind of setting in words: "public access block"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


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


@bucket_name
@args.flag("--force", help="Delete all its contents first, old versions too.")
@args.flag("--bypass-governance", help="Delete versions despite a GOVERNANCE lock.")
@args.option("--mfa", help='"SERIAL CODE" of the MFA device.')
@args.yes
@args.dry_run
def rm(call: Call, *, bucket: str, force: bool, bypass_governance: bool, mfa: str | None) -> None:
    """Delete a bucket; with --force, all its contents first.

    A bucket that is tagged as production asks for its name.

    Example:
        apm-s3 bucket rm apm-test-configs --force --yes
    """
    environment, usage = call.run(lambda s3: _look(s3, bucket, measure=force))
    contents = "" if usage is None else _contents(usage)
    if call.dry_run:
        told = f"would delete bucket '{bucket}'{contents if force else ' if it is empty'}"
        call.print({"bucket": bucket, "dry_run": True, "contents": usage}, told)
        return
    question = f"Delete bucket '{bucket}'{contents}?"
    call.confirm(question, name=bucket if in_production(environment) else None)
    call.changes, call.resume_hint = True, "Run it again: it goes on with what is left."
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
    from apm_s3.options import Tags  # noqa: PLC0415 - the help does without it

    try:
        tags = await s3.get_setting(bucket, Tags)
    except UnsupportedByServer:
        tags = None
    environment = "" if tags is None else tags.values.get("apm:environment", "")
    return environment, await s3.bucket_usage(bucket) if measure else None


def _contents(usage: BucketUsage) -> str:
    objects = counted(usage.total.objects, "object or version", "objects and versions")
    return f" and {objects} ({in_bytes(usage.total.bytes)})"


def _deleted(report: EmptyReport) -> str:
    parts = (
        counted(report.versions, "version"),
        counted(report.markers, "delete marker"),
        counted(report.uploads, "open upload"),
    )
    return ", ".join(parts)


@bucket_name
@args.option("--store-prefix", "prefix", multiple=True, help="Prefix of a configuration store in it. Repeatable.")
def usage(call: Call, *, bucket: str, prefix: tuple[str, ...]) -> None:
    """Count a bucket's objects and bytes, old versions included.

    Example:
        apm-s3 bucket usage apm-production-configs
    """
    found = call.run(lambda s3: s3.bucket_usage(bucket, prefixes=prefix or ("",)))
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


@args.argument("source", help="The bucket whose objects are replicated.")
@args.argument("target", help="The bucket that gets them.")
@args.option("--role", help="ARN of the role that S3 assumes.")
@args.option("--target-region", help="The target's region.")
@args.option("--target-account", help="The account that owns the target.")
@args.option("--only-prefix", "prefix", multiple=True, help="Replicate only this prefix. Repeatable.")
@args.option("--storage-class", help="Of the replicas.")
@args.option("--kms-key-id", help="Key in the target's region for the replicas.")
@args.flag("--create-target", help="Create the target if it is missing.")
@args.dry_run
def replicate(
    call: Call,
    *,
    source: str,
    target: str,
    role: str | None,
    prefix: tuple[str, ...],
    create_target: bool,
    **options: Any,
) -> None:
    """Replicate a bucket to another one.

    Without --role, it only prints the policies with which to create the role.

    Example:
        apm-s3 bucket replicate apm-a apm-b --role arn:aws:iam::123456789012:role/s3
    """
    call.changes = role is not None and not call.dry_run
    options |= {"role": None if call.dry_run else role, "create_target": create_target and call.changes}
    setup = call.run(lambda s3: s3.setup_replication(source, target, prefixes=prefix or ("",), **options))
    call.print(setup, _replication_text(setup, source, target))


def _replication_text(setup: ReplicationSetup, source: str, target: str) -> str:
    if not setup.applied:
        return f"nothing was changed; the role for {source} -> {target} needs these policies:\n\n{setup}"
    created = f"created bucket '{target}'\n" if setup.created_target else ""
    warnings = "".join(f"\nwarning: {warning}" for warning in setup.warnings)
    return f"{created}'{source}' is replicated to '{target}'{warnings}"


wanted_options = args.all_of(
    args.option("--purpose", help="configs, backups or logs: sets policy, tags, encryption ..."),
    args.option("--tool", default="all", help="With --purpose: for which tool."),
    args.option("--retention", type=int, help="With --purpose: days until backups or logs expire."),
    args.option("--kms-key-id", help="Encrypt with this KMS key."),
    args.option("--tag", multiple=True, help="NAME=VALUE. Repeatable."),
    args.flag("--versioning", help="Keep old versions."),
)
"""The options that become arguments of `_options`."""
skip_unsupported = args.flag("--skip-unsupported", help="Leave out what the server lacks.")


@bucket_name
@wanted_options
@skip_unsupported
@args.dry_run
def create(call: Call, *, bucket: str, skip_unsupported: bool, **wanted: Any) -> None:
    """Create a bucket, completely or not at all.

    Examples:
        apm-s3 bucket create apm-staging-configs --purpose configs -e staging
        apm-s3 bucket create apm-files --versioning
    """
    how: Literal["refuse", "warn"] = "warn" if skip_unsupported else "refuse"
    _apply(call, bucket, wanted, lambda s3, options: s3.create_bucket(bucket, options, unsupported=how))


@bucket_name
@wanted_options
@args.option(
    "--plan",
    type=click.Path(path_type=Path, exists=True),
    help="Only if this plan (of bucket plan --out) still applies.",
)
@skip_unsupported
@args.dry_run
def ensure(call: Call, *, bucket: str, plan: Path | None, skip_unsupported: bool, **wanted: Any) -> None:
    """Create a bucket, or change what differs in it.

    Example:
        apm-s3 bucket ensure apm-staging-configs --purpose configs -e staging
    """
    how: dict[str, Any] = {
        "plan": None if plan is None else _read_plan(plan),
        "unsupported": "warn" if skip_unsupported else "refuse",
        "expected_bucket_owner": call.settings.get("bucket-owner"),
    }
    _apply(call, bucket, wanted, lambda s3, options: s3.ensure_bucket(bucket, options, **how))


@bucket_name
@wanted_options
@args.option("--out", type=args.PATH, help="Write the plan to this file, for bucket ensure --plan.")
@args.exit_code
def plan(call: Call, *, bucket: str, out: Path | None, exit_code: bool, **wanted: Any) -> Status:
    """Show what `bucket ensure` would do.

    Example:
        apm-s3 bucket plan apm-configs --purpose configs -e staging --out bucket.plan
    """
    found = _apply(call, bucket, wanted, None, out)
    return Status.DIFFERENT if exit_code and not found.empty else Status.DONE


def _apply(
    call: Call,
    bucket: str,
    wanted: Mapping[str, Any],
    change: Callable[[S3Manager, BucketOptions], Awaitable[BucketPlan]] | None,
    out: Path | None = None,
) -> BucketPlan:
    """Carry out `change` with the options that are wanted, or only plan, and print the plan."""
    owner = call.settings.get("bucket-owner")
    call.changes = change is not None and not call.dry_run

    async def work(s3: S3Manager) -> BucketPlan:
        options = await _options(call, s3, bucket, **wanted)
        if change is None or call.dry_run:
            return await s3.plan_bucket(bucket, options, expected_bucket_owner=owner)
        return await change(s3, options)

    found = call.run(work)
    if out is not None:
        out.write_text(json.dumps(found.to_dict(), indent=2) + "\n", encoding="utf-8")
    document = {**as_document(found), "empty": found.empty, "hash": found.hash, "done": call.changes}
    call.print(document, _plan_text(found, done=call.changes))
    return found


async def _options(
    call: Call,
    s3: S3Manager,
    bucket: str,
    *,
    purpose: str | None,
    tool: str,
    retention: int | None,
    kms_key_id: str | None,
    tag: Sequence[str],
    versioning: bool,
) -> BucketOptions:
    """Return the options for the manager's endpoint, and say beforehand what their policy denies."""
    from apm_s3.options import BucketOptions, Encryption, Tags, Versioning  # noqa: PLC0415 - not for the help

    if purpose is None and retention is not None:
        raise UsageFailed("--retention needs --purpose", "add --purpose backups or logs")
    tags = pairs(tag, "--tag")
    if purpose is None:
        key = kms_key_id
        encryption = None if key is None else Encryption(algorithm="aws:kms", kms_key_id=key, bucket_key=True)
        return BucketOptions(
            versioning=Versioning() if versioning else None,
            encryption=encryption,
            tags=Tags(tags) if tags else None,
        )
    how: dict[str, Any] = {"kms_key_id": kms_key_id, "retention": retention, "tags": tags}
    options = await s3.apm_options(bucket, call.environment, tool, purpose, prefixes=(call.settings.prefix,), **how)
    _warn(call, options)
    return options


def _warn(call: Call, options: BucketOptions) -> None:
    """Say what the policy denies, unless the server is AWS, where none of it can lock anybody out."""
    from apm_s3._s3.transports.routes import is_custom  # noqa: PLC0415 - the help does without it

    url = call.settings.get("endpoint-url")
    plain = options.policy is not None and "DenyPlainHttp" not in options.policy.text
    if plain:
        call.note("note: the endpoint is plain HTTP, so the policy does not deny it: that would lock you out")
    elif url is not None and is_custom(url):
        call.note("note: the policy denies plain HTTP: only https:// endpoints will reach this bucket")
    else:
        return
    call.note("note: the policy denies uploads that name another encryption")


def _read_plan(path: Path) -> Any:
    from apm_s3.models import BucketPlan  # noqa: PLC0415 - the help does without it

    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as exc:
        raise UsageFailed(f"{path} is not a plan: {exc}", "make one with apm-s3 bucket plan --out") from exc
    return BucketPlan.from_dict(document)


def _plan_text(plan: BucketPlan, *, done: bool) -> Text:
    new = plan.create
    changes = [("+", f"bucket {plan.bucket}")] if new else []
    for change in plan.changes:
        after = describe(change.after)
        old = "" if change.before is None else f"{describe(change.before)} -> "
        changes.append(("+" if change.before is None else "~", f"{kind_of(change.kind)}: {old}{after}"))
    changes += [("!", f"warning: {warning}") for warning in plan.warnings]
    if not done:  # of what was done, the warnings say it
        changes += [("!", f"the server lacks {kind_of(kind)}") for kind in plan.unsupported]
    if plan.empty:
        return make_changes(f"No changes: bucket '{plan.bucket}' is as wanted.", changes)
    settings = counted(len(plan.changes), "setting")
    verb = ("Created" if new else "Changed") if done else ("Would create" if new else "Would change")
    what = f" bucket '{plan.bucket}' with {settings}" if new else f" {settings} of bucket '{plan.bucket}'"
    return make_changes(f"{verb}{what}:", changes)


@args.argument("bucket", required=False, help="By default that of the settings.")
@args.flag("--read-only", help="Write no test object.")
@args.flag("--exit-code", help="Exit with 6 if the bucket is degraded.")
def health(call: Call, *, bucket: str | None, read_only: bool, exit_code: bool) -> Status:
    """Check that a bucket can be used: reach, read, write, settings.

    It exits with 1 if the bucket is down.

    Example:
        apm-s3 health apm-production-configs
    """
    from apm_s3.health import HealthChecker, HealthStatus  # noqa: PLC0415 - the help does without it

    name = bucket or call.bucket
    region = call.settings.get("region")

    async def work(s3: S3Manager) -> HealthReport:
        return await HealthChecker(s3, read_only=read_only).check(name, region)

    report = call.run(work)
    rows = [(check.name, _mark(check.outcome), for_command(check.message)) for check in report.checks]
    call.print(report.to_dict(), f"{name}: {report.status.value}", make_table(("check", "result", "message"), rows))
    if report.status is HealthStatus.DOWN:
        return Status.FAILED
    return Status.DIFFERENT if exit_code and report.status is not HealthStatus.OK else Status.DONE


def _mark(outcome: str) -> Text:
    from rich.text import Text  # noqa: PLC0415 - the help does without it

    styles = {"passed": "green", "failed": "bold red"}
    return Text(str(outcome), style=styles.get(outcome, "dim"))
