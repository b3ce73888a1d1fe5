"""What all commands share: help, settings, output, exit statuses, questions."""

from __future__ import annotations

import ast
import io
import itertools
import json
import os
import re
import subprocess
import sys
import unicodedata
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import click
import pytest
from rich.text import Text

from apm_s3 import errors, validate_config
from apm_s3.cli import open_standard_streams
from apm_s3.models import BucketInfo
from apm_s3.sync import SyncAction, SyncPlan
from tests.cli.kit import Interactive, Ran, Shell, pseudo_terminal
from tests.seams.cli import (
    COMMANDS,
    GROUPS,
    Call,
    Explanation,
    Output,
    ProgressLine,
    Status,
    UsageFailed,
    add_trust,
    as_document,
    clean,
    details,
    explain,
    find_author,
    find_message,
    in_production,
    load_settings,
    make_changes,
    make_command,
    make_console,
    make_table,
    print_error,
    print_json,
    print_text,
    run,
    split_docstring,
    write_text,
)
from tests.seams.store import environment_of
from tests.servers import require

SCREEN = 26
"""Lines of a screen of 80 columns that the help of a command may take. `migrate` has sixteen options."""


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_each_command_fits_a_screen_and_has_an_example(name: str, local: Shell) -> None:
    shown = local.terminal(*name.split(), "--help", columns=80).plain

    lines = shown.splitlines()
    assert len(lines) <= SCREEN + 6 * (name == "migrate")
    assert max(map(len, lines)) <= 80
    example = next(number for number, line in enumerate(lines) if line in ("Example:", "Examples:"))
    assert any(line.strip().startswith(f"apm-s3 {name}") for line in lines[example + 1 :])


@pytest.mark.parametrize("name", COMMANDS)
def test_the_summary_in_the_table_is_the_first_line_of_the_help(name: str) -> None:
    command = make_command(COMMANDS[name])

    assert (command.help or "").splitlines()[0] == COMMANDS[name].summary


@pytest.mark.parametrize("group", ["", *GROUPS])
def test_the_help_of_each_group_lists_its_commands(group: str, local: Shell) -> None:
    shown = local.terminal(*group.split(), "--help", columns=80).plain

    assert len(shown.splitlines()) <= 45
    assert max(map(len, shown.splitlines())) <= 80
    inside = [name for name in COMMANDS if not group or name.startswith(f"{group} ")]
    assert all(f"  {name.removeprefix(group).split()[0]} " in shown for name in inside)


def test_without_arguments_the_help_is_shown(local: Shell) -> None:
    assert "Exit statuses:" in local.ok()


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["migrat"], "no such command 'migrat'; did you mean 'migrate'?"),
        (["sync", "a"], "missing argument 'TARGET'"),
        (["completion", "tcsh"], "tcsh"),
        (["sync", "--no-such"], "--no-such"),
        (["config", "push", "no-such-directory", "-m", "Why"], "'no-such-directory' is not a directory"),
    ],
)
def test_wrong_usage_is_reported_in_two_lines_with_status_2(typed: list[str], told: str, local: Shell) -> None:
    ran = local(*typed)

    assert (ran.status, ran.stdout) == (2, "")
    assert told in ran.stderr
    assert len(ran.stderr.splitlines()) == 2


# Settings


