"""References between the files of a Prometheus bundle, as `promtool check config` checks them in a folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from posixpath import dirname

from apm_s3._tools import MAIN_FILES
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
)
from apm_s3.validators._reading.documents import unreadable_issue
from apm_s3.validators._reading.nodes import MAPPING, SCALAR, SEQUENCE, Entry, Node, Path, Unreadable, mapping, scalar
from apm_s3.validators._tools.prometheus.rules.files import check_rule_file
from apm_s3.validators._tools.prometheus.schema import CONFIG, config_schema
from apm_s3.validators._tools.prometheus.targets.bundle import check_target_files


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
        if all(config.is_readable for config in configs):
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
    folders = folders_of(members)
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
