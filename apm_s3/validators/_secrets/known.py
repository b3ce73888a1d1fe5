"""Finds known secrets wherever their texts appear, and removes secrets from parsed values and issues. Pure.

A name beside a value makes it a secret, and an overlay or a later revision can change that name. So the secrets of all
inputs of a text are searched for in it: as whole values however they are written, and as parts of texts. Searches take
linear time in the length of a text.
"""

from __future__ import annotations

import base64
import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import quote

from apm_s3.reports import Issue
from apm_s3.validators._reading.documents import Format, Tagged, format_of
from apm_s3.validators._reading.nodes import Node, Trace, Written, resolve_plain, scalars_below
from apm_s3.validators._secrets.forms import (
    MASK,
    NamedSteps,
    Place,
    behind,
    hints_at_secrets,
    is_elsewhere,
    is_label,
    is_secret_name,
    kind_by_name,
    labelled,
    mask_key,
    mask_shapes,
    shapes_in,
)
from apm_s3.validators._secrets.texts import (
    MASKED_ONLY,
    Span,
    disjoint,
    inner_spans,
    labels_of,
    mask_inner,
    secret_spans,
    traced,
    without,
)

_SHORTEST = 4
"""Least length of a secret that is searched for in parts of texts; a shorter one must be a whole value."""
_ANYWHERE = 8
"""Length from which a secret may be followed by more letters."""
_STRONG = 20
"""Length from which nobody guesses a secret."""
_MIXED = 12
"""The same for a secret with `_MANY_CHANGES`."""
_CHANGE = re.compile(r"(?<=[a-z])[^a-z]|(?<=[A-Z])[^A-Za-z]|(?<=\d)\D|(?<=[^\w])\w")
_MANY_CHANGES = 3
"""Changes between kinds of characters from which a secret is no word with a number."""
_MOST_ALIKE = 256
"""Most secrets with the same longest word, and most with variables; beyond it, more is masked than necessary."""

_BEFORE_VALUE = re.compile(r"\A(?:[&!]\S*\s+)*(?:[|>][-+\d]*\s+)?")
"""Anchor, tag and head of a YAML value."""
_WORD = re.compile(r"[^\W_]+")
_VARIABLE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")


class SecretValue(str):
    """A value of parsed data that is a secret because of its place in a text."""

    __slots__ = ()


class Searched:
    """The text of the file `name`, in which secrets were searched for.

    Args:
        places: where others are known to be.
    """

    def __init__(self, name: str, text: str, places: Iterable[Place] = ()) -> None:
        self.text = text
        self.form = format_of(name)
        self.spans = secret_spans(self.form, text, lambda: self.read)
        if more := [Span(start, min(stop, len(text)), "secret", ()) for start, stop in places if start < len(text)]:
            self.spans = disjoint([*self.spans, *more])

    @cached_property
    def read(self) -> tuple[Trace, bool]:
        """Return the positions of values, and whether the whole text can be parsed."""
        return traced(self.text, self.form)

    def forget(self) -> None:
        """Free the memory of `read`, which is made again when needed."""
        vars(self).pop("read", None)

    def secret_steps(self, other: Searched | None = None) -> set[tuple[str | int, ...]]:
        """Return the steps of the values that are secrets as a whole, also where aliases repeat them.

        Args:
            other: a text of the same structure, whose steps are returned; by default this one.
        """
        if not self.spans:
            return set()
        there, _ = (other or self).read
        nodes, at = set(), 0
        for (_, node), (_, same) in zip(self.read[0].scalars, there.scalars, strict=False):
            while at < len(self.spans) and self.spans[at].stop < node.stop:
                at += 1
            if at < len(self.spans) and self.spans[at].start <= node.start < node.stop:
                nodes.add(id(same))
        return {plain_steps(steps) for steps, node in (*there.scalars, *there.repeated) if id(node) in nodes}

    def secrets(self) -> Iterator[str]:
        """Yield the secrets: values, and parts of texts as written.

        Uncertain ones are only told if they look like passwords.
        """
        spans = self.spans
        if not spans:
            return
        told = [span.kind not in MASKED_ONLY or _looks_secret(self.text[span.start : span.stop]) for span in spans]
        stops = [span.stop for span in spans]
        whole = set()
        for _, node in self.read[0].scalars:
            at = bisect_left(stops, node.start + 1)
            if at == len(spans) or spans[at].start >= node.stop or not told[at]:
                continue
            if spans[at].start <= node.start and node.stop <= spans[at].stop:
                # As written, it may have an anchor, a tag or the head of a block.
                whole.add(at)
                yield node.text
            elif node.text != self.text[node.start : node.stop]:
                inner = [*shapes_in(node.text), *((*span[:2], span.kind) for span in inner_spans(node.text, 1))]
                yield from (node.text[start:stop] for start, stop, _ in inner)
        parts = (span for at, span in enumerate(spans) if told[at] and at not in whole)
        yield from (self.text[span.start : span.stop] for span in parts)


