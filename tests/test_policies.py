"""The IAM policies of each role, on a SeaweedFS that enforces them."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import fnmatch
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from apm_s3 import Credentials, S3Manager, policies
from apm_s3.configs import ConfigStore
from apm_s3.errors import AccessDenied, InvalidBucketName, InvalidKey, InvalidOption, S3Error
from tests.managers import SESSION, make_manager
from tests.servers import Server

PROMETHEUS = "scrape_configs:\n- job_name: api\n"
Verb = Callable[[ConfigStore, Path], Awaitable[object]]


async def _watched(configs: ConfigStore, _: Path) -> object:
    async with contextlib.aclosing(configs.watch("staging")) as changes:
        return await anext(changes)


async def _verified(configs: ConfigStore, _: Path) -> object:
    (backup, *_) = await configs.list_backups("staging")
    return await configs.verify_backup(backup.key)


async def _restored(configs: ConfigStore, _: Path) -> object:
    backup = await configs.backup("prometheus", "staging")
    return await configs.restore(backup.key)


async def _deployed(configs: ConfigStore, _: Path) -> object:
    return await configs.deploy(await configs.plan_deploy("production", "staging"))


READING: dict[str, Verb] = {
    "verify_backup": _verified,
    "download": lambda configs, _: configs.download("prometheus", "staging"),
    "download_bundle": lambda configs, _: configs.download_bundle("prometheus", "staging", revision=1),
    "download_dir": lambda configs, path: configs.download_dir("prometheus", "staging", path / uuid.uuid4().hex),
    "history": lambda configs, _: configs.history("prometheus", "staging"),
    "log": lambda configs, _: configs.log("staging"),
    "status": lambda configs, _: configs.status("staging"),
    "list": lambda configs, _: configs.list("staging"),
    "settings": lambda configs, _: configs.settings("staging"),
    "fsck": lambda configs, _: configs.fsck("staging"),
    "watch": _watched,
}
WRITING: dict[str, Verb] = {
    "upload": lambda configs, _: configs.upload(
        "prometheus", "staging", files={"prometheus.yml": PROMETHEUS, "rules.yml": "groups: []\n"}
    ),
    "upload of fewer files": lambda configs, _: configs.upload(
        "prometheus", "staging", files={"prometheus.yml": PROMETHEUS}
    ),
    "rollback": lambda configs, _: configs.rollback("prometheus", "staging", to_revision=1),
    "mark_good": lambda configs, _: configs.mark_good("prometheus", "staging", 1),
    "freeze": lambda configs, _: configs.freeze("staging", "a test"),
    "thaw": lambda configs, _: configs.thaw("staging"),
    "restore": _restored,
}
DEPLOYING: dict[str, Verb] = {"deploy": _deployed, **READING}
CARING: dict[str, Verb] = {
    "collect_garbage": lambda configs, _: configs.collect_garbage("staging", keep_revisions=1),
    "prune_backups": lambda configs, _: configs.prune_backups("staging", keep=1),
    "repair": lambda configs, _: configs.repair("staging"),
}


class Users:
    """Makes users by the server's IAM API, which is AWS's."""

    def __init__(self, server: Server) -> None:
        self._server = server

    @contextlib.asynccontextmanager
    async def manager(self, bucket: str, policy: Mapping[str, Any]) -> AsyncIterator[S3Manager]:
        """A manager of a new user with this policy, once the server knows both."""
        policy = copy.deepcopy(dict(policy))
        known = {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [f"arn:aws:s3:::{bucket}/known"]}
        policy["Statement"] = [*policy["Statement"], known]
        name = f"user-{uuid.uuid4().hex[:12]}"
        async with SESSION.create_client(
            "iam",
            region_name=self._server.region,
            endpoint_url=self._server.endpoint_url,
            aws_access_key_id=self._server.credentials.key_id,
            aws_secret_access_key=self._server.credentials.secret,
        ) as iam:
            await iam.create_user(UserName=name)
            key = (await iam.create_access_key(UserName=name))["AccessKey"]
            made = await iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(policy))
            await iam.attach_user_policy(UserName=name, PolicyArn=made["Policy"]["Arn"])
            async with make_manager(
                self._server, credentials=Credentials(key["AccessKeyId"], key["SecretAccessKey"])
            ) as s3:
                while True:
                    with contextlib.suppress(S3Error):
                        await s3.read_file(bucket, "known")
                        break
                    await asyncio.sleep(0.02)
                yield s3
            await iam.detach_user_policy(UserName=name, PolicyArn=made["Policy"]["Arn"])


@pytest.fixture
def users(seaweedfs: Server) -> Users:
    return Users(seaweedfs)


@pytest.fixture
async def bucket(seaweedfs: Server, bucket_name: str) -> str:
    """A bucket with two environments, each with two revisions and a backup, under the prefix `team/`."""
    async with make_manager(seaweedfs) as s3:
        await s3.create_bucket(bucket_name)
        await s3.upload_file(bucket_name, "known", b"")
        configs = s3.configs(bucket_name, prefix="team/")
        for environment in ("staging", "production", "other"):
            for text in (PROMETHEUS, PROMETHEUS + "- job_name: b\n"):
                await configs.upload("prometheus", environment, text)
            for _ in range(2):
                await configs.backup("prometheus", environment)
    return bucket_name


async def refused(s3: S3Manager, bucket: str, verbs: Mapping[str, Verb], path: Path) -> dict[str, S3Error]:
    """The verbs that fail, or do not update live copies, with the reasons."""
    configs = s3.configs(bucket, prefix="team/")
    failed = {}
    for name, verb in verbs.items():
        try:
            result = await verb(configs, path)
        except S3Error as exc:
            failed[name] = exc
        else:
            if getattr(result, "live_pending", False):
                failed[name] = S3Error("the live copies are not up to date")
    return failed


ROLES: dict[str, tuple[Callable[[str], dict[str, Any]], Mapping[str, Verb], Mapping[str, Verb]]] = {
    "reader": (
        lambda bucket: policies.reader(bucket, environments=["staging"], prefix="team/"),
        READING,
        {**WRITING, "collect_garbage": CARING["collect_garbage"], "deploy": _deployed},
    ),
    "writer": (
        lambda bucket: policies.writer(bucket, environments=["staging"], prefix="team/"),
        READING | WRITING,
        {"deploy": _deployed},
    ),
    "deployer": (
        lambda bucket: policies.deployer(bucket, source="production", target="staging", prefix="team/"),
        DEPLOYING | WRITING,
        {
            "upload to the source": lambda configs, _: configs.upload("prometheus", "production", PROMETHEUS),
            "read of another": lambda configs, _: configs.download("prometheus", "other"),
        },
    ),
    "writer of all": (
        lambda bucket: policies.writer(bucket, prefix="team/"),
        READING
        | WRITING
        | {
            "deploy": _deployed,
            "environments": lambda configs, _: configs.environments(),
            "list_backups": lambda configs, _: configs.list_backups(),
        },
        {},
    ),
    "administrator": (policies.administrator, READING | WRITING | CARING, {}),
}


PURE = {
    "one text": lambda: policies.reader("bucket", environments="staging"),
    "no environment": lambda: policies.writer("bucket", environments=[]),
    "a wildcard": lambda: policies.reader("bucket", environments=["*"]),
    "a bucket of all": lambda: policies.administrator("*"),
    "a prefix without an end": lambda: policies.reader("bucket", prefix="team"),
    "no target": lambda: policies.deployer("bucket", source="staging", target=[]),
}


@pytest.mark.parametrize("make", PURE.values(), ids=PURE)
def test_a_policy_for_an_invalid_name_is_refused(make):
    with pytest.raises((InvalidBucketName, InvalidKey, InvalidOption)):
        make()


def test_special_iam_characters_in_a_prefix_are_literal():
    text = json.dumps(policies.reader("bucket", environments=["staging"], prefix="${aws:username}*?/"))
    assert "bucket/${$}{aws:username}${*}${?}/configs/staging/*" in text


def test_a_role_may_use_the_buckets_key_for_its_work():
    key = "arn:aws:kms:eu-west-1:123456789012:key/1"
    reading = policies.reader("bucket", kms_key_arn=key)["Statement"][-1]
    writing = policies.writer("bucket", kms_key_arn=key)["Statement"][-1]
    assert (reading["Resource"], reading["Action"]) == ([key], ["kms:Decrypt"])
    assert writing["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]


def test_policies_of_other_partitions_name_their_buckets():
    for make in (policies.reader, policies.writer, policies.administrator):
        assert "arn:aws:" not in json.dumps(make("bucket", partition="aws-cn"))


IMMUTABLE = [
    "prometheus/releases/00000001-a.json", "prometheus/blobs/0-a", "log/00000064-a.json",
]  # fmt: skip


@pytest.mark.parametrize("environments", [None, ["staging"]])
def test_a_writer_may_not_put_what_is_immutable_without_a_condition(environments):
    """S3's own keys: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes-enforce.html."""
    made = policies.writer("bucket", environments=environments, prefix="team/")
    [denied] = [each for each in made["Statement"] if each["Effect"] == "Deny"]
    keys = [f"team/configs/staging/{key}" for key in IMMUTABLE] + ["team/backups/staging/20260101T000000Z-a/x"]
    free = ["team/configs/staging/current.json", "team/configs/staging/probe-a", "team/live/staging/prometheus/log/x"]

    def is_denied(key: str) -> bool:
        return any(fnmatch.fnmatchcase(f"arn:aws:s3:::bucket/{key}", pattern) for pattern in denied["Resource"])

    assert denied["Action"] == ["s3:PutObject"]
    assert denied["Condition"] == {
        "Null": {"s3:if-none-match": "true"},
        "Bool": {"s3:ObjectCreationOperation": "true"},
    }
    assert ([key for key in keys if not is_denied(key)], [key for key in free if is_denied(key)]) == ([], [])


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_can_do_its_work_but_nothing_else(users, bucket, role, tmp_path):
    policy, allowed, forbidden = ROLES[role]
    async with users.manager(bucket, policy(bucket)) as s3:
        assert not await refused(s3, bucket, allowed, tmp_path)
        failed = await refused(s3, bucket, forbidden, tmp_path)
        assert {name: type(exc) for name, exc in failed.items()} == dict.fromkeys(forbidden, AccessDenied)


