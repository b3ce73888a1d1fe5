"""The commands `bucket create`, `bucket ensure` and `bucket plan`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from apm_s3._s3.transports.routes import is_custom
from apm_s3.cli._arguments import DryRun, ExitCode, pairs
from apm_s3.cli._call import Call
from apm_s3.cli._output import as_document, counted, make_changes
from apm_s3.cli._s3.bucket import BucketName, describe, kind_of
from apm_s3.cli._statuses import Status, UsageFailed

if TYPE_CHECKING:
    from rich.text import Text

    from apm_s3._manager import S3Manager
    from apm_s3.models import BucketPlan
    from apm_s3.options import BucketOptions

Purpose = Annotated[
    str | None,
    typer.Option(help="configs, backups or logs: sets policy, tags, encryption ..."),
]
ForTool = Annotated[str, typer.Option("--tool", help="With --purpose: for which tool.")]
Retention = Annotated[int | None, typer.Option(help="With --purpose: days until backups or logs expire.")]
KmsKey = Annotated[str | None, typer.Option(help="Encrypt with this KMS key.")]
Tag = Annotated[list[str] | None, typer.Option(help="NAME=VALUE. Repeatable.")]
Skipping = Annotated[bool, typer.Option("--skip-unsupported", help="Leave out what the server lacks.")]
Versioned = Annotated[bool, typer.Option("--versioning", help="Keep old versions.")]


def create(
    ctx: typer.Context,
    bucket: BucketName,
    purpose: Purpose = None,
    tool: ForTool = "all",
    retention: Retention = None,
    kms_key_id: KmsKey = None,
    tag: Tag = None,
    versioning: Versioned = False,
    skip_unsupported: Skipping = False,
    dry_run: DryRun = False,
) -> None:
    """Create a bucket, completely or not at all.

    Examples:
        apm-s3 bucket create apm-staging-configs --purpose configs -e staging
        apm-s3 bucket create apm-files --versioning
    """
    call = Call.of(ctx)
    call.changes = not dry_run
    wanted = _Wanted(call, bucket, purpose, tool, retention, kms_key_id, tag, versioning)

    async def work(s3: S3Manager) -> BucketPlan:
        options = await wanted.options(s3)
        if dry_run:
            return await s3.plan_bucket(bucket, options, expected_bucket_owner=wanted.owner)
        return await s3.create_bucket(bucket, options, unsupported=_choice(skip_unsupported))

    _print_plan(call, call.run(work), done=not dry_run)


def ensure(
    ctx: typer.Context,
    bucket: BucketName,
    purpose: Purpose = None,
    tool: ForTool = "all",
    retention: Retention = None,
    kms_key_id: KmsKey = None,
    tag: Tag = None,
    versioning: Versioned = False,
    plan: Annotated[
        Path | None, typer.Option(help="Only if this plan (of bucket plan --out) still applies.", exists=True)
    ] = None,
    skip_unsupported: Skipping = False,
    dry_run: DryRun = False,
) -> None:
    """Create a bucket, or change what differs in it.

    Example:
        apm-s3 bucket ensure apm-staging-configs --purpose configs -e staging
    """
    call = Call.of(ctx)
    call.changes = not dry_run
    wanted = _Wanted(call, bucket, purpose, tool, retention, kms_key_id, tag, versioning)
    agreed = None if plan is None else _read_plan(plan)

    async def work(s3: S3Manager) -> BucketPlan:
        options = await wanted.options(s3)
        if dry_run:
            return await s3.plan_bucket(bucket, options, expected_bucket_owner=wanted.owner)
        return await s3.ensure_bucket(
            bucket, options, plan=agreed, unsupported=_choice(skip_unsupported), expected_bucket_owner=wanted.owner
        )

    _print_plan(call, call.run(work), done=not dry_run)


def plan(
    ctx: typer.Context,
    bucket: BucketName,
    purpose: Purpose = None,
    tool: ForTool = "all",
    retention: Retention = None,
    kms_key_id: KmsKey = None,
    tag: Tag = None,
    versioning: Versioned = False,
    out: Annotated[Path | None, typer.Option(help="Write the plan to this file, for bucket ensure --plan.")] = None,
    exit_code: ExitCode = False,
) -> Status:
    """Show what `bucket ensure` would do.

    Example:
        apm-s3 bucket plan apm-configs --purpose configs -e staging --out bucket.plan
    """
    call = Call.of(ctx)
    wanted = _Wanted(call, bucket, purpose, tool, retention, kms_key_id, tag, versioning)

    async def work(s3: S3Manager) -> BucketPlan:
        return await s3.plan_bucket(bucket, await wanted.options(s3), expected_bucket_owner=wanted.owner)

    found = call.run(work)
    if out is not None:
        out.write_text(json.dumps(found.to_dict(), indent=2) + "\n", encoding="utf-8")
    _print_plan(call, found, done=False)
    return Status.DIFFERENT if exit_code and not found.empty else Status.DONE


class _Wanted:
    """The options that the command line asks for."""

    def __init__(
        self,
        call: Call,
        bucket: str,
        purpose: str | None,
        tool: str,
        retention: int | None,
        kms_key_id: str | None,
        tag: list[str] | None,
        versioning: bool,
    ) -> None:
        self._bucket = bucket
        self._call = call
        url = call.settings.endpoint_url
        self._custom = url is not None and is_custom(url)
        self._environment = call.environment if purpose is not None else ""
        self._prefix = call.settings.prefix if purpose is not None else ""
        self._purpose = purpose
        self._tool = tool
        self._retention = retention
        self._kms_key_id = kms_key_id
        self._tags = pairs(tag, "--tag")
        self._versioning = versioning
        self.owner = call.settings.bucket_owner
        if purpose is None and retention is not None:
            raise UsageFailed("--retention needs --purpose", "add --purpose backups or logs")

    async def options(self, s3: S3Manager) -> BucketOptions:
        """Return the options for the manager's endpoint, and say beforehand what their policy denies."""
        from apm_s3.options import BucketOptions, Encryption, Tags, Versioning  # noqa: PLC0415 - not for the help

        if self._purpose is not None:
            options = await s3.apm_options(
                self._bucket,
                self._environment,
                self._tool,
                self._purpose,
                kms_key_id=self._kms_key_id,
                retention=self._retention,
                tags=self._tags,
                prefixes=(self._prefix,),
            )
            self._tell(options)
            return options
        key = self._kms_key_id
        return BucketOptions(
            versioning=Versioning() if self._versioning else None,
            encryption=None if key is None else Encryption(algorithm="aws:kms", kms_key_id=key, bucket_key=True),
            tags=Tags(self._tags) if self._tags else None,
        )

    def _tell(self, options: BucketOptions) -> None:
        """Say what the policy denies, unless the server is AWS, where none of it can lock anybody out."""
        plain = options.policy is not None and "DenyPlainHttp" not in options.policy.text
        if not (plain or self._custom):
            return
        if plain:
            self._call.note("note: the endpoint is plain HTTP, so the policy does not deny it: that would lock you out")
        else:
            self._call.note("note: the policy denies plain HTTP: only https:// endpoints will reach this bucket")
        self._call.note(
            "note: the policy denies uploads that name another encryption. A server that ignores the conditions of "
            "policies, such as moto, will then refuse all uploads: use --versioning there, without --purpose"
        )