def test_options_override_the_environment_which_overrides_the_project_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = 'bucket = "file"\nenvironment = "file"\nregion = "file"\nprefix = "file/"\n'
    (tmp_path / "apm-s3.toml").write_text(text)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    add_trust(tmp_path / "apm-s3.toml", text.encode())
    (tmp_path / ".git").mkdir()
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    variables = {"APM_S3_BUCKET": "variable", "APM_S3_ENVIRONMENT": "variable", "AWS_DEFAULT_REGION": "variable"}

    settings = load_settings({"bucket": "option"}, variables, below)

    assert (settings.get("bucket"), settings.get("environment"), settings.get("region")) == (
        "option",
        "variable",
        "variable",
    )
    assert (settings.prefix, settings.get("profile")) == ("file/", None)
    assert settings.lines() == [
        f"project file: {tmp_path / 'apm-s3.toml'}",
        "bucket: 'option' from the option --bucket",
        f"prefix: 'file/' from {tmp_path / 'apm-s3.toml'}",
        "environment: 'variable' from the environment variable APM_S3_ENVIRONMENT",
        "bucket-owner: not set",
        "profile: left to the AWS configuration",
        "region: 'variable' from the environment variable AWS_DEFAULT_REGION",
        "endpoint-url: left to the AWS configuration",
    ]


def test_the_nearest_pyproject_file_with_our_section_applies(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.apm-s3]\nenvironment = "here"\n')
    (tmp_path / ".git").touch()  # as in a submodule or a worktree
    below = tmp_path / "below"
    below.mkdir()
    (below / "pyproject.toml").write_text("[tool.ruff]\n")

    assert load_settings({}, {}, below).get("environment") == "here"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('buket = "x"', "unknown key 'buket'"),
        ("bucket = 1", "'bucket' must be a string"),
        ("validate = 1", "'validate' must be a table"),
        ("bucket", "is not valid TOML"),
        pytest.param(f"bucket = {'1' * 5000}", "is not valid TOML", id="a number of too many digits"),
    ],
)
def test_an_invalid_project_file_is_refused(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "apm-s3.toml").write_text(text)

    with pytest.raises(UsageFailed, match=told):
        load_settings({}, {}, tmp_path)


def test_debug_shows_the_sources_of_settings_but_never_a_secret(local: Shell) -> None:
    local.environ |= {"AWS_SECRET_ACCESS_KEY": "hush-hush", "AWS_REGION": "eu-north-1"}

    ran = local("sync", "a", "b", "--debug")

    assert "debug: region: 'eu-north-1' from the environment variable AWS_REGION" in ran.stderr
    assert "hush-hush" not in ran.stderr


def test_debug_hides_the_password_in_an_endpoint(local: Shell) -> None:
    ran = local("sync", "a", "b", "--debug", "--endpoint-url", "http://ada:hush-hush@localhost:9000")

    assert "debug: endpoint-url: 'http://***@localhost:9000' from the option" in ran.stderr
    assert "hush-hush" not in ran.stderr


def test_a_deleted_working_directory_is_told() -> None:
    gone = mock.patch.object(Path, "cwd", side_effect=FileNotFoundError(2, "No such file or directory"))
    with gone, pytest.raises(UsageFailed, match="the working directory was deleted"):
        load_settings({}, {})


@pytest.mark.parametrize("name", ["stdin", "stdout", "stderr"])
def test_a_stream_that_the_shell_closed_is_replaced(name: str) -> None:
    with mock.patch.object(sys, name, None):
        open_standard_streams()
        with getattr(sys, name) as stream:
            assert not stream.isatty()


def test_a_character_that_the_locale_lacks_is_escaped(local: Shell) -> None:
    for encoding, printed in (("ascii", "\\xe9 \\udcff"), ("utf-8", "é \\udcff")):
        raw = io.BytesIO()
        with mock.patch.object(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding, errors="strict")):
            open_standard_streams()
            sys.stdout.write("é \udcff")
            sys.stdout.flush()
            assert raw.getvalue().decode() == printed


def test_the_usage_has_one_pair_of_brackets_around_an_optional_argument(local: Shell) -> None:
    assert "apm-s3 config plan [OPTIONS] SOURCE [TARGET]\n" in local.ok("config", "plan", "--help")


def test_common_options_apply_before_and_after_the_command(local: Shell) -> None:
    ran = local("--debug", "--region", "one", "--profile", "p", "sync", "a", "b", "--region", "two")

    assert "region: 'two' from the option --region" in ran.stderr
    assert "profile: 'p' from the option --profile" in ran.stderr


