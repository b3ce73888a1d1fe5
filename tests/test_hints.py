"""Hints are values: each reader gets them in words that fit, and nobody has to read a sentence to find out which it is."""

from __future__ import annotations

import ast
import copy
import inspect
import json
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest

import apm_s3
from apm_s3 import errors
from tests.seams.cli import Advice, Hint, Kind, explain, for_command, for_http
from tests.seams.http import problem_of_error

NAMED = {
    "allowed": "check that the IAM policy allows s3:GetObject", "bucket": "apm", "choice": {"loki": 3, "jaeger": "key"},
    "denied": "plain HTTP", "environment": "staging", "error": errors.ConnectFailed("refused", operation="head_file"),
    "expected": "on", "found": "off", "key": "backups/x", "listing": "", "more": "", "names": ("author", "tags"),
    "near": "did you mean 'staging'?", "setting": "on", "tool": "loki", "version": "9.1", "write_id": "staging.0",
}  # fmt: skip
KINDS = [each for each in vars(Advice).values() if isinstance(each, Kind)]
PYTHON = re.compile(r"\w\(|[a-z]_[a-z]|\b[a-z]+=|Settings|Options|Credentials|True")
"""What only programmers write: calls, names with underscores, arguments, classes and constants."""
ROOT = Path(apm_s3.__file__).parent
FOR_PROGRAMS = {
    "create it with FastAPI(lifespan=s3_lifespan('bucket')); lifespans of mounted applications never run",
    "give a list of keys, or use delete_file",
    "give name= to one of them",
    "iter_files reads further pages",
    "leave out expect_revision",
    "make one with secrets.token_urlsafe(32)",
    "name a file: DownloadOp(bucket, key, to=path), or use batch_iter, which also returns contents",
    "open the manager with S3Settings(cache=CacheSettings(objects=True)); objects=True is for objects",
    "pass EnvironmentSettings",
    "pass Path(...), or text.encode()",
    "pass a callable that FastAPI can call, and that returns a Principal or raises HTTPException(401)",
    "pass confirm='' to delete it anyway",
    "pass keys as credentials=Credentials",
    "pass mfa='serial code' of the root user's device",
    "pass shared=aiocache.RedisCache(...) and a namespace= common to all who share it",
    "pass source_s3 or target_s3",
    "remove_setting drops all",
    "remove_setting removes all",
    "return EnvironmentSettings",
    "return Principal(name, allows), or raise HTTPException(401)",
    "set algorithm='aws:kms' too",
    "set encryption='aws:kms' too",
    "upload it with upload_file",
    "use Policy.of(statements)",
    "use UploadOp, DownloadOp, CopyOp, MoveOp, DeleteOp or HeadOp of apm_s3.batch",
    "use a time such as datetime.now(UTC)",
    "use a timedelta such as timedelta(days=1)",
    "use download_file for a range",
    "use it inside 'async with S3Manager(...) as s3', or between open() and aclose()",
    "use s3_lifespan('bucket')",
}
"""Hints that name Python and are never met elsewhere: about types, callbacks and options of programs."""


def hint_of(advice: Kind) -> Hint:
    names: set[str] = set()
    for words in advice.words:
        fields = (
            inspect.signature(words).parameters if callable(words) else [each[1] for each in Formatter().parse(words)]
        )
        names |= {each.partition("!")[0] for each in fields if each}
    return advice(**{name: NAMED[name] for name in names})


@pytest.mark.parametrize("advice", KINDS, ids=lambda each: each.name)
def test_every_hint_has_words_for_the_command_line_and_for_http(advice: Kind) -> None:
    hint = hint_of(advice)
    command = re.sub(r"--choose \w+=\w+|APM_S3_\w+=1", "", for_command(hint))

    assert hint
    assert command
    assert for_http(hint)
    assert not PYTHON.search(command)
    assert not re.search(r"\w\(|apm-s3 |--|Settings|None|True", for_http(hint) or "")


@pytest.mark.parametrize("advice", KINDS, ids=lambda each: each.name)
def test_a_hint_survives_pickling_and_copying_with_all_its_words(advice: Kind) -> None:
    hint = hint_of(advice)

    for again in (pickle.loads(pickle.dumps(hint)), copy.deepcopy(hint)):
        assert (again, again.command, again.http) == (hint, hint.command, hint.http)
        assert again.kind is advice


def test_a_hint_without_python_is_the_same_for_everybody() -> None:
    assert for_command("rename one of them") == for_http("rename one of them") == "rename one of them"
    assert (for_command(None), for_http(None)) == ("", None)


@pytest.mark.parametrize(
    ("hint", "told"),
    [
        (Advice.ACCEPT_LOSSES(names=("tags", "acls")), "by name: --accept tags --accept acls"),
        (Advice.ADD_NOTE(names=["author", "message"]), "nothing was changed; pass --author, --message"),
        (Advice.CHOOSE_RELEASE(environment="staging", choice={"loki": 3}), "repair -e staging --choose loki=3"),
        (Advice.TURN_ON_VERSIONING(bucket="b"), "apm-s3 bucket ensure b --versioning"),
        (Advice.REMOVE_ALL(tool="loki", environment="staging"), "apm-s3 config rm loki -e staging to remove all files"),
        (Advice.PASS_VARIABLES(), "pass the same ones: --var NAME=VALUE"),
        (Advice.KEEP_REVISIONS(), "pass --keep-revisions, or set it for the environment"),
    ],
)
def test_the_command_line_gets_options_instead_of_arguments(hint: Hint, told: str) -> None:
    assert told in for_command(hint)


def literal_hints() -> Iterator[str]:
    """Each text that is given as a hint."""
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if name.startswith(("cli/", "validators/")) or name == "_hints.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            values: list[ast.expr | None] = []
            if isinstance(node, ast.Call):
                values = [each.value for each in node.keywords if each.arg == "hint"]
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if any(ast.unparse(each).lower().endswith("hint") for each in targets):
                    values = [node.value]
            for value in values:
                parts = [each.value for each in ast.walk(value) if isinstance(each, ast.Constant)] if value else []
                yield "".join(each for each in parts if isinstance(each, str))


def test_a_hint_that_names_python_is_a_value_unless_only_programs_meet_it() -> None:
    found = {text for text in literal_hints() if PYTHON.search(text)}

    assert found == FOR_PROGRAMS


def test_each_edge_takes_its_own_words_from_an_error() -> None:
    error = errors.InvalidOption("bad", hint=Advice.CORRECT_OR_FORCE())
    detail = json.loads(bytes(problem_of_error(error).body))["detail"]

    assert str(error) == "bad. Nothing was stored; correct it, or pass a reason as force=."
    assert explain(error).hint == "nothing was stored; correct it, or use --force REASON"
    assert detail == "bad (nothing was stored; correct it, or send a reason as 'force')"