async def test_a_writer_cannot_delete_history(users, seaweedfs, bucket):
    async with make_manager(seaweedfs) as s3:
        before = {info.key async for info in s3.iter_files(bucket, "team/backups/")}
        history = {info.key async for info in s3.iter_files(bucket, "team/configs/staging/prometheus/")}
        async with users.manager(bucket, policies.writer(bucket, prefix="team/")) as writer:
            await writer.configs(bucket, prefix="team/").prune_backups("staging", keep=1)
            for key in (*before, *history):
                with pytest.raises(AccessDenied):
                    await writer.delete_file(bucket, key)
        assert before == {info.key async for info in s3.iter_files(bucket, "team/backups/")}


async def test_a_role_for_one_store_reaches_nothing_else_in_the_bucket(users, bucket):
    async with users.manager(bucket, policies.writer(bucket, environments=["staging"], prefix="team/")) as s3:
        for key in ("team/configs/other/current.json", "configs/staging/current.json", "team/configs/staging", "x"):
            with pytest.raises(AccessDenied):
                await s3.read_file(bucket, key)
            with pytest.raises(AccessDenied):
                await s3.upload_file(bucket, key, b"")
        for prefix in ("", "team/", "team/configs/", "team/configs/other/", "team/configs/staging-2/"):
            with pytest.raises(AccessDenied):
                await s3.list_files(bucket, prefix)


