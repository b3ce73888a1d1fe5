"""One run of a command: its settings, its connection to S3, its questions, and its result."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from apm_s3._hints import Advice, Hint
from apm_s3.cli._statuses import OutputFailed, UsageFailed, clean, did_you_mean

if TYPE_CHECKING:
    from rich.console import RenderableType

    from apm_s3._manager import S3Manager
    from apm_s3.cli._output import ProgressLine
    from apm_s3.cli._settings import Settings
    from apm_s3.configs import ConfigStore, OnStoreProgress, StoreProgress
    from apm_s3.events import Hook
    from apm_s3.settings import S3Settings

T = TypeVar("T")


class Output(StrEnum):
    """How a result is printed."""

    text = "text"
    json = "json"


HELD = ("author", "message", "write_id", "yes", "dry_run")
"""Options that a command does not get as arguments: its `Call` knows what to do with them."""


class Call:
    """One run of a command.

    Attributes:
        options: the common options as given.
        output: how to print the result.
        debug: whether to say where settings come from, and to show tracebacks.
        given: the options in `HELD` that the command has.
        dry_run: whether to change nothing.
        yes: whether to ask nothing.
        changes: whether the command changes something, so that a lost response makes its outcome unknown.
        resume_hint: what to do after an interruption, in one sentence.
    """

    def __init__(
        self,
        options: dict[str, str | None],
        output: Output,
        *,
        debug: bool = False,
        given: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.options = options
        self.given = given
        self.dry_run: bool = given.get("dry_run", False)
        self.yes: bool = given.get("yes", False)
        self.output = output
        self.debug = debug
        self.changes: bool = False
        self.resume_hint: str = "Nothing was changed."

    @cached_property
    def settings(self) -> Settings:
        """Return the settings; with --debug, print their sources."""
        from apm_s3.cli._settings import load_settings  # noqa: PLC0415 - the help does without it

        settings = load_settings(self.options)
        if self.debug:
            sys.stderr.write("".join(f"debug: {clean(line)}\n" for line in settings.lines()))
        return settings

    @property
    def bucket(self) -> str:
        """Return the bucket.

        Raises:
            UsageFailed: nothing names it.
        """
        return self._required("bucket", "APM_S3_BUCKET")

    @property
    def environment(self) -> str:
        """Return the environment.

        Raises:
            UsageFailed: nothing names it.
        """
        return self._required("environment", "APM_S3_ENVIRONMENT")

    def _required(self, name: str, variable: str) -> str:
        value = self.settings.get(name)
        if not value:
            raise UsageFailed(
                f"no {name} is set", f"use --{name} or {variable}, or write it to apm-s3.toml with apm-s3 init"
            )
        return value

    # S3 --------------------------------------------------------------------------------------------------------------

    def run(self, work: Callable[[S3Manager], Awaitable[T]], hooks: Sequence[Hook] = ()) -> T:
        """Open a manager, and return the result of `work` with it.

        Args:
            hooks: called for every operation, to show progress.
        """
        import asyncio  # noqa: PLC0415 - commands without S3 do not need it

        settings = self.settings

        async def opened() -> T:
            async with make_manager(
                settings.get("endpoint-url"), settings.get("region"), settings.get("profile"), hooks
            ) as s3:
                return await work(s3)

        return asyncio.run(opened())

    def run_on_store(self, work: Callable[[ConfigStore], Awaitable[T]]) -> T:
        """Open a manager, and return the result of `work` with the store of the configurations."""
        from apm_s3.errors import ConfigNotFound  # noqa: PLC0415 - the help does without it

        store_of = self.store_of()

        async def with_store(s3: S3Manager) -> T:
            store = store_of(s3)
            try:
                return await work(store)
            except ConfigNotFound as exc:
                await suggest_environment(store, exc)
                raise

        return self.run(with_store)

    def store_of(self) -> Callable[[S3Manager], ConfigStore]:
        """Return a function that returns the store of a manager; the settings are read now, before anything is sent."""
        bucket, prefix, owner = self.bucket, self.settings.prefix, self.settings.get("bucket-owner")
        return lambda s3: s3.configs(bucket, prefix, expected_bucket_owner=owner)

    def signed(self, about: str = "") -> dict[str, Any]:
        """Return the author and the message of a change: the options, or what git and the user's editor say.

        Args:
            about: what will change, for the editor; without it, nobody is asked for a message.
        """
        return {"message": self.message(about) if about else self.given["message"] or "", "author": self.author}

    def begin_write(self, environment: str, about: str = "") -> dict[str, Any]:
        """Return author, message and id of a write; by the id, an interrupted user finds out what became of it."""
        from apm_s3.configs import ConfigStore  # noqa: PLC0415 - it brings the validators

        how = {**self.signed(about), "write_id": self.given.get("write_id") or ConfigStore.new_write_id(environment)}
        self.changes = True
        self.resume_hint = f"See whether it was committed: apm-s3 config outcome {how['write_id']}"
        return how

    def change(self, environment: str, about: str, work: Callable[[ConfigStore, dict[str, Any]], Awaitable[T]]) -> T:
        """Return the result of a change that creates releases; `work` gets the store and what `begin_write` returns."""
        how = self.begin_write(environment, about)
        return self.run_on_store(lambda store: work(store, how))

    # People ----------------------------------------------------------------------------------------------------------

    @property
    def can_ask(self) -> bool:
        """Return whether there is a terminal to ask on."""
        return sys.stdin.isatty() and sys.stderr.isatty()

    def confirm(self, question: str, *, name: str | None = None) -> None:
        """Ask before something is destroyed or replaced, unless `--yes` was given.

        Args:
            question: ends with a question mark.
            name: what must be typed instead of "y"; `in_production` returns it for an environment.

        Raises:
            UsageFailed: nobody can be asked.
            Abort: the answer is no.
        """
        if self.yes:
            return
        if not self.can_ask:
            raise UsageFailed("this needs a confirmation, and there is no terminal to ask on", "add --yes in scripts")
        if name is not None:
            agreed = _ask(f"{question} Type '{name}' to go on: ") == name
        else:
            agreed = _ask(f"{question} [y/N] ").lower() in ("y", "yes")
        if not agreed:
            raise click.Abort

    @cached_property
    def author(self) -> str:
        """Return the author of a change: `--author`, git's user, or the login."""
        from apm_s3.cli._notes import find_author  # noqa: PLC0415 - only changes need it

        return find_author(self.given["author"])

    def message(self, about: str) -> str:
        """Return the message of a change: `--message`, or from an editor; `about` says what will change.

        Raises:
            Abort: the message is empty.
            UsageFailed: a setting of the store is missing, or not trusted.
        """
        from apm_s3.cli._notes import find_message  # noqa: PLC0415 - only changes need it

        self.store_of()  # refused before anybody writes a message, if a setting is missing or not trusted
        return find_message(self.given["message"], about)

    def progress(self) -> ProgressLine:
        """Return a line of progress on standard error."""
        from apm_s3.cli._output import ProgressLine, make_console  # noqa: PLC0415 - the help does without it

        return ProgressLine(make_console(stderr=True))

    @contextmanager
    def store_progress(self) -> Iterator[OnStoreProgress]:
        """Show the progress of a call of the store that is made inside; yields its `on_progress`."""
        with self.progress() as line:

            def told(progress: StoreProgress) -> None:
                place = f"{progress.environment}: " if progress.environment else ""
                of = "" if progress.total is None else f" of {progress.total}"
                count = f", {progress.done}{of}" if of or progress.done else ""
                line.show(f"{place}{progress.phase}{count}", done=progress.done, total=progress.total)

            yield told

    def note(self, text: str) -> None:
        """Tell something on standard error that is not part of the result."""
        sys.stderr.write(f"{clean(text)}\n")

    def print(self, document: object, *text: RenderableType, paged: bool = False) -> None:
        """Print the result: `text` for people, or `document` as JSON.

        Args:
            paged: whether a pager shows a text that is longer than the screen.
        """
        from apm_s3.cli._output import print_json, print_text  # noqa: PLC0415 - the help does without it

        with writing():
            if self.output is Output.json:
                print_json(document)
            else:
                print_text(text, paged=paged)

    def print_content(self, data: bytes, document: object) -> None:
        """Print the content of a file byte for byte, or `document` as JSON."""
        from apm_s3.cli._output import print_json  # noqa: PLC0415 - the help does without it

        with writing():
            if self.output is Output.json:
                print_json(document)
            else:
                sys.stdout.flush()
                sys.stdout.buffer.write(data)


