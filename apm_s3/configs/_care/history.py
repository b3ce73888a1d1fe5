"""Reconstructs the history of a tool from its documents, including damaged ones. Pure.

The chain of parents shows what was committed, newest first. If a document of it is lost, the chain continues at the
previous release, which other documents prove:

- A document that another one names as its parent was committed, because writers build on nothing else.
- So was one whose blobs a committed release still uses, or whose write id is in the reference document.
- So was the only document of a revision between two others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from apm_s3.configs._models.current import Damage, ToolState
from apm_s3.configs._models.releases import Release, ReleaseRef
from apm_s3.configs._protocol.documents import keys
from apm_s3.errors import FormatTooNew


@dataclass(frozen=True, slots=True)
class Document:
    """The object under the key of a release document: the release, or why it cannot be read (`problem`).

    Attributes:
        newer: a later version of this library wrote it.
    """

    key: str
    revision: int
    write_id: str
    release: Release | None
    problem: str = ""
    newer: FormatTooNew | None = None


@dataclass(frozen=True, slots=True)
class LostRevision:
    """A committed revision whose document cannot be read.

    Attributes:
        ref: the document, if a newer one names it.
    """

    revision: int
    ref: ReleaseRef | None
    problem: str


@dataclass(frozen=True, slots=True)
class History:
    """The kept committed releases, newest first: readable ones and lost ones."""

    releases: tuple[Release, ...]
    lost: tuple[LostRevision, ...]

    @property
    def keys(self) -> frozenset[str]:
        """Return the keys of all known documents, readable or lost."""
        whole = {release.ref.key for release in self.releases if release.ref is not None}
        return frozenset(whole | {each.ref.key for each in self.lost if each.ref is not None})

    @property
    def oldest(self) -> int:
        """Return the oldest revision."""
        return min([release.revision for release in self.releases] + [each.revision for each in self.lost])


def trace(
    state: ToolState, documents: Mapping[str, Document], *, writers: Collection[str] = (), certain: bool = False
) -> History:
    """Follow the chain of parents from the current release to the oldest one that is kept.

    Args:
        documents: all existing documents, by key.
        writers: write ids that are known to be committed.
        certain: it is not known what was pruned: continue after a lost document only if something older was certainly
            committed.
    """
    releases: list[Release] = []
    lost: list[LostRevision] = []
    proven = proven_keys(documents, writers)
    ref: ReleaseRef | None = state.release
    while ref is not None and (ref.revision >= state.oldest or ref == state.release):
        found = documents.get(ref.key)
        if found is not None and found.release is not None and found.release.ref == ref:
            releases.append(found.release)
            ref = found.release.parent
            continue
        lost.append(LostRevision(ref.revision, ref, _problem(ref, found)))
        known = proven | _still_used(releases, documents)
        below = _before(ref.revision, state.oldest, documents, known, certain=certain)
        damage = state.damage_of(ref.revision)
        if damage is not None and damage.older is not None:
            below = damage.older if below is None else max(below, damage.older, key=lambda each: each.revision)
        stop = state.oldest if below is None else below.revision + 1
        if below is None and certain and releases:
            lost.pop()  # it may have been pruned long ago
        else:
            lost += [_unknown(revision, documents) for revision in range(ref.revision - 1, stop - 1, -1)]
        ref = below
    return History(tuple(releases), tuple(lost))


def proven_keys(documents: Mapping[str, Document], writers: Collection[str] = ()) -> frozenset[str]:
    """Return the documents that were certainly committed: others name them as parents, or their write id proves it."""
    parents = {each.release.parent for each in documents.values() if each.release is not None}
    return frozenset(
        key
        for key, each in documents.items()
        if each.release is not None and (each.release.ref in parents or each.write_id in writers)
    )


def _unknown(revision: int, documents: Mapping[str, Document]) -> LostRevision:
    there = [each for each in documents.values() if each.revision == revision]
    if not there:
        return LostRevision(revision, None, f"the document of revision {revision} is missing")
    return LostRevision(revision, None, f"it is not known any more which document of revision {revision} was committed")


def _still_used(releases: Iterable[Release], documents: Mapping[str, Document]) -> frozenset[str]:
    used = {keys.writer_of(entry.blob) for release in releases for entry in release.files.values()}
    return frozenset(key for key, each in documents.items() if each.release is not None and each.write_id in used)


def _before(
    revision: int, oldest: int, documents: Mapping[str, Document], proven: frozenset[str], *, certain: bool
) -> ReleaseRef | None:
    """Return the newest committed release below `revision`; None if none is kept, or none is certain."""
    by_revision: dict[int, list[Release]] = {}
    for each in documents.values():
        if each.release is not None and oldest <= each.revision < revision:
            by_revision.setdefault(each.revision, []).append(each.release)
    for number in sorted(by_revision, reverse=True):
        there = by_revision[number]
        known = [release for release in there if release.ref is not None and release.ref.key in proven]
        if len(known) == 1:
            return known[0].ref
        between = any(release.ref is not None and release.ref.key in proven for release in _below(number, by_revision))
        if len(there) == 1 and (between or not certain):
            return there[0].ref
    return None


def _below(revision: int, by_revision: Mapping[int, list[Release]]) -> list[Release]:
    return [release for number, there in by_revision.items() if number < revision for release in there]


def _problem(ref: ReleaseRef, found: Document | None) -> str:
    if found is None:
        return "the release document is missing"
    return found.problem or f"the release document does not have the SHA-256 {ref.sha256}"


def damages(history: History, without_files: Collection[int]) -> tuple[Damage, ...]:
    """Return the marks of damage for the reference document: lost documents and, by revision, lost files."""
    older: dict[int, ReleaseRef | None] = {}
    whole = [release.ref for release in history.releases if release.ref is not None]
    for each in history.lost:
        older[each.revision] = next((ref for ref in whole if ref.revision < each.revision), None)
    runs = [Damage(first, last, "documents", older[first]) for first, last in _runs(older)]
    runs += [Damage(first, last, "files") for first, last in _runs(without_files)]
    return tuple(sorted(runs, key=lambda run: run.first))


def _runs(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Group consecutive numbers, as first and last."""
    ordered = sorted(set(numbers))
    if not ordered:
        return []
    ends = [old for old, new in pairwise(ordered) if new != old + 1] + [ordered[-1]]
    starts = [ordered[0]] + [new for old, new in pairwise(ordered) if new != old + 1]
    return list(zip(starts, ends, strict=True))


