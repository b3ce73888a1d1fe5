"""Inside the command line: how a command runs in this process, and what its parts print, ask and look up."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest import mock

import pytest

from apm_s3._hints import Advice, Hint, Kind, for_command, for_http
from apm_s3.cli import _app, _call, _output
from apm_s3.cli._app import make_command, run, split_docstring
from apm_s3.cli._call import Call, Output, in_production
from apm_s3.cli._commands import COMMANDS, GROUPS
from apm_s3.cli._config.deploy import write_text
from apm_s3.cli._config.formats import Findings, Format, Found, render
from apm_s3.cli._config.validate import Search, check_all
from apm_s3.cli._demo import run_demo
from apm_s3.cli._errors import details, explain
from apm_s3.cli._notes import find_author, find_message
from apm_s3.cli._output import (
    ProgressLine,
    as_document,
    in_bytes,
    in_time,
    make_changes,
    make_console,
    make_table,
    print_json,
    print_text,
)
from apm_s3.cli._s3.transfers import Access, migration_line
from apm_s3.cli._settings import VARIABLES, add_trust, load_settings
from apm_s3.cli._setup import HOOK_ID, add_hook, find_hook
from apm_s3.cli._statuses import MEANINGS, Explanation, Status, UsageFailed, clean, print_error


def sharing(session: object) -> Any:
    """Let commands that name no profile use `session`, inside the block."""
    make = _call.make_session
    return mock.patch.object(_call, "make_session", lambda profile: session if profile is None else make(profile))


def cancelled_while_connecting() -> Any:
    """Cancel a command as it makes its manager, inside the block."""
    return mock.patch.object(_call, "make_manager", side_effect=asyncio.CancelledError)


def interrupted_while_loading() -> Any:
    """Press Ctrl-C while a command's modules load, inside the block."""
    return mock.patch.object(_app, "run", side_effect=KeyboardInterrupt)


def show_progress_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let even short calls show how far they have come."""
    monkeypatch.setattr(_output, "_SECONDS", 0)
