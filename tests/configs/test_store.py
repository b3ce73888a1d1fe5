import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from apm_s3.configs import ConfigStore, EnvironmentSettings, changed_files
from apm_s3.errors import (
    BucketNotFound,
    ConfigInvalid,
    ConfigNotFound,
    EnvironmentFrozen,
    InvalidKey,
    InvalidOption,
    InvalidRequest,
    RevisionConflict,
)
from apm_s3.testing import MemoryObjects
from tests.configs.samples import (
    GRAFANA,
    LOKI,
    OTHER_LOKI,
    OTHER_PROMETHEUS,
    PROMETHEUS,
    RULES,
    THIRD_PROMETHEUS,
)
from tests.managers import make_manager
from tests.seams.store import ObjectStore
from tests.servers import Server


async def test_an_upload_round_trips_byte_for_byte(store: ConfigStore) -> None:
    release = await store.upload("prometheus", "production", PROMETHEUS, author="Ada", message="first")

    file = await store.download("prometheus", "production")

    assert (release.revision, release.author, release.message) == (1, "Ada", "first")
    assert (file.name, file.raw, file.text, file.revision) == ("prometheus.yml", PROMETHEUS.encode(), PROMETHEUS, 1)
    assert file.data["scrape_configs"][0]["job_name"] == "api"


async def test_live_copies_follow_the_commit_with_their_hash(store: ConfigStore, bucket_objects: ObjectStore) -> None:
    await store.upload("prometheus", "production", files={"prometheus.yml": PROMETHEUS, "rules/a.yml": RULES})
    release = await store.upload("prometheus", "production", OTHER_PROMETHEUS, remove=["rules/a.yml"])

    info, body = await bucket_objects.read("live/production/prometheus/prometheus.yml")
    copies = [info.key async for info in bucket_objects.list("live/")]

    assert body == OTHER_PROMETHEUS.encode()
    assert info.metadata == {"apm-s3-sha256": release.files["prometheus.yml"].sha256}
    assert copies == ["live/production/prometheus/prometheus.yml"]
    assert not release.live_pending


async def test_uploading_one_file_keeps_the_others_and_their_blobs(store: ConfigStore) -> None:
    first = await store.upload("prometheus", "production", files={"prometheus.yml": PROMETHEUS, "rules/a.yml": RULES})
    second = await store.upload("prometheus", "production", OTHER_PROMETHEUS)

    bundle = await store.download_bundle("prometheus", "production")

    assert {name: file.text for name, file in bundle.files.items()} == {
        "prometheus.yml": OTHER_PROMETHEUS,
        "rules/a.yml": RULES,
    }
    assert bundle.release == second
    assert second.files["rules/a.yml"] == first.files["rules/a.yml"]


async def test_uploading_a_whole_bundle_replaces_everything(store: ConfigStore) -> None:
    await store.upload("prometheus", "production", files={"prometheus.yml": PROMETHEUS, "rules/a.yml": RULES})
    await store.upload("prometheus", "production", files={"prometheus.yml": PROMETHEUS})

    assert list((await store.download_bundle("prometheus", "production")).files) == ["prometheus.yml"]


async def test_a_lost_race_leaves_the_winner_untouched(store: ConfigStore) -> None:
    first = await store.upload("loki", "staging", LOKI)

    with pytest.raises(RevisionConflict) as conflict:
        await store.upload("loki", "staging", OTHER_LOKI, expect_revision=0)

    assert conflict.value.current_revision == first.revision
    assert (await store.download("loki", "staging")).text == LOKI


async def test_exactly_one_of_several_concurrent_writers_wins(store: ConfigStore) -> None:
    await store.upload("loki", "staging", LOKI)

    results = await asyncio.gather(
        *(store.upload("loki", "staging", OTHER_LOKI, author=str(n), expect_revision=1) for n in range(10)),
        return_exceptions=True,
    )

    won = [result for result in results if not isinstance(result, BaseException)]
    lost = [result for result in results if isinstance(result, RevisionConflict)]
    assert (len(won), len(lost)) == (1, 9)
    assert (await store.history("loki", "staging"))[0] == won[0]


