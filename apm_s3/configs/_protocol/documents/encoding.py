"""Converts the documents of a store to JSON and back. Pure.

Documents are read strictly: a missing field, or one of another type, is damage. Fields of a newer version are kept
(`extra`) if the document can be written again, and ignored otherwise.
"""

from __future__ import annotations

import hashlib
from typing import Any, cast

from apm_s3._naming import check_file_name
from apm_s3._tools import Tool
from apm_s3.configs._models.current import Current, Damage, Freeze, ToolState
from apm_s3.configs._models.log import Log
from apm_s3.configs._models.releases import Deployed, FileEntry, Origin, Release, ReleaseRef
from apm_s3.configs._protocol.documents.fields import Fields, decode, encode, format_time
from apm_s3.configs._protocol.documents.identity import check_current, check_entry, check_release
from apm_s3.configs._protocol.documents.keys import MAX_REVISION, MAX_SEQUENCE
from apm_s3.configs._protocol.documents.log import RING, decode_log, encode_log
from apm_s3.configs._protocol.documents.settings import decode_settings, encode_settings
from apm_s3.errors import ApmS3Error, StoreDamaged

# --------------------------------------------------------------------------------------------------------------
# current.json

_CURRENT, _RELEASE = "apm-s3/environment", "apm-s3/release"


def encode_current(current: Current) -> bytes:
    """Encode current.json."""
    return encode(
        _CURRENT,
        {
            "sequence": current.sequence,
            "home": current.home,
            "freeze": None
            if current.freeze is None
            else {
                "reason": current.freeze.reason,
                "by": current.freeze.by,
                "since": format_time(current.freeze.since),
                **({"removed": True} if current.freeze.removed else {}),
                **current.freeze.extra,
            },
            "tools": {
                tool: {
                    "release": _encode_ref(state.release),
                    "parent": _encode_ref(state.parent),
                    "good": _encode_ref(state.good),
                    "oldest": state.oldest,
                    **({"damaged": [_encode_damage(each) for each in state.damaged]} if state.damaged else {}),
                    **state.extra,
                }
                for tool, state in sorted(current.tools.items())
            },
            **({"settings": settings} if (settings := encode_settings(current.settings)) else {}),
            "log": encode_log(current.log),
            **({"writers": list(current.earlier)} if current.earlier else {}),
            **current.extra,
        },
        current.features,
    )


def decode_current(body: bytes, *, environment: str, where: str) -> Current:
    """Decode current.json of `environment`.

    Raises:
        FormatTooNew, StoreDamaged: see `decode`, and `check_current`.
    """
    fields = decode(_CURRENT, body, where=where)
    freeze = fields.take_optional_fields("freeze")
    sequence = _count(fields, "sequence", least=0)
    current = Current(
        sequence=sequence,
        earlier=fields.take_strings("writers") if fields.version == 1 or fields.has("writers") else (),
        home=fields.take("home", str),
        freeze=None if freeze is None else _decode_freeze(freeze),
        tools={tool: _decode_state(state) for tool, state in fields.take_fields("tools").take_each().items()},
        settings=decode_settings(fields.take_optional_fields("settings")),
        # Format 1 had no log.
        log=Log() if fields.version == 1 else decode_log(fields.take_fields("log"), sequence, environment),
        features=fields.features,
        extra=fields.rest(),
    )
    if len(current.earlier) > RING:
        raise StoreDamaged(f"'{where}' names {len(current.earlier)} earlier writers, more than {RING}")
    check_current(current, environment=environment, where=where)
    return current


def _decode_freeze(fields: Fields) -> Freeze:
    reason, by, since = fields.take("reason", str), fields.take_optional("by", str), fields.take_time("since")
    return Freeze(reason, by, since, fields.take_optional("removed", bool) is True, fields.rest())


def _decode_state(fields: Fields) -> ToolState:
    release = _decode_ref(fields, "release")
    if release is None:
        raise StoreDamaged(f"'{fields.where}' names a tool without a release")
    return ToolState(
        release=release,
        parent=_decode_ref(fields, "parent"),
        good=_decode_ref(fields, "good"),
        oldest=_count(fields, "oldest", least=1),
        damaged=tuple(_decode_damage(each) for each in fields.take_optional_list("damaged")),
        extra=fields.rest(),
    )


def _encode_damage(damage: Damage) -> dict[str, Any]:
    return {
        "first": damage.first,
        "last": damage.last,
        "lost": damage.lost,
        "older": _encode_ref(damage.older),
        **damage.extra,
    }


