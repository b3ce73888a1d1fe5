"""The files of a Prometheus bundle: what the main file names, and target files.

https://prometheus.io/docs/prometheus/latest/configuration/configuration/#file_sd_config.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from posixpath import dirname
from typing import Any

from apm_s3._tools import MAIN_FILES
from apm_s3.reports import Issue, Severity
from apm_s3.validators._checking import (
    Context,
    Member,
    Pattern,
    Source,
    folders_of,
    glob_matches,
    matching,
    notice_absent_files,
    patterns_in,
    take_issues,
)
from apm_s3.validators._decoding import Schema, load_table, wrong_type
from apm_s3.validators._reading.documents import unreadable_issue
from apm_s3.validators._reading.nodes import (
    MAPPING,
    SCALAR,
    SEQUENCE,
    Entry,
    Node,
    Path,
    Unreadable,
    is_null,
    mapping,
    scalar,
)
from apm_s3.validators._structs import Struct
from apm_s3.validators._tools.prometheus.config import (
    CONFIG,
    TARGETS,
    check_alertmanager_groups,
    check_group,
    check_groups_of_job,
    config_schema,
)
from apm_s3.validators._tools.prometheus.rules import check_rule_file

_FIELDS = ("targets", "labels")


def is_json(name: str | None) -> bool:
    """Return whether Prometheus reads a file of this name as JSON."""
    return name is not None and name.lower().endswith(".json")


def check_target_file(source: Source, context: Context) -> None:
    """Report the problems of one file."""
    for group, node, path in _groups(source, context):
        if group is None:
            context.error(node, path, "null-section", "empty or null target group")


def groups_of(source: Source, context: Context) -> list[Struct]:
    """Return the valid target groups in a file."""
    return [group for group, _, _ in _groups(source, context) if isinstance(group, Struct)]


def _groups(source: Source, context: Context) -> Iterator[tuple[Any, Node, Path]]:
    as_json = is_json(source.name)
    if as_json and source.has_mark:
        context.add(Issue(Severity.ERROR, "", 1, 1, "json-syntax", "JSON cannot begin with a byte order mark"))
        return
    document = source.document("json", last_wins=True) if as_json else source.document("yaml", library="v2")
    root = take_issues(document, context)
    if root is None:
        return
    decode = _decode_json if as_json else config_schema().codec(f"[]{TARGETS}")
    for index, group in enumerate(_listed(decode(root, None, context))):
        yield group, root.items[index], (None, index)


def _listed(decoded: Any) -> list[Any]:
    return decoded if isinstance(decoded, list) else []


# -- JSON as Go's encoding/json decodes it: field names in any case, text only from strings, null for anything


@cache
def _json_schema() -> Schema:
    hooks = {TARGETS: (check_group,)}
    codecs = dict.fromkeys(("string", "string:common/model.LabelValue"), _text)
    return Schema(load_table("prometheus"), codecs=codecs, hooks=hooks)


def _decode_json(root: Node, path: Path, context: Context) -> Any:
    for group in root.items if root.kind == SEQUENCE else ():
        if group.kind == MAPPING:
            folded = {name.casefold(): entry for name, entry in group.entries.items() if name.casefold() in _FIELDS}
            group.entries = {name: each for name, each in group.entries.items() if name.casefold() not in _FIELDS}
            group.entries |= folded
    return _json_schema().codec(f"[]{TARGETS}")(root, path, context)


def _text(node: Node, path: Path, context: Context) -> Any:
    if node.kind == SCALAR and is_null(node):
        return ""
    if node.kind != SCALAR or node.plain:
        return wrong_type(node, path, context, "text in quotes")
    return node.text


def check_target_files(main: Member, files: list[Member], members: list[Member]) -> None:
    """Report missing target files, and targets that their job cannot scrape.

    A missing file is a warning, because another program may write it later.
    """
    configs = [(member, _config(member)) for member in (main, *files) if member.kind == "config"]
    settings = next((config.struct("global") for member, config in configs if member is main and config), None)
    for member, config in configs:
        if config is None:
            continue
        for _, job in config.structs("scrape_configs"):
            for found in _files_of(job, member, main, members):
                if member.is_good:
                    check_groups_of_job(job, settings, _target_groups(found), found.context)
        alerting = config.struct("alerting")
        for _, target in alerting.structs("alertmanagers") if alerting is not None else ():
            for found in _files_of(target, member, main, members):
                if member.is_good:
                    check_alertmanager_groups(target, _target_groups(found), found.context)


def _config(member: Member) -> Struct | None:
    root: Node | None = member.root
    config = config_schema().decode(CONFIG, root, Context(member.context.target)) if root is not None else None
    return config if isinstance(config, Struct) else None


def _files_of(owner: Struct, member: Member, main: Member, members: list[Member]) -> Iterator[Member]:
    """Yield the files of the bundle that a job's discovery reads."""
    for _, sd in owner.structs("file_sd_configs"):
        for index, text in sd.strings("files"):
            node, path = sd.place("files", index)
            # Relative names are resolved from the folder of the file that contains them.
            found = matching(member, Pattern(text, node, path), members)
            if found == [] and not text.startswith("/"):
                message = f"no file in this bundle matches {text[:80]!r}"
                member.context.warn(node, path, "missing-file", message)
            for file in found or ():
                if _holds_targets(file, main):
                    yield file


