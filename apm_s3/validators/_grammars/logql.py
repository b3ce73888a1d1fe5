"""LogQL, as far as it can be judged without Loki's parser: strings end, brackets match, a stream is selected.

https://grafana.com/docs/loki/latest/query/.
"""

from __future__ import annotations

_PAIRS = {")": "(", "]": "[", "}": "{"}
_LONGEST = 128 * 1024


def logql_problem(text: str) -> str | None:
    """Why `text` is certainly no LogQL; None where it may be."""
    if len(text) > _LONGEST:
        return f"longer than {_LONGEST} characters"
    code = _without_strings(text)
    if code is None:
        return "a string does not end"
    unclosed: list[str] = []
    for char in code:
        if char in "([{":
            unclosed.append(char)
        elif char in _PAIRS and (not unclosed or unclosed.pop() != _PAIRS[char]):
            return f"unexpected {char!r}"
    if unclosed:
        return f"{unclosed[-1]!r} is not closed"
    if "{" not in code and not _is_constant(code):
        return 'it selects no stream; write the selector in braces, such as {app="api"}'
    return None


def _without_strings(text: str) -> str | None:
    """`text` without strings and comments; None where a string does not end."""
    kept: list[str] = []
    at = 0
    while at < len(text):
        if text[at] in "\"'`":
            at = _after_string(text, at)
            if at < 0:
                return None
        elif text[at] == "#":
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
        else:
            kept.append(text[at])
            at += 1
    return "".join(kept)


def _after_string(text: str, start: int) -> int:
    quote = text[start]
    at = start + 1
    while at < len(text) and text[at] != quote:
        if quote != "`" and text[at] == "\n":
            return -1
        at += 2 if text[at] == "\\" and quote != "`" else 1
    return at + 1 if at < len(text) else -1


def _is_constant(text: str) -> bool:
    """`1`, `1 + 1` and `vector(1)` are LogQL, too."""
    return "vector" in text or not any(char.isalpha() for char in text)
