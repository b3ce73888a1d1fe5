"""The command `init`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer

from apm_s3._version import __version__
from apm_s3.cli._arguments import DryRun
from apm_s3.cli._call import Call
from apm_s3.cli._output import make_changes
from apm_s3.cli._settings import PROJECT_FILE, VARIABLES
from apm_s3.cli._statuses import UsageFailed
from apm_s3.cli._trust import add_trust

HOOKS_FILE = ".pre-commit-config.yaml"
HOOK_ID = "apm-s3-validate"
HOOK = f"""\
- repo: local
  hooks:
    - id: {HOOK_ID}
      name: validate configurations of observability tools
      entry: apm-s3 config validate --whole-bundle
      language: python
      additional_dependencies: ["apm-s3[cli]=={__version__}"]
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


def init(ctx: typer.Context, dry_run: DryRun = False) -> None:
    """Write apm-s3.toml and a hook for pre-commit.

    The file gets the common options that are given here; the others stay in it as comments. It goes to the working
    directory, applies to all directories below in the same repository, and is trusted as with `apm-s3 trust`. Existing
    files are kept: an entry is added to .pre-commit-config.yaml if there is none.

    Example:
        apm-s3 init --bucket apm-staging-configs --environment staging
    """
    call = Call.of(ctx)
    call.go_on = "Run it again."
    project = Path(PROJECT_FILE)
    if project.exists():
        raise UsageFailed(f"{project.resolve()} exists", "edit it, or remove it first")
    hooks = Path(HOOKS_FILE)
    before = hooks.read_text(encoding="utf-8") if hooks.exists() else None
    after = add_hook(before)
    text = project_text(call.options)
    if not dry_run:
        # First: without it, the file would stop every command.
        add_trust(project.absolute(), text.encode())
        project.write_bytes(text.encode())
        if after is not None and after != before:
            hooks.write_text(after, encoding="utf-8")
    changes = [("+", PROJECT_FILE)]
    if after != before and after is not None:
        changes.append(("+" if before is None else "~", f"{HOOKS_FILE}: the hook {HOOK_ID}"))
    document = {"written": [line.partition(":")[0] for _, line in changes], "dry_run": dry_run}
    call.print(document, make_changes("Would write:" if dry_run else "Wrote:", changes))
    if after is None:
        call.note(f"note: add this to {HOOKS_FILE} yourself, whose form is unusual:\n{HOOK}")


def project_text(options: dict[str, str | None]) -> str:
    """Return the project file with the options that were given, and the others as comments."""
    lines = ["# Settings of apm-s3. Options and environment variables win over them.", ""]
    for name in VARIABLES:
        value = options.get(name)
        # A JSON string is a TOML string as well.
        text = f"{name} = {json.dumps(value or _EXAMPLES[name], ensure_ascii=False)}"
        lines.append(text if value else f"# {text}")
    return "\n".join(lines) + "\n"


def add_hook(text: str | None) -> str | None:
    """Return a configuration of pre-commit with the hook added at its end; None if it cannot be added safely."""
    if text is None:
        return f"repos:\n{_indented('  ')}"
    if HOOK_ID in text:
        return text
    old = _repos(text)
    if old is None:
        return None
    separator = "" if text.endswith("\n") else "\n"
    for indent in ("  ", "", "    "):
        added = f"{text}{separator}{_indented(indent)}"
        new = _repos(added)
        if new is not None and len(new) == len(old) + 1 and new[:-1] == old:
            return added
    return None


def _indented(indent: str) -> str:
    return "".join(f"{indent}{line}\n" for line in HOOK.splitlines())


def _repos(text: str) -> list[Any] | None:
    """Return the repositories in a configuration of pre-commit; None if there are none."""
    import yaml  # noqa: PLC0415 - the help does without it

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError:
        return None
    repos = document.get("repos") if isinstance(document, dict) else None
    return repos if isinstance(repos, list) else None
