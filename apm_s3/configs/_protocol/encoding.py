"""The documents of a store as JSON, and back. Pure.

Only settings that differ from the defaults are stored. Times are in seconds.

The reference document has at least the newest `RING` entries. Older entries are in separate objects, each of which
refers to the previous one. The rules:

- Every write of the reference document adds exactly one entry, so that neither can exist without the other.
- An entry is removed from the reference document only in a write that names an object containing it, which was stored
  before. A writer stores that object together with its blobs; a writer without blobs leaves the entries until there
  are `MUST_STORE` of them.
- An entry has the hash of the previous entry as stored.

Documents are read strictly: a missing field, or one of another type, is damage. Fields of a newer version are kept
(`extra`) if the document can be written again, and ignored otherwise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, cast

from apm_s3._naming import check_file_name
from apm_s3._tools import Tool
from apm_s3.configs._models import (
    Current,
    Damage,
    Deployed,
    EnvironmentSettings,
    FileEntry,
    Freeze,
    Log,
    LogEntry,
    LogRef,
    Note,
    Origin,
    RawEntry,
    Release,
    ReleaseRef,
    SecretWarning,
    ToolState,
    changed_settings,
    entry_hash,
)
from apm_s3.configs._protocol import keys
from apm_s3.configs._protocol.keys import (
    MAX_REVISION,
    MAX_SEQUENCE,
    Fields,
    check_current,
    check_entry,
    check_release,
    decode,
    encode,
    format_seconds,
    format_time,
)
from apm_s3.errors import ApmS3Error, InvalidRequest, StoreDamaged

_DEFAULT = EnvironmentSettings()
_TIMES = ("keep_for", "keep_log")
_LISTS = ("warnings_as_errors", "deploy_from")


def encode_settings(settings: EnvironmentSettings) -> dict[str, Any]:
    """Return the settings that differ from the defaults."""
    default = _settings(_DEFAULT)
    return {name: value for name, value in _settings(settings).items() if value != default[name]} | dict(settings.extra)


def _settings(settings: EnvironmentSettings) -> dict[str, Any]:
    return {
        "target_versions": dict(sorted(settings.target_versions.items())),
        "level": settings.level,
        "matchers": settings.matchers,
        "warnings_as_errors": list(settings.warnings_as_errors),
        "require_author": settings.require_author,
        "require_message": settings.require_message,
        "deploy_from": None if settings.deploy_from is None else list(settings.deploy_from),
        "keep_revisions": settings.keep_revisions,
        "keep_for": _seconds(settings.keep_for),
        "keep_log": _seconds(settings.keep_log),
    }


def decode_settings(fields: Fields | None) -> EnvironmentSettings:
    """Decode the result of `encode_settings`; missing settings get their defaults.

    Raises:
        StoreDamaged: the settings are malformed or not valid.
    """
    if fields is None:
        return _DEFAULT
    given: dict[str, Any] = {}
    for name, kind in (
        ("target_versions", dict), ("level", str), ("matchers", str), ("require_author", bool),
        ("require_message", bool), ("keep_revisions", int),
    ):  # fmt: skip
        value = fields.take_optional(name, kind)
        if value is not None:
            given[name] = value
    for name in _LISTS:
        if fields.has(name):
            given[name] = fields.take_strings(name)
    for name in _TIMES:
        seconds = fields.take_optional(name, int)
        if seconds is not None:
            given[name] = _period(seconds, fields.where)
    settings = replace(EnvironmentSettings(**given), extra=fields.rest())
    try:
        settings.check()
    except InvalidRequest as exc:
        raise StoreDamaged(f"'{fields.where}' has invalid settings: {exc.problem}") from exc
    return settings


def _seconds(period: timedelta | None) -> int | None:
    return None if period is None else int(period.total_seconds())


def _period(seconds: int, where: str) -> timedelta:
    try:
        return timedelta(seconds=seconds)
    except OverflowError as exc:
        raise StoreDamaged(f"'{where}' has an invalid period in its settings") from exc


RING = 64
"""Minimum number of entries, and so of write ids, in current.json, if there were that many."""

MAY_STORE = 32
"""Number of unstored entries from which a writer that puts objects anyway stores them as well."""

MUST_STORE = 96
"""Number of unstored entries from which every writer must store them before it adds one."""

MAX_ENTRIES = 256
"""Maximum number of entries that a reader accepts in current.json."""

SUBJECT = 120
"""Maximum length of a release's message in an entry."""

