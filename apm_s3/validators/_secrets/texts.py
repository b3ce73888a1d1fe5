"""Finds and masks secrets in texts. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from apm_s3.validators._reading.documents import Format, format_of, read_document
from apm_s3.validators._reading.nodes import Steps, Trace, Unreadable, Written, render_steps
from apm_s3.validators._secrets.forms import (
    BELOW,
    MASK,
    NAME,
    PEM_KIND,
    PERHAPS,
    Labels,
    behind,
    behind_head,
    compiled,
    hints_at_secrets,
    in_any_line,
    in_bare_lines,
    in_blocks,
    in_comments,
    in_first_words,
    is_elsewhere,
    is_label,
    is_secret_name,
    kind_by_name,
    labelled,
    mask_key,
    shapes_in,
    unmerged,
)

_ODD_BLANK = re.compile(r"[\x85\u00ad\u200b-\u200f\u2028\u2029\u2060\ufeff]|(?=[^\x00-\x7f])\s")
_TAKEN_FOR_TEXT = rf"[\"']?[\w.-]{{0,64}}?{NAME}(\S[^\n]{{0,2048}})"
"""`password:` followed by a blank that YAML does not know, so that YAML reads the whole as one string."""
_HASH = re.compile(r"[ \t]*#\S")
"""Text that YAML reads as a comment, but that is the rest of a password with ` #` in it."""
_IN_COMMENT = "secret in a comment"
MASKED_ONLY = frozenset((_IN_COMMENT, BELOW, PERHAPS))
"""The kinds of uncertain secrets."""
_MAX_NESTING = 3
"""How many levels of texts inside values are read: JSON in a YAML value, and one more level inside that."""
_MAX_COMPARED = 4 * 1024**2
"""Characters of a block to compare with the secrets inside it; a block with more is masked as a whole."""


@dataclass(frozen=True, slots=True)
class Secret:
    """The place of a secret in plain text.

    Attributes:
        path: the path to the value; empty in a comment or in a file without structure.
        line: the line, counting from 1.
        kind: the kind of secret: "password", "token", "webhook URL" ...
    """

    file: str
    path: str
    line: int
    kind: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.path + ': ' if self.path else ''}{self.kind} in plain text"


StepT = TypeVar("StepT", str | int, str | int | tuple[str, str])


class Span(NamedTuple):
    """The place of one secret."""

    start: int
    stop: int
    kind: str
    steps: Steps


def find_secrets(files: Mapping[str, bytes]) -> tuple[Secret, ...]:
    """Find the plain-text secrets in `files`, in the order of each text. Binary files have none.

    Uncertain ones, such as the text after a secret's name in a comment (samples are full of that), are not reported,
    but they are masked.
    """
    found: list[Secret] = []
    for name, raw in files.items():
        text = decode(raw)
        if text is None:
            continue
        line, counted = 1, 0
        for span in secret_spans(format_of(name), text):
            if span.kind in MASKED_ONLY:
                continue
            line, counted = line + text.count("\n", counted, span.start), span.start
            found.append(Secret(name, render_steps(mask_steps(span.steps)), line, span.kind))
    return tuple(found)


def mask_text(name: str, text: str) -> str:
    """Replace every secret in `text`, the content of the file `name`, with `MASK`, keeping the number of lines."""
    return without(text, secret_spans(format_of(name), text))


def mask_inner(text: str) -> str:
    """Mask every secret inside a value that is JSON, or lines of another configuration."""
    return without(text, inner_spans(text, 1))


def decode(raw: bytes) -> str | None:
    """Decode a file, without byte order mark; None if it is not text."""
    try:
        text = raw.decode("utf-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text.removeprefix("\ufeff")


def mask_steps(steps: tuple[StepT, ...]) -> tuple[StepT, ...]:
    """Mask secrets in `steps`, as a key can be a URL with a password."""
    return tuple([_mask_step(step) for step in steps])


def _mask_step(step: Any) -> Any:
    if isinstance(step, tuple):
        return (step[0], mask_key(step[1]))
    return mask_key(step) if isinstance(step, str) else step


def secret_spans(form: Format | None, text: str, read: Callable[[], tuple[Trace, bool]] | None = None) -> list[Span]:
    """Return the places of all secrets in order, without overlaps. `read` returns what `traced` does."""
    shapes, named = list(shapes_in(text)), hints_at_secrets(text)
    if not named and not shapes:
        return []
    spans: list[Span] = []
    trace, parsed = traced(text, form) if read is None else read()
    if named:
        spans += _named(text, form, trace)
        spans += _nested(text, trace.scalars, 0)
    spans += (Span(start, stop, kind, _steps_at(trace.scalars, start)) for start, stop, kind in shapes)
    if named:
        spans += _in_lines(text, form, parsed=parsed)
        spans += _bare(text, trace, parsed=parsed)
    return disjoint(spans)


def traced(text: str, form: Format | None) -> tuple[Trace, bool]:
    """Return the positions of values as far as the text can be parsed, and whether all of it can."""
    trace = Trace(tolerant=True)
    if form is None:
        return trace, False
    try:
        read_document(text, form, trace=trace)
    except Unreadable:
        # YAML accepts the comments and extra commas that break JSON.
        return (traced(text, "yaml")[0] if form == "json" else trace), False
    return trace, True


def labels_of(values: Iterable[Written]) -> Labels:
    """Return the names of the named mappings of a text."""
    return {unmerged(steps[:-1]): node.text for steps, node in values if steps and is_label(steps[-1])}


# --------------------------------------------------------------------------------------------------------------
# By name


def _named(text: str, form: Format | None, trace: Trace) -> Iterator[Span]:
    labels = labels_of((*trace.scalars, *trace.repeated))
    for value in (*trace.scalars, *trace.repeated):
        yield from _by_name(text, value, labels, form)
    yield from (Span(node.start, node.stop, "secret", steps) for steps, node in trace.unknown if is_secret_name(steps))
    if form == "yaml":
        yield from _keys_for_values(trace)
        yield from _taken_for_text((*trace.scalars, *trace.keys))


def _by_name(text: str, value: Written, labels: Labels, form: Format | None) -> Iterator[Span]:
    """Yield the place of `value` if it is a secret by its name."""
    steps, node = value
    if "PRIVATE KEY-----" in node.text:
        kind: str | None = PEM_KIND
    else:
        kind = kind_by_name(labelled(steps, labels), node.text)
    if kind is None:
        return
    stop = node.stop
    written = text[node.start : stop]
    if form == "ini" or (form == "yaml" and node.plain and _HASH.match(text, stop)):
        # The tool ends a value at '#' or ';', so the rest of a password may follow by mistake.
        stop = end if (end := text.find("\n", stop)) >= 0 else len(text)
    is_secret = not is_elsewhere(node.text)
    if form in ("yaml", "ini"):
        comments = behind(text, node.stop, is_secret=is_secret), behind_head(text, node.start)
        yield from (Span(*place, _IN_COMMENT, steps) for place in comments if place is not None)
    if is_secret:
        yield Span(node.start, stop, kind, steps)
    elif not node.text and form == "yaml" and written.startswith(("&", "!")):
        # An unquoted password that begins like this is parsed as an anchor or tag without a value.
        yield Span(node.start, stop, kind, steps)
    elif not node.text and stop > node.stop and text[node.start : stop].strip():
        yield Span(node.start, stop, _IN_COMMENT, steps)


def _taken_for_text(values: Iterable[Written]) -> Iterator[Span]:
    for steps, node in values:
        match = compiled(_TAKEN_FOR_TEXT).match(node.text) if node.plain else None
        if match and _ODD_BLANK.search(node.text, 0, match.start(1)) and not is_elsewhere(match[1]):
            yield Span(node.start, node.stop, "secret", steps)


def _keys_for_values(trace: Trace) -> Iterator[Span]:
    """Find passwords in braces, which YAML reads as a mapping of a key to null: `password: {abc}`."""
    nothing = {steps for steps, node in trace.scalars if not node.text and node.start == node.stop}
    for steps, node in trace.keys:
        if steps in nothing and len(steps) > 1 and is_secret_name(steps[:-1]):
            yield Span(node.start, node.stop, BELOW, steps[:-1])


def _in_lines(text: str, form: Format | None, *, parsed: bool) -> Iterator[Span]:
    """Find the values of secrets' names in text that is not parsed: in comments, or in any other text."""
    if not parsed:
        yield from (Span(*place, "secret", ()) for place in in_any_line(text))
    elif form != "json":
        yield from (Span(*place, _IN_COMMENT, ()) for place in in_comments(text))
    if parsed and form == "ini":
        # If someone writes a YAML block in an INI file, INI reads the lines of the secret as keys.
        yield from (Span(*place, BELOW, ()) for place in in_blocks(text))


