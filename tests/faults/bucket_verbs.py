"""The bucket calls that are tested against faults. One setting stands for all, because they share one code path."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Awaitable
from datetime import timedelta
from pathlib import Path
from typing import Any

from apm_s3 import S3Manager
from apm_s3.models import BucketPlan
from apm_s3.options import BucketOptions, Policy, Tags, Versioning
from tests.faults.memory_s3 import NAMESPACE, MemoryS3, Upload
from tests.faults.verbs import BUCKET, NEW, OLD, OTHER, Bodies, Verb, new_state

MADE = "bucket-new"
LARGE = NEW * 40_000
"""Too large to be kept in memory: only an upload from a file can be resumed."""
ROLE = "arn:aws:iam::111122223333:role/replicates"
TEXT = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*"}]}
)


def _tagging(value: str) -> bytes:
    tag = f"<Tag><Key>team</Key><Value>{value}</Value></Tag>"
    return f'<Tagging xmlns="{NAMESPACE}"><TagSet>{tag}</TagSet></Tagging>'.encode()


_VERSIONED = f'<VersioningConfiguration xmlns="{NAMESPACE}"><Status>Enabled</Status></VersioningConfiguration>'.encode()


def settled_state() -> MemoryS3:
    """Buckets with settings."""
    s3 = new_state()
    for bucket in (BUCKET, OTHER):
        s3.settings[bucket, "tagging"] = _tagging("old")
        s3.settings[bucket, "versioning"] = _VERSIONED
    return s3


def state_with_an_upload() -> MemoryS3:
    """An upload has been started."""
    s3 = new_state()
    s3.uploads["begun"] = Upload(BUCKET, "begun", {}, {1: LARGE})
    return s3


def _made(*settings: tuple[str, bytes]) -> Any:
    def change(bodies: Bodies) -> None:
        bodies[MADE] = {f"?{name}": document for name, document in settings}

    return change


def _set(name: str, document: bytes | None) -> Any:
    def change(bodies: Bodies) -> None:
        if document is None:
            del bodies[BUCKET][f"?{name}"]
        else:
            bodies[BUCKET][f"?{name}"] = document

    return change


def _without(bucket: str) -> Any:
    def change(bodies: Bodies) -> None:
        del bodies[bucket]

    return change


async def _kinds(plan: Awaitable[BucketPlan]) -> list[str]:
    return [change.kind for change in (await plan).changes]


async def _create_apm(s3: S3Manager) -> int:
    return len((await s3.create_apm_bucket(MADE, "staging", "all", "configs", unsupported="warn")).changes)


DETAILS = ("us-east-1", Tags({"team": "old"}), Versioning(), None)


async def details(s3: S3Manager) -> tuple[Any, ...]:
    details = await s3.get_bucket(BUCKET)
    return details.region, details.settings.tags, details.settings.versioning, details.settings.policy


async def _list_details(s3: S3Manager) -> list[tuple[str, Any]]:
    found = await s3.list_buckets(prefix=BUCKET, details=True)
    return [(bucket.name, bucket.details and bucket.details.settings.tags) for bucket in found]


async def _empty(s3: S3Manager) -> tuple[int, int]:
    report = await s3.delete_bucket(BUCKET, force=True)
    return report.versions, report.uploads


async def _delete(s3: S3Manager) -> int:
    return (await s3.delete_bucket(OTHER)).versions


async def _cleanup(s3: S3Manager) -> list[str]:
    return [upload.key for upload in await s3.cleanup_uploads(BUCKET, timedelta(days=1))]


async def _resume(s3: S3Manager) -> int:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "file"
        path.write_bytes(LARGE)
        return (await s3.upload_file(BUCKET, "begun", path, resume=True)).size


async def _usage(s3: S3Manager) -> int:
    return (await s3.bucket_usage(BUCKET)).total.bytes


async def _replicate(s3: S3Manager) -> bool:
    return (await s3.setup_replication(BUCKET, OTHER, role=ROLE)).applied


def _resumed(bodies: Bodies) -> None:
    bodies[BUCKET]["begun"] = LARGE


def _replicated(bodies: Bodies) -> None:
    bodies[BUCKET]["?replication"] = ANYTHING  # type: ignore[assignment]


class _Anything:
    """Equal to any document."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, bytes)

    __hash__ = None  # type: ignore[assignment]