_KIND = "apm-s3/log"


@dataclass(frozen=True, slots=True)
class LogPart:
    """A stored part of the log.

    Attributes:
        before: the part before it; None for the first one.
    """

    ref: LogRef
    before: LogRef | None
    entries: tuple[RawEntry, ...]


def stamp(before: Current, after: Current, *, write_id: str, home: str, note: Note, at: float) -> Current:
    """Complete `after`, a change of `before` by `write_id`, with its entry and the next sequence.

    Args:
        at: the server's clock, Unix seconds.

    Raises:
        StoreDamaged: its sequence number has reached the maximum, which never happens in normal use.
    """
    if after.sequence >= keys.MAX_SEQUENCE:
        raise StoreDamaged(f"the reference document has sequence {after.sequence}, the highest possible one")
    sequence = after.sequence + 1
    last = after.log.entries[-1] if after.log.entries else None
    entry: dict[str, Any] = {
        "seq": sequence,
        "id": write_id,
        "at": format_seconds(datetime.fromtimestamp(at, UTC)),
        "action": note.action,
        **_told(note),
        **_changed(before, after),
        "prev": None if last is None else entry_hash(last),
    }
    entries = _trimmed((*after.log.entries, entry), after.log.stored_up_to)
    earlier = after.earlier[max(0, len(after.earlier) + len(entries) - RING) :]
    return replace(after, sequence=sequence, earlier=earlier, home=home, log=replace(after.log, entries=entries))


def with_part(current: Current, part: LogPart | None) -> Current:
    """Remove the entries in `part` from `current`; unchanged if `part` does not follow the stored parts."""
    log = current.log
    if part is None or part.before != log.stored:
        return current
    tail = part.entries[-1]
    held = next((entry for entry in log.entries if entry["seq"] == tail["seq"]), None)
    return replace(current, log=replace(log, stored=part.ref)) if held == tail else current


def _trimmed(entries: tuple[RawEntry, ...], stored_up_to: int) -> tuple[RawEntry, ...]:
    spare = max(0, len(entries) - RING)
    for number, entry in enumerate(entries[:spare]):
        if entry["seq"] > stored_up_to:
            return entries[number:]
    return entries[spare:]


def ring_overrun(base: Current, fresh: Current) -> bool:
    """Return whether a write based on `base` may no longer be among the writers listed in `fresh`."""
    return fresh.sequence - base.sequence > RING


def note_of(releases: Sequence[Release]) -> Note:
    """Return the note for a commit of `releases`."""
    first = releases[0]
    origin = first.origin
    messages = {release.message for release in releases}
    return Note(
        action=origin.action,
        author=first.author,
        message=subject(messages.pop()) if len(messages) == 1 else "",
        forced=next((subject(release.forced) for release in releases if release.forced is not None), None),
        source_environment=None if origin.environment == first.environment else origin.environment,
        source_bucket=origin.bucket,
        sources={release.tool: release.origin.revision for release in releases if release.origin.revision is not None},
        backup=origin.backup,
        plan=origin.plan,
    )


def subject(message: str) -> str:
    """Return the first line of a message, shortened if necessary."""
    line = message.strip().partition("\n")[0].rstrip()
    return line if len(line) <= SUBJECT else f"{line[: SUBJECT - 1]}…"


def _told(note: Note) -> dict[str, Any]:
    told = {
        "author": note.author,
        "message": note.message,
        "forced": note.forced,
        "from": note.source_environment,
        "bucket": note.source_bucket,
        "of": dict(note.sources),
        "backup": note.backup,
        "plan": note.plan,
        "request": note.request,
    }
    return {name: value for name, value in told.items() if value}


def _changed(before: Current, after: Current) -> dict[str, Any]:
    tools: dict[str, list[int]] = {}
    good: dict[str, list[int]] = {}
    oldest: dict[str, list[int]] = {}
    for tool, new in sorted(after.tools.items()):
        old = before.tools.get(tool)
        if old is None or old.release != new.release:
            tools[tool] = [0 if old is None else old.release.revision, new.release.revision]
        if _good(old) != _good(new):
            good[tool] = [_good(old), _good(new)]
        if old is not None and old.oldest != new.oldest:
            oldest[tool] = [old.oldest, new.oldest]
    settings = changed_settings(before.settings, after.settings)
    changed = {"tools": tools, "good": good, "oldest": oldest, "settings": settings}
    return {name: moves for name, moves in changed.items() if moves}