def marked(data: Any, steps: AbstractSet[tuple[str | int, ...]], at: tuple[str | int, ...] = ()) -> Any:
    """Return parsed data with the values at `steps` as `SecretValue`."""
    if isinstance(data, Tagged):
        return Tagged(data.tag, marked(data.value, steps, at))
    if isinstance(data, Mapping):
        return {key: marked(value, steps, (*at, key)) for key, value in data.items()}
    if isinstance(data, list):
        return [marked(item, steps, (*at, index)) for index, item in enumerate(data)]
    if at not in steps or data is None:
        return data
    return SecretValue(data if isinstance(data, str) else f"{type(data).__name__} {data}")


def plain_steps(steps: Iterable[str | int]) -> tuple[str | int, ...]:
    """Return steps as in parsed data, in which merge keys are merged."""
    found: list[str | int] = []
    is_merged = False
    for step in steps:
        if step != "<<" and not (is_merged and isinstance(step, int)):
            found.append(step)
        is_merged = step == "<<"
    return tuple(found)


def bare_value(text: str) -> str:
    """Return a value without what YAML writes around it."""
    return _BEFORE_VALUE.sub("", text).strip("\"'`")


def is_strong(text: str) -> bool:
    """Return whether no list of guesses contains a secret: it is long, and no word with a year behind it."""
    text = bare_value(text)
    return len(text) >= _STRONG or (len(text) >= _MIXED and len(_CHANGE.findall(text)) >= _MANY_CHANGES)


def _looks_secret(text: str) -> bool:
    return len(text) >= _SHORTEST and any(map(str.isdigit, text)) and not text.isdigit()


class KnownSecrets:
    """Secrets of other texts.

    Args:
        secrets: their texts, as written or as values.
        weak: include those that somebody could guess. What is masked tells whoever writes a text with many guesses in
            it which one is right, so these are only searched for in texts that nobody can write any more.
    """

    def __init__(self, secrets: Iterable[str] = (), *, weak: bool = False) -> None:
        self.values: set[str] = set()
        self._by_word: dict[str, dict[str, int]] = {}
        self._parts: set[str] = set()
        self._weak = weak
        for text in secrets:
            self._add(text.strip())

    def __bool__(self) -> bool:
        return bool(self.values)

    def is_in(self, text: str) -> bool:
        """Return whether the value `text` is a secret, or contains one."""
        return bool(self.values) and self._contains(text)

    def _contains(self, text: str) -> bool:
        return self._is_value(text) or next(self.places(text), None) is not None

    def masked(self, searched: Searched) -> str:
        """Return the text with its own secrets and the known ones masked, with as many lines as before."""
        if not self:
            return without(searched.text, searched.spans)
        if len(self._parts) > _MOST_ALIKE:
            return without(searched.text, [Span(0, len(searched.text), "secret", ())])
        return without(searched.text, [*searched.spans, *self._spans(searched)])

    def places(self, text: str) -> Iterator[Place]:
        """Yield the places of known secrets in `text`."""
        by_word = self._by_word
        for word in _WORD.finditer(text) if by_word else ():
            if (alike := by_word.get(word[0])) is not None:
                yield from _places_at(text, word.start(), alike)
        for part in self._parts if len(self._parts) <= _MOST_ALIKE else ("",):
            at = text.find(part)
            while at >= 0:
                yield at, at + (len(part) or len(text))
                at = text.find(part, at + len(part)) if part else -1

    def _spans(self, searched: Searched) -> Iterator[Span]:
        text, form = searched.text, searched.form
        yield from (Span(*place, "secret", ()) for place in self.places(text))
        trace, _ = searched.read
        for _, node in (*trace.scalars, *trace.keys):
            written = text[node.start : node.stop]
            if self._is_value(node.text) or (written != node.text and next(self.places(node.text), None)):
                yield Span(node.start, node.stop, "secret", ())
                comment = behind(text, node.stop, is_secret=True) if form in ("yaml", "ini") else None
                yield from () if comment is None else (Span(*comment, "secret", ()),)

    def _is_value(self, text: str) -> bool:
        text = text.strip()
        return bool(text) and (text in self.values or str(resolve_plain(text)) in self.values)

    def _add(self, text: str) -> None:
        if is_elsewhere(text) or text == MASK or not self._is_searched(text):
            return
        if text[0] in "\"'`" and text[-1] == text[0]:
            self._add(text[1:-1].strip())
        self.values |= {text, str(resolve_plain(text))}
        for each in {*_forms_of(text), *filter(self._is_searched, _lines_of(text))}:
            if len(each) >= _SHORTEST and (words := _WORD.findall(each)):
                longest = max(words, key=len)
                self._by_word.setdefault(longest, {})[each] = each.find(longest)
        if "${" in text:
            # A variable may be replaced by text that no word boundary separates from the rest.
            parts = [part for part in _VARIABLE.split(text) if len(part) >= _SHORTEST]
            self._parts.update(filter(self._is_searched, parts))

    def _is_searched(self, text: str) -> bool:
        return self._weak or is_strong(text)


