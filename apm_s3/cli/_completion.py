"""The command `completion`."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer


class Shell(StrEnum):
    """The shells that have completion."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


_REGISTERED = "compdef _apm_s3_completion apm-s3"
_COMPLETED_AT_ONCE = f"""\
if [ "$funcstack[1]" = "_apm-s3" ]; then
  _apm_s3_completion "$@"
else
  {_REGISTERED}
fi"""
"""zsh runs a file of its `fpath` as the completion itself. If it only registers another, the first Tab does nothing."""


def completion(shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")]) -> None:
    """Print the completion script of a shell.

    Examples:
        apm-s3 completion bash >> ~/.bashrc
        apm-s3 completion zsh > ~/.zfunc/_apm-s3
        apm-s3 completion fish > ~/.config/fish/completions/apm-s3.fish
    """
    from typer import completion as completions  # noqa: PLC0415 - only this needs it

    script = completions.get_completion_script(  # type: ignore[attr-defined]
        prog_name="apm-s3", complete_var="_APM_S3_COMPLETE", shell=shell.value
    )
    sys.stdout.write(script.replace(_REGISTERED, _COMPLETED_AT_ONCE) + "\n")
