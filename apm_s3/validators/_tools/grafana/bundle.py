"""References between the files of a Grafana bundle."""

from __future__ import annotations

from apm_s3.reports import Severity
from apm_s3.validators._checking import Context, Member, did_you_mean, report_repeated
from apm_s3.validators._reading.nodes import SCALAR, Node
from apm_s3.validators._tools.grafana.dashboard import dashboard_uid, data_source_references
from apm_s3.validators._tools.grafana.provisioning import data_sources, default_of
from apm_s3.validators._tools.grafana.values import field, is_absent

_SOURCE_UID, _SOURCE_NAME, _DEFAULT = "data source uid", "data source name", "default data source of organisation"
_DASHBOARD_UID, _REFERENCE = "dashboard uid", "data source reference"


def mention_names(kind: str, root: Node, context: Context) -> None:
    """Record what `check_bundle` needs from one file, so that it need not read hundreds of dashboards again."""
    if kind == "dashboard":
        uid = dashboard_uid(root)
        if uid is not None and uid.kind == SCALAR:
            context.mention(_DASHBOARD_UID, uid.text, uid, (None, "uid"))
        for text, reference, path in data_source_references(root):
            context.mention(_REFERENCE, text, reference, path)
    elif kind == "provisioning":
        for source, path in data_sources(root):
            default = default_of(source)
            if default is not None:
                context.mention(_DEFAULT, default[1], default[0], (path, "isDefault"))
            for name, what in (("uid", _SOURCE_UID), ("name", _SOURCE_NAME)):
                node = field(source, name)
                if node is not None and node.kind == SCALAR and not is_absent(node):
                    context.mention(what, node.text, node, (path, name))


def check_bundle(members: list[Member]) -> None:
    """Report conflicting defaults and uids, and broken references."""
    _check_defaults(members)
    for what, name in (("a data source with uid", _SOURCE_UID), ("a dashboard with uid", _DASHBOARD_UID)):
        report_repeated(what, [(member, mention) for member in members for mention in member.mentions(name)])
    _check_references(members)


def _check_defaults(members: list[Member]) -> None:
    first: dict[str, tuple[Member, str]] = {}
    for member in members:
        for mention in member.mentions(_DEFAULT):
            organisation = mention.text
            owner, path = first.setdefault(organisation, (member, mention.path.removesuffix(".isDefault")))
            # Within one file, its own check has reported it.
            if owner is not member:
                place = f"{owner.name}, {path}"
                message = f"organisation {organisation[:20]} already has a default data source, in {place}"
                member.report(Severity.ERROR, mention, "one-default", message)


def _check_references(members: list[Member]) -> None:
    names = (_SOURCE_UID, _SOURCE_NAME)
    known = {mention.text for member in members for name in names for mention in member.mentions(name)}
    if not known:
        return
    for member in members:
        for mention in member.mentions(_REFERENCE):
            if mention.text not in known:
                message = f"data source {mention.text[:80]!r} is not provisioned in this bundle"
                hint = did_you_mean(mention.text, known)
                member.report(Severity.WARNING, mention, "undefined-reference", message, hint)
