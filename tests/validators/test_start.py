"""Importing the validators is fast, because command-line programs wait for it."""

import subprocess
import sys

import pytest

from tests.processes import unmeasured


def loaded_by(code: str) -> set[str]:
    code += "\nimport sys\nprint(*sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=unmeasured())
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("code", "rare"),
    [
        (
            "import apm_s3.validators",
            ("asyncio", "difflib", "hashlib", "apm_s3.validators._query", "apm_s3.validators._tools.prometheus"),
        ),
        (
            "from apm_s3.validators import validate_config\nassert validate_config('prometheus', '{}').ok",
            ("asyncio", "difflib", "apm_s3.validators._secrets"),
        ),
    ],
    ids=["import", "a valid document"],
)
def test_rarely_used_modules_are_not_imported_at_the_start(code: str, rare: tuple[str, ...]) -> None:
    assert loaded_by(code).isdisjoint(rare)
