"""Probable mistakes in overlays are refused by the upload, or reported by the plan."""

from __future__ import annotations

import pytest

from apm_s3.configs import ConfigStore
from apm_s3.errors import ConfigInvalid, InvalidOption
from apm_s3.reports import Severity
from apm_s3.testing import MemoryObjects
from tests.seams.content import OVERLAY, apply_overlay, check_overlay

MAIN = "scrape_configs:\n- job_name: node\n- job_name: mysql\n"


@pytest.fixture
def store() -> ConfigStore:
    return ConfigStore(MemoryObjects())


def told(overlay: str, main: str = MAIN) -> list[tuple[str, str, str | None, Severity]]:
    notes = apply_overlay({"prometheus.yml": main.encode()}, overlay.encode()).notes
    return [
        (note.path.removeprefix('files["prometheus.yml"].'), note.message, note.hint, note.severity) for note in notes
    ]


BROKEN = [
    "- a list",
    "variable: {A: 1}",
    "variables: {a-b: x}",
    "variables: {A: [x]}",
    "files: {prometheus.yml: text}",
    "files: {../x: {}}",
    "files: {.apm/x: {}}",
    "files: {logo.png: {a: 1}}",
    "files: {a.yml: {$patch: delete}}",
    "files: {a.yml: {l: [{name: x, $patch: remove}]}}",
    "files: {a.yml: {l: [{$patch: delete}]}}",
    "files: {grafana.ini: {a: {b: [1]}}}",
    "files: {a.yml: {x: 1}, a.yml: {x: 2}}",
    "variables: {A: null}\nfiles: {a.yml: ${A}}",
    "files: [",
]


@pytest.mark.parametrize("overlay", BROKEN)
async def test_an_invalid_overlay_is_refused_by_every_kind_of_upload(store: ConfigStore, overlay: str) -> None:
    await store.upload("prometheus", "staging", MAIN)

    with pytest.raises(ConfigInvalid) as alone:
        await store.upload("prometheus", "staging", overlay, name=OVERLAY)
    with pytest.raises(ConfigInvalid):
        await store.upload("prometheus", "staging", files={"prometheus.yml": MAIN, OVERLAY: overlay})
    report = await store.validate("prometheus", overlay, name=OVERLAY)

    assert not report.ok
    assert OVERLAY in str(alone.value)
    assert (await store.history("prometheus", "staging"))[0].revision == 1


@pytest.mark.parametrize(
    "overlay",
    [
        "",
        "variables: [A]\nfiles: {a.yml: {x: 'a-${A}'}}",
        "variables: {A: null, B: c}\nfiles: {a.yml: {x: '${A}', y: '${B}'}, b.json: null}",
        "files: {a.yml: {l: [{name: x, $patch: delete}, {name: y}]}}",
    ],
)
def test_a_valid_overlay_is_accepted_without_warnings(overlay: str) -> None:
    assert check_overlay(overlay.encode()) == ()


async def test_an_undeclared_variable_in_an_overlay_is_reported_by_the_upload(store: ConfigStore) -> None:
    await store.upload("prometheus", "staging", MAIN)
    overlay = "variables: {CLUSTER: a}\nfiles:\n  prometheus.yml:\n    global: {scrape_interval: '${CLUSTR}'}\n"

    release = await store.upload("prometheus", "staging", overlay, name=OVERLAY)

    (warning,) = [line for line in release.warnings if "CLUSTR" in line]
    assert warning.startswith(f"{OVERLAY}:4:31: warning:")
    (issue,) = check_overlay(overlay.encode())
    assert (issue.rule, issue.line, issue.path) == (
        "undeclared-variable", 4, 'files["prometheus.yml"].global.scrape_interval'
    )  # fmt: skip


def test_a_variable_that_the_tool_expands_can_be_declared_as_itself() -> None:
    overlay = b"variables: {S3_KEY: '${S3_KEY}'}\nfiles: {loki.yaml: {a: '${S3_KEY}'}}\n"

    assert check_overlay(overlay) == ()
    assert apply_overlay({"loki.yaml": b"{}\n"}, overlay).files["loki.yaml"] == b"a: '${S3_KEY}'\n"


