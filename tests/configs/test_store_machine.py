"""Any sequence of changes against plain dictionaries."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from apm_s3.configs import ConfigStore
from apm_s3.errors import ConfigNotFound, EnvironmentFrozen, InvalidOption, RevisionConflict
from apm_s3.testing import MemoryObjects
from tests.configs.simulation.world import no_validation
from tests.profiles import examples

Files = dict[str, str]
MAIN = {"loki": "loki.yaml", "prometheus": "prometheus.yml"}
tools = st.sampled_from(sorted(MAIN))
environments = st.sampled_from(["production", "staging"])
texts = st.sampled_from(["a", "b", "c", "d" * 20_000])
names = st.sampled_from(["rules/a.yml", "rules/b.yml", "notes.txt"])


class StoreMachine(RuleBasedStateMachine):
    """Two environments, two tools, on a bucket in memory. The model: every revision's files, by tool."""

    @initialize()
    def begin(self):
        self.objects = MemoryObjects(now=1_800_000_000.0)
        self.store = ConfigStore(self.objects, deadline=3600)
        self.revisions: dict[tuple[str, str], list[Files]] = {}
        self.oldest: dict[tuple[str, str], int] = {}
        self.made_at: dict[tuple[str, str], list[float]] = {}
        self.good: dict[tuple[str, str], int] = {}
        self.frozen: set[str] = set()
        self.runner = asyncio.Runner()
        self.validation = no_validation(random.Random(1))
        self.validation.__enter__()

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.validation.__exit__(None, None, None)
            self.runner.close()

    def run(self, work):
        self.objects.now += 1
        return self.runner.run(work)

    def current(self, environment: str, tool: str) -> Files:
        revisions = self.revisions.get((environment, tool))
        return revisions[-1] if revisions else {}

    def change(self, environment: str, tool: str, files: Files, work) -> None:
        """Make a change that is expected to come off, unless the environment is frozen."""
        if environment in self.frozen:
            with pytest.raises(EnvironmentFrozen):
                self.run(work)
            return
        release = self.run(work)
        self.note(environment, tool, files)
        assert release.revision == len(self.revisions[environment, tool])

    def note(self, environment: str, tool: str, files: Files) -> None:
        self.revisions.setdefault((environment, tool), []).append(files)
        self.made_at.setdefault((environment, tool), []).append(self.objects.now)

    @rule(environment=environments, tool=tools, text=texts, more=st.dictionaries(names, texts, max_size=2))
    def upload_all(self, environment: str, tool: str, text: str, more: Files):
        files = {MAIN[tool]: text, **more}
        self.change(environment, tool, files, self.store.upload(tool, environment, files=files))

    @rule(environment=environments, tool=tools, name=names, text=texts)
    def upload_one(self, environment: str, tool: str, name: str, text: str):
        files = {**self.current(environment, tool), name: text}
        self.change(environment, tool, files, self.store.upload(tool, environment, text, name=name))

    def missing(self, environment: str):
        """Changes of something missing are refused; a freeze is noticed first."""
        return (EnvironmentFrozen, ConfigNotFound) if environment in self.frozen else ConfigNotFound

    @rule(environment=environments, tool=tools, name=names)
    def remove_one(self, environment: str, tool: str, name: str):
        files = self.current(environment, tool)
        left = {other: text for other, text in files.items() if other != name}
        work = self.store.upload(tool, environment, remove=[name])
        if environment in self.frozen or (name in files and left):
            self.change(environment, tool, left, work)
        else:
            with pytest.raises((ConfigNotFound, InvalidOption)):
                self.run(work)

    @rule(environment=environments, tool=tools)
    def remove(self, environment: str, tool: str):
        work = self.store.remove(tool, environment)
        if not self.current(environment, tool):
            with pytest.raises(self.missing(environment)):
                self.run(work)
        else:
            self.change(environment, tool, {}, work)

    @rule(environment=environments, tool=tools, back=st.integers(0, 4))
    def roll_back(self, environment: str, tool: str, back: int):
        revisions = self.revisions.get((environment, tool), [])
        wanted = len(revisions) - back
        work = self.store.rollback(tool, environment, to_revision=max(wanted, 1))
        kept = self.oldest.get((environment, tool), 1) <= wanted or wanted == self.good.get((environment, tool))
        if wanted < 1 and not revisions:
            with pytest.raises(self.missing(environment)):
                self.run(work)
        elif wanted < 1:
            work.close()
        elif kept:
            self.change(environment, tool, revisions[wanted - 1], work)
        else:
            with pytest.raises(self.missing(environment)):
                self.run(work)

    @rule(environment=environments, tool=tools)
    def mark_good(self, environment: str, tool: str):
        revisions = self.revisions.get((environment, tool), [])
        if revisions:
            self.run(self.store.mark_good(tool, environment))
            self.good[environment, tool] = len(revisions)

    @rule(environment=environments, tool=tools)
    def roll_back_to_good(self, environment: str, tool: str):
        good = self.good.get((environment, tool))
        if good is not None:
            files = self.revisions[environment, tool][good - 1]
            self.change(environment, tool, files, self.store.rollback(tool, environment))

    @rule(environment=environments, tool=tools)
    def expect_another_revision(self, environment: str, tool: str):
        other = len(self.revisions.get((environment, tool), [])) + 1
        with pytest.raises((RevisionConflict, EnvironmentFrozen)):
            self.run(self.store.upload(tool, environment, "x", expect_revision=other))

    @precondition(lambda self: any(environment == "staging" for environment, _ in self.revisions))
    @rule()
    def deploy(self):
        source = {tool: files for tool in MAIN if (files := self.current("staging", tool))}
        if not source:
            with pytest.raises(ConfigNotFound):
                self.run(self.store.plan_deploy("staging", "production", create=True))
            return
        plan = self.run(self.store.plan_deploy("staging", "production", create=True))
        changed = {tool: files for tool, files in source.items() if files != self.current("production", tool)}
        assert {each.tool for each in plan.tools if each.changes} == changed.keys()
        work = self.store.deploy(plan, allow_drift=True)
        if changed and "production" in self.frozen:
            with pytest.raises(EnvironmentFrozen):
                self.run(work)
            return
        result = self.run(work)
        assert {release.tool for release in result.releases} == changed.keys()
        assert len({release.write_id for release in result.releases}) == bool(changed)
        for tool, files in changed.items():
            self.note("production", tool, files)

    @rule(environment=environments)
    def freeze_or_thaw(self, environment: str):
        if not any(name == environment for name, _ in self.revisions):
            return
        if environment in self.frozen:
            self.run(self.store.thaw(environment))
        else:
            self.run(self.store.freeze(environment, "because"))
        self.frozen ^= {environment}

    @rule(environment=environments, keep=st.integers(1, 3), days=st.sampled_from([0, 2]))
    def collect(self, environment: str, keep: int, days: int):
        self.objects.now += days * 24 * 3600
        if environment in self.frozen or not any(name == environment for name, _ in self.revisions):
            return
        report = self.run(self.store.collect_garbage(environment, keep_revisions=keep))
        for (name, tool), revisions in self.revisions.items():
            if name == environment:
                made = self.made_at[name, tool]
                young = [number for number, at in enumerate(made, 1) if self.objects.now - at < 24 * 3600]
                first = min([len(revisions) - max(keep, 2) + 1, *young[:1]])
                self.oldest[name, tool] = max(self.oldest.get((name, tool), 1), first)
                assert report.oldest[tool] == self.oldest[name, tool]

    @invariant()
    def everything_is_as_the_model_says(self):
        if hasattr(self, "runner"):
            self.runner.run(self.compare())

    async def compare(self) -> None:
        listed = {(release.environment, release.tool) for release in await self.store.list()}
        assert listed == {key for key, revisions in self.revisions.items() if revisions[-1]}
        for (environment, tool), revisions in self.revisions.items():
            if revisions[-1]:
                bundle = await self.store.download_bundle(tool, environment)
                assert {name: file.text for name, file in bundle.files.items()} == revisions[-1]
            history = await self.store.history(tool, environment)
            oldest = self.oldest.get((environment, tool), 1)
            assert [release.revision for release in history] == list(range(len(revisions), oldest - 1, -1))
            folder = f"live/{environment}/{tool}/"
            live = {
                key.removeprefix(folder): body.decode()
                for key, (_, body) in self.objects.objects.items()
                if key.startswith(folder)
            }
            assert live == revisions[-1]
        for environment in {environment for environment, _ in self.revisions}:
            assert (await self.store.fsck(environment)).ok


TestAnySequenceOfChanges = StoreMachine.TestCase
TestAnySequenceOfChanges.settings = settings(
    examples(25), stateful_step_count=25, suppress_health_check=list(HealthCheck)
)
