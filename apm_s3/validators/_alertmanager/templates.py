"""Notification templates, and what a bundle's configuration says of them.

https://prometheus.io/docs/alerting/latest/notification_examples/#defining-reusable-templates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

from apm_s3.reports import Issue, Severity
from apm_s3.validators._alertmanager.receivers import TEMPLATE_FUNCTIONS
from apm_s3.validators._bundles import Member
from apm_s3.validators._context import Context, Source
from apm_s3.validators._decoding.gates import known_in
from apm_s3.validators._grammars.gotemplate import template_problem
from apm_s3.validators._reading.nodes import MAPPING, SCALAR, SEQUENCE, Node, Path, position

_DEFINED = re.compile(r"\{\{-?\s*(?:define|block)\s+\"((?:[^\"\\]|\\.)+)\"")
_USED = re.compile(r"\{\{-?\s*template\s+\"((?:[^\"\\]|\\.)+)\"")
_DEFAULT = re.compile(r"__\w+|(?:[\w]+\.)?default(?:\.\w+)*|email\.default\.\w+|(?:\w+\.)+default(?:\.\w+)*", re.ASCII)
"""Names that Alertmanager's own templates have: `slack.default.title`, `__subject`."""


def check_templates(source: Source, context: Context) -> None:
    """Report where a template file does not parse."""
    text = source.readable_text()
    problem = template_problem(text, known_in(context, TEMPLATE_FUNCTIONS))
    if problem is not None:
        message, offset = problem
        line, column = position(text, offset)
        context.add(Issue(Severity.ERROR, "", line, column, "template", f"not a template: {message}"))


def check_bundle(members: list[Member]) -> None:
    """Report globs that match no file, and templates that are used and defined nowhere."""
    files = [member for member in members if member.kind == "templates"]
    defined = {name for member in files for name in _DEFINED.findall(member.text)}
    for member in members:
        if member.kind != "config" or member.root is None or member.root.kind != MAPPING:
            continue
        _check_globs(member, member.root, [file.name for file in files])
        for text, node, path in _texts(member.root, None):
            for name in _USED.findall(text):
                if name not in defined and not _DEFAULT.fullmatch(name):
                    message = f"template {name[:80]!r} is defined in no file of the bundle"
                    member.context.warn(node, path, "undefined-reference", message, member.context.hint(name, defined))


def _check_globs(member: Member, root: Node, names: list[str]) -> None:
    entry = root.entries.get("templates")
    if entry is None or entry[1].kind != SEQUENCE:
        return
    for index, item in enumerate(entry[1].items):
        if item.kind != SCALAR:
            continue
        # Absolute patterns name the place where the bundle is deployed: their last part is what can be compared.
        pattern = item.text.removeprefix("./")
        last = pattern.rpartition("/")[2]
        if not any(fnmatchcase(name, pattern) or fnmatchcase(name.rpartition("/")[2], last) for name in names):
            message = f"{item.text[:80]!r} matches no template file of the bundle"
            member.context.warn(item, ((None, "templates"), index), "file-glob", message)


def _texts(node: Node, path: Path) -> Iterator[tuple[str, Node, Path]]:
    if node.kind == SCALAR:
        if "{{" in node.text:
            yield node.text, node, path
    elif node.kind == MAPPING:
        for name, (_, value) in node.entries.items():
            yield from _texts(value, (path, name))
    else:
        for index, item in enumerate(node.items):
            yield from _texts(item, (path, index))