# Errors and exit statuses


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.ConfigInvalid("invalid", report=None), Status.INVALID),  # type: ignore[arg-type]
        (errors.CommitUnknown("lost", write_id="the-id"), Status.UNKNOWN),
        (errors.RevisionConflict("late", expected_revision=1, current_revision=2), Status.CONFLICT),
        (errors.EnvironmentFrozen("frozen"), Status.CONFLICT),
        (errors.DeployRefused("blocked"), Status.CONFLICT),
        (errors.PlanOutdated("old"), Status.CONFLICT),
        (errors.InvalidOption("bad"), Status.USAGE),
        (errors.ConfigNotFound("none"), Status.FAILED),
        (FileNotFoundError(2, "No such file or directory", "x.yml"), Status.FAILED),
        (ZeroDivisionError("division by zero"), Status.FAILED),
    ],
)
def test_each_error_has_its_exit_status(error: Exception, status: Status) -> None:
    assert explain(error).status is status


def test_a_lost_response_makes_the_outcome_of_a_change_unknown() -> None:
    lost = errors.ConnectionLost("the connection was lost")
    lost.unresolved = True

    assert explain(lost, changes=True).status is Status.UNKNOWN
    assert explain(lost).status is Status.FAILED


def test_an_error_has_a_hint_that_names_commands() -> None:
    told = explain(errors.CommitUnknown("the outcome is not known", write_id="staging-1"))

    assert told.message == "the outcome is not known"
    assert told.hint == "find out before you try again: apm-s3 config outcome staging-1"


def test_the_write_id_in_the_help_of_outcome_is_a_valid_one() -> None:
    [example] = make_command(COMMANDS["config outcome"]).examples
    assert environment_of(example.split()[-1]) == "production"


def test_a_file_that_is_no_plan_is_told_how_to_make_one(local: Shell) -> None:
    (local.directory / "no.plan").write_text("[]")

    ran = local("config", "deploy", "no.plan", "--bucket", "apm-configs", "--yes", "--message", "Why")

    assert ran.status == 2
    assert "hint: make a plan: apm-s3 config plan SOURCE TARGET --out FILE" in ran.stderr


def test_an_outcome_of_no_write_id_is_told_where_to_find_one(local: Shell) -> None:
    ran = local("config", "outcome", "x.0", "--bucket", "apm-configs", "--environment", "staging")

    assert ran.status == 2
    assert "hint: take it from the hint of the command whose outcome is unknown" in ran.stderr


def test_an_error_is_one_json_document_for_programs(local: Shell) -> None:
    ran = local("sync", "a", "b", "--output", "json")

    assert ran.status == 2
    assert json.loads(ran.stdout)["error"] == {
        "code": "INVALID_REQUEST",
        "message": "neither 'a' nor 'b' is in S3",
        "hint": "name one as 's3://bucket/prefix'",
        "status": 2,
    }


def test_an_error_has_details_for_programs() -> None:
    report = validate_config("prometheus", "scrape_configs: 3\n")

    assert details(errors.ConfigInvalid("invalid", report=report)) == {"issues": report.issues}
    assert details(errors.PlanOutdated("old", changes=("a",))) == {"changes": ("a",)}
    assert details(errors.CommitUnknown("lost", write_id="the-id")) == {"write_id": "the-id"}
    assert details(OSError("gone")) == {}


def commands_run_by_tests(way: str) -> set[str]:
    """The commands that a test of this folder runs in a way: their words are in the call, or in the same function."""
    found = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef) and re.search(rf"\.{way}\(|'{way}'", ast.unparse(function)):
                texts = [
                    n.value for n in ast.walk(function) if isinstance(n, ast.Constant) and isinstance(n.value, str)
                ]
                found |= {" ".join(pair) for pair in itertools.pairwise(texts)} | set(texts)
                found |= {f"{group} {text.split()[0]}" for group in texts for text in texts if text.strip()}
    return found