def _holds_targets(file: Member, main: Member) -> bool:
    if file.kind == "targets":
        return True
    if file.kind is None:
        file.kind = "targets"
        try:
            check_target_file(Source(file.raw, file.name), file.context)
        except Unreadable as exc:
            file.context.add(unreadable_issue(exc))
        return True
    if file is not main and (_is_nothing(file.root) if file.start is not None else not is_json(file.name)):
        return False
    message = f"file_sd_configs of {main.name} match this file, but it is not a list of target groups"
    file.context.error(file.start or scalar("", 1, 1, plain=True), None, "file-kind", message)
    return False


def _is_nothing(root: Node | None) -> bool:
    return root is None or (root.kind == SCALAR and is_null(root))


def _target_groups(file: Member) -> list[Struct]:
    try:
        return groups_of(Source(file.raw, file.name), Context(file.context.target))
    except Unreadable:
        return []


def check_bundle(members: list[Member]) -> None:
    """Check that referenced files exist and have the right kind, and that job names are unique across files.

    Prometheus resolves relative patterns from the folder of its main file.
    """
    main = _main(members)
    if main is not None:
        _check_main(main, members)
    for member in members:
        if member.kind == "web":
            notice_absent_files(member, members)
        if member.kind == "tests":
            _check_unit_test(member, members)


def _check_main(main: Member, members: list[Member]) -> None:
    for member in _check_rule_files(main, members):
        _check_rule_file(main, member)
    files = _check_scrape_patterns(main, members)
    _check_scrape_files(main, files)
    for config in (main, *files):
        notice_absent_files(config, members)
    check_target_files(main, files, members)
    for kind, field, configs in (("rules", "rule_files", [main]), ("targets", "file_sd_configs", [main, *files])):
        if all(config.tells(field) for config in configs):
            _report_unused(kind, field, main, members)


def _report_unused(kind: str, field: str, main: Member, members: list[Member]) -> None:
    for member in members:
        if member.kind == kind and not member.used and member.start is not None:
            message = f"no entry of {field} in {main.name} matches this file, so Prometheus will not load it"
            member.context.warn(member.start, None, "unused-file", message)


def _main(members: list[Member]) -> Member | None:
    configs = [member for member in members if member.kind == "config"]
    named = [member for member in configs if member.name.rpartition("/")[2] == MAIN_FILES["prometheus"]]
    return min(named or configs, key=lambda member: (member.name.count("/"), member.name), default=None)


# -- rule files


def _check_rule_files(main: Member, members: list[Member]) -> dict[Member, None]:
    """Return the files that rule_files matches, and report patterns and files that promtool refuses."""
    found: dict[Member, None] = {}
    folders = sorted(folders_of(members))
    for pattern in patterns_in(main.root, "rule_files"):
        matches = matching(main, pattern, members)
        if matches is None:
            continue
        found.update(dict.fromkeys(matches))
        folder = next((name for name in folders if glob_matches(pattern.text, dirname(main.name), name)), None)
        if folder is not None and not pattern.text.startswith("/"):
            message = f"{pattern.text[:80]!r} also matches the folder {folder!r}, which is not a file"
            main.context.error(pattern.node, pattern.path, "file-kind", message)
        elif not matches and not pattern.text.startswith("/"):
            _report_missing(main, pattern, must_exist="*" not in pattern.text)
    return found