NONE_KNOWN = KnownSecrets()


def _forms_of(text: str) -> set[str]:
    """Return how a secret may be written: escaped or encoded."""
    forms = {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], text.replace("'", "''")}
    raw = text.encode(errors="surrogatepass")
    return forms | {quote(raw, safe=""), base64.b64encode(raw).decode().rstrip("=")}


def _lines_of(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if len(line.strip()) >= _ANYWHERE]


def _places_at(text: str, at: int, alike: dict[str, int]) -> Iterator[Place]:
    if len(alike) > _MOST_ALIKE:
        end = text.find("\n", at)
        yield text.rfind("\n", 0, at) + 1, len(text) if end < 0 else end
        return
    for secret, offset in alike.items():
        start, stop = at - offset, at - offset + len(secret)
        if start < 0 or not text.startswith(secret, start):
            continue
        is_bounded = not text[stop : stop + 1].isalnum() and not (start and text[start - 1].isalnum())
        if is_bounded or len(secret) >= _ANYWHERE:
            yield start, stop


def mask_value(value: Any, steps: NamedSteps = (), known: KnownSecrets = NONE_KNOWN) -> Any:
    """Mask every secret in `value`, which is at `steps`, and keep everything else.

    Args:
        known: secrets that are masked anywhere.
    """
    if isinstance(value, Tagged):
        return _mask_tagged(value, tuple(steps), known)
    if isinstance(value, Mapping):
        return _mask_mapping(value, tuple(steps), known)
    if isinstance(value, list | tuple):
        return [mask_value(item, (*steps, index), known) for index, item in enumerate(value)]
    if value is None or isinstance(value, bool):
        return value
    text = str(value)
    if (
        isinstance(value, SecretValue)
        or known.is_in(text)
        or (kind_by_name(steps, text) is not None and not is_elsewhere(text))
    ):
        return MASK
    if not isinstance(value, str):
        return value
    return mask_shapes(mask_inner(value) if hints_at_secrets(value) else value)


def _mask_tagged(value: Tagged, steps: tuple[Any, ...], known: KnownSecrets) -> Any:
    """Return a masked value with its tag on the same level: another one would be deeper than documents may be."""
    masked, tag = mask_value(value.value, steps, known), value.tag
    if tag.removeprefix("key ") not in _KNOWN_TAGS:
        # `!hunter2` may be a password that begins with an exclamation mark.
        tag = MASK if value.value == "" or masked == MASK else mask_value(tag, steps, known)
    if isinstance(masked, list):
        return [{"(tag)": tag}, *masked]
    found, name = masked if isinstance(masked, dict) else {"text": masked}, "(tag)"
    while name in found:
        name = f"({name})"
    return {name: tag, **found}


_KNOWN_TAGS = frozenset(f"!!{name}" for name in (
    "binary", "bool", "float", "int", "map", "merge", "null", "omap", "pairs", "seq", "set", "str", "timestamp",
))  # fmt: skip


def _mask_mapping(value: Mapping[Any, Any], steps: tuple[Any, ...], known: KnownSecrets) -> dict[Any, Any]:
    labels: dict[NamedSteps, str] = {}
    for key, item in value.items():
        if is_label(key) and isinstance(item, str):
            labels[steps] = item
    below = bool(steps) and is_secret_name(steps)
    masked = {}
    for key, item in value.items():
        # `password: {abc}` is a password in braces.
        is_secret = (below and item is None) or known.is_in(str(key))
        shown = MASK if is_secret else mask_key(key) if isinstance(key, str) else key
        masked[shown] = mask_value(item, labelled((*steps, str(key)), labels), known)
    return masked


_QUOTED = re.compile(r"(?<!\w)'[^'\n]*'|\"(?:[^\"\\\n]|\\.)*\"|`[^`\n]*`")
"""A quoted part of a message. The apostrophe in `receiver's` begins none."""
_QUOTED_WORD = re.compile(r"(?=[^\s'\"`]*\d)[^\s'\"`,;()]{6,}")
"""A word that a message may repeat without quotes, or with other ones; words of messages hardly have digits."""
_SHORTEST_QUOTED = 4
"""Least length of a secret that is removed from any text; a shorter one is too often an ordinary word."""