def _bare(text: str, trace: Trace, *, parsed: bool) -> Iterator[Span]:
    """Find `password 'hunter2'`, whose colon is missing: a key, a line of a plain value, or any line."""
    if not parsed:
        yield from (Span(*place, BELOW, ()) for place in in_bare_lines(text))
        return
    for is_key, (steps, node) in (*((True, key) for key in trace.keys), *((False, value) for value in trace.scalars)):
        written = text[node.start : node.stop]
        # A sentence may be a value of one line; a field without its colon continues the value before it.
        if is_key or (node.plain and ("\n" in written or not steps)):
            yield from (Span(node.start + at, node.start + end, BELOW, steps) for at, end in in_bare_lines(written))


# --------------------------------------------------------------------------------------------------------------
# Texts inside of values


def _nested(text: str, values: Iterable[Written], nesting: int) -> Iterator[Span]:
    for steps, node in values:
        spans = inner_spans(node.text, nesting + 1)
        if not spans:
            continue
        written = text[node.start : node.stop]
        at = written.find(node.text)
        # Each is searched for in the whole block.
        is_small = len(spans) * len(written) <= _MAX_COMPARED
        for span in spans:
            if at >= 0:
                start, stop = at + span.start, at + span.stop
            else:
                start, stop = _place(written, node.text[span.start : span.stop] if is_small else "")
            yield Span(node.start + start, node.start + stop, span.kind, (*steps, *span.steps))


