"""Agreement with amtool on random mutations of valid files, for its own release."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from apm_s3.validators import validate_config
from tests.validators.good import ALERTMANAGER
from tests.validators.mutations import mutations

CORPUS = Path(__file__).parents[2].parent / "shared" / "validation" / "corpus" / "alertmanager" / "good"
REASONS = {
    "Debian builds amtool 0.28 without this integration": re.compile(r"jira"),
}
_CHANGED_SINCE = re.compile(r"mattermost|incidentio|jira")

pytestmark = pytest.mark.skipif(shutil.which("amtool") is None, reason="amtool is not installed")


@pytest.fixture(scope="module")
def release():
    shown = subprocess.run(["amtool", "--version"], capture_output=True, text=True, timeout=30, check=True)
    return re.search(r"version (\d+\.\d+)", shown.stdout + shown.stderr)[1]


def verdicts(texts, folder):
    """Whether amtool accepts each of `texts`."""
    paths = [folder / f"{index}.yml" for index in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, encoding="utf-8")
    good = {}
    for start in range(0, len(paths), 200):
        batch = [str(path) for path in paths[start : start + 200]]
        shown = subprocess.run(["amtool", "check-config", *batch], capture_output=True, text=True, timeout=300)
        parts = re.split(r"^Checking '([^']+)'", shown.stdout, flags=re.MULTILINE)
        good.update({name: "SUCCESS" in outcome for name, outcome in zip(parts[1::2], parts[2::2], strict=True)})
        if len(good) < start + len(batch):
            # amtool crashed on one of them, so each is checked by itself.
            for path in batch:
                if path not in good:
                    one = subprocess.run(["amtool", "check-config", path], capture_output=True, text=True, timeout=60)
                    good[path] = one.returncode == 0
    return [good[str(path)] for path in paths]


def disagreements(texts, release, folder):
    """Texts on which amtool and we differ, with what we say; and how many have a known reason."""
    unexplained, explained = [], 0
    for text, good in zip(texts, verdicts(texts, folder), strict=True):
        report = validate_config("alertmanager", text, kind="config", target_version=release)
        if report.ok == good:
            continue
        if any(pattern.search(text) for pattern in REASONS.values()):
            explained += 1
        else:
            unexplained.append((text, good, str(report)))
    return unexplained, explained


def own():
    lines = ALERTMANAGER.splitlines(keepends=True)
    return ["".join(line for line in lines if not _CHANGED_SINCE.search(line))]


def of_corpus():
    found = sorted(path for path in CORPUS.glob("*") if path.stat().st_size < 12_000)
    return [path.read_text("utf-8") for path in found]


def test_amtool_accepts_the_valid_file(release, tmp_path):
    assert disagreements(own(), release, tmp_path) == ([], 0)


def test_mutated_files_get_the_verdict_of_amtool(release, tmp_path):
    texts = mutations(own(), seed=20, count=400)

    unexplained, _ = disagreements(texts, release, tmp_path)

    assert len(unexplained) <= 0.001 * len(texts), unexplained[:3]


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_thousands_of_mutated_files_get_the_verdict_of_amtool(seed, release, tmp_path):
    texts = mutations(of_corpus() or own(), seed=seed, count=4000)

    unexplained, explained = disagreements(texts, release, tmp_path)

    assert len(unexplained) + explained <= 0.1 * len(texts)
    assert len(unexplained) <= 0.001 * len(texts), unexplained[:3]
