"""What is checked of files that are none of the tool's kinds, and of bundles without their main file."""

from __future__ import annotations

import pytest

from apm_s3.configs import ConfigStore
from apm_s3.errors import ConfigInvalid
from apm_s3.testing import MemoryObjects
from tests.seams.store import forget_what_was_logged

RULES = "groups: [{name: a, rules: [{record: x, expr: up}]}]\n"


@pytest.fixture
def store() -> ConfigStore:
    return ConfigStore(MemoryObjects())


async def test_a_readme_is_stored_however_it_is_uploaded(store: ConfigStore) -> None:
    await store.upload("prometheus", "staging", "scrape_configs: []\n")
    await store.upload("prometheus", "staging", "hello", name="README.md")
    await store.upload("prometheus", "staging", files={"prometheus.yml": "", "README.md": "hello"})
    assert (await store.download("prometheus", "staging", name="README.md")).text == "hello"
    assert (await store.validate("prometheus", "hello", name="README.md")).ok


async def test_the_main_file_is_always_validated_as_such(store: ConfigStore) -> None:
    with pytest.raises(ConfigInvalid):
        await store.upload("grafana", "staging", "[server\n")


async def test_a_bundle_without_its_main_file_causes_a_warning(store: ConfigStore) -> None:
    release = await store.upload("prometheus", "staging", files={"rules/a.yml": RULES})
    assert any("prometheus.yml is not in the bundle" in warning for warning in release.warnings)
    whole = await store.upload("prometheus", "staging", "rule_files: [rules/a.yml]\n")
    assert whole.warnings == ()


async def test_validation_reports_the_secrets_that_an_upload_would_warn_about(store: ConfigStore) -> None:
    text = "remote_write:\n- url: http://a/\n  basic_auth: {username: u, password: hunter2-Zq9}\n"

    report = await store.validate("prometheus", text)
    whole = await store.validate("prometheus", files={"prometheus.yml": text, "x.txt": "token: hunter2-Zq9"})
    release = await store.upload("prometheus", "staging", text)

    (warning,) = report.warnings
    assert (warning.rule, warning.path, warning.line) == ("plain-text-secret", "remote_write[0].basic_auth.password", 3)
    assert [issue.file for issue in whole.warnings] == ["prometheus.yml", "x.txt"]
    assert release.warnings == ("prometheus.yml:3: remote_write[0].basic_auth.password: password in plain text",)
    assert "hunter2" not in repr((report, whole, release))


async def test_secrets_of_files_that_an_upload_leaves_alone_stay_among_its_warnings(store: ConfigStore) -> None:
    files = {"prometheus.yml": "scrape_configs: []\n", "b.txt": "token: hunter2-Zq9", "a.txt": "password: Zq9-hunter2"}
    first = await store.upload("prometheus", "staging", files=files)
    second = await store.upload("prometheus", "staging", "hello", name="b.txt")
    third = await store.upload("prometheus", "staging", "hello", name="README.md")

    assert first.warnings == ("b.txt:1: secret in plain text", "a.txt:1: secret in plain text")
    assert second.warnings == third.warnings == first.warnings[1:]


async def test_an_upload_searches_unchanged_files_again_if_not_all_warnings_were_stored(store: ConfigStore) -> None:
    secrets = "".join(f"password: hunter2-Zq{number}\n" for number in range(250))
    first = await store.upload("prometheus", "staging", files={"prometheus.yml": "", "a.txt": secrets})
    second = await store.upload("prometheus", "staging", "hello", name="README.md")

    assert first.warnings[200:] == second.warnings[200:] == ("... and 50 more",)


async def test_skipped_checks_are_listed_in_the_warnings_and_logged_once(
    store: ConfigStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_what_was_logged(monkeypatch)
    variable = "${JAEGER}\n"

    releases = [
        await store.upload("jaeger", "staging", files={"config.yaml": variable, "a.txt": text}) for text in "ab"
    ]

    said = "skipped: the whole configuration is a variable, which is only known when it is expanded"
    assert [[line for line in release.warnings if "skipped" in line] for release in releases] == [[said], [said]]
    assert [record.getMessage() for record in caplog.records] == [said]
