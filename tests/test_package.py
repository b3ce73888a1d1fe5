"""What users get when they install the package."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import apm_s3

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = (
    "aioboto3",
    "moto",
    "opentelemetry",
    "prometheus_client",
    "pytest",
    "pythonjsonlogger",
    "re2",
    "rich",
    "click",
)

WITHOUT_EXTRAS = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EXTRAS!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
"""
"""As on a machine without any extra."""


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_importing_the_package_imports_no_extra() -> None:
    done = python(f"import apm_s3, sys; print(sorted(set(sys.modules) & set({EXTRAS!r})))")

    assert done.stdout == "[]\n", done.stderr


def test_every_public_name_is_available_without_any_extra() -> None:
    done = python(WITHOUT_EXTRAS + "import apm_s3\nfor name in apm_s3.__all__: getattr(apm_s3, name)\nprint('good')")

    assert done.stdout == "good\n", done.stderr


def test_validation_works_without_any_extra() -> None:
    done = python(
        WITHOUT_EXTRAS
        + "from apm_s3 import validate_config\n"
        + "print(validate_config('prometheus', 'scrape_configs: [{job_name: a}]').ok)"
    )

    assert done.stdout == "True\n", done.stderr


def test_the_command_line_without_its_extra_says_what_to_install() -> None:
    done = python(WITHOUT_EXTRAS + "from apm_s3.cli import main\nmain()")

    assert done.returncode == 2
    assert "pip install 'apm-s3[cli]'" in done.stderr


def test_the_wheel_contains_types_data_and_examples(wheel: zipfile.ZipFile) -> None:
    packed = set(wheel.namelist())
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "apm_s3").rglob("*") if path.is_file()}
    samples = {
        f"apm_s3/cli/configs/{path.relative_to(ROOT / 'examples' / 'configs').as_posix()}"
        for path in (ROOT / "examples" / "configs").rglob("*")
        if path.is_file()
    }

    assert "apm_s3/py.typed" in packed
    assert samples <= packed
    assert {name for name in sources if "__pycache__" not in name} <= packed


def test_the_source_distribution_contains_what_its_tests_read(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    folders = ("apm_s3", "benchmarks", "docs", "examples", "tests", "tools")
    wanted = {
        path.relative_to(ROOT).as_posix()
        for path in [*ROOT.glob("*.*"), *(path for folder in folders for path in (ROOT / folder).rglob("*"))]
        if path.is_file()
        and path.suffix != ".pyc"
        and not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
        # What `nox -s docs` built.
        and not path.is_relative_to(ROOT / "docs" / "_build")
    }

    assert wanted <= packed
    assert not any(name.startswith("docs/_build") for name in packed)


def test_the_version_is_defined_in_one_place(wheel: zipfile.ZipFile) -> None:
    metadata = wheel.read(f"apm_s3-{apm_s3.__version__}.dist-info/METADATA").decode()

    assert f"\nVersion: {apm_s3.__version__}\n" in metadata


def test_the_extra_all_leaves_out_only_aioboto3() -> None:
    extras = PROJECT["optional-dependencies"]

    assert extras["all"] == [f"apm-s3[{','.join(name for name in extras if name not in ('aioboto3', 'all'))}]"]
