"""Where everything of a configuration store lies in its bucket. Pure.

    configs/{environment}/current.json                                     the only mutable object
    configs/{environment}/{tool}/releases/{revision:08d}-{write id}.json   immutable
    configs/{environment}/{tool}/blobs/{sha256}-{write id}                 immutable
    configs/{environment}/log/{last sequence:016d}-{write id}.json         immutable
    live/{environment}/{tool}/{name}                                       copies for plain S3 clients
    backups/{environment}/{UTC time}-{write id}/                           self-contained

All keys here are relative to the store's own prefix in the bucket, as they stand in its documents.
A write id names its environment, so that it alone is enough to find out how that write ended.
"""

from __future__ import annotations

import re
import secrets

from apm_s3._naming import check_environment, check_file_name
from apm_s3.errors import InvalidKey, InvalidOption

MAX_REVISION = 99_999_999

MAX_SEQUENCE = 2**53
"""Writes of one environment: the largest number that every JSON reader keeps exact."""

MAX_PREFIX = 256
"""Bytes: with the longest names behind it, every key stays below S3's 1024."""

_WRITE_ID = re.compile(r"([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)\.([0-9a-f]{20})", re.ASCII)
_BLOB = re.compile(r"([0-9a-f]{64})-([a-z0-9.-]{1,90})", re.ASCII)
_RELEASE = re.compile(r"(\d{8})-([a-z0-9.-]{1,90})\.json", re.ASCII)

_LOG_PART = re.compile(r"(\d{16})-([a-z0-9.-]{1,90})\.json", re.ASCII)


def new_write_id(environment: str) -> str:
    """An id that no other write has: the environment and 80 random bits."""
    return f"{environment}.{secrets.token_hex(10)}"


def environment_of(write_id: str) -> str:
    """The environment that a write id belongs to.

    Raises:
        InvalidOption: it is no write id.
    """
    match = _WRITE_ID.fullmatch(write_id)
    if match is None:
        raise InvalidOption(
            f"{write_id[:120]!r} is no write id", hint="take it from CommitUnknown.write_id or Release.write_id"
        )
    return match[1]


def is_write_id(text: str, environment: str) -> bool:
    """Whether `text` is the id of a write in `environment`."""
    match = _WRITE_ID.fullmatch(text)
    return match is not None and match[1] == environment


def check_prefix(prefix: str) -> str:
    """`prefix`, if a store can live under it: empty, or a relative path that ends with '/'.

    Raises:
        InvalidKey: it cannot.
    """
    if prefix:
        if not prefix.endswith("/"):
            raise InvalidKey(f"the prefix {prefix[:80]!r} does not end with '/'", hint=f"use {prefix[:80] + '/'!r}")
        try:
            check_file_name(prefix[:-1])
        except InvalidKey as exc:
            raise InvalidKey(f"{prefix[:80]!r} is no prefix: {exc.problem}", hint="use one such as 'team-a/'") from exc
        if len(prefix.encode()) > MAX_PREFIX:
            raise InvalidKey(f"the prefix has more than {MAX_PREFIX} bytes", hint="shorten it")
    return prefix


def environment_prefix(environment: str) -> str:
    """Everything that makes up an environment's releases."""
    return f"configs/{check_environment(environment)}/"


def current(environment: str) -> str:
    """The reference document of an environment."""
    return f"{environment_prefix(environment)}current.json"


def releases(environment: str, tool: str) -> str:
    """The folder of a tool's release documents."""
    return f"{environment_prefix(environment)}{tool}/releases/"


def release(environment: str, tool: str, revision: int, write_id: str) -> str:
    """A release document."""
    return f"{releases(environment, tool)}{revision:08d}-{write_id}.json"


def blobs(environment: str, tool: str) -> str:
    """The folder of a tool's blobs."""
    return f"{environment_prefix(environment)}{tool}/blobs/"


def blob_name(sha256: str, write_id: str) -> str:
    """The name of a blob in its folder."""
    return f"{sha256}-{write_id}"


def log_parts(environment: str) -> str:
    """The folder of the stored parts of an environment's log."""
    return f"{environment_prefix(environment)}log/"


def log_part(environment: str, last: int, write_id: str) -> str:
    """A stored part of the log, up to the entry with the sequence `last`."""
    return f"{log_parts(environment)}{last:016d}-{write_id}.json"


def parse_log_part(key: str) -> tuple[int, str] | None:
    """The last sequence and the write id from the key of a stored part of a log; None where it is none."""
    match = _LOG_PART.fullmatch(key.rpartition("/")[2]) if key.count("/") == 3 else None
    return (int(match[1]), match[2]) if match else None


def probes(environment: str) -> str:
    """What the keys begin with on which the endpoint is tried out."""
    return f"{environment_prefix(environment)}probe-"


def live(environment: str, tool: str, name: str = "") -> str:
    """The copy of a file for plain S3 clients; without a name, their folder."""
    return f"live/{check_environment(environment)}/{tool}/{name}"


def backups(environment: str) -> str:
    """The folder of an environment's backups."""
    return f"backups/{check_environment(environment)}/"


def is_blob_name(name: str) -> bool:
    """Whether a blob can have this name."""
    return _BLOB.fullmatch(name) is not None


def writer_of(blob: str) -> str:
    """The id of the write that stored a blob of this name."""
    return blob[65:]


def parse_release(key: str) -> tuple[int, str] | None:
    """Revision and write id from the key of a release document; None where it is none."""
    match = _RELEASE.fullmatch(key.rpartition("/")[2])
    return (int(match[1]), match[2]) if match else None


def parse_release_key(key: str) -> tuple[str, str, int, str] | None:
    """Environment, tool, revision and write id from the whole key of a release document; None where it is none."""
    parts = key.split("/")
    if len(parts) != 5 or parts[0] != "configs" or parts[3] != "releases":
        return None
    match = _RELEASE.fullmatch(parts[4])
    return (parts[1], parts[2], int(match[1]), match[2]) if match else None


def is_own(key: str) -> bool:
    """Whether a key below an environment's prefix has the form of a release document, a blob or a part of the log."""
    parts = key.split("/")
    if len(parts) == 4 and parts[2] == "log":
        return parse_log_part(key) is not None
    if len(parts) != 5:
        return False
    return (parts[3] == "releases" and parse_release(key) is not None) or (
        parts[3] == "blobs" and is_blob_name(parts[4])
    )
