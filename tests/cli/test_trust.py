"""`apm-s3 trust`: a project file decides nothing about credentials and places before its user trusts its content."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from tests.cli.kit import Ran, Shell
from tests.faults.server import Exchange, FaultyS3

HOSTILE = 'endpoint-url = "http://127.0.0.1:1"\n'
SETTINGS = {
    "endpoint-url": "http://127.0.0.1:1",
    "profile": "theirs",
    "region": "theirs-1",
    "bucket": "their-bucket",
    "prefix": "theirs/",
    "bucket-owner": "123456789012",
}


def write(directory: Path, text: str, name: str = "apm-s3.toml") -> Path:
    file = directory / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o644)
    return file


def refused(ran: Ran, file: Path, name: str) -> bool:
    """Whether the command ended with the message about a file without trust, and the command to run."""
    hint = f"hint: read the file, then run: apm-s3 trust {file}; or set "
    return ran.status == 2 and f"'{name}' from {file}" in ran.stderr and hint in ran.stderr


async def unexpected(exchange: Exchange) -> None:
    """Answers a request that must not be sent with an error that no test expects."""
    raise AssertionError(exchange.request)


@pytest.mark.parametrize("name", SETTINGS)
def test_no_setting_of_a_file_without_trust_decides_about_a_request(name: str, shell: Shell, memory: FaultyS3) -> None:
    file = write(shell.directory, f'{name} = "{SETTINGS[name]}"\nenvironment = "staging"\n')
    for variable in ("AWS_ENDPOINT_URL", "AWS_REGION", "APM_S3_BUCKET"):
        if variable.endswith(name.replace("-", "_").upper()):
            del shell.environ[variable]
    memory.will(unexpected, times=None)

    assert refused(shell("config", "backups"), file, name)


def test_a_file_is_not_used_where_options_and_the_environment_give_all_that_it_sets(shell: Shell) -> None:
    write(shell.directory, "".join(f'{name} = "{value}"\n' for name, value in SETTINGS.items()))
    bucket = shell.environ["APM_S3_BUCKET"]
    shell.environ |= {"APM_S3_PREFIX": "ours/", "AWS_PROFILE": "ours", "APM_S3_BUCKET_OWNER": "1"}
    keys = "[profile ours]\naws_access_key_id = test\naws_secret_access_key = testsecret\n"
    shell.environ["AWS_CONFIG_FILE"] = str(write(shell.directory.parent, keys, "aws"))

    assert shell.json("config", "backups", "-e", "staging") == {"backups": []}
    assert shell("object", "ls", f"s3://{bucket}").status == 0


def test_a_command_goes_on_that_uses_nothing_of_a_file_without_trust(shell: Shell) -> None:
    write(shell.directory, 'bucket = "their-bucket"\nprefix = "theirs/"\n[validate]\nfail-on = "warning"\n')
    write(shell.directory, "global: {}\n", "prometheus.yml")

    assert shell("object", "ls", f"s3://{shell.environ['APM_S3_BUCKET']}").status == 0
    assert shell("config", "validate").status == 0
    assert shell.ok("bucket", "plan", shell.environ["APM_S3_BUCKET"], "--versioning")


def test_a_trusted_file_is_used_until_a_byte_of_it_changes(shell: Shell) -> None:
    bucket = shell.environ.pop("APM_S3_BUCKET")
    text = f'bucket = "{bucket}"\nenvironment = "staging"\n'
    file = write(shell.directory, text)
    assert refused(shell("config", "backups"), file, "bucket")

    (shell.directory / "below").mkdir()
    told = shell.json("trust", "below/../apm-s3.toml")
    assert (told["path"], told["settings"]["bucket"]) == (str(file), bucket)
    assert shell.json("config", "backups") == {"backups": []}

    write(shell.directory, f"{text}#")
    assert refused(shell("config", "backups"), file, "bucket")
    write(shell.directory, text)
    assert shell("config", "backups").status == 0
    Path(told["record"]).unlink()
    assert refused(shell("config", "backups"), file, "bucket")


def test_trust_in_one_checkout_does_not_count_in_another(shell: Shell) -> None:
    text = f'bucket = "{shell.environ.pop("APM_S3_BUCKET")}"\nenvironment = "staging"\n'
    write(shell.directory, text)
    other = write(shell.directory / "other", text)
    shell.ok("trust", "apm-s3.toml")

    there = Shell(other.parent, {**shell.environ, "XDG_STATE_HOME": f"{shell.directory}.state"})
    assert refused(there("config", "backups"), other, "bucket")


def test_trust_shows_what_the_file_sets_but_no_password(local: Shell) -> None:
    write(local.directory, '[tool.apm-s3]\nbucket = "b-1"\nendpoint-url = "http://ada:hush@s3"\n', "pyproject.toml")

    ran = local.terminal("trust", "pyproject.toml")

    assert (ran.status, "hush" in ran.screen) == (0, False)
    assert "b-1" in ran.plain
    assert "http://***@s3" in ran.plain


@pytest.mark.parametrize("name", ["pyproject.toml", "."])
def test_what_is_no_project_file_cannot_be_trusted(name: str, local: Shell) -> None:
    write(local.directory, "[tool.ruff]\n", "pyproject.toml")

    ran = local("trust", name)

    assert (ran.status, "is no project file" in ran.stderr) == (2, True)


def test_trust_is_kept_outside_the_checkout_where_only_the_user_may_write(local: Shell) -> None:
    write(local.directory, HOSTILE)
    state = Path(f"{local.directory}.state")

    record = Path(local.json("trust", "apm-s3.toml")["record"])

    assert record.is_relative_to(state)
    assert [stat.S_IMODE(each.stat().st_mode) for each in (record, record.parent)] == [0o600, 0o700]
    assert list(record.parent.iterdir()) == [record]


@pytest.mark.parametrize("kind", ["folder", "record", "link"])
def test_trust_that_others_can_have_recorded_does_not_count(kind: str, shell: Shell) -> None:
    shell.environ.pop("APM_S3_BUCKET")
    file = write(shell.directory, 'bucket = "theirs"\nenvironment = "staging"\n')
    record = Path(shell.json("trust", "apm-s3.toml")["record"])
    if kind == "link":
        record.rename(record.with_name("elsewhere"))
        record.symlink_to("elsewhere")
    else:
        (record if kind == "record" else record.parent).chmod(0o777)

    assert refused(shell("config", "backups"), file, "bucket")
    again = shell("trust", "apm-s3.toml")
    assert again.status == (2 if kind == "folder" else 0)


def test_a_relative_state_directory_which_a_checkout_could_hold_is_ignored(
    local: Shell, tmp_path_factory: pytest.TempPathFactory
) -> None:
    write(local.directory, HOSTILE)
    home = tmp_path_factory.mktemp("home")
    local.environ |= {"XDG_STATE_HOME": "state", "HOME": str(home)}

    assert Path(local.json("trust", "apm-s3.toml")["record"]).is_relative_to(home / ".local" / "state")
    local.environ["HOME"] = "home"
    assert "HOME is not an absolute path" in local("trust", "apm-s3.toml").stderr


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only the superuser gives files away")
@pytest.mark.parametrize("kind", ["file", "link", "target of a link"])
def test_a_file_of_another_user_is_refused(kind: str, local: Shell) -> None:
    file = write(local.directory, '[validate]\nfail-on = "warning"\n')
    if kind != "file":
        file.rename(file.with_name("target.toml"))
        file.symlink_to("target.toml")
    os.chown(file, 12345, 12345, follow_symlinks=kind == "target of a link")

    for arguments in (["config", "validate"], ["trust", "apm-s3.toml"], ["config", "ls", "-b", "b-1", "-e", "e"]):
        ran = local(*arguments)
        assert (ran.status, f"{file} belongs to another user" in ran.stderr) == (2, True), arguments


@pytest.mark.parametrize("kind", ["file", "folder", "folder of a link's target"])
def test_a_file_that_everybody_may_change_is_refused(kind: str, local: Shell) -> None:
    file = write(local.directory, '[validate]\nfail-on = "warning"\n')
    if kind == "folder of a link's target":
        elsewhere = local.directory / "elsewhere"
        elsewhere.mkdir()
        shutil.move(file, elsewhere)
        file.symlink_to(elsewhere / file.name)
        open_one = elsewhere
    else:
        open_one = file if kind == "file" else file.parent
    open_one.chmod(0o777)

    for arguments in (["config", "validate"], ["trust", "apm-s3.toml"]):
        ran = local(*arguments)
        assert (ran.status, f"everybody may write to {open_one}" in ran.stderr) == (2, True), arguments


def test_the_search_ends_at_the_root_of_the_repository(local: Shell) -> None:
    above = write(local.directory, 'region = "above"\n')
    (local.directory / "repository" / ".git").mkdir(parents=True)
    below = local.directory / "repository" / "a" / "b"
    below.mkdir(parents=True)
    inside = Shell(below)

    assert "debug: project file: none found" in inside("sync", "x", "y", "--debug", "--region", "r").stderr
    root = write(local.directory / "repository", 'environment = "root"\n')
    assert f"debug: project file: {root}" in inside("sync", "x", "y", "--debug", "--region", "r").stderr
    assert f"debug: project file: {above}" in local("sync", "x", "y", "--debug", "--region", "r").stderr


def test_outside_a_repository_only_the_working_directory_is_looked_at(local: Shell) -> None:
    write(local.directory, 'region = "above"\n')
    below = local.directory / "below"
    below.mkdir()

    assert "debug: project file: none found" in Shell(below)("sync", "x", "y", "--debug").stderr


def test_a_file_that_is_too_long_for_a_project_file_is_refused(local: Shell) -> None:
    write(local.directory, "#" * (1024**2 + 1))

    assert "is longer than" in local("config", "validate").stderr


def test_a_session_token_goes_over_plain_http_only_where_the_user_asks_for_it(shell: Shell) -> None:
    keys = "[profile ours]\naws_access_key_id = test\naws_secret_access_key = x\naws_session_token = token\n"
    place = ["--endpoint-url", "http://s3.invalid:9000", "--profile", "ours"]
    shell.environ["AWS_CONFIG_FILE"] = str(write(shell.directory, keys, "aws"))

    refused_one = shell("object", "ls", "s3://bucket", *place)
    assert (refused_one.status, "plain HTTP to s3.invalid" in refused_one.stderr) == (2, True)
    assert "hint: use an https:// endpoint, or set APM_S3_TOKEN_OVER_HTTP=1 on a network" in refused_one.stderr

    shell.environ["APM_S3_TOKEN_OVER_HTTP"] = "1"
    presigned = ["object", "presign", "s3://bucket/key", *place]
    assert "X-Amz-Security-Token=token" in shell.ok(*presigned)


def test_nobody_is_asked_for_a_message_before_a_file_without_trust_is_refused(shell: Shell) -> None:
    del shell.environ["APM_S3_BUCKET"]
    shell.environ["EDITOR"] = "touch edited; false"
    write(shell.directory / "prometheus", "global: {}\n", "prometheus.yml")
    write(shell.directory, 'bucket = "theirs"\n')

    ran = shell.terminal("config", "push", "prometheus", "-e", "staging")

    assert (ran.status, "is not trusted" in ran.plain) == (2, True)
    assert not (shell.directory / "edited").exists()


@pytest.mark.parametrize("arguments", [["config", "backups"], ["config", "backups", "--backup-bucket", "other"]])
def test_requests_to_the_bucket_name_the_account_that_must_own_it(
    arguments: list[str], shell: Shell, memory: FaultyS3
) -> None:
    owners = {}

    async def keep(exchange: Exchange) -> None:
        owners[exchange.request.bucket] = exchange.request.headers.get("x-amz-expected-bucket-owner")
        exchange.send(exchange.carry_out())

    memory.s3.buckets["other"] = {}
    memory.will(keep, times=None)
    shell.environ["APM_S3_BUCKET_OWNER"] = "123456789012"
    shell.ok(*arguments)

    # A backup's bucket may belong to another account.
    assert owners == ({"other": None} if "other" in arguments else {shell.environ["APM_S3_BUCKET"]: "123456789012"})