def _good(state: ToolState | None) -> int:
    return 0 if state is None or state.good is None else state.good.revision


# --------------------------------------------------------------------------------------------------------------
# The log in documents


def encode_log(log: Log) -> dict[str, Any]:
    """Encode the log for current.json."""
    return {
        "oldest": log.oldest,
        "stored": _encode_part(log.stored),
        "entries": list(log.entries),
        **({"unproven": list(log.unproven)} if log.unproven else {}),
        **log.extra,
    }


def decode_log(fields: Fields, sequence: int, environment: str) -> Log:
    """Decode the log of a document with `sequence`. Of the entries, only numbers and ids are checked.

    Raises:
        StoreDamaged: it is not valid.
    """
    log = Log(
        oldest=fields.take("oldest", int),
        stored=_decode_part(fields.take_optional_fields("stored"), environment),
        entries=_decode_entries(fields),
        unproven=_decode_unproven(fields),
        extra=fields.rest(),
    )
    if log.entries and log.entries[-1]["seq"] != sequence:
        raise StoreDamaged(f"'{fields.where}' has sequence {sequence}, but its log ends elsewhere")
    if len(log.entries) > MAX_ENTRIES:
        raise StoreDamaged(f"'{fields.where}' has {len(log.entries)} entries in its log, more than {MAX_ENTRIES}")
    return log


def _decode_entries(fields: Fields) -> tuple[RawEntry, ...]:
    entries = fields.take("entries", list)
    last = -1
    for entry in entries:
        number = entry.get("seq") if type(entry) is dict else None
        if type(number) is not int or number <= last or type(entry.get("id")) is not str:
            raise StoreDamaged(f"'{fields.where}' has an invalid entry in its log, after number {last}")
        last = number
    return tuple(entries)


def _decode_unproven(fields: Fields) -> tuple[int, ...]:
    unproven = fields.take_optional("unproven", list) or []
    if not all(type(number) is int for number in unproven):
        raise StoreDamaged(f"'{fields.where}' has no valid field 'unproven' in its log")
    return tuple(unproven)


def _encode_part(ref: LogRef | None) -> dict[str, Any] | None:
    if ref is None:
        return None
    return {"first": ref.first, "last": ref.last, "key": ref.key, "sha256": ref.sha256, **ref.extra}


def _decode_part(fields: Fields | None, environment: str) -> LogRef | None:
    if fields is None:
        return None
    first, last, key = fields.take("first", int), fields.take("last", int), fields.take("key", str)
    parsed = keys.parse_log_part(key)
    own = key.startswith(keys.log_parts(environment)) and parsed is not None and parsed[0] == last
    if not own or not 0 <= first <= last:
        raise StoreDamaged(f"'{fields.where}' refers to '{key[:200]}' for entries {first} to {last} of the log")
    return LogRef(first, last, key, fields.take("sha256", str), fields.rest())


def encode_part(environment: str, before: LogRef | None, entries: Iterable[RawEntry]) -> bytes:
    """Encode a stored part."""
    return encode(_KIND, {"environment": environment, "before": _encode_part(before), "entries": list(entries)})


def decode_part(body: bytes, *, key: str, environment: str, where: str) -> LogPart:
    """Decode the stored part under `key`, with its `ref`.

    Raises:
        FormatTooNew, StoreDamaged: see `decode`; or it does not match its key.
    """
    fields = decode(_KIND, body, where=where)
    before = _decode_part(fields.take_optional_fields("before"), environment)
    entries = _decode_entries(fields)
    parsed = keys.parse_log_part(key)
    last = entries[-1]["seq"] if entries else -1
    if fields.take("environment", str) != environment or parsed is None or parsed[0] != last:
        raise StoreDamaged(f"'{where}' does not match its key")
    if before is not None and before.last >= entries[0]["seq"]:
        raise StoreDamaged(f"'{where}' does not follow the part of the log before it")
    return LogPart(LogRef(entries[0]["seq"], last, key, hashlib.sha256(body).hexdigest()), before, entries)


# --------------------------------------------------------------------------------------------------------------
# Entries