@pytest.mark.parametrize("way", ["json", "terminal"])
def test_each_command_is_tested_with_json_and_on_a_terminal(way: str) -> None:
    assert set(COMMANDS) - commands_run_by_tests(way) <= {"completion"}


def test_colours_appear_only_on_terminals_and_never_with_no_color(local: Shell) -> None:
    assert "\033[1;31merror:" in local.terminal("sync", "a", "b").screen
    assert "\033" not in local("sync", "a", "b").stderr
    local.environ["NO_COLOR"] = "1"
    assert not re.search(r"\x1b\[[0-9;]*m", local.terminal("sync", "a", "b").screen)


def test_the_traceback_of_an_error_is_shown_only_with_debug(local: Shell) -> None:
    assert "Traceback" not in local("sync", "a", "b").stderr
    assert "Traceback" in local("sync", "a", "b", "--debug").stderr


def test_a_long_result_goes_through_the_pager_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGER", "sed s/^/paged:/")
    monkeypatch.setenv("TERM", "xterm")

    with pseudo_terminal(rows=5) as terminal:
        print_text(["one\n" * 9], paged=True)
        print_text(["two"], paged=True)
        monkeypatch.setenv("PAGER", "no-such-pager-anywhere")
        print_text(["three\n" * 9], paged=True)

    assert terminal.shown.count("paged:one") == 9
    assert "paged:two" not in terminal.shown
    assert terminal.shown.count("three") == 9


def test_no_word_of_a_table_is_broken_on_a_narrow_screen() -> None:
    row = ("staging", "prometheus", 3, "backups/staging/20260102T030405Z-staging.018f6f0e", "2026-01-02 03:04:05")
    with pseudo_terminal(columns=40) as terminal:
        print_text([make_table(("environment", "tool", "revision", "key", "created"), [row])])

    lines = Ran(0, screen=terminal.shown).plain.splitlines()
    assert lines[0].split() == ["ENVIRONMENT", "TOOL", "REVISION", "KEY", "CREATED"]
    assert lines[1].split() == [word for cell in row for word in str(cell).split()]


def test_a_reader_that_has_gone_ends_a_command_silently(local: Shell) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as gone, mock.patch.object(sys, "stdout", gone):
        status = run(["--version"])

    assert status == Status.FAILED


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full device")
@pytest.mark.parametrize("arguments", [["--version"], ["config", "validate", "--output", "json"], ["init"]])
def test_a_full_disk_behind_standard_output_is_one_error(arguments: list[str], local: Shell) -> None:
    (local.directory / "loki.yaml").write_text("auth_enabled: false\n")
    err = io.StringIO()
    with (
        local._inside(tuple(arguments)),
        Path("/dev/full").open("w") as full,
        mock.patch.multiple(sys, stdout=full, stderr=err),
    ):
        status = run(arguments)

    assert status == Status.FAILED
    assert err.getvalue().splitlines()[-2:] == [
        "error: standard output cannot be written: No space left on device",
        "hint: the command itself was carried out",
    ]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full device")
@pytest.mark.parametrize("buffering", [io.DEFAULT_BUFFER_SIZE, 0])
def test_a_full_disk_behind_standard_output_hides_no_error_and_no_status(buffering: int, local: Shell) -> None:
    arguments = ("config", "push", "none", "--output", "json")
    err = io.StringIO()
    with (
        local._inside(arguments),
        io.TextIOWrapper(Path("/dev/full").open("wb", buffering), write_through=not buffering) as full,
        mock.patch.multiple(sys, stdout=full, stderr=err),
    ):
        status = run(arguments)

    assert status == Status.USAGE
    assert err.getvalue().startswith("error: 'none' is not a directory\nhint: ")
    assert "carried out" not in err.getvalue()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full device")
