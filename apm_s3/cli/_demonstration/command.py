"""The command `demo`."""

from __future__ import annotations

import asyncio

import typer

from apm_s3.cli._call import Call, Output
from apm_s3.cli._output import make_console, print_json
from apm_s3.cli._statuses import Status


def demo(ctx: typer.Context) -> Status:
    """Show what the library does, on example configurations.

    It uses a bucket of its own, which it deletes afterwards, on an embedded server or on --endpoint-url with the
    credentials of the AWS configuration.

    Example:
        apm-s3 demo
    """
    from apm_s3.cli._demonstration.demo import run_demo  # noqa: PLC0415 - it brings the validators and the S3 client

    call = Call.of(ctx)
    call.go_on = "Its bucket was deleted."
    as_json = call.output is Output.json
    console = make_console(stderr=as_json)
    region = call.settings.region or "us-east-1"
    ok = asyncio.run(run_demo(console, endpoint_url=call.options.get("endpoint-url"), region=region))
    if as_json:
        print_json({"ok": ok})
    return Status.DONE if ok else Status.FAILED
