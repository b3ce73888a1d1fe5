"""Removes secrets from issues, which must never contain the value of a secret. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from apm_s3.reports import Issue
from apm_s3.validators._reading.documents import Format
from apm_s3.validators._reading.nodes import Node, Written, scalars_below
from apm_s3.validators._secrets.known import bare_value, is_strong
from apm_s3.validators._secrets.names import kind_by_name, labelled
from apm_s3.validators._secrets.shapes import MASK, is_elsewhere, mask_shapes
from apm_s3.validators._secrets.texts import labels_of, secret_spans, traced

_QUOTED = re.compile(r"(?<!\w)'[^'\n]*'|\"(?:[^\"\\\n]|\\.)*\"|`[^`\n]*`")
"""A quoted part of a message. The apostrophe in `receiver's` begins none."""
_WORD = re.compile(r"(?=[^\s'\"`]*\d)[^\s'\"`,;()]{6,}")
"""A word that a message may repeat without quotes, or with other ones; words of messages hardly have digits."""
_SHORTEST = 4
"""Least length of a secret that is removed from any text; a shorter one is too often an ordinary word."""


class _Told(NamedTuple):
    """A secret and its lines. In data, which has no lines, it may be quoted anywhere.

    Attributes:
        anywhere: whether it is removed as a whole from issues of other lines too.
    """

    text: str
    first: int | None = None
    last: int | None = None
    anywhere: bool = True

    def is_at(self, line: int | None) -> bool:
        return line is None or self.first is None or self.last is None or self.first <= line <= self.last


class Concealer:
    """Removes the secrets of one source from its issues.

    Args:
        source: the text, or the nodes of data that was given instead; None if the data could not be read.
        form: the format of a text; None if it has none.
        known: secrets of other texts, which may be quoted anywhere.
        placed: more secrets of the source, with their first and last lines.

    Short secrets of a text are only removed from issues of their lines: somebody with many guesses in other lines, of
    an overlay for example, could tell by it which one is right.
    """

    def __init__(
        self,
        source: str | Node | None,
        form: Format | None,
        known: Iterable[str] = (),
        placed: Iterable[tuple[str, int, int]] = (),
    ) -> None:
        told = {_Told(each) for text in known for each in (text, text.strip("\"'"))}
        told |= {
            _Told(each, first, last, is_strong(each))
            for text, first, last in placed
            for each in (text, bare_value(text))
        }
        if isinstance(source, str):
            told.update(_of_text(source, form))
        elif source is not None:
            told.update(_of_data(source))
        self._told = sorted(told, key=lambda each: -len(each.text))

    def conceal(self, issue: Issue) -> Issue:
        """Return `issue` without quoted secrets: whole secrets on any line, parts of them on their own lines."""
        hint = None if issue.hint is None else self._concealed(issue.hint, issue.line)
        return replace(
            issue, path=mask_shapes(issue.path), message=self._concealed(issue.message, issue.line), hint=hint
        )

    def _concealed(self, text: str, line: int | None) -> str:
        for each in self._told:
            if len(each.text) >= _SHORTEST and (each.anywhere or each.is_at(line)) and not is_elsewhere(each.text):
                text = text.replace(each.text, MASK)
        near = [each.text for each in self._told if each.is_at(line)]

        def cut(match: re.Match[str]) -> str:
            quoted = match[0][1:-1].removesuffix("...").removesuffix("…")
            return f"{match[0][0]}{MASK}{match[0][-1]}" if _is_part(quoted, near) else match[0]

        def cut_word(match: re.Match[str]) -> str:
            return MASK if _is_part(match[0].strip(":.…"), near) else match[0]

        return mask_shapes(_WORD.sub(cut_word, _QUOTED.sub(cut, text)) if near else text)


def _is_part(quoted: str, secrets: list[str]) -> bool:
    # A single character reveals nothing, and may be the message's own.
    return len(quoted) > 1 and any(quoted in secret or quoted in repr(secret) for secret in secrets)


def _of_text(text: str, form: Format | None) -> Iterator[_Told]:
    read = traced(text, form)
    for span in secret_spans(form, text, lambda: read):
        first = text.count("\n", 0, span.start) + 1
        secret = text[span.start : span.stop]
        yield _Told(secret, first, first + secret.count("\n"), is_strong(secret))
    for node in _named([*read[0].scalars, *read[0].repeated]):
        first = text.count("\n", 0, node.start) + 1
        yield _Told(node.text, first, first + text.count("\n", node.start, node.stop), is_strong(node.text))


def _of_data(root: Node) -> Iterator[_Told]:
    yield from (_Told(node.text) for node in _named(list(scalars_below(root))))


def _named(values: Sequence[Written]) -> Iterator[Node]:
    """Yield all values with the name of a secret: `{{ hunter2 }}` may be one that an error quotes."""
    labels = labels_of(values)
    for steps, node in values:
        if node.text and kind_by_name(labelled(steps, labels), node.text) is not None:
            yield node