def test_unwritable_findings_of_a_validation_are_told(local: Shell) -> None:
    (local.directory / "loki.yaml").write_text("x: 1\n")
    err = io.StringIO()
    with (
        local._inside(("config", "validate")),
        io.TextIOWrapper(Path("/dev/full").open("wb", 0), write_through=True) as full,
        mock.patch.multiple(sys, stdout=full, stderr=err),
    ):
        status = run(("config", "validate"))

    assert status == Status.FAILED
    assert "error: standard output cannot be written: No space left on device\n" in err.getvalue()


def test_the_name_of_a_temporary_file_is_not_told() -> None:
    for name in (".x.yml.4888dad5", ".x.yml.6af99b5383a2.new", ".x.yml.e0453ef2678954b9.part"):
        told = explain(FileNotFoundError(2, "No such file or directory", f"/no/{name}"))
        assert told.message == "No such file or directory: /no/x.yml"
    assert explain(OSError(2, "gone", "/a/.apm.yml")).message == "gone: /a/.apm.yml"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no FIFOs")
def test_a_plan_is_written_to_a_pipe_without_replacing_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    try:
        write_text(pipe, "plan")
        assert os.read(reader, 10) == b"plan"
    finally:
        os.close(reader)
    assert pipe.is_fifo()


HOSTILE = "\x1b[2J\x9b1m\u202eadmin\u2066\u200b\u2028\U000e0041\ud800\xa0\ufe0f"
"""A character of each kind that nobody sees, or that a terminal obeys."""
SHOWN = r"\x1b[2J\x9b1m\u202eadmin\u2066\u200b\u2028\U000e0041\ud800\xa0\ufe0f"


def test_every_character_that_cannot_be_seen_is_escaped_and_no_other() -> None:
    categories = ("Cc", "Cf", "Cs", "Zl", "Zp", "Zs")
    every = [chr(code) for code in range(sys.maxunicode + 1)]
    hidden = {char for char in every if unicodedata.category(char) in categories} - set(" \u3000")

    escaped = {char for char in every if clean(char, line=True) != char}

    assert escaped >= hidden | OTHERS
    # What Unicode has not assigned yet, between others of its kind.
    assert {unicodedata.category(char) for char in escaped - hidden - OTHERS} <= {"Cn"}
    assert {char for char in escaped if clean(char) == char} == {"\n", "\t"}


OTHERS = {chr(code) for code in (
    0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), *range(0x2060, 0x2070), 0x2800, 0x3164,
    *range(0xFE00, 0xFE10), 0xFFA0, *range(0xFFF0, 0xFFF9), *range(0xE0000, 0xE1000),
)}  # fmt: skip
"""Fillers, the blank of Braille, variation selectors, and what Unicode reserves for more of them."""


def test_nothing_that_is_printed_has_hidden_characters(capsys: pytest.CaptureFixture[str]) -> None:
    table = make_table(("a",), [(HOSTILE,), (Text(HOSTILE, "bold"),)])

    print_text([HOSTILE, Text(HOSTILE, "bold"), make_changes(HOSTILE, [("+", HOSTILE)]), table])
    print_error(Explanation(Status.FAILED, HOSTILE, HOSTILE))
    make_call().note(HOSTILE)
    ProgressLine(make_console()).show(HOSTILE, last=True)

    printed = capsys.readouterr()
    assert (printed.out.count(SHOWN), printed.err.count(SHOWN)) == (7, 3)
    assert clean(printed.out + printed.err) == printed.out + printed.err


def test_a_line_of_a_table_or_a_plan_cannot_hold_a_second_one(capsys: pytest.CaptureFixture[str]) -> None:
    forged = "key\n  - everything"
    report = SyncPlan("a", "b", (SyncAction("delete", forged, 1, "extra"),), 0, {forged: "a link"})

    print_text([make_changes("Plan", [("+", forged)]), make_table(("key",), [(forged,)]), str(report)])
    print_error(Explanation(Status.FAILED, forged))

    printed = capsys.readouterr()
    assert not any(line.startswith("  - everything") for line in (printed.out + printed.err).splitlines())


