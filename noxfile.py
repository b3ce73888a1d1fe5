"""The checks: `nox` runs the default sessions, `nox -l` lists all of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2026.8.10"
# Two sessions run side by side, because most use one core part of the time; each prints its output when it ends.
# The longest starts first.
nox.options.sessions = ["tests", "lint", "types", "contracts", "loops", "clients_old", "examples"]
nox.options.parallel = 2
nox.options.reuse_venv = "yes"
nox.options.default_venv_backend = "virtualenv"

PROJECT = nox.project.load_toml("pyproject.toml")
OLDEST = ("aioboto3==15.5.0", "aiobotocore==2.25.1", "fastapi==0.115.0")
# Tests that depend on the version of aiobotocore, not only on the transports that use it; or on that of FastAPI.
CLIENTS = (
    "contract",
    "fastapi/test_authorisation.py",
    "fastapi/test_files.py",
    "fastapi/test_lifespan.py",
    "fastapi/test_openapi.py",
    "s3/buckets/test_buckets.py",
    "s3/buckets/test_creation.py",
    "s3/buckets/test_documents.py",
    "s3/buckets/test_settings.py",
    "s3/objects/test_multipart.py",
    "s3/objects/test_objects.py",
    "s3/test_clients.py",
    "s3/transports/test_credential_clients.py",
    "s3/transports/test_credentials.py",
    "s3/transports/test_exception_tables.py",
    "s3/transports/test_resigning.py",
    "s3/transports/test_routes.py",
    "s3/transports/test_secrets.py",
    "test_manager.py",
    "test_examples.py::test_the_example_program_runs_to_the_end[shared_session.py]",
)
# Tests that need neither SeaweedFS nor a program from outside PyPI.
SERVERLESS = (
    "validators",
    "wire",
    "test_errors.py",
    "test_metrics.py",
    "test_package.py",
    "test_public_names.py",
    "test_tasks.py",
)
# Tests that depend on the event loop: connections, cancellation, closing, stalls, and failing servers.
LOOP_SUITES = (
    "tests/contract",
    "tests/s3/transports/test_connection.py",
    "tests/s3/test_runner.py",
    "tests/s3/test_pool.py",
    "tests/s3/test_metrics_of_calls.py",
    "tests/faults/test_cancellation.py",
    "tests/faults/test_closing.py",
    "tests/faults/test_redirects.py",
    "tests/fastapi/test_supervision.py",
    "tests/test_tasks.py",
)
# Where asyncio's debug mode can find something: coroutines that nobody awaits, calls from other threads, transports and
# results that nobody looks after. What S3 answers to a verb does not depend on it, and took most of the time.
DEBUG_SUITES = tuple(
    suite for suite in LOOP_SUITES if suite not in ("tests/contract", "tests/faults/test_redirects.py")
)
# Both data paths meet the debug mode in every verb. Whole releases do only on the faster one: boto's take a minute.
DEBUG_CHOICE = ("-k", "not (release and boto)")
# What clients and event loops do is told by SeaweedFS. In these sessions, moto would only repeat it slowly.
WITHOUT_MOTO = "not (test_transports and moto)"
# Programs that run with the demo's dependencies alone, in a session of their own.
PROGRAMS = "example_program or in_the_readme_run"
# Bytecode is written for the modules that are imported, not for all that is installed: most of an installation's time.
PIP = ("--no-compile",)
# At most four, because each worker starts its own S3 servers.
PYTEST = ("python", "-m", "pytest", "-ra", "--durations=30", "-n", "auto", "--maxprocesses", "4", "--dist", "worksteal")


def install(session: nox.Session, package: str, *groups: str) -> None:
    """Install the package and the tools of `groups`."""
    session.install(*PIP, package, *nox.project.dependency_groups(PROJECT, *groups))


def install_oldest(session: nox.Session) -> None:
    """Install the package with the oldest aiobotocore, and with aioboto3, which pins it."""
    session.install(*PIP, ".[all,aioboto3]", *OLDEST, *nox.project.dependency_groups(PROJECT, "test"))


@nox.session(allow_parallel=True)
def lint(session: nox.Session) -> None:
    """Check style and common mistakes with ruff, as linter and as formatter, and spelling with codespell."""
    session.install(*nox.project.dependency_groups(PROJECT, "lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("codespell")


@nox.session(allow_parallel=True)
def types(session: nox.Session) -> None:
    """Run mypy over the package, the examples and a caller of the public API; every public name needs a type."""
    install(session, ".[all]", "types")
    session.run("mypy")
    session.run("mypy", "examples", "tools", "tests/typed_api.py")
    session.run("pyright", "--verifytypes", "apm_s3", "--ignoreexternal")


@nox.session(allow_parallel=True)
def contracts(session: nox.Session) -> None:
    """Check the import contracts: the layers of the package, and where its dependencies are used."""
    session.install(*nox.project.dependency_groups(PROJECT, "contracts"))
    session.run("lint-imports", "--no-cache")


@nox.session(allow_parallel=True)
def tests(session: nox.Session) -> None:
    """Run the test suite, without the programs of `examples`, on the newest aiobotocore that the package allows."""
    install(session, ".[all]", "test")
    session.run(*PYTEST, "-k", f"not ({PROGRAMS})", *session.posargs)


@nox.session(allow_parallel=True)
def clients_old(session: nox.Session) -> None:
    """Run the tests that depend on aiobotocore's and FastAPI's versions on the oldest that the package allows."""
    install_oldest(session)
    # The data path `signed` asks aiobotocore for routes and credentials alone, which have tests of their own.
    chosen = ("-k", f"{WITHOUT_MOTO} and not (test_transports and signed)")
    session.run(*PYTEST, *(f"tests/{path}" for path in CLIENTS), *chosen, *session.posargs)


@nox.session
def tests_old(session: nox.Session) -> None:
    """Run the whole test suite on the oldest aiobotocore that the package allows, and with aioboto3, which pins it."""
    install_oldest(session)
    session.run(*PYTEST, *session.posargs)


@nox.session(allow_parallel=True)
def loops(session: nox.Session) -> None:
    """Run the tests that depend on the event loop, on uvloop (`uvicorn[standard]`) and in asyncio's debug mode."""
    install(session, ".[all]", "test")
    session.run(*PYTEST, "-p", "tests.on_uvloop", *LOOP_SUITES, "-k", WITHOUT_MOTO, *session.posargs)
    session.run(*PYTEST, "-p", "tests.in_debug_mode", *DEBUG_SUITES, *DEBUG_CHOICE, *session.posargs)


