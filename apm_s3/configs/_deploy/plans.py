"""Plans of deploys, and what they say in their documents. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from apm_s3._plans import PlanDocument, canonical_hash, plan_document
from apm_s3._tools import Tool
from apm_s3.configs._content.diff import BundleDiff
from apm_s3.configs._content.overlays import Touched
from apm_s3.configs._models import Release, ReleaseRef
from apm_s3.configs._protocol.publish import Publisher
from apm_s3.configs._protocol.reader import Reader
from apm_s3.configs._protocol.settings import encode_settings
from apm_s3.configs._settings import EnvironmentSettings
from apm_s3.reports import ValidationReport
from apm_s3.validators._validate import Level

KIND = "apm-s3/deploy-plan"

_DRIFT = "the target was changed by hand since its last deploy"


@dataclass(frozen=True, slots=True)
class Side:
    """A store, as a deploy needs it: the source or the target."""

    bucket: str
    prefix: str
    reader: Reader
    publisher: Publisher


@dataclass(frozen=True, slots=True)
class ToolPlan:
    """What a deploy would do for one tool.

    Attributes:
        source, target: the releases on both sides; `target` is None where there is none yet.
        files: what the target would hold, with its overlay applied.
        diff: from what the target has now.
        report: validation of `files`.
        touched: the files that the target's overlay changes, with base and result.
        changes: whether there is anything to do.
        drifted: the target was changed by hand since its last deploy.
        blocked: why the deploy is refused; empty where it is not.
        hashes: the SHA-256 of each of `files`.
    """

    tool: Tool
    source: Release
    target: Release | None
    files: Mapping[str, bytes] = field(repr=False)
    diff: BundleDiff = field(repr=False)
    report: ValidationReport
    touched: tuple[Touched, ...]
    changes: bool
    drifted: bool
    blocked: tuple[str, ...] = ()
    hashes: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def source_revision(self) -> int:
        """The revision that would be deployed."""
        return self.source.revision

    @property
    def target_revision(self) -> int:
        """The revision that would be replaced (0: none)."""
        return 0 if self.target is None else self.target.revision


@dataclass(frozen=True, slots=True)
class DeployPlan:
    """A deploy as it would be now. It is the dry run, and what `deploy` takes.

    Attributes:
        frozen: why the target takes no change at all; None where it does.
        refused: why the target's settings do not allow it; None where they do.
        settings: the target's, by which it is validated.
        variables: the names of those that were given.
        level, warnings_as_errors: what was asked for beyond the target's settings.
        create: whether the target may be an environment that does not exist yet.
    """

    source_environment: str
    target_environment: str
    source_bucket: str
    target_bucket: str
    tools: tuple[ToolPlan, ...]
    frozen: str | None = None
    refused: str | None = None
    settings: EnvironmentSettings = field(default_factory=EnvironmentSettings, repr=False)
    variables: tuple[str, ...] = ()
    level: Level | None = None
    warnings_as_errors: tuple[str, ...] = ()
    create: bool = False
    source_prefix: str = ""
    target_side: Side = field(repr=False, compare=False, kw_only=True)

    @property
    def changes(self) -> bool:
        """Whether there is anything to do."""
        return any(each.changes for each in self.tools)

    @property
    def blocked(self) -> tuple[str, ...]:
        """Why the deploy would be refused; empty where it would not."""
        reasons = [f"{each.tool}: {reason}" for each in self.tools for reason in each.blocked]
        reasons += [] if self.refused is None else [self.refused]
        return (*reasons, *([] if self.frozen is None else [f"frozen: {self.frozen}"]))

    def to_dict(self) -> dict[str, Any]:
        """The plan as a JSON document: ids, revisions, hashes, names and counts, and a hash of all of it.

        It can be stored, reviewed and approved elsewhere; `from_dict` brings it back. It holds no content of a file
        and no value of a variable.
        """
        return plan_document(
            KIND,
            {
                "source": {
                    "bucket": self.source_bucket,
                    "prefix": self.source_prefix,
                    "environment": self.source_environment,
                },
                "target": {
                    "bucket": self.target_bucket,
                    "prefix": self.target_side.prefix,
                    "environment": self.target_environment,
                },
                "create": self.create,
                "variables": sorted(self.variables),
                "level": self.level,
                "warnings_as_errors": sorted(self.warnings_as_errors),
                "settings": canonical_hash(encode_settings(self.settings)),
                "frozen": self.frozen is not None,
                "refused": self.refused is not None,
                "tools": {each.tool: _described(each) for each in self.tools},
            },
        )

    @staticmethod
    def from_dict(document: Mapping[str, Any]) -> PlanDocument:
        """A plan that was written down, for `deploy`, which plans anew and carries it out only if nothing is different.

        Raises:
            InvalidOption: it is no plan of a deploy, or was changed.
            FormatTooNew: a later version of this library made it.
        """
        return PlanDocument.read(KIND, document)

    @property
    def hash(self) -> str:
        """Names the plan, and everything that it says. The log keeps it."""
        name: str = self.to_dict()["hash"]
        return name


@dataclass(frozen=True, slots=True)
class DeployResult:
    """A deploy that was committed: the new releases, all of one commit; none where nothing had changed.

    Attributes:
        plan: what was carried out, as a document. Its hash is that of the releases' `origin.plan`.
    """

    plan: PlanDocument
    releases: tuple[Release, ...]


def blocked(report: ValidationReport, *, drifted: bool) -> tuple[str, ...]:
    """Why a deploy of a tool is refused, unless it is forced."""
    errors = len(report.errors)
    counted = "1 error" if errors == 1 else f"{errors} errors, the first"
    reasons = [f"{counted}: {report.errors[0].render(report.name)}"] if errors else []
    return (*reasons, *([_DRIFT] if drifted else []))


def refusals(plan: ToolPlan, *, allow_drift: bool, force: str | None) -> list[str]:
    """Why a deploy of a tool is refused in spite of what the caller allows."""
    reasons = []
    if not plan.report.ok and (force is None or plan.report.kind == "overlay"):
        reasons.append(f"{plan.tool}: {plan.blocked[0]}")
    if plan.drifted and not allow_drift:
        reasons.append(f"{plan.tool}: {_DRIFT} (allow_drift=True overwrites that)")
    return reasons


def _described(plan: ToolPlan) -> dict[str, Any]:
    """One tool of a plan, for its document."""
    old = {} if plan.target is None else {name: entry.sha256 for name, entry in plan.target.files.items()}
    new = plan.hashes
    return {
        "source": _named(plan.source.ref),
        "target": _named(ref_of(plan.target)),
        "changes": plan.changes,
        "drifted": plan.drifted,
        "errors": len(plan.report.errors),
        "warnings": len(plan.report.warnings),
        "files": {name: {"before": old.get(name), "after": new.get(name)} for name in sorted(old.keys() | new.keys())},
    }


def _named(ref: ReleaseRef | None) -> dict[str, Any] | None:
    return None if ref is None else {"revision": ref.revision, "key": ref.key, "sha256": ref.sha256}


def ref_of(release: Release | None) -> ReleaseRef | None:
    """How a release is named in other documents."""
    return None if release is None else release.ref