def test_json_has_hidden_characters_as_escapes_that_mean_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({HOSTILE: [HOSTILE, "é 日本\x7f"]})

    printed = capsys.readouterr().out
    assert clean(printed) == printed
    assert r"\u009b1m\u202eadmin" in printed
    assert "é 日本" in printed
    assert json.loads(printed) == {HOSTILE: [HOSTILE, "é 日本\x7f"]}


def test_documents_have_plain_values() -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)

    document: Any = as_document(
        {"at": now, "for": timedelta(minutes=1), "names": {"b", "a"}, "path": Path("x"), 1: b"\0"}
    )

    assert document == {"at": "2026-01-02T00:00:00+00:00", "for": 60.0, "names": ["a", "b"], "path": "x", "1": "AA=="}
    assert as_document(BucketInfo("a", now, "eu-north-1"))["name"] == "a"


# Questions


def make_call(**given: bool) -> Call:
    return Call({}, Output.text, given=given)


@pytest.mark.parametrize(
    ("typed", "environment", "agreed"),
    [
        ("y\n", None, True),
        ("n\n", None, False),
        ("\n", "staging", False),
        ("yes\n", "production", False),
        ("production\n", "production", True),
        ("\x04", None, False),
    ],
)
def test_destruction_needs_confirmation_in_production_by_typing_its_name(
    typed: str, environment: str | None, agreed: bool
) -> None:
    with pseudo_terminal() as terminal:
        terminal.type(typed)
        if agreed:
            make_call().confirm("Delete it?", name=environment and in_production(environment))
        else:
            with pytest.raises(click.Abort):
                make_call().confirm("Delete it?", name=environment and in_production(environment))
    assert "Delete it?" in terminal.shown


def test_without_a_terminal_nothing_is_destroyed_unless_yes_is_given(local: Shell) -> None:
    make_call(yes=True).confirm("Delete it?", name="production")
    with pytest.raises(UsageFailed, match="no terminal"):
        make_call().confirm("Delete it?")