@dataclass(frozen=True, slots=True)
class Others:
    """The keys of documents that are not part of the history.

    Attributes:
        leftovers: documents that were never committed.
        retired: documents that are no longer kept, committed or not.
        ahead: documents newer than anything committed, because commits were lost.
    """

    leftovers: tuple[str, ...]
    retired: tuple[str, ...]
    ahead: tuple[str, ...]


def sort_others(state: ToolState | None, history: History, documents: Mapping[str, Document]) -> Others:
    """Classify the documents that are not part of a history."""
    newest = 0 if state is None else state.release.revision
    known = {release.revision for release in history.releases}
    known |= {each.revision for each in history.lost if each.ref is not None}
    unclear = {each.revision for each in history.lost if each.ref is None}
    own = history.keys | {ref.key for ref in _refs(state)}
    leftovers, retired, ahead = [], [], []
    for key in sorted(documents.keys() - own):
        revision = documents[key].revision
        if revision in unclear:
            continue
        if revision > newest + 1:
            ahead.append(key)
        elif revision == newest + 1 or revision in known:
            leftovers.append(key)
        else:
            retired.append(key)
    return Others(tuple(leftovers), tuple(retired), tuple(ahead))


def _refs(state: ToolState | None) -> list[ReleaseRef]:
    return [] if state is None else [ref for ref in (state.release, state.parent, state.good) if ref is not None]