def _choice(skip: bool) -> Literal["refuse", "warn"]:
    return "warn" if skip else "refuse"


def _read_plan(path: Path) -> Any:
    from apm_s3.models import BucketPlan  # noqa: PLC0415 - the help does without it

    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as exc:
        raise UsageFailed(f"{path} is not a plan: {exc}", "make one with apm-s3 bucket plan --out") from exc
    return BucketPlan.from_dict(document)


def _print_plan(call: Call, plan: BucketPlan, *, done: bool) -> None:
    document = {**as_document(plan), "empty": plan.empty, "hash": plan.hash, "done": done}
    call.print(document, _plan_text(plan, done=done))


def _plan_text(plan: BucketPlan, *, done: bool) -> Text:
    new = plan.create
    changes = [("+", f"bucket {plan.bucket}")] if new else []
    for change in plan.changes:
        after = describe(change.after)
        old = "" if change.before is None else f"{describe(change.before)} -> "
        changes.append(("+" if change.before is None else "~", f"{kind_of(change.kind)}: {old}{after}"))
    changes += [("!", f"warning: {warning}") for warning in plan.warnings]
    changes += [("!", f"the server lacks {kind_of(kind)}") for kind in plan.unsupported]
    if plan.empty:
        return make_changes(f"No changes: bucket '{plan.bucket}' is as wanted.", changes)
    settings = counted(len(plan.changes), "setting")
    verb = ("Created" if new else "Changed") if done else ("Would create" if new else "Would change")
    what = f" bucket '{plan.bucket}' with {settings}" if new else f" {settings} of bucket '{plan.bucket}'"
    return make_changes(f"{verb}{what}:", changes)
