"""What the files of a Grafana bundle say about one another."""

from __future__ import annotations

from apm_s3.validators.bundles import Member, report_repeated
from apm_s3.validators.grafana.dashboard import dashboard_uid, data_source_references
from apm_s3.validators.grafana.provisioning import data_sources, default_of
from apm_s3.validators.grafana.values import field, is_absent
from apm_s3.validators.hints import did_you_mean
from apm_s3.validators.parsing.nodes import Node, Path, render_path


def check_bundle(members: list[Member]) -> None:
    """Report defaults, uids and references that do not fit together."""
    sources = [
        (member, source, path)
        for member in members
        if member.kind == "provisioning" and member.root is not None
        for source, path in data_sources(member.root)
    ]
    _check_defaults(sources)
    _check_uids(members, sources)
    _check_references(members, sources)


def _check_defaults(sources: list[tuple[Member, Node, Path]]) -> None:
    first: dict[str, str] = {}
    for member, source, path in sources:
        default = default_of(source)
        if default is None:
            continue
        node, organisation = default
        place = f"{member.name}, {render_path(path)}"
        if organisation in first:
            message = f"organisation {organisation[:20]} has a default data source already, in {first[organisation]}"
            member.context.error(node, (path, "isDefault"), "one-default", message)
        else:
            first[organisation] = place


def _check_uids(members: list[Member], sources: list[tuple[Member, Node, Path]]) -> None:
    report_repeated(
        "a data source with uid",
        [
            (uid.text, member, uid, (path, "uid"))
            for member, source, path in sources
            if (uid := field(source, "uid")) is not None and not is_absent(uid)
        ],
    )
    report_repeated(
        "a dashboard with uid",
        [
            (uid.text, member, uid, (None, "uid"))
            for member in members
            if member.kind == "dashboard" and member.root is not None
            if (uid := dashboard_uid(member.root)) is not None
        ],
    )


def _check_references(members: list[Member], sources: list[tuple[Member, Node, Path]]) -> None:
    known = {
        node.text
        for _, source, _ in sources
        for name in ("uid", "name")
        if (node := field(source, name)) is not None and not is_absent(node)
    }
    if not known:
        return
    for member in members:
        if member.kind != "dashboard" or member.root is None:
            continue
        for text, node, path in data_source_references(member.root):
            if text not in known:
                message = f"no data source {text[:80]!r} is provisioned in this bundle"
                member.context.warn(node, path, "undefined-reference", message, did_you_mean(text, known))
