"""Any sequence of changes, backups, damage, restores and prunings against plain dictionaries."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from apm_s3.configs import ConfigStore
from apm_s3.errors import BackupInvalid, ConfigNotFound
from apm_s3.testing import MemoryObjects
from tests.configs.samples import LOKI, OTHER_LOKI, OTHER_PROMETHEUS, PROMETHEUS, RULES
from tests.profiles import examples

Files = dict[str, str]
BUNDLES: dict[str, tuple[Files, ...]] = {
    "prometheus": ({"prometheus.yml": PROMETHEUS}, {"prometheus.yml": OTHER_PROMETHEUS, "rules/api.yml": RULES}),
    "loki": ({"loki.yaml": LOKI}, {"loki.yaml": OTHER_LOKI}),
}
environments = st.sampled_from(["production", "staging"])
tools = st.sampled_from(sorted(BUNDLES))
places = st.sampled_from(["here", "there"])


class BackupMachine(RuleBasedStateMachine):
    """Two buckets, two environments, two tools."""

    keys = Bundle("keys")

    @initialize(target=keys)
    def begin(self):
        self.now = 1_800_000_000.0
        self.objects = {"here": MemoryObjects("here", now=self.now), "there": MemoryObjects("there", now=self.now)}
        self.stores = {place: ConfigStore(objects, deadline=3600) for place, objects in self.objects.items()}
        self.current: dict[tuple[str, str], dict[str, Files]] = {}
        self.backups: dict[tuple[str, str], dict[str, Files]] = {}
        self.times: dict[tuple[str, str], float] = {}
        self.damaged: set[tuple[str, str]] = set()
        self.runner = asyncio.Runner()
        # Most rules need something to work on.
        for tool in BUNDLES:
            self.upload("here", "production", tool, 0)
        return self.backup("here", "here", "production", None)

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.close()

    def run(self, work):
        """Run `work`, a second later on the servers' clocks."""
        self.now += 1
        for objects in self.objects.values():
            objects.now = self.now
        return self.runner.run(work)

    def here(self, place: str, environment: str) -> dict[str, Files]:
        return self.current.setdefault((place, environment), {})

    def remember(self, place: str, key: str, content: dict[str, Files]) -> tuple[str, str]:
        self.backups[place, key] = {tool: dict(files) for tool, files in content.items()}
        self.times[place, key] = self.now
        return place, key

    # What happens ---------------------------------------------------------------------------------------------

    @rule(place=places, environment=environments, tool=tools, which=st.integers(0, 1))
    def upload(self, place: str, environment: str, tool: str, which: int) -> None:
        self.run(self.stores[place].upload(tool, environment, files=BUNDLES[tool][which]))
        self.here(place, environment)[tool] = BUNDLES[tool][which]

    @rule(place=places, environment=environments, tool=tools)
    def remove(self, place: str, environment: str, tool: str) -> None:
        if tool in self.here(place, environment):
            self.run(self.stores[place].remove(tool, environment))
            del self.here(place, environment)[tool]

    @rule(target=keys, place=places, into=places, environment=environments, tool=st.none() | tools)
    def backup(self, place: str, into: str, environment: str, tool: str | None):
        there = self.here(place, environment)
        content = there if tool is None else {tool: there[tool]} if tool in there else {}
        work = self.stores[place].backup(tool, environment, target=self.stores[into])
        if not content:
            try:
                self.run(work)
            except ConfigNotFound:
                return multiple()
            raise AssertionError("nothing was backed up")
        return self.remember(into, self.run(work).key, content)

    @rule(name=keys, how=st.sampled_from(["changed", "missing"]))
    def damage(self, name: tuple[str, str], how: str) -> None:
        if name not in self.backups or name in self.damaged:
            return
        place, key = name
        tool, files = next(iter(self.backups[name].items()))
        victim = f"{key}/{tool}/{next(iter(files))}"
        objects = self.objects[place]
        if victim not in objects.objects:
            return
        if how == "missing":
            self.run(objects.delete([victim]))
        else:
            body = objects.objects[victim][1]
            self.run(objects.put(victim, body[:-1] + bytes([body[-1] ^ 1])))
        self.damaged.add(name)
        with pytest.raises(BackupInvalid):
            self.run(self.stores[place].verify_backup(key))

    @rule(name=consumes(keys))
    def cut_short(self, name: tuple[str, str]) -> None:
        """As if it had been killed before its manifest was written."""
        if name in self.backups:
            self.run(self.objects[name[0]].delete([f"{name[1]}/manifest.json"]))
            self.forget(name)

    def forget(self, name: tuple[str, str]) -> None:
        del self.backups[name]
        self.damaged.discard(name)

    @rule(target=keys, name=keys, to=places, environment=st.none() | environments)
    def restore(self, name: tuple[str, str], to: str, environment: str | None):
        place, key = name
        source = self.stores[place]
        before = {backup.key for backup in self.run(self.stores[to].list_backups())}
        work = self.stores[to].restore_environment(key, environment=environment, source=source)
        if name not in self.backups or name in self.damaged:
            try:
                self.run(work)
            except (BackupInvalid, ConfigNotFound):
                return multiple()
            raise AssertionError("an incomplete backup was restored")
        self.run(work)
        into = self.here(to, environment or key.split("/")[1])
        replaced = {tool: into[tool] for tool in self.backups[name] if tool in into}
        into.update(self.backups[name])
        made = {backup.key for backup in self.run(self.stores[to].list_backups())} - before
        assert len(made) == (1 if replaced else 0)
        return multiple(*(self.remember(to, each, replaced) for each in made))

    @rule(name=keys)
    def drill(self, name: tuple[str, str]) -> None:
        place, key = name
        work = self.stores[place].restore_environment(key, drill=True)
        if name in self.backups and name not in self.damaged:
            self.run(work)
            return
        try:
            self.run(work)
        except (BackupInvalid, ConfigNotFound):
            return
        raise AssertionError("a drill of an incomplete backup succeeded")

    @rule(
        place=places, environment=environments, keep=st.none() | st.integers(1, 3), age=st.none() | st.integers(0, 20)
    )
    def prune(self, place: str, environment: str, keep: int | None, age: int | None) -> None:
        age = 0 if keep is None and age is None else age
        older_than = None if age is None else timedelta(seconds=age)
        gone = self.run(self.stores[place].prune_backups(environment, keep=keep, older_than=older_than))
        whole_before = self.whole(place, environment)
        for backup in gone:
            assert age is None or self.now - self.times[place, backup.key] > age
            self.forget((place, backup.key))
        whole = self.whole(place, environment)
        for tool in BUNDLES:
            had = [key for key, content in whole_before.items() if tool in content]
            kept = [key for key, content in whole.items() if tool in content]
            assert kept[: keep or 1] == had[: keep or 1]

    def whole(self, place: str, environment: str) -> dict[str, dict[str, Files]]:
        """Backups that a listing takes for whole, newest first."""
        found = {
            key: content
            for (where, key), content in self.backups.items()
            if where == place and key.split("/")[1] == environment and not self.is_short(where, key)
        }
        return dict(sorted(found.items(), key=lambda item: self.times[place, item[0]], reverse=True))

    def is_short(self, place: str, key: str) -> bool:
        expected = {f"{key}/{tool}/{name}" for tool, files in self.backups[place, key].items() for name in files}
        return not expected <= self.objects[place].objects.keys()

    # What holds -----------------------------------------------------------------------------------------------

    @invariant()
    def every_environment_is_what_was_put_there(self) -> None:
        for (place, environment), expected in getattr(self, "current", {}).items():
            try:
                bundles = self.run(self.stores[place].download_environment(environment))
            except ConfigNotFound:
                bundles = {}
            found = {tool: {name: file.text for name, file in bundle.files.items()} for tool, bundle in bundles.items()}
            assert found == expected

    @invariant()
    def the_backups_that_are_listed_are_those_that_were_made(self) -> None:
        for place, store in getattr(self, "stores", {}).items():
            listed = self.run(store.list_backups())
            assert {backup.key for backup in listed} == {key for where, key in self.backups if where == place}
            for backup in listed:
                assert (backup.damage is not None) == self.is_short(place, backup.key)
                assert {tool: set(held.files) for tool, held in backup.tools.items()} == {
                    tool: set(files) for tool, files in self.backups[place, backup.key].items()
                }

    @invariant()
    def no_scratch_environment_is_left(self) -> None:
        for objects in getattr(self, "objects", {}).values():
            assert not [key for key in objects.objects if "/drill-" in key]


TestBackups = BackupMachine.TestCase
TestBackups.settings = settings(examples(40), stateful_step_count=20)