def read_entry(raw: RawEntry, where: str) -> LogEntry:
    """Convert a stored entry to a `LogEntry`.

    Raises:
        StoreDamaged: it is not a valid entry.
    """
    fields = Fields(raw, where)
    return LogEntry(
        sequence=fields.take("seq", int),
        write_id=fields.take("id", str),
        at=fields.take_time("at"),
        # A newer version may have other actions.
        action=cast("Any", fields.take("action", str)),
        author=fields.take_optional("author", str),
        message=fields.take_optional("message", str) or "",
        forced=fields.take_optional("forced", str),
        tools=_moves(fields, "tools"),
        good=_moves(fields, "good"),
        oldest=_moves(fields, "oldest"),
        settings=tuple(str(name) for name in fields.take_optional("settings", list) or ()),
        source_environment=fields.take_optional("from", str),
        source_bucket=fields.take_optional("bucket", str),
        sources=_revisions(fields),
        backup=fields.take_optional("backup", str),
        plan=fields.take_optional("plan", str),
        previous=fields.take_optional("prev", str),
        hash=entry_hash(raw),
    )


def _moves(fields: Fields, name: str) -> Mapping[str, tuple[int, int]]:
    moves = fields.take_optional(name, dict) or {}
    found = {}
    for tool, move in moves.items():
        if not (isinstance(move, list) and len(move) == 2 and all(type(number) is int for number in move)):
            raise StoreDamaged(f"'{fields.where}' has a log entry with an invalid '{name}'")
        found[tool] = (move[0], move[1])
    return found


def _revisions(fields: Fields) -> Mapping[str, int]:
    of = fields.take_optional("of", dict) or {}
    if not all(type(revision) is int for revision in of.values()):
        raise StoreDamaged(f"'{fields.where}' has a log entry with an invalid 'of'")
    return of


def chain_breaks(entries: Sequence[RawEntry], unproven: Collection[int] = ()) -> list[str]:
    """Return inconsistencies between consecutive entries, one line each. A repair may skip numbers.

    Args:
        unproven: the sequences of entries that a repair has found not to prove the one before.
    """
    broken = []
    for older, newer in pairwise(entries):
        if newer["seq"] in unproven:
            continue
        if newer.get("prev") != entry_hash(older):
            broken.append(f"entry {newer['seq']} does not have the hash of entry {older['seq']}: one was changed")
        elif newer["seq"] != older["seq"] + 1 and newer.get("action") != "repair":
            broken.append(f"entry {newer['seq']} follows entry {older['seq']}: some are missing")
    return broken


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
            **_encode_secrets(release.warnings),
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
        warnings=_decode_warnings(fields),
        forced=fields.take_optional("forced", str),
        files={name: _decode_entry(name, entry) for name, entry in fields.take_fields("files").take_each().items()},
        ref=ReleaseRef(revision, key, hashlib.sha256(body).hexdigest()),
    )
    check_release(release, key=key, where=where)
    return release


def _encode_secrets(warnings: Sequence[str]) -> dict[str, Any]:
    """Return which of the warnings are about plain-text secrets, as their places in the list by file."""
    secrets: dict[str, list[int]] = {}
    for place, warning in enumerate(warnings):
        if isinstance(warning, SecretWarning):
            secrets.setdefault(warning.file, []).append(place)
    return {"secrets": secrets} if secrets else {}


def _decode_warnings(fields: Fields) -> tuple[str, ...]:
    warnings = list(fields.take_strings("warnings"))
    for file, places in (fields.take_optional("secrets", dict) or _secrets_in_sentences(warnings)).items():
        for place in places if type(places) is list else (None,):
            if type(place) is not int or not 0 <= place < len(warnings):
                raise StoreDamaged(f"'{fields.where}' has no valid field 'secrets'")
            warnings[place] = SecretWarning.of(file, warnings[place])
    return tuple(warnings)


def _secrets_in_sentences(warnings: Sequence[str]) -> dict[str, list[int]]:
    """Return what `_encode_secrets` does, for releases of the time when only the sentences were stored."""
    secrets: dict[str, list[int]] = {}
    for place, warning in enumerate(warnings):
        file, numbered, _ = warning.partition(":")
        if numbered and warning.endswith(" in plain text"):
            secrets.setdefault(file, []).append(place)
    return secrets


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