@contextmanager
def writing() -> Iterator[None]:
    """Write a result to standard output inside, and flush it at the end.

    Raises:
        OutputFailed: it cannot be written.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise OutputFailed(exc) from exc


def in_production(environment: str) -> str | None:
    """Return the name that must be typed before `environment` is changed; None if "y" is enough."""
    from apm_s3._naming import PRODUCTION  # noqa: PLC0415 - the help does without it

    return environment if environment in PRODUCTION else None


def make_manager(
    endpoint_url: str | None, region: str | None, profile: str | None, hooks: Sequence[Hook] = ()
) -> S3Manager:
    """Return a manager that is not open yet; None leaves a value to the AWS configuration."""
    from apm_s3._manager import S3Manager  # noqa: PLC0415 - it loads an S3 client

    session = make_session(profile)
    return S3Manager(
        region=region, endpoint_url=endpoint_url, session=session, settings=make_s3_settings(), hooks=hooks
    )


def make_s3_settings() -> S3Settings:
    """Return the settings of all managers of the command line, by the environment."""
    from apm_s3.settings import S3Settings  # noqa: PLC0415 - see above

    return S3Settings(token_over_http=os.environ.get("APM_S3_TOKEN_OVER_HTTP") == "1")


def make_session(profile: str | None) -> Any:
    """Return a session of `profile`; None for the default one of each manager."""
    if profile is None:
        return None
    from apm_s3._s3.transports.boto.client import session_of_profile  # noqa: PLC0415 - see above

    return session_of_profile(profile)


def this_command(*extra: str) -> str:
    """Return the command line as it was typed, with `extra` options, to be repeated."""
    return shlex.join(["apm-s3", *sys.argv[1:], *extra])


def _ask(question: str) -> str:
    """Ask on standard error, because standard output is for results."""
    sys.stderr.write(clean(question, line=True))
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if not answer:
        sys.stderr.write("\n")
        raise click.Abort
    return answer.strip()


async def suggest_environment(store: ConfigStore, error: Any) -> None:
    """Add the most similar environment to an error about one that does not exist."""
    from apm_s3.errors import ApmS3Error  # noqa: PLC0415 - see above

    if error.environment is None:
        return
    try:
        known: Sequence[str] = await store.environments()
    except ApmS3Error:
        return
    if error.environment in known:
        return
    near = did_you_mean(error.environment, known) or (
        f"the environments are {', '.join(known)};" if known else "there is none yet: apm-s3 config push creates it;"
    )
    may_create = isinstance(error.hint, Hint) and error.hint.kind in (
        Advice.CREATE_ENVIRONMENT,
        Advice.CREATE_TARGET_ENVIRONMENT,
    )
    error.hint = Advice.CREATE_ENVIRONMENT(near=near) if may_create else near.rstrip(";")
