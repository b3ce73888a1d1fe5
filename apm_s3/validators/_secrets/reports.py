"""Secrets in what is said of a configuration: a problem names its place, never the value of a secret. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from apm_s3.reports import Issue
from apm_s3.validators._reading.documents import Format
from apm_s3.validators._reading.nodes import MAX_DEPTH
from apm_s3.validators._secrets.names import Steps, kind_by_name, labelled
from apm_s3.validators._secrets.shapes import MASK, is_elsewhere, mask_shapes
from apm_s3.validators._secrets.texts import labels_of, secret_spans, traced

_QUOTED = re.compile(r"'[^'\n]*'|\"(?:[^\"\\\n]|\\.)*\"|`[^`\n]*`")
_SHORTEST = 4
"""Characters of a secret that is cut out wherever it stands; a shorter one is a word of its own too often."""

_MAX_BITS = 1024


class _Told(NamedTuple):
    """A secret and the lines that it stands on; in data, which have no lines, it may be meant anywhere."""

    text: str
    first: int | None = None
    last: int | None = None

    def is_at(self, line: int | None) -> bool:
        return line is None or self.first is None or self.last is None or self.first <= line <= self.last


class Concealer:
    """Takes the secrets of one source out of the issues that were found in it.

    Args:
        source: the text as it is read, or the data that were given in its place.
        form: the format of a text; None where it has none.
    """

    def __init__(self, source: str | Mapping[str, Any], form: Format | None) -> None:
        told = _of_text(source, form) if isinstance(source, str) else _of_data(source, ())
        self._told = sorted(set(told), key=lambda each: -len(each.text))

    def conceal(self, issue: Issue) -> Issue:
        """`issue` without what it quotes of a secret: the whole of it anywhere, parts of it on its own lines."""
        hint = None if issue.hint is None else self._concealed(issue.hint, issue.line)
        return replace(
            issue, path=mask_shapes(issue.path), message=self._concealed(issue.message, issue.line), hint=hint
        )

    def _concealed(self, text: str, line: int | None) -> str:
        for each in self._told:
            if len(each.text) >= _SHORTEST and not is_elsewhere(each.text):
                text = text.replace(each.text, MASK)
        near = [each.text for each in self._told if each.is_at(line)]

        def cut(match: re.Match[str]) -> str:
            quoted = match[0][1:-1].removesuffix("...").removesuffix("…")
            return f"{match[0][0]}{MASK}{match[0][-1]}" if _is_part(quoted, near) else match[0]

        return mask_shapes(_QUOTED.sub(cut, text) if near else text)


def _is_part(quoted: str, secrets: list[str]) -> bool:
    # One character tells nothing, and may be the message's own.
    return len(quoted) > 1 and any(quoted in secret or quoted in repr(secret) for secret in secrets)


def _of_text(text: str, form: Format | None) -> Iterator[_Told]:
    read = traced(text, form)
    for span in secret_spans(form, text, read):
        first = text.count("\n", 0, span.start) + 1
        secret = text[span.start : span.stop]
        yield _Told(secret, first, first + secret.count("\n"))
    trace, _ = read
    labels = labels_of(trace)
    for steps, node in (*trace.scalars, *trace.repeated):
        # What only seems to say where the secret is, `{{ hunter2 }}`, may be one that a template's error quotes.
        if node.text and kind_by_name(labelled(steps, labels), node.text) is not None:
            first = text.count("\n", 0, node.start) + 1
            yield _Told(node.text, first, first + text.count("\n", node.start, node.stop))


def _of_data(value: Any, steps: Steps) -> Iterator[_Told]:
    # Deeper data, or data that contains itself, is refused unread: no report quotes it.
    if len(steps) >= MAX_DEPTH:
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _of_data(item, (*steps, _text(key)))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _of_data(item, (*steps, index))
    elif value is not None and not isinstance(value, bool) and kind_by_name(steps, _text(value)) is not None:
        yield _Told(_text(value))


def _text(value: Any) -> str:
    # Python writes no integer of thousands of digits. Such a one is refused, and not quoted.
    return "" if isinstance(value, int) and value.bit_length() > _MAX_BITS else str(value)
