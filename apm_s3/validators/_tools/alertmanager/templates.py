"""Notification templates, and their use in a bundle's configuration.

https://prometheus.io/docs/alerting/latest/notification_examples/#defining-reusable-templates.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from apm_s3._tools import MAIN_FILES
from apm_s3.reports import Issue, Severity
from apm_s3.validators._checking import Context, Member, Source, matching, notice_absent_files, patterns_in
from apm_s3.validators._decoding import known_in
from apm_s3.validators._grammars.gotemplate import TemplateNames, template_names, template_problem
from apm_s3.validators._reading.nodes import MAPPING, SEQUENCE, Unreadable, position
from apm_s3.validators._tools.alertmanager.inline import templates_of
from apm_s3.validators._tools.alertmanager.receivers import TEMPLATE_FUNCTIONS

_DEFAULT = re.compile(r"__\w+|(?:\w+\.)*default(?:\.\w+)*", re.ASCII)
"""Names of Alertmanager's own templates: `slack.default.title`, `__subject`."""


def check_templates(source: Source, context: Context) -> None:
    """Report where a template file does not parse."""
    text = source.readable_text()
    problem = template_problem(text, known_in(context, TEMPLATE_FUNCTIONS))
    if problem is not None:
        message, offset = problem
        line, column = position(text, offset)
        context.add(Issue(Severity.ERROR, "", line, column, "template", f"invalid template: {message}"))


def check_bundle(members: list[Member]) -> None:
    """Report patterns without a matching file, files without a matching pattern, and undefined templates."""
    for member in members:
        if member.kind == "web":
            notice_absent_files(member, members)
    configs = [member for member in members if member.kind == "config"]
    main = next((member for member in configs if member.name.rpartition("/")[2] == MAIN_FILES["alertmanager"]), None)
    main = main or next(iter(configs), None)
    if main is None:
        return
    notice_absent_files(main, members)
    _check_patterns(main, members)
    files = [member for member in members if member.kind == "templates"]
    names = {file.name: template_names(file.text, TEMPLATE_FUNCTIONS) for file in files}
    defined = {name for each in names.values() for name in each.defined}
    for file in files:
        _check_file(file, names[file.name], defined)
    _check_receivers(main, defined)


def _check_patterns(main: Member, members: list[Member]) -> None:
    matched: dict[Member, None] = {}
    patterns = list(patterns_in(main.root, "templates"))
    for pattern in patterns:
        found = matching(main, pattern, members)
        if found == [] and not pattern.text.startswith("/"):
            message = f"{pattern.text[:80]!r} does not match any file in this bundle"
            main.context.warn(pattern.node, pattern.path, "missing-file", message)
        matched.update(dict.fromkeys(found or ()))
    for member in matched:
        if member.kind != "templates":
            # Alertmanager parses it, whatever its name is.
            member.kind = "templates"
            _parse(member)
    for member in members:
        if member.kind == "templates" and not member.used and main.is_readable:
            message = f"no entry of templates in {main.name} matches this file, so Alertmanager will not load it"
            member.context.add(Issue(Severity.WARNING, "", 1, 1, "unused-file", message))


def _parse(member: Member) -> None:
    try:
        check_templates(Source(member.raw, member.name), member.context)
    except Unreadable:
        message = "templates matches this file, but it is not text"
        member.context.add(Issue(Severity.ERROR, "", 1, 1, "file-kind", message))


def _check_file(file: Member, names: TemplateNames, defined: set[str]) -> None:
    for name, offset in _undefined(names, defined):
        line, column = position(file.text, offset)
        hint = file.context.hint(name, defined)
        file.context.add(Issue(Severity.WARNING, "", line, column, "undefined-reference", _message(name), hint))


def _check_receivers(main: Member, defined: set[str]) -> None:
    root = main.root
    entry = root.entries.get("receivers") if root is not None and root.kind == MAPPING else None
    for index, receiver in enumerate(entry[1].items if entry is not None and entry[1].kind == SEQUENCE else ()):
        if receiver.kind != MAPPING:
            continue
        for text, node, path in templates_of(receiver, ((None, "receivers"), index)):
            own = template_names(text, TEMPLATE_FUNCTIONS)
            for name, offset in _undefined(own, defined | own.defined):
                hint = main.context.hint(name, defined)
                main.context.add(
                    main.context.issue_inside(
                        *(node, path, offset, "undefined-reference", _message(name), hint), severity=Severity.WARNING
                    )
                )


def _undefined(names: TemplateNames, defined: Iterable[str]) -> list[tuple[str, int]]:
    return [(name, at) for name, at in names.used if name not in defined and not _DEFAULT.fullmatch(name)]


def _message(name: str) -> str:
    return f"template {name[:80]!r} is not defined in this bundle"