async def test_writers_of_different_tools_never_conflict(store: ConfigStore) -> None:
    releases = await asyncio.gather(
        store.upload("loki", "staging", LOKI),
        store.upload("prometheus", "staging", PROMETHEUS),
        store.upload("grafana", "staging", GRAFANA),
    )

    assert [release.revision for release in releases] == [1, 1, 1]
    assert sorted(release.tool for release in await store.list()) == ["grafana", "loki", "prometheus"]


async def test_history_is_newest_first_and_every_revision_can_be_read(store: ConfigStore) -> None:
    for text in (PROMETHEUS, OTHER_PROMETHEUS, THIRD_PROMETHEUS, PROMETHEUS, OTHER_PROMETHEUS):
        await store.upload("prometheus", "production", text)

    history = await store.history("prometheus", "production")

    assert [release.revision for release in history] == [5, 4, 3, 2, 1]
    assert [release.revision for release in await store.history("prometheus", "production", limit=2)] == [5, 4]
    assert (await store.download("prometheus", "production", revision=3)).text == THIRD_PROMETHEUS
    assert (await store.download("prometheus", "production", revision=1)).revision == 1


async def test_history_shows_which_files_changed(store: ConfigStore) -> None:
    await store.upload("prometheus", "production", files={"prometheus.yml": PROMETHEUS, "rules/a.yml": RULES})
    await store.upload("prometheus", "production", OTHER_PROMETHEUS, remove=["rules/a.yml"])
    await store.upload("prometheus", "production", RULES, name="rules/b.yml")

    third, second, first = await store.history("prometheus", "production")

    assert changed_files(None, first) == {"prometheus.yml": "added", "rules/a.yml": "added"}
    assert changed_files(first, second) == {"prometheus.yml": "changed", "rules/a.yml": "removed"}
    assert changed_files(second, third) == {"rules/b.yml": "added"}


async def test_a_rollback_creates_a_new_revision_with_the_old_files(store: ConfigStore) -> None:
    await store.upload("prometheus", "production", files={"prometheus.yml": PROMETHEUS, "rules/a.yml": RULES})
    await store.upload("prometheus", "production", files={"prometheus.yml": OTHER_PROMETHEUS})

    release = await store.rollback("prometheus", "production", to_revision=1, message="undo")

    bundle = await store.download_bundle("prometheus", "production")
    assert (release.revision, release.origin.action, release.origin.revision) == (3, "rollback", 1)
    assert {name: file.text for name, file in bundle.files.items()} == {
        "prometheus.yml": PROMETHEUS,
        "rules/a.yml": RULES,
    }


async def test_a_rollback_without_a_revision_returns_to_the_one_marked_good(store: ConfigStore) -> None:
    await store.upload("loki", "production", LOKI)
    await store.mark_good("loki", "production")
    await store.upload("loki", "production", OTHER_LOKI)

    await store.rollback("loki", "production")

    assert (await store.download("loki", "production")).text == LOKI


async def test_an_upload_that_may_not_create_refuses_a_new_environment_beside_others(store: ConfigStore) -> None:
    first = await store.upload("prometheus", "staging", PROMETHEUS, create=False)  # the first one of the store
    with pytest.raises(ConfigNotFound, match=r"no environment 'stagign'. Did you mean staging\?"):
        await store.upload("prometheus", "stagign", PROMETHEUS, create=False)

    assert (first.revision, await store.environments()) == (1, ("staging",))
    assert (await store.upload("prometheus", "production", PROMETHEUS)).revision == 1


