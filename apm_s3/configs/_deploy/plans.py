"""Plans of deploys, and their documents. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from apm_s3._plans import PlanDocument, canonical_hash, plan_document
from apm_s3._tools import Tool
from apm_s3.configs._content.diff import BundleDiff
from apm_s3.configs._content.overlays import Touched
from apm_s3.configs._models.releases import Release, ReleaseRef
from apm_s3.configs._models.settings import EnvironmentSettings
from apm_s3.configs._protocol.documents.settings import encode_settings
from apm_s3.configs._protocol.publish import Publisher
from apm_s3.configs._protocol.reading.reader import Reader
from apm_s3.reports import ValidationReport
from apm_s3.validators._validation.validate import Level

KIND = "apm-s3/deploy-plan"

DRIFT = "the target was changed by hand since its last deploy"


@dataclass(frozen=True, slots=True)
class Side:
    """The parts of a store that a deploy needs, for the source and the target."""

    bucket: str
    prefix: str
    reader: Reader
    publisher: Publisher


@dataclass(frozen=True, slots=True)
class ToolPlan:
    """What a deploy would do for one tool.

    Attributes:
        source, target: the releases on both sides; `target` is None if there is none yet.
        files: the target's new files, with its overlay applied.
        diff: the differences from the target's current files.
        report: the validation of `files`.
        touched: the files that the target's overlay changes, with base and result.
        changes: whether there is anything to do.
        drifted: whether the target was changed by hand since its last deploy.
        blocked: why the deploy is refused; empty if it is not.
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
        """Return the revision that would be deployed."""
        return self.source.revision

    @property
    def target_revision(self) -> int:
        """Return the revision that would be replaced (0: none)."""
        return 0 if self.target is None else self.target.revision


@dataclass(frozen=True, slots=True)
class DeployPlan:
    """A planned deploy: a dry run, and the argument of `deploy`.

    Attributes:
        frozen: why the target is frozen; None if it is not.
        refused: why the target's settings do not allow the deploy; None if they do.
        settings: the target's settings, used for validation.
        variables: the names of the given variables.
        level, warnings_as_errors: arguments that are stricter than the target's settings.
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
        """Return whether there is anything to do."""
        return any(each.changes for each in self.tools)

    @property
    def blocked(self) -> tuple[str, ...]:
        """Return why the deploy would be refused; empty if it would not."""
        return self.refusals()

    def refusals(self, *, allow_drift: bool = False, force: str | None = None) -> tuple[str, ...]:
        """Return why the deploy would be refused with these arguments of `deploy`; empty if it would not."""
        if not self.changes:
            return ()
        reasons = [] if self.refused is None else [self.refused]
        for each in self.tools:
            reasons += _refusals(each, allow_drift=allow_drift, force=force) if each.changes else []
        return (*reasons, *([] if self.frozen is None else [f"frozen: {self.frozen}"]))

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as a JSON document: ids, revisions, hashes, names and counts, and a hash of everything.

        It can be stored, reviewed and approved elsewhere; `from_dict` reads it. It contains no file content and no
        variable values.
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
        """Read a plan's document for `deploy`, which makes the plan again and carries it out only if it is the same.

        The hash protects from damage, not from an author: a plan that was edited and hashed again is accepted if it is
        one that the environments make. Compare the hash with the approved one.

        Raises:
            InvalidOption: it is not a deploy plan, or was modified without a new hash.
            FormatTooNew: a newer version of this library made it.
        """
        return PlanDocument.read(KIND, document)

    @property
    def hash(self) -> str:
        """Return the hash of the plan's whole content, which is stored in the log."""
        name: str = self.to_dict()["hash"]
        return name


@dataclass(frozen=True, slots=True)
class DeployResult:
    """A committed deploy: the new releases of one commit; none if nothing had changed.

    Attributes:
        plan: the document of the plan. Its hash is `origin.plan` of the releases.
    """

    plan: PlanDocument
    releases: tuple[Release, ...]


def blocked(report: ValidationReport, *, drifted: bool) -> tuple[str, ...]:
    """Return why a deploy of a tool is refused, unless it is forced."""
    errors = len(report.errors)
    counted = "1 error" if errors == 1 else f"{errors} errors, the first"
    reasons = [f"{counted}: {report.errors[0].render(report.name)}"] if errors else []
    return (*reasons, *([DRIFT] if drifted else []))


def was_touched(plan: ToolPlan) -> bool:
    """Return whether the target has a newer release than its last deploy, whatever that contains."""
    target = plan.target
    return target is not None and target.deployed is not None and target.deployed.revision != target.revision


def _refusals(plan: ToolPlan, *, allow_drift: bool, force: str | None) -> list[str]:
    """Return why a deploy of a tool is refused despite what the caller allows."""
    forced = force is not None and plan.report.kind != "overlay"
    reasons = plan.blocked if plan.report.ok or not forced else plan.blocked[1:]
    return [f"{plan.tool}: {reason}" for reason in reasons if reason != DRIFT or not allow_drift]


def _described(plan: ToolPlan) -> dict[str, Any]:
    """Return one tool of a plan, for its document."""
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
    """Return the reference to a release for documents."""
    return None if release is None else release.ref