def _decode_damage(fields: Fields) -> Damage:
    lost: Any = fields.take("lost", str)
    if lost not in ("documents", "files"):
        raise StoreDamaged(f"'{fields.where}' has an invalid mark of damage: {lost[:80]!r}")
    first, last = _count(fields, "first", least=1), _count(fields, "last", least=1)
    return Damage(first, last, lost, _decode_ref(fields, "older"), fields.rest())


def _encode_ref(ref: ReleaseRef | None) -> dict[str, Any] | None:
    return None if ref is None else {"revision": ref.revision, "key": ref.key, "sha256": ref.sha256, **ref.extra}


def _decode_ref(parent: Fields, name: str) -> ReleaseRef | None:
    fields = parent.take_optional_fields(name)
    if fields is None:
        return None
    revision = _count(fields, "revision", least=1)
    return ReleaseRef(revision, fields.take("key", str), fields.take("sha256", str), fields.rest())


def _count(fields: Fields, name: str, *, least: int) -> int:
    value = fields.take(name, int)
    if not least <= value <= (MAX_REVISION if least else MAX_SEQUENCE):
        raise StoreDamaged(f"'{fields.where}' has an invalid '{name}': {value}")
    return value


def _optional_count(fields: Fields, name: str) -> int | None:
    value = fields.take_optional(name, int)
    if value is not None and not 1 <= value <= MAX_REVISION:
        raise StoreDamaged(f"'{fields.where}' has an invalid '{name}'")
    return value


# --------------------------------------------------------------------------------------------------------------
# Release documents


def encode_release(release: Release) -> bytes:
    """Encode a release document."""
    origin, deployed = release.origin, release.deployed
    return encode(
        _RELEASE,
        {
            "tool": release.tool,
            "environment": release.environment,
            "revision": release.revision,
            "parent": _encode_ref(release.parent),
            "write_id": release.write_id,
            "author": release.author,
            "message": release.message,
            "created_at": format_time(release.created_at),
            "origin": {name: getattr(origin, name) for name in Origin.__slots__},
            "deployed": None if deployed is None else {name: getattr(deployed, name) for name in Deployed.__slots__},
            "warnings": list(release.warnings),
            "forced": release.forced,
            "files": {
                name: {"size": entry.size, "sha256": entry.sha256, "blob": entry.blob, "encoding": entry.encoding}
                for name, entry in sorted(release.files.items())
            },
        },
    )


def decode_release(body: bytes, *, key: str, where: str) -> Release:
    """Decode the release document under `key`, with its `ref`.

    Raises:
        FormatTooNew, StoreDamaged: see `decode`, and `check_release`.
    """
    fields = decode(_RELEASE, body, where=where)
    revision = _count(fields, "revision", least=1)
    release = Release(
        tool=cast("Tool", fields.take("tool", str)),
        environment=fields.take("environment", str),
        revision=revision,
        parent=_decode_ref(fields, "parent"),
        write_id=fields.take("write_id", str),
        author=fields.take_optional("author", str),
        message=fields.take("message", str),
        created_at=fields.take_time("created_at"),
        origin=_decode_origin(fields.take_fields("origin")),
        deployed=_decode_deployed(fields.take_optional_fields("deployed")),
        warnings=fields.take_strings("warnings"),
        forced=fields.take_optional("forced", str),
        files={name: _decode_entry(name, entry) for name, entry in fields.take_fields("files").take_each().items()},
        ref=ReleaseRef(revision, key, hashlib.sha256(body).hexdigest()),
    )
    check_release(release, key=key, where=where)
    return release


def _decode_origin(fields: Fields) -> Origin:
    action: Any = fields.take("action", str)
    return Origin(
        action=action,
        environment=fields.take_optional("environment", str),
        revision=_optional_count(fields, "revision"),
        bucket=fields.take_optional("bucket", str),
        backup=fields.take_optional("backup", str),
        plan=fields.take_optional("plan", str),
    )


def _decode_deployed(fields: Fields | None) -> Deployed | None:
    if fields is None:
        return None
    return Deployed(
        revision=_count(fields, "revision", least=1),
        digest=fields.take("digest", str),
        source_environment=fields.take("source_environment", str),
        source_revision=_count(fields, "source_revision", least=1),
        source_digest=fields.take("source_digest", str),
        source_bucket=fields.take_optional("source_bucket", str),
    )


def _decode_entry(name: str, fields: Fields) -> FileEntry:
    try:
        check_file_name(name)
    except ApmS3Error as exc:
        raise StoreDamaged(f"'{fields.where}' has an invalid file name: {name[:80]!r}") from exc
    encoding: Any = fields.take("encoding", str)
    entry = FileEntry(fields.take("size", int), fields.take("sha256", str), fields.take("blob", str), encoding)
    check_entry(entry, name, fields.where)
    return entry
