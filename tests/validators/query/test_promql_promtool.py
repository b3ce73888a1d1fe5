"""Agreement with promtool on random expressions. What still differs for a known reason is listed in `REASONS`."""

import re
import shutil
import subprocess

import pytest

from apm_s3.errors import QueryInvalid
from tests.validators.query.expressions import expressions, soups
from tests.validators.query.promtool import verdicts
from tests.validators.query.trees import promql

REASONS = {
    "promtool 2.53 takes a letter in brackets for a colon, and reads x[5m d] as x[5m:]; newer ones refuse it": re.compile(
        r"\[[^\]]*[a-z0-9][ \t\n]+[a-z]"
    ),
}
pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


@pytest.fixture(scope="module")
def release():
    shown = subprocess.run(["promtool", "--version"], capture_output=True, text=True, timeout=30, check=True)
    found = re.search(r"version (\d+)\.(\d+)", shown.stdout + shown.stderr)
    return int(found[1]), int(found[2])


def problem(text, release):
    try:
        promql(text, release)
    except QueryInvalid as exc:
        return str(exc) if 0 <= exc.offset <= exc.end <= len(text) else None
    return None


def differences(texts, release, folder):
    """Expressions on which promtool and we differ, with the reasons of both."""
    found = []
    for text, theirs in zip(texts, verdicts(texts, folder), strict=True):
        ours = problem(text, release)
        known = any(reason.search(text) for reason in REASONS.values())
        if (ours is None) != (theirs is None) and not known:
            found.append((text, theirs, ours))
    return found


def test_promtool_agrees_on_random_expressions(release, tmp_path):
    assert differences(expressions(1, 2000), release, tmp_path) == []
    assert differences(soups(1, 2000), release, tmp_path) == []


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(2, 12))
def test_promtool_agrees_on_many_random_expressions(seed, release, tmp_path):
    assert differences(expressions(seed, 20_000), release, tmp_path) == []
    assert differences(soups(seed, 20_000), release, tmp_path) == []