class _Reported(NamedTuple):
    """A secret and its lines. In data, which has no lines, it may be quoted anywhere.

    Attributes:
        anywhere: whether it is removed as a whole from issues of other lines too.
    """

    text: str
    first: int | None = None
    last: int | None = None
    anywhere: bool = True


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
        told = {_Reported(each) for text in known for each in (text, text.strip("\"'"))}
        told |= {
            _Reported(each, first, last, is_strong(each))
            for text, first, last in placed
            for each in (text, bare_value(text))
        }
        if isinstance(source, str):
            told.update(_of_text(source, form))
        elif source is not None:
            told.update(_of_data(source))
        self._told = told
        self._anywhere = _by_length(each.text for each in told if each.anywhere)
        self._unplaced = _joined(each.text for each in told if each.first is None)
        self._placed: dict[int, set[str]] = {}
        for each in told:
            for line in range(each.first or 1, (each.last or 0) + 1):
                self._placed.setdefault(line, set()).add(each.text)
        self._near: dict[int | None, tuple[dict[int, set[str]], str]] = {}

    def conceal(self, issue: Issue) -> Issue:
        """Return `issue` without quoted secrets: whole secrets on any line, parts of them on their own lines."""
        hint = None if issue.hint is None else self._concealed(issue.hint, issue.line)
        path = issue.path
        for secret in filter(is_strong, _held_by(path, self._anywhere)):
            path = path.replace(secret, MASK)
        path = _QUOTED.sub(_mask_quoted, mask_shapes(path))
        return replace(issue, path=path, message=self._concealed(issue.message, issue.line), hint=hint)

    def _concealed(self, text: str, line: int | None) -> str:
        if line not in self._near:
            texts = {each.text for each in self._told} if line is None else self._placed.get(line, ())
            self._near[line] = _by_length(texts), _joined(texts)
        whole, parts = self._near[line]
        for secret in sorted(_held_by(text, self._anywhere) | _held_by(text, whole), key=len, reverse=True):
            text = text.replace(secret, MASK)
        text = _QUOTED.sub(_mask_quoted, text)

        def is_part(quoted: str) -> bool:
            # A single character reveals nothing, and may be the message's own.
            return len(quoted) > 1 and (quoted in parts or quoted in self._unplaced)

        def cut(match: re.Match[str]) -> str:
            quoted = match[0][1:-1].removesuffix("...").removesuffix("…")
            return f"{match[0][0]}{MASK}{match[0][-1]}" if is_part(quoted) else match[0]

        def cut_word(match: re.Match[str]) -> str:
            return MASK if is_part(match[0].strip(":.…")) else match[0]

        return mask_shapes(_QUOTED_WORD.sub(cut_word, _QUOTED.sub(cut, text)) if parts or self._unplaced else text)


def _mask_quoted(match: re.Match[str]) -> str:
    quote = match[0][0]
    return f"{quote}{mask_key(match[0][1:-1])}{quote}"


def _by_length(secrets: Iterable[str]) -> dict[int, set[str]]:
    """Return the secrets that are removed as a whole, by their lengths."""
    found: dict[int, set[str]] = {}
    for secret in secrets:
        if len(secret) >= _SHORTEST_QUOTED and not is_elsewhere(secret):
            found.setdefault(len(secret), set()).add(secret)
    return found


def _held_by(text: str, secrets: Mapping[int, set[str]]) -> set[str]:
    """Return the secrets in `text`, in a time that its length bounds, however many secrets there are."""
    found: set[str] = set()
    for length, each in secrets.items():
        if len(each) > len(text):
            found |= each.intersection(text[at : at + length] for at in range(len(text) - length + 1))
        else:
            found.update(secret for secret in each if secret in text)
    return found


def _joined(secrets: Iterable[str]) -> str:
    """Return one text to find quoted parts of secrets in; no quoted part has a line break."""
    return "\n".join(form for secret in secrets for form in (secret, repr(secret)))


def _of_text(text: str, form: Format | None) -> Iterator[_Reported]:
    breaks = [match.start() for match in re.finditer("\n", text)]

    def reported(secret: str, start: int, stop: int) -> _Reported:
        return _Reported(secret, bisect_left(breaks, start) + 1, bisect_left(breaks, stop) + 1, is_strong(secret))

    read = traced(text, form)
    for span in secret_spans(form, text, lambda: read):
        yield reported(text[span.start : span.stop], span.start, span.stop)
    for node in _named([*read[0].scalars, *read[0].repeated]):
        yield reported(node.text, node.start, node.stop)


def _of_data(root: Node) -> Iterator[_Reported]:
    yield from (_Reported(node.text) for node in _named(list(scalars_below(root))))


def _named(values: Sequence[Written]) -> Iterator[Node]:
    """Yield all values with the name of a secret: `{{ hunter2 }}` may be one that an error quotes."""
    labels = labels_of(values)
    for steps, node in values:
        if node.text and kind_by_name(labelled(steps, labels), node.text) is not None:
            yield node
