"""Agreement with promtool on random mutations of valid files, for its own release.

Debian's promtool is older than the release that is checked by default, so that its version is given as the target. What
still differs for a known reason is listed in `REASONS`.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from apm_s3.validators import validate_config
from tests.validators.generated import configurations
from tests.validators.mutations import mutations

DATA = Path(__file__).parent / "data" / "prometheus"
CORPUS = Path(__file__).parents[2].parent / "shared" / "validation" / "corpus"
COMMANDS = {"config": ["config", "--syntax-only", "--lint=none"], "rules": ["rules", "--lint=none"]}
REASONS = {
    "Debian builds promtool without these": re.compile(r"(azure|consul|kuma|nomad)_sd_configs|azuread|google_iam"),
    "before 3.0 record, alert and expr are raw nodes, so that null, tags and mappings pass": re.compile(
        r"^[ -]*['\"]?(record|alert|expr)['\"]?:[ \t]*(null|~|!!\w+ .*|\{.*|\[.*|)\s*(#.*)?$", re.MULTILINE
    ),
}
pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


@pytest.fixture(scope="module")
def release():
    shown = subprocess.run(["promtool", "--version"], capture_output=True, text=True, timeout=30, check=True)
    return re.search(r"version (\d+\.\d+)", shown.stdout + shown.stderr)[1]


def verdicts(kind, texts, folder):
    """Whether promtool accepts each of `texts`."""
    paths = []
    for index, text in enumerate(texts):
        paths.append(folder / f"{index}.yml")
        paths[-1].write_text(text, encoding="utf-8")
    good = {}
    for start in range(0, len(paths), 200):
        good.update(ask(kind, [str(path) for path in paths[start : start + 200]]))
    return [good[str(path)] for path in paths]


def ask(kind, paths):
    """promtool's verdict by path; it panics on some files, which counts as refused, and then says nothing of the rest."""
    command = ["promtool", "check", *COMMANDS[kind], *paths]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if "goroutine" in shown.stderr and len(paths) > 1:
        middle = len(paths) // 2
        return ask(kind, paths[:middle]) | ask(kind, paths[middle:])
    parts = re.split(r"^Checking (\S+)$", shown.stdout, flags=re.MULTILINE)
    said = {name: "SUCCESS" in outcome for name, outcome in zip(parts[1::2], parts[2::2], strict=True)}
    return {path: said.get(path, False) for path in paths}


def disagreements(kind, texts, release, folder):
    """Texts on which promtool and we differ, with what promtool says; and how many have a known reason."""
    unexplained, explained = [], 0
    for text, good in zip(texts, verdicts(kind, texts, folder), strict=True):
        report = validate_config("prometheus", text, kind=kind, target_version=release)
        if report.ok == good:
            continue
        if any(pattern.search(text) for pattern in REASONS.values()):
            explained += 1
        else:
            unexplained.append((text, good, str(report)))
    return unexplained, explained


def own(kind):
    names = ["rules.yml"] if kind == "rules" else ["full.yml", "minimal.yml"]
    return [(DATA / name).read_text("utf-8") for name in names]


def of_corpus(kind):
    folder = CORPUS / ("prometheus" if kind == "config" else "prom-rules") / "good"
    found = sorted(path for path in folder.glob("*") if path.stat().st_size < 12_000)
    texts = [path.read_text("utf-8", errors="replace") for path in found]
    return [text for text in texts if "\ufffd" not in text]


@pytest.mark.parametrize("kind", ["config", "rules"])
def test_promtool_accepts_the_valid_files(kind, release, tmp_path):
    assert disagreements(kind, own(kind), release, tmp_path) == ([], 0)


@pytest.mark.parametrize("kind", ["config", "rules"])
def test_mutated_files_get_the_verdict_of_promtool(kind, release, tmp_path):
    texts = mutations(own(kind), seed=20, count=400)

    unexplained, _ = disagreements(kind, texts, release, tmp_path)

    assert len(unexplained) <= 0.001 * len(texts), unexplained[:3]


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["config", "rules"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_thousands_of_mutated_files_get_the_verdict_of_promtool(kind, seed, release, tmp_path):
    texts = mutations(of_corpus(kind) or own(kind), seed=seed, count=4000)

    unexplained, explained = disagreements(kind, texts, release, tmp_path)

    assert len(unexplained) + explained <= 0.1 * len(texts)
    assert len(unexplained) <= 0.001 * len(texts), unexplained[:3]


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_unsuitable_values_in_every_field_get_the_verdict_of_promtool(release, tmp_path):
    target = tuple(int(part) for part in release.split("."))
    documents = configurations(4, 8000, target, REASONS["Debian builds promtool without these"])
    texts = [json.dumps(document) for document in documents]

    unexplained, _ = disagreements("config", texts, release, tmp_path)

    assert len(unexplained) <= 0.001 * len(texts), unexplained[:3]
