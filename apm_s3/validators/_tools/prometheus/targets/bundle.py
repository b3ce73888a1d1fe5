"""Checks the files of file_sd_configs with the jobs that read them, relabelling their targets as promtool does."""

from __future__ import annotations

from collections.abc import Iterator

from apm_s3.validators._checking import Context, Member, Pattern, Source, matching
from apm_s3.validators._decoding import Struct
from apm_s3.validators._reading.documents import unreadable_issue
from apm_s3.validators._reading.nodes import SCALAR, Node, Unreadable, is_null, scalar
from apm_s3.validators._tools.prometheus.schema import CONFIG, config_schema
from apm_s3.validators._tools.prometheus.targets.files import check_target_file, groups_of, is_json
from apm_s3.validators._tools.prometheus.targets.relabelled import check_alertmanager_groups, check_groups_of_job


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
                    check_groups_of_job(job, settings, _groups(found), found.context)
        alerting = config.struct("alerting")
        for _, target in alerting.structs("alertmanagers") if alerting is not None else ():
            for found in _files_of(target, member, main, members):
                if member.is_good:
                    check_alertmanager_groups(target, _groups(found), found.context)


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
    if file is not main and (_is_null(file.root) if file.start is not None else not is_json(file.name)):
        return False
    message = f"file_sd_configs of {main.name} match this file, but it is not a list of target groups"
    file.context.error(file.start or scalar("", 1, 1, plain=True), None, "file-kind", message)
    return False


def _is_null(root: Node | None) -> bool:
    return root is None or (root.kind == SCALAR and is_null(root))


def _groups(file: Member) -> list[Struct]:
    try:
        return groups_of(Source(file.raw, file.name), Context(file.context.target))
    except Unreadable:
        return []