ANYTHING = _Anything()
_OPTIONS = BucketOptions(tags=Tags({"team": "new"}), versioning=Versioning())
_TAGGED = BucketOptions(tags=Tags({"team": "new"}))
_NEW_TAGS = _tagging("new")

CONTROL_VERBS = (
    *(Verb("create bucket", request, lambda s3: _kinds(s3.create_bucket(MADE)), [], _made(),
           judged_by_its_second_delivery=request == "CreateBucket")
      for request in ("HeadBucket", "CreateBucket")),
    *(Verb("create bucket with settings", request, lambda s3: _kinds(s3.create_bucket(MADE, _OPTIONS)),
           ["Versioning", "Tags"], _made(("tagging", _NEW_TAGS), ("versioning", _VERSIONED)))
      for request in ("PutBucket:versioning", "PutBucket:tagging", "GetBucket:tagging")),
    Verb("create apm bucket", "PutBucket:lifecycle", _create_apm, 7, _made(*((name, ANYTHING) for name in (
        "lifecycle", "versioning", "encryption", "ownershipControls", "publicAccessBlock", "tagging", "policy")))),
    Verb("ensure bucket, new", "CreateBucket", lambda s3: _kinds(s3.ensure_bucket(MADE, _TAGGED)), ["Tags"],
         _made(("tagging", _NEW_TAGS))),
    *(Verb("ensure bucket", request, lambda s3: _kinds(s3.ensure_bucket(BUCKET, _TAGGED)), ["Tags"],
           _set("tagging", _NEW_TAGS), state=settled_state)
      for request in ("HeadBucket", "GetBucket:tagging", "PutBucket:tagging")),
    Verb("plan bucket", "GetBucket:tagging", lambda s3: _kinds(s3.plan_bucket(BUCKET, _TAGGED)), ["Tags"],
         state=settled_state),
    Verb("get bucket", "GetBucket:tagging", details, DETAILS, state=settled_state),
    Verb("list buckets with details", "GetBucket:tagging", _list_details,
         [(BUCKET, Tags({"team": "old"}))], state=settled_state),
    Verb("get setting", "GetBucket:tagging", lambda s3: s3.get_setting(BUCKET, Tags), Tags({"team": "old"}),
         state=settled_state),
    Verb("set setting", "PutBucket:policy", lambda s3: s3.set_setting(BUCKET, Policy(TEXT)), None,
         _set("policy", TEXT.encode()), state=settled_state),
    Verb("remove setting", "DeleteBucket:tagging", lambda s3: s3.remove_setting(BUCKET, Tags), None,
         _set("tagging", None), state=settled_state),
    Verb("set up replication", "PutBucket:replication", _replicate, change=_replicated, result=True, state=settled_state),
    Verb("replication status", "HeadObject", lambda s3: s3.replication_status(BUCKET, "a")),
    Verb("restore", "RestoreObject", lambda s3: s3.restore_archived(BUCKET, "a"), result=True),
    Verb("delete bucket", "DeleteBucket", _delete, 0, _without(OTHER), judged_by_its_second_delivery=True),
)  # fmt: skip
"""Calls that use only the control plane, which is the same for both transports."""

DATA_VERBS = (
    *(Verb("empty and delete bucket", request, _empty, (3, 1), _without(BUCKET), state=state_with_an_upload,
           judged_by_its_second_delivery=request == "DeleteBucket", in_steps=True)
      for request in ("ListMultipartUploads", "AbortMultipartUpload", "ListObjectVersions", "DeleteObjects",
                      "DeleteBucket")),
    *(Verb("clean up uploads", request, _cleanup, ["begun"], state=state_with_an_upload)
      for request in ("ListMultipartUploads", "AbortMultipartUpload")),
    *(Verb("resume an upload", request, _resume, len(LARGE), _resumed, state=state_with_an_upload,
           judged_by_its_second_delivery=request == "CompleteMultipartUpload")
      for request in ("ListMultipartUploads", "ListParts", "CompleteMultipartUpload")),
    Verb("usage", "ListObjectVersions", _usage, len(OLD) * 12),
)  # fmt: skip
"""Calls that also use the transport of objects."""
