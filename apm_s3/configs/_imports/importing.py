"""Plans imports, and carries them out: one release for each revision of the source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from apm_s3._tools import Tool
from apm_s3.configs._content.names import check_names
from apm_s3.configs._content.overlays import is_reserved
from apm_s3.configs._imports.places import Found, Key
from apm_s3.configs._imports.plans import ImportBundle, ImportPlan, ImportRevision
from apm_s3.configs._models.releases import Release
from apm_s3.configs._models.settings import LAX, ValidationRules
from apm_s3.configs._progress import Steps
from apm_s3.configs._protocol.reading.reader import Reader
from apm_s3.configs._reads.views import Views
from apm_s3.configs._writes.checks import report_bundle
from apm_s3.configs._writes.requests import ToolRequest
from apm_s3.configs._writes.uploads import Given, UploadTerms
from apm_s3.configs._writes.writer import Writer
from apm_s3.errors import ConfigInvalid, ConfigNotFound, InvalidOption, RevisionConflict
from apm_s3.reports import ValidationReport

OLD = "an old revision of an imported history"
"""Why errors of a revision that a later one of the same import replaces are stored."""


@dataclass(frozen=True, slots=True)
class Importer:
    """Imports to one store."""

    bucket: str
    prefix: str
    reader: Reader
    views: Views
    writer: Writer

    async def plan(self, source: str, found: Found) -> ImportPlan:
        """Compare the source with the store.

        Raises:
            InvalidRequest: a file has a name that cannot be stored.
        """
        by_key: dict[Key, list[ImportRevision]] = {}
        for revision in found.revisions:
            check_names(name for name in revision.files if not is_reserved(name))
            by_key.setdefault((revision.environment, revision.tool), []).append(revision)
        bundles, left = [], set[str]()
        for key in sorted(by_key):
            bundle, missing = await self._plan_bundle(key, by_key[key], found)
            bundles.append(bundle)
            left.update(revision.write_id for revision in missing)
        return ImportPlan(
            source=source,
            bucket=self.bucket,
            prefix=self.prefix,
            bundles=tuple(bundles),
            revisions=tuple(revision for revision in found.revisions if revision.write_id in left),
            left_out=found.left_out,
            contents=found.contents,
        )

    async def _plan_bundle(
        self, key: Key, revisions: Sequence[ImportRevision], found: Found
    ) -> tuple[ImportBundle, Sequence[ImportRevision]]:
        environment, tool = key
        releases = await self._history(environment, tool)
        done = _imported(revisions, releases)
        missing, blocked = revisions[done:], None
        if missing and releases and releases[0].write_id != (revisions[done - 1].write_id if done else None):
            if not done and _is_same(revisions[-1], releases[0]):
                done, missing = len(revisions), ()
            else:
                since = "after an earlier import" if done else "and was not imported from here"
                blocked = f"revision {releases[0].revision} was created {since}"
        report = await self._report(missing[-1], found) if missing else None
        current = releases[0].revision if releases else 0
        return ImportBundle(environment, tool, len(revisions), done, current, report, blocked), missing

    async def _history(self, environment: str, tool: Tool) -> list[Release]:
        try:
            return await self.views.history(tool, environment, None)
        except ConfigNotFound:
            return []

    async def _report(self, newest: ImportRevision, found: Found) -> ValidationReport | None:
        if not newest.files:
            return None
        files = await found.contents(newest)
        return await report_bundle(newest.tool, files, await self._rules(newest.environment, newest.tool))

    async def _rules(self, environment: str, tool: Tool) -> ValidationRules:
        try:
            snapshot = await self.reader.require(environment)
        except ConfigNotFound:
            return LAX
        return snapshot.current.settings.rules(tool)

    async def carry_out(
        self, plan: ImportPlan, *, author: str | None, message: str, force: str | None, steps: Steps
    ) -> tuple[Release, ...]:
        """Commit the revisions of a plan, in order."""
        if (plan.bucket, plan.prefix) != (self.bucket, self.prefix):
            raise InvalidOption("the plan is of another store", hint="carry it out on the store that made it")
        _refuse_blocked(plan, force)
        newest = {(each.environment, each.tool): each.write_id for each in plan.revisions}
        expected: dict[Key, int] = {(each.environment, each.tool): each.current_revision for each in plan.bundles}
        releases = []
        steps.begin("", "committing revisions", len(plan.revisions))
        for revision in plan.revisions:
            key = (revision.environment, revision.tool)
            request = ToolRequest(
                tool=revision.tool,
                environment=revision.environment,
                author=revision.author or author,
                message=revision.message or message or f"Import of {plan.source}",
                expect_revision=expected[key],
                timeout=None,
                write_id=revision.write_id,
            )
            reason = force if revision.write_id == newest[key] else force or OLD
            release = await self._commit(request, await _contents(plan, revision), reason)
            expected[key] = release.revision
            releases.append(release)
            steps.step()
        return tuple(releases)

    async def _commit(self, request: ToolRequest, files: Mapping[str, bytes], reason: str | None) -> Release:
        if not files:
            return await self.writer.remove(request)
        terms = UploadTerms(reason, skip_unchanged=False, level=None, warnings_as_errors=())
        return await self.writer.upload(request, Given(files=files), terms)


async def _contents(plan: ImportPlan, revision: ImportRevision) -> Mapping[str, bytes]:
    return await plan.contents(revision) if revision.files else {}


def _refuse_blocked(plan: ImportPlan, force: str | None) -> None:
    for bundle in plan.bundles:
        where = {"tool": bundle.tool, "environment": bundle.environment}
        if bundle.blocked is not None:
            raise RevisionConflict(
                f"{bundle.tool} in '{bundle.environment}' cannot be imported: {bundle.blocked}; nothing was changed",
                expected_revision=0, current_revision=bundle.current_revision,
                hint="import to an environment without this tool, or upload the change", **where,
            )  # fmt: skip
        if bundle.report is not None and bundle.errors and force is None:
            more = f", and {len(bundle.errors) - 1} more" if len(bundle.errors) > 1 else ""
            raise ConfigInvalid(
                f"{bundle.tool} in '{bundle.environment}': {bundle.errors[0]}{more}",
                report=bundle.report,
                hint="nothing was imported; correct it at its source, or pass a reason as force=", **where,
            )  # fmt: skip


def _imported(revisions: Sequence[ImportRevision], releases: Sequence[Release]) -> int:
    """Return how many of `revisions` are already there: all up to the newest whose write id a release has."""
    there = {release.write_id for release in releases}
    return max((at for at, each in enumerate(revisions, start=1) if each.write_id in there), default=0)


def _is_same(revision: ImportRevision, release: Release) -> bool:
    """Return whether a release has exactly these files; never for those of Git, whose ids are no SHA-256."""
    return dict(revision.files) == {name: entry.sha256 for name, entry in release.files.items()}