async def test_a_removed_environment_is_listed_no_longer_and_comes_back_with_its_history(store: ConfigStore) -> None:
    await store.upload("prometheus", "staging", PROMETHEUS)
    await store.upload("prometheus", "stagign", PROMETHEUS)
    with pytest.raises(InvalidOption, match="still has a configuration of prometheus"):
        await store.remove_environment("stagign")

    await store.remove("prometheus", "stagign")
    await store.remove_environment("stagign", author="Ada", message="a typing error")

    assert (await store.environments(), [row.environment for row in await store.status()]) == (
        ("staging",),
        ["staging"],
    )
    for refused in (store.upload("prometheus", "stagign", PROMETHEUS), store.freeze("stagign", "again")):
        with pytest.raises(EnvironmentFrozen, match=r"was removed by Ada at .*a typing error"):
            await refused
    entry = (await store.log("stagign"))[0]
    assert (entry.action, entry.author, entry.message, dict(entry.tools)) == ("remove", "Ada", "a typing error", {})
    await store.thaw("stagign")
    assert (await store.rollback("prometheus", "stagign", to_revision=1)).revision == 3
    assert await store.environments() == ("stagign", "staging")


async def test_a_damaged_environment_is_listed(store: ConfigStore, bucket_objects: ObjectStore) -> None:
    for environment in ("intact", "lost", "spoilt"):
        await store.upload("prometheus", environment, PROMETHEUS)
    await bucket_objects.put("configs/spoilt/current.json", b"garbage")
    await bucket_objects.delete(["configs/lost/current.json"])

    assert await store.environments() == ("intact", "lost", "spoilt")


async def test_a_rollback_is_validated_by_the_rules_of_today(store: ConfigStore) -> None:
    strict = "global:\n  scrape_failure_log_file: log\n"  # since Prometheus 2.55
    await store.upload("prometheus", "production", "scrape_configs: 3\n", force="as it was")
    await store.upload("prometheus", "production", strict)
    await store.upload("prometheus", "production", PROMETHEUS)
    await store.set_settings("production", EnvironmentSettings(target_versions={"prometheus": "2.45"}))

    for revision in (1, 2):
        with pytest.raises(ConfigInvalid):
            await store.rollback("prometheus", "production", to_revision=revision)
    assert [each.revision for each in await store.history("prometheus", "production")] == [3, 2, 1]
    forced = await store.rollback("prometheus", "production", to_revision=2, force="an incident")

    assert (forced.revision, forced.forced, "scrape_failure_log_file" in forced.warnings[0]) == (4, "an incident", True)
    assert (await store.rollback("prometheus", "production", to_revision=3)).forced is None


async def test_a_rollback_that_expects_another_revision_changes_nothing(store: ConfigStore) -> None:
    await store.upload("loki", "production", LOKI)
    await store.upload("loki", "production", OTHER_LOKI)

    with pytest.raises(RevisionConflict):
        await store.rollback("loki", "production", to_revision=1, expect_revision=1)

    assert (await store.download("loki", "production")).text == OTHER_LOKI


async def test_a_removed_configuration_is_gone_until_it_is_rolled_back(store: ConfigStore) -> None:
    await store.upload("loki", "production", LOKI)
    await store.remove("loki", "production")

    with pytest.raises(ConfigNotFound, match="removed in revision 2"):
        await store.download("loki", "production")
    assert await store.list() == ()

    await store.rollback("loki", "production", to_revision=1)
    assert (await store.download("loki", "production")).text == LOKI


async def test_a_frozen_environment_accepts_no_change_until_it_is_thawed(store: ConfigStore) -> None:
    await store.upload("loki", "production", LOKI)
    await store.freeze("production", "incident 42", author="Ada")

    with pytest.raises(EnvironmentFrozen, match=r"Ada.*incident 42"):
        await store.upload("loki", "production", OTHER_LOKI)

    await store.thaw("production")
    assert (await store.upload("loki", "production", OTHER_LOKI)).revision == 2
    with pytest.raises(ConfigNotFound):
        await store.freeze("prodution", "a slip of the pen")


async def test_an_invalid_configuration_is_refused_with_its_report(store: ConfigStore) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        await store.upload("prometheus", "production", "scrape_configs: [}\n")

    assert refused.value.report.errors
    with pytest.raises(ConfigNotFound):
        await store.download("prometheus", "production")


async def test_an_invalid_configuration_is_accepted_with_a_recorded_reason(store: ConfigStore) -> None:
    bad = "global: [1]\n"
    release = await store.upload("prometheus", "production", bad, force="the validator is wrong")

    assert release.forced == "the validator is wrong"
    assert release.warnings
    assert (await store.download("prometheus", "production")).text == bad