def inner_spans(text: str, nesting: int) -> list[Span]:
    """Return secrets in a value that is JSON, a one-line YAML mapping, or lines of another configuration."""
    if nesting > _MAX_NESTING or not hints_at_secrets(text):
        return []
    if text.lstrip()[:1] in ("{", "["):
        for form in ("json", "yaml"):
            trace, parsed = traced(text, form)
            if parsed:
                return disjoint([*_named(text, form, trace), *_nested(text, trace.scalars, nesting)])
    return disjoint(Span(*place, _IN_COMMENT, ()) for place in in_first_words(text))


def _place(written: str, secret: str) -> tuple[int, int]:
    """Return the position of a secret in a written value; the whole value if escapes, folds or indents may differ."""
    if written.startswith(("|", ">")) and secret and written.count(secret) == 1:
        at = written.index(secret)
        return at, at + len(secret)
    return 0, len(written)


# --------------------------------------------------------------------------------------------------------------
# Places


def _steps_at(values: Sequence[Written], at: int) -> Steps:
    """Return the steps of the value at the place `at`."""
    low, high = 0, len(values)
    while low < high:
        middle = (low + high) // 2
        if values[middle].node.start <= at:
            low = middle + 1
        else:
            high = middle
    return values[low - 1].steps if low and at < values[low - 1].node.stop else ()


def disjoint(spans: Iterable[Span]) -> list[Span]:
    """Return `spans` in order, with those that overlap joined."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda each: (each.start, -each.stop)):
        if not kept or span.start >= kept[-1].stop:
            kept.append(span)
            continue
        if kept[-1].kind == "secret" and span.start == kept[-1].start and span.kind not in MASKED_ONLY:
            kept[-1] = kept[-1]._replace(kind=span.kind)
        if span.stop > kept[-1].stop:
            kept[-1] = kept[-1]._replace(stop=span.stop)
    return kept


def without(text: str, spans: Iterable[Span]) -> str:
    """Return `text` with `spans` masked, with as many lines as before."""
    parts, at = [], 0
    for span in disjoint(spans):
        parts += [text[at : span.start], _masked(text[span.start : span.stop])]
        at = span.stop
    return "".join([*parts, text[at:]])


def _masked(secret: str) -> str:
    # A PEM key has several lines, and its masked text keeps their number.
    return "\n".join(
        line[: len(line) - len(line.lstrip())] + MASK if line.strip() else line for line in secret.split("\n")
    )