def _report_missing(main: Member, pattern: Pattern, *, must_exist: bool) -> None:
    if must_exist:
        message = f"there is no file {pattern.text[:80]!r} in this bundle"
        main.context.error(pattern.node, pattern.path, "missing-file", message)
    else:
        message = f"{pattern.text[:80]!r} does not match any file in this bundle"
        main.context.warn(pattern.node, pattern.path, "missing-file", message)


def _check_rule_file(main: Member, member: Member) -> None:
    if member.kind is None:
        # A name such as alerts.txt does not show the kind, but the match with rule_files does.
        member.kind = "rules"
        try:
            check_rule_file(Source(member.raw, member.name), member.context)
        except Unreadable as exc:
            member.context.add(unreadable_issue(exc))
    elif member.kind != "rules" and member.start is not None and not _is_empty(member):
        message = f"rule_files of {main.name} matches this file, but it has no rule groups"
        member.context.error(member.start, None, "file-kind", message)


def _is_empty(member: Member) -> bool:
    return member.root is None or (member.root.kind == MAPPING and not member.root.entries)


def _check_unit_test(test: Member, members: list[Member]) -> None:
    """Report missing rule files: promtool continues without them, and their tests find nothing."""
    for pattern in patterns_in(test.root, "rule_files"):
        if matching(test, pattern, members) == [] and not pattern.text.startswith("/"):
            _report_missing(test, pattern, must_exist=False)


# -- scrape configurations in separate files


def _check_scrape_patterns(main: Member, members: list[Member]) -> list[Member]:
    found: dict[Member, None] = {}
    for pattern in patterns_in(main.root, "scrape_config_files"):
        matches = matching(main, pattern, members)
        if matches == [] and not pattern.text.startswith("/"):
            _report_missing(main, pattern, must_exist=False)
        found.update(dict.fromkeys(matches or ()))
    return list(found)


def _check_scrape_files(main: Member, files: Iterable[Member]) -> None:
    """Check scrape configurations of other files as if they were in the main file."""
    settings = main.root.entries.get("global") if main.root is not None and main.root.kind == MAPPING else None
    names = {name: main.name for name, _, _ in _job_names(main.root)}
    for member in files:
        if member.kind != "config" or member is main:
            message = f"scrape_config_files of {main.name} matches this file, but it has no scrape_configs"
            start = member.start or scalar("", 1, 1, plain=True)
            member.context.error(start, None, "file-kind", message)
            continue
        root = member.root
        if root is None or root.kind != MAPPING:
            continue
        for name, (key, _) in root.entries.items():
            if name != "scrape_configs":
                message = f"{name[:80]!r} is not allowed in a file of scrape_config_files; only scrape_configs is"
                member.context.error(key, (None, name), "unknown-field", message)
        _recheck_under(settings, member)
        for name, node, path in _job_names(root):
            if name in names:
                message = f"the job name {name[:80]!r} is already used in {names[name]}"
                member.context.error(node, path, "duplicate-name", message)
            names.setdefault(name, member.name)


def _recheck_under(settings: Entry | None, member: Member) -> None:
    """Check a file of scrape configurations again, with the `global` section of the main file.

    Its own check used the defaults, with which a valid timeout may seem too long.
    """
    root = member.root
    if settings is None or root is None or "scrape_configs" not in root.entries:
        return
    merged = mapping(root.line, root.column)
    merged.entries = {"global": settings, "scrape_configs": root.entries["scrape_configs"]}
    context = Context(member.context.target)
    context.read_from_later(lambda: Source(member.raw, member.name))
    config_schema().decode(CONFIG, merged, context)
    issues = [issue for issue in context.issues if not issue.path.startswith("global")]
    member.context.replace_below("scrape_configs", issues)


def _job_names(root: Node | None) -> Iterator[tuple[str, Node, Path]]:
    jobs = root.entries.get("scrape_configs") if root is not None and root.kind == MAPPING else None
    for index, job in enumerate(jobs[1].items if jobs and jobs[1].kind == SEQUENCE else ()):
        entry = job.entries.get("job_name") if job.kind == MAPPING else None
        if entry is not None and entry[1].kind == SCALAR:
            yield entry[1].text, entry[1], (((None, "scrape_configs"), index), "job_name")
