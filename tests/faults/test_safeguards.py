"""Expected owners, MFA codes and governance bypasses are sent with every request that accepts them."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from apm_s3 import S3Manager, S3Settings
from apm_s3.options import (
    BucketOptions,
    CopyOptions,
    DeleteOptions,
    Policy,
    ReadOptions,
    Tags,
    UploadOptions,
    Versioning,
)
from apm_s3.settings import TransferSettings
from tests.configs.samples import LOKI, OTHER_LOKI
from tests.faults.bucket_verbs import LARGE, ROLE, TEXT, settled_state, state_with_an_upload
from tests.faults.matrix import DATA_PATHS
from tests.faults.memory_s3 import Request
from tests.faults.server import Exchange, FaultyS3
from tests.faults.verbs import BUCKET, NEW, OTHER
from tests.managers import make_manager

OWNER, MFA = "111122223333", "arn:aws:iam::111122223333:mfa/root 123456"

READ = ReadOptions(expected_bucket_owner=OWNER)
UPLOAD = UploadOptions(expected_bucket_owner=OWNER)
COPY = CopyOptions(expected_bucket_owner=OWNER, expected_source_bucket_owner=OWNER)
DELETE = DeleteOptions(expected_bucket_owner=OWNER, mfa=MFA, bypass_governance=True)

Call = Callable[[S3Manager], Awaitable[object]]


async def _resume(s3: S3Manager) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "file"
        path.write_bytes(LARGE)
        await s3.upload_file(BUCKET, "begun", path, UPLOAD, resume=True)


async def _failing_upload(s3: S3Manager) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield bytes(5 * 1024**2)
        await asyncio.sleep(0)
        raise OSError("the source broke")

    with pytest.raises(OSError, match="the source broke"):
        await s3.upload_file(BUCKET, "c", broken(), UPLOAD)


async def _download(s3: S3Manager) -> None:
    async with s3.download_file(BUCKET, "large", READ) as download:
        await download.read()
    with tempfile.TemporaryDirectory() as directory:
        await s3.download_to(BUCKET, "large", Path(directory) / "file", READ)


async def _list(s3: S3Manager) -> None:
    await s3.list_files(BUCKET, include_metadata=True, expected_bucket_owner=OWNER)
    assert [info async for info in s3.iter_files(BUCKET, expected_bucket_owner=OWNER)]
    await s3.list_versions(BUCKET, expected_bucket_owner=OWNER)
    assert [version async for version in s3.iter_versions(BUCKET, expected_bucket_owner=OWNER)]


async def _settings(s3: S3Manager) -> None:
    await s3.set_setting(BUCKET, Policy(TEXT), expected_bucket_owner=OWNER)
    await s3.get_setting(BUCKET, Policy, expected_bucket_owner=OWNER)
    await s3.remove_setting(BUCKET, Policy, expected_bucket_owner=OWNER)
    await s3.get_bucket(BUCKET, expected_bucket_owner=OWNER)
    await s3.plan_bucket(BUCKET, BucketOptions(tags=Tags({"a": "b"})), expected_bucket_owner=OWNER)
    await s3.ensure_bucket(BUCKET, BucketOptions(tags=Tags({"a": "b"})), expected_bucket_owner=OWNER)


async def _configurations(s3: S3Manager) -> None:
    store = s3.configs(BUCKET, "configs/", expected_bucket_owner=OWNER)
    await store.upload("loki", "staging", LOKI)
    await store.upload("loki", "staging", OTHER_LOKI)
    await store.rollback("loki", "staging", to_revision=1)
    await store.history("loki", "staging")
    await store.list()
    backup = await store.backup("loki", "staging")
    await store.restore(backup.key)
    await store.collect_garbage("staging", keep_revisions=1)
    await store.fsck("staging")


CALLS: dict[str, Call] = {
    "upload": lambda s3: s3.upload_file(BUCKET, "c", NEW, UPLOAD),
    "upload in parts": lambda s3: s3.upload_file(BUCKET, "c", NEW * 10, UPLOAD),
    "resume": _resume,
    "failing upload": _failing_upload,
    "read": lambda s3: s3.read_file(BUCKET, "a", READ),
    "download": _download,
    "head": lambda s3: s3.head_file(BUCKET, "a", READ),
    "exists": lambda s3: s3.file_exists(BUCKET, "missing", READ),
    "list": _list,
    "delete": lambda s3: s3.delete_file(BUCKET, "a", DELETE),
    "delete many": lambda s3: s3.delete_files(BUCKET, ["a", "b"], DELETE),
    "copy": lambda s3: s3.copy_file(BUCKET, "a", OTHER, "c", COPY),
    "move": lambda s3: s3.move_file(BUCKET, "a", OTHER, "c", COPY),
    "move in parts": lambda s3: s3.move_file(BUCKET, "large", OTHER, "c", COPY),
    "clean up uploads": lambda s3: s3.cleanup_uploads(BUCKET, timedelta(days=1), expected_bucket_owner=OWNER),
    "settings": _settings,
    "configurations": _configurations,
    "bucket exists": lambda s3: s3.bucket_exists(BUCKET, expected_bucket_owner=OWNER),
    "usage": lambda s3: s3.bucket_usage(BUCKET, expected_bucket_owner=OWNER),
    "replicate": lambda s3: s3.setup_replication(
        BUCKET, OTHER, role=ROLE, target_account=OWNER, expected_bucket_owner=OWNER
    ),
    "replication status": lambda s3: s3.replication_status(BUCKET, "a", expected_bucket_owner=OWNER),
    "restore": lambda s3: s3.restore_archived(BUCKET, "a", expected_bucket_owner=OWNER),
    "empty and delete": lambda s3: s3.delete_bucket(BUCKET, force=True, expected_bucket_owner=OWNER),
}


class Observed:
    """A manager, and all requests that reached the server from it."""

    def __init__(self, s3: S3Manager) -> None:
        self.s3 = s3
        self.requests: list[Request] = []

    async def observe(self, exchange: Exchange) -> None:
        """Respond as usual."""
        self.requests.append(exchange.request)
        exchange.send(exchange.carry_out())

    def carriers(self, header: str) -> set[str]:
        """The operations whose requests had this header."""
        return {request.operation for request in self.requests if header in request.headers}


@pytest.fixture(params=DATA_PATHS)
async def observed(request: pytest.FixtureRequest) -> AsyncIterator[Observed]:
    """A manager on each transport."""
    settings = S3Settings(
        data_path=request.param,
        transfer=TransferSettings(multipart_threshold=200, part_size=5 * 1024**2, range_size=100),
    )
    async with (
        FaultyS3() as server,
        make_manager(server, settings) as s3,
    ):
        server.s3 = settled_state()
        server.s3.uploads = state_with_an_upload().uploads
        made = Observed(s3)
        server.will(made.observe, times=None)
        yield made


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_every_request_of_a_call_names_the_expected_owner(observed: Observed, call: Call) -> None:
    await call(observed.s3)
    nameless = {
        request.operation
        for request in observed.requests
        if request.headers.get("x-amz-expected-bucket-owner") != OWNER
    }
    # All buckets are listed to learn when one was made; that names none.
    assert nameless <= {"ListBuckets"}
    assert len(observed.requests) > len(nameless)


async def test_copies_name_the_expected_owner_of_their_source(observed: Observed) -> None:
    await observed.s3.copy_file(BUCKET, "a", OTHER, "c", COPY)
    await observed.s3.move_file(BUCKET, "large", OTHER, "d", COPY)
    copies = [request for request in observed.requests if "x-amz-copy-source" in request.headers]
    assert {request.headers["x-amz-source-expected-bucket-owner"] for request in copies} == {OWNER}


@pytest.mark.parametrize("verb", ["presign_download", "presign_upload"])
async def test_a_presigned_url_is_valid_only_for_the_expected_owner(observed: Observed, verb: str) -> None:
    options = READ if verb == "presign_download" else UPLOAD
    url = await getattr(observed.s3, verb)(BUCKET, "a", options=options)
    assert "x-amz-expected-bucket-owner" in url.partition("X-Amz-SignedHeaders=")[2].partition("&")[0]


DELETIONS: dict[str, Call] = {
    "DeleteObject": lambda s3: s3.delete_file(BUCKET, "a", DELETE),
    "DeleteObjects": lambda s3: s3.delete_files(BUCKET, ["a", "b"], DELETE),
    "DeleteObject of a move": lambda s3: s3.move_file(BUCKET, "a", OTHER, "c", mfa=MFA, bypass_governance=True),
    "DeleteObjects of a bucket": lambda s3: s3.delete_bucket(BUCKET, force=True, mfa=MFA, bypass_governance=True),
}


@pytest.mark.parametrize(("name", "call"), DELETIONS.items(), ids=DELETIONS)
async def test_deletions_send_the_mfa_code_and_the_bypass(observed: Observed, name: str, call: Call) -> None:
    await call(observed.s3)
    operation = name.partition(" ")[0]
    assert observed.carriers("x-amz-mfa") == {operation}
    assert observed.carriers("x-amz-bypass-governance-retention") == {operation}


@pytest.mark.parametrize(
    "call",
    [
        lambda s3: s3.set_setting(BUCKET, Versioning(mfa_delete=True), mfa=MFA),
        lambda s3: s3.remove_setting(BUCKET, Versioning, mfa=MFA),
        lambda s3: s3.ensure_bucket(BUCKET, BucketOptions(versioning=Versioning(mfa_delete=True)), mfa=MFA),
        lambda s3: s3.create_bucket("bucket-new", BucketOptions(versioning=Versioning(mfa_delete=True)), mfa=MFA),
        lambda s3: s3.create_apm_bucket("bucket-new", "production", "all", "configs", mfa=MFA, unsupported="warn"),
    ],
    ids=["set", "remove", "ensure", "create", "create apm"],
)
async def test_changes_of_versioning_send_the_mfa_code(observed: Observed, call: Call) -> None:
    await call(observed.s3)
    assert observed.carriers("x-amz-mfa") == {"PutBucket:versioning"}


async def test_a_bucket_with_keys_that_xml_cannot_hold_is_emptied(observed: Observed) -> None:
    await observed.s3.upload_file(OTHER, "odd\x01", b"")
    await observed.s3.upload_file(OTHER, "plain", b"")
    await observed.s3.delete_bucket(OTHER, force=True)
    operations = [request.operation for request in observed.requests]
    assert (operations.count("DeleteObjects"), operations.count("DeleteObject")) == (1, 1)
    assert operations[-1] == "DeleteBucket"