async def test_the_mappings_of_the_go_documentation_round_trip(store: ConfigStore) -> None:
    prometheus = {"global": {"scrape_interval": "15s"}, "scrape_configs": [{"job_name": "prometheus"}]}
    grafana = {"server": {"http_port": 3000}, "database": {"type": "sqlite3"}}

    await store.upload("prometheus", "production", prometheus)
    await store.upload("grafana", "production", grafana)

    assert (await store.download("prometheus", "production")).data == prometheus
    assert (await store.download("grafana", "production")).data == {
        "server": {"http_port": "3000"},
        "database": {"type": "sqlite3"},
    }


async def test_foreign_objects_in_the_bucket_are_left_alone(store: ConfigStore, bucket_objects: ObjectStore) -> None:
    foreign = ["readme.txt", "configs/x.txt", "configs/production/notes.txt", "live/production/loki/theirs.txt"]
    for key in foreign:
        await bucket_objects.put(key, b"theirs")

    await store.upload("loki", "production", LOKI)
    await store.upload("loki", "production", OTHER_LOKI)

    assert [(await bucket_objects.read(key))[1] for key in foreign] == [b"theirs"] * 4


async def test_stores_under_different_prefixes_do_not_see_each_other(bucket_objects: ObjectStore) -> None:
    ours, theirs = ConfigStore(bucket_objects, "team-a/"), ConfigStore(bucket_objects, "team-b/")
    await ours.upload("loki", "production", LOKI)
    await theirs.upload("loki", "production", OTHER_LOKI)

    assert (await ours.download("loki", "production")).text == LOKI
    assert (await theirs.download("loki", "production")).text == OTHER_LOKI
    assert await ours.environments() == ("production",)
    with pytest.raises(ConfigNotFound):
        await ConfigStore(bucket_objects).download("loki", "production")


async def test_all_tools_are_read_from_the_same_commit(store: ConfigStore) -> None:
    await store.upload("loki", "production", LOKI)
    await store.upload("prometheus", "production", PROMETHEUS)

    bundles = await store.download_environment("production")

    assert {tool: bundle.main.text for tool, bundle in bundles.items()} == {"loki": LOKI, "prometheus": PROMETHEUS}


async def test_a_large_file_is_stored_compressed_and_read_back_complete(
    store: ConfigStore, bucket_objects: ObjectStore
) -> None:
    text = PROMETHEUS + "# padding, many times over\n" * 20_000
    release = await store.upload("prometheus", "production", text)

    blob = await bucket_objects.head(f"configs/production/prometheus/blobs/{release.files['prometheus.yml'].blob}")
    live = await bucket_objects.read("live/production/prometheus/prometheus.yml")

    assert blob.size < len(text) / 10
    assert (await store.download("prometheus", "production")).text == text
    assert live[1].decode() == text


@pytest.mark.parametrize("name", [
    "../../x", "a//b", "", "x" * 513, "/etc/passwd", "a\x00b", "a/./b", "a\\b", "a\nb", "\ud800", " ", "a/ /b", "a.yml ",
    "\u00a0a.yml", "a\u202egnp.yml", "a\u200b.yml", "\ufeffa.yml", "a\u2028.yml", "a\x85.yml", "a\xad.yml", 7,
])  # fmt: skip
async def test_an_invalid_name_is_refused_before_anything_is_sent(name: str) -> None:
    memory = Untouchable()

    with pytest.raises(InvalidRequest):
        await ConfigStore(memory).upload("prometheus", "production", PROMETHEUS, name=name)
    with pytest.raises(InvalidRequest):
        await ConfigStore(memory).download("prometheus", "production", name)


@pytest.mark.parametrize(("tool", "environment"), [
    ("nagios", "production"), ("../x", "production"), ("loki", "Production"), ("loki", ""), ("loki", "a/b"),
    ("loki", "x" * 64), ("loki", ".."),
])  # fmt: skip
async def test_an_invalid_tool_or_environment_is_refused_before_anything_is_sent(tool: str, environment: str) -> None:
    store = ConfigStore(Untouchable())

    for call in (
        store.upload(tool, environment, LOKI),
        store.download(tool, environment),
        store.download_bundle(tool, environment),
        store.history(tool, environment),
        store.rollback(tool, environment, to_revision=1),
        store.remove(tool, environment),
        store.mark_good(tool, environment),
    ):
        with pytest.raises(InvalidRequest):
            await call


