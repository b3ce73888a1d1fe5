"""Checks that a document matches its location: environment, tool, revision and parent. Pure.

Without these checks, the reference document of one environment could refer to the releases of another, or a chain of
parents could be a cycle.
"""

from __future__ import annotations

import re

from apm_s3._tools import MAIN_FILES
from apm_s3.configs._content.names import MAX_FILES
from apm_s3.configs._content.sources import MAX_BUNDLE, MAX_FILE
from apm_s3.configs._models.current import Current, ToolState
from apm_s3.configs._models.releases import FileEntry, Release, ReleaseRef
from apm_s3.configs._protocol.documents import keys
from apm_s3.errors import StoreDamaged

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


def check_current(current: Current, *, environment: str, where: str) -> None:
    """Refuse a reference document that does not belong to `environment`, or that contradicts itself.

    Args:
        where: bucket and key, for errors.

    Raises:
        StoreDamaged: it names tools, releases or write ids that cannot belong to it, or revisions in a wrong order.
    """
    for write_id in current.writers:
        if not keys.is_write_id(write_id, environment):
            raise StoreDamaged(f"'{where}' was written by {write_id[:90]!r}, which is not a write of '{environment}'")
    for tool, state in current.tools.items():
        if tool not in MAIN_FILES:
            raise StoreDamaged(f"'{where}' names an unknown tool: {tool[:80]!r}")
        for ref in (state.release, state.parent, state.good):
            if ref is not None:
                _check_ref(ref, environment, tool, where)
        _check_order(state, tool, where)
        _check_damage(state, environment, tool, where)


def _check_order(state: ToolState, tool: str, where: str) -> None:
    newest = state.release
    if state.oldest > newest.revision:
        raise StoreDamaged(f"'{where}' keeps revisions of {tool} from {state.oldest} to {newest.revision}")
    if state.parent is not None and state.parent.revision >= newest.revision:
        raise StoreDamaged(f"'{where}' has revision {state.parent.revision} of {tool} before {newest.revision}")
    if state.good is not None and (
        state.good.revision > newest.revision or (state.good.revision == newest.revision and state.good != newest)
    ):
        raise StoreDamaged(f"'{where}' marks a revision {state.good.revision} of {tool} that it does not have")


def _check_damage(state: ToolState, environment: str, tool: str, where: str) -> None:
    last = 0
    for damage in state.damaged:
        if not last < damage.first <= damage.last <= state.release.revision:
            raise StoreDamaged(f"'{where}' marks revisions of {tool} as damaged that it does not have, or twice")
        last = damage.last
        if damage.older is not None:
            _check_ref(damage.older, environment, tool, where)
            if damage.older.revision >= damage.first:
                raise StoreDamaged(f"'{where}' continues after damage of {tool} at a revision that is not older")


def check_release(release: Release, *, key: str, where: str) -> None:
    """Refuse a release document that does not match its key, or that describes impossible files.

    Raises:
        StoreDamaged: its environment, tool, revision or write id is not that of the key; its parent is not older, or of
            another tool; or its files are more or larger than a bundle can have.
    """
    if release.tool not in MAIN_FILES:
        raise StoreDamaged(f"'{where}' is of an unknown tool: {release.tool[:80]!r}")
    own = (release.environment, release.tool, release.revision, release.write_id)
    if keys.parse_release_key(key) != own or not keys.is_write_id(release.write_id, release.environment):
        raise StoreDamaged(
            f"'{where}' says that it is revision {release.revision} of {release.tool} in '{release.environment[:80]}'"
        )
    if release.parent is not None:
        _check_ref(release.parent, release.environment, release.tool, where)
        if release.parent.revision >= release.revision:
            raise StoreDamaged(f"'{where}' follows revision {release.parent.revision}, which is not older")
    if len(release.files) > MAX_FILES or sum(entry.size for entry in release.files.values()) > MAX_BUNDLE:
        raise StoreDamaged(f"'{where}' describes more files or bytes than a bundle can have")


def check_entry(entry: FileEntry, name: str, where: str) -> None:
    """Refuse an invalid description of a file.

    Raises:
        StoreDamaged: the name, size, hash or blob is not valid.
    """
    if (
        not 0 <= entry.size <= MAX_FILE
        or not _SHA256.fullmatch(entry.sha256)
        or not keys.is_blob_name(entry.blob)
        or not entry.blob.startswith(entry.sha256)
        or entry.encoding not in ("identity", "gzip")
    ):
        raise StoreDamaged(f"'{where}' has an invalid description of the file '{name}'")


def _check_ref(ref: ReleaseRef, environment: str, tool: str, where: str) -> None:
    found = keys.parse_release_key(ref.key)
    if found is None or found[:3] != (environment, tool, ref.revision) or not _SHA256.fullmatch(ref.sha256):
        raise StoreDamaged(f"'{where}' refers to '{ref.key[:200]}' for revision {ref.revision} of {tool}")
