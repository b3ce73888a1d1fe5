"""What the files of a Prometheus bundle say about one another."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from posixpath import dirname, join, normpath

from apm_s3._tools import MAIN_FILES
from apm_s3.validators._bundles import Member
from apm_s3.validators._context import Context
from apm_s3.validators._decoding.struct import Struct
from apm_s3.validators._prometheus.schema import CONFIG, config_schema
from apm_s3.validators._reading.nodes import MAPPING, SEQUENCE, Entry, Node, Path, mapping


@dataclass(frozen=True, slots=True)
class _Pattern:
    """One entry of rule_files, scrape_config_files or files: its text, and where it stands."""

    text: str
    node: Node
    path: Path


def check_bundle(members: list[Member]) -> None:
    """Files that are referred to exist and are of the right kind; job names differ across them.

    Prometheus resolves relative patterns from the folder of its main file. An absolute one is matched by its end,
    since a bundle does not know where it will lie.
    """
    main = _main(members)
    if main is None:
        return
    folder = dirname(main.name)
    matched = _check_references(main, folder, "rule_files", members)
    for member in matched:
        if member.kind != "rules" and member.start is not None:
            message = f"rule_files of {main.name} matches this file, but it holds no groups of rules"
            member.context.error(member.start, None, "file-kind", message)
    for member in members:
        if member.kind == "rules" and member not in matched and member.start is not None:
            message = f"no entry of rule_files in {main.name} matches this file: Prometheus will not load it"
            member.context.warn(member.start, None, "unused-file", message)
    _check_scrape_files(main, _check_references(main, folder, "scrape_config_files", members))
    _check_target_files(main, folder, members)


def _main(members: list[Member]) -> Member | None:
    configs = [member for member in members if member.kind == "config"]
    named = [member for member in configs if member.name.rpartition("/")[2] == MAIN_FILES["prometheus"]]
    return min(named or configs, key=lambda member: (member.name.count("/"), member.name), default=None)


def _check_references(main: Member, folder: str, field: str, members: list[Member]) -> dict[Member, None]:
    """The files that the patterns in `field` match, after reporting patterns that match none."""
    found: dict[Member, None] = {}
    for pattern in _patterns(main.root, field):
        matches = [member for member in members if member is not main and _matches(pattern.text, folder, member.name)]
        found.update(dict.fromkeys(matches))
        if not matches and not pattern.text.startswith("/"):
            _report_missing(main, pattern)
    return found


def _report_missing(main: Member, pattern: _Pattern) -> None:
    if "*" in pattern.text:
        message = f"{pattern.text[:80]!r} matches no file of this bundle"
        main.context.warn(pattern.node, pattern.path, "missing-file", message)
    else:
        message = f"there is no file {pattern.text[:80]!r} in this bundle"
        main.context.error(pattern.node, pattern.path, "missing-file", message)


def _patterns(root: Node | None, field: str, path: Path = None) -> Iterator[_Pattern]:
    if root is None or root.kind != MAPPING or field not in root.entries:
        return
    listed = root.entries[field][1]
    for index, item in enumerate(listed.items if listed.kind == SEQUENCE else ()):
        if item.kind not in (MAPPING, SEQUENCE) and item.text:
            yield _Pattern(item.text, item, ((path, field), index))


def _matches(pattern: str, folder: str, name: str) -> bool:
    if not pattern.startswith("/"):
        return _regex(normpath(join(folder, pattern))).fullmatch(name) is not None
    # /etc/prometheus/rules/*.yml may be rules/*.yml of the bundle, or *.yml of a bundle that is the folder itself.
    parts = pattern.strip("/").split("/")
    return any(_regex("/".join(parts[start:])).fullmatch(name) for start in range(len(parts)))


@lru_cache(maxsize=1024)
def _regex(pattern: str) -> re.Pattern[str]:
    """A pattern of Go's filepath.Glob; what it has in brackets is taken as it is."""
    translated = (re.escape(piece) for piece in re.split(r"([*?])", pattern))
    return re.compile("".join({r"\*": "[^/]*", r"\?": "[^/]"}.get(piece, piece) for piece in translated))


def _check_scrape_files(main: Member, files: Iterable[Member]) -> None:
    """Scrape configurations of other files count as if they stood in the main file."""
    settings = main.root.entries.get("global") if main.root is not None and main.root.kind == MAPPING else None
    names = {name: main.name for name, _, _ in _job_names(main.root)}
    for member in files:
        root = member.root
        if root is None or root.kind != MAPPING:
            continue
        for name, (key, _) in root.entries.items():
            if name != "scrape_configs":
                message = f"{name[:80]!r} has no place in a file of scrape_config_files; only scrape_configs has"
                member.context.error(key, (None, name), "unknown-field", message)
        _recheck_under(settings, member)
        for name, node, path in _job_names(root):
            if name in names:
                message = f"the job name {name[:80]!r} is used in {names[name]} already"
                member.context.error(node, path, "duplicate-name", message)
            names.setdefault(name, member.name)


def _recheck_under(settings: Entry | None, member: Member) -> None:
    """Check a file of scrape configurations again, under the `global` of the main file.

    By itself it was checked under the defaults, under which a timeout may be too long that is not.
    """
    root = member.root
    if settings is None or root is None or "scrape_configs" not in root.entries:
        return
    merged = mapping(root.line, root.column)
    merged.entries = {"global": settings, "scrape_configs": root.entries["scrape_configs"]}
    context = Context(member.context.target)
    config_schema().decode(CONFIG, merged, context)
    issues = [issue for issue in context.issues if not issue.path.startswith("global")]
    member.context.replace_below("scrape_configs", issues)


def _job_names(root: Node | None) -> Iterator[tuple[str, Node, Path]]:
    jobs = root.entries.get("scrape_configs") if root is not None and root.kind == MAPPING else None
    for index, job in enumerate(jobs[1].items if jobs and jobs[1].kind == SEQUENCE else ()):
        entry = job.entries.get("job_name") if job.kind == MAPPING else None
        if entry is not None and entry[1].kind not in (MAPPING, SEQUENCE):
            yield entry[1].text, entry[1], (((None, "scrape_configs"), index), "job_name")


def _check_target_files(main: Member, folder: str, members: list[Member]) -> None:
    """Warn of files with targets that are not there; another program may write them later."""
    config = config_schema().decode(CONFIG, main.root, Context(main.context.target)) if main.root else None
    for _, job in config.structs("scrape_configs") if isinstance(config, Struct) else ():
        for _, sd in job.structs("file_sd_configs"):
            for index, pattern in sd.strings("files"):
                here = any(_matches(pattern, folder, member.name) for member in members)
                if not here and not pattern.startswith("/"):
                    message = f"no file of this bundle matches {pattern[:80]!r}"
                    sd.warn(main.context, ("files", index), "missing-file", message)
