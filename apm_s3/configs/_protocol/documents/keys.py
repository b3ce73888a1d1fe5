"""The keys of a configuration store in its bucket. Pure.

    configs/{environment}/current.json                                     the only mutable object
    configs/{environment}/{tool}/releases/{revision:08d}-{write id}.json   immutable
    configs/{environment}/{tool}/blobs/{sha256}-{write id}                 immutable
    configs/{environment}/log/{last sequence:016d}-{write id}.json         immutable
    live/{environment}/{tool}/{name}                                       copies for plain S3 clients
    backups/{environment}/{UTC time}-{write id}/                           self-contained

All keys here are relative to the store's prefix in the bucket, as in its documents. A write id contains its
environment, so that the id alone is enough to find the outcome of the write.
"""

from __future__ import annotations

import re
import secrets

from apm_s3._naming import check_environment, check_file_name
from apm_s3.errors import InvalidKey, InvalidOption

MAX_REVISION = 99_999_999

MAX_SEQUENCE = 2**53
"""Maximum number of writes of an environment: the largest integer that every JSON reader represents exactly."""

MAX_PREFIX = 256
"""Maximum bytes of a prefix: with the longest names, every key stays below S3's 1024 bytes."""

_WRITE_ID = re.compile(r"([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)\.([0-9a-f]{20})", re.ASCII)
_BLOB = re.compile(r"([0-9a-f]{64})-([a-z0-9.-]{1,90})", re.ASCII)
_RELEASE = re.compile(r"(\d{8})-([a-z0-9.-]{1,90})\.json", re.ASCII)

_LOG_PART = re.compile(r"(\d{16})-([a-z0-9.-]{1,90})\.json", re.ASCII)


def new_write_id(environment: str) -> str:
    """Return a unique write id: the environment and 80 random bits."""
    return f"{environment}.{secrets.token_hex(10)}"


def environment_of(write_id: str) -> str:
    """Return the environment of a write id.

    Raises:
        InvalidOption: it is not a valid write id.
    """
    match = _WRITE_ID.fullmatch(write_id)
    if match is None:
        raise InvalidOption(
            f"{write_id[:120]!r} is not a valid write id",
            hint="take it from CommitUnknown.write_id or Release.write_id",
        )
    return match[1]


def is_write_id(text: str, environment: str) -> bool:
    """Return whether `text` is the id of a write in `environment`."""
    match = _WRITE_ID.fullmatch(text)
    return match is not None and match[1] == environment


def check_prefix(prefix: str) -> str:
    """Return `prefix` if it is valid for a store: empty, or a relative path that ends with '/'.

    Raises:
        InvalidKey: it is not valid.
    """
    if prefix:
        if not prefix.endswith("/"):
            raise InvalidKey(f"the prefix {prefix[:80]!r} does not end with '/'", hint=f"use {prefix[:80] + '/'!r}")
        try:
            check_file_name(prefix[:-1])
        except InvalidKey as exc:
            raise InvalidKey(
                f"{prefix[:80]!r} is not a valid prefix: {exc.problem}", hint="use one such as 'team-a/'"
            ) from exc
        if len(prefix.encode()) > MAX_PREFIX:
            raise InvalidKey(f"the prefix has more than {MAX_PREFIX} bytes", hint="shorten it")
    return prefix


def environment_prefix(environment: str) -> str:
    """Return the folder of an environment's releases."""
    return f"configs/{check_environment(environment)}/"


def current(environment: str) -> str:
    """Return the key of an environment's reference document."""
    return f"{environment_prefix(environment)}current.json"


def releases(environment: str, tool: str) -> str:
    """Return the folder of a tool's release documents."""
    return f"{environment_prefix(environment)}{tool}/releases/"


def release(environment: str, tool: str, revision: int, write_id: str) -> str:
    """Return the key of a release document."""
    return f"{releases(environment, tool)}{revision:08d}-{write_id}.json"


def blobs(environment: str, tool: str) -> str:
    """Return the folder of a tool's blobs."""
    return f"{environment_prefix(environment)}{tool}/blobs/"


def blob_name(sha256: str, write_id: str) -> str:
    """Return the name of a blob in its folder."""
    return f"{sha256}-{write_id}"


def log_parts(environment: str) -> str:
    """Return the folder of the stored parts of an environment's log."""
    return f"{environment_prefix(environment)}log/"


def log_part(environment: str, last: int, write_id: str) -> str:
    """Return the key of a stored part of the log, up to the entry with the sequence `last`."""
    return f"{log_parts(environment)}{last:016d}-{write_id}.json"


def parse_log_part(key: str) -> tuple[int, str] | None:
    """Parse the last sequence and the write id from the key of a stored part of a log, or return None."""
    match = _LOG_PART.fullmatch(key.rpartition("/")[2]) if key.count("/") == 3 else None
    return (int(match[1]), match[2]) if match else None


def probes(environment: str) -> str:
    """Return the prefix of the keys for probing the endpoint."""
    return f"{environment_prefix(environment)}probe-"


def live(environment: str, tool: str, name: str = "") -> str:
    """Return the key of a live copy; without a name, their folder."""
    return f"live/{check_environment(environment)}/{tool}/{name}"


def backups(environment: str) -> str:
    """Return the folder of an environment's backups."""
    return f"backups/{check_environment(environment)}/"


def is_blob_name(name: str) -> bool:
    """Return whether a blob can have this name."""
    return _BLOB.fullmatch(name) is not None


def writer_of(blob: str) -> str:
    """Return the id of the write that stored a blob of this name."""
    return blob[65:]


def parse_release(key: str) -> tuple[int, str] | None:
    """Parse revision and write id from the key of a release document, or return None."""
    match = _RELEASE.fullmatch(key.rpartition("/")[2])
    return (int(match[1]), match[2]) if match else None


def parse_release_key(key: str) -> tuple[str, str, int, str] | None:
    """Parse environment, tool, revision and write id from the whole key of a release document, or return None."""
    parts = key.split("/")
    if len(parts) != 5 or parts[0] != "configs" or parts[3] != "releases":
        return None
    match = _RELEASE.fullmatch(parts[4])
    return (parts[1], parts[2], int(match[1]), match[2]) if match else None


def is_own(key: str) -> bool:
    """Return whether a key under an environment's prefix is that of a release document, blob or part of the log."""
    parts = key.split("/")
    if len(parts) == 4 and parts[2] == "log":
        return parse_log_part(key) is not None
    if len(parts) != 5:
        return False
    return (parts[3] == "releases" and parse_release(key) is not None) or (
        parts[3] == "blobs" and is_blob_name(parts[4])
    )