def without_each_part(policy: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The policy without one resource, or one prefix of a listing, at a time."""
    for number, statement in enumerate(policy["Statement"]):
        if statement["Effect"] == "Deny":
            continue  # nothing that the role does needs it
        listed = statement.get("Condition", {}).get("StringLike", {}).get("s3:prefix")
        parts = listed or statement["Resource"]
        for part in parts:
            smaller = copy.deepcopy(policy)
            rest = [other for other in parts if other != part]
            if not rest:
                del smaller["Statement"][number]
            elif listed:
                smaller["Statement"][number]["Condition"]["StringLike"]["s3:prefix"] = rest
            else:
                smaller["Statement"][number]["Resource"] = rest
            yield f"{statement['Sid']} {part.partition('team/')[2]}", smaller


async def test_every_part_of_the_writers_policy_is_needed(users, seaweedfs, bucket, tmp_path):
    policy, verbs, _ = ROLES["writer"]
    unneeded = []
    async with make_manager(seaweedfs) as s3:
        for name, smaller in without_each_part(policy(bucket)):
            async with users.manager(bucket, smaller) as user:
                failed = await refused(user, bucket, verbs, tmp_path)
            left = [info async for info in s3.iter_files(bucket, "team/configs/staging/probe-")]
            if not failed and not left:
                unneeded.append(name)
            await s3.delete_files(bucket, [info.key for info in left])
    assert unneeded == []