@nox.session(python=["3.11", "3.12", "3.13", "3.14"])
def pythons(session: nox.Session) -> None:
    """Run the test suite on every supported Python that is installed here."""
    install(session, ".[all]", "test")
    session.run(*PYTEST, *session.posargs)


@nox.session
def serverless(session: nox.Session) -> None:
    """Run the tests that need no server, for systems on which the servers do not run."""
    install(session, ".[all]", "test")
    session.run(*PYTEST, *(f"tests/{path}" for path in SERVERLESS), *session.posargs)


@nox.session(allow_parallel=True)
def examples(session: nox.Session) -> None:
    """Run the demo, the examples and the README's code, with only the extra `demo` installed."""
    install(session, ".[demo]", "test")
    session.run("apm-s3", "demo")
    session.run(*PYTEST, "tests/test_examples.py", "tests/test_readme.py", "-k", PROGRAMS, *session.posargs)


@nox.session(allow_parallel=True)
def docs(session: nox.Session) -> None:
    """Build the documentation into `docs/_build`; a warning, such as a link that leads nowhere, is an error."""
    install(session, ".[all]", "docs")
    session.run("sphinx-build", "-W", "--keep-going", "-q", "-b", "html", "docs", "docs/_build")


@nox.session
def screenshots(session: nox.Session) -> None:
    """Make the pictures of the command line in docs/images again, from real commands on the embedded server."""
    install(session, ".[demo]")
    session.run("python", "-m", "tools.screenshots", "docs/images")


