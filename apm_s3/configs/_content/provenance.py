"""Follows the secrets of a file through an overlay: where they are in the result, whatever surrounds them there. Pure.

The places are found when an overlay is applied, and stored with the result. To search for the texts of secrets later
would tell everybody who may write an overlay with a list of all short passwords which one is the secret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from apm_s3.configs._content.structures import Steps
from apm_s3.validators._secrets.forms import Place, behind
from apm_s3.validators._secrets.known import Searched, SecretValue, marked, plain_steps


def secret_places(
    base: Searched, substituted: Searched, result: Searched, merged: Callable[[Callable[[Any], Any]], Any] | None
) -> tuple[Place, ...]:
    """Return where the secrets of `base` are in `result`.

    Args:
        substituted: the base with variables replaced.
        merged: merges the patch into the data of `substituted`, after the function that is given has changed them;
            None if there is no patch.
    """
    steps = base.secret_steps(substituted) | substituted.secret_steps()
    if not steps:
        return ()
    if merged is not None:
        steps = set(_secrets_in(merged(lambda data: marked(data, steps)), ()))
    found = set()
    trace, _ = result.read
    for each, node in (*trace.scalars, *trace.repeated):
        if plain_steps(each) in steps and node.stop > node.start:
            found.add((node.start, node.stop))
            comment = behind(result.text, node.stop, is_secret=True) if result.form in ("yaml", "ini") else None
            found |= {comment} if comment else set()
    return tuple(sorted(found))


def _secrets_in(data: Any, at: Steps) -> Iterator[Any]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _secrets_in(value, (*at, key))
    elif isinstance(data, list):
        for index, item in enumerate(data):
            yield from _secrets_in(item, (*at, index))
    elif isinstance(data, SecretValue):
        yield at