def test_the_author_is_the_option_or_gits_user_or_the_login(local: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    config = local.directory / "gitconfig"
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", str(local.directory / "none"))
    monkeypatch.setenv("LOGNAME", "ada")
    monkeypatch.chdir(local.directory)

    assert find_author("me") == "me"
    assert find_author(None) == "ada"
    config.write_text("[user]\nname = Ada Lovelace\nemail = ada@example.com\n")
    assert find_author(None) == "Ada Lovelace <ada@example.com>"


def test_a_user_without_a_name_is_a_number(local: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with mock.patch("getpass.getuser", side_effect=OSError("no such user")):
        assert find_author(None) in {f"uid {getattr(os, 'getuid', int)()}", "unknown"}


def test_the_message_comes_from_an_editor_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_EDITOR", "printf 'A reason\\n# a comment\\n' >")

    with pseudo_terminal():
        assert find_message(None, "push") == "A reason"
        monkeypatch.setenv("GIT_EDITOR", "true")
        with pytest.raises(click.Abort):
            find_message(None, "push")
        monkeypatch.setenv("GIT_EDITOR", "false")
        with pytest.raises(UsageFailed, match="ended with status 1"):
            find_message(None, "push")
        assert find_message("given", "push") == "given"


def test_a_docstring_is_split_into_description_and_examples() -> None:
    assert split_docstring("Do it.\n\nMore.\n\nExample:\n    apm-s3 do\n    apm-s3 do --all") == (
        "Do it.\n\nMore.", ("apm-s3 do", "apm-s3 do --all"))  # fmt: skip


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_shells_get_a_completion_script(shell_name: str, local: Shell) -> None:
    assert "_APM_S3_COMPLETE" in local.ok("completion", shell_name)


def test_commands_options_and_values_are_completed(local: Shell) -> None:
    local.environ |= {"_APM_S3_COMPLETE": "bash_complete", "COMP_WORDS": "apm-s3 mig", "COMP_CWORD": "1"}
    assert local.ok().split() == ["plain,migrate"]
    local.environ |= {"COMP_WORDS": "apm-s3 migrate --target-", "COMP_CWORD": "2"}
    assert local.ok().split() == [
        "plain,--target-endpoint-url",
        "plain,--target-region",
        "plain,--target-profile",
    ]
    local.environ |= {"COMP_WORDS": "apm-s3 sync --output j", "COMP_CWORD": "3"}
    assert local.ok().split() == ["plain,json"]
    local.environ |= {"COMP_WORDS": "apm-s3 config show pro", "COMP_CWORD": "3"}
    assert local.ok().split() == ["plain,prometheus"]


@pytest.mark.skipif(sys.platform == "win32", reason="bash looks for programs in other ways there")
def test_bash_completes_with_the_script_that_is_printed(local: Shell) -> None:
    # The shell runs the command once more for the words; this one stands for it, which would take a second.
    program = local.directory / "apm-s3"
    program.write_text('#!/bin/sh\necho "plain,$_APM_S3_COMPLETE" $COMP_WORDS "$COMP_CWORD"\n')
    program.chmod(0o755)
    script = local.ok("completion", "bash")
    typed = (
        f"{script}\nCOMP_WORDS=(apm-s3 config hi); COMP_CWORD=2; "
        f'complete -p apm-s3; _apm_s3_completion {program}; echo "${{COMPREPLY[0]}}"'
    )

    done = subprocess.run([require("bash"), "-c", typed], capture_output=True, text=True)

    assert done.stdout.splitlines() == [
        "complete -o default -F _apm_s3_completion apm-s3",
        "bash_complete apm-s3 config hi 2",
    ], done.stderr


def put_stand_in(shell: Shell, answer: str) -> dict[str, str]:
    """Put a program in place of the command, which would take a second; return an environment that finds it."""
    program = shell.directory / "apm-s3"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\n")
    program.chmod(0o755)
    return {"PATH": f"{shell.directory}:{os.environ['PATH']}", "HOME": str(shell.directory), "TERM": "xterm-256color"}


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_zsh_completes_at_the_first_tab_with_the_script_in_its_fpath(local: Shell) -> None:
    local.environ |= {"_APM_S3_COMPLETE": "zsh_complete", "COMP_WORDS": "apm-s3 mig", "COMP_CWORD": "1"}
    answer = local.ok()
    del local.environ["_APM_S3_COMPLETE"]
    (local.directory / "_apm-s3").write_text(local.ok("completion", "zsh"))
    (local.directory / ".zshrc").write_text("fpath=(~ $fpath)\nautoload -Uz compinit\ncompinit -u -D\nPS1=ready\n")

    with Interactive([require("zsh"), "-i"], put_stand_in(local, answer)) as shell:
        shell.wait_for("ready")
        shell.type("apm-s3 mig\t")
        shell.wait_for("migrate")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fish")
def test_fish_completes_with_the_script_that_is_printed(local: Shell) -> None:
    local.environ |= {
        "_APM_S3_COMPLETE": "fish_complete", "COMP_WORDS": "apm-s3 mig", "COMP_CWORD": "mig",
    }  # fmt: skip
    answer = local.ok()
    del local.environ["_APM_S3_COMPLETE"]
    script = local.ok("completion", "fish")

    done = subprocess.run(
        [require("fish"), "--no-config", "-c", f"{script}\ncomplete -C 'apm-s3 mig'"],
        env=put_stand_in(local, answer), capture_output=True, text=True,
    )  # fmt: skip

    assert done.stdout.startswith("migrate\tCopy everything from SOURCE to TARGET"), done.stderr
