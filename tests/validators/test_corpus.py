"""Agreement with the real loaders on files whose verdicts are known, and the lines they name."""

import csv
import os
import re
from pathlib import Path

import pytest

from apm_s3.validators import validate_config

_BESIDE = Path(__file__).parents[2].parent / "shared" / "validation" / "corpus"
CORPUS = Path(os.environ.get("APM_S3_CORPUS", _BESIDE))
"""Made by `python -m tools.corpus`; see docs/when-a-tool-releases.md."""
KINDS = {
    "prometheus": ("prometheus", "config"),
    "prom-rules": ("prometheus", "rules"),
    "alertmanager": ("alertmanager", "config"),
    "loki": ("loki", "config"),
    "jaeger-v2": ("jaeger", "config"),
    "jaeger-sampling": ("jaeger", "sampling"),
    "jaeger-ui": ("jaeger", "ui"),
    "grafana-ini": ("grafana", "ini"),
    "grafana-provisioning": ("grafana", "provisioning"),
    "grafana-dashboard": ("grafana", "dashboard"),
}
LINES = ("prometheus", "prom-rules", "alertmanager", "loki")
"""The tools whose messages name lines."""

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="APM_S3_CORPUS names no labelled corpus")


def files(tool):
    with (CORPUS / "manifest.tsv").open() as manifest:
        rows = list(csv.DictReader(manifest, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [row for row in rows if row["tool"] == tool]


def report(row):
    tool, kind = KINDS[row["tool"]]
    return validate_config(tool, (CORPUS / row["file"]).read_bytes(), kind=kind)


@pytest.mark.parametrize("tool", KINDS)
def test_every_verdict_equals_that_of_the_real_loader(tool):
    wrong = [row["file"] for row in files(tool) if report(row).ok != (row["label"] == "good")]

    assert wrong == []


@pytest.mark.parametrize("tool", LINES)
def test_the_line_equals_the_one_that_the_real_loader_names(tool):
    right, wrong = 0, []
    for row in files(tool):
        named = re.findall(r"(?:line |FILE: )(\d+)", row["real_tool_error"]) if row["label"] == "bad" else []
        lines = {int(line) for line in named} - {0}
        if not lines:
            continue
        if lines <= {issue.line for issue in report(row).errors}:
            right += 1
        else:
            wrong.append(row["file"])

    assert right >= 0.95 * (right + len(wrong)), wrong


@pytest.mark.parametrize("tool", KINDS)
def test_the_kind_of_every_file_is_inferred(tool):
    wrong = []
    for row in files(tool):
        text = (CORPUS / row["file"]).read_bytes()
        inferred = validate_config(KINDS[tool][0], text, name=Path(row["file"]).name).kind
        if row["label"] == "good" and inferred != KINDS[tool][1]:
            wrong.append(row["file"])

    assert len(wrong) <= 0.02 * len(files(tool)), wrong
