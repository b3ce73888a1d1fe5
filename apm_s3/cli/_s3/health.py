"""The command `health`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from apm_s3.cli._call import Call
from apm_s3.cli._output import make_table
from apm_s3.cli._statuses import Status

if TYPE_CHECKING:
    from rich.text import Text

    from apm_s3._manager import S3Manager
    from apm_s3.health import HealthReport


def health(
    ctx: typer.Context,
    bucket: Annotated[str | None, typer.Argument(metavar="[BUCKET]", help="By default that of the settings.")] = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Write no test object.")] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 6 if the bucket is degraded.")] = False,
) -> Status:
    """Check that a bucket can be used: reach, read, write, settings.

    It exits with 1 if the bucket is down.

    Example:
        apm-s3 health apm-production-configs
    """
    from apm_s3.health import HealthChecker, HealthStatus  # noqa: PLC0415 - the help does without it

    call = Call.of(ctx)
    name = bucket or call.bucket
    region = call.settings.region

    async def work(s3: S3Manager) -> HealthReport:
        return await HealthChecker(s3, read_only=read_only).check(name, region)

    report = call.run(work)
    rows = [(check.name, _mark(check.outcome), _words(check.message, name)) for check in report.checks]
    call.print(report.to_dict(), f"{name}: {report.status.value}", make_table(("check", "result", "message"), rows))
    if report.status is HealthStatus.DOWN:
        return Status.FAILED
    return Status.DIFFERENT if exit_code and report.status is not HealthStatus.OK else Status.DONE


def _mark(outcome: str) -> Text:
    from rich.text import Text  # noqa: PLC0415 - the help does without it

    styles = {"passed": "green", "failed": "bold red"}
    return Text(str(outcome), style=styles.get(outcome, "dim"))


def _words(message: str, bucket: str) -> str:
    """Return the message of a check with a command instead of the library's functions and classes."""
    # Not `ensure`: a plan shows the policy that comes with it, and what to know before.
    shown = f"see apm-s3 bucket plan {bucket} --purpose configs"
    setting = f"apm-s3 bucket ensure {bucket} --versioning" if "expected Versioning(" in message else shown
    message = message.replace("use set_setting, or another `expected`", setting).replace("set Encryption()", shown)
    message = message.replace("that of create_apm_bucket denies", "that of --purpose denies")
    message = message.replace("there is no such bucket: create it", f"there is no such bucket: {_CREATE} {bucket}")
    message = re.sub(r"\b[A-Z]\w+\((.*?)\)", r"\1", message)
    return re.sub(r"^[a-z]+(?:_[a-z]+)+: ", "", message).replace("Check endpoint_url,", "Check --endpoint-url,")


_CREATE = "apm-s3 bucket create"
