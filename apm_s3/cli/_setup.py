"""The commands with which one begins: `init`, `completion` and `demo`."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import click

from apm_s3._version import __version__
from apm_s3.cli import _arguments as args
from apm_s3.cli._call import Call, Output
from apm_s3.cli._output import make_changes, make_console, print_json
from apm_s3.cli._settings import PROJECT_FILE, VARIABLES, add_trust, refuse_writable
from apm_s3.cli._statuses import Status, UsageFailed

HOOKS_FILE = ".pre-commit-config.yaml"
HOOK_ID = "apm-s3-validate"
HOOK = f"""\
- repo: local
  hooks:
    # It installs apm-s3 from %(source)s.
    - id: {HOOK_ID}
      name: validate configurations of observability tools
      entry: apm-s3 config validate --whole-bundle
      language: python
      additional_dependencies: [%(requirement)s]
      types: [text]
      files: '(^|/)(alertmanager|grafana|jaeger|loki|prometheus)(/.*\\.(ya?ml|json|ini|tmpl)|\\.(ya?ml|ini))$'
      require_serial: true
"""
"""The entry for pre-commit; .pre-commit-hooks.yaml has the same hook for projects that refer to a repository."""

_EXAMPLES = {
    "bucket": "apm-staging-configs",
    "prefix": "team-a/",
    "environment": "staging",
    "bucket-owner": "123456789012",
    "profile": "staging",
    "region": "eu-central-1",
    "endpoint-url": "http://localhost:9000",
}


@args.dry_run
def init(call: Call) -> None:
    """Write apm-s3.toml and a hook for pre-commit.

    The file gets the common options that are given here; the others stay in it as comments. It goes to the working
    directory, applies to all directories below in the same repository, and is trusted as with `apm-s3 trust`. Existing
    files are kept: an entry is added to .pre-commit-config.yaml if there is none. The hook installs apm-s3 from where
    this one was installed from.

    Example:
        apm-s3 init --bucket apm-staging-configs --environment staging
    """
    call.resume_hint = "Run it again."
    project = Path(PROJECT_FILE)
    if os.path.lexists(project):
        raise UsageFailed(f"{project.resolve()} exists", "edit it, or remove it first")
    hooks = Path(HOOKS_FILE)
    before = hooks.read_text(encoding="utf-8") if hooks.exists() else None
    hook, source = find_hook()
    # A checkout decides where a link leads: nothing is written there.
    after = None if hooks.is_symlink() else add_hook(before, hook)
    text = project_text(call.options)
    refuse_writable(project.absolute(), Path.cwd())
    if not call.dry_run:
        # First: without it, the file would stop every command.
        add_trust(project.absolute(), text.encode())
        with project.open("xb") as file:
            file.write(text.encode())
        if after is not None and after != before:
            hooks.write_text(after, encoding="utf-8")
    changes = [("+", PROJECT_FILE)]
    if after != before and after is not None:
        changes.append(("+" if before is None else "~", f"{HOOKS_FILE}: the hook {HOOK_ID}"))
    document = {"written": [line.partition(":")[0] for _, line in changes], "dry_run": call.dry_run}
    call.print(document, make_changes("Would write:" if call.dry_run else "Wrote:", changes))
    if after is None:
        call.note(f"note: add this to {HOOKS_FILE} yourself, whose form is unusual:\n{hook}")
    if after != before:
        only_here = ", which other machines do not have: change its additional_dependencies for them"
        call.note(f"note: the hook installs apm-s3 from {source}{only_here if source.startswith('file:') else ''}")


def project_text(options: dict[str, str | None]) -> str:
    """Return the project file with the options that were given, and the others as comments."""
    lines = ["# Settings of apm-s3. Options and environment variables win over them.", ""]
    for name in VARIABLES:
        value = options.get(name)
        # A JSON string is a TOML string as well.
        text = f"{name} = {json.dumps(value or _EXAMPLES[name], ensure_ascii=False)}"
        lines.append(text if value else f"# {text}")
    return "\n".join(lines) + "\n"


def find_hook() -> tuple[str, str]:
    """Return the entry for pre-commit, and where it installs this package from: where it is installed from here.

    https://packaging.python.org/en/latest/specifications/direct-url/
    """
    from importlib.metadata import PackageNotFoundError, distribution  # noqa: PLC0415 - only this needs it

    try:
        recorded = json.loads(distribution("apm-s3").read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        recorded = {}
    source = str(recorded.get("url", ""))
    if not source:
        requirement, source = f"apm-s3[cli]=={__version__}", "the package index that pip uses"
    else:
        source = re.sub(r"(?<=://)[^/@]*:[^/@]*@", "", source)  # a password does not belong in a checkout
        if (vcs := recorded.get("vcs_info")) is not None:
            source = f"{vcs['vcs']}+{source}@{vcs['commit_id']}"
        if "subdirectory" in recorded:
            source = f"{source}#subdirectory={recorded['subdirectory']}"
        requirement = f"apm-s3[cli] @ {source}"
    return HOOK % {"source": source, "requirement": json.dumps(requirement)}, source


def add_hook(text: str | None, hook: str) -> str | None:
    """Return a configuration of pre-commit with the hook added at its end; None if it cannot be added safely."""
    if text is None:
        return f"repos:\n{_indented(hook, '  ')}"
    if HOOK_ID in text:
        return text
    old = _repos(text)
    if old is None:
        return None
    separator = "" if text.endswith("\n") else "\n"
    for indent in ("  ", "", "    "):
        added = f"{text}{separator}{_indented(hook, indent)}"
        new = _repos(added)
        if new is not None and len(new) == len(old) + 1 and new[:-1] == old:
            return added
    return None


def _indented(hook: str, indent: str) -> str:
    return "".join(f"{indent}{line}\n" for line in hook.splitlines())


def _repos(text: str) -> list[Any] | None:
    """Return the repositories in a configuration of pre-commit; None if there are none."""
    import yaml  # noqa: PLC0415 - the help does without it

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError:
        return None
    repos = document.get("repos") if isinstance(document, dict) else None
    return repos if isinstance(repos, list) else None


@args.argument("shell", metavar="SHELL", type=click.Choice(("bash", "zsh", "fish")), help="bash, zsh or fish.")
def completion(_: Call, *, shell: str) -> None:
    """Print the completion script of a shell.

    Examples:
        apm-s3 completion bash >> ~/.bashrc
        apm-s3 completion zsh > ~/.zfunc/_apm-s3
        apm-s3 completion fish > ~/.config/fish/completions/apm-s3.fish
    """
    from click.shell_completion import ShellComplete, get_completion_class  # noqa: PLC0415 - only this needs it

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click has these three
    # Not its own `source`: that of bash starts a bash to ask for its version, as that of macOS has no `nosort`.
    script = ShellComplete.source(kind(click.Command(None), {}, "apm-s3", "_APM_S3_COMPLETE"))
    sys.stdout.write(script.replace("-o nosort", "-o default"))


def demo(call: Call) -> Status:
    """Show what the library does, on example configurations.

    It uses a bucket of its own, which it deletes afterwards, on an embedded server or on --endpoint-url with the
    credentials of the AWS configuration.

    Example:
        apm-s3 demo
    """
    import asyncio  # noqa: PLC0415 - the help, and the other commands here, do without it

    from apm_s3.cli._demo import run_demo  # noqa: PLC0415 - it brings the validators and the S3 client

    call.resume_hint = "Its bucket was deleted."
    as_json = call.output is Output.json
    console = make_console(stderr=as_json)
    region = call.settings.get("region") or "us-east-1"
    ok = asyncio.run(run_demo(console, endpoint_url=call.options.get("endpoint-url"), region=region))
    if as_json:
        print_json({"ok": ok})
    return Status.DONE if ok else Status.FAILED