@nox.session
def packages(session: nox.Session) -> None:
    """Build wheel and sdist; install them without extras, with each, and with all; run a program of a user on them."""
    install(session, ".[all]", "test", "types", "release")
    folder = Path(session.create_tmp()).resolve()
    for old in folder.iterdir():
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    session.run("python", "-m", "build", "--outdir", str(folder))
    wheel, sdist = (str(next(folder.glob(pattern))) for pattern in ("*.whl", "*.tar.gz"))
    session.run("twine", "check", "--strict", wheel, sdist)
    session.run("python", "-m", "tools.installations", wheel, sdist)

    # What a user's type checker sees: the wheel, from outside of this folder.
    session.install(*PIP, "--force-reinstall", "--no-deps", wheel)
    user = folder / "user"
    user.mkdir()
    shutil.copy("tests/user_program.py", user)
    (user / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    shutil.unpack_archive(sdist, folder, filter="data")
    with session.chdir(user):
        session.run("mypy", "--strict", "user_program.py")
        session.run("pyright", "-p", ".")
        session.run("python", "-W", "error", "-X", "dev", "user_program.py")
    # The tests of the sdist, from the sdist.
    with session.chdir(next(folder.glob("*/PKG-INFO")).parent):
        session.run("python", "-m", "pytest", "-q", "--collect-only", "-qq")
        session.run(*PYTEST, *(f"tests/{path}" for path in SERVERLESS))


@nox.session
def release(session: nox.Session) -> None:
    """Build what a release is made of into `dist`: wheel, sdist, and a list of components (SBOM) with all extras."""
    session.install(*nox.project.dependency_groups(PROJECT, "release"))
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", "dist")
    wheel, sdist = (str(next(Path("dist").glob(pattern))) for pattern in ("*.whl", "*.tar.gz"))
    session.run("twine", "check", "--strict", wheel, sdist)
    place = str(Path(session.create_tmp(), "all"))
    session.run("python", "-m", "venv", "--clear", "--without-pip", place)
    session.run("python", "-m", "pip", "--python", place, "install", "-q", f"{wheel}[all]")
    components = f"{sdist.removesuffix('.tar.gz')}.cdx.json"
    session.run("cyclonedx-py", "environment", "-o", components, place)


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the test suite, programs and other processes included, and fail below 95 % of lines and branches."""
    install(session, ".[all]", "test", "coverage")
    session.run("coverage", "erase")
    session.run("coverage", "run", *PYTEST[1:], *session.posargs)
    session.run("coverage", "combine", "-q")
    session.run("coverage", "report", "--skip-covered", "--sort=cover", "--fail-under=95")


@nox.session
def mutation(session: nox.Session) -> None:
    """Change the modules without I/O in many small ways, one at a time, and see which changes their tests miss."""
    install(session, ".[all]", "test")
    session.run("python", "-m", "tools.mutation", *session.posargs)


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Run all benchmarks and write docs/benchmarks.md; `-- quick` takes ten minutes, `-- small --rounds 3` runs one."""
    install(session, ".[all]", "test", "benchmarks")
    chosen = {(): ["all"], ("quick",): ["all", "--quick"]}.get(tuple(session.posargs), session.posargs)
    session.run("python", "-m", f"benchmarks.{chosen[0]}", *chosen[1:])


@nox.session
def soak(session: nox.Session) -> None:
    """Run mixed work with faults for ten minutes: nothing lost, nothing left, memory flat, figures right."""
    install(session, ".[all]", "test")
    session.run("python", "-m", "benchmarks.soak", *session.posargs)


@nox.session
def long(session: nox.Session) -> None:
    """Run slow tests: millions of interleavings, large transfers, 5 000 examples per property."""
    install(session, ".[all]", "test", "schemas")
    session.run(*PYTEST, "-m", "long", "--timeout", "7200", *session.posargs)
    properties = ("-m", "hypothesis and not long", "--hypothesis-profile", "long")
    session.run(*PYTEST, *properties, "--timeout", "7200", *session.posargs)