async def test_a_variable_that_is_not_replaced_is_reported_by_the_plan(store: ConfigStore) -> None:
    main = (
        "global:\n  external_labels: {a: '${HOSTNAME}'}\nscrape_configs:\n- job_name: ${NOPE}\n"
        "  relabel_configs: [{target_label: b, replacement: '${1}-${name}'}]\n"
    )
    await store.upload("prometheus", "staging", main)

    plan = await store.plan_deploy("staging", "production", create=True)

    assert [(issue.rule, issue.file, issue.line) for issue in plan.tools[0].report.warnings] == [
        ("undeclared-variable", "prometheus.yml", 4)
    ]


async def test_tools_that_expand_variables_themselves_cause_no_report(store: ConfigStore) -> None:
    await store.upload(
        "grafana", "staging", files={"datasources/a.yaml": "datasources: [{name: a, type: x, url: '${URL}'}]\n"}
    )

    plan = await store.plan_deploy("staging", "production", create=True)

    assert "undeclared-variable" not in {issue.rule for issue in plan.tools[0].report.issues}


async def test_a_value_for_a_variable_that_no_overlay_declares_is_refused(store: ConfigStore) -> None:
    await store.upload("prometheus", "staging", MAIN)
    await store.upload("prometheus", "production", files={"prometheus.yml": MAIN, OVERLAY: "variables: {CLUSTER: a}\n"})

    with pytest.raises(InvalidOption, match="CLUSTR") as refused:
        await store.plan_deploy("staging", "production", variables={"CLUSTR": "eu-1"})
    assert refused.value.hint == "did you mean CLUSTER?"
    assert (await store.plan_deploy("staging", "production", variables={"CLUSTER": "eu-1"})).tools


async def test_a_value_that_the_overlay_of_only_one_tool_declares_is_accepted(store: ConfigStore) -> None:
    for environment in ("staging", "production"):
        await store.upload("prometheus", environment, MAIN)
        await store.upload("alertmanager", environment, "route: {receiver: a}\nreceivers: [{name: a}]\n")
    await store.upload("prometheus", "production", "variables: {CLUSTER: a}\n", name=OVERLAY)

    assert len((await store.plan_deploy("staging", "production", variables={"CLUSTER": "b"})).tools) == 2


async def test_a_misspelt_item_name_is_reported_by_the_plan(store: ConfigStore) -> None:
    overlay = "files: {prometheus.yml: {scrape_configs: [{job_name: msql, scrape_interval: 5s}]}}\n"
    await store.upload("prometheus", "staging", MAIN)
    await store.upload("prometheus", "production", files={"prometheus.yml": MAIN, OVERLAY: overlay})

    plan = await store.plan_deploy("staging", "production")

    (issue,) = [each for each in plan.tools[0].report.issues if each.rule == "overlay"]
    assert (issue.severity, issue.hint) == (Severity.WARNING, "did you mean mysql?")
    assert issue.path.endswith("scrape_configs[job_name=msql]")
    result = await store.deploy(plan)
    assert any("did you mean mysql?" in warning for warning in result.releases[0].warnings)


def test_additions_and_failed_removals_of_an_overlay_are_reported() -> None:
    adds, removes = "the overlay adds this item", "there is nothing to remove"
    patch = "files: {prometheus.yml: {scrape_configs: [%s]}}"
    info, warning = Severity.INFO, Severity.WARNING

    assert told(patch % "{job_name: other}") == [("scrape_configs[job_name=other]", adds, None, info)]
    assert told(patch % "{job_name: nodes, $patch: delete}") == [
        ("scrape_configs[job_name=nodes]", removes, "did you mean node?", warning)
    ]
    assert told("files: {prometheus.yml: {global: null}}") == [("global", removes, None, info)]
    assert [note[1] for note in told("files: {rules/a.yml: null, b.yml: {}}")] == [
        "the file to remove does not exist", "the overlay adds this file"
    ]  # fmt: skip
    assert told(patch % "{job_name: node, scrape_interval: 5s}") == []
    assert told("files: {prometheus.yml: {rule_files: [a.yml], x: [{name: a}]}}") == []