@pytest.mark.parametrize("arguments", [
    {}, {"source": LOKI, "files": {"loki.yaml": LOKI}}, {"name": "loki.yaml"}, {"source": 7},
    {"source": "\ud800"}, {"files": {"a": "x", "a/b": "y"}}, {"source": LOKI, "author": "a\nb"},
    {"source": LOKI, "message": "x" * 10_001}, {"source": LOKI, "force": " "}, {"files": {}},
    {"files": {"loki.yaml": LOKI}, "remove": ["x"]}, {"source": b"x" * (17 * 1024**2)},
    {"files": ["loki.yaml"]}, {"files": {1: LOKI}}, {"source": LOKI, "expect_revision": "1"}, {"remove": 7},
    {"source": LOKI, "expect_revision": True}, {"source": LOKI, "expect_revision": -1}, {"source": LOKI, "author": 7},
])  # fmt: skip
async def test_invalid_arguments_are_refused_before_anything_is_sent(arguments: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        await ConfigStore(Untouchable()).upload("loki", "production", **arguments)


@pytest.mark.parametrize("tools", [[], "loki", ["nagios"]])
async def test_an_invalid_selection_of_tools_is_refused_before_anything_is_sent(tools: list[str]) -> None:
    store = ConfigStore(Untouchable())

    for call in (
        store.download_environment("production", tools),
        store.plan_deploy("staging", "production", tools=tools),
        store.plan_restore("backups/production/x", tools=tools),
    ):
        with pytest.raises(InvalidOption):
            await call


WRONG_TYPES: dict[str, Callable[[Any], Any]] = {
    "environment": lambda store: store.download("loki", None),
    "tool": lambda store: store.download(["loki"], "production"),
    "revision": lambda store: store.download("loki", "production", revision="1"),
    "bundle's revision": lambda store: store.download_bundle("loki", "production", revision=1.5),
    "tools": lambda store: store.download_environment("production", 7),
    "limit": lambda store: store.history("loki", "production", limit="1"),
    "old revision": lambda store: store.diff("loki", "production", "1"),
    "directory": lambda store: store.diff("loki", "production", directory=7),
    "path": lambda store: store.download_dir("loki", "production", 7),
    "path to upload": lambda store: store.upload_dir("loki", "production", None),
    "to_revision": lambda store: store.rollback("loki", "production", to_revision="1"),
    "good revision": lambda store: store.mark_good("loki", "production", "1"),
    "reason": lambda store: store.freeze("production", None),
    "environment to thaw": lambda store: store.thaw(7),
    "write_id": lambda store: store.outcome(7),
    "plan": lambda store: store.deploy(("staging", "production")),
    "target": lambda store: store.plan_deploy("staging", "production", target="production"),
    "variables": lambda store: store.plan_deploy("staging", "production", variables=["A"]),
    "retain": lambda store: store.backup("loki", "production", retain=7),
    "target of a backup": lambda store: store.backup("loki", "production", target="bucket"),
    "backup": lambda store: store.verify_backup(None),
    "backup to plan": lambda store: store.plan_restore(7),
    "backup to restore": lambda store: store.restore(None),
    "expected revisions": lambda store: store.restore_environment("backups/production/x", expect_revisions=7),
    "keep": lambda store: store.prune_backups("production", keep="1"),
    "older_than": lambda store: store.prune_backups("production", older_than=7),
    "keep_revisions": lambda store: store.collect_garbage("production", keep_revisions="1"),
    "garbage's older_than": lambda store: store.collect_garbage("production", keep_revisions=1, older_than=7),
    "choose": lambda store: store.repair("production", choose=["x"]),
    "status' environment": lambda store: store.status(7),
    "fsck's environment": lambda store: store.fsck(None),
}


@pytest.mark.parametrize("call", WRONG_TYPES.values(), ids=WRONG_TYPES)
async def test_an_argument_of_the_wrong_type_is_refused_before_anything_is_sent(call: Callable[[Any], Any]) -> None:
    with pytest.raises(InvalidRequest):
        await call(ConfigStore(Untouchable()))


async def test_an_invalid_interval_is_refused_immediately() -> None:
    with pytest.raises(InvalidOption):
        ConfigStore(Untouchable()).watch("production", interval=cast("Any", "10"))


async def test_validating_nothing_is_refused() -> None:
    with pytest.raises(InvalidOption):
        await ConfigStore(Untouchable()).validate("loki", files={})


@pytest.mark.parametrize("prefix", ["x", "/x/", "a//b/", "../x/", "x" * 600 + "/"])
def test_an_invalid_prefix_is_refused_as_such(prefix: str) -> None:
    with pytest.raises(InvalidKey, match="prefix"):
        ConfigStore(MemoryObjects(), prefix)


async def test_an_upload_to_a_missing_bucket_is_an_error(moto: Server, bucket_name: str) -> None:
    async with make_manager(moto) as s3:
        with pytest.raises(BucketNotFound) as missing:
            await s3.configs(bucket_name).upload("loki", "production", LOKI)

    assert missing.value.operation == "download_file"


@pytest.mark.parametrize("bad", [
    pytest.param("a: &a [x]\n" + "".join(f"b{n}: &b{n} [{', '.join(['*a'] * 9)}]\n".replace("*a", f"*b{n-1}" if n else "*a") for n in range(20)), id="aliases"),
    pytest.param("[" * 60_000, id="nesting"),
    pytest.param("a: 1\na: 2\n", id="duplicate"),
    pytest.param(b"\xff\xfe\xfa", id="not UTF-8"),
    pytest.param(b"a: \x00\n", id="NUL"),
])  # fmt: skip
async def test_a_hostile_document_is_refused_before_anything_is_sent(bad: str | bytes) -> None:
    with pytest.raises(ConfigInvalid):
        await ConfigStore(Untouchable()).upload("prometheus", "production", bad)


async def test_the_error_for_a_missing_file_lists_the_existing_ones(store: ConfigStore) -> None:
    await store.upload("loki", "production", LOKI)

    with pytest.raises(ConfigNotFound, match=r"loki\.yaml"):
        await store.download("loki", "production", "other.yaml")
    with pytest.raises(ConfigNotFound, match="revision 9"):
        await store.download("loki", "production", revision=9)
    with pytest.raises(ConfigNotFound, match="no configuration"):
        await store.download("grafana", "production")
    with pytest.raises(ConfigNotFound, match="no environment"):
        await store.download("grafana", "staging")


async def test_removing_every_file_is_refused_unless_requested_explicitly(store: ConfigStore) -> None:
    await store.upload("loki", "production", LOKI)

    with pytest.raises(InvalidOption, match="no file would be left"):
        await store.upload("loki", "production", remove=["loki.yaml"])
    with pytest.raises(ConfigNotFound, match="nothing"):
        await store.upload("loki", "production", remove=["nothing.yaml"])


class Untouchable(MemoryObjects):
    """A bucket to which nothing may be sent."""

    def __getattribute__(self, name: str) -> object:
        if name in ("read", "head", "put", "copy", "delete", "list", "list_folders", "versions"):
            raise AssertionError(f"{name} was called")
        return super().__getattribute__(name)


@pytest.mark.parametrize(
    ("refused", "error"),
    [
        (lambda store: store.upload("loki", "new", LOKI, expect_revision=3), RevisionConflict),
        (lambda store: store.upload("loki", "new", remove=["a.yaml"]), ConfigNotFound),
    ],
    ids=["another revision expected", "nothing to remove"],
)
async def test_a_refused_first_write_leaves_no_environment(
    store: ConfigStore, bucket_objects: ObjectStore, refused: Callable[[ConfigStore], Awaitable[object]], error: type
) -> None:
    with pytest.raises(error):
        await refused(store)

    assert await store.environments() == ()
    assert [info.key async for info in bucket_objects.list("")] == []
